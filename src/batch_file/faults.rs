//! What was found wrong in a batch file, and how it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::tree::At;

/// Faults told of one file; those beyond are counted.
const TOLD_MAX: usize = 20;

/// Columns of a quoted line, at most.
const QUOTED_COLUMNS_MAX: usize = 160;

/// One thing wrong, at its place.
#[derive(Debug)]
pub(crate) struct Fault {
    pub at: At,
    pub what: String,
    pub remedy: String,
}

/// The faults met so far: in order of their places, each once, although the
/// defaults are read again with every job.
#[derive(Debug, Default)]
pub(crate) struct Found(BTreeMap<(At, String), String>);

impl Found {
    pub(crate) fn say(&mut self, at: At, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.insert((at, what.into()), remedy.into());
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        self.say(fault.at, fault.what, fault.remedy);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For telling: the first of them with the lines they are in.
    pub(crate) fn in_file(self, path: &Path, text: &str) -> Faults {
        let untold = self.0.len().saturating_sub(TOLD_MAX);
        let told = self
            .0
            .into_iter()
            .take(TOLD_MAX)
            .map(|((at, what), remedy)| (Fault { at, what, remedy }, line_of(text, at)));
        Faults {
            path: path.to_owned(),
            unread: None,
            is_local: false,
            told: told.collect(),
            untold,
        }
    }
}

/// The line of a place, as it is shown below its fault.
pub(super) fn line_of(text: &str, at: At) -> String {
    let line = text.lines().nth(at.line as usize - 1).unwrap_or_default();
    line.chars()
        .take(QUOTED_COLUMNS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A line of the file and a mark below its column, each on a line of its own;
/// nothing where the line was cut before it.
pub(super) struct Quote<'a> {
    pub at: At,
    pub line: &'a str,
}

impl fmt::Display for Quote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, column) = (self.at.line, self.at.column as usize);
        if column > self.line.chars().count() {
            return Ok(());
        }
        write!(f, "\n  {number:>4} | {}", self.line)?;
        write!(f, "\n       | {:>column$}", "^")
    }
}

/// Why a batch file was refused. Its text has one paragraph per fault: place
/// and fault, the line it is in, the remedy.
#[derive(Debug)]
pub struct Faults {
    path: PathBuf,
    unread: Option<String>,
    is_local: bool,
    told: Vec<(Fault, String)>,
    untold: usize,
}

impl Faults {
    /// The file is not there or cannot be read: this machine's trouble, not the file's,
    /// unless what it holds is no text.
    pub(crate) fn of_reading(path: &Path, error: &std::io::Error) -> Self {
        Faults {
            is_local: error.kind() != std::io::ErrorKind::InvalidData,
            ..Faults::of_file(path, error.to_string())
        }
    }

    /// True if something failed on this machine and the file itself has no fault.
    pub(crate) fn is_local(&self) -> bool {
        self.is_local
    }

    /// The file could not be read at all.
    pub(crate) fn of_file(path: &Path, what: String) -> Self {
        Self {
            path: path.to_owned(),
            unread: Some(what),
            is_local: false,
            told: Vec::new(),
            untold: 0,
        }
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if let Some(what) = &self.unread {
            return write!(
                f,
                "{path}: cannot be read: {what}\n  do: give the path of a batch file"
            );
        }
        for (position, (Fault { at, what, remedy }, line)) in self.told.iter().enumerate() {
            if position > 0 {
                writeln!(f)?;
            }
            write!(f, "{path}:{}:{}: {what}", at.line, at.column)?;
            write!(f, "{}", Quote { at: *at, line })?;
            write!(f, "\n  do: {remedy}")?;
        }
        if self.untold > 0 {
            write!(f, "\nand {} more", self.untold)?;
        }
        Ok(())
    }
}
