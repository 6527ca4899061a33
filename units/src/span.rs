//! Lengths of time.

use std::fmt;
use std::str::FromStr;

use crate::decimal::Decimal;
use crate::{Problem, UnitError};

/// A length of time, in milliseconds.
///
/// Written as one or more numbers with their units, the larger unit first:
/// `30m`, `1h30m`, `1.5s`, `500ms`. A bare number is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

crate::written::written!(Span, i64, "a length of time, like \"30m\" or \"1h30m\"");

/// From the largest down.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Span {
    /// Its two largest parts, for tables: `3d4h`, `1m5s`, `250ms`. Not read
    /// back as the same length; `Display` is.
    pub fn humane(self) -> String {
        let length_ms = self.0.unsigned_abs();
        let first = UNITS.iter().position(|(_, unit_ms)| length_ms >= *unit_ms);
        // Beside whole seconds, milliseconds are noise.
        let last = first.map_or(0, |first| (first + 1).min(UNITS.len() - 2).max(first));
        let finest_ms = UNITS[last].1;
        let length_ms = i64::try_from(length_ms / finest_ms * finest_ms).unwrap_or(i64::MAX);
        Self(length_ms * self.0.signum()).to_string()
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        read(text).map(Self).map_err(|problem| {
            UnitError::new("a length of time", "\"30m\" or \"1h30m\"", text, problem)
        })
    }
}

fn read(text: &str) -> Result<i64, Problem> {
    let mut rest = text.trim();
    let mut sum_ms: i64 = 0;
    let mut smallest_ms = u64::MAX;
    loop {
        let (number, after) = Decimal::take(rest)?;
        let end = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let (written, after) = after.split_at(end);
        let unit_ms = unit_ms(written)?;
        if unit_ms >= smallest_ms {
            return Err(Problem::UnitOrder(written.to_owned()));
        }
        smallest_ms = unit_ms;
        let part_ms = number.times_signed(unit_ms, "milliseconds")?;
        sum_ms = sum_ms.checked_add(part_ms).ok_or(Problem::TooLarge)?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(sum_ms);
        }
    }
}

fn unit_ms(written: &str) -> Result<u64, Problem> {
    if written.is_empty() {
        return Err(Problem::UnitMissing);
    }
    let unit = UNITS.iter().find(|(unit, _)| *unit == written);
    unit.map(|(_, unit_ms)| *unit_ms)
        .ok_or_else(|| Problem::UnitUnknown {
            unit: written.chars().take(20).collect(),
            known: "d, h, m (minutes), s and ms",
        })
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest_ms = self.0.unsigned_abs();
        let mut text = String::new();
        for (unit, unit_ms) in UNITS {
            let count = rest_ms / unit_ms;
            rest_ms %= unit_ms;
            if count > 0 {
                text.push_str(&format!("{count}{unit}"));
            }
        }
        match (self.0 < 0, text.is_empty()) {
            (_, true) => f.pad("0s"),
            (false, false) => f.pad(&text),
            (true, false) => f.pad(&format!("-{text}")),
        }
    }
}
