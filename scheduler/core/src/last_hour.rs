//! How often something happened within the last hour, in bounded memory.
//!
//! The rule it keeps: what it counts covers an hour at least, and five minutes more at
//! most, so that a bound on it holds in every hour.

use crate::time::{HOUR_MS, TimeMs};
use serde::{Deserialize, Serialize};

/// Counted together.
const SLOT_MS: i64 = HOUR_MS / 12;
/// An hour, and the one that has begun.
const SLOTS: i64 = 13;

/// The counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastHour {
    counts: [u32; SLOTS as usize],
    /// Number of the slot that was counted in last.
    latest: i64,
}

fn slot_of(now: TimeMs) -> i64 {
    now.0.div_euclid(SLOT_MS)
}

fn position(slot: i64) -> usize {
    slot.rem_euclid(SLOTS) as usize
}

impl LastHour {
    /// It happened so often; time never falls.
    pub fn add(&mut self, now: TimeMs, count: u32) {
        if count == 0 {
            return;
        }
        let slot = slot_of(now);
        for passed in (self.latest + 1).max(slot + 1 - SLOTS)..=slot {
            self.counts[position(passed)] = 0;
        }
        self.latest = self.latest.max(slot);
        let entry = &mut self.counts[position(slot)];
        *entry = entry.saturating_add(count);
    }

    /// How often it happened.
    pub fn count(&self, now: TimeMs) -> u64 {
        self.slots(now).map(|(_, count)| u64::from(count)).sum()
    }

    /// When the count falls next by time alone.
    pub fn falls_at(&self, now: TimeMs) -> Option<TimeMs> {
        let mut counted = self.slots(now).filter(|(_, count)| *count > 0);
        counted
            .next()
            .map(|(slot, _)| TimeMs((slot + SLOTS) * SLOT_MS))
    }

    /// Those that count still, the oldest first.
    fn slots(&self, now: TimeMs) -> impl Iterator<Item = (i64, u32)> + '_ {
        let first = (slot_of(now) + 1 - SLOTS).max(self.latest + 1 - SLOTS);
        (first..=self.latest).map(|slot| (slot, self.counts[position(slot)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> TimeMs {
        TimeMs(1_767_225_600_000 + minutes * 60_000)
    }

    #[test]
    fn an_hour_is_counted_and_then_forgotten() {
        let mut hour = LastHour::default();
        assert_eq!((hour.count(at(0)), hour.falls_at(at(0))), (0, None));
        hour.add(at(0), 3);
        hour.add(at(58), 4);
        assert_eq!(hour.count(at(60)), 7);
        assert_eq!(hour.falls_at(at(60)), Some(at(65)));
        assert_eq!(hour.count(at(65)), 4);
        hour.add(at(66), 1);
        assert_eq!(hour.count(at(66)), 5);
        assert_eq!(hour.falls_at(at(66)), Some(at(120)));
        assert_eq!(hour.count(at(10_000)), 0);
        hour.add(at(10_000), 2);
        assert_eq!(hour.count(at(10_000)), 2);
    }
}
