//! Creating and changing queues, and the sums that queues keep over jobs.

use super::World;
use crate::effect::Effect;
use crate::event::QueueChange;
use crate::ids::{ClassId, JobId, QueueId, TaskId};
use crate::job::{Job, Ready};
use crate::queue::{PendingJob, QueueSpec, check_spec};
use crate::rejected::Rejected;
use crate::resources::Resources;

impl World {
    pub(super) fn create_queue(&mut self, spec: &QueueSpec) -> Result<Vec<Effect>, Rejected> {
        let id = self
            .queues
            .create(spec.clone(), &self.policy.extended_resources)?;
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
        spec.guarantee = change.guarantee.unwrap_or(spec.guarantee);
        spec.limit = change.limit.unwrap_or(spec.limit);
        spec.bounds = spec.bounds.with(&change.bounds);
        let bounds_change = spec.bounds != queue.spec.bounds;
        spec.isolation = change.isolation.unwrap_or(spec.isolation);
        spec.tenant = change.tenant.unwrap_or(spec.tenant);
        let marks = spec.tenant != queue.spec.tenant && queue.parent != Some(QueueId::ROOT);
        if marks && self.queues.has_batches(id) {
            return Err(Rejected::invalid(
                "queue.tenant",
                format!("`{name}` or a queue below it has batches in memory"),
                "mark it before work is submitted, or when all of it has left memory for the history",
            ));
        }
        let extended = &self.policy.extended_resources;
        check_spec(&spec, extended)?;
        if let Some(parent) = queue.parent {
            self.queues
                .check_guarantee(parent, Some(id), &spec, extended)?;
        }
        if change.guarantee.is_some() {
            self.queues.check_covers(id, &spec, extended)?;
        }
        self.queues.configure(id, spec);
        let queue = self.queues.queue_mut(id);
        if let Some(reason) = &change.cordon {
            queue.cordoned = (!reason.is_empty()).then(|| reason.clone());
        }
        if bounds_change {
            self.bounds_changed(id);
        }
        Ok(Vec::new())
    }

    /// Runs a change of a job's waiting tasks and brings the queues' sums after it.
    pub(super) fn with_queued<R>(&mut self, id: JobId, change: impl FnOnce(&mut Job) -> R) -> R {
        let job = self.job_mut(id);
        let (leaf, class) = (job.queue, job.class);
        let rank = job.spec.priority_class.index();
        let (queued, waited, ready) = (job.tasks.queued.len(), job.tasks.waiting(), job.ready());
        let altered = job.ready_altered();
        let before = job.pending();
        let result = change(job);
        let (after, altered_after) = (job.ready(), job.ready_altered());
        let (now_queued, waiting) = (job.tasks.queued.len(), job.tasks.waiting());
        let pending = job.pending();
        let unused = job.tasks.forget_ended();
        if (queued, waited) != (now_queued, waiting) {
            for queue in self.path(leaf) {
                let queue = self.queues.queue_mut(queue);
                queue.queued = queue.queued + now_queued - queued;
                queue.queued_of[rank] = queue.queued_of[rank] + now_queued - queued;
                queue.waiting = queue.waiting + waiting - waited;
            }
            self.count_user(id, 0, waiting as i64 - waited as i64);
        }
        let same_size = ready.size == after.size;
        if same_size && ready.tasks > 0 && after.tasks > 0 && before == pending {
            // It stays where it stands.
            let classes = &mut self.queues.queue_mut(leaf).pending;
            let entry = classes.get_mut(&class).expect("a ready job is listed");
            entry.tasks = entry.tasks + after.tasks - ready.tasks;
        } else if (ready, before) != (after, pending) {
            let next = self.next_class(id, after);
            self.remove_pending(leaf, class, &before, ready.tasks);
            self.add_pending(leaf, next, pending, after.tasks);
        }
        if altered != altered_after || before != pending {
            for (class, tasks) in altered {
                self.remove_pending(leaf, class, &before, tasks);
            }
            for (class, tasks) in altered_after {
                self.add_pending(leaf, class, pending, tasks);
            }
        }
        self.release_classes(&unused);
        result
    }

    /// The class of a job after it has changed.
    fn next_class(&mut self, id: JobId, ready: Ready) -> ClassId {
        let job = &self.jobs[&id];
        let class = job.class;
        if self.classes.gang(class).size == ready.size {
            return class;
        }
        let user = self.classes.user(class).map(str::to_string);
        let gang = job.spec.gang_of(ready.size);
        let next = self.classes.intern(&job.spec.needs, &gang, user.as_deref());
        self.classes.release(class);
        self.job_mut(id).class = next;
        next
    }

    pub(super) fn remove_pending(
        &mut self,
        leaf: QueueId,
        class: ClassId,
        job: &PendingJob,
        tasks: u64,
    ) {
        if tasks == 0 {
            return;
        }
        let classes = &mut self.queues.queue_mut(leaf).pending;
        let entry = classes.get_mut(&class).expect("a ready job is listed");
        entry.tasks -= tasks;
        entry.jobs.remove(job);
        if entry.jobs.is_empty() {
            classes.remove(&class);
        }
    }

    pub(super) fn add_pending(
        &mut self,
        leaf: QueueId,
        class: ClassId,
        job: PendingJob,
        tasks: u64,
    ) {
        if tasks > 0 {
            let classes = &mut self.queues.queue_mut(leaf).pending;
            let entry = classes.entry(class).or_default();
            entry.tasks += tasks;
            entry.jobs.insert(job);
        }
    }

    /// One more task of a job holds a place, or one fewer.
    pub(super) fn hold(&mut self, task: TaskId, taken: bool) {
        let job = &self.jobs[&task.job];
        let (leaf, resources) = (job.queue, *job.resources_of(task.index));
        let fixed = match job.spec.preemptible {
            true => Resources::ZERO,
            false => resources,
        };
        let rank = job.spec.priority_class.index();
        let now = self.now;
        for id in self.path(leaf) {
            let queue = self.queues.queue_mut(id);
            queue.usage.count(&queue.held, now);
            if taken {
                queue.held += &resources;
                queue.held_fixed += &fixed;
                queue.running += 1;
                queue.running_of[rank] += 1;
            } else {
                queue.held -= &resources;
                queue.held_fixed -= &fixed;
                queue.running -= 1;
                queue.running_of[rank] -= 1;
            }
        }
    }

    /// From a leaf up to the root, collected so that queues may be changed.
    pub(super) fn path(&self, leaf: QueueId) -> Vec<QueueId> {
        self.queues.path(leaf).collect()
    }
}
