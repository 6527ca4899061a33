//! The two file-system steps that make a small file durable: write-sync-rename, and sync of the directory.
//!
//! The rule: when these return, a power cut loses neither the bytes nor the name.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::StoreError;

/// Creates a directory with its parents, each durable by name.
pub(super) fn create_directory(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() || path.as_os_str().is_empty() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), create_directory)?;
    match fs::create_dir(path) {
        Err(source) if source.kind() != ErrorKind::AlreadyExists || !path.is_dir() => {
            Err(StoreError::io("create directory", path, source))
        }
        _ => path.parent().map_or(Ok(()), sync_directory),
    }
}

/// Makes creations, renames and removals in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    // The parent of a relative path of one segment is the empty path.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| StoreError::io("sync directory", path, source))
}

/// Replaces (or creates) a small file as a whole: after a crash the old or the new content is there.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| StoreError::io("write", path, source))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Removes a file; one that is not there is as good as removed. Not durable until the directory is synced.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(StoreError::io("remove", path, source))
        }
        _ => Ok(()),
    }
}
