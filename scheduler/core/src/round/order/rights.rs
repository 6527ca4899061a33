//! Who may go, besides whose turn it is: limits, room that is kept for others, and what
//! guarantees let work ignore (rules 3, 7 and 8, and R, of the fair share).

use super::{Head, Order, is_about};
use crate::ids::{ClassId, QueueId};
use crate::job::Job;
use crate::reason::WaitingReason;
use crate::resources::{DIMENSIONS, Resources};
use crate::round::barrier::{Work, keeps_out};
use crate::round::share::fine;
use crate::time::TimeMs;

impl Order<'_> {
    /// The first queue above work that would hold more than its limit, if it held what
    /// it holds and has reserved, less what would be `gone`, and the work.
    pub fn limited_by(&self, work: &Work, gone: impl Fn(QueueId) -> Resources) -> Option<QueueId> {
        let queues = self.world.queues();
        queues.path(work.leaf).find(|id| {
            let charged = self.charged[id.index()].minus(&self.leaving[id.index()]);
            let with = charged.minus(&gone(*id)).plus(&work.cost);
            queues.queue(*id).spec.limit.exceeded(&with, &work.cost)
        })
    }

    /// True if any queue has a guarantee.
    pub fn has_guarantees(&self) -> bool {
        self.guarantees
    }

    /// True if some queue above the work is below its guarantee in what it is about.
    pub fn has_claim(&self, work: &Work) -> bool {
        self.guarantees
            && self
                .world
                .queues()
                .path(work.leaf)
                .any(|id| self.is_below(id, &work.cost))
    }

    /// True if a queue is below its guarantee in something that work of this cost is about.
    pub fn is_below(&self, queue: QueueId, cost: &Resources) -> bool {
        let (net, share) = (fine(&self.net[queue.index()]), self.shares.of(queue));
        let below = |d: usize| net[d] < share.guarantee[d];
        (0..DIMENSIONS).any(|d| below(d) && is_about(cost, &self.shares.pool, d))
    }

    /// True if a queue has its guarantee in all that work of this cost is about.
    pub(super) fn is_served(&self, queue: QueueId, cost: &Resources) -> bool {
        !self.is_below(queue, cost)
    }

    /// True if with the work a queue would still be inside its guarantee, in everything
    /// that the work asks for.
    pub fn is_inside(&self, queue: QueueId, cost: &Resources) -> bool {
        let with = fine(&self.net[queue.index()].plus(cost));
        let guarantee = &self.shares.of(queue).guarantee;
        (0..DIMENSIONS).all(|d| cost[d] == 0 || with[d] <= guarantee[d])
    }

    /// True if the first need not respect room that is kept for the second.
    pub fn ignores(&self, work: &Work, other: &Work) -> bool {
        if !self.guarantees {
            return false;
        }
        let Some((mine, theirs)) = self.world.queues().fork(work.leaf, other.leaf) else {
            return false;
        };
        let inside = self.is_inside(mine, &work.cost) && !self.is_inside(theirs, &other.cost);
        inside || (self.is_below(mine, &work.cost) && self.is_served(theirs, &other.cost))
    }

    /// Work passes room that is held back if it ends before that is needed: where there
    /// are few nodes, it would else stand idle.
    pub fn let_short_work_pass(&mut self) {
        self.short_passes = true;
        self.stale = true;
    }

    /// True if work has to wait for others' reservations to come true.
    pub(super) fn is_kept_out(&self, work: &Work, class: ClassId) -> bool {
        let pool = &self.shares.pool;
        if !keeps_out(&self.closed, &work.cost, pool) {
            return false;
        }
        let claim = self.has_claim(work);
        let walltime_ms = self.world.classes().needs(class).walltime_ms;
        let end = self.now + walltime_ms.saturating_add(self.world.policy().grace_ms);
        let ends_before =
            |until: Option<TimeMs>| self.short_passes && until.is_some_and(|until| end <= until);
        if !claim && !self.short_passes {
            return true;
        }
        let counts =
            |other: &Work, until| !(ends_before(until) || (claim && self.ignores(work, other)));
        keeps_out(&self.barrier.closed(counts), &work.cost, pool)
    }

    /// True if the queues above a leaf have room below their limits.
    pub fn within_limits(&self, leaf: QueueId, cost: &Resources) -> bool {
        let queues = self.world.queues();
        queues.path(leaf).all(|id| {
            let held = self.charged[id.index()].plus(cost);
            !queues.queue(id).spec.limit.exceeded(&held, cost)
        })
    }

    /// True if the tasks of a head are not more than queues, and each user in them, may run.
    pub fn within_bounds(&self, head: &Head) -> bool {
        self.bound_reached(head.leaf, head.class).is_none()
    }

    /// Which bound keeps the next task or gang of a class from a place.
    pub fn bound_reached(&self, leaf: QueueId, class: ClassId) -> Option<WaitingReason> {
        let size = self.world.classes().gang(class).size;
        let reached = self.counts.reached(self.world, leaf, class, size.into());
        reached.map(|(_, reason)| reason)
    }

    /// True if more is given and kept than bounds above a class allow.
    pub fn is_over_bounds(&self, leaf: QueueId, class: ClassId) -> bool {
        self.counts.reached(self.world, leaf, class, 0).is_some()
    }

    /// True if what is charged is over a limit above work that is charged already; what
    /// is on its way out counts if `now`.
    pub fn is_over_limit(&self, work: &Work, now: bool) -> bool {
        let queues = self.world.queues();
        queues.path(work.leaf).any(|id| {
            let mut charged = self.charged[id.index()];
            if !now {
                charged -= &self.leaving[id.index()];
            }
            queues.queue(id).spec.limit.exceeded(&charged, &work.cost)
        })
    }

    /// Rule 8: where the policy asks for it, what nothing may preempt stays inside the
    /// guarantees above it.
    pub(in crate::round) fn may_start(&self, head: &Head, job: &Job) -> bool {
        if job.spec.preemptible || !self.world.policy().non_preemptible_within_guarantee {
            return true;
        }
        let cost = self.cost(head);
        let queues = self.world.queues();
        let inside = |id: QueueId| {
            let mut held = queues.queue(id).held_fixed.plus(&cost);
            // What this round has placed counts whole: it may be fixed as well.
            held += &self.charged[id.index()].minus(&queues.queue(id).held);
            let (held, share) = (fine(&held), self.shares.of(id));
            let about = (0..DIMENSIONS).filter(|d| is_about(&cost, &self.shares.pool, *d));
            about.into_iter().all(|d| held[d] <= share.guarantee[d])
        };
        let mut path = queues.path(head.leaf).filter(|id| *id != QueueId::ROOT);
        path.all(inside)
    }
}
