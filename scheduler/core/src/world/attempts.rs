//! Attempts: a place is given, the site reports, the attempt ends.

use super::{Timer, World};
use crate::effect::Effect;
use crate::event::Placement;
use crate::ids::{JobId, LeaseId, TaskId};
use crate::isolation::{Choice, choose};
use crate::job::transition::{Next, after_attempt};
use crate::job::{
    Active, ActiveState, Apart, AttemptEnd, AttemptRecord, CancelledWhy, Outcome, Past, StopWhy,
};
use crate::ranges::RangeSet;
use crate::rejected::Rejected;
use crate::round::feasible::worst_cost_micro_eur;
use crate::site::Node;
use crate::spec::{Needs, RetryRule};
use crate::time::TimeMs;
use std::collections::BTreeMap;

impl World {
    pub(super) fn place(&mut self, placement: &Placement) -> Effect {
        let Placement { task, node, .. } = *placement;
        let job = &self.jobs[&task.job];
        let needs = job.needs_of(task.index);
        let (resources, leaf) = (needs.resources, job.queue);
        let apart = self.apart(needs, &self.nodes[node.index()]);
        let kernel = self.nodes[node.index()].kernel;
        let attempt = job.next_attempt(task.index);
        let at = self.nodes[node.index()].site;
        let reserved_micro_eur = worst_cost_micro_eur(self, needs, &self.nodes[node.index()]);
        let now = self.now;
        let (alone, takes_up) = match &apart {
            None => (false, resources),
            Some(apart) => (apart.alone, resources.plus(&apart.overhead)),
        };
        self.with_queued(task.job, |job| {
            job.tasks.queued.remove(task.index);
            if attempt == 1 {
                job.totals.started_tasks += 1;
                job.totals.wait_sum_ms += now - job.submitted;
            }
            job.tasks.past.entry(task.index).or_default().attempts = attempt;
            let state = ActiveState::Leased;
            let active = Active {
                attempt,
                node,
                granted: now,
                reserved_micro_eur,
                state,
                kernel,
                apart,
            };
            job.tasks.active.insert(task.index, active);
        });
        self.hold(task, true);
        self.count_user(task.job, 1, 0);
        if self
            .kernels
            .open(kernel, self.queues.queue(leaf).tenant, alone)
        {
            self.touch_kernel(kernel);
        }
        self.touch_room(node);
        let entry = &mut self.nodes[node.index()];
        entry.held += &takes_up;
        entry.running += 1;
        entry.tasks.insert(task);
        let site = &mut self.sites[at.index()];
        site.held += &takes_up;
        site.running += 1;
        site.cost_reserved_micro_eur += reserved_micro_eur;
        Effect::Grant {
            site: at,
            lease: self.lease(task, attempt),
        }
    }

    /// How a task runs on a node as things are; `None` is as usual.
    fn apart(&self, needs: &Needs, node: &Node) -> Option<Box<Apart>> {
        let choice = choose(needs, &node.report.runtimes, self.tenancy(node));
        let Choice { way, overhead } = choice.expect("a plan was checked");
        let runtime = node.report.runtimes.get(usize::from(way.runtime));
        let apart = Apart {
            runtime: runtime.map_or(String::new(), |runtime| runtime.name.clone()),
            overhead,
            alone: way.alone,
        };
        let usual = apart.runtime.is_empty() && overhead.is_zero() && !way.alone;
        (!usual).then(|| Box::new(apart))
    }

    /// The lease of a task's attempt, as this life of the journal grants it.
    pub fn lease(&self, task: TaskId, attempt: u32) -> LeaseId {
        LeaseId {
            lineage: self.lineage,
            task,
            attempt,
        }
    }

    /// The open attempt of a lease.
    ///
    /// # Errors
    /// [`Rejected::LeaseClosed`] where it has ended, was superseded or never was.
    pub fn open_attempt(&self, lease: LeaseId) -> Result<&Active, Rejected> {
        let job = self.jobs.get(&lease.task.job);
        let active = job.and_then(|job| job.tasks.active.get(&lease.task.index));
        active
            .filter(|active| active.attempt == lease.attempt && lease.lineage == self.lineage)
            .ok_or(Rejected::LeaseClosed(lease))
    }

    fn open_attempt_mut(&mut self, lease: LeaseId) -> Result<&mut Active, Rejected> {
        self.open_attempt(lease)?;
        let active = self
            .job_mut(lease.task.job)
            .tasks
            .active
            .get_mut(&lease.task.index);
        Ok(active.expect("checked by open_attempt"))
    }

    pub(super) fn attempt_starting(&mut self, lease: LeaseId) -> Result<Vec<Effect>, Rejected> {
        let active = self.open_attempt_mut(lease)?;
        match active.state {
            ActiveState::Leased => active.state = ActiveState::Starting,
            // Late news about one that is further already.
            ActiveState::Starting | ActiveState::Running { .. } | ActiveState::Stopping { .. } => {}
        }
        Ok(Vec::new())
    }

    pub(super) fn attempt_running(&mut self, lease: LeaseId) -> Result<Vec<Effect>, Rejected> {
        let now = self.now;
        let active = self.open_attempt_mut(lease)?;
        match active.state {
            ActiveState::Leased | ActiveState::Starting => {
                active.state = ActiveState::Running { since: now };
            }
            ActiveState::Running { .. } | ActiveState::Stopping { .. } => {}
        }
        self.job_mut(lease.task.job)
            .totals
            .first_started
            .get_or_insert(now);
        Ok(Vec::new())
    }

    pub(super) fn attempt_ended(
        &mut self,
        lease: LeaseId,
        end: AttemptEnd,
    ) -> Result<Vec<Effect>, Rejected> {
        let active = self.open_attempt(lease)?.clone();
        let mut effects = Vec::new();
        self.judge_place(lease.task, &active, &end, &mut effects);
        self.end_attempts([(lease.task, end)], &mut effects);
        Ok(effects)
    }

    /// Ends open attempts. Gangs and dependents follow once all of them have ended, so
    /// that nobody is stopped who has ended as well.
    pub(super) fn end_attempts(
        &mut self,
        ends: impl IntoIterator<Item = (TaskId, AttemptEnd)>,
        effects: &mut Vec<Effect>,
    ) {
        let mut jobs: BTreeMap<JobId, RangeSet> = BTreeMap::new();
        for (task, end) in ends {
            self.end_attempt(task, end, effects);
            jobs.entry(task.job).or_default().insert(task.index);
        }
        for (job, mut ended) in jobs {
            ended.extend(&self.keep_gang_whole(job, effects));
            self.settle(job, &ended, effects);
        }
    }

    /// Ends the open attempt of a task: frees its place, charges it, moves the task.
    fn end_attempt(&mut self, task: TaskId, mut end: AttemptEnd, effects: &mut Vec<Effect>) {
        let active = self.jobs[&task.job].tasks.active.get(&task.index).cloned();
        let active = active.expect("only open attempts are ended");
        self.leaving.remove(&task);
        self.free_place(task, &active);
        self.charge(task, &active, &end);
        self.move_task(task, &active, &end.outcome);
        if !self.jobs[&task.job].tasks.succeeded.contains(task.index) {
            // One attempt's result is accepted at most: a cancelled task that ended
            // well and is tried again must not bring its outputs twice.
            end.outputs.clear();
        }
        // Whoever looks wants to know for whom, not that it was told to stop.
        match active.state {
            ActiveState::Stopping { why } if end.outcome != Outcome::Exit(0) => match why {
                StopWhy::Preempted { by } => end.outcome = Outcome::Preempted(by),
                StopWhy::GangBroken => end.outcome = Outcome::GangBroken,
                StopWhy::PreemptedByHand => end.outcome = self.preempted_by_hand(task),
                StopWhy::Cancelled(_) => {}
            },
            _ => {}
        }
        let node = &self.nodes[active.node.index()];
        effects.push(Effect::AttemptEnded(AttemptRecord {
            lease: self.lease(task, active.attempt),
            site: self.sites[node.site.index()].spec.name.clone(),
            node: node.report.name.clone(),
            granted: active.granted,
            ended: self.now,
            end,
        }));
        self.forget_unknown(active.node);
    }

    fn free_place(&mut self, task: TaskId, active: &Active) {
        let resources = *self.jobs[&task.job].resources_of(task.index);
        self.hold(task, false);
        self.count_user(task.job, -1, 0);
        if self.kernels.close(active.kernel, active.is_alone()) {
            self.touch_kernel(active.kernel);
        }
        self.touch_room(active.node);
        let takes_up = active.takes_up(&resources);
        let node = &mut self.nodes[active.node.index()];
        node.held -= &takes_up;
        if active.is_stopping() {
            node.leaving -= &takes_up;
        }
        node.running -= 1;
        node.tasks.remove(&task);
        let at = node.site;
        let site = &mut self.sites[at.index()];
        site.held -= &takes_up;
        site.running -= 1;
        site.cost_reserved_micro_eur -= active.reserved_micro_eur;
    }

    /// Adds core-time and cost to job, queues and site. Where the run time is not
    /// known, the whole reservation is charged: it was there to be used. The cost
    /// never exceeds what was reserved, so a budget cannot be overrun.
    fn charge(&mut self, task: TaskId, active: &Active, end: &AttemptEnd) {
        let at = self.nodes[active.node.index()].site;
        let job = &self.jobs[&task.job];
        let (resources, leaf) = (*job.resources_of(task.index), job.queue);
        let run_ms = match (&end.usage, &end.outcome) {
            (Some(usage), _) => (usage.ended - usage.started).clamp(0, self.now - active.granted),
            (None, Outcome::NotRun | Outcome::StartFailed(_)) => 0,
            (None, _) => self.now - active.granted,
        };
        let cost = match (
            &self.sites[at.index()].spec.contract,
            &end.usage,
            &end.outcome,
        ) {
            (None, _, _) | (_, None, Outcome::NotRun | Outcome::StartFailed(_)) => 0,
            (Some(_), None, _) => active.reserved_micro_eur,
            (Some(contract), Some(_), _) => contract
                .cost_micro_eur(&resources, run_ms)
                .min(active.reserved_micro_eur),
        };
        let core_ms = run_ms.saturating_mul(resources[crate::resources::CPU]) / 1_000;
        let totals = &mut self.job_mut(task.job).totals;
        totals.core_ms += core_ms;
        totals.cost_micro_eur += cost;
        let site = &mut self.sites[at.index()];
        site.core_ms += core_ms;
        site.cost_micro_eur += cost;
        if site.spec.contract.is_some() {
            self.index.touch_site(at); // Less is reserved than was.
        }
        for id in self.path(leaf) {
            let queue = self.queues.queue_mut(id);
            queue.core_ms += core_ms;
            queue.cost_micro_eur += cost;
        }
    }

    fn move_task(&mut self, task: TaskId, active: &Active, outcome: &Outcome) {
        let next = self.next_of(task, active, outcome);
        let delay_ms = match next {
            Next::Granted(grant) => {
                self.alter_by(grant.rule, task, active.node);
                grant.delay_ms
            }
            _ => 0,
        };
        let (now, mut wakes) = (self.now, None);
        self.with_queued(task.job, |job| {
            let tasks = &mut job.tasks;
            tasks.active.remove(&task.index);
            match next {
                Next::Succeeded => {
                    if let Some(gang) = tasks.gang.if_set() {
                        gang.remove(task.index);
                    }
                    tasks.past.remove(&task.index);
                    tasks.succeeded.insert(task.index);
                }
                Next::Queued | Next::Granted(_) if delay_ms == 0 => {
                    tasks.queued.insert(task.index);
                }
                Next::Queued | Next::Granted(_) => {
                    let at = now + delay_ms;
                    let past: &mut Past = tasks.past.entry(task.index).or_default();
                    past.not_before = Some(at);
                    tasks.queued.insert(task.index);
                    tasks.delayed.insert(task.index);
                    tasks.wakes.entry(at).or_default().insert(task.index);
                    wakes = Some(at);
                }
                Next::Failed(reason) => {
                    // It stays in the gang until that has been told.
                    tasks.failed.entry(reason).or_default().insert(task.index);
                }
                Next::Cancelled(why) => {
                    if let Some(gang) = tasks.gang.if_set() {
                        gang.remove(task.index);
                    }
                    tasks.cancelled.entry(why).or_default().insert(task.index);
                }
            }
        });
        if let Some(at) = wakes {
            self.timers.insert((at, Timer::Wake(task.job)));
        }
    }

    /// What becomes of a task whose attempt has ended, which is written into its past.
    fn next_of(&mut self, task: TaskId, active: &Active, outcome: &Outcome) -> Next {
        let past = self.job_mut(task.job).tasks.past.remove(&task.index);
        let (mut past, job) = (past.unwrap_or_default(), &self.jobs[&task.job]);
        let can_grow = |rule: &RetryRule| self.grown_mib(rule, job.needs_of(task.index)).is_some();
        let (state, policy) = (active.state, &self.policy);
        let next = after_attempt(state, outcome, &mut past, &job.spec, policy, can_grow);
        self.job_mut(task.job).tasks.past.insert(task.index, past);
        next
    }

    /// The time of delayed tasks of a job has come.
    pub(super) fn wake_tasks(&mut self, id: JobId, at: TimeMs) {
        if !self.jobs.contains_key(&id) {
            return;
        }
        self.with_queued(id, |job| {
            let tasks = &mut job.tasks;
            for index in tasks.wakes.remove(&at).unwrap_or_default().iter() {
                // It may have left and be delayed anew.
                let past = tasks.past.get(&index);
                if past.is_some_and(|past| past.not_before == Some(at)) {
                    tasks.delayed.remove(index);
                }
            }
        });
    }

    /// After one of a gang has ended: where it waits again, the others give up their
    /// places and wait with it; where it failed for good, they are cancelled. Those that
    /// have ended by that come back.
    fn keep_gang_whole(&mut self, id: JobId, effects: &mut Vec<Effect>) -> RangeSet {
        let tasks = &self.jobs[&id].tasks;
        if tasks.gang.is_empty() || tasks.gang_holds() {
            return RangeSet::default();
        }
        let mut failed = RangeSet::default();
        for ended in tasks.failed.values() {
            failed.extend(&ended.intersection(&tasks.gang));
        }
        if !failed.is_empty() {
            let others = self.with_queued(id, |job| {
                job.tasks.gang.take(&failed);
                job.tasks.gang.clone()
            });
            return self.cancel(id, &others, CancelledWhy::Gang, effects);
        }
        let queued = !tasks.queued.intersection(&tasks.gang).is_empty();
        let running: Vec<u32> = tasks
            .active_among(&tasks.gang)
            .into_iter()
            .filter(|index| !tasks.active[index].is_stopping())
            .collect();
        for index in running.into_iter().filter(|_| queued) {
            self.stop(TaskId { job: id, index }, StopWhy::GangBroken, effects);
        }
        RangeSet::default()
    }
}
