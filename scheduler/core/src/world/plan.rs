//! What a round decided comes back: every item is checked again before any of it is done.

use super::World;
use crate::effect::Effect;
use crate::event::{Placement, Preemption};
use crate::ids::{JobId, TaskId};
use crate::job::{Active, StopWhy};
use crate::ranges::RangeSet;
use crate::rejected::Rejected;
use crate::reservation::{Place, Reservation};
use crate::resources::Resources;
use crate::round::counts::Counts;
use crate::round::feasible::{Taken, refusal};
use crate::site::Node;
use crate::sparse::Sparse;
use crate::time::TimeMs;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// [`crate::event::Event::PlanCommitted`]: every item is checked again, and
    /// one that does not hold refuses the whole plan.
    pub(super) fn commit_plan(
        &mut self,
        placements: &[Placement],
        preemptions: &[Preemption],
        reservations: Option<&[Reservation]>,
    ) -> Result<Vec<Effect>, Rejected> {
        self.check_plan(placements)?;
        self.check_gangs(placements)?;
        self.check_limits(placements)?;
        self.check_bounds(placements)?;
        self.check_preemptions(preemptions)?;
        self.check_hour(preemptions)?;
        self.check_reservations(reservations.unwrap_or_default())?;
        let mut effects = Vec::new();
        self.preempted.add(self.now, preemptions.len() as u32);
        for Preemption { task, by } in preemptions {
            self.stop(*task, StopWhy::Preempted { by: *by }, &mut effects);
        }
        effects.extend(placements.iter().map(|placement| self.place(placement)));
        if let Some(reservations) = reservations {
            self.reservations = reservations.to_vec();
        }
        Ok(effects)
    }

    /// No queue comes beyond its limit.
    fn check_limits(&self, placements: &[Placement]) -> Result<(), Rejected> {
        let mut held: Sparse<Resources> = Sparse::default();
        for Placement { task, .. } in placements {
            let job = self.find_job(task.job)?;
            for id in self.queues.path(job.queue) {
                let queue = self.queues.queue(id);
                let held = held.entry(id.index(), || queue.held);
                let asked = job.resources_of(task.index);
                *held += asked;
                if queue.spec.limit.exceeded(held, asked) {
                    let why = format!("{} would hold more than its limit", queue.spec.name);
                    return Err(Rejected::Unplaceable { task: *task, why });
                }
            }
        }
        Ok(())
    }

    /// No queue, and no user in one, comes to more tasks that hold a place than are allowed.
    fn check_bounds(&self, placements: &[Placement]) -> Result<(), Rejected> {
        let mut counts = Counts::new(self);
        if !counts.are_bounded() {
            return Ok(());
        }
        for Placement { task, .. } in placements {
            let job = self.find_job(task.job)?;
            if let Some((queue, reason)) = counts.reached(self, job.queue, job.alone, 1) {
                let name = &self.queues.queue(queue).spec.name;
                let why = format!("{name}: {}", reason.code());
                return Err(Rejected::Unplaceable { task: *task, why });
            }
            counts.add(self, job.queue, job.alone, 1);
        }
        Ok(())
    }

    /// Room is kept for jobs that are there, on nodes that are there, for as many tasks
    /// as it is for.
    fn check_reservations(&self, reservations: &[Reservation]) -> Result<(), Rejected> {
        for reservation in reservations {
            self.find_job(reservation.job)?;
            let places: usize = reservation
                .places
                .iter()
                .map(|place| place.tasks as usize)
                .sum();
            let there = |place: &Place| {
                let node = self.nodes.get(place.node.index());
                node.is_some_and(Node::is_known)
            };
            let all = reservation.places.iter().all(there);
            if !all || places != reservation.tasks.len() || places == 0 {
                let index = reservation.tasks.first().copied().unwrap_or_default();
                let job = reservation.job;
                let why = "its reservation is not of places that there are".into();
                return Err(Rejected::Unplaceable {
                    task: TaskId { job, index },
                    why,
                });
            }
        }
        Ok(())
    }

    /// Whoever is to lose a place holds one, may lose it, and is not leaving already;
    /// of a gang all are.
    fn check_preemptions(&self, preemptions: &[Preemption]) -> Result<(), Rejected> {
        let victims: BTreeSet<TaskId> = preemptions.iter().map(|victim| victim.task).collect();
        let mut seen = BTreeSet::new();
        for Preemption { task, by } in preemptions {
            let refuse = |why: &str| Rejected::Unplaceable {
                task: *task,
                why: why.into(),
            };
            let (job, by) = (self.find_job(task.job)?, self.find_job(*by)?);
            let active = job.tasks.active.get(&task.index);
            if active.is_none_or(Active::is_stopping) || !seen.insert(*task) {
                return Err(refuse("it holds no place that it could lose"));
            }
            if !job.spec.preemptible {
                return Err(refuse("it is not preemptible"));
            }
            if job.queue == by.queue && job.spec.priority_class >= by.spec.priority_class {
                return Err(refuse("only a higher class of its queue takes its place"));
            }
            let whole = |index: u32| {
                let job = task.job;
                victims.contains(&TaskId { job, index })
            };
            if job.tasks.gang.contains(task.index) && !job.tasks.gang.iter().all(whole) {
                return Err(refuse("a gang loses all of its places or none"));
            }
        }
        Ok(())
    }

    /// No more are preempted within an hour than the policy allows.
    fn check_hour(&self, preemptions: &[Preemption]) -> Result<(), Rejected> {
        match preemptions.first() {
            Some(first) if preemptions.len() as u64 > self.preemptions_left(self.now) => {
                Err(Rejected::Unplaceable {
                    task: first.task,
                    why: "as many were preempted within an hour as may be".into(),
                })
            }
            _ => Ok(()),
        }
    }

    /// So many tasks may be preempted at a time, by the bounds of a round and an hour.
    pub fn preemptions_left(&self, now: TimeMs) -> u64 {
        let most = u64::from(self.policy.preemptions_per_hour_max);
        let left = most.saturating_sub(self.preempted.count(now));
        left.min(self.policy.preemptions_per_round_max.into())
    }

    /// Of a gang that does not hold its places yet, all get one or none; the others of
    /// its job come behind.
    fn check_gangs(&self, placements: &[Placement]) -> Result<(), Rejected> {
        let mut placed: BTreeMap<JobId, RangeSet> = BTreeMap::new();
        for Placement { task, .. } in placements {
            let job = self.find_job(task.job)?;
            if !job.tasks.gang.is_empty() || job.spec.running_max.is_some() {
                placed.entry(task.job).or_default().insert(task.index);
            }
        }
        for (id, placed) in placed {
            let job = &self.jobs[&id];
            let gang = &job.tasks.gang;
            let whole = gang.intersection(&placed).len() == gang.len();
            if gang.len() > 1 && !job.tasks.gang_holds() && !whole {
                let task = TaskId {
                    job: id,
                    index: placed.first().unwrap_or_default(),
                };
                let why = "its gang would not be whole".into();
                return Err(Rejected::Unplaceable { task, why });
            }
            let most = job.spec.running_max.map_or(u64::MAX, u64::from);
            if job.tasks.active.len() as u64 + placed.len() > most {
                let index = placed.first().unwrap_or_default();
                let task = TaskId { job: id, index };
                let why = format!("{most} tasks of the job hold a place already");
                return Err(Rejected::Unplaceable { task, why });
            }
        }
        Ok(())
    }

    fn check_plan(&self, placements: &[Placement]) -> Result<(), Rejected> {
        let mut taken = Taken::default();
        let mut tasks: Vec<TaskId> = placements.iter().map(|item| item.task).collect();
        tasks.sort_unstable();
        let twice = tasks.windows(2).find(|pair| pair[0] == pair[1]);
        if let Some([task, ..]) = twice {
            let (task, why) = (*task, "it is placed twice".into());
            return Err(Rejected::Unplaceable { task, why });
        }
        for Placement { task, node, way } in placements {
            let refuse = |why: String| Rejected::Unplaceable { task: *task, why };
            let job = self.find_job(task.job)?;
            let waits = job.tasks.queued.contains(task.index);
            if !waits || job.tasks.delayed.contains(task.index) {
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
            if let Some(cause) = refusal(self, self.now, &taken, job.needs_of(task.index), node) {
                return Err(refuse(format!("{}: {}", node.report.name, cause.code())));
            }
            let tenant = self.queues.queue(job.queue).tenant;
            let took = taken.take(self, job.needs_of(task.index), tenant, node);
            if way.is_some_and(|way| way != took.choice.way) {
                let name = &node.report.name;
                return Err(refuse(format!("{name}: it does not run there in this way")));
            }
        }
        Ok(())
    }
}
