//! What the scheduler keeps on disk: journal, snapshots, history and spool, under one directory and one lock.
//!
//! The rule: nothing here knows what its bytes mean, and everything that it calls durable survives a power cut.
//!
//! [`journal`] keeps the records and [`history`] finished work, in the same durable step, both over an [`engine`]; [`snapshot`]
//! keeps the World's stream, [`spool`] the files of jobs. What is written when, and the conversion of events to bytes,
//! is the driver's business. The entry points are [`Store::open`] and [`Store::replay`].
//!
//! ```text
//! data_dir/lock                 one process at a time
//! data_dir/journal/             sled: journal and history
//! data_dir/journal.mark         what was acknowledged
//! data_dir/journal.found/       both as a start found them, until it has proved good
//! data_dir/journal.refused/     both as a refused start found them
//! data_dir/snapshots/through-N  the effect of records 1..=N
//! data_dir/spool/               files by sha256, uploads as .part
//! ```

mod durable_file;
pub mod engine;
mod error;
pub mod history;
pub mod journal;
mod lock;
mod original;
pub mod snapshot;
pub mod spool;

use std::path::Path;
use std::sync::Arc;

pub use error::StoreError;

use engine::Engine;
use engine::embedded::SledEngine;
use journal::{Journal, JournalOptions, JournalReader, Records, Sequence};
use lock::DirectoryLock;
use original::Original;
use snapshot::{SnapshotReader, Snapshots};
use spool::{Spool, SpoolLimits};

/// How to open a data directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// See [`JournalOptions::accept_loss_after`].
    pub accept_loss_after: Option<Sequence>,
    /// Bounds of the spool.
    pub spool: SpoolLimits,
}

/// The open data directory; its parts may go to different threads, the lock lasts as long as any of them.
#[derive(Debug)]
pub struct Store {
    /// First, so that it is dropped while the lock is still held.
    original: Original,
    /// The journal; its owner is the only writer. Gives out the history, too.
    pub journal: Journal,
    /// The snapshots.
    pub snapshots: Snapshots,
    /// The spool.
    pub spool: Spool,
    /// What the snapshot to start from holds, if there is one.
    base: Option<Sequence>,
}

/// What is durable at one moment, to be read beside the writer and on another thread. It may be
/// truncated meanwhile: then reading ends with an error, and another may be taken.
pub struct Reading {
    snapshots: Snapshots,
    journal: JournalReader,
}

impl Reading {
    /// As it is now.
    pub fn of(journal: &Journal, snapshots: &Snapshots) -> Self {
        Self {
            snapshots: snapshots.clone(),
            journal: journal.reader(),
        }
    }

    /// The newest snapshot and the records after it.
    pub fn replay(&self) -> Result<Replay<'_>, StoreError> {
        let base = self.snapshots.newest()?;
        let read = |through| self.snapshots.read(through);
        Ok(Replay {
            snapshot: base.map(read).transpose()?,
            records: self.journal.read_after(base.unwrap_or_default()),
        })
    }
}

/// What a restart begins with: the newest intact snapshot, then the records after it, both read as they are asked for.
pub struct Replay<'a> {
    /// The World as it was, unless it starts empty.
    pub snapshot: Option<SnapshotReader>,
    /// What happened since.
    pub records: Records<'a>,
}

impl Store {
    /// Opens or creates a data directory and checks what can be checked without reading all of it.
    pub fn open(data_dir: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let engine =
            || Ok(Box::new(SledEngine::open(&data_dir.join("journal"))?) as Box<dyn Engine>);
        Self::assemble(engine, Original::take, data_dir, options)
    }

    /// As [`Store::open`], with the journal and the history on another engine.
    pub fn over(
        engine: Box<dyn Engine>,
        data_dir: &Path,
        options: &StoreOptions,
    ) -> Result<Self, StoreError> {
        Self::assemble(|| Ok(engine), Original::none, data_dir, options)
    }

    /// The lock comes first: nothing is touched in a directory that another process has open.
    fn assemble(
        engine: impl FnOnce() -> Result<Box<dyn Engine>, StoreError>,
        original: impl FnOnce(&Path) -> Original,
        data_dir: &Path,
        options: &StoreOptions,
    ) -> Result<Self, StoreError> {
        durable_file::create_directory(data_dir)?;
        let lock = Arc::new(DirectoryLock::acquire(&data_dir.join("lock"))?);
        let snapshots = Snapshots::open(data_dir.join("snapshots"), Arc::clone(&lock))?;
        let found = snapshots.find()?;
        let mut original = original(data_dir);
        let journal_options = JournalOptions {
            accept_loss_after: options.accept_loss_after,
            snapshot_through: found.intact.unwrap_or_default(),
            snapshot_exists: snapshots.newest()?.is_some(),
        };
        let journal = engine()
            .and_then(|engine| Journal::open(engine, journal_options))
            .map_err(|error| original.refuse(error))?;
        if !found.damaged.is_empty() && journal.floor() > journal_options.snapshot_through {
            return Err(StoreError::no_intact_snapshot(
                found.damaged,
                journal.floor(),
            ));
        }
        snapshots.set_aside(&found.damaged)?;
        let spool = Spool::open(data_dir.join("spool"), options.spool, lock)?;
        Ok(Self {
            journal,
            snapshots,
            spool,
            base: found.intact,
            original,
        })
    }

    /// Everything has been replayed: what the start began with is not needed any more. To be called before anything is appended.
    pub fn proved_good(&mut self) {
        self.original.discard();
    }

    /// Something was found damaged in the replay: what the start began with is kept, and the returned error says where.
    pub fn refuse(&mut self, error: StoreError) -> StoreError {
        self.original.refuse(error)
    }

    /// The newest intact snapshot and the records after it.
    pub fn replay(&self) -> Result<Replay<'_>, StoreError> {
        let read = |through| self.snapshots.read(through);
        Ok(Replay {
            snapshot: self.base.map(read).transpose()?,
            records: self.journal.read_after(self.base.unwrap_or_default()),
        })
    }
}
