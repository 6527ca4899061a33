//! The one line over all queues: priority, then submission, then id.
//!
//! Of every leaf and class only the first job stands in it, so that a round costs what
//! it serves and passes over, not what waits. Queues that are cordoned have no place in it.

use crate::ids::{ClassId, QueueId};
use crate::job::Job;
use crate::queue::{PendingJob, Queue};
use crate::round::order::Head;
use crate::world::World;
use std::collections::BTreeSet;
use std::ops::Bound;

/// Who waits, in order.
#[derive(Debug)]
pub struct Line {
    firsts: BTreeSet<(PendingJob, QueueId, ClassId)>,
}

impl Line {
    /// All who may go.
    pub fn new(world: &World) -> Self {
        let open = |queue: &&Queue| {
            !queue.pending.is_empty() && world.queues().cordoned(queue.id).is_none()
        };
        let first_of = |queue: &Queue| {
            let leaf = queue.id;
            let classes = queue.pending.iter();
            let firsts = classes.filter_map(move |(class, pending)| {
                let first = pending.jobs.first()?;
                Some((*first, leaf, *class))
            });
            firsts.collect::<Vec<_>>()
        };
        let leaves = world.queues().iter().filter(open);
        Line {
            firsts: leaves.flat_map(first_of).collect(),
        }
    }

    /// Who goes next.
    pub fn first(&self) -> Option<Head> {
        let (job, leaf, class) = self.firsts.first()?;
        Some(Head {
            leaf: *leaf,
            job: job.job,
            class: *class,
        })
    }

    /// Nothing is left of the first job: the next one of its leaf and class takes its
    /// place.
    pub fn spend(&mut self, world: &World) {
        let Some((job, leaf, class)) = self.firsts.pop_first() else {
            return;
        };
        let behind = (Bound::Excluded(job), Bound::Unbounded);
        let pending = world.queues().queue(leaf).pending.get(&class);
        let next = pending.and_then(|pending| pending.jobs.range(behind).next());
        // Those who follow a gang come to the same next one as the class itself.
        self.firsts.extend(next.map(|next| (*next, leaf, class)));
    }

    /// The first job's leaf and class may not go in this round.
    pub fn pass_over(&mut self) {
        self.firsts.pop_first();
    }

    /// The others of a job whose gang has its places come behind it.
    pub fn follow(&mut self, job: &Job) {
        self.firsts.insert((job.pending(), job.queue, job.alone));
    }
}
