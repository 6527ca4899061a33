//! Keys of the history tree: a letter for the kind, then numbers in big-endian, so that byte order is number order.

use std::fmt;

use super::AttemptsPosition;
use crate::store::journal::Sequence;

/// A key of the history tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Attempts(u64, AttemptsPosition),
    Batch(u64),
    Job(u64),
    /// Lists a batch by the time it finished; the value is empty.
    BatchAt(u64, u64),
    /// Lists a job by the time it finished; the value is empty.
    JobAt(u64, u64),
}

/// The first letter of both kinds of keys that list by time.
pub(super) const LISTED: u8 = b'T';

impl Key {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut key = Vec::with_capacity(21);
        match self {
            Key::Attempts(job, position) => {
                key.push(b'A');
                key.extend_from_slice(&job.to_be_bytes());
                key.extend_from_slice(&position.sequence.0.to_be_bytes());
                key.extend_from_slice(&position.part.to_be_bytes());
            }
            Key::Batch(batch) => {
                key.push(b'B');
                key.extend_from_slice(&batch.to_be_bytes());
            }
            Key::Job(job) => {
                key.push(b'J');
                key.extend_from_slice(&job.to_be_bytes());
            }
            Key::BatchAt(finished_ms, batch) => list(&mut key, finished_ms, b'B', batch),
            Key::JobAt(finished_ms, job) => list(&mut key, finished_ms, b'J', job),
        }
        key
    }

    pub(super) fn decode(key: &[u8]) -> Option<Self> {
        let (&kind, rest) = key.split_first()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(*number);
        match (kind, rest.len()) {
            (b'B', 0) => Some(Key::Batch(number)),
            (b'J', 0) => Some(Key::Job(number)),
            (b'A', 12) => {
                let (sequence, part) = rest.split_first_chunk::<8>()?;
                let sequence = Sequence(u64::from_be_bytes(*sequence));
                let part = u32::from_be_bytes(part.try_into().ok()?);
                Some(Key::Attempts(number, AttemptsPosition { sequence, part }))
            }
            (LISTED, 9) => {
                let (&kind, id) = rest.split_first()?;
                let id = u64::from_be_bytes(id.try_into().ok()?);
                match kind {
                    b'B' => Some(Key::BatchAt(number, id)),
                    b'J' => Some(Key::JobAt(number, id)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The number of the batch or job that it is about.
    pub(super) fn id(self) -> u64 {
        match self {
            Key::Attempts(id, _)
            | Key::Batch(id)
            | Key::Job(id)
            | Key::BatchAt(_, id)
            | Key::JobAt(_, id) => id,
        }
    }

    /// The key that lists this one by the time it finished.
    pub(super) fn listed_at(self, finished_ms: u64) -> Option<Self> {
        match self {
            Key::Batch(batch) => Some(Key::BatchAt(finished_ms, batch)),
            Key::Job(job) => Some(Key::JobAt(finished_ms, job)),
            Key::Attempts(..) | Key::BatchAt(..) | Key::JobAt(..) => None,
        }
    }
}

fn list(key: &mut Vec<u8>, finished_ms: u64, kind: u8, id: u64) {
    key.push(LISTED);
    key.extend_from_slice(&finished_ms.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(&id.to_be_bytes());
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Attempts(job, position) => write!(
                f,
                "attempts of job-{job} at {}.{}",
                position.sequence, position.part
            ),
            Key::Batch(batch) => write!(f, "batch-{batch}"),
            Key::Job(job) => write!(f, "job-{job}"),
            Key::BatchAt(finished_ms, batch) => write!(f, "batch-{batch} by time {finished_ms}"),
            Key::JobAt(finished_ms, job) => write!(f, "job-{job} by time {finished_ms}"),
        }
    }
}
