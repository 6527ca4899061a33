//! Why queued tasks wait, for many of them at once and within a bound on work.
//!
//! The rule it keeps: a reason is looked for once a leaf and requirement class, since a
//! look costs one at each node; beyond [`NODES_LOOKED_AT_MAX`] none is looked for. What
//! a job's own state says (a reservation, `running_max`, its gang, a delay) costs no
//! such look. The reasons themselves are the core's (`round::explain`).

use jeroboam_core::ids::{ClassId, QueueId, TaskId};
use jeroboam_core::job::Job;
use jeroboam_core::reason::WaitingReason;
use jeroboam_core::round::explain;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use std::collections::BTreeSet;

/// Nodes looked at for all reasons together, at most.
const NODES_LOOKED_AT_MAX: usize = 200_000;
/// The stable code of what is beyond that bound.
pub const UNEXAMINED: &str = "unexamined";

/// The reasons that were found on one World at one time.
pub struct Reasons<'a> {
    world: &'a World,
    reasons: explain::Reasons<'a>,
    known: BTreeSet<(QueueId, ClassId)>,
    nodes_looked_at: usize,
}

impl<'a> Reasons<'a> {
    /// None yet.
    pub fn new(world: &'a World, now: TimeMs) -> Self {
        Reasons {
            world,
            reasons: explain::Reasons::new(world, now),
            known: BTreeSet::new(),
            nodes_looked_at: 0,
        }
    }

    /// Why queued tasks of a class wait in a leaf; `None` beyond the bound.
    pub fn of(&mut self, leaf: QueueId, class: ClassId) -> Option<WaitingReason> {
        if self.known.insert((leaf, class)) {
            if self.nodes_looked_at >= NODES_LOOKED_AT_MAX {
                self.known.remove(&(leaf, class));
                return None;
            }
            self.nodes_looked_at += self.world.nodes().len();
        }
        Some(self.reasons.of_class(leaf, class))
    }

    /// Why the queued tasks of a job wait, of which it has some: as `explain` says of the
    /// one for which room is kept, or else of those that are nearest to a place.
    pub fn of_job(&mut self, job: &Job) -> Option<WaitingReason> {
        match self.set_apart(job) {
            Some(task) => Some(self.reasons.of_task(task)),
            None => {
                let of_class = self.of(job.queue, job.class)?;
                Some(self.of_job_in(job, of_class))
            }
        }
    }

    /// The reason of a job, given that of its class.
    pub fn of_job_in(&self, job: &Job, of_class: WaitingReason) -> WaitingReason {
        self.reasons.of_job_in(job, of_class)
    }

    /// The reason of a queued task that differs from its class's.
    pub fn of_task(&mut self, task: TaskId) -> WaitingReason {
        self.reasons.of_task(task)
    }

    /// A task of the job that waits for a reason of its own, if none is nearer to a place.
    fn set_apart(&self, job: &Job) -> Option<TaskId> {
        let mine = |index| TaskId { job: job.id, index };
        let mut reservations = self.world.reservations().iter();
        let reserved = reservations
            .find(|reservation| reservation.job == job.id)
            .and_then(|reservation| reservation.tasks.first());
        if let Some(index) = reserved {
            return Some(mine(*index));
        }
        let tasks = &job.tasks;
        let due = |(first, last): (u32, u32)| {
            let due = tasks.delayed.gap_from(first);
            (due <= last).then_some(due)
        };
        let first = || tasks.queued.ranges().find_map(due).or(tasks.queued.first());
        // Those that are altered are told of where all others have gone.
        (job.ready().tasks == 0).then(first).flatten().map(mine)
    }
}
