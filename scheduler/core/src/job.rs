//! Jobs: an array of tasks as one record, with ranges per state.
//!
//! A task is materialised (an [`Active`] entry) only while it holds a place;
//! what it used up before is remembered only if it may be tried again.
//! How an ended attempt moves its task is decided in [`transition`].

mod altered;
mod by_hand;
mod links;
pub mod transition;

pub use altered::Altered;
pub use by_hand::{BY_HAND_MAX, ByHand};
pub use links::{Blocker, Links, Need};

use crate::ids::{BatchId, ClassId, JobId, KernelId, LeaseId, NodeId, QueueId};
use crate::queue::PendingJob;
use crate::ranges::RangeSet;
use crate::rare::{Rare, Unset};
use crate::resources::Resources;
use crate::spec::{File, JobSpec};
use crate::time::TimeMs;
use crate::words::Words;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one submission brought, while it is in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// As submitted.
    pub name: String,
    /// The leaf it was submitted to.
    pub queue: QueueId,
    /// Who submitted it.
    pub by: String,
    /// When.
    pub submitted: TimeMs,
    /// The client's id of the submission.
    pub request_id: String,
    /// Of the specification, to tell a repeated submission from another one.
    pub digest: [u8; 32],
    /// Its jobs have consecutive ids from here.
    pub first_job: JobId,
    /// How many jobs it has.
    pub jobs: u32,
    /// Jobs with a task that has not ended.
    pub unfinished: u32,
    /// When the last task ended.
    pub finished: Option<TimeMs>,
    /// A task of it has ended well, ever.
    pub has_succeeded: bool,
    /// What was done to its tasks by hand, the latest last; at most [`BY_HAND_MAX`].
    pub by_hand: Rare<Vec<ByHand>>,
}

impl Batch {
    /// The ids of its jobs.
    pub fn job_ids(&self) -> impl Iterator<Item = JobId> + use<> {
        (self.first_job.0..self.first_job.0 + u64::from(self.jobs)).map(JobId)
    }
}

/// An array of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The batch it came with.
    pub batch: BatchId,
    /// The leaf it waits in.
    pub queue: QueueId,
    /// Chosen by the user; unique in its batch.
    pub name: Box<str>,
    /// Program and arguments.
    pub command: Words,
    /// As submitted, but for what was changed by hand since, and without name and
    /// command: those are its own, the rest it shares with others like it.
    pub spec: Arc<JobSpec>,
    /// Of `spec.needs` and of how many tasks go next at once.
    pub class: ClassId,
    /// Of `spec.needs` for a task that goes for itself.
    pub alone: ClassId,
    /// When.
    pub submitted: TimeMs,
    /// What it waits for and what waits for it.
    pub links: Rare<Links>,
    /// Which task is in which state.
    pub tasks: Tasks,
    /// Sums over its attempts.
    pub totals: Rare<Totals>,
}

/// Every index below the job's count is in exactly one of these, `delayed`, `wakes`, `past`, `gang` and
/// `altered` apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    /// By hand, until released.
    pub held: Rare<RangeSet>,
    /// Waiting for other jobs, or for tasks of them.
    pub blocked: RangeSet,
    /// Waiting for a place.
    pub queued: RangeSet,
    /// Holding a place.
    pub active: Rare<BTreeMap<u32, Active>>,
    /// Ended well.
    pub succeeded: RangeSet,
    /// Ended badly, and no rule grants another attempt.
    pub failed: Rare<BTreeMap<FailedReason, RangeSet>>,
    /// Ended by decision.
    pub cancelled: Rare<BTreeMap<CancelledWhy, RangeSet>>,
    /// Those of the queued whose time after a failure has not come yet.
    pub delayed: Rare<RangeSet>,
    /// When they may go; there may be tasks among them that have left meanwhile.
    pub wakes: Rare<BTreeMap<TimeMs, RangeSet>>,
    /// What tasks that have not succeeded used up so far.
    pub past: Rare<BTreeMap<u32, Past>>,
    /// Tasks that have not ended and get their places together or not at all.
    pub gang: Rare<RangeSet>,
    /// Those of them that ask for something else than the job, by their class.
    pub altered: Rare<BTreeMap<ClassId, Altered>>,
}

/// A task that holds a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// From 1.
    pub attempt: u32,
    /// Where.
    pub node: NodeId,
    /// When the place was given.
    pub granted: TimeMs,
    /// What it may still cost at most, by its walltime limit.
    pub reserved_micro_eur: i64,
    /// How far it is.
    pub state: ActiveState,
    /// Of the node, when the place was given.
    pub kernel: KernelId,
    /// How it runs, if not in the engine's own runtime beside others.
    pub apart: Option<Box<Apart>>,
}

/// How a task runs that is kept apart from others, or in a runtime with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    /// As the node's engine calls it; empty is the engine's own.
    pub runtime: String,
    /// What it takes up on the node besides what the task asks for.
    pub overhead: Resources,
    /// No other tenant's work may run on the same kernel meanwhile.
    pub alone: bool,
}

impl Active {
    /// What it takes up on its node, of a task that asks for these.
    pub fn takes_up(&self, resources: &Resources) -> Resources {
        match &self.apart {
            None => *resources,
            Some(apart) => resources.plus(&apart.overhead),
        }
    }

    /// True if no other tenant's work may run on its kernel meanwhile.
    pub fn is_alone(&self) -> bool {
        self.apart.as_ref().is_some_and(|apart| apart.alone)
    }

    /// The runtime that it runs in; empty is the engine's own.
    pub fn runtime(&self) -> &str {
        self.apart.as_ref().map_or("", |apart| &apart.runtime)
    }

    /// True if its task is to be cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self.state,
            ActiveState::Stopping {
                why: StopWhy::Cancelled(_)
            }
        )
    }

    /// True if it was told to end.
    pub fn is_stopping(&self) -> bool {
        matches!(self.state, ActiveState::Stopping { .. })
    }
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActiveState {
    /// The place is given; the site has not answered yet.
    Leased,
    /// The site prepares it.
    Starting,
    /// The command runs.
    Running {
        /// When that was reported.
        since: TimeMs,
    },
    /// It is to end; the place is taken until that is confirmed.
    Stopping {
        /// What decides what it becomes then.
        why: StopWhy,
    },
}

/// Why a running attempt is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopWhy {
    /// The task is cancelled.
    Cancelled(CancelledWhy),
    /// Its place is wanted for a queue below its guarantee; the task waits again.
    Preempted {
        /// For a task of this job.
        by: JobId,
    },
    /// Another of its gang lost its place; the gang waits again, together.
    GangBroken,
    /// Somebody took its place away; the task waits again.
    PreemptedByHand,
}

impl StopWhy {
    /// True if its place was taken away from it.
    pub fn is_preempted(self) -> bool {
        matches!(self, StopWhy::Preempted { .. } | StopWhy::PreemptedByHand)
    }
}

/// Why a task failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailedReason {
    /// Exit code other than 0.
    Exit(i32),
    /// Ended by this signal.
    Signal(i32),
    /// Stopped at its walltime limit.
    Walltime,
    /// Stopped at its memory limit.
    Memory,
    /// Could not be started.
    Start,
    /// A promised output was missing or too large.
    Outputs,
    /// Lost too often, or not restartable.
    Lost,
    /// Preempted, and not restartable.
    Preempted,
}

/// Why a task was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CancelledWhy {
    /// Somebody asked for it.
    User,
    /// A job it depends on did not succeed.
    Dependency,
    /// Another of its gang failed for good.
    Gang,
}

/// What a task has used up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Attempts so far; the next one gets the following number.
    pub attempts: u32,
    /// How many of them were lost since the task was last queued by hand.
    pub lost: u32,
    /// Uses of each retry rule, by its position.
    pub rule_uses: Vec<u32>,
    /// How many attempts never ran since the task was last queued by hand.
    pub not_run: u32,
    /// How many were preempted, ever.
    pub preempted: u32,
    /// When it may go again, where a rule said so.
    pub not_before: Option<TimeMs>,
}

/// How an attempt ended, as its shim or agent reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The command ended by itself.
    Exit(i32),
    /// The command was ended by a signal that nobody here sent.
    Signal(i32),
    /// Stopped at its walltime limit.
    WalltimeExceeded,
    /// Stopped at its memory limit.
    MemoryExceeded,
    /// Fenced on the node.
    ContactLost,
    /// What it did is unknown.
    Lost,
    /// It never started.
    NotRun,
    /// Stopped on request.
    Stopped,
    /// Could not be started; why.
    StartFailed(String),
    /// Exit code 0, but an output is missing or too large; which.
    OutputsFailed(String),
    /// Its place was taken away for this job; said by the World alone.
    Preempted(JobId),
    /// Another of its gang lost its place; said by the World alone.
    GangBroken,
    /// Somebody took its place away; said by the World alone.
    PreemptedByHand {
        /// Who.
        by: String,
        /// Why, in words; may be empty.
        reason: String,
    },
}

/// What an ended attempt used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptUsage {
    /// By the node's wall clock.
    pub started: TimeMs,
    /// By the node's wall clock.
    pub ended: TimeMs,
    /// CPU time of the whole process tree.
    pub cpu_ms: i64,
    /// Largest resident memory of the tree.
    pub memory_peak_mib: i64,
}

/// The end of an attempt, as reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// How it ended.
    pub outcome: Outcome,
    /// Absent where nothing ran or nobody knows.
    pub usage: Option<AttemptUsage>,
    /// Files that came back.
    pub outputs: Vec<File>,
    /// What was kept of the standard output.
    pub stdout: Option<File>,
    /// What was kept of the standard error.
    pub stderr: Option<File>,
}

impl AttemptEnd {
    /// An end of which nothing but the outcome is known.
    pub fn bare(outcome: Outcome) -> Self {
        AttemptEnd {
            outcome,
            usage: None,
            outputs: Vec::new(),
            stdout: None,
            stderr: None,
        }
    }
}

/// An ended attempt, for the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Which.
    pub lease: LeaseId,
    /// Name of the site it was at.
    pub site: String,
    /// Name of the node it was on.
    pub node: String,
    /// When the place was given.
    pub granted: TimeMs,
    /// When the end was accepted.
    pub ended: TimeMs,
    /// How it ended.
    pub end: AttemptEnd,
}

/// Sums over a job's attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// When its first attempt was reported running.
    pub first_started: Option<TimeMs>,
    /// When its last task ended; `None` while one has not.
    pub finished: Option<TimeMs>,
    /// Core-milliseconds.
    pub core_ms: i64,
    /// Millionths of a euro.
    pub cost_micro_eur: i64,
    /// Tasks that were given a place at least once.
    pub started_tasks: u32,
    /// Sum of their waits from submission to the first place.
    pub wait_sum_ms: i64,
}

impl Unset for Totals {
    const UNSET: &'static Self = &Totals {
        first_started: None,
        finished: None,
        core_ms: 0,
        cost_micro_eur: 0,
        started_tasks: 0,
        wait_sum_ms: 0,
    };
}

impl Job {
    /// Its specification, as submitted.
    pub fn submitted_spec(&self) -> JobSpec {
        JobSpec {
            name: self.name.to_string(),
            command: self.command.to_vec(),
            ..self.spec.common()
        }
    }

    /// Its place in the order of its leaf and class.
    pub fn pending(&self) -> PendingJob {
        PendingJob {
            class: Reverse(self.spec.priority_class),
            priority: Reverse(self.spec.priority),
            submitted: self.submitted,
            job: self.id,
        }
    }

    /// Per task, those apart that are altered.
    pub fn resources(&self) -> &Resources {
        &self.spec.needs.resources
    }

    /// True once every task has ended.
    pub fn is_finished(&self) -> bool {
        self.tasks.ended() == u64::from(self.spec.count)
    }

    /// True if every task has succeeded.
    pub fn has_succeeded(&self) -> bool {
        self.tasks.succeeded.len() == u64::from(self.spec.count)
    }

    /// How many of its tasks go next at once, and how many may hold a place now; those
    /// apart that are altered.
    ///
    /// A gang goes only when all of it waits, the others only while it holds its places.
    pub fn ready(&self) -> Ready {
        let tasks = &self.tasks;
        let (queued, room) = (tasks.due(), self.room());
        let members = tasks.gang.len();
        // The last of a gang goes for itself.
        if members <= 1 || tasks.gang_holds() {
            return Ready {
                size: 1,
                tasks: queued.min(room),
            };
        }
        let delayed = !tasks.delayed.intersection(&tasks.gang).is_empty();
        let waits = !delayed && tasks.queued.intersection(&tasks.gang).len() == members;
        Ready {
            size: members as u32,
            tasks: if waits && room >= members {
                queued.min(room)
            } else {
                0
            },
        }
    }

    /// The tasks of a class that go next at once: the gang, or the first that waits, of
    /// those that are not `taken` yet.
    pub fn next_tasks(&self, class: ClassId, size: u32, taken: &RangeSet) -> Option<Vec<u32>> {
        if size > 1 {
            let free = |index: &u32| !taken.contains(*index);
            let members: Vec<u32> = self.tasks.gang.iter().filter(free).collect();
            return (members.len() == size as usize).then_some(members);
        }
        let mut from = 0;
        loop {
            let index = self.tasks.queued.first_from(from)?;
            from = taken.gap_from(self.tasks.delayed.gap_from(index));
            from = self.tasks.first_of_class(class, from)?;
            if from == index {
                return Some(vec![index]);
            }
        }
    }

    /// The number of the next attempt of a task.
    pub fn next_attempt(&self, index: u32) -> u32 {
        self.tasks.past.get(&index).map_or(0, |past| past.attempts) + 1
    }
}

/// What of a job could go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// At once.
    pub size: u32,
    /// In all; 0 where nothing can go.
    pub tasks: u64,
}

impl Tasks {
    /// True if every task of the gang that has not ended holds a place and may keep it.
    pub fn gang_holds(&self) -> bool {
        let holds = |active: &Active| !active.is_stopping();
        self.gang
            .iter()
            .all(|index| self.active.get(&index).is_some_and(holds))
    }

    /// Tasks in an end state.
    pub fn ended(&self) -> u64 {
        let failed: u64 = self.failed.values().map(RangeSet::len).sum();
        let cancelled: u64 = self.cancelled.values().map(RangeSet::len).sum();
        self.succeeded.len() + failed + cancelled
    }

    /// True if the task ended without success.
    pub fn has_failed(&self, index: u32) -> bool {
        let mut ended = self.failed.values().chain(self.cancelled.values());
        ended.any(|ended| ended.contains(index))
    }

    /// Tasks that wait for a place, for other jobs or for a release.
    pub fn waiting(&self) -> u64 {
        self.queued.len() + self.blocked.len() + self.held.len()
    }

    /// Active tasks among `wanted`.
    pub fn active_among(&self, wanted: &RangeSet) -> Vec<u32> {
        let ranges = wanted.ranges();
        ranges
            .flat_map(|(first, last)| self.active.range(first..=last))
            .map(|(index, _)| *index)
            .collect()
    }
}
