//! Finished work: opaque entries under typed keys, written in the same durable step as the journal's records.
//!
//! The rule: an entry is there exactly when the record that it came with is, so the history is never behind and never ahead
//! of the journal. What the bytes mean is the driver's business; the journal writes ([`HistoryWrite`]), everybody reads
//! ([`History`] is cheap to clone and safe beside the writer), the driver's clock decides what expires ([`History::expire`]).
//!
//! Each entry carries the sequence number of its record (so that a loss accepted by the operator takes its history along), the
//! time the work finished, and a checksum. Batches and jobs are also listed by that time; attempts live as long as their job.

mod key;
mod retention;

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

pub use retention::Expired;

use super::StoreError;
use super::engine::{Entry, Scan, Tree, TreeName, Write};
use super::journal::Sequence;
use key::Key;

/// The largest value of one entry.
pub const HISTORY_VALUE_BYTES_MAX: usize = 64 * 1024 - 64;

/// An entry to be written with a group of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryWrite<'a> {
    /// The index, within the group, of the record that it belongs to.
    pub record: usize,
    /// What it is about.
    pub subject: HistorySubject,
    /// At most [`HISTORY_VALUE_BYTES_MAX`] bytes.
    pub value: &'a [u8],
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistorySubject {
    /// A finished batch; replaces what was there.
    Batch {
        /// Its number.
        batch: u64,
        /// When it finished, in Unix milliseconds.
        finished_ms: u64,
    },
    /// A finished job; replaces what was there.
    Job {
        /// Its number.
        job: u64,
        /// When it finished, in Unix milliseconds.
        finished_ms: u64,
    },
    /// Attempts of a job; adds to what was there.
    Attempts {
        /// The job's number.
        job: u64,
    },
}

/// A finished batch or job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The number of the batch or job.
    pub id: u64,
    /// When it finished, in Unix milliseconds.
    pub finished_ms: u64,
    /// What was written.
    pub value: Vec<u8>,
}

/// One chunk of a job's attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    /// Where it stands among the job's chunks; a page goes on after it.
    pub position: AttemptsPosition,
    /// What was written.
    pub value: Vec<u8>,
}

/// The place of a chunk of attempts: the record it came with, and which of that record's chunks it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptsPosition {
    /// The journal's record.
    pub sequence: Sequence,
    /// Counts the chunks of one job within the record's group.
    pub part: u32,
}

impl AttemptsPosition {
    const FIRST: Self = Self {
        sequence: Sequence::ZERO,
        part: 0,
    };
    const LAST: Self = Self {
        sequence: Sequence(u64::MAX),
        part: u32::MAX,
    };
}

/// Reads of the history.
#[derive(Clone)]
pub struct History {
    path: PathBuf,
    tree: Arc<dyn Tree>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl History {
    pub(super) fn new(path: PathBuf, tree: Arc<dyn Tree>) -> Self {
        Self { path, tree }
    }

    /// A finished batch.
    pub fn batch(&self, batch: u64) -> Result<Option<Finished>, StoreError> {
        self.read(Key::Batch(batch))
    }

    /// A finished job.
    pub fn job(&self, job: u64) -> Result<Option<Finished>, StoreError> {
        self.read(Key::Job(job))
    }

    /// At most `limit` finished batches with numbers below `before`, newest number first.
    pub fn batches_before(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Finished>, StoreError> {
        self.page_down(
            Key::Batch(0),
            before.map(Key::Batch),
            Key::Batch(u64::MAX),
            limit,
        )
    }

    /// At most `limit` finished jobs with numbers below `before`, newest number first.
    pub fn jobs_before(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Finished>, StoreError> {
        self.page_down(Key::Job(0), before.map(Key::Job), Key::Job(u64::MAX), limit)
    }

    /// At most `limit` chunks of a job's attempts after a position, oldest first.
    pub fn attempts(
        &self,
        job: u64,
        after: Option<AttemptsPosition>,
        limit: usize,
    ) -> Result<Vec<Attempts>, StoreError> {
        let from = match after {
            Some(position) => Bound::Excluded(position),
            None => Bound::Included(AttemptsPosition::FIRST),
        };
        let entries = self.scan_attempts(job, (from, Bound::Included(AttemptsPosition::LAST)));
        entries
            .take(limit)
            .map(|entry| self.chunk(entry?))
            .collect()
    }

    /// At most `limit` chunks of a job's attempts before a position, newest first.
    pub fn attempts_before(
        &self,
        job: u64,
        before: Option<AttemptsPosition>,
        limit: usize,
    ) -> Result<Vec<Attempts>, StoreError> {
        let to = match before {
            Some(position) => Bound::Excluded(position),
            None => Bound::Included(AttemptsPosition::LAST),
        };
        let entries = self.scan_attempts(job, (Bound::Included(AttemptsPosition::FIRST), to));
        entries
            .rev()
            .take(limit)
            .map(|entry| self.chunk(entry?))
            .collect()
    }

    fn scan_attempts(
        &self,
        job: u64,
        (from, to): (Bound<AttemptsPosition>, Bound<AttemptsPosition>),
    ) -> Scan<'_> {
        let encode = |position| Key::Attempts(job, position).encode();
        self.tree.scan((from.map(encode), to.map(encode)))
    }

    fn chunk(&self, entry: Entry) -> Result<Attempts, StoreError> {
        match self.decode(entry)? {
            (Key::Attempts(_, position), value) => Ok(Attempts {
                position,
                value: value.bytes,
            }),
            (key, _) => Err(self.damaged(&key.encode(), "another kind of entry is in its place")),
        }
    }

    fn read(&self, key: Key) -> Result<Option<Finished>, StoreError> {
        let encoded = key.encode();
        let Some(value) = self.tree.read(&encoded)? else {
            return Ok(None);
        };
        let (key, value) = self.decode((encoded, value))?;
        Ok(Some(Finished {
            id: key.id(),
            finished_ms: value.finished_ms,
            value: value.bytes,
        }))
    }

    fn page_down(
        &self,
        from: Key,
        before: Option<Key>,
        to: Key,
        limit: usize,
    ) -> Result<Vec<Finished>, StoreError> {
        let end = before.map_or(Bound::Included(to.encode()), |before| {
            Bound::Excluded(before.encode())
        });
        let entries = self
            .tree
            .scan((Bound::Included(from.encode()), end))
            .rev()
            .take(limit);
        entries
            .map(|entry| {
                let (key, value) = self.decode(entry?)?;
                Ok(Finished {
                    id: key.id(),
                    finished_ms: value.finished_ms,
                    value: value.bytes,
                })
            })
            .collect()
    }

    fn decode(&self, (key, value): Entry) -> Result<(Key, Value), StoreError> {
        let parsed =
            Key::decode(&key).ok_or_else(|| self.damaged(&key, "its key is none of ours"))?;
        let value = Value::decode(&key, &value)
            .ok_or_else(|| self.damaged(&key, "its checksum does not match its bytes"))?;
        Ok((parsed, value))
    }

    fn damaged(&self, key: &[u8], what: &'static str) -> StoreError {
        let key = Key::decode(key).map_or_else(|| format!("{key:02x?}"), |key| key.to_string());
        StoreError::DamagedHistory {
            path: self.path.clone(),
            key,
            what,
        }
    }
}

/// The engine's writes for entries that come with a group of records numbered from `first`.
pub(super) fn encode(
    first: Sequence,
    records: usize,
    history: &[HistoryWrite<'_>],
) -> Result<Vec<Write>, StoreError> {
    let mut writes = Vec::with_capacity(2 * history.len());
    for (index, entry) in history.iter().enumerate() {
        assert!(
            entry.record < records,
            "history entry {index} names record {} of {records}",
            entry.record
        );
        if entry.value.len() > HISTORY_VALUE_BYTES_MAX {
            return Err(StoreError::TooLarge {
                what: "a history entry",
                size_bytes: entry.value.len() as u64,
                limit_bytes: HISTORY_VALUE_BYTES_MAX as u64,
            });
        }
        let sequence = Sequence(first.0 + entry.record as u64);
        let part = u32::try_from(index).expect("a group has fewer than 2^32 entries");
        let (key, finished_ms) = match entry.subject {
            HistorySubject::Batch { batch, finished_ms } => (Key::Batch(batch), finished_ms),
            HistorySubject::Job { job, finished_ms } => (Key::Job(job), finished_ms),
            // The index in the group tells apart the chunks that one job gets with one record.
            HistorySubject::Attempts { job } => {
                (Key::Attempts(job, AttemptsPosition { sequence, part }), 0)
            }
        };
        let encoded = key.encode();
        let value = Value {
            sequence,
            finished_ms,
            bytes: entry.value.to_vec(),
        }
        .encode(&encoded);
        writes.push(Write {
            tree: TreeName::History,
            key: encoded,
            value: Some(value),
        });
        if let Some(listed) = key.listed_at(finished_ms) {
            writes.push(Write {
                tree: TreeName::History,
                key: listed.encode(),
                value: Some(Vec::new()),
            });
        }
    }
    Ok(writes)
}

/// What stands under the key of a batch, a job or attempts.
#[derive(Debug)]
struct Value {
    sequence: Sequence,
    finished_ms: u64,
    bytes: Vec<u8>,
}

impl Value {
    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(20 + self.bytes.len());
        value.extend_from_slice(&[0; 4]);
        value.extend_from_slice(&self.sequence.0.to_le_bytes());
        value.extend_from_slice(&self.finished_ms.to_le_bytes());
        value.extend_from_slice(&self.bytes);
        let checksum = checksum(key, &value[4..]);
        value[..4].copy_from_slice(&checksum.to_le_bytes());
        value
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (expected, body) = value.split_first_chunk::<4>()?;
        let (sequence, rest) = body.split_first_chunk::<8>()?;
        let (finished_ms, bytes) = rest.split_first_chunk::<8>()?;
        (checksum(key, body) == u32::from_le_bytes(*expected)).then(|| Self {
            sequence: Sequence(u64::from_le_bytes(*sequence)),
            finished_ms: u64::from_le_bytes(*finished_ms),
            bytes: bytes.to_vec(),
        })
    }
}

/// Over the key too, so that a value under the wrong key is noticed.
fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}
