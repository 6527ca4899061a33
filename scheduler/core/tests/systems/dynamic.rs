//! Systems in motion: work arrives and ends, nodes go and come, bounds and weights change.
//! Once arrivals stop and everything is open again, all that ever waited gets its turn.

use jeroboam_core::event::{Event, QueueChange};
use jeroboam_core::ids::TaskId;
use jeroboam_core::isolation::{Isolation, Tenancy, whole};
use jeroboam_core::job::{Active, Outcome};
use jeroboam_core::queue::Limit;
use jeroboam_core::site::NodeReport;
use jeroboam_core::spec::{JobSpec, Needs};
use jeroboam_core::time::TimeMs;

use crate::chance::{self, Taste};
use crate::claim::Claims;
use crate::dice::Dice;
use crate::make::MINUTE_MS;
use crate::system::{Done, System};
use crate::verdict;

/// Steps in which work arrives.
const STEPS: i64 = 90;
/// Rounds in which all must have had its turn after that.
const ROUNDS_MAX: u64 = 4_000;
/// Waiting tasks beyond which nothing more arrives.
const WAITING_MAX: u64 = 60;

/// What a life came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Told {
    pub rounds: u64,
    pub rounds_held_back: u64,
    pub preempted: u64,
    /// Of one task, at most.
    pub preempted_most: u32,
    /// Guarantees looked at while nothing moved.
    pub claims: u64,
}

struct Life<'d> {
    dice: &'d mut Dice,
    system: System,
    taste: Taste,
    names: Vec<String>,
    leaves: Vec<String>,
    nodes: Vec<NodeReport>,
    boots: u64,
    winding_up: bool,
    told: Told,
}

/// A whole life.
pub fn live(dice: &mut Dice, taste: Taste) -> Told {
    let mut policy = chance::policy(dice);
    policy.preempt_after_ms = dice.pick(&[0, 5, 20]) * MINUTE_MS;
    policy.lost_attempts_max = 1_000;
    let mut system = System::new(policy);
    let (names, leaves) = chance::tree(dice, &mut system);
    let nodes = chance::nodes(dice, taste);
    system.nodes(nodes.clone(), Vec::new());
    chance::bound(dice, &mut system, &names, taste);
    let told = Told::default();
    let mut life = Life {
        dice,
        system,
        taste,
        names,
        leaves,
        nodes,
        boots: 0,
        winding_up: false,
        told,
    };
    for _ in 0..STEPS {
        life.happen();
        let step_ms = life
            .dice
            .pick(&[10_000, MINUTE_MS, 10 * MINUTE_MS, 30 * MINUTE_MS]);
        life.step(step_ms);
    }
    life.wind_up();
    life.told
}

impl Life<'_> {
    fn happen(&mut self) {
        let waiting = self
            .system
            .world
            .queues()
            .iter()
            .next()
            .map_or(0, |root| root.queued);
        if waiting < WAITING_MAX && self.dice.percent(60) {
            let leaf = self.dice.between(0, self.leaves.len() as i64 - 1) as usize;
            let job = self.job();
            self.system.submit(&self.leaves[leaf], job);
        }
        if self.dice.percent(8) {
            let node = self.dice.between(0, self.nodes.len() as i64 - 1) as usize;
            self.nodes[node].schedulable ^= true;
            self.system
                .nodes(vec![self.nodes[node].clone()], Vec::new());
        }
        if self.dice.percent(4) {
            self.lose_node();
        }
        if self.dice.percent(6) {
            chance::bound(self.dice, &mut self.system, &self.names, self.taste);
        }
        if self.dice.percent(6) {
            let name =
                self.names[self.dice.between(0, self.names.len() as i64 - 1) as usize].clone();
            let weight = Some(self.dice.pick(&[0, 1, 2, 5]));
            let change = QueueChange {
                weight,
                ..QueueChange::default()
            };
            self.system.must(Event::QueueChanged { name, change });
        }
    }

    /// A job that the nodes can run when all of them are there.
    fn job(&mut self) -> JobSpec {
        let mut job = chance::job(self.dice, self.taste);
        let fits = |node: &NodeReport| whole(&job.needs, node).times_in(&node.capacity);
        let places: i64 = self.nodes.iter().map(fits).sum();
        if places == 0 {
            // As large as what the runtime leaves of the first node.
            job.needs.isolation = Isolation::Shared;
            let room = self.nodes[0].capacity;
            let with = whole(&Needs::new(room, 1), &self.nodes[0]);
            job.needs.resources = room.minus(&with.minus(&room));
        }
        if places < i64::from(job.min) {
            job.min = 1;
        }
        job
    }

    /// A node is gone, and what ran there; or back.
    fn lose_node(&mut self) {
        let node = self.dice.between(0, self.nodes.len() as i64 - 1) as usize;
        let report = self.nodes[node].clone();
        let known = self
            .system
            .world
            .nodes()
            .iter()
            .find(|n| n.report.name == report.name && n.present);
        match known.map(|node| node.id) {
            Some(id) => {
                self.system.nodes(Vec::new(), vec![report.name]);
                self.system
                    .end_where(Outcome::Lost, |_, active| active.node == id);
            }
            None => self.system.nodes(vec![report], Vec::new()),
        }
    }

    /// Time passes, what has run its time ends, victims end, and a round is made.
    fn step(&mut self, step_ms: i64) -> Done {
        self.system.now = self.system.now + step_ms;
        let now = self.system.now;
        let ends = self.ends();
        self.system
            .end_where(Outcome::Exit(0), |task, _| ends(task) <= now);
        self.system.end_stopping();
        if self.taste.tenants {
            self.boot_idle_nodes();
        }
        let done = self.system.round();
        let leaving = !self.system.world.leaving().is_empty();
        if done.is_quiet() && !leaving && self.told.claims < 400 && !self.taste.tenants {
            self.told.claims += 1;
            let claims = Claims::new(&self.system.world, now);
            if let Some((job, list)) = claims.missed() {
                let state = verdict::tell(&self.system.world, now);
                panic!(
                    "{job} is below its guarantee, or outranks others, and might preempt {}\n{state}",
                    claims.tell(&list)
                );
            }
        }
        done
    }

    /// Somebody boots what is idle, now and then, and at the end always.
    fn boot_idle_nodes(&mut self) {
        let winding_up = self.winding_up;
        for position in 0..self.nodes.len() {
            let name = self.nodes[position].name.clone();
            let nodes = self.system.world.nodes().iter();
            let known = nodes
                .clone()
                .find(|node| node.report.name == name && node.present);
            let idle = known.is_some_and(|node| {
                let used = self.system.world.tenancy(node) != Tenancy::Unused;
                node.running == 0 && used
            });
            if idle && (winding_up || self.dice.percent(40)) {
                self.boots += 1;
                self.nodes[position].kernel = format!("{name} boot {}", self.boots);
                let report = self.nodes[position].clone();
                self.system.nodes(vec![report], Vec::new());
            }
        }
    }

    /// When a task that holds a place ends: after a tenth to all of its walltime limit.
    fn ends(&self) -> impl Fn(TaskId) -> TimeMs + use<> {
        let jobs = self.system.world.jobs().values();
        let of = |job: &jeroboam_core::job::Job| {
            let walltime_ms = job.spec.needs.walltime_ms;
            let end = move |id, (index, active): (&u32, &Active)| {
                let task = TaskId {
                    job: id,
                    index: *index,
                };
                let tenths =
                    (task.job.0 * 7 + u64::from(task.index) * 3 + u64::from(active.attempt)) % 10
                        + 1;
                (task, active.granted + walltime_ms * tenths as i64 / 10)
            };
            job.tasks
                .active
                .iter()
                .map(|active| end(job.id, active))
                .collect::<Vec<_>>()
        };
        let ends: std::collections::BTreeMap<TaskId, TimeMs> = jobs.flat_map(of).collect();
        move |task| ends[&task]
    }

    /// Everything opens, nothing arrives any more, and all that waits is run.
    fn wind_up(&mut self) {
        self.winding_up = true;
        for node in &mut self.nodes {
            node.schedulable = true;
        }
        self.system.nodes(self.nodes.clone(), Vec::new());
        for name in self.names.clone() {
            assert!(self.system.bound(&name, None, Some(Limit::default())));
        }
        let began = self.system.rounds;
        while self.is_unfinished() {
            let next = self.next_end();
            let done = self.step(next.clamp(1_000, 30 * MINUTE_MS));
            let busy = self
                .system
                .world
                .jobs()
                .values()
                .any(|job| !job.tasks.active.is_empty());
            let stuck =
                !busy && done.is_quiet() && !done.reservations_changed && self.is_unfinished();
            if stuck || self.system.rounds - began > ROUNDS_MAX {
                let state = verdict::tell(&self.system.world, self.system.now);
                panic!("it is never its turn (nothing runs: {stuck})\n{state}");
            }
        }
        self.step(MINUTE_MS);
        assert!(
            self.system.world.reservations().is_empty(),
            "a reservation is left behind"
        );
        let root = self
            .system
            .world
            .queues()
            .iter()
            .next()
            .map(|root| root.held);
        assert!(
            root.is_some_and(|held| held.is_zero()),
            "something is held for ever"
        );
        let jobs = self.system.world.jobs().values();
        let past = jobs.flat_map(|job| job.tasks.past.values());
        self.told.preempted_most = past.map(|past| past.preempted).max().unwrap_or(0);
        self.told.preempted = self.system.preempted;
        self.told.rounds = self.system.rounds;
        self.told.rounds_held_back = self.system.rounds_held_back;
    }

    fn is_unfinished(&self) -> bool {
        self.system
            .world
            .jobs()
            .values()
            .any(|job| !job.is_finished())
    }

    fn next_end(&self) -> i64 {
        let ends = self.ends();
        let mut next = i64::MAX;
        for job in self.system.world.jobs().values() {
            for index in job.tasks.active.keys() {
                next = next.min(
                    ends(TaskId {
                        job: job.id,
                        index: *index,
                    }) - self.system.now,
                );
            }
        }
        next
    }
}
