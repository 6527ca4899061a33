//! How well are nodes filled? Placed work against the best there is.
//!
//! `cargo bench -p jeroboam-core --bench packing` prints, for *small* systems by chance, the work that
//! rounds place on empty nodes as a part of the optimum of an integer program; for *large* ones, as a part of
//! what exhaustive best fit places, which looks at every node for every task in the same order. `-- --quick`
//! runs few. Nothing is asserted about the gap.
//!
//! The work of a task is its dominant share of the pool. One queue, so that nothing is kept from going by shares;
//! no reservations, so that nothing is kept for who does not fit. The core places in the order of submission and does not
//! search for the best set: what it is measured by is free to leave tasks out.

#![allow(clippy::disallowed_methods)] // a bench reads its arguments

#[allow(dead_code)] // it throws more than is wanted here
#[path = "../tests/systems/dice.rs"]
mod dice;

use dice::Dice;
use good_lp::{
    Expression, Solution, SolverModel, Variable, constraint, microlp, variable, variables,
};
use jeroboam_core::event::Event;
use jeroboam_core::policy::Policy;
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::{CPU, MEMORY, Resources};
use jeroboam_core::round::order::dominant;
use jeroboam_core::round::plan_round;
use jeroboam_core::site::{NodeReport, SiteSpec};
use jeroboam_core::spec::{BatchSpec, Coe, JobSpec, Needs};
use jeroboam_core::time::{HOUR_MS, TimeMs};
use jeroboam_core::world::World;
use std::collections::{BTreeMap, BTreeSet};

const NOW: TimeMs = TimeMs(1_767_225_600_000);

/// Nodes, and so many tasks of each cost, in the order of submission.
struct Instance {
    nodes: Vec<Resources>,
    jobs: Vec<(Resources, i64)>,
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    let (small, large) = if quick { (5, 1) } else { (200, 8) };
    let mut gaps = Gaps::default();
    for seed in 0..small {
        let instance = Instance::small(&mut Dice::new(seed));
        gaps.add(instance.placed_by_core() / instance.optimum());
    }
    gaps.tell("small: 3 nodes, 5 classes, against the integer program's optimum");
    let mut gaps = Gaps::default();
    let nodes = if quick { 50 } else { 1_000 };
    for seed in 0..large {
        let instance = Instance::large(&mut Dice::new(seed), nodes);
        gaps.add(instance.placed_by_core() / instance.best_fit());
    }
    gaps.tell(&format!(
        "large: {nodes} nodes, 40 classes, against exhaustive best fit"
    ));
}

#[derive(Default)]
struct Gaps(Vec<f64>);

impl Gaps {
    fn add(&mut self, part: f64) {
        self.0.push(part);
    }

    fn tell(mut self, what: &str) {
        self.0.sort_by(f64::total_cmp);
        let mean = self.0.iter().sum::<f64>() / self.0.len() as f64;
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        println!(
            "{what}: {} systems; placed work mean {mean:.3}, least {least:.3}, most {most:.3} of it",
            self.0.len()
        );
    }
}

impl Instance {
    fn small(dice: &mut Dice) -> Instance {
        let node = |dice: &mut Dice| amounts(dice.between(8, 32), dice.between(16, 128));
        let job = |dice: &mut Dice| {
            let cost = amounts(dice.between(1, 12), dice.between(1, 40));
            (cost, dice.between(1, 10))
        };
        Instance {
            nodes: (0..3).map(|_| node(dice)).collect(),
            jobs: (0..5).map(|_| job(dice)).collect(),
        }
    }

    fn large(dice: &mut Dice, nodes: usize) -> Instance {
        let node = |dice: &mut Dice| {
            let cores = dice.pick(&[16, 32, 64, 128]);
            amounts(cores, cores * dice.pick(&[2, 4, 8]))
        };
        let job = |dice: &mut Dice| {
            let cores = dice.pick(&[1, 1, 2, 4, 8, 16, 32]);
            let cost = amounts(cores, cores * dice.pick(&[1, 2, 3, 4, 6]));
            (cost, dice.between(1, 4) * nodes as i64 / cores)
        };
        Instance {
            nodes: (0..nodes).map(|_| node(dice)).collect(),
            jobs: (0..40).map(|_| job(dice)).collect(),
        }
    }

    fn pool(&self) -> Resources {
        self.nodes
            .iter()
            .fold(Resources::ZERO, |pool, node| pool.plus(node))
    }

    /// Of one task of each job.
    fn work(&self) -> Vec<f64> {
        let pool = self.pool();
        let share = |cost: &Resources| {
            let most = dominant(cost, &pool).unwrap_or(CPU);
            cost[most] as f64 / pool[most] as f64
        };
        self.jobs.iter().map(|(cost, _)| share(cost)).collect()
    }

    /// Rounds until nothing is placed any more.
    fn placed_by_core(&self) -> f64 {
        let mut world = self.world();
        loop {
            let plan = plan_round(&mut world, NOW);
            if plan.is_empty() {
                break;
            }
            apply(&mut world, plan.into_event());
        }
        let work = self.work();
        let jobs = world.jobs().values().zip(work);
        jobs.map(|(job, work)| job.tasks.active.len() as f64 * work)
            .sum()
    }

    /// Every task in order on the node of those that it fits on where least is left, by the larger
    /// of its parts.
    fn best_fit(&self) -> f64 {
        let mut free = self.nodes.clone();
        let pool = self.pool();
        let left = |free: &Resources, cost: &Resources| {
            let part = |d: usize| (free[d] - cost[d]) as f64 / pool[d] as f64;
            part(CPU).max(part(MEMORY))
        };
        let mut placed = 0.0;
        for ((cost, tasks), work) in self.jobs.iter().zip(self.work()) {
            for _ in 0..*tasks {
                let fits = free
                    .iter()
                    .enumerate()
                    .filter(|(_, free)| cost.fits_in(free));
                let best = fits.min_by(|(_, a), (_, b)| left(a, cost).total_cmp(&left(b, cost)));
                let Some((node, _)) = best else {
                    break;
                };
                free[node] -= cost;
                placed += work;
            }
        }
        placed
    }

    /// Whole tasks of each job on each node, so that the work is most.
    fn optimum(&self) -> f64 {
        let mut problem = variables!();
        let mut tasks: Vec<Vec<Variable>> = Vec::new();
        for (_, count) in &self.jobs {
            let most = *count as f64;
            let of_job = (0..self.nodes.len())
                .map(|_| problem.add(variable().integer().min(0.0).max(most)))
                .collect();
            tasks.push(of_job);
        }
        let work = self.work();
        let placed = |job: usize| tasks[job].iter().copied().sum::<Expression>();
        let objective: Expression = (0..self.jobs.len())
            .map(|job| work[job] * placed(job))
            .sum();
        let mut model = problem.maximise(objective.clone()).using(microlp);
        for (job, (_, count)) in self.jobs.iter().enumerate() {
            model = model.with(constraint!(placed(job) <= *count as f64));
        }
        for (node, capacity) in self.nodes.iter().enumerate() {
            for d in [CPU, MEMORY] {
                let jobs = self.jobs.iter().enumerate();
                let used: Expression = jobs
                    .map(|(job, (cost, _))| cost[d] as f64 * tasks[job][node])
                    .sum();
                model = model.with(constraint!(used <= capacity[d] as f64));
            }
        }
        let solution = model.solve().expect("nothing placed is a solution");
        solution.eval(&objective)
    }

    fn world(&self) -> World {
        let mut world = World::default();
        let policy = Policy {
            reservations_max: 0,
            placements_per_round_max: 1_000_000,
            ..Policy::default()
        };
        apply(&mut world, Event::PolicyChanged(policy));
        let site = SiteSpec {
            name: "s".into(),
            region: String::new(),
            contract: None,
        };
        apply(&mut world, Event::SiteDeclared(site));
        let opened = Event::SessionOpened {
            site: "s".into(),
            session: 1,
            incarnation: "i".into(),
            agent_version: String::new(),
            leases: BTreeSet::new(),
        };
        apply(&mut world, opened);
        let nodes = self.nodes.iter().enumerate();
        let reported = Event::CapacityReported {
            site: "s".into(),
            session: 1,
            full: true,
            nodes: nodes.map(|(n, capacity)| node(n, *capacity)).collect(),
            removed: Vec::new(),
        };
        apply(&mut world, reported);
        let queue = QueueSpec {
            submitters: ["*".to_string()].into(),
            queued_max: Some(u64::MAX),
            ..QueueSpec::new("q", 1)
        };
        apply(&mut world, Event::QueueCreated(queue));
        let job = |(n, (cost, count)): (usize, &(Resources, i64))| JobSpec {
            count: *count as u32,
            ..JobSpec::new(format!("j{n}"), Needs::new(*cost, HOUR_MS))
        };
        let submitted = Event::BatchSubmitted {
            request_id: "r".into(),
            digest: [0; 32],
            by: "a".into(),
            spec: BatchSpec {
                name: "b".into(),
                queue: "q".into(),
                jobs: self.jobs.iter().enumerate().map(job).collect(),
            },
        };
        apply(&mut world, submitted);
        world
    }
}

fn apply(world: &mut World, event: Event) {
    if let Err(rejected) = world.apply(NOW, &event) {
        panic!("{rejected}");
    }
}

fn amounts(cores: i64, memory_gib: i64) -> Resources {
    Resources::of(cores * 1_000, memory_gib * 1_024, 0, 0)
}

fn node(number: usize, capacity: Resources) -> NodeReport {
    NodeReport {
        name: format!("n{number}"),
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: String::new(),
        runtimes: Vec::new(),
        capacity,
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        speed_milli: 10_000,
        schedulable: true,
    }
}
