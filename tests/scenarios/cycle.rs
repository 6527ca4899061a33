//! `cycle N step=SPAN length=SPAN [seed=N]`: N rounds with jobs that come to their ends.
//!
//! Every step ends what has run its time (half to one and a half times `length`, drawn from
//! the seed) and plans a round. Told: what each leaf held, on average over the steps, and
//! between which bounds.
//!
//! `rest N`: N rounds, one a second, in which nothing ends but what is told to. Told: what
//! each round changed, and what is held in the end.

use jeroboam_core::event::Event;
use jeroboam_core::ids::{LeaseId, QueueId};
use jeroboam_core::job::{AttemptEnd, Outcome};
use jeroboam_core::resources::{CPU, DIMENSIONS};

use crate::runner::Runner;
use crate::words::Words;
use crate::{describe, tell};

/// Plays the line.
pub fn run(runner: &mut Runner, line: &Words<'_>) {
    let steps: i64 = line.parse(line.word(1));
    let step_ms = line.span_ms(line.or("step", "10m"));
    let length_ms = line.span_ms(line.or("length", "10m"));
    let seed = line.parse(line.or("seed", "1"));
    let leaves: Vec<QueueId> = runner
        .world
        .queues()
        .iter()
        .filter(|queue| queue.is_leaf())
        .map(|queue| queue.id)
        .collect();
    let mut held = vec![Vec::new(); leaves.len()];
    for _ in 0..steps {
        runner.now = runner.now + step_ms;
        for lease in runner.open() {
            let job = &runner.world.jobs()[&lease.task.job];
            let ran_ms = runner.now - job.tasks.active[&lease.task.index].granted;
            if ran_ms >= length_ms * drawn_percent(lease, seed) / 100 {
                let end = AttemptEnd::bare(Outcome::Exit(0));
                let now = runner.now;
                let ended = runner.world.apply(now, &Event::AttemptEnded { lease, end });
                ended.expect("an open lease can end");
            }
        }
        let plan = runner.plan();
        runner.commit(&plan);
        for (leaf, sums) in leaves.iter().zip(&mut held) {
            sums.push(runner.world.queues().queue(*leaf).held);
        }
    }
    for (leaf, samples) in leaves.iter().zip(held) {
        let name = runner.world.queues().queue(*leaf).spec.name.clone();
        let most = |d: usize| samples.iter().map(|held| held[d]).max().unwrap_or(0);
        let wanted: Vec<usize> = (0..DIMENSIONS).filter(|d| most(*d) > 0).collect();
        let told = wanted.into_iter().map(|d| {
            let least = samples.iter().map(|held| held[d]).min().unwrap_or(0);
            let sum: i64 = samples.iter().map(|held| held[d]).sum();
            // Cores and bytes have finer units; of the others a hundredth is told.
            let (mean, unit) = match d {
                CPU => (sum as f64 / steps as f64 / 1_000.0, 1_000),
                _ => (sum as f64 / steps as f64, 1),
            };
            format!(
                " {mean:.2} {} ({} to {})",
                NAMES[d],
                least / unit,
                most(d) / unit
            )
        });
        let told: String = told.collect();
        runner.say(format!(
            "{name} held on average{}",
            if told.is_empty() { " nothing" } else { &told }
        ));
    }
}

/// Plays rounds in which only victims end.
pub fn rest(runner: &mut Runner, line: &Words<'_>) {
    let rounds: i64 = line.parse(line.word(1));
    for round in 1..=rounds {
        let plan = runner.plan();
        let mut told = tell::plan(&plan, &runner.world);
        runner.commit(&plan);
        for told in told.drain(..) {
            runner.say(format!("{round}: {told}"));
        }
        for lease in runner.open() {
            let active = runner.world.open_attempt(lease);
            if active.is_ok_and(|active| active.is_stopping()) {
                let end = AttemptEnd::bare(Outcome::Stopped);
                let ended = runner.apply(&Event::AttemptEnded { lease, end });
                ended.expect("an open lease can end");
            }
        }
        runner.now = runner.now + 1_000;
    }
    let sums = describe::sums(&runner.world);
    sums.into_iter().for_each(|told| runner.say(told));
}

/// Of the dimensions, for averages.
const NAMES: [&str; DIMENSIONS] = [
    "cpu",
    "MiB memory",
    "MiB disk",
    "gpu",
    "of the first",
    "of the second",
    "of the third",
    "of the fourth",
];

/// 50 to 150, the same for the same lease and seed.
fn drawn_percent(lease: LeaseId, seed: u64) -> i64 {
    let mut mixed =
        seed ^ lease.task.job.0 << 40 ^ u64::from(lease.task.index) << 8 ^ u64::from(lease.attempt);
    for _ in 0..3 {
        mixed = (mixed ^ mixed >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    50 + (mixed >> 33) as i64 % 101
}
