//! The orders of one line, read slowly: a table of what is free on each node in each minute,
//! every start tried from now on, everything computed anew.

use std::collections::BTreeMap;

use jeroboam_core::event::Placement;
use jeroboam_core::ids::{JobId, NodeId, TaskId};
use jeroboam_core::job::Job;
use jeroboam_core::policy::Discipline;
use jeroboam_core::reservation::Reservation;
use jeroboam_core::resources::DIMENSIONS;
use jeroboam_core::round::Plan;
use jeroboam_core::spec::Within;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

use crate::drive::Met;
use crate::make::MINUTE_MS;

/// Minutes that are looked ahead; longer than all that waits takes one after the other.
const HORIZON: usize = 240;

type Amounts = [i64; DIMENSIONS];

/// Tasks that go at once.
struct Unit {
    job: JobId,
    tasks: Vec<u32>,
    need: Amounts,
    minutes: usize,
    /// Of each node its group; the tasks go to nodes of one.
    groups: Vec<Option<String>>,
}

/// Room kept: minutes from now, and on which nodes for how many.
#[derive(Clone, PartialEq)]
struct Kept {
    at: i64,
    nodes: Vec<(usize, i64)>,
}

/// A round being read.
pub struct Reading<'w> {
    world: &'w World,
    now: TimeMs,
    plan: &'w Plan,
    discipline: Discipline,
    depth: usize,
    /// Free on each node in each minute; of closed nodes nothing ever is.
    free: Vec<Vec<Amounts>>,
    /// What queues hold, with what was given or kept in this round, by name.
    held: BTreeMap<String, Amounts>,
    /// Promised before, and not reached yet.
    promises: BTreeMap<(JobId, u32), (Kept, Unit)>,
    /// Of each job, how many tasks were given places or have room kept in this round.
    taken: BTreeMap<JobId, usize>,
    reserved: Vec<(JobId, u32)>,
    placed: usize,
    pub met: Met,
}

impl<'w> Reading<'w> {
    /// Of what a plan decided on a World as it was before.
    pub fn new(world: &'w World, now: TimeMs, plan: &'w Plan) -> Self {
        let policy = world.policy();
        let free = world.nodes().iter().map(|node| {
            let open = node.present && node.report.schedulable;
            let mut free = vec![
                if open {
                    node.report.capacity.0
                } else {
                    [0; DIMENSIONS]
                };
                HORIZON
            ];
            for task in node.tasks.iter().filter(|_| open) {
                let job = &world.jobs()[&task.job];
                let end = job.tasks.active[&task.index].granted + job.spec.needs.walltime_ms;
                let minutes = minutes(end - now).max(0);
                for free in free.iter_mut().take(minutes as usize) {
                    change(free, &job.resources().0, -1);
                }
            }
            free
        });
        let mut reading = Reading {
            world,
            now,
            plan,
            discipline: policy.order,
            depth: match policy.order {
                Discipline::Easy => 1,
                Discipline::Conservative => policy.conservative_depth as usize,
                _ => 0,
            },
            free: free.collect(),
            held: BTreeMap::new(),
            promises: BTreeMap::new(),
            taken: BTreeMap::new(),
            reserved: Vec::new(),
            placed: 0,
            met: Met::default(),
        };
        for queue in world.queues().iter() {
            reading.held.insert(queue.spec.name.clone(), queue.held.0);
        }
        reading
    }

    /// Reads the round and compares.
    pub fn check(mut self) -> Met {
        self.take_over_promises();
        let mut line: Vec<&Job> = self.world.jobs().values().collect();
        line.sort_by_key(|job| (-job.spec.priority, job.submitted, job.id));
        'line: for job in line {
            while let Some(unit) = self.next_unit(job) {
                let before = self.taken.get(&job.id).copied();
                if !self.serve(&unit) {
                    break 'line;
                }
                if self.taken.get(&job.id).copied() == before {
                    // The others of the job ask for the same, or wait for this.
                    break;
                }
            }
        }
        self.met.rounds = 1;
        assert_eq!(
            self.placed,
            self.plan.placements.len(),
            "others were placed as well"
        );
        let told = self.reservations().iter();
        let told: Vec<(JobId, u32)> = told.map(|kept| (kept.job, kept.tasks[0])).collect();
        assert_eq!(told, self.reserved, "who holds a reservation, in order");
        self.met
    }

    /// All that there are after the round.
    fn reservations(&self) -> &'w [Reservation] {
        let (plan, world) = (self.plan, self.world);
        plan.reservations.as_deref().unwrap_or(world.reservations())
    }

    fn take_over_promises(&mut self) {
        for kept in self.world.reservations() {
            let job = &self.world.jobs()[&kept.job];
            let waits = |task: &u32| job.tasks.queued.contains(*task);
            if kept.tasks.iter().all(waits) && self.depth > 0 {
                let unit = self.unit(job, kept.tasks.clone());
                let promise = self.kept(kept);
                self.fill(&unit, &promise, -1);
                self.promises
                    .insert((job.id, kept.tasks[0]), (promise, unit));
            }
        }
    }

    fn kept(&self, kept: &Reservation) -> Kept {
        let nodes = kept.places.iter();
        Kept {
            at: minutes(kept.promised - self.now),
            nodes: nodes
                .map(|place| (place.node.index(), place.tasks.into()))
                .collect(),
        }
    }

    /// The tasks of a job that go next: its gang first, then one by one.
    fn next_unit(&self, job: &Job) -> Option<Unit> {
        let taken = self.taken.get(&job.id).copied().unwrap_or(0);
        let (min, queued) = (job.spec.min as usize, &job.tasks.queued);
        let gang_waits = min > 1 && (0..min as u32).all(|index| queued.contains(index));
        let all: Vec<u32> = queued.iter().collect();
        let tasks: Vec<u32> = if gang_waits && taken == 0 {
            all[..min].to_vec()
        } else if gang_waits && self.reserved.contains(&(job.id, 0)) {
            return None; // They come behind their gang.
        } else {
            vec![*all.get(taken)?]
        };
        let active = job.tasks.active.len();
        let most = job.spec.running_max.map_or(usize::MAX, |max| max as usize);
        (active + taken + tasks.len() <= most).then(|| self.unit(job, tasks))
    }

    fn unit(&self, job: &Job, tasks: Vec<u32>) -> Unit {
        let one_rack = tasks.len() > 1 && matches!(job.spec.within, Some(Within::Label(_)));
        let group = |node: &jeroboam_core::site::Node| match one_rack {
            true => node.report.labels.get("rack").cloned(),
            false => Some(String::new()),
        };
        Unit {
            job: job.id,
            tasks,
            need: job.resources().0,
            minutes: minutes(job.spec.needs.walltime_ms) as usize,
            groups: self.world.nodes().iter().map(group).collect(),
        }
    }

    /// False if nobody may pass.
    fn serve(&mut self, unit: &Unit) -> bool {
        if self.reserved.len() >= self.depth {
            self.drop_promises();
        }
        let promise = self.promises.remove(&(unit.job, unit.tasks[0]));
        let promise = promise.map(|(promise, _)| promise);
        if let Some(promise) = &promise {
            self.fill(unit, promise, 1);
        }
        if self.is_limited(unit) {
            return true;
        }
        let mut start = self.earliest(unit);
        let passes = self.discipline != Discipline::Fifo;
        let may_wait = self.reserved.len() < self.depth || !passes;
        let late = start.is_some_and(|at| at > 0)
            && may_wait
            && promise.as_ref().is_none_or(|promise| {
                promise.at <= 0 || start.is_some_and(|at| at as i64 > promise.at)
            });
        if late && !self.promises.is_empty() {
            self.drop_promises();
            start = self.earliest(unit);
        }
        match start {
            None => {}
            Some(0) => self.has_started(unit),
            Some(_) if !passes => {
                self.met.stopped += 1;
                return false;
            }
            Some(_) if !may_wait => {}
            Some(at) => self.is_reserved(unit, at, promise),
        }
        true
    }

    /// The first minute from which on there is room for all in one group.
    fn earliest(&self, unit: &Unit) -> Option<usize> {
        (0..HORIZON - unit.minutes).find(|at| {
            let mut sums: BTreeMap<&String, i64> = BTreeMap::new();
            for (node, group) in unit.groups.iter().enumerate() {
                if let Some(group) = group {
                    *sums.entry(group).or_default() += self.places(unit, node, *at);
                }
            }
            sums.values().any(|sum| *sum >= unit.tasks.len() as i64)
        })
    }

    /// For how many of the tasks a node has room all the time from a minute on.
    fn places(&self, unit: &Unit, node: usize, at: usize) -> i64 {
        let mut places = unit.tasks.len() as i64;
        for free in &self.free[node][at..at + unit.minutes] {
            for (need, free) in unit.need.iter().zip(free).filter(|(need, _)| **need > 0) {
                places = places.min((*free).max(0) / need);
            }
            if places == 0 {
                break;
            }
        }
        places
    }

    fn is_limited(&self, unit: &Unit) -> bool {
        let leaf = self.world.jobs()[&unit.job].queue;
        self.world.queues().path(leaf).any(|id| {
            let spec = &self.world.queues().queue(id).spec;
            let held = &self.held[&spec.name];
            (0..DIMENSIONS).any(|d| {
                let with = held[d] + unit.need[d] * unit.tasks.len() as i64;
                unit.need[d] > 0 && spec.limit.0[d].is_some_and(|limit| with > limit)
            })
        })
    }

    fn has_started(&mut self, unit: &Unit) {
        let mut nodes: BTreeMap<usize, i64> = BTreeMap::new();
        for index in &unit.tasks {
            let task = TaskId {
                job: unit.job,
                index: *index,
            };
            let mine = |placement: &&Placement| placement.task == task;
            let placement = self.plan.placements.iter().find(mine);
            let placement = placement.unwrap_or_else(|| panic!("{task} has room now, and waits"));
            *nodes.entry(placement.node.index()).or_default() += 1;
        }
        let kept = Kept {
            at: 0,
            nodes: nodes.into_iter().collect(),
        };
        self.has_room(unit, &kept);
        self.fill(unit, &kept, -1);
        self.charge(unit);
        self.placed += unit.tasks.len();
        self.met.started += 1;
        self.met.passed += u64::from(!self.reserved.is_empty());
    }

    fn is_reserved(&mut self, unit: &Unit, at: usize, before: Option<Kept>) {
        let told = self.reservations().iter();
        let mine = |kept: &&Reservation| kept.job == unit.job && kept.tasks == unit.tasks;
        let told = told.clone().find(mine).map(|kept| self.kept(kept));
        let who = TaskId {
            job: unit.job,
            index: unit.tasks[0],
        };
        let told = told.unwrap_or_else(|| panic!("{who} holds no reservation"));
        assert_eq!(told.at, at as i64, "{who}: in so many minutes");
        self.has_room(unit, &told);
        match before {
            Some(before) if before.at == told.at && self.fits(unit, &before) => {
                assert!(before == told, "{who}: its places were changed for nothing");
            }
            Some(before) => self.met.brought_forward += u64::from(told.at < before.at),
            None => {}
        }
        self.fill(unit, &told, -1);
        self.charge(unit);
        self.reserved.push((unit.job, unit.tasks[0]));
        self.met.reserved += 1;
        self.met.gangs_reserved += u64::from(unit.tasks.len() > 1);
    }

    /// The nodes that the core chose have room, in one group.
    fn has_room(&self, unit: &Unit, kept: &Kept) {
        let all: i64 = kept.nodes.iter().map(|(_, tasks)| tasks).sum();
        assert_eq!(all, unit.tasks.len() as i64);
        let first = &unit.groups[kept.nodes[0].0];
        for (node, tasks) in &kept.nodes {
            assert!(
                unit.groups[*node] == *first && first.is_some(),
                "two groups"
            );
            let (job, at) = (unit.job, kept.at as usize);
            let room = self.places(unit, *node, at) >= *tasks;
            assert!(
                room,
                "{job} has no room on {:?} in {at} minutes",
                NodeId(*node as u32)
            );
        }
    }

    fn fits(&self, unit: &Unit, kept: &Kept) -> bool {
        let mut nodes = kept.nodes.iter();
        nodes.all(|(node, tasks)| self.places(unit, *node, kept.at as usize) >= *tasks)
    }

    fn charge(&mut self, unit: &Unit) {
        let leaf = self.world.jobs()[&unit.job].queue;
        for id in self.world.queues().path(leaf) {
            let name = &self.world.queues().queue(id).spec.name;
            let held = self.held.get_mut(name).unwrap();
            change(held, &unit.need, unit.tasks.len() as i64);
        }
        *self.taken.entry(unit.job).or_default() += unit.tasks.len();
    }

    fn drop_promises(&mut self) {
        for (kept, unit) in std::mem::take(&mut self.promises).into_values() {
            self.fill(&unit, &kept, 1);
        }
    }

    fn fill(&mut self, unit: &Unit, kept: &Kept, sign: i64) {
        for (node, tasks) in &kept.nodes {
            // What was due, on a node that has closed, takes what is left of its time.
            let (from, end) = (kept.at.max(0), (kept.at + unit.minutes as i64).max(0));
            for free in &mut self.free[*node][from as usize..end as usize] {
                change(free, &unit.need, sign * tasks);
            }
        }
    }
}

fn change(amounts: &mut Amounts, by: &Amounts, times: i64) {
    for (amount, by) in amounts.iter_mut().zip(by) {
        *amount += by * times;
    }
}

fn minutes(span_ms: i64) -> i64 {
    assert_eq!(span_ms % MINUTE_MS, 0, "these systems go by whole minutes");
    span_ms / MINUTE_MS
}
