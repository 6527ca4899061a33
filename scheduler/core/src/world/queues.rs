//! Creating and changing queues, and the sums that queues keep over jobs.

use super::World;
use crate::effect::Effect;
use crate::event::QueueChange;
use crate::ids::{JobId, QueueId};
use crate::job::Job;
use crate::queue::{QueueSpec, check_spec};
use crate::rejected::Rejected;
use crate::resources::Resources;

impl World {
    pub(super) fn create_queue(&mut self, spec: &QueueSpec) -> Result<Vec<Effect>, Rejected> {
        let id = self.queues.create(spec.clone())?;
        self.queues.queue_mut(id).usage.start(self.now);
        Ok(Vec::new())
    }

    pub(super) fn change_queue(
        &mut self,
        name: &str,
        change: &QueueChange,
    ) -> Result<Vec<Effect>, Rejected> {
        let id = self.queues.find(name)?;
        let queue = self.queues.queue(id);
        let mut spec = queue.spec.clone();
        spec.weight = change.weight.unwrap_or(spec.weight);
        spec.queued_max = change.queued_max.or(spec.queued_max);
        spec.submitters = change.submitters.clone().unwrap_or(spec.submitters);
        check_spec(&spec)?;
        let queue = self.queues.queue_mut(id);
        queue.spec = spec;
        if let Some(reason) = &change.cordon {
            queue.cordoned = (!reason.is_empty()).then(|| reason.clone());
        }
        Ok(Vec::new())
    }

    /// Runs a change of a job's waiting tasks and brings the queues' sums after it.
    pub(super) fn with_queued<R>(&mut self, id: JobId, change: impl FnOnce(&mut Job) -> R) -> R {
        let job = self.job_mut(id);
        let (before, waited) = (job.tasks.queued.len(), job.tasks.waiting());
        let result = change(job);
        let (after, waiting) = (job.tasks.queued.len(), job.tasks.waiting());
        let (leaf, class) = (job.queue, job.class);
        let pending = job.pending();
        if (before, waited) == (after, waiting) {
            return result;
        }
        for queue in self.path(leaf) {
            let queue = self.queues.queue_mut(queue);
            queue.queued = queue.queued + after - before;
            queue.waiting = queue.waiting + waiting - waited;
        }
        if before == after {
            return result;
        }
        let classes = &mut self.queues.queue_mut(leaf).pending;
        let entry = classes.entry(class).or_default();
        entry.tasks = entry.tasks + after - before;
        if after == 0 {
            entry.jobs.remove(&pending);
        } else if before == 0 {
            entry.jobs.insert(pending);
        }
        if entry.jobs.is_empty() {
            classes.remove(&class);
        }
        result
    }

    /// One more task of a leaf holds `resources`, or one fewer.
    pub(super) fn hold(&mut self, leaf: QueueId, resources: &Resources, taken: bool) {
        let now = self.now;
        for id in self.path(leaf) {
            let queue = self.queues.queue_mut(id);
            queue.usage.count(&queue.held, now);
            if taken {
                queue.held += resources;
                queue.running += 1;
            } else {
                queue.held -= resources;
                queue.running -= 1;
            }
        }
    }

    /// From a leaf up to the root, collected so that queues may be changed.
    pub(super) fn path(&self, leaf: QueueId) -> Vec<QueueId> {
        self.queues.path(leaf).collect()
    }
}
