//! What the history keeps of finished work, as bytes: structures of its own,
//! postcard, each value led by one byte that names its format.
//!
//! The rule it keeps: nothing is lost to the store's bound on values, and what
//! one release wrote, later ones read (a new format gets a new leading byte).
//!
//! - A *batch* is one value: its sums and where its jobs are.
//! - A *job* is its summary, specification and final states as one stream, cut
//!   into pieces where it exceeds the bound. The first piece stands under the
//!   job's id and holds the whole summary, so that lists read one value a job;
//!   piece `n` stands under `id + n · 2^48` ([`piece_key`]), far beyond every
//!   real id. All pieces are written with one record and carry the job's time,
//!   so they appear and expire together.
//! - *Attempts* are chunks of records; the outputs of one attempt that has very
//!   many go on in further chunks.
//!
//! The driver writes what [`attempts`] and [`retired`] return; the API reads by
//! [`read_batch`], [`read_job`], [`latest`] and [`AttemptScan`]. Where they stand and when
//! they expire is [`crate::store::history`]'s business.

mod attempts;
mod job;
mod latest;

use crate::store::StoreError;
use crate::store::history::{Finished, HISTORY_VALUE_BYTES_MAX, History, HistorySubject};
pub use attempts::{AttemptScan, Kept, attempts};
use jeroboam_core::job::{Batch, Job};
use jeroboam_core::world::World;
use jeroboam_proto::v1;
pub use job::{FinishedJob, Summary, read_job, summary};
pub use latest::latest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// First byte of a batch.
const BATCH_1: u8 = 0x11;
/// First byte of the first piece of a job.
const JOB_1: u8 = 0x21;
/// First byte of every further piece of a job.
const JOB_PIECE_1: u8 = 0x22;
/// First byte of a chunk of attempts.
const ATTEMPTS_1: u8 = 0x31;

/// Ids of batches and jobs stay below; pieces of long jobs stand above.
pub const IDS_END: u64 = 1 << 48;

/// Why a value of the history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store could not read it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is intact, but of another format.
    #[error(
        "the history's entry of {what} has the format {format:#04x}, which this release does not know; start the release that wrote it"
    )]
    Format {
        /// Which entry.
        what: String,
        /// Its first byte.
        format: u8,
    },
    /// It is intact and of a known format, but cannot be decoded.
    #[error("the history's entry of {what} cannot be decoded: {source}")]
    Decode {
        /// Which entry.
        what: String,
        /// Why.
        #[source]
        source: postcard::Error,
    },
    /// A part of a long job is not there.
    #[error("the history's entry of {what} lacks its piece {piece}; restore a backup")]
    MissingPiece {
        /// Which entry.
        what: String,
        /// Which piece.
        piece: u64,
    },
}

/// A finished batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedBatch {
    /// Its id.
    pub id: u64,
    /// As submitted.
    pub name: String,
    /// Full name of its queue.
    pub queue: String,
    /// Who submitted it.
    pub by: String,
    /// When.
    pub submitted_ms: i64,
    /// When its last task ended.
    pub finished_ms: i64,
    /// The client's id of the submission.
    pub request_id: String,
    /// Of the specification.
    pub digest: [u8; 32],
    /// Its jobs have consecutive ids from here.
    pub first_job: u64,
    /// How many.
    pub jobs: u32,
    /// Tasks that ended well.
    pub succeeded: u64,
    /// Tasks that failed.
    pub failed: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Core-milliseconds.
    pub core_ms: i64,
    /// Millionths of a euro.
    pub cost_micro_eur: i64,
}

/// What is kept of a batch that leaves memory, and of its jobs.
pub fn retired(world: &World, batch: &Batch, jobs: &[Job]) -> Vec<(HistorySubject, Vec<u8>)> {
    let mut entries = Vec::with_capacity(jobs.len() + 1);
    let finished = finished_batch(world, batch, jobs);
    let finished_ms = key_ms(finished.finished_ms);
    entries.push((
        HistorySubject::Batch {
            batch: finished.id,
            finished_ms,
        },
        encode(BATCH_1, &finished),
    ));
    for job in jobs {
        entries.extend(job::entries(world, batch, job));
    }
    entries
}

fn finished_batch(world: &World, batch: &Batch, jobs: &[Job]) -> FinishedBatch {
    let sum = |of: fn(&Job) -> u64| jobs.iter().map(of).sum();
    FinishedBatch {
        id: batch.id.0,
        name: batch.name.clone(),
        queue: world.queues().queue(batch.queue).spec.name.clone(),
        by: batch.by.clone(),
        submitted_ms: batch.submitted.0,
        finished_ms: batch.finished.unwrap_or(world.now()).0,
        request_id: batch.request_id.clone(),
        digest: batch.digest,
        first_job: batch.first_job.0,
        jobs: batch.jobs,
        succeeded: sum(|job| job.tasks.succeeded.len()),
        failed: sum(|job| job.tasks.failed.values().map(|set| set.len()).sum()),
        cancelled: sum(|job| job.tasks.cancelled.values().map(|set| set.len()).sum()),
        core_ms: jobs.iter().map(|job| job.totals.core_ms).sum(),
        cost_micro_eur: jobs.iter().map(|job| job.totals.cost_micro_eur).sum(),
    }
}

/// Reads a batch.
///
/// # Errors
/// It is of another format.
pub fn read_batch(entry: &Finished) -> Result<FinishedBatch, HistoryError> {
    decode(BATCH_1, &format!("batch-{}", entry.id), &entry.value)
}

/// A finished batch, if the history has it.
///
/// # Errors
/// It cannot be read.
pub fn find_batch(history: &History, batch: u64) -> Result<Option<FinishedBatch>, HistoryError> {
    history
        .batch(batch)?
        .map(|entry| read_batch(&entry))
        .transpose()
}

impl FinishedBatch {
    /// On the wire.
    pub fn wire(&self) -> v1::Batch {
        let mut counts = crate::convert::work::Counts::default();
        counts.add_to(v1::TaskState::Succeeded, self.succeeded);
        counts.add_to(v1::TaskState::Failed, self.failed);
        counts.add_to(v1::TaskState::Cancelled, self.cancelled);
        v1::Batch {
            id: self.id,
            name: self.name.clone(),
            queue: self.queue.clone(),
            submitted_by: self.by.clone(),
            submitted_ms: self.submitted_ms,
            jobs: self.jobs,
            tasks: counts.wire(),
            finished_ms: self.finished_ms,
            core_ms: self.core_ms,
            cost_micro_eur: self.cost_micro_eur,
        }
    }
}

/// Where piece `piece` of a job stands; piece 0 is the job's own entry.
pub fn piece_key(job: u64, piece: u64) -> u64 {
    assert!(
        job < IDS_END && piece < 1 << 16,
        "a job's id and pieces are far below their bounds"
    );
    job + piece * IDS_END
}

/// The store's keys have no sign; a time before 1970 counts as 1970.
fn key_ms(time_ms: i64) -> u64 {
    time_ms.max(0) as u64
}

fn encode(format: u8, value: &impl Serialize) -> Vec<u8> {
    let bytes = postcard::to_extend(value, vec![format]);
    bytes.expect("plain structures in memory can be encoded")
}

fn decode<T: DeserializeOwned>(format: u8, what: &str, value: &[u8]) -> Result<T, HistoryError> {
    let body = body(format, what, value)?;
    postcard::from_bytes(body).map_err(|source| HistoryError::Decode {
        what: what.into(),
        source,
    })
}

fn body<'a>(format: u8, what: &str, value: &'a [u8]) -> Result<&'a [u8], HistoryError> {
    match value.split_first() {
        Some((first, body)) if *first == format => Ok(body),
        other => {
            let format = other.map_or(0, |(first, _)| *first);
            Err(HistoryError::Format {
                what: what.into(),
                format,
            })
        }
    }
}

#[cfg(test)]
mod tests;
