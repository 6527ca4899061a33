//! What shares promise: sharing incentive, and that more room takes nothing from anybody.
//!
//! Without memory, guarantees and limits, on one node, so that nothing is lost by what does
//! not fit. Envy is counted and told, not forbidden: the capped cost of wide work has that price.

use jeroboam_core::policy::Policy;
use jeroboam_core::resources::{CPU, GPU, MEMORY, Resources};
use jeroboam_core::round::share::Shares;

use crate::chance::{self, Taste};
use crate::dice::Dice;
use crate::make;
use crate::system::System;
use crate::verdict;

/// One queue of a flat system, and the one kind of task that it asks for.
struct Asker {
    name: String,
    weight: u32,
    cost: Resources,
    tasks: i64,
}

/// How much envy there was, and how far from the promise mixed work came.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counted {
    pub pairs: u64,
    pub envious: u64,
    /// Tasks more that somebody could run with another's part, at most.
    pub envied_tasks_most: i64,
    pub askers: u64,
    /// Those who would have more alone with their weight's part of the pool.
    pub losers: u64,
    /// By how many tasks, at most.
    pub lost_tasks_most: i64,
}

/// Queues side by side, each with one kind of task and more of it than fits. At rest each has, to within
/// one of its tasks, the part of the pool that its weight says, in the resource that it asks most of: where
/// `even`, that is where everybody's work is about all that it asks for. Else, what some ask besides is not
/// restrained by their keys and taken from the others: that is counted.
pub fn nobody_gains_by_leaving(dice: &mut Dice, even: bool, counted: &mut Counted) {
    let mut system = System::new(Policy {
        memory_exponent_inner: 0,
        memory_exponent_leaf: 0,
        // Nobody passes who is not first by share.
        pass_permille: 0,
        ..Policy::default()
    });
    let gpus = if even { 0 } else { dice.pick(&[0, 8, 16]) };
    let (cpu, memory) = (dice.between(20, 120), dice.between(20, 400));
    let node = make::node("n".into(), cpu, memory, gpus);
    let pool = node.capacity;
    system.nodes(vec![node], Vec::new());
    let askers: Vec<Asker> = (0..dice.between(2, 5))
        .map(|n| asker(dice, &mut system, n, &pool, even))
        .collect();
    for _ in 0..40 {
        if system.round().is_quiet() {
            break;
        }
    }
    let weights: i64 = askers.iter().map(|asker| i64::from(asker.weight)).sum();
    for asker in &askers {
        let part = Resources(
            pool.0
                .map(|amount| amount * i64::from(asker.weight) / weights),
        );
        let alone = asker.cost.times_in(&part).min(asker.tasks);
        let lost = alone - running(&system, asker);
        assert!(
            !even || lost <= 1,
            "`{}` of weight {} of {weights} runs {} instead of {alone}, each {:?}\n{}",
            asker.name,
            asker.weight,
            running(&system, asker),
            asker.cost,
            verdict::tell(&system.world, system.now)
        );
        counted.askers += 1;
        counted.losers += u64::from(lost > 1);
        counted.lost_tasks_most = counted.lost_tasks_most.max(lost);
    }
    count_envy(&system, &askers, counted);
}

fn asker(dice: &mut Dice, system: &mut System, n: i64, pool: &Resources, even: bool) -> Asker {
    let name = format!("q{n}");
    let weight = dice.pick(&[1, 1, 2, 3]);
    system.queue(&name, weight);
    let tasks = dice.pick(&[3, 200, 200, 200]);
    let cores = dice.between(1, 6);
    let mut job = make::job(tasks, cores, 0, 0);
    if even {
        // From three quarters to one and a half times as much of the memory as of the cores.
        let matching = cores * 1_000 * pool[MEMORY] / pool[CPU];
        job.needs.resources[MEMORY] = matching * dice.pick(&[0, 75, 100, 150]) / 100;
    } else {
        job.needs.resources[MEMORY] = 1_024 * dice.between(0, 12);
        if pool[GPU] > 0 && dice.percent(30) {
            job.needs.resources[GPU] = dice.between(1, 2);
        }
    }
    let cost = job.needs.resources;
    system.submit(&name, job);
    Asker {
        name,
        weight,
        cost,
        tasks,
    }
}

fn held(system: &System, asker: &Asker) -> Resources {
    let id = system.world.queues().find(&asker.name).unwrap();
    system.world.queues().queue(id).held
}

fn running(system: &System, asker: &Asker) -> i64 {
    let id = system.world.queues().find(&asker.name).unwrap();
    system.world.queues().queue(id).running as i64
}

/// Who could run more with what another holds, by their weights?
fn count_envy(system: &System, askers: &[Asker], counted: &mut Counted) {
    for (mine, one) in askers.iter().enumerate() {
        for (theirs, other) in askers.iter().enumerate() {
            if mine == theirs {
                continue;
            }
            counted.pairs += 1;
            let scaled = |amount: i64| amount * i64::from(one.weight) / i64::from(other.weight);
            let part = Resources(held(system, other).0.map(scaled));
            let could = one.cost.times_in(&part).min(one.tasks);
            let more = could - running(system, one);
            if more > 0 {
                counted.envious += 1;
                counted.envied_tasks_most = counted.envied_tasks_most.max(more);
            }
        }
    }
}

/// How often more room took something away, and of how many entitlements.
#[derive(Debug, Default, Clone, Copy)]
pub struct Falls {
    pub entitlements: u64,
    pub fell: u64,
}

/// A tree with work of any kind but gangs: with more of everything nobody's entitlement falls by more
/// than one task of somebody else's, which is how far demands are rounded. That holds for one resource; where
/// there are `several`, which of them binds a queue may change with the room, and that is counted.
pub fn more_room_takes_nothing(dice: &mut Dice, several: bool, falls: &mut Falls) {
    let taste = Taste {
        gangs: false,
        resources: several,
        ..Taste::by(dice)
    };
    let mut system = System::new(Policy::default());
    let (names, leaves) = chance::tree(dice, &mut system);
    let mut nodes = chance::nodes(dice, taste);
    for node in &mut nodes {
        // Everything fits everywhere, before and after.
        let least = make::node(String::new(), 8, 16, 2).capacity;
        node.capacity = node.capacity.larger(&least);
    }
    system.nodes(nodes.clone(), Vec::new());
    for leaf in &leaves {
        for _ in 0..dice.between(1, 3) {
            let mut job = chance::job(dice, taste);
            job.count *= dice.between(1, 30) as u32;
            system.submit(leaf, job);
        }
    }
    chance::bound(dice, &mut system, &names, taste);
    let before = Shares::new(&system.world, system.now);
    let told = verdict::tell(&system.world, system.now);
    let tenths = dice.between(11, 25);
    for node in &mut nodes {
        node.capacity = Resources(node.capacity.0.map(|amount| amount * tenths / 10));
    }
    system.nodes(nodes, Vec::new());
    let after = Shares::new(&system.world, system.now);
    let jobs = system.world.jobs().values();
    let largest = jobs.fold(Resources::ZERO, |most, job| most.larger(job.resources()));
    for queue in system.world.queues().iter() {
        let was = before.of(queue.id).entitlement;
        let is = after.of(queue.id).entitlement;
        for d in [CPU, MEMORY, GPU] {
            let fell = is[d] + largest[d] < was[d];
            falls.entitlements += 1;
            falls.fell += u64::from(fell);
            assert!(
                several || !fell,
                "`{}` is entitled to {} of {d} instead of {}, with {tenths}/10 of the room\n{}\n{told}",
                queue.spec.name,
                is[d],
                was[d],
                verdict::tell(&system.world, system.now)
            );
        }
    }
}
