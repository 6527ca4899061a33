//! What was held, against what each queue is entitled to.
//!
//! Of every user the resource counts that it asks most of, of every VO and group the one of which it
//! is entitled to most, relative to the pool. Its part of all that was used of it is compared with its part of all that anybody was entitled to,
//! both averaged over the hours that are looked at. Nothing can be finer than one job: a task of
//! width `w` that runs for `L` moves an average over `T` by `w·L/T`, so an entry is *off* when it
//! misses by more than the level's tolerance and by more than one widest job.

use jeroboam_core::ids::QueueId;
use jeroboam_core::resources::Resources;

use crate::run::{Hour, Run};
use crate::setting::{HOUR_MS, LOOKED_AT, Setting, WALLTIME_MAX_MS};

/// VOs, groups, users.
pub const LEVELS: [&str; 3] = ["VO", "group", "user"];

#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    pub entries: usize,
    /// Mean of the relative errors, and the largest, in percent.
    pub mean: f64,
    pub worst: f64,
    pub off: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Of each resource, the part of the pool that was held.
    pub used: [f64; 3],
    pub levels: [Level; 3],
    /// The same, of those whose resource is this one.
    pub by_resource: [[Level; 3]; 3],
    /// Names, with by how much, of those that are off.
    pub off: Vec<String>,
    /// Of every queue what it held and what it was entitled to, as parts of the pool.
    pub detail: Vec<String>,
}

/// Judges the hours from one on, by tolerances in percent.
pub fn judge(run: &Run, setting: &Setting, from_hour: usize, tolerance: [f64; 3]) -> Verdict {
    let hours = &run.hours[from_hour..];
    let held = average(hours, |hour| &hour.held);
    let entitled = average(hours, |hour| &hour.entitled);
    let pool = LOOKED_AT.map(|d| setting.pool()[d] as f64);
    let root = QueueId::ROOT.index();
    let mut verdict = Verdict {
        used: std::array::from_fn(|r| held[root][r] / pool[r].max(1.0)),
        ..Verdict::default()
    };
    for (name, _) in &setting.queues {
        let queue = run.queue(name).index();
        let level = name.matches('.').count();
        let part = |r: &usize| entitled[queue][*r] / pool[*r].max(1.0);
        let of_user = setting.users.iter().find(|user| user.queue == *name);
        let most = || (0..3).max_by(|a, b| part(a).total_cmp(&part(b)));
        let asked_most = of_user.map(|user| user.kind.asks_most_of());
        let r = asked_most.or_else(most).unwrap_or(0);
        let expected = entitled[queue][r] / entitled[root][r] * held[root][r];
        let missed = held[queue][r] - expected;
        let error = 100.0 * missed.abs() / expected;
        let span = WALLTIME_MAX_MS as f64 / (hours.len() as f64 * HOUR_MS as f64);
        let one_job = widest(setting, name)[LOOKED_AT[r]] as f64 * span.min(1.0);
        let off = error > tolerance[level] && missed.abs() > one_job;
        for level in [
            &mut verdict.levels[level],
            &mut verdict.by_resource[r][level],
        ] {
            level.add(error, off);
        }
        let parts = |amounts: &[f64; 3]| {
            let part = |r: usize| format!("{:.4}", amounts[r] / pool[r].max(1.0));
            (0..3).map(part).collect::<Vec<_>>().join(" ")
        };
        verdict.detail.push(format!(
            "{name} by {r}: held {}, entitled {}",
            parts(&held[queue]),
            parts(&entitled[queue])
        ));
        if off {
            let name = format!("{name} {:+.1} %", 100.0 * missed / expected);
            verdict.off.push(name);
        }
    }
    verdict
}

/// The largest task below a VO or group; of a user's, the largest of its group.
fn widest(setting: &Setting, name: &str) -> Resources {
    let below = match name.matches('.').count() {
        2 => name.rsplit_once('.').map_or(name, |(group, _)| group),
        _ => name,
    };
    let users = setting.users.iter();
    users
        .filter(|user| user.queue.starts_with(&format!("{below}.")))
        .fold(Resources::ZERO, |most, user| {
            most.larger(&user.kind.largest())
        })
}

fn average(hours: &[Hour], of: impl Fn(&Hour) -> &Vec<[f64; 3]>) -> Vec<[f64; 3]> {
    let queues = of(&hours[0]).len();
    let mean = |queue: usize, r: usize| {
        let sum: f64 = hours.iter().map(|hour| of(hour)[queue][r]).sum();
        sum / hours.len() as f64
    };
    (0..queues)
        .map(|queue| std::array::from_fn(|r| mean(queue, r)))
        .collect()
}

impl Level {
    fn add(&mut self, error: f64, off: bool) {
        let sum = self.mean * self.entries as f64 + error;
        self.entries += 1;
        self.mean = sum / self.entries as f64;
        self.worst = self.worst.max(error);
        self.off += usize::from(off);
    }

    /// Of several seeds.
    pub fn join(&mut self, other: &Level) {
        let entries = self.entries + other.entries;
        let sum = self.mean * self.entries as f64 + other.mean * other.entries as f64;
        self.mean = sum / entries.max(1) as f64;
        self.entries = entries;
        self.worst = self.worst.max(other.worst);
        self.off += other.off;
    }
}
