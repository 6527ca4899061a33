//! Time as a parameter: milliseconds since the Unix epoch, handed in by whoever
//! drives the core (the service's clock, or times written in a file).

use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};

/// An instant, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeMs(pub i64);

/// One hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;

impl Add<i64> for TimeMs {
    type Output = TimeMs;

    fn add(self, span_ms: i64) -> TimeMs {
        TimeMs(self.0.saturating_add(span_ms))
    }
}

impl Sub for TimeMs {
    type Output = i64;

    /// The span between two instants, in milliseconds.
    fn sub(self, earlier: TimeMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}
