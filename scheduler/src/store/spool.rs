//! The spool: files of jobs on their way in and out, named by the sha256 of their bytes.
//!
//! The rule: a file that the spool calls complete has the bytes of its digest, synced, under its final name; until then it is
//! a `.part` that grows at its end, whose status says where a broken upload goes on. An upload whose bytes do not match
//! is discarded. What is in the spool is always found from its directory alone; nothing else has to agree with it.
//!
//! Room is bounded for each file, for each [`Account`] and for all together; an upload reserves its announced size when it begins. Several uploads of one
//! digest share one `.part`: bytes that have arrived are skipped, so they help each other, and nobody overwrites anybody.
//!
//! The spool does not know who needs a file: the driver does, and says so in [`Spool::retain`], which shows it every file with
//! the time it was last used (kept as the file's modification time, to the minute). Removing a file that is being read
//! takes its name; the reader finishes.

mod account;
mod digest;
mod retention;
mod upload;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

pub use account::Account;
pub use digest::Digest;
pub use retention::{Retained, SpooledFile};
use upload::{Part, Upload};

use super::lock::DirectoryLock;
use super::{StoreError, durable_file};

/// How old a recorded time of use may grow before a use is recorded again.
const USE_RECORDED_EVERY: Duration = Duration::from_secs(60);

/// Bounds of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolLimits {
    /// All files together, uploads in progress at their announced size.
    pub total_bytes: u64,
    /// What one account holds of that.
    pub account_bytes: u64,
    /// One file.
    pub file_bytes: u64,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self {
            total_bytes: 10 << 30,
            account_bytes: 10 << 30,
            file_bytes: 1 << 30,
        }
    }
}

/// How far a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolStatus {
    /// Nothing is known of it.
    Absent,
    /// An upload goes on at `received_bytes`.
    Partial {
        /// Bytes received so far.
        received_bytes: u64,
        /// Bytes announced.
        size_bytes: u64,
    },
    /// It is there, checked and durable.
    Complete {
        /// Its size.
        size_bytes: u64,
    },
}

/// The open spool; clones share it, all methods may be called from any thread.
#[derive(Debug, Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    limits: SpoolLimits,
    /// Never held while a file is written or hashed; an upload's own lock is always taken before this one.
    index: Mutex<Index>,
    /// Held as long as anything writes here.
    _lock: Arc<DirectoryLock>,
}

#[derive(Debug, Default)]
struct Index {
    files: BTreeMap<Digest, SpoolEntry>,
    used_bytes: u64,
    /// Of that, by account; one that holds nothing any more stays, as 0.
    accounts: BTreeMap<Account, u64>,
    /// Tells apart the `.part` files of successive uploads of one digest.
    uploads: u64,
}

#[derive(Debug, Clone)]
enum SpoolEntry {
    Partial(Arc<Upload>),
    Complete {
        size_bytes: u64,
        used: SystemTime,
        account: Account,
    },
}

impl Spool {
    /// How far a file has come.
    pub fn status(&self, digest: &Digest) -> SpoolStatus {
        let entry = self.index().files.get(digest).cloned();
        match entry {
            None => SpoolStatus::Absent,
            Some(SpoolEntry::Complete { size_bytes, .. }) => SpoolStatus::Complete { size_bytes },
            Some(SpoolEntry::Partial(upload)) => partial(&upload, &upload.part()),
        }
    }

    /// As [`Spool::begin_for`], on nobody's account.
    pub fn begin(&self, digest: &Digest, size_bytes: u64) -> Result<SpoolStatus, StoreError> {
        self.begin_for(&Account::NOBODY, digest, size_bytes)
    }

    /// Announces an upload, or finds the one that is there, on whosever account; the answer says where to go on. Reserves room
    /// for all of it.
    pub fn begin_for(
        &self,
        account: &Account,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<SpoolStatus, StoreError> {
        let upload = match self.reserve(account, digest, size_bytes)? {
            SpoolEntry::Complete { size_bytes, .. } => {
                self.record_use(digest)?;
                return Ok(SpoolStatus::Complete { size_bytes });
            }
            SpoolEntry::Partial(upload) => upload,
        };
        let mut part = upload.part();
        self.complete_if_whole(&upload, &mut part)
    }

    /// Adds bytes at `offset` of an announced upload; with the last ones the file is checked and becomes complete.
    pub fn append(
        &self,
        digest: &Digest,
        offset: u64,
        bytes: &[u8],
    ) -> Result<SpoolStatus, StoreError> {
        let entry = self.index().files.get(digest).cloned();
        let upload = match entry {
            None => return Err(unknown(digest)),
            Some(SpoolEntry::Complete { size_bytes, .. }) => {
                return Ok(SpoolStatus::Complete { size_bytes });
            }
            Some(SpoolEntry::Partial(upload)) => upload,
        };
        let mut part = upload.part();
        if let Some(status @ SpoolStatus::Complete { .. }) = self.completed_meanwhile(&upload) {
            return Ok(status);
        }
        upload.append(&mut part, offset, bytes)?;
        self.complete_if_whole(&upload, &mut part)
    }

    /// A complete file, positioned at `offset`, and its size.
    pub fn open_at(&self, digest: &Digest, offset: u64) -> Result<(File, u64), StoreError> {
        let entry = self.index().files.get(digest).cloned();
        let Some(SpoolEntry::Complete {
            size_bytes,
            account,
            ..
        }) = entry
        else {
            return Err(unknown(digest));
        };
        let path = self.path_of(digest, &account);
        let open = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        };
        let file = open().map_err(|source| StoreError::io("open spooled file", &path, source))?;
        self.record_use(digest)?;
        Ok((file, size_bytes))
    }

    /// Bytes in use, uploads in progress at their announced size.
    pub fn used_bytes(&self) -> u64 {
        self.index().used_bytes
    }

    /// The bounds.
    pub fn limits(&self) -> SpoolLimits {
        self.shared.limits
    }

    /// Bytes in use by account, of those that used any since the start.
    pub fn accounts(&self) -> BTreeMap<Account, u64> {
        self.index().accounts.clone()
    }

    /// The entry of a digest, made if there is none and there is room.
    fn reserve(
        &self,
        account: &Account,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<SpoolEntry, StoreError> {
        let mut index = self.index();
        if let Some(entry) = index.files.get(digest) {
            let announced_bytes = entry.size_bytes();
            if announced_bytes != size_bytes {
                return Err(StoreError::SizeMismatch {
                    digest: digest.to_string(),
                    announced_bytes,
                    offered_bytes: size_bytes,
                });
            }
            return Ok(entry.clone());
        }
        self.check_room(&index, account, size_bytes)?;
        index.uploads += 1;
        let path = self.shared.directory.join(format!(
            "{digest}{}.{size_bytes}.{}.part",
            account.suffix(),
            index.uploads
        ));
        let upload = Upload::open(*digest, account.clone(), size_bytes, path)?;
        let entry = SpoolEntry::Partial(Arc::new(upload));
        index.insert(*digest, entry.clone());
        Ok(entry)
    }

    fn check_room(
        &self,
        index: &Index,
        account: &Account,
        size_bytes: u64,
    ) -> Result<(), StoreError> {
        let SpoolLimits {
            total_bytes,
            account_bytes,
            file_bytes,
        } = self.shared.limits;
        if size_bytes > file_bytes {
            return Err(StoreError::TooLarge {
                what: "a spooled file",
                size_bytes,
                limit_bytes: file_bytes,
            });
        }
        if index.used_bytes.saturating_add(size_bytes) > total_bytes {
            return Err(StoreError::SpoolFull {
                path: self.shared.directory.clone(),
                used_bytes: index.used_bytes,
                needed_bytes: size_bytes,
                limit_bytes: total_bytes,
            });
        }
        let used_bytes = index.accounts.get(account).copied().unwrap_or_default();
        if used_bytes.saturating_add(size_bytes) > account_bytes {
            return Err(StoreError::SpoolShareFull {
                account: account.to_string(),
                used_bytes,
                needed_bytes: size_bytes,
                limit_bytes: account_bytes,
            });
        }
        Ok(())
    }

    /// Checks and completes an upload that has all of its bytes; discards it when they are the wrong ones or cannot be synced.
    fn complete_if_whole(
        &self,
        upload: &Arc<Upload>,
        part: &mut Part,
    ) -> Result<SpoolStatus, StoreError> {
        if let Some(status @ SpoolStatus::Complete { .. }) = self.completed_meanwhile(upload) {
            return Ok(status);
        }
        if part.received_bytes < upload.size_bytes {
            return Ok(partial(upload, part));
        }
        if let Err(error) = upload.verify(part) {
            // After a failed sync the kernel may call unwritten bytes clean: such a file is not tried again either.
            self.discard(upload, part)?;
            return Err(error);
        }
        let mut index = self.index();
        if !index.holds(upload) {
            return Err(unknown(&upload.digest));
        }
        upload.rename(&self.path_of(&upload.digest, &upload.account))?;
        durable_file::sync_directory(&self.shared.directory)?;
        Upload::close(part);
        let size_bytes = upload.size_bytes;
        index.insert(
            upload.digest,
            SpoolEntry::Complete {
                size_bytes,
                used: SystemTime::now(),
                account: upload.account.clone(),
            },
        );
        Ok(SpoolStatus::Complete { size_bytes })
    }

    /// What became of an upload while this caller waited for its turn.
    fn completed_meanwhile(&self, upload: &Arc<Upload>) -> Option<SpoolStatus> {
        match self.index().files.get(&upload.digest)? {
            SpoolEntry::Complete { size_bytes, .. } => Some(SpoolStatus::Complete {
                size_bytes: *size_bytes,
            }),
            SpoolEntry::Partial(_) => None,
        }
    }

    fn discard(&self, upload: &Arc<Upload>, part: &mut Part) -> Result<(), StoreError> {
        Upload::close(part);
        let mut index = self.index();
        if index.holds(upload) {
            index.take(&upload.digest);
        }
        durable_file::remove(&upload.path)
    }

    fn path_of(&self, digest: &Digest, account: &Account) -> PathBuf {
        let name = format!("{digest}{}", account.suffix());
        self.shared.directory.join(name)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // The index is changed in steps that cannot panic half-way.
        self.shared
            .index
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Index {
    fn insert(&mut self, digest: Digest, entry: SpoolEntry) {
        self.take(&digest);
        self.used_bytes += entry.size_bytes();
        *self.accounts.entry(entry.account().clone()).or_default() += entry.size_bytes();
        self.files.insert(digest, entry);
    }

    fn take(&mut self, digest: &Digest) -> Option<SpoolEntry> {
        let entry = self.files.remove(digest)?;
        self.used_bytes -= entry.size_bytes();
        if let Some(used_bytes) = self.accounts.get_mut(entry.account()) {
            *used_bytes -= entry.size_bytes();
        }
        Some(entry)
    }

    fn holds(&self, upload: &Arc<Upload>) -> bool {
        matches!(self.files.get(&upload.digest), Some(SpoolEntry::Partial(held)) if Arc::ptr_eq(held, upload))
    }
}

impl SpoolEntry {
    fn account(&self) -> &Account {
        match self {
            SpoolEntry::Partial(upload) => &upload.account,
            SpoolEntry::Complete { account, .. } => account,
        }
    }

    fn size_bytes(&self) -> u64 {
        match self {
            SpoolEntry::Partial(upload) => upload.size_bytes,
            SpoolEntry::Complete { size_bytes, .. } => *size_bytes,
        }
    }
}

fn partial(upload: &Upload, part: &Part) -> SpoolStatus {
    SpoolStatus::Partial {
        received_bytes: part.received_bytes,
        size_bytes: upload.size_bytes,
    }
}

fn unknown(digest: &Digest) -> StoreError {
    StoreError::UnknownFile {
        digest: digest.to_string(),
    }
}
