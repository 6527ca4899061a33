//! One upload in progress: a `.part` file that grows at its end and is checked when it is whole.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use sha2::{Digest as _, Sha256};

use super::{Account, Digest};
use crate::store::StoreError;

const READ_BYTES: usize = 64 * 1024;

/// An upload; several callers may append to it, one at a time.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) digest: Digest,
    pub(super) account: Account,
    pub(super) size_bytes: u64,
    pub(super) path: PathBuf,
    part: Mutex<Part>,
}

/// The growing file; `None` once it was completed or discarded.
#[derive(Debug)]
pub(super) struct Part {
    file: Option<File>,
    pub(super) received_bytes: u64,
}

impl Upload {
    /// Opens or creates the file; what it holds has been received.
    pub(super) fn open(
        digest: Digest,
        account: Account,
        size_bytes: u64,
        path: PathBuf,
    ) -> Result<Self, StoreError> {
        let open = || {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let received_bytes = file.metadata()?.len().min(size_bytes);
            Ok(Part {
                file: Some(file),
                received_bytes,
            })
        };
        let part = open().map_err(|source| StoreError::io("open upload", &path, source))?;
        Ok(Self {
            digest,
            account,
            size_bytes,
            path,
            part: Mutex::new(part),
        })
    }

    pub(super) fn part(&self) -> MutexGuard<'_, Part> {
        // A panic between the write and the count leaves a count that is too low, which the next append repairs.
        self.part
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Appends what is new of `bytes`, which stand at `offset`; bytes received before are skipped.
    pub(super) fn append(
        &self,
        part: &mut Part,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let file = part.file.as_ref().ok_or_else(|| StoreError::UnknownFile {
            digest: self.digest.to_string(),
        })?;
        if offset > part.received_bytes {
            return Err(StoreError::WrongOffset {
                digest: self.digest.to_string(),
                expected: part.received_bytes,
                offered: offset,
            });
        }
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.size_bytes {
            return Err(StoreError::TooLarge {
                what: "an upload",
                size_bytes: end,
                limit_bytes: self.size_bytes,
            });
        }
        let known = usize::try_from(part.received_bytes - offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        file.write_all_at(&bytes[known..], part.received_bytes)
            .map_err(|source| StoreError::io("write upload", &self.path, source))?;
        part.received_bytes = part.received_bytes.max(end);
        Ok(())
    }

    /// Syncs the whole file, then compares its digest with the announced one.
    pub(super) fn verify(&self, part: &mut Part) -> Result<(), StoreError> {
        let Some(file) = part.file.as_mut() else {
            return Err(StoreError::UnknownFile {
                digest: self.digest.to_string(),
            });
        };
        let found = sync_and_hash(file, self.size_bytes)
            .map_err(|source| StoreError::io("check upload", &self.path, source))?;
        if found == self.digest {
            return Ok(());
        }
        Err(StoreError::DigestMismatch {
            announced: self.digest.to_string(),
            found: found.to_string(),
        })
    }

    /// Takes the file away from later appends.
    pub(super) fn close(part: &mut Part) {
        part.file = None;
    }

    /// Renames the checked file to its final name; the caller syncs the directory.
    pub(super) fn rename(&self, to: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, to)
            .map_err(|source| StoreError::io("complete upload as", to, source))
    }
}

fn sync_and_hash(file: &mut File, size_bytes: u64) -> std::io::Result<Digest> {
    // A file found longer than announced was cut by a crash of an older size; only the announced bytes count.
    file.set_len(size_bytes)?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::of_hasher(hasher)),
            length => hasher.update(&buffer[..length]),
        }
    }
}
