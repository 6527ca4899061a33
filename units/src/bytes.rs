//! Amounts of memory, disk and data.

use std::fmt;
use std::str::FromStr;

use crate::decimal::Decimal;
use crate::{Problem, UnitError};

/// An amount of memory, disk or data, in bytes.
///
/// Written `4GiB`, `512MiB`, `10KiB` or `100B`, or with decimal units `5GB`.
/// A bare number is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

crate::written::written!(
    Bytes,
    u64,
    "an amount of bytes, like \"4GiB\" or \"512MiB\""
);

const UNITS: [(&str, u64); 11] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

/// The first units of [`UNITS`], from the largest to the byte.
const BINARY_UNITS: usize = 6;

const MIB: u64 = 1 << 20;

impl Bytes {
    /// This many MiB; negative amounts count as none.
    pub fn from_mib(mib: i64) -> Self {
        Self(u64::try_from(mib).unwrap_or(0).saturating_mul(MIB))
    }

    /// The least whole number of MiB that holds this much.
    pub fn mib_ceil(self) -> i64 {
        i64::try_from(self.0.div_ceil(MIB)).expect("2^64 bytes are 2^44 MiB")
    }

    /// Rounded to three digits or so, for tables: `1.5GiB`. Not read back as
    /// the same amount; `Display` is.
    pub fn humane(self) -> String {
        let binary = UNITS.iter().take(BINARY_UNITS);
        let (unit, multiple) = binary
            .copied()
            .find(|(_, multiple)| self.0 >= *multiple)
            .unwrap_or(("B", 1));
        let tenths = u128::from(self.0) * 10 / u128::from(multiple);
        match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole}{unit}"),
            (whole @ 0..100, tenth) => format!("{whole}.{tenth}{unit}"),
            (whole, _) => format!("{whole}{unit}"),
        }
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        read(text).map(Self).map_err(|problem| {
            UnitError::new(
                "an amount of bytes",
                "\"4GiB\" or \"512MiB\"",
                text,
                problem,
            )
        })
    }
}

fn read(text: &str) -> Result<u64, Problem> {
    let (number, written) = Decimal::take(text)?;
    if written.is_empty() {
        return Err(Problem::UnitMissing);
    }
    let unit = UNITS.iter().find(|(unit, _)| *unit == written);
    let (_, multiple) = unit.ok_or_else(|| Problem::UnitUnknown {
        unit: written.chars().take(20).collect(),
        known: "B, KiB, MiB, GiB, TiB, PiB and kB, MB, GB, TB, PB",
    })?;
    number.times(*multiple, u64::MAX, "bytes")
}

impl fmt::Display for Bytes {
    /// In the largest binary unit that it is a whole number of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |multiple: u64| self.0 != 0 && self.0.is_multiple_of(multiple);
        let binary = UNITS.iter().take(BINARY_UNITS);
        let (unit, multiple) = binary
            .copied()
            .find(|(_, multiple)| fits(*multiple))
            .unwrap_or(("B", 1));
        f.pad(&format!("{}{unit}", self.0 / multiple))
    }
}
