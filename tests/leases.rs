//! Both halves of the lease protocol against each other: the scheduler's state,
//! the agents' state, shims, and a network that delays and breaks, in random
//! orders, with crashes of everything and clocks that drift.
//!
//! Whatever happens: no two attempts of a task run at once, none runs whose lease
//! the scheduler has given up, nothing acknowledged is lost, and once the faults
//! stop every task ends. Each half's rules have tests of their own where they
//! are (`scheduler/tests/leases.rs`, `agent/src/state/tests.rs`).
//!
//! The seed is printed; `JERO_SEED=... cargo test --test leases` runs it again,
//! `JERO_CASES` says how many.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "leases/federation.rs"]
mod federation;
#[path = "leases/node.rs"]
mod node;
#[path = "../scheduler/tests/leases/stage.rs"]
mod stage;
#[path = "leases/translate.rs"]
mod translate;

use federation::{Act, Federation, Seen};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::RefCell;

/// Enough to see every kind of fault; `JERO_CASES` asks for more.
const CASES: u32 = 400;

fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(), 0..200)
}

fn act() -> impl Strategy<Value = Act> {
    let n = any::<u8>;
    prop_oneof![
        12 => n().prop_map(Act::Flow),
        16 => n().prop_map(Act::Up),
        16 => n().prop_map(Act::Down),
        10 => n().prop_map(Act::Perform),
        8 => n().prop_map(Act::Connect),
        6 => Just(Act::Round),
        6 => n().prop_map(Act::ShimStarts),
        3 => n().prop_map(Act::JobEnds),
        8 => n().prop_map(Act::Beat),
        3 => (1..2_000_000_i64).prop_map(Act::Pass),
        3 => n().prop_map(Act::ToExpiry),
        2 => (n(), n()).prop_map(|(link, up)| Act::Break(link, up)),
        4 => (n(), n()).prop_map(|(link, up)| Act::Hang(link, up)),
        2 => n().prop_map(Act::Cancel),
        2 => Just(Act::HoldSyncs),
        4 => Just(Act::Sync),
        1 => Just(Act::CrashScheduler),
        2 => n().prop_map(Act::CrashAgent),
        1 => n().prop_map(Act::KillShim),
        1 => n().prop_map(Act::LoseState),
    ]
}

/// From the environment, or drawn.
fn seed() -> u64 {
    let drawn = || rand::random();
    std::env::var("JERO_SEED").map_or_else(|_| drawn(), |seed| seed.parse().expect("a number"))
}

fn cases() -> u32 {
    std::env::var("JERO_CASES").map_or(CASES, |cases| cases.parse().expect("a number"))
}

#[test]
fn no_order_of_faults_breaks_a_promise() {
    let seed = seed();
    println!("JERO_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let seen = RefCell::new(Seen::default());
    let drifts = prop_oneof![Just(0_i64), Just(99), Just(-99)];
    let input = (acts(), drifts);
    let result = TestRunner::new_with_rng(config, rng).run(&input, |(acts, drift)| {
        let mut federation = Federation::founded(drift);
        for act in acts {
            federation.act(act);
            federation.check();
        }
        federation.settle();
        seen.borrow_mut().add(&federation.seen);
        Ok(())
    });
    if let Err(error) = result {
        panic!("JERO_SEED={seed}\n{error}");
    }
    // What never happened proves nothing.
    println!("{:?}", seen.borrow());
    if cases() >= CASES {
        seen.borrow().assert_all();
    }
}
