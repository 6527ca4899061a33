//! What can be wrong with a site file.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a site file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or one that it names, cannot be read.
    #[error("cannot read the {what} {}: {source}", path.display())]
    Read {
        /// Which of the files.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something that is written there.
    #[error("{}:{line}:{column}: {what}; {remedy}", path.display())]
    Fault {
        /// The site file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// Everybody on the machine can read the token.
    #[error("the token file {} can be read by others; chmod 600 it", .0.display())]
    TokenExposed(PathBuf),
    /// The token file holds no token.
    #[error("the token file {} holds no token; put the token, visible ASCII characters, on its one line", .0.display())]
    TokenUnusable(PathBuf),
}

/// A text with the name it came from, for faults with their place.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub text: &'a str,
    pub path: &'a Path,
}

impl Source<'_> {
    /// A fault at a place in the text.
    pub fn fault(
        &self,
        at: &Range<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ConfigError {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        ConfigError::Fault {
            path: self.path.to_owned(),
            line,
            column: last.chars().count() + 1,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}
