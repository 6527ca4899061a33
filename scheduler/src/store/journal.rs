//! The journal: records in order, durable before they are acknowledged, read back in order or not at all.
//!
//! The rule: [`Journal::append`] returns only when its records (and the history entries written with them) survive a power
//! cut, and what it returned for is found again or missed loudly. It knows bytes only; what they mean is the driver's business.
//! Snapshots are files beside it ([`super::snapshot`]); the storage is an [`Engine`].
//!
//! Invariants:
//! - Sequence numbers start at 1 and have no gaps. Records up to the *floor* have been truncated, a snapshot holds their effect.
//! - The acknowledged mark never runs ahead of what is durable; a journal shorter than the mark is [`StoreError::TailLost`].
//! - A damaged or missing record ends reading with its position, never silently. Going on without it is the operator's
//!   explicit choice ([`JournalOptions::accept_loss_after`]).
//! - After a failed append ([`StoreError::AppendFailed`]) nothing more is taken ([`StoreError::Poisoned`]). Whether the failed group is on disk is only known at the
//!   next open: it is then there as a whole or not at all, and nobody has been told of it.
//!
//! Space: sled does not shrink its file, it cleans segments that are mostly dead and uses them again. A million records of 100 bytes
//! in groups of 1,000 (114 MiB of frames) take 226 MiB; after truncating all of them and appending a million more, twice over, the file
//! has 272 MiB: it stays at two to three times the most that was held between two truncations, so that is what the interval of
//! snapshots decides. Journals rotated as directories of their own would be given back whole, but the history could not be written
//! in one atomic step with them, and would fall behind or run ahead in a crash: the plateau is the lesser evil. Memory
//! stays near 150 MiB under that load at an 8 MiB cache. `benches/store.rs` measures this again.
//!
//! Time (debug build, two cores, a virtual disk): groups of 1, 10, 100 and 1,000 such records go at 2,000, 19,000, 130,000 and 340,000
//! records a second with the median group durable after 0.5 to 2 ms and 99 % after 1 to 9 ms, the second sync (of the mark) included.

mod frame;
mod loss;
mod replay;

use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use frame::{CHUNK_BYTES_MAX, VALUE_BYTES_MAX};
pub use replay::Records;

use super::StoreError;
use super::engine::{Engine, Mark, Tree, TreeName, Write};
use super::history::{History, HistoryWrite};

/// The largest record; the largest event (a batch of a million jobs) is far below.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// The format written by this release.
const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = b"format";
const FLOOR_KEY: &[u8] = b"floor";
/// Values that one call of [`Journal::truncate`] removes at most: 0.15 to 0.5 ms each in a debug build.
const TRUNCATED_VALUES_MAX: usize = 16;

/// The number of a record; 0 stands before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first record.
    pub const ZERO: Sequence = Sequence(0);

    /// The one after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The one before; 0 stays 0.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub sequence: Sequence,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How to open a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalOptions {
    /// The operator goes on without the acknowledged records after this one. Has an effect only when some are lost or
    /// damaged, and only with the number that the error named: an option left in place later loses nothing more.
    pub accept_loss_after: Option<Sequence>,
    /// What the snapshot to start from holds; records up to here are not needed.
    pub snapshot_through: Sequence,
    /// Whether there is a snapshot, readable or not: a journal that is gone from beside it is no fresh start.
    pub snapshot_exists: bool,
}

/// The open journal; its owner is the only writer.
pub struct Journal {
    engine: Box<dyn Engine>,
    records: Arc<dyn Tree>,
    floor: Sequence,
    last: Sequence,
    /// The first failure, and whether it was a full disk.
    poisoned: Option<(String, bool)>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.engine.path())
            .field("floor", &self.floor)
            .field("last", &self.last)
            .field("poisoned", &self.poisoned)
            .finish_non_exhaustive()
    }
}

/// The records that were durable at one moment.
pub struct JournalReader {
    records: Arc<dyn Tree>,
    path: PathBuf,
    floor: Sequence,
    last: Sequence,
}

impl JournalReader {
    /// As [`Journal::read_after`].
    pub fn read_after(&self, after: Sequence) -> Records<'_> {
        Records::new(&*self.records, &self.path, after, self.last, self.floor)
    }
}

impl Journal {
    /// Opens what the engine holds: checks the format, finds the last record and compares it with the mark.
    pub fn open(mut engine: Box<dyn Engine>, options: JournalOptions) -> Result<Self, StoreError> {
        check_format(&mut *engine, options)?;
        let floor = read_floor(&*engine)?;
        let records = engine.tree(TreeName::Journal);
        let mut journal = Self {
            engine,
            records,
            floor,
            last: floor,
            poisoned: None,
        };
        let base = floor.max(options.snapshot_through);
        if let Some(accepted) = options.accept_loss_after {
            journal.accept_loss(accepted, base)?;
        }
        journal.last = journal.last_on_disk()?.max(base);
        journal.compare_with_mark()?;
        Ok(journal)
    }

    /// Appends a group of records with the history entries that belong to them; returns the last record's number. All are durable and
    /// acknowledged on return. Nothing is written when one is over its bound; any other error poisons the journal.
    pub fn append(
        &mut self,
        records: &[&[u8]],
        history: &[HistoryWrite<'_>],
    ) -> Result<Sequence, StoreError> {
        self.refuse_if_poisoned()?;
        check_bounds(records)?;
        let first = self.last.next();
        let mut writes = super::history::encode(first, records.len(), history)?;
        let values = frame::pack(first, records);
        writes.extend(values.into_iter().map(|(key, value)| Write {
            tree: TreeName::Journal,
            key,
            value: Some(value),
        }));
        if writes.is_empty() {
            return Ok(self.last);
        }
        let last = Sequence(self.last.0 + records.len() as u64);
        let done = self
            .engine
            .apply(writes)
            .and_then(|()| self.engine.acknowledge(last));
        self.poison_on_error(done)?;
        self.last = last;
        Ok(last)
    }

    /// The number of the last record, truncated or not; 0 if there never was one.
    pub fn last(&self) -> Sequence {
        self.last
    }

    /// Records up to here are gone; a snapshot holds their effect.
    pub fn floor(&self) -> Sequence {
        self.floor
    }

    /// The records after `after`, in order, read as they are asked for. The iterator ends after the last record or with the
    /// error that says where reading cannot go on.
    pub fn read_after(&self, after: Sequence) -> Records<'_> {
        Records::new(
            &*self.records,
            self.engine.path(),
            after,
            self.last,
            self.floor,
        )
    }

    /// What is durable now, readable from any thread beside the writer.
    pub fn reader(&self) -> JournalReader {
        JournalReader {
            records: self.records.clone(),
            path: self.engine.path().to_owned(),
            floor: self.floor,
            last: self.last,
        }
    }

    /// Forgets records up to `through`, whose effect a durable snapshot holds. Bounded work: returns whether there is
    /// more to remove, by calling again. A crash in between is harmless: the floor is durable before the first removal.
    pub fn truncate(&mut self, through: Sequence) -> Result<bool, StoreError> {
        self.refuse_if_poisoned()?;
        assert!(
            through <= self.last,
            "truncation through {through} goes beyond the last record {}",
            self.last
        );
        if through > self.floor {
            let value = through.0.to_le_bytes().to_vec();
            let done = self.engine.apply(vec![Write {
                tree: TreeName::Meta,
                key: FLOOR_KEY.to_vec(),
                value: Some(value),
            }]);
            self.poison_on_error(done)?;
            self.floor = through;
        }
        let (keys, more) = self.truncatable()?;
        let done = self.records.remove(&keys);
        self.poison_on_error(done)?;
        Ok(more)
    }

    /// The history that is written with this journal, readable from any thread.
    pub fn history(&self) -> History {
        History::new(
            self.engine.path().to_owned(),
            self.engine.tree(TreeName::History),
        )
    }

    /// The engine's directory.
    pub fn path(&self) -> &Path {
        self.engine.path()
    }

    /// Keys of values that hold nothing above the floor, and whether there are more than one call removes.
    fn truncatable(&self) -> Result<(Vec<Vec<u8>>, bool), StoreError> {
        let mut keys = Vec::new();
        let mut held: Option<Vec<u8>> = None;
        for entry in self.records.scan((Bound::Unbounded, Bound::Unbounded)) {
            let (key, _) = entry?;
            // A value is dead when the next one starts at or before the first record that lives.
            let dead = frame::parse_key(&key).is_some_and(|start| start <= (self.floor.next(), 0));
            keys.extend(held.replace(key).filter(|_| dead));
            if !dead || keys.len() >= TRUNCATED_VALUES_MAX {
                return Ok((keys, dead));
            }
        }
        if self.floor == self.last {
            keys.extend(held);
        }
        Ok((keys, false))
    }

    /// The last complete record in the tree, or 0.
    fn last_on_disk(&self) -> Result<Sequence, StoreError> {
        let Some(entry) = self
            .records
            .scan((Bound::Unbounded, Bound::Unbounded))
            .next_back()
        else {
            return Ok(Sequence::ZERO);
        };
        let (key, value) = entry?;
        let start = frame::parse_key(&key).map_or(Sequence::ZERO, |(sequence, _)| sequence);
        let damaged = |sequence, what: &str| StoreError::DamagedRecord {
            path: self.engine.path().to_owned(),
            sequence,
            what: what.to_owned(),
        };
        let (mut rest, mut last, mut complete) = (value.as_slice(), start.previous(), true);
        while !rest.is_empty() {
            let (frame, length) =
                frame::Frame::read(rest).map_err(|what| damaged(last.next(), what))?;
            (last, complete) = (frame.sequence, frame.last);
            rest = &rest[length..];
        }
        if complete {
            Ok(last)
        } else {
            Err(damaged(last, "its last chunks are missing"))
        }
    }

    fn compare_with_mark(&self) -> Result<(), StoreError> {
        let held = self.last;
        let unusable = |what: String| StoreError::DamagedMark {
            path: self.engine.mark_path().to_owned(),
            what,
            held,
        };
        match self.engine.acknowledged()? {
            Mark::At(acknowledged) if acknowledged > held => Err(StoreError::TailLost {
                path: self.engine.path().to_owned(),
                held,
                acknowledged,
            }),
            Mark::At(_) => Ok(()),
            Mark::Absent => Err(unusable("it is missing".to_owned())),
            Mark::Unreadable(what) => Err(unusable(what)),
        }
    }

    fn refuse_if_poisoned(&self) -> Result<(), StoreError> {
        match &self.poisoned {
            None => Ok(()),
            Some((cause, disk_full)) => Err(StoreError::Poisoned {
                path: self.engine.path().to_owned(),
                cause: cause.clone(),
                disk_full: *disk_full,
            }),
        }
    }

    fn poison_on_error(&mut self, done: Result<(), StoreError>) -> Result<(), StoreError> {
        done.map_err(|source| {
            self.poisoned = Some((source.to_string(), source.is_disk_full()));
            StoreError::AppendFailed {
                source: Box::new(source),
            }
        })
    }
}

fn check_bounds(records: &[&[u8]]) -> Result<(), StoreError> {
    let Some(large) = records
        .iter()
        .find(|record| record.len() > RECORD_BYTES_MAX)
    else {
        return Ok(());
    };
    Err(StoreError::TooLarge {
        what: "a journal record",
        size_bytes: large.len() as u64,
        limit_bytes: RECORD_BYTES_MAX as u64,
    })
}

/// Refuses newer formats; gives a fresh directory this one.
fn check_format(engine: &mut dyn Engine, options: JournalOptions) -> Result<(), StoreError> {
    let damaged = |what: &str| StoreError::DamagedRecord {
        path: engine.path().to_owned(),
        sequence: Sequence(1),
        what: what.to_owned(),
    };
    let found = engine.tree(TreeName::Meta).read(FORMAT_KEY)?;
    if let Some(found) = found {
        let found = found
            .try_into()
            .map_err(|_| damaged("the format version is unreadable"))?;
        let found = u32::from_le_bytes(found);
        if found > FORMAT {
            return Err(StoreError::NewerFormat {
                path: engine.path().to_owned(),
                found,
                supported: FORMAT,
            });
        }
        return Ok(());
    }
    if engine
        .tree(TreeName::Journal)
        .scan((Bound::Unbounded, Bound::Unbounded))
        .next()
        .is_some()
    {
        return Err(damaged("there are records but no format version"));
    }
    if options.snapshot_exists && engine.acknowledged()? == Mark::Absent {
        // A snapshot is never older than its journal: this one is gone.
        return Err(StoreError::DamagedMark {
            path: engine.mark_path().to_owned(),
            what: "it is missing, and the journal is empty beside a snapshot".to_owned(),
            held: options.snapshot_through,
        });
    }
    // The mark comes first: a directory that has its format has promised to have a mark.
    if engine.acknowledged()? == Mark::Absent {
        engine.acknowledge(Sequence::ZERO)?;
    }
    let value = Some(FORMAT.to_le_bytes().to_vec());
    engine.apply(vec![Write {
        tree: TreeName::Meta,
        key: FORMAT_KEY.to_vec(),
        value,
    }])
}

fn read_floor(engine: &dyn Engine) -> Result<Sequence, StoreError> {
    let Some(floor) = engine.tree(TreeName::Meta).read(FLOOR_KEY)? else {
        return Ok(Sequence::ZERO);
    };
    let floor = floor.try_into().map_err(|_| StoreError::DamagedRecord {
        path: engine.path().to_owned(),
        sequence: Sequence(1),
        what: "the floor of the journal is unreadable".to_owned(),
    })?;
    Ok(Sequence(u64::from_le_bytes(floor)))
}
