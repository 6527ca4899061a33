//! What is wrong with a file, where, and what to do.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeArray, DeTable, DeValue};

/// A configuration that is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; name the scheduler's file with --config", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{}{place}: {what}; {remedy}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// What.
        what: String,
        /// What to do.
        remedy: String,
    },
}

/// A place in a file; empty where the fault is that something is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place(Option<(usize, usize)>);

impl fmt::Display for Place {
    /// `:12:5`, from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// A step on the way to a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Entry(usize),
}

/// A file's text, for the places of faults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub path: &'a Path,
    pub text: &'a str,
}

impl Text<'_> {
    /// A fault that the TOML reader found.
    pub fn unreadable(&self, error: &toml::de::Error) -> ConfigError {
        let place = error
            .span()
            .map_or(Place::default(), |span| self.at(span.start));
        let (what, remedy) = in_words(error.message());
        self.fault(place, what, remedy)
    }

    /// A fault at the value that a path of keys leads to, or as near as it leads.
    pub fn wrong(
        &self,
        steps: &[Step<'_>],
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ConfigError {
        let place = self
            .find(steps)
            .map_or(Place::default(), |span| self.at(span.start));
        self.fault(place, what.into(), remedy.into())
    }

    fn fault(&self, place: Place, what: String, remedy: String) -> ConfigError {
        ConfigError::Wrong {
            path: self.path.to_path_buf(),
            place,
            what,
            remedy,
        }
    }

    /// Line and column, in characters from 1.
    fn at(&self, offset: usize) -> Place {
        let before = &self.text[..offset.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        Place(Some((line, before[line_start..].chars().count() + 1)))
    }

    /// Where a path of keys leads, or the last of its steps that is there.
    fn find(&self, steps: &[Step<'_>]) -> Option<Range<usize>> {
        let document = DeTable::parse(self.text).ok()?;
        let mut table = Some(document.get_ref());
        let mut array = None;
        let mut found = None;
        for step in steps {
            let (span, value) = match step {
                Step::Key(key) => {
                    let entry = table?.iter().find(|(name, _)| name.get_ref() == key);
                    let Some((name, value)) = entry else { break };
                    (name.span(), value.get_ref())
                }
                Step::Entry(position) => {
                    let entries: &DeArray<'_> = array?;
                    let Some(entry) = entries.get(*position) else {
                        break;
                    };
                    (entry.span(), entry.get_ref())
                }
            };
            found = Some(span);
            (table, array) = match value {
                DeValue::Table(table) => (Some(table), None),
                DeValue::Array(array) => (None, Some(array)),
                _ => (None, None),
            };
        }
        found
    }
}

/// The reader's message, apart from what to do.
fn in_words(message: &str) -> (String, String) {
    let message = message.trim_end().replace('\n', ", ");
    if let Some((what, known)) = message.split_once(", expected ") {
        return (what.to_string(), format!("expected is {known}"));
    }
    if let Some((what, example)) = message.split_once("; ") {
        return (what.to_string(), example.to_string());
    }
    (
        message,
        "docs/operating.md shows every key with its unit".to_string(),
    )
}
