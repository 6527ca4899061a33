//! Whole systems by chance, driven round by round and judged by slow readings of the rules.
//!
//! `closed` systems have nothing arriving and nothing ending; they must come to rest, and
//! at rest no rule may have anything left to do (`verdict`, `claim`). In `dynamic` ones work
//! arrives and ends, nodes go and bounds change; nobody may starve. `starving` ones are never without
//! work, `sharing` is about what shares promise. Every system has a seed, which a failure prints; `FUZZ_FROM=seed FUZZ_SEEDS=1` runs it alone, and
//! `FUZZ_SEEDS=10000` many. `properties` is where any order of events is tried.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "systems/chance.rs"]
mod chance;
#[path = "systems/claim.rs"]
mod claim;
#[path = "systems/closed.rs"]
mod closed;
#[path = "systems/dice.rs"]
mod dice;
#[path = "systems/dynamic.rs"]
mod dynamic;
#[path = "systems/make.rs"]
mod make;
#[path = "systems/sharing.rs"]
mod sharing;
#[path = "systems/starving.rs"]
mod starving;
#[path = "systems/system.rs"]
mod system;
#[path = "systems/verdict.rs"]
mod verdict;

/// Seeds from 0, or `FUZZ_FROM`; as many as are usual, or `FUZZ_SEEDS`.
#[allow(clippy::disallowed_methods)] // which seeds are run is no input of the core
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let from = number("FUZZ_FROM").unwrap_or(0);
    from..from + number("FUZZ_SEEDS").unwrap_or(usual)
}

/// Runs every seed, those that failed `once` first; those that fail are told together, each with what was said.
fn every_seed<const N: usize>(
    once: [u64; N],
    usual: u64,
    run: impl Fn(u64) + std::panic::RefUnwindSafe,
) {
    let mut failed = Vec::new();
    let seeds = seeds(usual);
    for seed in once.into_iter().chain(seeds.clone()) {
        if let Err(said) = std::panic::catch_unwind(|| run(seed)) {
            let said = said
                .downcast::<String>()
                .map_or_else(|_| "?".into(), |said| *said);
            failed.push(format!("seed {seed}: {said}"));
        }
    }
    let many = failed.len();
    failed.truncate(12);
    assert!(many == 0, "{many} of {seeds:?}:\n{}", failed.join("\n"));
}

/// Guarantees, limits, weights, gangs, drained nodes: places stop changing hands, and
/// then no guarantee is unserved that a rule would serve, and no room is idle.
#[test]
fn closed_systems_come_to_rest() {
    /// Those in which a guarantee went unserved once: small victims were taken first and
    /// used up what may be taken of their queue; a gang's first node was the wrong one; who
    /// was taken to stay below a limit was not needed; a victim held the parent's gpus.
    const ONCE: [u64; 7] = [573, 655, 1218, 12_734, 13_034, 13_402, 13_970];
    every_seed(ONCE, 300, |seed| {
        let mut system = closed::draw(&mut dice::Dice::new(seed));
        closed::to_rest(&mut system);
    });
}

/// The same in motion: whatever happens, every task has its turn in the end.
#[test]
fn systems_in_motion_starve_nobody() {
    /// A running task was preempted where a reservation used up a limit.
    const ONCE: [u64; 1] = [1057];
    every_seed(ONCE, 25, |seed| {
        let mut dice = dice::Dice::new(seed);
        let taste = chance::Taste::by(&mut dice);
        dynamic::live(&mut dice, taste);
    });
}

/// The same where tenants ask to be kept apart, and idle nodes are booted now and then.
#[test]
fn tenants_in_motion_starve_nobody() {
    every_seed([], 25, |seed| {
        let mut dice = dice::Dice::new(seed);
        let taste = chance::Taste::of_tenants(&mut dice);
        dynamic::live(&mut dice, taste);
    });
}

/// Work never stops coming: whoever is first in its leaf starts in the end, gangs and wide work too.
#[test]
fn the_first_of_a_leaf_is_not_overtaken_without_limit() {
    every_seed([], 4, |seed| {
        starving::live(&mut dice::Dice::new(seed));
    });
}

/// Each queue has the part of the pool that its weight says, to within one task, where everybody is about all
/// that it asks for. How many are off elsewhere, and who envies whom, is told (`--nocapture`).
#[test]
fn nobody_gains_by_leaving_the_pool() {
    for even in [true, false] {
        let told = std::sync::Mutex::new(sharing::Counted::default());
        every_seed([], 300, |seed| {
            let mut counted = *told.lock().unwrap();
            sharing::nobody_gains_by_leaving(&mut dice::Dice::new(seed), even, &mut counted);
            *told.lock().unwrap() = counted;
        });
        println!("even {even}: {:?}", told.lock().unwrap());
    }
}

/// With one resource nobody's entitlement falls where there is more of it; how often it does with several is told.
#[test]
fn more_room_takes_nothing_from_anybody() {
    for several in [false, true] {
        let told = std::sync::Mutex::new(sharing::Falls::default());
        every_seed([], 300, |seed| {
            let mut falls = *told.lock().unwrap();
            sharing::more_room_takes_nothing(&mut dice::Dice::new(seed), several, &mut falls);
            *told.lock().unwrap() = falls;
        });
        println!("several {several}: {:?}", told.lock().unwrap());
    }
}
