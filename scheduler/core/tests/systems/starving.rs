//! Work never stops coming, and yet everybody's turn comes: who stands first in its leaf starts in a time that its share
//! explains and a bounded number of longest walltimes, however wide it is and whatever the others are.
//!
//! These systems are the smallest there are: often one node is all that can take a task, every leaf has such tasks, and
//! shares are smaller than one of them. Where there is room for some the bound is far away.

use std::collections::BTreeMap;

use jeroboam_core::ids::{JobId, QueueId, TaskId};
use jeroboam_core::job::{Active, Outcome};
use jeroboam_core::resources::{DIMENSIONS, Resources};
use jeroboam_core::round::share::Shares;
use jeroboam_core::time::TimeMs;

use crate::chance::{self, Taste};
use crate::dice::Dice;
use crate::make::MINUTE_MS;
use crate::system::System;
use crate::verdict;

const STEPS: i64 = 1_200;
/// Jobs that wait in every leaf, at least.
const WAITING_MIN: usize = 2;
/// No walltime limit is longer ([`chance::job`]).
const LONGEST_MS: i64 = 200 * MINUTE_MS;
/// How many longest walltimes the first of a leaf waits at most, beside those that its share explains.
const WAIT_MAX: i64 = 40;

/// Who is first in each leaf, with how many tasks that wait, and since when.
type Firsts = BTreeMap<QueueId, ((JobId, u64), TimeMs)>;

/// A system in which every leaf always has work; the longest wait of a first, in longest
/// walltimes beyond what its share explains.
pub fn live(dice: &mut Dice) -> i64 {
    let taste = Taste {
        fixed: false,
        guarantees: false,
        limits: false,
        ..Taste::by(dice)
    };
    let mut policy = chance::policy(dice);
    policy.reservations_max = dice.pick(&[1, 4, 16]);
    policy.placements_per_round_max = 1_000;
    let mut system = System::new(policy);
    let (names, leaves) = chance::tree(dice, &mut system);
    for name in &names {
        weigh(dice, &mut system, name);
    }
    let nodes = chance::nodes(dice, taste);
    system.nodes(nodes.clone(), Vec::new());
    let mut firsts = Firsts::new();
    let mut worst = 0;
    for _ in 0..STEPS {
        for leaf in &leaves {
            let id = system.world.queues().find(leaf).unwrap();
            while waiting(&system, id).count() < WAITING_MIN {
                let mut job = chance::job(dice, taste);
                job.priority = 0;
                let places: i64 = nodes
                    .iter()
                    .map(|node| job.needs.resources.times_in(&node.capacity))
                    .sum();
                if places < i64::from(job.min) {
                    job.min = 1;
                }
                if places > 0 {
                    system.submit(leaf, job);
                }
            }
        }
        system.now = system.now + dice.pick(&[MINUTE_MS, 5 * MINUTE_MS, 20 * MINUTE_MS]);
        end_what_is_over(&mut system);
        system.round();
        worst = worst.max(look(&system, &mut firsts));
    }
    worst
}

/// Weight 0 gets what others leave, which here is nothing.
fn weigh(dice: &mut Dice, system: &mut System, name: &str) {
    let change = jeroboam_core::event::QueueChange {
        weight: Some(dice.pick(&[1, 1, 2, 3])),
        ..Default::default()
    };
    let name = name.to_string();
    system.must(jeroboam_core::event::Event::QueueChanged { name, change });
}

fn waiting(system: &System, leaf: QueueId) -> impl Iterator<Item = JobId> + '_ {
    let pending = system.world.queues().queue(leaf).pending.values();
    pending.flat_map(|pending| pending.jobs.iter().map(|job| job.job))
}

/// Tasks take all of their walltime limit, which is what is known of them.
fn end_what_is_over(system: &mut System) {
    let now = system.now;
    let mut over = Vec::new();
    for job in system.world.jobs().values() {
        let ended = |active: &Active| active.granted + job.spec.needs.walltime_ms <= now;
        let active = job.tasks.active.iter();
        let active = active.filter(|(_, active)| ended(active));
        over.extend(active.map(|(index, _)| TaskId {
            job: job.id,
            index: *index,
        }));
    }
    system.end_where(Outcome::Exit(0), |task, _| over.contains(&task));
}

/// Who is first in its leaf, and for how long already?
fn look(system: &System, firsts: &mut Firsts) -> i64 {
    let world = &system.world;
    let shares = Shares::new(world, system.now);
    let mut worst = 0;
    for queue in world.queues().iter().filter(|queue| queue.is_leaf()) {
        let jobs = queue.pending.values().flat_map(|pending| &pending.jobs);
        let first = jobs.min().map(|first| first.job);
        let Some(first) = first.map(|id| (id, world.jobs()[&id].tasks.queued.len())) else {
            firsts.remove(&queue.id);
            continue;
        };
        let (who, since) = *firsts
            .entry(queue.id)
            .and_modify(|(who, since)| {
                if *who != first {
                    (*who, *since) = (first, system.now);
                }
            })
            .or_insert((first, system.now));
        let who = who.0;
        let job = &world.jobs()[&who];
        let cost = job.resources().times(job.ready().size.into());
        let own_ms = LONGEST_MS * parts(&cost, &shares, queue.id);
        let waited_ms = system.now - since;
        let beyond = (waited_ms - own_ms) / LONGEST_MS;
        assert!(
            beyond <= WAIT_MAX,
            "{who} is first in `{}` and waits for {} minutes\n{}",
            queue.spec.name,
            waited_ms / MINUTE_MS,
            verdict::tell(world, system.now)
        );
        worst = worst.max(beyond);
    }
    worst
}

/// How many times over work needs what its queue is entitled to, in any resource.
fn parts(cost: &Resources, shares: &Shares, leaf: QueueId) -> i64 {
    let entitlement = &shares.of(leaf).entitlement;
    let part = |d: usize| match cost[d] {
        0 => 0,
        cost => cost / entitlement[d].max(1) + 1,
    };
    (0..DIMENSIONS).map(part).max().unwrap_or(0)
}
