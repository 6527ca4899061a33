//! Closed systems: nothing arrives, nothing ends but victims. They come to rest.

use crate::chance::{self, Taste};
use crate::claim::Claims;
use crate::dice::Dice;
use crate::make::MINUTE_MS;
use crate::system::System;
use crate::verdict;

/// Rounds in which places may still change hands.
const ROUNDS_MAX: u64 = 30;
/// Rounds that change nothing more.
const ROUNDS_QUIET: u64 = 20;

/// What became of a system.
#[derive(Debug, Default, Clone, Copy)]
pub struct Rest {
    /// The last round in which somebody was preempted.
    pub preempted_last: u64,
    pub preempted: u64,
    pub held_back: bool,
    pub reserved: bool,
}

/// A system by chance, at its beginning.
pub fn draw(dice: &mut Dice) -> System {
    let taste = Taste::by(dice);
    let mut system = System::new(chance::policy(dice));
    let (names, leaves) = chance::tree(dice, &mut system);
    let mut nodes = chance::nodes(dice, taste);
    system.nodes(nodes.clone(), Vec::new());
    for leaf in &leaves {
        for _ in 0..dice.between(0, 3) {
            let job = system.submit(leaf, chance::job(dice, taste));
            if dice.percent(55) {
                chance::start_some(dice, &mut system, job);
            }
            system.now = system.now + dice.between(0, 20) * MINUTE_MS;
        }
    }
    chance::bound(dice, &mut system, &names, taste);
    for node in &mut nodes {
        node.schedulable = !dice.percent(12);
    }
    system.nodes(nodes, Vec::new());
    system.now = system.now + dice.between(0, 60) * MINUTE_MS;
    system
}

/// Runs it until nothing changes, and then on.
pub fn to_rest(system: &mut System) -> Rest {
    let mut rest = Rest::default();
    let (mut quiet, mut round) = (0, 0);
    while quiet <= ROUNDS_QUIET {
        round += 1;
        let done = system.round();
        let ended = system.world.leaving().len();
        system.end_stopping();
        system.now = system.now + 1_000;
        if done.preempted > 0 {
            rest.preempted_last = round;
        }
        quiet = if done.is_quiet() && ended == 0 {
            quiet + 1
        } else {
            0
        };
        assert!(
            round <= ROUNDS_MAX || quiet > 0,
            "places still change hands in round {round}: {done:?}"
        );
    }
    rest.preempted = system.preempted;
    rest.held_back = system.rounds_held_back > 0;
    rest.reserved = !system.world.reservations().is_empty();
    let claims = Claims::new(&system.world, system.now);
    if let Some((job, list)) = claims.missed() {
        let state = verdict::tell(&system.world, system.now);
        panic!(
            "{job} is below its guarantee, or outranks others, and might preempt {}\n{state}",
            claims.tell(&list)
        );
    }
    rest
}
