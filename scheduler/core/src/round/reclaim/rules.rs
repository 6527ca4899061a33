//! Who may be preempted for some work: rules A and B on running totals, and classes.

use super::Right;
use super::running::Unit;
use super::search::Search;
use super::trial::Trial;
use crate::ids::QueueId;
use crate::resources::{DIMENSIONS, Resources};
use crate::round::order::is_about;
use crate::round::share::fine;
use crate::spec::PriorityClass;

impl Search<'_> {
    /// True if some unit of a leaf and class could be allowed; of many it is told at once
    /// that none is.
    pub(super) fn may(&self, trial: &Trial, leaf: QueueId, class: PriorityClass) -> bool {
        if let Right::Class(mine) = trial.right {
            return leaf == self.work.leaf && class < mine;
        }
        let Some((q, y0)) = self.queues.fork(self.work.leaf, leaf) else {
            return false;
        };
        let spare = |y: QueueId| {
            let (left, kept) = (fine(&self.rem(trial, y)), self.guarantee(y));
            (0..DIMENSIONS).any(|d| left[d] > kept[d])
        };
        (self.is_below(trial, q) && self.down_to(y0, leaf).all(spare))
            || (trial.right == Right::AOrB && self.is_inside(trial, q))
    }

    /// True if one more unit may go, on the running totals.
    pub(super) fn is_allowed(&self, trial: &Trial, unit: &Unit) -> bool {
        if let Right::Class(class) = trial.right {
            return unit.work.leaf == self.work.leaf && unit.class < class;
        }
        if self.allows_a(trial, unit) && self.keeps_above(trial, unit) {
            return true;
        }
        trial.right == Right::AOrB
            && self.allows_b(trial, unit)
            && (trial.all_b || self.keeps_above(trial, unit))
    }

    fn allows_a(&self, trial: &Trial, unit: &Unit) -> bool {
        let victim = &unit.work;
        let Some((q, y0)) = self.queues.fork(self.work.leaf, victim.leaf) else {
            return false;
        };
        self.is_below(trial, q)
            && self.down_to(y0, victim.leaf).all(|y| {
                let left = fine(&self.rem(trial, y).minus(&victim.cost));
                let kept = self.guarantee(y);
                (0..DIMENSIONS).all(|d| victim.cost[d] == 0 || left[d] >= kept[d])
            })
    }

    pub(super) fn allows_b(&self, trial: &Trial, unit: &Unit) -> bool {
        let Some((q, y0)) = self.queues.fork(self.work.leaf, unit.work.leaf) else {
            return false;
        };
        let levels = self.down_to(y0, unit.work.leaf).count();
        unit.is_beyond(levels) && self.is_inside(trial, q)
    }

    /// Without one more victim, and with the work, the queues above both keep what they
    /// hold of their guarantees.
    fn keeps_above(&self, trial: &Trial, unit: &Unit) -> bool {
        let above = |id: &QueueId| self.queues.path(unit.work.leaf).any(|other| other == *id);
        let mut both = self.queues.path(self.work.leaf).filter(above);
        both.all(|id| {
            let left = self.rem(trial, id).minus(&unit.work.cost);
            self.keeps_guarantee(id, &left.plus(&self.work.cost))
        })
    }

    /// What the whole list must keep: the guarantees of the queues above claimant and
    /// victims, the limits above the claimant, and the bounds on preemptions.
    pub(super) fn is_allowed_in_all(&self, trial: &Trial) -> bool {
        let victims = trial.victims.iter();
        let tasks = victims.map(|unit| self.running.units[*unit].tasks.all().len());
        if tasks.sum::<usize>() as u64 > self.preemptions_left || self.limited(trial).is_some() {
            return false;
        }
        let mut path = self.queues.path(self.work.leaf);
        let after = |id: QueueId| self.rem(trial, id).plus(&self.work.cost);
        let inside = matches!(trial.right, Right::Class(_));
        inside || trial.all_b || path.all(|id| self.keeps_guarantee(id, &after(id)))
    }

    /// The first queue above the work that would hold more than its limit.
    pub(super) fn limited(&self, trial: &Trial) -> Option<QueueId> {
        self.order.limited_by(&self.work, |id| trial.gone(id))
    }

    /// What a queue would still hold.
    fn rem(&self, trial: &Trial, queue: QueueId) -> Resources {
        self.order.net(queue).minus(&trial.gone(queue))
    }

    fn guarantee(&self, queue: QueueId) -> &[i64; DIMENSIONS] {
        &self.order.shares().of(queue).guarantee
    }

    /// True if a queue would be below its guarantee in something the work is about.
    fn is_below(&self, trial: &Trial, queue: QueueId) -> bool {
        let (held, guarantee) = (fine(&self.rem(trial, queue)), self.guarantee(queue));
        let pool = &self.order.shares().pool;
        let below = |d: usize| held[d] < guarantee[d] && is_about(&self.work.cost, pool, d);
        (0..DIMENSIONS).any(below)
    }

    /// True if with the work a queue would be inside its guarantee in all it asks for.
    fn is_inside(&self, trial: &Trial, queue: QueueId) -> bool {
        let cost = &self.work.cost;
        let with = fine(&self.rem(trial, queue).plus(cost));
        let guarantee = self.guarantee(queue);
        (0..DIMENSIONS).all(|d| cost[d] == 0 || with[d] <= guarantee[d])
    }

    /// True if a queue that holds this would hold no less of its guarantee than before.
    fn keeps_guarantee(&self, id: QueueId, after: &Resources) -> bool {
        let (before, after) = (fine(self.order.net(id)), fine(after));
        let guarantee = self.guarantee(id);
        (0..DIMENSIONS).all(|d| after[d] >= before[d].min(guarantee[d]))
    }

    /// The queues from a leaf up to one above it, both included.
    fn down_to(&self, top: QueueId, leaf: QueueId) -> impl Iterator<Item = QueueId> + '_ {
        let mut reached = false;
        self.queues.path(leaf).take_while(move |id| {
            let goes_on = !reached;
            reached = *id == top;
            goes_on
        })
    }
}
