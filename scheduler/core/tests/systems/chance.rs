//! Systems by chance: trees, nodes, work, bounds.

use jeroboam_core::ids::{JobId, NodeId};
use jeroboam_core::isolation::{Isolation, Runtime};
use jeroboam_core::policy::Policy;
use jeroboam_core::queue::Limit;
use jeroboam_core::resources::{CPU, GPU, MEMORY, Resources};
use jeroboam_core::site::NodeReport;
use jeroboam_core::spec::{JobSpec, PriorityClass};

use crate::dice::Dice;
use crate::make;
use crate::system::System;

/// How a system is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Taste {
    /// More than cores.
    pub resources: bool,
    pub gangs: bool,
    pub fixed: bool,
    pub guarantees: bool,
    pub limits: bool,
    /// Some work asks to be kept apart.
    pub tenants: bool,
    pub classes: bool,
}

impl Taste {
    /// Some of everything.
    pub fn by(dice: &mut Dice) -> Self {
        Taste {
            resources: dice.percent(60),
            gangs: dice.percent(60),
            fixed: dice.percent(30),
            guarantees: dice.percent(80),
            limits: dice.percent(40),
            tenants: false,
            classes: dice.aside(1).percent(50),
        }
    }

    /// The same where some work asks to be kept apart.
    pub fn of_tenants(dice: &mut Dice) -> Self {
        Taste {
            tenants: true,
            classes: false,
            ..Taste::by(dice)
        }
    }
}

/// A policy with its bounds drawn.
pub fn policy(dice: &mut Dice) -> Policy {
    Policy {
        reservations_max: dice.pick(&[0, 1, 4, 16]),
        preempt_after_ms: 0,
        placements_per_round_max: dice.pick(&[3, 1_000, 1_000]),
        preemptions_per_round_max: dice.pick(&[8, 1_000, 1_000]),
        preemptions_per_hour_max: dice.aside(2).pick(&[6, 100_000, 100_000, 100_000]),
        ..Policy::default()
    }
}

/// Nodes, and what they have in all.
pub fn nodes(dice: &mut Dice, taste: Taste) -> Vec<NodeReport> {
    let many = dice.between(1, 6);
    let draw = |n| {
        let cpu = dice.pick(&[2, 4, 5, 8, 8, 12, 16]);
        let memory = if taste.resources {
            dice.between(2, 24)
        } else {
            64
        };
        let gpu = if taste.resources && dice.percent(40) {
            dice.between(1, 4)
        } else {
            0
        };
        let mut node = make::node(format!("n{n}"), cpu, memory, gpu);
        if taste.tenants {
            node.kernel = format!("n{n} boot 0");
            node.runtimes = runtimes(dice.between(0, 4));
        }
        node
    };
    (0..many).map(draw).collect()
}

/// What a node may have of runtimes, by a small number; none for the first.
fn runtimes(kind: i64) -> Vec<Runtime> {
    let runtime = |name: &str, isolation, overhead| Runtime {
        name: name.into(),
        isolation,
        overhead: Resources::of(0, overhead, 0, 0),
    };
    match kind {
        3 => vec![
            runtime("runc", Isolation::Shared, 0),
            runtime("runsc", Isolation::Sandbox, 300),
        ],
        4 => vec![runtime("kata", Isolation::Kernel, 200)],
        _ => Vec::new(),
    }
}

/// Names of the queues, parents first; those of leaves apart.
pub fn tree(dice: &mut Dice, system: &mut System) -> (Vec<String>, Vec<String>) {
    let many = dice.between(2, 8);
    let mut names: Vec<String> = Vec::new();
    for n in 0..many {
        let parent = dice.between(-2, names.len() as i64 - 1);
        let name = match names.get(parent.max(-1) as usize) {
            Some(parent) if parent.matches('.').count() < 2 => format!("{parent}.q{n}"),
            _ => format!("q{n}"),
        };
        let weight = dice.pick(&[0, 1, 1, 1, 2, 3, 9]);
        system.queue(&name, weight);
        names.push(name);
    }
    let leaf = |name: &&String| {
        !names
            .iter()
            .any(|other| other.starts_with(&format!("{name}.")))
    };
    let leaves = names.iter().filter(leaf).cloned().collect();
    (names, leaves)
}

/// One job.
pub fn job(dice: &mut Dice, taste: Taste) -> JobSpec {
    let count = dice.between(1, 8);
    let mut cpu = dice.pick(&[1, 1, 1, 2, 2, 3, 4, 6]);
    let mut memory = 0;
    let mut gpu = 0;
    if taste.resources {
        memory = dice.pick(&[0, 1, 1, 2, 4, 8]);
        gpu = if dice.percent(25) {
            dice.between(1, 2)
        } else {
            0
        };
        if memory > 0 && gpu == 0 && dice.percent(10) {
            cpu = 0;
        }
    }
    let mut job = make::job(count, cpu, memory, gpu);
    job.needs.walltime_ms = dice.pick(&[10, 60, 120, 200]) * make::MINUTE_MS;
    job.priority = dice.pick(&[0, 0, 0, 1]);
    if taste.tenants {
        let levels = [Isolation::Shared, Isolation::Sandbox, Isolation::Kernel];
        job.needs.isolation = dice.pick(&levels);
    }
    if taste.classes {
        job.priority_class = dice.aside(3).pick(&PriorityClass::ALL);
    }
    job.preemptible = !(taste.fixed && dice.percent(30));
    if taste.gangs && count > 1 && dice.percent(35) {
        job.min = dice.between(2, count.min(5)) as u32;
    }
    job
}

/// Starts some of a job wherever it fits, its gang whole.
pub fn start_some(dice: &mut Dice, system: &mut System, job: JobId) {
    let nodes: Vec<NodeId> = system.world.nodes().iter().map(|node| node.id).collect();
    let gang = system.world.jobs()[&job].tasks.gang.len() as u32;
    let count = system.world.jobs()[&job].spec.count;
    let mut next = 0;
    if gang > 0 {
        let members: Vec<(u32, NodeId)> =
            (0..gang).map(|index| (index, dice.pick(&nodes))).collect();
        if !system.start(job, &members) {
            return;
        }
        next = gang;
    }
    for index in next..count {
        if dice.percent(20) {
            return;
        }
        for _ in 0..2 {
            let node = dice.pick(&nodes);
            if system.start(job, &[(index, node)]) {
                break;
            }
        }
    }
}

/// Guarantees that the tree allows, and limits; what contradicts others is refused by
/// the World and stays away.
pub fn bound(dice: &mut Dice, system: &mut System, names: &[String], taste: Taste) {
    let pool = system
        .world
        .nodes()
        .iter()
        .fold(Resources::ZERO, |pool, node| {
            pool.plus(&node.report.capacity)
        });
    for name in names {
        if taste.guarantees && dice.percent(65) {
            let top = !name.contains('.');
            let most = if top { 60 } else { 30 };
            let mut guarantee = Resources::ZERO;
            for (d, unit, often) in [(CPU, 1_000, 90), (MEMORY, 1_024, 25), (GPU, 1, 25)] {
                if d == CPU || (taste.resources && dice.percent(often)) {
                    guarantee[d] = pool[d] / unit * dice.between(5, most) / 100 * unit;
                }
            }
            system.bound(name, Some(guarantee), None);
        }
        if taste.limits && dice.percent(40) {
            let mut limit = Limit::default();
            limit.0[CPU] = Some(pool[CPU] / 1_000 * dice.between(20, 90) / 100 * 1_000);
            if taste.resources && pool[GPU] > 0 && dice.percent(30) {
                limit.0[GPU] = Some(dice.between(0, pool[GPU]));
            }
            system.bound(name, None, Some(limit));
        }
    }
}
