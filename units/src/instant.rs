//! Moments in time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::{Problem, UnitError};

/// A moment in time, in milliseconds since the Unix epoch.
///
/// Written as RFC 3339 has it, always with an offset from UTC:
/// `2026-03-01T08:00:00Z`, `2026-03-01T09:00:00.250+01:00`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub i64);

crate::written::written!(
    Instant,
    i64,
    "a moment in time, like \"2026-03-01T08:00:00Z\""
);

impl FromStr for Instant {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        read(text).map(Self).map_err(|problem| {
            UnitError::new(
                "a moment in time",
                "\"2026-03-01T08:00:00Z\"",
                text,
                problem,
            )
        })
    }
}

fn read(text: &str) -> Result<i64, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    let timestamp: Timestamp = text
        .parse()
        .map_err(|error: jiff::Error| Problem::NotAnInstant(error.to_string()))?;
    if timestamp.subsec_nanosecond() % 1_000_000 != 0 {
        return Err(Problem::TooFine("milliseconds"));
    }
    Ok(timestamp.as_millisecond())
}

impl fmt::Display for Instant {
    /// In UTC. Beyond the years that RFC 3339 can write (-9999 to 9999), the
    /// milliseconds since the epoch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => f.pad(&timestamp.to_string()),
            Err(_) => f.pad(&format!("{}ms since 1970", self.0)),
        }
    }
}
