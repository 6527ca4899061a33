//! What each user runs and queues, where queues bound that.
//!
//! It is counted in those queues alone, for whoever has tasks there. Below a queue that
//! bounds what a user runs, requirement classes are each user's own, so that who has
//! reached the bound is passed over as one.

use super::World;
use crate::ids::{JobId, QueueId};
use crate::job::Altered;
use crate::queue::UserTasks;
use crate::rejected::Rejected;
use crate::spec::Gang;
use std::collections::BTreeMap;

impl World {
    /// Whose the classes of a user's jobs in a leaf are.
    pub(super) fn class_user(&self, leaf: QueueId, by: &str) -> Option<String> {
        self.queues.bound_users(leaf).then(|| by.to_string())
    }

    /// More or fewer tasks of a job hold a place, or wait.
    pub(super) fn count_user(&mut self, id: JobId, running: i64, waiting: i64) {
        let job = &self.jobs[&id];
        let (leaf, batch) = (job.queue, job.batch);
        let counts = |id: &QueueId| self.queues.queue(*id).spec.bounds.count_users();
        let counting: Vec<QueueId> = self.queues.path(leaf).filter(counts).collect();
        for queue in counting {
            let by = &self.batches[&batch].by;
            let users = &mut self.queues.queue_mut(queue).users;
            let tasks = users.entry(by.clone()).or_default();
            tasks.running = tasks.running.saturating_add_signed(running);
            tasks.waiting = tasks.waiting.saturating_add_signed(waiting);
            if *tasks == UserTasks::default() {
                users.remove(by);
            }
        }
    }

    /// What each user has in a queue and those below it.
    pub(super) fn users_of(&self, queue: QueueId) -> BTreeMap<String, UserTasks> {
        let mut users: BTreeMap<String, UserTasks> = BTreeMap::new();
        if !self.queues.queue(queue).spec.bounds.count_users() {
            return users;
        }
        for job in self.jobs.values() {
            if self.queues.path(job.queue).any(|id| id == queue) {
                let by = &self.batches[&job.batch].by;
                let tasks = users.entry(by.clone()).or_default();
                tasks.running += job.tasks.active.len() as u64;
                tasks.waiting += job.tasks.waiting();
            }
        }
        users.retain(|_, tasks| *tasks != UserTasks::default());
        users
    }

    /// The bounds of a queue have changed: users are counted anew, and classes are theirs or
    /// no longer.
    pub(super) fn bounds_changed(&mut self, queue: QueueId) {
        let users = self.users_of(queue);
        self.queues.queue_mut(queue).users = users;
        let below = |leaf: QueueId| self.queues.path(leaf).any(|id| id == queue);
        let jobs = self.jobs.values().filter(|job| below(job.queue));
        let jobs: Vec<JobId> = jobs.map(|job| job.id).collect();
        jobs.into_iter().for_each(|job| self.reclass(job));
    }

    /// A job gets the classes that it would get now.
    fn reclass(&mut self, id: JobId) {
        let job = &self.jobs[&id];
        let user = self.class_user(job.queue, &self.batches[&job.batch].by);
        if self.classes.user(job.alone) == user.as_deref() {
            return;
        }
        let (leaf, pending, needs) = (job.queue, job.pending(), job.spec.needs.clone());
        let (class, alone, ready) = (job.class, job.alone, job.ready().tasks);
        let listed = job.ready_altered();
        self.remove_pending(leaf, class, &pending, ready);
        for (class, tasks) in listed {
            self.remove_pending(leaf, class, &pending, tasks);
        }
        let gang = self.classes.gang(class).clone();
        let user = user.as_deref();
        let old: Vec<(_, Altered)> = std::mem::take(&mut *self.job_mut(id).tasks.altered)
            .into_iter()
            .collect();
        let next_class = self.classes.intern(&needs, &gang, user);
        let next_alone = self.classes.intern(&needs, &Gang::ALONE, user);
        let mut unused = vec![class, alone];
        let mut altered = BTreeMap::new();
        for (class, tasks) in old {
            unused.push(class);
            altered.insert(self.classes.intern(&tasks.needs, &Gang::ALONE, user), tasks);
        }
        let job = self.job_mut(id);
        (job.class, job.alone, job.tasks.altered) = (next_class, next_alone, altered.into());
        let listed = job.ready_altered();
        self.add_pending(leaf, next_class, pending, ready);
        for (class, tasks) in listed {
            self.add_pending(leaf, class, pending, tasks);
        }
        self.release_classes(&unused);
    }

    /// One more submission leaves a user within what queues let each have waiting.
    pub(super) fn check_user_room(
        &self,
        queue: QueueId,
        by: &str,
        more: u64,
    ) -> Result<(), Rejected> {
        for id in self.queues.path(queue) {
            let entry = self.queues.queue(id);
            let waiting = entry.users.get(by).map_or(0, |tasks| tasks.waiting);
            if let Some(max) = entry.spec.bounds.user_queued_max
                && waiting.saturating_add(more) > max
            {
                return Err(Rejected::UserQueueFull {
                    queue: entry.spec.name.clone(),
                    who: by.to_string(),
                    max,
                    queued: waiting,
                    more,
                });
            }
        }
        Ok(())
    }
}
