//! The decayed usage of every queue once more, in floating point and without the World's steps
//! being trusted: walked through from event to event, by what the jobs held.

use std::collections::BTreeMap;

use jeroboam_core::ids::QueueId;
use jeroboam_core::resources::CPU;
use jeroboam_core::time::TimeMs;
use jeroboam_core::usage::{FRACTION_BITS, STEP_MS};
use jeroboam_core::world::World;

/// The cpu averages of all queues.
#[derive(Debug, Default)]
pub struct Shadow {
    until: TimeMs,
    /// Of the step so far, milli-core-milliseconds.
    sums: BTreeMap<QueueId, f64>,
    /// Average, and the weight of the past that it has seen.
    averages: BTreeMap<QueueId, (f64, f64)>,
}

impl Shadow {
    /// Counts what was held from the last event until now.
    pub fn pass(&mut self, world: &World, now: TimeMs) {
        if self.until == TimeMs::default() {
            self.until = now;
        }
        let half_life_ms = world.policy().usage_half_life_ms as f64;
        let decay = 2f64.powf(-STEP_MS as f64 / half_life_ms);
        while self.until < now {
            let step_end = TimeMs((self.until.0 / STEP_MS + 1) * STEP_MS);
            let to = step_end.min(now);
            for queue in world.queues().iter() {
                let jobs = world.jobs().values();
                let below =
                    jobs.filter(|job| world.queues().path(job.queue).any(|id| id == queue.id));
                let held: i64 = below
                    .map(|job| job.resources()[CPU] * job.tasks.active.len() as i64)
                    .sum();
                let sum = self.sums.entry(queue.id).or_default();
                *sum += held as f64 * (to - self.until) as f64;
                if to == step_end {
                    let (average, seen) = self.averages.entry(queue.id).or_default();
                    *average = *average * decay + *sum / STEP_MS as f64 * (1.0 - decay);
                    *seen = *seen * decay + 1.0 - decay;
                    *sum = 0.0;
                }
            }
            self.until = to;
        }
    }

    /// The World's averages are these, to a thousandth of a core.
    pub fn check(&self, world: &World) {
        for queue in world.queues().iter() {
            let (average, seen) = self.averages.get(&queue.id).copied().unwrap_or_default();
            let expected = if seen == 0.0 { 0.0 } else { average / seen };
            let got = queue.usage.average_fine()[CPU] as f64 / f64::from(1 << FRACTION_BITS);
            assert!(
                (got - expected).abs() < 1.0,
                "{}: used {got}, not {expected}",
                queue.spec.name
            );
        }
    }
}
