//! The scheduler's time: never before what was journalled, never moved by a
//! jump of the wall clock.
//!
//! `now = max(last journalled, wall clock at start) + monotonic elapsed`, so
//! setting the wall clock expires nothing and freezes nothing.

use jeroboam_core::time::TimeMs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock that never falls, from one start of the scheduler to its end.
#[derive(Debug, Clone)]
pub struct Clock {
    base: TimeMs,
    started: Instant,
}

impl Clock {
    /// Starts where the journal ends, or at the wall clock if that is later.
    pub fn after(last_journalled: TimeMs) -> Self {
        Clock::starting(last_journalled, SystemTime::now())
    }

    /// As [`Clock::after`], with what the wall clock says at the start; it is not
    /// looked at again.
    pub fn starting(last_journalled: TimeMs, wall: SystemTime) -> Self {
        let wall = wall.duration_since(UNIX_EPOCH);
        // A wall clock before 1970 counts as 1970.
        let wall_ms = wall.map_or(0, |since| since.as_millis() as i64);
        Clock {
            base: last_journalled.max(TimeMs(wall_ms)),
            started: Instant::now(),
        }
    }

    /// The present.
    pub fn now(&self) -> TimeMs {
        self.base + self.started.elapsed().as_millis() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_behind_the_journal_moves_nothing_back() {
        let far_ahead = TimeMs(i64::MAX / 2);
        assert!(Clock::after(far_ahead).now() >= far_ahead);
    }
}
