//! Files that are there whole or not at all, also after a crash of the host.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::AttemptError;

/// Writes `path` by temporary file, sync, rename and sync of the directory.
/// Room that was set aside for it is used.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), AttemptError> {
    let new = beside(path);
    let mut options = OpenOptions::new();
    // Not truncated: that would give the room away.
    let opened = options.write(true).create(true).truncate(false).open(&new);
    let mut file = opened.map_err(AttemptError::io("create", &new))?;
    file.write_all(bytes)
        .and_then(|()| file.set_len(bytes.len() as u64))
        .map_err(AttemptError::io("write", &new))?;
    file.sync_all().map_err(AttemptError::io("sync", &new))?;
    fs::rename(&new, path).map_err(AttemptError::io("move into place", path))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Sets room aside for what is to be written to `path`, for when the disk is full.
pub(crate) fn set_aside(path: &Path, size_bytes: i64) -> Result<(), AttemptError> {
    let new = beside(path);
    let file = create_new(&new, &[])?;
    match nix::fcntl::posix_fallocate(&file, 0, size_bytes) {
        // Not every file system can; without it nothing is set aside.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(()),
        Err(errno) => Err(AttemptError::io("set room aside in", &new)(errno.into())),
    }
}

/// Writes and syncs a file that must not exist yet; its directory is not synced.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), AttemptError> {
    let file = create_new(path, bytes)?;
    file.sync_all().map_err(AttemptError::io("sync", path))
}

/// Writes a file that must not exist yet, without a sync.
pub(crate) fn write_new_unsynced(path: &Path, bytes: &[u8]) -> Result<(), AttemptError> {
    create_new(path, bytes).map(drop)
}

/// Replaces a file atomically for readers, without a sync.
pub(crate) fn replace_unsynced(path: &Path, bytes: &[u8]) -> Result<(), AttemptError> {
    let new = beside(path);
    fs::write(&new, bytes).map_err(AttemptError::io("write", &new))?;
    fs::rename(&new, path).map_err(AttemptError::io("move into place", path))
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> Result<(), AttemptError> {
    let dir = File::open(path).map_err(AttemptError::io("open", path))?;
    dir.sync_all().map_err(AttemptError::io("sync", path))
}

/// What to do about an error, to be put after it; empty where it is plain.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space on the state directory's disk"
        }
        io::ErrorKind::PermissionDenied => "; the state directory must belong to the agent's user",
        io::ErrorKind::ReadOnlyFilesystem => "; the state directory must be writable",
        _ => "",
    }
}

/// Whether the host or its disk refused for want of something that others, or
/// it itself at another time, may have.
pub(crate) fn is_site_fault(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS
    ) || matches!(
        errno,
        Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EIO
    )
}

fn create_new(path: &Path, bytes: &[u8]) -> Result<File, AttemptError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(AttemptError::io("create", path))?;
    file.write_all(bytes)
        .map_err(AttemptError::io("write", path))?;
    Ok(file)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}
