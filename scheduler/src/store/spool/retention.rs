//! Which files stay: found again at start, used, removed when the driver no longer names them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::upload::Upload;
use super::{Account, Digest, Index, Shared, Spool, SpoolEntry, SpoolLimits, USE_RECORDED_EVERY};
use crate::store::lock::DirectoryLock;
use crate::store::{StoreError, durable_file};

/// A file as [`Spool::retain`] shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpooledFile {
    /// Its name.
    pub digest: Digest,
    /// Its size, announced or real.
    pub size_bytes: u64,
    /// Whether it is complete; otherwise an upload is (or was) in progress.
    pub complete: bool,
    /// When it was last written, announced or opened, to the minute.
    pub last_used: SystemTime,
}

/// What one call of [`Spool::retain`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Files removed.
    pub removed: usize,
    /// Bytes given back.
    pub removed_bytes: u64,
}

impl Spool {
    /// Opens the directory: complete files are those under a digest's name, uploads go on where their `.part` ends.
    pub(in crate::store) fn open(
        directory: PathBuf,
        limits: SpoolLimits,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self, StoreError> {
        durable_file::create_directory(&directory)?;
        let index = Mutex::new(find_files(&directory)?);
        Ok(Self {
            shared: Arc::new(Shared {
                directory,
                limits,
                index,
                _lock: lock,
            }),
        })
    }

    /// Removes a file or an upload; says whether there was one.
    pub fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        let mut index = self.index();
        let path = match index.files.get(digest) {
            None => return Ok(false),
            Some(SpoolEntry::Partial(upload)) => upload.path.clone(),
            Some(SpoolEntry::Complete { account, .. }) => self.path_of(digest, account),
        };
        durable_file::remove(&path)?;
        index.take(digest);
        Ok(true)
    }

    /// Asks about every file and removes those that `keep` answers no for.
    pub fn retain(
        &self,
        mut keep: impl FnMut(&SpooledFile) -> bool,
    ) -> Result<Retained, StoreError> {
        // A copy: the caller's answers must not hold up uploads.
        let files: BTreeMap<Digest, SpoolEntry> = self.index().files.clone();
        let mut retained = Retained::default();
        for (digest, entry) in files {
            let (complete, last_used) = match &entry {
                SpoolEntry::Partial(upload) => (
                    false,
                    modified(&upload.path).unwrap_or_else(|_| SystemTime::now()),
                ),
                SpoolEntry::Complete { used, .. } => (true, *used),
            };
            let file = SpooledFile {
                digest,
                size_bytes: entry.size_bytes(),
                complete,
                last_used,
            };
            if !keep(&file) && self.remove(&digest)? {
                retained.removed += 1;
                retained.removed_bytes += file.size_bytes;
            }
        }
        Ok(retained)
    }

    /// Notes that a complete file was asked for, at most once a minute.
    pub(super) fn record_use(&self, digest: &Digest) -> Result<(), StoreError> {
        let now = SystemTime::now();
        let mut index = self.index();
        let Some(SpoolEntry::Complete { used, account, .. }) = index.files.get_mut(digest) else {
            return Ok(());
        };
        if now
            .duration_since(*used)
            .is_ok_and(|age| age < USE_RECORDED_EVERY)
        {
            return Ok(());
        }
        let path = self.path_of(digest, account);
        let touch = || File::options().write(true).open(&path)?.set_modified(now);
        touch().map_err(|source| StoreError::io("record the use of", &path, source))?;
        *used = now;
        Ok(())
    }
}

fn find_files(directory: &Path) -> Result<Index, StoreError> {
    let list = |source| StoreError::io("list", directory, source);
    let mut index = Index::default();
    for entry in fs::read_dir(directory).map_err(list)? {
        let path = entry.map_err(list)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let (start, account) = Account::split(name);
        if let Some((digest, account, size_bytes, upload)) = parse_part(name) {
            index.uploads = index.uploads.max(upload);
            if index.files.contains_key(&digest) {
                durable_file::remove(&path)?;
            } else {
                let upload = Upload::open(digest, account, size_bytes, path)?;
                index.insert(digest, SpoolEntry::Partial(Arc::new(upload)));
            }
        } else if let Ok(digest) = start.parse::<Digest>()
            && name.len() == start.len() + account.suffix().len()
        {
            let metadata =
                fs::metadata(&path).map_err(|source| StoreError::io("read", &path, source))?;
            let used = metadata
                .modified()
                .map_err(|source| StoreError::io("read", &path, source))?;
            if let Some(SpoolEntry::Complete { .. }) = index.files.get(&digest) {
                // A copy on another account, which only somebody else can have put there.
                durable_file::remove(&path)?;
                continue;
            }
            let entry = SpoolEntry::Complete {
                size_bytes: metadata.len(),
                used,
                account,
            };
            forget(index.files.get(&digest))?;
            index.insert(digest, entry);
        } else {
            tracing::warn!(path = %path.display(), "not a file of the spool, left alone");
        }
    }
    Ok(index)
}

/// Removes the `.part` of a file that is complete.
fn forget(entry: Option<&SpoolEntry>) -> Result<(), StoreError> {
    match entry {
        Some(SpoolEntry::Partial(upload)) => durable_file::remove(&upload.path),
        _ => Ok(()),
    }
}

/// `DIGEST[@ACCOUNT].SIZE.UPLOAD.part`; an account may have dots.
fn parse_part(name: &str) -> Option<(Digest, Account, u64, u64)> {
    let mut pieces = name.strip_suffix(".part")?.rsplitn(3, '.');
    let upload = pieces.next()?.parse().ok()?;
    let size_bytes = pieces.next()?.parse().ok()?;
    let (digest, account) = Account::split(pieces.next()?);
    Some((digest.parse().ok()?, account, size_bytes, upload))
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}
