//! Shares come true over time: small federations in virtual time, against the weights.
//!
//! At the size of the targets that takes minutes: the bench of the same parts does it
//! (`--bench fairness`), and `docs/fairness.md` has its figures.

#![allow(missing_docs)]

#[allow(dead_code)] // it throws more than is wanted here
#[path = "systems/dice.rs"]
mod dice;
#[allow(dead_code)]
#[path = "../benches/fairness/judge.rs"]
mod judge;
#[path = "../benches/fairness/run.rs"]
mod run;
#[allow(dead_code)]
#[path = "../benches/fairness/setting.rs"]
mod setting;

use dice::Dice;
use judge::{Verdict, judge};
use run::Run;
use setting::{Kind, Setting, nodes};

const WIDTHS: [Kind; 4] = [
    Kind::Wide(4),
    Kind::Wide(64),
    Kind::Wide(16),
    Kind::Wide(64),
];

struct Size {
    nodes: usize,
    tree: [usize; 3],
    days: i64,
    days_before: usize,
}

fn lived(size: &Size, kinds: &[Kind], seed: u64, tolerance: [f64; 3]) -> Verdict {
    let mut dice = Dice::new(seed);
    let setting = Setting::new(nodes(size.nodes, 0), size.tree, kinds, &mut dice);
    let mut run = Run::new(&setting, seed);
    run.live(size.days * 24);
    run.world.check();
    judge(&run, &setting, size.days_before * 24, tolerance)
}

fn nobody_is_off(verdict: &Verdict, used: f64, seed: u64) {
    assert!(verdict.off.is_empty(), "seed {seed}: {:?}", verdict.off);
    assert!(verdict.used[0] >= used, "seed {seed}: {:?}", verdict.used);
}

/// Walltimes a hundredfold apart, and within 2 % of the weights at every level.
#[test]
fn one_core_jobs_come_to_their_weights() {
    let size = Size {
        nodes: 1,
        tree: [2, 2, 2],
        days: 3,
        days_before: 1,
    };
    let verdict = lived(&size, &[Kind::OneCore], 0, [2.0; 3]);
    nobody_is_off(&verdict, 0.99, 0);
}

/// Nobody is off by more than its tolerance and one widest job, and little stands idle.
#[test]
fn wide_jobs_come_to_their_weights() {
    let size = Size {
        nodes: 4,
        tree: [2, 2, 2],
        days: 5,
        days_before: 2,
    };
    let verdict = lived(&size, &WIDTHS, 0, [3.0, 3.0, 5.0]);
    nobody_is_off(&verdict, 0.85, 0);
}
