//! Queues that come back from idleness, and queues that borrowed: what memory makes of them.

use crate::dice::Dice;
use crate::run::Run;
use crate::setting::{DAY_MS, Kind, Setting, nodes};

const KINDS: [Kind; 3] = [Kind::Wide(4), Kind::Wide(16), Kind::OneCore];

pub fn all() {
    println!("absence: 10 nodes x 128 cores, widths 1 to 16, 4 VOs");
    for seed in 0..4 {
        back_from_idling(seed, 14);
        alone_before(seed, 28);
    }
}

/// Short ones, to see that they work.
pub fn quick() {
    back_from_idling(0, 1);
    alone_before(0, 1);
}

fn setting(seed: u64) -> Setting {
    Setting::new(nodes(10, 0), [4, 1, 2], &KINDS, &mut Dice::new(seed))
}

/// The first VO comes after so many days in which the others had all.
fn back_from_idling(seed: u64, days: i64) {
    let mut setting = setting(seed);
    for user in &mut setting.users {
        user.from_ms = if is_first(&user.queue) {
            days * DAY_MS
        } else {
            0
        };
    }
    let shares = Shares::of(&setting, seed, days);
    println!(
        "  seed {seed}: back from {days} idle days: 95 % of its share after {} h; of its share in the first day {:.2}, largest of any 6 h {:.2}, in the second week {:.2}",
        shares.hours_until(0.95),
        shares.mean(0, 24),
        shares.largest(6),
        shares.mean(7 * 24, 14 * 24)
    );
}

/// The first VO has all for so many days, then the others come.
fn alone_before(seed: u64, days: i64) {
    let mut setting = setting(seed);
    for user in &mut setting.users {
        user.from_ms = if is_first(&user.queue) {
            0
        } else {
            days * DAY_MS
        };
    }
    let shares = Shares::of(&setting, seed, days);
    println!(
        "  seed {seed}: alone for {days} days: of its share in the first days {:.2} {:.2} {:.2}, least of any day {:.2}, in the second week {:.2}",
        shares.mean(0, 24),
        shares.mean(24, 48),
        shares.mean(48, 72),
        shares.least(24),
        shares.mean(7 * 24, 14 * 24)
    );
}

fn is_first(queue: &str) -> bool {
    queue.starts_with("vo0.")
}

/// What the first VO held each hour once all were there, as part of its share by weight.
struct Shares(Vec<f64>);

impl Shares {
    /// Lives two weeks beyond the days given.
    fn of(setting: &Setting, seed: u64, days: i64) -> Shares {
        let mut run = Run::new(setting, seed);
        run.live((days + 14) * 24);
        let vos = setting
            .queues
            .iter()
            .filter(|(name, _)| !name.contains('.'));
        let weights: Vec<f64> = vos.map(|(_, weight)| f64::from(*weight)).collect();
        let part = weights[0] / weights.iter().sum::<f64>();
        let queue = run.queue("vo0").index();
        let hours = run.hours[days as usize * 24..].iter();
        Shares(
            hours
                .map(|hour| hour.held[queue][0] / (hour.held[0][0] * part))
                .collect(),
        )
    }

    fn mean(&self, from: usize, to: usize) -> f64 {
        let hours = &self.0[from..to];
        hours.iter().sum::<f64>() / hours.len() as f64
    }

    fn hours_until(&self, part: f64) -> usize {
        let first = self.0.iter().position(|share| *share >= part);
        first.map_or(self.0.len(), |hour| hour + 1)
    }

    fn largest(&self, span: usize) -> f64 {
        let means = (0..=self.0.len() - span).map(|from| self.mean(from, from + span));
        means.fold(0.0, f64::max)
    }

    fn least(&self, span: usize) -> f64 {
        let means = (0..=self.0.len() - span).map(|from| self.mean(from, from + span));
        means.fold(f64::MAX, f64::min)
    }
}
