//! One node's room over time, by walltime limits and reservations.

use crate::resources::Resources;
use crate::time::TimeMs;
use std::collections::{BTreeMap, BTreeSet};

/// What is free from now on.
#[derive(Debug, Clone)]
pub struct Timeline {
    now: TimeMs,
    free: Resources,
    /// How that changes, after now.
    steps: BTreeMap<TimeMs, Resources>,
}

/// For how long room is wanted, and how much for each task.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Of one task.
    pub need: Resources,
    /// From its start on.
    pub span_ms: i64,
}

impl Timeline {
    /// `free` now, and more when what runs comes to its end.
    pub fn new(
        now: TimeMs,
        free: Resources,
        ends: impl IntoIterator<Item = (TimeMs, Resources)>,
    ) -> Self {
        let mut line = Timeline {
            now,
            free,
            steps: BTreeMap::new(),
        };
        for (end, amount) in ends {
            line.change(end, &amount);
        }
        line
    }

    /// Takes room for tasks from a time on; where that is past, now at least.
    pub fn take(&mut self, from: TimeMs, ask: &Ask, tasks: u32) {
        let amount = ask.need.times(tasks.into());
        self.change(from, &Resources::ZERO.minus(&amount));
        self.change((from + ask.span_ms).max(self.now + 1), &amount);
    }

    /// Undoes [`Timeline::take`].
    pub fn give(&mut self, from: TimeMs, ask: &Ask, tasks: u32) {
        let amount = ask.need.times(tasks.into());
        self.change(from, &amount);
        let end = (from + ask.span_ms).max(self.now + 1);
        self.change(end, &Resources::ZERO.minus(&amount));
    }

    fn change(&mut self, at: TimeMs, amount: &Resources) {
        if at <= self.now {
            self.free += amount;
            return;
        }
        let step = self.steps.entry(at).or_default();
        *step += amount;
        if step.is_zero() {
            self.steps.remove(&at);
        }
    }

    /// How many tasks have room from a time on for as long as they ask, `most` at most.
    pub fn places(&self, ask: &Ask, from: TimeMs, most: i64) -> i64 {
        let mut free = self.free;
        let before = self.steps.range(..=from);
        before.for_each(|(_, change)| free += change);
        let mut places = ask.need.times_in(&free).min(most);
        let end = from + ask.span_ms;
        for (_, change) in self.steps.range(from + 1..end) {
            free += change;
            places = places.min(ask.need.times_in(&free));
        }
        places
    }

    /// From when on one task has room for as long as it asks; `None` if never.
    pub fn earliest(&self, ask: &Ask) -> Option<TimeMs> {
        let mut free = self.free;
        let mut start = ask.need.fits_in(&free).then_some(self.now);
        for (at, change) in &self.steps {
            if start.is_some_and(|start| start + ask.span_ms <= *at) {
                break;
            }
            free += change;
            if !ask.need.fits_in(&free) {
                start = None;
            } else if start.is_none() {
                start = Some(*at);
            }
        }
        start
    }

    /// At which times the number of tasks that have room from then on changes, and to
    /// what, `most` at most; the first is now.
    pub fn counts(&self, ask: &Ask, most: i64) -> Vec<(TimeMs, i64)> {
        let mut times = BTreeSet::from([self.now]);
        for (at, change) in &self.steps {
            times.insert(*at);
            if change.0.iter().any(|amount| *amount < 0) {
                // From here on a start comes to feel it.
                times.insert((*at + (1 - ask.span_ms)).max(self.now));
            }
        }
        let times = times.into_iter();
        times.map(|at| (at, self.places(ask, at, most))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(cores: i64) -> Resources {
        Resources::of(cores * 1_000, 0, 0, 0)
    }

    fn ask(need: i64, span_ms: i64) -> Ask {
        Ask {
            need: cores(need),
            span_ms,
        }
    }

    /// 2 of 4 are free at 0, all from 10 to 20, and 3 are reserved from 20 to 30.
    fn line() -> Timeline {
        let mut line = Timeline::new(TimeMs(0), cores(2), [(TimeMs(10), cores(2))]);
        line.take(TimeMs(20), &ask(3, 10), 1);
        line
    }

    #[test]
    fn room_counts_for_as_long_as_it_is_asked_for() {
        let line = line();
        assert_eq!(line.places(&ask(1, 20), TimeMs(0), 9), 2);
        assert_eq!(line.places(&ask(1, 21), TimeMs(0), 9), 1);
        assert_eq!(line.places(&ask(1, 10), TimeMs(10), 9), 4);
        assert_eq!(line.places(&ask(1, 10), TimeMs(10), 3), 3);
        assert_eq!(line.places(&ask(2, 11), TimeMs(10), 9), 0);
    }

    #[test]
    fn the_earliest_start_is_before_a_reservation_or_behind_it() {
        let line = line();
        assert_eq!(line.earliest(&ask(2, 20)), Some(TimeMs(0)));
        assert_eq!(line.earliest(&ask(2, 21)), Some(TimeMs(30)));
        assert_eq!(line.earliest(&ask(4, 10)), Some(TimeMs(10)));
        assert_eq!(line.earliest(&ask(4, 11)), Some(TimeMs(30)));
        assert_eq!(line.earliest(&ask(5, 1)), None);
    }

    #[test]
    fn counts_change_where_a_start_comes_to_feel_a_reservation() {
        let told: Vec<(i64, i64)> = line()
            .counts(&ask(1, 15), 9)
            .into_iter()
            .map(|(at, places)| (at.0, places))
            .collect();
        let expected = [(0, 2), (6, 1), (10, 1), (20, 1), (30, 4)];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_given_back_leaves_no_trace() {
        let mut line = line();
        line.give(TimeMs(20), &ask(3, 10), 1);
        assert_eq!(line.steps.len(), 1);
        assert_eq!(line.earliest(&ask(4, 1_000)), Some(TimeMs(10)));
    }
}
