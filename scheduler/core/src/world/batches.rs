//! Changing tasks by hand, and the end of batches.

use super::World;
use super::by_hand::check_whole;
use crate::effect::Effect;
use crate::event::{Selection, Verb};
use crate::ids::{BatchId, JobId, TaskId};
use crate::job::{ActiveState, CancelledWhy, Past, StopWhy};
use crate::ranges::RangeSet;
use crate::rejected::Rejected;
use crate::spec::JobSpec;
use crate::time::TimeMs;
use std::sync::Arc;

/// How many tasks a verb would change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changeable {
    /// Changed as soon as it is applied.
    pub at_once: u64,
    /// Told to stop, and changed once they have.
    pub to_stop: u64,
}

impl Changeable {
    fn all(self) -> u64 {
        self.at_once + self.to_stop
    }
}

impl World {
    /// The jobs and indexes that a selection names.
    ///
    /// # Errors
    /// An unknown batch or job, or an index that the job does not have.
    pub fn select(&self, selection: &Selection) -> Result<Vec<(JobId, RangeSet)>, Rejected> {
        match selection {
            Selection::Batch(id) => {
                let batch = self.batches.get(id).ok_or(Rejected::UnknownBatch(*id))?;
                let all = |id: JobId| (id, RangeSet::up_to(self.jobs[&id].spec.count));
                Ok(batch.job_ids().map(all).collect())
            }
            Selection::Job(id, None) => {
                let count = self.find_job(*id)?.spec.count;
                Ok(vec![(*id, RangeSet::up_to(count))])
            }
            Selection::Job(id, Some(ranges)) => {
                let count = self.find_job(*id)?.spec.count;
                match ranges.first_from(count) {
                    None => Ok(vec![(*id, ranges.clone())]),
                    Some(_) => Err(Rejected::IndexOutOfRange {
                        job: *id,
                        count,
                        ranges: ranges.clone(),
                    }),
                }
            }
        }
    }

    pub(super) fn change_tasks(
        &mut self,
        verb: Verb,
        selection: &Selection,
        by: &str,
        reason: &str,
    ) -> Result<Vec<Effect>, Rejected> {
        check_whole(verb, selection)?;
        let selection = self.with_gangs(verb, selection);
        let selected = self.select(&selection)?;
        let affected: u64 = selected
            .iter()
            .map(|(id, wanted)| self.changeable(verb, *id, wanted).all())
            .sum();
        if affected == 0 {
            let (verb, why) = match verb {
                Verb::Cancel => ("cancelled", "all have ended or are stopping"),
                Verb::Hold => ("held", "none waits"),
                Verb::Release => ("released", "none is held"),
                Verb::Retry => ("tried again", "none has failed or been cancelled"),
                Verb::Preempt => ("preempted", "none holds a place that it could lose"),
                Verb::Prioritise(_) => ("given another priority", "all have ended"),
            };
            return Err(Rejected::NothingToChange {
                verb,
                why: why.into(),
            });
        }
        if let (Verb::Retry, Selection::Job(id, _)) = (verb, &selection) {
            self.check_retry(*id, &selected[0].1)?;
        }
        self.note_by_hand(verb, selection, by, reason);
        let mut effects = Vec::new();
        for (id, wanted) in &selected {
            match verb {
                Verb::Cancel => {
                    self.cancel(*id, wanted, CancelledWhy::User, &mut effects);
                }
                Verb::Hold => self.with_queued(*id, |job| {
                    if let Some(delayed) = job.tasks.delayed.if_set() {
                        delayed.take(wanted);
                    }
                    for state in [&mut job.tasks.queued, &mut job.tasks.blocked] {
                        let taken = state.take(wanted);
                        job.tasks.held.extend(&taken);
                    }
                }),
                Verb::Release => self.release(*id, wanted),
                Verb::Retry => self.retry(*id, wanted),
                Verb::Preempt => self.preempt(*id, wanted, &mut effects),
                Verb::Prioritise(priority) => self.prioritise(*id, priority),
            }
        }
        // Jobs finish or start over only once the whole selection has changed,
        // so that another one in the same selection is seen in its new state.
        for (id, _) in selected.iter().filter(|_| verb == Verb::Retry) {
            self.wait_again(*id);
        }
        for (id, wanted) in &selected {
            let doomed = self.doomed(*id, wanted);
            self.cancel(*id, &doomed, CancelledWhy::Dependency, &mut effects);
            self.settle(*id, wanted, &mut effects);
        }
        Ok(effects)
    }

    /// How many of the wanted tasks a verb would change.
    pub fn changeable(&self, verb: Verb, id: JobId, wanted: &RangeSet) -> Changeable {
        let Some(job) = self.jobs.get(&id) else {
            return Changeable::default();
        };
        let tasks = &job.tasks;
        let among = |set: &RangeSet| set.intersection(wanted).len();
        let mut to_stop = 0;
        let at_once = match verb {
            Verb::Cancel => {
                let active = tasks.active_among(wanted).into_iter();
                let open = |index: &u32| !tasks.active[index].is_cancelled();
                to_stop = active.filter(open).count() as u64;
                among(&tasks.queued) + among(&tasks.blocked) + among(&tasks.held)
            }
            Verb::Hold => among(&tasks.queued) + among(&tasks.blocked),
            Verb::Release => among(&tasks.held),
            Verb::Retry => tasks
                .failed
                .values()
                .chain(tasks.cancelled.values())
                .map(among)
                .sum(),
            Verb::Preempt => {
                to_stop = self.preemptible_by_hand(id, wanted).len() as u64;
                0
            }
            Verb::Prioritise(_) => u64::from(job.spec.count) - tasks.ended(),
        };
        Changeable { at_once, to_stop }
    }

    /// Cancels tasks that wait, which have ended then, and stops those that hold a place.
    pub(super) fn cancel(
        &mut self,
        id: JobId,
        wanted: &RangeSet,
        why: CancelledWhy,
        effects: &mut Vec<Effect>,
    ) -> RangeSet {
        if wanted.is_empty() {
            return RangeSet::default();
        }
        let at_once = self.with_queued(id, |job| {
            let tasks = &mut job.tasks;
            let mut all = RangeSet::default();
            if let Some(delayed) = tasks.delayed.if_set() {
                delayed.take(wanted);
            }
            let waiting = [Some(&mut tasks.queued), Some(&mut tasks.blocked)];
            let waiting = waiting.into_iter().chain([tasks.held.if_set()]);
            for state in waiting.flatten() {
                all.extend(&state.take(wanted));
            }
            if !all.is_empty() {
                if let Some(gang) = tasks.gang.if_set() {
                    gang.take(&all);
                }
                tasks.cancelled.entry(why).or_default().extend(&all);
            }
            all
        });
        for index in self.jobs[&id].tasks.active_among(wanted) {
            if !self.jobs[&id].tasks.active[&index].is_cancelled() {
                self.stop(TaskId { job: id, index }, StopWhy::Cancelled(why), effects);
            }
        }
        at_once
    }

    /// Ends the open attempt of a task; the site is told once.
    pub(super) fn stop(&mut self, task: TaskId, why: StopWhy, effects: &mut Vec<Effect>) {
        let (attempt, node, told) = self.with_queued(task.job, |job| {
            let active = job.tasks.active.get_mut(&task.index);
            let active = active.expect("only open attempts are stopped");
            let told = matches!(active.state, ActiveState::Stopping { .. });
            active.state = ActiveState::Stopping { why };
            let told = (active.attempt, active.node, told);
            if matches!(why, StopWhy::Cancelled(_))
                && let Some(gang) = job.tasks.gang.if_set()
            {
                gang.remove(task.index);
            }
            told
        });
        self.soonest.touch(node);
        if why.is_preempted() {
            self.leaving.insert(task);
        }
        if !told {
            let job = &self.jobs[&task.job];
            let active = &job.tasks.active[&task.index];
            let takes_up = active.takes_up(job.resources_of(task.index));
            self.nodes[node.index()].leaving += &takes_up;
            let lease = self.lease(task, attempt);
            let site = self.nodes[node.index()].site;
            effects.push(Effect::Stop { site, lease });
        }
    }

    fn prioritise(&mut self, id: JobId, priority: i32) {
        let before = Arc::clone(&self.jobs[&id].spec);
        let spec = JobSpec {
            priority,
            ..before.common()
        };
        let spec = self.specs.intern(Arc::new(spec));
        self.with_queued(id, |job| job.spec = spec);
        self.specs.release(&before);
    }

    fn release(&mut self, id: JobId, wanted: &RangeSet) {
        self.with_queued(id, |job| {
            let taken = job.tasks.held.take(wanted);
            job.tasks.blocked.extend(&taken);
        });
        self.unblock(id);
    }

    /// Queues ended tasks again, with fresh retry counts but rising attempt numbers.
    fn retry(&mut self, id: JobId, wanted: &RangeSet) {
        let was_finished = self.jobs[&id].is_finished();
        self.with_queued(id, |job| {
            let gang_last = (job.spec.min > 1).then(|| job.spec.min - 1);
            let tasks = &mut job.tasks;
            let mut again = RangeSet::default();
            for ended in tasks
                .failed
                .values_mut()
                .chain(tasks.cancelled.values_mut())
            {
                again.extend(&ended.take(wanted));
            }
            tasks.failed.retain(|_, indexes| !indexes.is_empty());
            tasks.cancelled.retain(|_, indexes| !indexes.is_empty());
            for (first, last) in again.ranges() {
                for (_, past) in tasks.past.range_mut(first..=last) {
                    *past = Past {
                        attempts: past.attempts,
                        preempted: past.preempted,
                        ..Past::default()
                    };
                }
            }
            // Beside others of the gang that hold their places it goes for itself.
            if let Some(last) = gang_last
                && tasks.active_among(&tasks.gang).is_empty()
            {
                tasks
                    .gang
                    .extend(&again.intersection(&RangeSet::up_to(last + 1)));
            }
            tasks.blocked.extend(&again);
        });
        if was_finished && !self.jobs[&id].is_finished() {
            self.job_mut(id).totals.finished = None;
            let batch = self.jobs[&id].batch;
            let batch = self
                .batches
                .get_mut(&batch)
                .expect("a job's batch is in memory");
            batch.unfinished += 1;
            batch.finished = None;
        }
    }

    /// Finished batches that have been in memory for as long as the policy says.
    pub fn retirable(&self, now: TimeMs) -> impl Iterator<Item = BatchId> + '_ {
        let kept_ms = self.policy.finished_in_memory_ms;
        let due = move |batch: &&crate::job::Batch| {
            batch
                .finished
                .is_some_and(|finished| now - finished >= kept_ms)
        };
        self.batches.values().filter(due).map(|batch| batch.id)
    }

    pub(super) fn retire(&mut self, id: BatchId) -> Result<Vec<Effect>, Rejected> {
        let batch = self.batches.get(&id).ok_or(Rejected::UnknownBatch(id))?;
        if batch.finished.is_none() {
            return Err(Rejected::Unfinished { batch: id });
        }
        let batch = self.batches.remove(&id).expect("looked up above");
        self.requests.remove(&batch.request_id);
        self.queues.queue_mut(batch.queue).batches -= 1;
        let mut jobs = Vec::with_capacity(batch.jobs as usize);
        for job in batch.job_ids() {
            let job = self
                .jobs
                .remove(&job)
                .expect("a batch's jobs are in memory");
            self.specs.release(&job.spec);
            self.release_classes(&[job.class, job.alone]);
            jobs.push(job);
        }
        Ok(vec![Effect::Retired { batch, jobs }])
    }
}
