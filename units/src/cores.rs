//! Shares of a node's processors.

use std::fmt;
use std::str::FromStr;

use crate::decimal::{self, Decimal};
use crate::{Problem, UnitError};

/// An amount of processor cores, in thousandths of a core.
///
/// Written `8`, `0.5` or `500m`; configuration files may leave the quotes off
/// and write the number of cores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cores(pub i64);

crate::written::written!(
    Cores,
    i64,
    "an amount of cores, like \"8\", \"0.5\" or \"500m\""
);

impl FromStr for Cores {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        read(text).map(Self).map_err(|problem| {
            UnitError::new(
                "an amount of cores",
                "\"8\", \"0.5\" or \"500m\"",
                text,
                problem,
            )
        })
    }
}

fn read(text: &str) -> Result<i64, Problem> {
    let (number, unit) = Decimal::take(text)?;
    let multiple_milli = match unit {
        "" => 1000,
        "m" => 1,
        unit => {
            return Err(Problem::UnitUnknown {
                unit: unit.chars().take(20).collect(),
                known: "m (thousandths of a core), or none for whole cores",
            });
        }
    };
    number.times_signed(multiple_milli, "thousandths of a core")
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal::write(f, self.0, 3, 0)
    }
}
