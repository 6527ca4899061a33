//! Money.

use std::fmt;
use std::str::FromStr;

use crate::decimal::{self, Decimal};
use crate::{Problem, UnitError};

/// An amount of euros, in millionths of a euro.
///
/// Written `0.045` or `12.50`; configuration files may leave the quotes off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroEuro(pub i64);

crate::written::written!(
    MicroEuro,
    i64,
    "an amount of euros, like \"0.045\" or \"12.50\""
);

impl FromStr for MicroEuro {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        read(text).map(Self).map_err(|problem| {
            UnitError::new(
                "an amount of euros",
                "\"0.045\" or \"12.50\"",
                text,
                problem,
            )
        })
    }
}

fn read(text: &str) -> Result<i64, Problem> {
    let (number, unit) = Decimal::take(text)?;
    if !unit.is_empty() {
        return Err(Problem::UnitUnknown {
            unit: unit.chars().take(20).collect(),
            known: "none (the number is of euros)",
        });
    }
    number.times_signed(1_000_000, "millionths of a euro")
}

impl fmt::Display for MicroEuro {
    /// With at least two decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal::write(f, self.0, 6, 2)
    }
}
