//! Slow and obvious readings of the orders, held against the core on small systems by chance.
//!
//! `line` reads fifo, EASY and conservative backfilling over tables with an entry for each
//! node and minute; `drive` lets systems live and compares each round. What the core is free to choose (which of
//! the nodes with room) is taken from it and checked; who starts, who waits until when, and who
//! holds nothing is found independently. A failure prints its seed; `FUZZ_FROM=seed
//! FUZZ_SEEDS=1` runs it alone.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "systems/dice.rs"]
mod dice;
#[path = "reference/drive.rs"]
mod drive;
#[path = "reference/line.rs"]
mod line;
#[path = "systems/make.rs"]
mod make;

use jeroboam_core::policy::Discipline;

/// Systems of each order.
const SEEDS: u64 = 120;

/// Seeds from 0, or `FUZZ_FROM`; as many as are usual, or `FUZZ_SEEDS`.
#[allow(clippy::disallowed_methods)] // which seeds are run is no input of the core
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let from = number("FUZZ_FROM").unwrap_or(0);
    from..from + number("FUZZ_SEEDS").unwrap_or(usual)
}

/// What a panic said.
fn said(payload: &(dyn std::any::Any + Send)) -> String {
    match (
        payload.downcast_ref::<String>(),
        payload.downcast_ref::<&str>(),
    ) {
        (Some(said), _) => said.clone(),
        (None, said) => said.copied().unwrap_or("?").to_string(),
    }
}

/// Every seed's system lives as the reference says; told is what was met, so that a test of
/// nothing is noticed.
fn check(discipline: Discipline, least: drive::Met) {
    let mut met = drive::Met::default();
    let seeds = seeds(SEEDS);
    for seed in seeds.clone() {
        let run = || drive::live(&mut dice::Dice::new(seed), discipline);
        match std::panic::catch_unwind(run) {
            Ok(one) => met.add(&one),
            Err(payload) => panic!("seed {seed}: {}", said(&*payload)),
        }
    }
    println!("{discipline:?}, seeds {seeds:?}: {met:?}");
    let enough = seeds.end - seeds.start < SEEDS || met.is_at_least(&least);
    assert!(enough, "too little was met: {met:?}");
}

#[test]
fn fifo_is_as_it_is_read() {
    let least = drive::Met {
        rounds: 3_000,
        started: 1_000,
        stopped: 300,
        ..drive::Met::default()
    };
    check(Discipline::Fifo, least);
}

#[test]
fn easy_is_as_it_is_read() {
    let least = drive::Met {
        rounds: 3_000,
        started: 1_000,
        passed: 120,
        reserved: 500,
        gangs_reserved: 50,
        ..drive::Met::default()
    };
    check(Discipline::Easy, least);
}

#[test]
fn conservative_is_as_it_is_read() {
    let least = drive::Met {
        rounds: 3_000,
        started: 1_000,
        passed: 120,
        reserved: 2_000,
        gangs_reserved: 200,
        brought_forward: 30,
        ..drive::Met::default()
    };
    check(Discipline::Conservative, least);
}
