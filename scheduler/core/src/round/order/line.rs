//! The jobs of a leaf that may still go in a round: of every class the first, by
//! priority, submission and id.

use crate::ids::ClassId;
use crate::queue::{PendingJob, Queue};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// One leaf's jobs. What was passed over stays out until [`Line::form`].
#[derive(Debug, Default)]
pub struct Line {
    firsts: BTreeSet<(PendingJob, ClassId)>,
    /// Per class: the jobs up to this one have nothing left in this round.
    spent: BTreeMap<ClassId, PendingJob>,
    /// Jobs that have something again, or of another class than the World lists.
    extra: BTreeMap<ClassId, BTreeSet<PendingJob>>,
}

impl Line {
    /// Lines all up again who has something left.
    pub fn form(&mut self, queue: &Queue) {
        let classes = queue.pending.keys().chain(self.extra.keys());
        let firsts = classes.filter_map(|class| Some((self.first_of(queue, *class)?, *class)));
        self.firsts = firsts.collect();
    }

    /// Who goes next.
    pub fn first(&self) -> Option<(PendingJob, ClassId)> {
        self.firsts.first().copied()
    }

    /// The class of the first job may not go now.
    pub fn pass_over(&mut self) {
        self.firsts.pop_first();
    }

    /// Nothing is left of the first job in this round.
    pub fn spend(&mut self, queue: &Queue) {
        let Some((job, class)) = self.firsts.pop_first() else {
            return;
        };
        if let Some(jobs) = self.extra.get_mut(&class)
            && jobs.remove(&job)
            && jobs.is_empty()
        {
            self.extra.remove(&class);
        }
        let last = self.spent.entry(class).or_insert(job);
        *last = job.max(*last);
        if let Some(next) = self.first_of(queue, class) {
            self.firsts.insert((next, class));
        }
    }

    /// A job has something, which the World does not list or was spent.
    pub fn add(&mut self, queue: &Queue, class: ClassId, job: PendingJob) {
        if let Some(first) = self.first_of(queue, class) {
            self.firsts.remove(&(first, class));
        }
        self.extra.entry(class).or_default().insert(job);
        if let Some(first) = self.first_of(queue, class) {
            self.firsts.insert((first, class));
        }
    }

    fn first_of(&self, queue: &Queue, class: ClassId) -> Option<PendingJob> {
        let from = match self.spent.get(&class) {
            None => Bound::Unbounded,
            Some(done) => Bound::Excluded(*done),
        };
        let listed = queue.pending.get(&class);
        let listed = listed.and_then(|pending| match from {
            Bound::Unbounded => pending.jobs.first(),
            from => pending.jobs.range((from, Bound::Unbounded)).next(),
        });
        let extra = self.extra.get(&class).and_then(BTreeSet::first);
        listed.into_iter().chain(extra).min().copied()
    }
}
