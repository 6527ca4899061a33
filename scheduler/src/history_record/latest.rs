//! The attempts of a job that ended last, read from the end.
//!
//! The rule it keeps: what is read does not grow with the attempts before those that are asked for. Where only some tasks are of
//! interest it ends with the first attempt of each: numbers count from 1 and rise.

use super::HistoryError;
use super::attempts::{Kept, kept_in};
use crate::store::history::{AttemptsPosition, History};
use jeroboam_core::ids::JobId;
use jeroboam_core::job::AttemptRecord;
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::spec::File;

/// Chunks read from the store at once: one attempt each where attempts end one by one.
const CHUNKS_AT_ONCE: usize = 32;

/// The latest ended attempts of a job, or of some of its tasks; the last one first, at most `max`.
///
/// # Errors
/// What is read is damaged or of another release.
pub fn latest(
    history: &History,
    job: JobId,
    wanted: Option<&RangeSet>,
    max: usize,
) -> Result<Vec<AttemptRecord>, HistoryError> {
    let mut found = Found {
        wanted,
        unfinished: wanted.map(RangeSet::len),
        later_outputs: Vec::new(),
        records: Vec::new(),
        max,
    };
    let mut before: Option<AttemptsPosition> = None;
    loop {
        let chunks = history.attempts_before(job.0, before, CHUNKS_AT_ONCE)?;
        for chunk in &chunks {
            before = Some(chunk.position);
            for kept in kept_in(job.0, chunk)?.into_iter().rev() {
                if found.is_complete() {
                    return Ok(found.records);
                }
                found.take(kept);
            }
        }
        if chunks.len() < CHUNKS_AT_ONCE {
            return Ok(found.records);
        }
    }
}

struct Found<'a> {
    wanted: Option<&'a RangeSet>,
    /// Tasks among the wanted whose first attempt was not met yet.
    unfinished: Option<u64>,
    /// Outputs of the attempt whose first piece comes next, the last piece first.
    later_outputs: Vec<Vec<File>>,
    records: Vec<AttemptRecord>,
    max: usize,
}

impl Found<'_> {
    fn is_complete(&self) -> bool {
        self.records.len() >= self.max || self.unfinished == Some(0)
    }

    fn take(&mut self, Kept { first, record, .. }: Kept) {
        let task = record.lease.task.index;
        if self.wanted.is_some_and(|wanted| !wanted.contains(task)) {
            return;
        }
        if !first {
            self.later_outputs.push(record.end.outputs);
            return;
        }
        if record.lease.attempt == 1
            && let Some(unfinished) = &mut self.unfinished
        {
            *unfinished = unfinished.saturating_sub(1);
        }
        let mut record = record;
        let later = std::mem::take(&mut self.later_outputs);
        record.end.outputs.extend(later.into_iter().rev().flatten());
        self.records.push(record);
    }
}
