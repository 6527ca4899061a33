//! Finished jobs: a summary that lists read, then all the rest as a stream that
//! may go on in further pieces.

use super::{HistoryError, JOB_1, JOB_PIECE_1, body, encode, key_ms, piece_key};
use crate::convert;
use crate::convert::work::Counts;
use crate::store::history::{Finished, HISTORY_VALUE_BYTES_MAX, History, HistorySubject};
use jeroboam_core::job::{Batch, Job};
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use v1::TaskState;

/// What lists show of a finished job; bounded, so that it fits into one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its id.
    pub id: u64,
    /// Its batch.
    pub batch: u64,
    /// As submitted.
    pub name: String,
    /// Full name of its queue.
    pub queue: String,
    /// Who submitted it.
    pub by: String,
    /// Number of tasks.
    pub count: u32,
    /// When it was submitted.
    pub submitted_ms: i64,
    /// When its first attempt ran; 0 if none did.
    pub started_ms: i64,
    /// When its last task ended.
    pub finished_ms: i64,
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
    /// Sum of the waits until the first place.
    pub wait_sum_ms: i64,
    /// Tasks that had a place at least once.
    pub started_tasks: u32,
    /// Milli-cores, MiB, MiB and GPUs of one task.
    pub standing: [i64; 4],
    /// Extended resources of one task, by name.
    pub extended: Vec<(String, i64)>,
    /// The last that was done by hand.
    pub by_hand: Option<LastByHand>,
}

/// What was done by hand, by whom and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastByHand {
    /// Number of the wire's verb.
    verb: i32,
    by: String,
    why: String,
    at_ms: i64,
    priority: i32,
}

/// All that is kept of a finished job.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedJob {
    /// What lists show.
    pub summary: Summary,
    /// As submitted.
    pub spec: v1::JobSpec,
    /// Which task ended how.
    pub states: Vec<FinalState>,
}

/// Tasks that ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalState {
    /// Number of the wire's state.
    state: i32,
    /// The stable code of the reason.
    pub reason: String,
    /// Who did it by hand, and why.
    by: String,
    why: String,
    /// First and last of each range.
    ranges: Vec<(u32, u32)>,
}

/// Stands before the rest of the stream.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    summary: Summary,
    pieces: u64,
}

/// What follows the head. The specification is kept in the wire's encoding,
/// which old releases wrote and new ones read; the wire's rules see to that.
#[derive(Debug, Serialize, Deserialize)]
struct Rest {
    spec: Vec<u8>,
    states: Vec<FinalState>,
}

/// The entries of a job that leaves memory.
pub(super) fn entries(world: &World, batch: &Batch, job: &Job) -> Vec<(HistorySubject, Vec<u8>)> {
    let summary = summarise(world, batch, job);
    let finished_ms = key_ms(summary.finished_ms);
    let states = convert::work::states(&job.tasks, None);
    let rest = Rest {
        spec: convert::work::spec_bytes(world, job),
        states: convert::by_hand::with_authors(batch, job, states)
            .iter()
            .map(FinalState::of)
            .collect(),
    };
    let rest = encode(JOB_PIECE_1, &rest);
    let rest = &rest[1..];
    // The head's length depends on the number of pieces by a few bytes at most.
    let room = HISTORY_VALUE_BYTES_MAX - 1;
    let head_bytes_max = encode(
        JOB_1,
        &Head {
            summary: summary.clone(),
            pieces: u64::MAX,
        },
    )
    .len();
    let (first, more) = rest.split_at(rest.len().min(HISTORY_VALUE_BYTES_MAX - head_bytes_max));
    let pieces = more.chunks(room);
    let mut head = encode(
        JOB_1,
        &Head {
            summary,
            pieces: pieces.len() as u64,
        },
    );
    head.extend(first);
    let subject = |piece: u64| HistorySubject::Job {
        job: piece_key(job.id.0, piece),
        finished_ms,
    };
    let mut entries = vec![(subject(0), head)];
    for (piece, bytes) in (1..).zip(pieces) {
        let mut value = vec![JOB_PIECE_1];
        value.extend(bytes);
        entries.push((subject(piece), value));
    }
    entries
}

fn summarise(world: &World, batch: &Batch, job: &Job) -> Summary {
    let mut counts = Counts::default();
    counts.add(&job.tasks);
    let totals = &job.totals;
    let amounts = convert::amounts::resources(world.policy(), job.resources());
    Summary {
        id: job.id.0,
        batch: job.batch.0,
        name: job.name.to_string(),
        queue: world.queues().queue(job.queue).spec.name.clone(),
        by: batch.by.clone(),
        count: job.spec.count,
        submitted_ms: job.submitted.0,
        started_ms: totals.first_started.map_or(0, |started| started.0),
        finished_ms: totals.finished.or(batch.finished).unwrap_or(world.now()).0,
        succeeded: counts.of(TaskState::Succeeded),
        failed: counts.of(TaskState::Failed),
        cancelled: counts.of(TaskState::Cancelled),
        core_ms: totals.core_ms,
        cost_micro_eur: totals.cost_micro_eur,
        wait_sum_ms: totals.wait_sum_ms,
        started_tasks: totals.started_tasks,
        standing: [
            amounts.cpu_milli,
            amounts.memory_mib,
            amounts.disk_mib,
            amounts.gpu,
        ],
        extended: amounts.extended.into_iter().collect(),
        by_hand: convert::by_hand::last(batch, job).map(LastByHand::of),
    }
}

/// What lists show of an entry.
///
/// # Errors
/// It is of another format.
pub fn summary(entry: &Finished) -> Result<Summary, HistoryError> {
    Ok(head(entry)?.0.summary)
}

fn head(entry: &Finished) -> Result<(Head, &[u8]), HistoryError> {
    let what = format!("job-{}", entry.id);
    let bytes = body(JOB_1, &what, &entry.value)?;
    postcard::take_from_bytes(bytes).map_err(|source| HistoryError::Decode { what, source })
}

/// All of a finished job, if the history has it.
///
/// # Errors
/// It cannot be read, or a part of it is missing.
pub fn read_job(history: &History, job: u64) -> Result<Option<FinishedJob>, HistoryError> {
    if job >= super::IDS_END {
        return Ok(None);
    }
    let Some(entry) = history.job(job)? else {
        return Ok(None);
    };
    let what = format!("job-{job}");
    let (Head { summary, pieces }, first) = head(&entry)?;
    let mut rest = first.to_vec();
    for piece in 1..=pieces {
        let entry = history.job(piece_key(job, piece))?;
        let entry = entry.ok_or_else(|| HistoryError::MissingPiece {
            what: what.clone(),
            piece,
        })?;
        rest.extend(body(JOB_PIECE_1, &what, &entry.value)?);
    }
    let decoded = postcard::from_bytes(&rest);
    let Rest { spec, states } = decoded.map_err(|source| HistoryError::Decode {
        what: what.clone(),
        source,
    })?;
    let spec = v1::JobSpec::decode(spec.as_slice()).map_err(|_| HistoryError::Decode {
        what,
        source: postcard::Error::DeserializeBadEncoding,
    })?;
    Ok(Some(FinishedJob {
        summary,
        spec,
        states,
    }))
}

impl LastByHand {
    fn of(note: v1::ByHand) -> Self {
        LastByHand {
            verb: note.verb,
            by: note.by,
            why: note.why,
            at_ms: note.at_ms,
            priority: note.priority,
        }
    }

    fn wire(self) -> v1::ByHand {
        v1::ByHand {
            verb: self.verb,
            by: self.by,
            why: self.why,
            at_ms: self.at_ms,
            priority: self.priority,
        }
    }
}

impl FinalState {
    fn of(states: &v1::StateRanges) -> Self {
        let ranges = states.ranges.iter().map(|range| (range.first, range.last));
        FinalState {
            state: states.state,
            reason: states.reason.clone(),
            by: states.by.clone(),
            why: states.why.clone(),
            ranges: ranges.collect(),
        }
    }

    /// Which state.
    pub fn state(&self) -> TaskState {
        TaskState::try_from(self.state).unwrap_or(TaskState::Unspecified)
    }

    /// Which tasks.
    pub fn tasks(&self) -> RangeSet {
        self.ranges.iter().copied().collect()
    }
}

impl FinishedJob {
    /// Which of the wanted tasks ended how; `None` wants all.
    pub fn states(&self, wanted: Option<&RangeSet>) -> Vec<v1::StateRanges> {
        let chosen = self.states.iter().map(|final_state| {
            let tasks = final_state.tasks();
            let tasks = wanted.map_or_else(|| tasks.clone(), |wanted| tasks.intersection(wanted));
            (final_state, tasks)
        });
        let chosen = chosen.filter(|(_, tasks)| !tasks.is_empty());
        chosen
            .map(|(of, tasks)| v1::StateRanges {
                by: of.by.clone(),
                why: of.why.clone(),
                ..convert::work::state_ranges(of.state(), of.reason.clone(), &tasks)
            })
            .collect()
    }

    /// Which tasks succeeded.
    pub fn succeeded(&self) -> RangeSet {
        let mut succeeded = RangeSet::default();
        let ended_well = self
            .states
            .iter()
            .filter(|of| of.state() == TaskState::Succeeded);
        ended_well.for_each(|of| succeeded.extend(&of.tasks()));
        succeeded
    }
}

impl Summary {
    /// On the wire.
    pub fn wire(&self) -> v1::Job {
        let mut counts = Counts::default();
        counts.add_to(TaskState::Succeeded, self.succeeded);
        counts.add_to(TaskState::Failed, self.failed);
        counts.add_to(TaskState::Cancelled, self.cancelled);
        let [cpu_milli, memory_mib, disk_mib, gpu] = self.standing;
        let extended = self.extended.iter().cloned().collect();
        v1::Job {
            id: self.id,
            batch: self.batch,
            name: self.name.clone(),
            queue: self.queue.clone(),
            count: self.count,
            tasks: counts.wire(),
            submitted_ms: self.submitted_ms,
            started_ms: self.started_ms,
            finished_ms: self.finished_ms,
            core_ms: self.core_ms,
            cost_micro_eur: self.cost_micro_eur,
            waiting: None,
            resources: Some(v1::Resources {
                cpu_milli,
                memory_mib,
                disk_mib,
                gpu,
                extended,
            }),
            submitted_by: self.by.clone(),
            wait_sum_ms: self.wait_sum_ms,
            started_tasks: self.started_tasks,
            by_hand: self.by_hand.clone().map(LastByHand::wire),
        }
    }

    /// How many tasks are in a state.
    pub fn count_of(&self, state: TaskState) -> u64 {
        match state {
            TaskState::Succeeded => self.succeeded,
            TaskState::Failed => self.failed,
            TaskState::Cancelled => self.cancelled,
            TaskState::Unspecified
            | TaskState::Held
            | TaskState::Blocked
            | TaskState::Queued
            | TaskState::Leased
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Stopping => 0,
        }
    }
}
