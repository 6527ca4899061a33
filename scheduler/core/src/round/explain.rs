//! Why a task waits, computed when somebody asks.

use super::barrier::Work;
use super::feasible::{Taken, refusal};
use super::order::{Head, Order, is_about};
use super::room::Room;
use super::share::fine;
use crate::ids::{ClassId, JobId, QueueId, SiteId, TaskId};
use crate::job::Job;
use crate::policy::Discipline;
use crate::queue::Queue;
use crate::reason::{Refusal, WaitingReason};
use crate::rejected::Rejected;
use crate::reservation::Reservation;
use crate::resources::{DIMENSIONS, Resources};
use crate::spec::Needs;
use crate::time::TimeMs;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// All there is to say about a queued task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The one reason.
    pub reason: WaitingReason,
    /// Nodes refused, per site and cause.
    pub refusals: BTreeMap<(SiteId, Refusal), u32>,
    /// From below the root down to the leaf.
    pub path: Vec<Step>,
    /// Tasks that go before it: in its own leaf, or in the one line of all.
    pub ahead: u64,
    /// When it will start, if room is kept for it ([`predicted_start`]).
    pub predicted_start: Option<TimeMs>,
}

/// One level of the fair-share order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whose.
    pub queue: QueueId,
    /// What the queue is entitled to.
    pub entitlement: Resources,
    /// What it holds.
    pub held: Resources,
    /// Its key for its own next task, in thousandths; lowest goes first.
    pub key_milli: i64,
}

/// Explains a queued task.
///
/// # Errors
/// An unknown job, or a task that is not queued.
pub fn explain(world: &World, now: TimeMs, task: TaskId) -> Result<Explanation, Rejected> {
    let job = world.find_job(task.job)?;
    if !job.tasks.queued.contains(task.index) {
        return Err(Rejected::invalid(
            "task",
            format!("{task} does not wait for a place"),
            "see its state with `jero job ID`",
        ));
    }
    let mut reasons = Reasons::new(world, now);
    let head = Head {
        leaf: job.queue,
        job: job.id,
        class: job.next_class_of(task.index),
    };
    let mut path: Vec<QueueId> = world.queues().path(job.queue).collect();
    path.retain(|id| *id != QueueId::ROOT);
    path.reverse();
    let order = &reasons.order;
    let step = |queue: QueueId| Step {
        queue,
        entitlement: order.shares().of(queue).entitlement,
        held: world.queues().queue(queue).held,
        key_milli: order.rank(queue, &head).milli(),
    };
    let path = path.into_iter().map(step).collect();
    Ok(Explanation {
        reason: reasons.of_task(task),
        refusals: refusals(world, now, job.needs_of(task.index)),
        path,
        ahead: ahead(world, job, task.index),
        predicted_start: reservation_of(world, task)
            .and_then(|reservation| predicted_start(world, now, reservation)),
    })
}

/// When the tasks of a reservation will start, by the walltime limits of what runs: sooner
/// if something ends early; `None` where its places will not have room as things are.
pub fn predicted_start(world: &World, now: TimeMs, reservation: &Reservation) -> Option<TimeMs> {
    if !by_shares(world) {
        // Brought forward in every round; others may be reserved before it.
        return Some(reservation.promised.max(now));
    }
    let job = world.jobs().get(&reservation.job)?;
    let needs = job.needs_of(*reservation.tasks.first()?);
    let room = Room::new(world, now);
    let mut places = reservation.places.iter();
    places.try_fold(now, |latest, place| {
        let at = room.earliest(needs, place.tasks.into(), place.node)?;
        Some(latest.max(at))
    })
}

/// The room that is kept for a task.
pub fn reservation_of(world: &World, task: TaskId) -> Option<&Reservation> {
    world
        .reservations()
        .iter()
        .find(|reservation| reservation.job == task.job && reservation.tasks.contains(&task.index))
}

/// False where there is one line of all.
fn by_shares(world: &World) -> bool {
    world.policy().order == Discipline::Fair
}

/// Queued tasks that go before one of a job: of its leaf, or of the one line.
fn ahead(world: &World, job: &Job, index: u32) -> u64 {
    let mine = job.pending();
    let counts = |queue: &&Queue| queue.id == job.queue || !by_shares(world);
    let earlier = world
        .queues()
        .iter()
        .filter(counts)
        .flat_map(|queue| queue.pending.values())
        .flat_map(|pending| &pending.jobs)
        .filter(|other| **other < mine);
    // A job with altered tasks is listed once for each of their classes.
    let earlier: BTreeSet<JobId> = earlier.map(|other| other.job).collect();
    let others: u64 = earlier
        .iter()
        .map(|other| world.jobs()[other].tasks.queued.len())
        .sum();
    let own = job
        .tasks
        .queued
        .ranges()
        .take_while(|(first, _)| *first < index);
    let own: u64 = own
        .map(|(first, last)| u64::from(last.min(index - 1) - first) + 1)
        .sum();
    others + own
}

/// Why queued tasks wait, for one or for many.
pub struct Reasons<'w> {
    world: &'w World,
    order: Order<'w>,
    room: Room<'w>,
    classes: BTreeMap<(QueueId, ClassId), WaitingReason>,
    /// Tasks that may still be preempted.
    preemptions_left: u64,
}

impl<'w> Reasons<'w> {
    /// As things are at `now`.
    pub fn new(world: &'w World, now: TimeMs) -> Self {
        Reasons {
            world,
            order: Order::new(world, now),
            room: Room::new(world, now),
            classes: BTreeMap::new(),
            preemptions_left: world.preemptions_left(now),
        }
    }

    /// The one reason why a queued task waits.
    pub fn of_task(&mut self, task: TaskId) -> WaitingReason {
        match reservation_of(self.world, task) {
            Some(reservation) if reservation.freed => WaitingReason::Preempting,
            Some(_) => WaitingReason::Reserved,
            None => {
                let job = &self.world.jobs()[&task.job];
                if job.tasks.delayed.contains(task.index) {
                    return WaitingReason::RetryDelay;
                }
                let class = job.next_class_of(task.index);
                if job.ready_in(class) > 0 {
                    let reason = self.of_class(job.queue, class);
                    return self.of_job_in(job, reason);
                }
                let max = job.spec.running_max.map_or(u64::MAX, u64::from);
                if job.tasks.active.len() as u64 >= max {
                    WaitingReason::RunningMax
                } else {
                    WaitingReason::GangIncomplete
                }
            }
        }
    }

    /// The one reason why the first queued task of a job waits; `None` where none is.
    pub fn of_job(&mut self, job: &Job) -> Option<WaitingReason> {
        let index = job.tasks.queued.first()?;
        Some(self.of_task(TaskId { job: job.id, index }))
    }

    /// The reason of a job that is ready, given that of its class: one that may not be
    /// preempted may not go where others of its class may.
    pub fn of_job_in(&self, job: &Job, of_class: WaitingReason) -> WaitingReason {
        let head = Head {
            leaf: job.queue,
            job: job.id,
            class: job.class,
        };
        match of_class {
            WaitingReason::Refused(Refusal::Busy)
            | WaitingReason::Gang
            | WaitingReason::NonPreemptible
            | WaitingReason::HeldBack
            | WaitingReason::OthersFirst
                if by_shares(self.world) && !self.order.may_start(&head, job) =>
            {
                WaitingReason::BeyondGuarantee
            }
            WaitingReason::Refused(Refusal::Busy) | WaitingReason::Gang
                if self.preemptions_left == 0 && self.world.outranks_running(job) =>
            {
                WaitingReason::PreemptionBound
            }
            other => other,
        }
    }

    /// The one reason why queued tasks of a class in a leaf wait, but for those for which
    /// room is kept, and for those that may not be preempted ([`Reasons::of_job_in`]).
    pub fn of_class(&mut self, leaf: QueueId, class: ClassId) -> WaitingReason {
        if let Some(reason) = self.classes.get(&(leaf, class)) {
            return *reason;
        }
        let reason = self.find(leaf, class);
        self.classes.insert((leaf, class), reason);
        reason
    }

    fn find(&mut self, leaf: QueueId, class: ClassId) -> WaitingReason {
        let work = Work {
            leaf,
            cost: self.world.classes().cost(class),
        };
        if self.world.queues().cordoned(leaf).is_some() {
            return WaitingReason::QueueCordoned;
        }
        if let Some(reason) = self.order.bound_reached(leaf, class) {
            return reason;
        }
        if !self.order.within_limits(leaf, &work.cost) {
            return WaitingReason::QueueLimit;
        }
        match self.room.probe(&self.order, leaf, class) {
            Err(WaitingReason::Refused(Refusal::Busy))
                if by_shares(self.world) && self.is_shut_out(&work) =>
            {
                WaitingReason::NonPreemptible
            }
            Err(WaitingReason::Refused(Refusal::Busy) | WaitingReason::Gang)
                if self.preemptions_left == 0 && self.order.has_claim(&work) =>
            {
                WaitingReason::PreemptionBound
            }
            Err(reason) => reason,
            Ok(()) if self.world.reservations().is_empty() => WaitingReason::OthersFirst,
            Ok(()) => WaitingReason::HeldBack,
        }
    }

    /// True if the work's queue is below its guarantee while what nothing may preempt is
    /// beyond its own elsewhere.
    fn is_shut_out(&self, work: &Work) -> bool {
        let shares = self.order.shares();
        let beyond = |id: QueueId| {
            let fixed = fine(&self.world.queues().queue(id).held_fixed);
            let guarantee = &shares.of(id).guarantee;
            (0..DIMENSIONS)
                .any(|d| is_about(&work.cost, &shares.pool, d) && fixed[d] > guarantee[d])
        };
        let mut others = self.world.queues().iter().skip(1).map(|queue| queue.id);
        self.order.has_claim(work) && others.any(beyond)
    }
}

fn refusals(world: &World, now: TimeMs, needs: &Needs) -> BTreeMap<(SiteId, Refusal), u32> {
    let mut counts = BTreeMap::new();
    for node in world.nodes().iter().filter(|node| node.is_known()) {
        if let Some(cause) = refusal(world, now, &Taken::default(), needs, node) {
            *counts.entry((node.site, cause)).or_default() += 1;
        }
    }
    counts
}
