//! Which files of a scratch directory are the outputs.
//!
//! Rules: every pattern matches at least one file; what is selected is a
//! regular file whose real place is inside the scratch directory, so links are
//! followed within it and never out of it, and linked directories are not
//! searched; a name that is not UTF-8 fails where a pattern matches what can be
//! shown of it; the number and the bytes have bounds. The job's processes are
//! gone by now, so nothing changes underneath. That the scratch directory is the
//! job's own is for the caller to see to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::glob::Glob;
use crate::attempt::LeaseRecord;

const ENTRIES_MAX: usize = 1_000_000;
const DEPTH_MAX: usize = 64;

/// One output, before its content was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selected {
    /// Relative path, as it is reported.
    pub path: String,
    /// Where the content is.
    pub place: PathBuf,
    pub size_bytes: u64,
    pub executable: bool,
}

/// The outputs by path; the error is for the job's owner.
pub(super) fn select(scratch: &Path, record: &LeaseRecord) -> Result<Vec<Selected>, String> {
    let globs = record
        .outputs
        .iter()
        .map(|pattern| Glob::new(pattern).map(|glob| (pattern, glob)))
        .collect::<Result<Vec<_>, _>>()?;
    let walked = if globs.iter().any(|(_, glob)| glob.literal().is_none()) {
        files_below(scratch)?
    } else {
        Vec::new()
    };
    let mut chosen = BTreeSet::new();
    for (pattern, glob) in &globs {
        let before = chosen.len();
        let mut found = false;
        match glob.literal() {
            Some(path) => {
                found = scratch.join(&path).symlink_metadata().is_ok();
                chosen.insert(path);
            }
            None => {
                for (path, is_text) in walked.iter().filter(|(path, _)| glob.matches(path)) {
                    if !is_text {
                        return Err(format!(
                            "the output {path:?} has a name that is not UTF-8 and cannot be \
                             reported; rename it in the job"
                        ));
                    }
                    found = true;
                    chosen.insert(path.clone());
                }
            }
        }
        if !found {
            return Err(format!("no file matches the promised output {pattern:?}"));
        }
        if chosen.len() > before && chosen.len() > record.outputs_files_max as usize {
            return Err(format!(
                "there are more than {} outputs; pack them into fewer files",
                record.outputs_files_max
            ));
        }
    }
    let root = scratch
        .canonicalize()
        .map_err(|error| format!("the scratch directory cannot be resolved: {error}"))?;
    let selected = chosen.into_iter().map(|path| look_at(&root, path));
    let selected = selected.collect::<Result<Vec<_>, _>>()?;
    let bytes = selected
        .iter()
        .fold(0_u64, |sum, file| sum.saturating_add(file.size_bytes));
    if bytes > record.outputs_bytes_max {
        return Err(format!(
            "the outputs have {bytes} bytes, the bound is {}; keep large data in the site's storage",
            record.outputs_bytes_max
        ));
    }
    Ok(selected)
}

fn look_at(root: &Path, path: String) -> Result<Selected, String> {
    let named = root.join(&path);
    let place = named
        .canonicalize()
        .map_err(|error| format!("the output {path:?} cannot be resolved: {error}"))?;
    if !place.starts_with(root) {
        return Err(format!(
            "the output {path:?} is a link that leads out of the scratch directory"
        ));
    }
    let metadata = place
        .metadata()
        .map_err(|error| format!("the output {path:?} cannot be looked at: {error}"))?;
    if metadata.is_dir() {
        return Err(format!(
            "the output {path:?} is a directory; write `{path}/**` for all that is in it"
        ));
    }
    if !metadata.is_file() {
        return Err(format!("the output {path:?} is not a regular file"));
    }
    Ok(Selected {
        path,
        place,
        size_bytes: metadata.len(),
        executable: metadata.permissions().mode() & 0o100 != 0,
    })
}

/// Relative paths of all that is no directory, and whether each is text: of one
/// that is not, what can be shown of it.
fn files_below(scratch: &Path) -> Result<Vec<(String, bool)>, String> {
    let unreadable = |path: &Path, error: io::Error| {
        format!("the scratch directory cannot be searched at {path:?}: {error}")
    };
    let mut files = Vec::new();
    let mut entries = 0;
    let mut ahead = BTreeMap::from([(PathBuf::new(), 0)]);
    while let Some((prefix, depth)) = ahead.pop_first() {
        let listed = std::fs::read_dir(scratch.join(&prefix));
        for entry in listed.map_err(|error| unreadable(&prefix, error))? {
            let entry = entry.map_err(|error| unreadable(&prefix, error))?;
            entries += 1;
            if entries > ENTRIES_MAX {
                return Err(format!("there are more than {ENTRIES_MAX} files to search"));
            }
            let path = prefix.join(entry.file_name());
            let kind = entry
                .file_type()
                .map_err(|error| unreadable(&path, error))?;
            if !kind.is_dir() {
                let shown = path.to_string_lossy().into_owned();
                files.push((shown, path.to_str().is_some()));
            } else if depth < DEPTH_MAX {
                ahead.insert(path, depth + 1);
            } else {
                return Err(format!("{path:?} lies deeper than {DEPTH_MAX} directories"));
            }
        }
    }
    Ok(files)
}
