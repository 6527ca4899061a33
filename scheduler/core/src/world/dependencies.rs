//! Who may go once others have ended, and who never will.
//!
//! The rule: a task is `blocked` as long as a job that it needs as a whole, or the task of
//! its own index in a job that it needs element by element, has not ended as it should.
//! When that ends otherwise the task is cancelled, and so on down the line. An end costs
//! a look at the same index of each follower, whatever the arrays' lengths; ranges that
//! end at once go on at once.
//!
//! *Any end will do* counts once: who was let go stays so when what ended is tried again.
//!
//! [`World::settle`] is called once for every job of which tasks have ended.

use super::World;
use crate::effect::Effect;
use crate::ids::{JobId, TaskId};
use crate::job::{Blocker, CancelledWhy};
use crate::ranges::RangeSet;
use crate::rejected::Rejected;
use crate::spec::{By, Ends};

/// What is to become of tasks by the tasks that they follow.
struct Followed {
    ready: RangeSet,
    doomed: RangeSet,
}

impl World {
    /// Brings the end of tasks to those that follow them, and where the whole job has
    /// ended, to those that need it and to its batch.
    pub(super) fn settle(&mut self, id: JobId, ended: &RangeSet, effects: &mut Vec<Effect>) {
        let mut open = vec![(id, ended.clone())];
        while let Some((id, ended)) = open.pop() {
            for follower in self.jobs[&id].links.followers.clone() {
                let cancelled = self.follow(follower, &ended, effects);
                if !cancelled.is_empty() {
                    open.push((follower, cancelled));
                }
            }
            let now = self.now;
            let job = self.job_mut(id);
            if !job.is_finished() || job.totals.finished.is_some() {
                continue;
            }
            job.totals.finished = Some(now);
            for dependent in job.links.dependents.clone() {
                let cancelled = self.depend(dependent, id, effects);
                if !cancelled.is_empty() {
                    open.push((dependent, cancelled));
                }
            }
            self.finish_job(id, effects);
        }
    }

    /// One job fewer that keeps its batch open.
    fn finish_job(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let batch = self.jobs[&id].batch;
        let batch = self
            .batches
            .get_mut(&batch)
            .expect("a job's batch is in memory");
        batch.unfinished -= 1;
        if batch.unfinished == 0 {
            batch.finished = Some(self.now);
            effects.push(Effect::BatchFinished(batch.id));
        }
    }

    /// Tasks of the same indexes as those that have ended go on or are cancelled; the
    /// cancelled ones come back.
    fn follow(&mut self, id: JobId, ended: &RangeSet, effects: &mut Vec<Effect>) -> RangeSet {
        let Followed { ready, doomed } = self.followed(id, ended);
        let cancelled = self.cancel(id, &doomed, CancelledWhy::Dependency, effects);
        if self.jobs[&id].links.waits_for.is_empty() {
            self.queue_blocked(id, &ready);
        }
        cancelled
    }

    /// A job that needs one that has ended goes on or is cancelled; the tasks cancelled
    /// at once come back.
    fn depend(&mut self, id: JobId, ended: JobId, effects: &mut Vec<Effect>) -> RangeSet {
        let whole = self.jobs[&id].links.whole(ended);
        let ends = whole.expect("dependents need the whole job").ends;
        if ends == Ends::Ok && self.has_failed(ended) {
            let all = RangeSet::up_to(self.jobs[&id].spec.count);
            return self.cancel(id, &all, CancelledWhy::Dependency, effects);
        }
        if self.job_mut(id).links.waits_for.remove(&ended) {
            self.unblock(id);
        }
        RangeSet::default()
    }

    /// Queues those of the blocked tasks that wait for nothing any more.
    pub(super) fn unblock(&mut self, id: JobId) {
        let job = &self.jobs[&id];
        if !job.links.waits_for.is_empty() || job.tasks.blocked.is_empty() {
            return;
        }
        let ready = self.followed(id, &job.tasks.blocked).ready;
        self.queue_blocked(id, &ready);
    }

    fn queue_blocked(&mut self, id: JobId, ready: &RangeSet) {
        self.with_queued(id, |job| {
            let taken = job.tasks.blocked.take(ready);
            job.tasks.queued.extend(&taken);
        });
    }

    /// Which of some tasks may go by what they follow, and which never will.
    fn followed(&self, id: JobId, among: &RangeSet) -> Followed {
        let mut ready = among.clone();
        let mut doomed = RangeSet::default();
        for need in self.jobs[&id].links.by_element() {
            let tasks = &self.jobs[&need.job].tasks;
            let mut met = tasks.succeeded.intersection(among);
            for ended in tasks.failed.values().chain(tasks.cancelled.values()) {
                let ended = ended.intersection(among);
                match need.ends {
                    Ends::Any => met.extend(&ended),
                    Ends::Ok => doomed.extend(&ended),
                }
            }
            ready = ready.intersection(&met);
        }
        Followed { ready, doomed }
    }

    /// The wanted tasks that can never go, since something that they need has failed.
    pub(super) fn doomed(&self, id: JobId, wanted: &RangeSet) -> RangeSet {
        let links = &self.jobs[&id].links;
        let mut whole = links.needs_success().filter(|need| need.by == By::Job);
        if whole.any(|need| self.has_failed(need.job)) {
            return wanted.clone();
        }
        self.followed(id, wanted).doomed
    }

    fn has_failed(&self, id: JobId) -> bool {
        let job = &self.jobs[&id];
        job.is_finished() && !job.has_succeeded()
    }

    /// Tasks tried again alone would be cancelled at once if what they need has failed.
    pub(super) fn check_retry(&self, id: JobId, wanted: &RangeSet) -> Result<(), Rejected> {
        let job = &self.jobs[&id];
        let ended = job
            .tasks
            .failed
            .values()
            .chain(job.tasks.cancelled.values());
        let mut again = RangeSet::default();
        ended.for_each(|ended| again.extend(&ended.intersection(wanted)));
        let doomed = self.doomed(id, &again);
        let Some(index) = doomed.first().filter(|_| doomed == again) else {
            return Ok(());
        };
        let failed = job.links.needs_success().find_map(|need| match need.by {
            By::Job => self
                .has_failed(need.job)
                .then_some((Blocker::Job(need.job), Blocker::Job(id))),
            By::Element => {
                let task = |job| Blocker::Task(TaskId { job, index });
                let tasks = &self.jobs[&need.job].tasks;
                tasks.has_failed(index).then(|| (task(need.job), task(id)))
            }
        });
        let (failed, needing) = failed.expect("something dooms the first task");
        let batch = job.batch;
        Err(Rejected::NothingToChange {
            verb: "tried again",
            why: format!(
                "{failed}, which {needing} needs, has not succeeded; try that again first, or all of {batch}"
            ),
        })
    }

    /// After tasks have been blocked to be tried again: jobs that have not ended as they
    /// should are waited for again, and who waits for nothing goes on.
    pub(super) fn wait_again(&mut self, id: JobId) {
        let job = &self.jobs[&id];
        // Where others of the job were let go already, so are these.
        let let_go = !job.tasks.queued.is_empty() || !job.tasks.active.is_empty();
        if !let_go && !job.tasks.blocked.is_empty() {
            let needs = job.links.needs.iter();
            let whole = needs.filter(|need| need.by == By::Job);
            let open = whole.filter(|need| match need.ends {
                Ends::Ok => !self.jobs[&need.job].has_succeeded(),
                Ends::Any => !self.jobs[&need.job].is_finished(),
            });
            let waits_for = open.map(|need| need.job).collect();
            self.job_mut(id).links.waits_for = waits_for;
        }
        self.unblock(id);
    }

    /// What a blocked task waits for, and for which end of it.
    pub fn blockers(&self, task: TaskId) -> Vec<(Blocker, Ends)> {
        let Some(job) = self.jobs.get(&task.job) else {
            return Vec::new();
        };
        let whole = job.links.waits_for.iter().map(|other| {
            let need = job.links.whole(*other);
            let need = need.expect("it waits only for what it needs");
            (Blocker::Job(need.job), need.ends)
        });
        let index = task.index;
        let open = job.links.by_element().filter(|need| {
            let tasks = &self.jobs[&need.job].tasks;
            let any = need.ends == Ends::Any;
            let met = tasks.succeeded.contains(index) || any && tasks.has_failed(index);
            !met
        });
        let tasks = open.map(|need| {
            let job = need.job;
            (Blocker::Task(TaskId { job, index }), need.ends)
        });
        whole.chain(tasks).collect()
    }
}
