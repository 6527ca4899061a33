//! Attempts: a place is given, the site reports, the attempt ends.

use super::World;
use crate::effect::Effect;
use crate::event::Placement;
use crate::ids::{LeaseId, TaskId};
use crate::job::transition::{Next, after_attempt};
use crate::job::{Active, ActiveState, AttemptEnd, AttemptRecord, Outcome, Past};
use crate::rejected::Rejected;
use crate::round::feasible::{Taken, refusal, worst_cost_micro_eur};
use std::collections::BTreeSet;

impl World {
    /// [`crate::event::Event::PlanCommitted`]: every item is checked again, and
    /// one that does not hold refuses the whole plan.
    pub(super) fn commit_plan(
        &mut self,
        placements: &[Placement],
    ) -> Result<Vec<Effect>, Rejected> {
        self.check_plan(placements)?;
        Ok(placements
            .iter()
            .map(|placement| self.place(placement))
            .collect())
    }

    fn check_plan(&self, placements: &[Placement]) -> Result<(), Rejected> {
        let mut taken = Taken::default();
        let mut tasks = BTreeSet::new();
        for Placement { task, node } in placements {
            let refuse = |why: String| Rejected::Unplaceable { task: *task, why };
            let job = self.find_job(task.job)?;
            if !job.tasks.queued.contains(task.index) || !tasks.insert(*task) {
                return Err(refuse("it is not queued".into()));
            }
            if let Some((queue, _)) = self.queues.cordoned(job.queue) {
                return Err(refuse(format!(
                    "{} is cordoned",
                    self.queues.queue(queue).spec.name
                )));
            }
            let node = self
                .nodes
                .get(node.index())
                .ok_or_else(|| refuse(format!("no {node}")))?;
            if let Some(cause) = refusal(self, self.now, &taken, &job.spec.needs, node) {
                return Err(refuse(format!("{}: {}", node.report.name, cause.code())));
            }
            taken.take(self, &job.spec.needs, node);
        }
        Ok(())
    }

    fn place(&mut self, placement: &Placement) -> Effect {
        let Placement { task, node } = *placement;
        let job = &self.jobs[&task.job];
        let (resources, leaf) = (*job.resources(), job.queue);
        let attempt = job.next_attempt(task.index);
        let at = self.nodes[node.index()].site;
        let reserved_micro_eur =
            worst_cost_micro_eur(self, &job.spec.needs, &self.nodes[node.index()]);
        let now = self.now;
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
            };
            job.tasks.active.insert(task.index, active);
        });
        self.hold(leaf, &resources, true);
        self.index.touch_room(node);
        let entry = &mut self.nodes[node.index()];
        entry.held += &resources;
        entry.running += 1;
        let site = &mut self.sites[at.index()];
        site.held += &resources;
        site.running += 1;
        site.cost_reserved_micro_eur += reserved_micro_eur;
        Effect::Grant {
            site: at,
            lease: LeaseId {
                lineage: self.lineage,
                task,
                attempt,
            },
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
        self.open_attempt(lease)?;
        let mut effects = Vec::new();
        self.end_attempt(lease.task, end, &mut effects);
        Ok(effects)
    }

    /// Ends the open attempt of a task: frees its place, charges it, moves the task.
    pub(super) fn end_attempt(
        &mut self,
        task: TaskId,
        mut end: AttemptEnd,
        effects: &mut Vec<Effect>,
    ) {
        let active = self.job_mut(task.job).tasks.active.remove(&task.index);
        let active = active.expect("only open attempts are ended");
        self.free_place(task, &active);
        self.charge(task, &active, &end);
        self.move_task(task, &active, &end.outcome);
        if !self.jobs[&task.job].tasks.succeeded.contains(task.index) {
            // One attempt's result is accepted at most: a cancelled task that ended
            // well and is tried again must not bring its outputs twice.
            end.outputs.clear();
        }
        let node = &self.nodes[active.node.index()];
        effects.push(Effect::AttemptEnded(AttemptRecord {
            lease: LeaseId {
                lineage: self.lineage,
                task,
                attempt: active.attempt,
            },
            site: self.sites[node.site.index()].spec.name.clone(),
            node: node.report.name.clone(),
            granted: active.granted,
            ended: self.now,
            end,
        }));
        self.forget_unknown(active.node);
        self.settle(task.job, effects);
    }

    fn free_place(&mut self, task: TaskId, active: &Active) {
        let job = &self.jobs[&task.job];
        let (resources, leaf) = (*job.resources(), job.queue);
        self.hold(leaf, &resources, false);
        self.index.touch_room(active.node);
        let node = &mut self.nodes[active.node.index()];
        node.held -= &resources;
        node.running -= 1;
        let at = node.site;
        let site = &mut self.sites[at.index()];
        site.held -= &resources;
        site.running -= 1;
        site.cost_reserved_micro_eur -= active.reserved_micro_eur;
    }

    /// Adds core-time and cost to job, queues and site. Where the run time is not
    /// known, the whole reservation is charged: it was there to be used. The cost
    /// never exceeds what was reserved, so a budget cannot be overrun.
    fn charge(&mut self, task: TaskId, active: &Active, end: &AttemptEnd) {
        let at = self.nodes[active.node.index()].site;
        let job = &self.jobs[&task.job];
        let (resources, leaf) = (*job.resources(), job.queue);
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
        let policy = self.policy.clone();
        self.with_queued(task.job, |job| {
            let tasks = &mut job.tasks;
            let past: &mut Past = tasks.past.entry(task.index).or_default();
            match after_attempt(active.state, outcome, past, &job.spec, &policy) {
                Next::Succeeded => {
                    tasks.past.remove(&task.index);
                    tasks.succeeded.insert(task.index);
                }
                Next::Queued => {
                    tasks.queued.insert(task.index);
                }
                Next::Failed(reason) => {
                    tasks.failed.entry(reason).or_default().insert(task.index);
                }
                Next::Cancelled(why) => {
                    tasks.cancelled.entry(why).or_default().insert(task.index);
                }
            }
        });
    }
}
