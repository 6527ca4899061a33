//! The local files that travel with a batch.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jeroboam_core::spec::stays_inside;

use super::faults::Found;
use super::fields::{self, Fields};
use super::tree::{Node, Value};

/// A file beside the batch file that goes to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Position of the job in the batch.
    pub job: usize,
    /// Where it is now.
    pub from: PathBuf,
    /// Where the task finds it, relative to its scratch directory.
    pub to: String,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// Reads `inputs:` of the job at position `job`; paths are relative to the
/// batch file's directory.
pub(super) fn read(node: &Node, job: usize, directory: &Path, found: &mut Found) -> Vec<LocalFile> {
    let mut files = Vec::new();
    let mut taken = BTreeSet::new();
    for node in fields::elements(node, found) {
        let Some((from, to)) = from_and_to(node, found) else {
            continue;
        };
        if !stays_inside(&to) {
            let what = format!("`{to}` is not a place in the scratch directory");
            let remedy =
                format!("write {{from: {from}, to: NAME}} with a relative path without `..`");
            found.say(node.at, what, remedy);
        }
        if !taken.insert(to.clone()) {
            let what = format!("two inputs of this job are to be at `{to}`");
            found.say(
                node.at,
                what,
                "write {from: PATH, to: NAME} with another name",
            );
        }
        let from = directory.join(from);
        if let Some(executable) = look_at(&from, node, found) {
            files.push(LocalFile {
                job,
                from,
                to,
                executable,
            });
        }
    }
    files
}

fn from_and_to(node: &Node, found: &mut Found) -> Option<(String, String)> {
    if !matches!(node.value, Value::Map(_)) {
        let path = node.text(found)?;
        let to = path.trim_start_matches("./").to_owned();
        return Some((path, to));
    }
    let fields = Fields::of(node, "an input", &["from", "to"], found)?;
    match (fields.take("from"), fields.take("to")) {
        (Some(from), Some(to)) => Some((from.text(found)?, to.text(found)?)),
        _ => {
            found.say(
                node.at,
                "this input is not complete",
                "write {from: PATH, to: NAME}",
            );
            None
        }
    }
}

/// Whether the file is executable, if it is one that can be read.
fn look_at(path: &Path, node: &Node, found: &mut Found) -> Option<bool> {
    let shown = path.display();
    match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_file() => Some(metadata.permissions().mode() & 0o100 != 0),
        Ok(_) => {
            let what = format!("the input `{shown}` is not a file");
            found.say(
                node.at,
                what,
                "name the files themselves, or an archive of them",
            );
            None
        }
        Err(error) => {
            let what = format!("the input `{shown}` cannot be read: {error}");
            found.say(node.at, what, "give its path relative to the batch file");
            None
        }
    }
}
