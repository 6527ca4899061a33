//! Why a written amount was refused, with an example of what is right.

/// A written amount that was refused.
///
/// The message names what was expected, what stood there, what is wrong with
/// it, and an amount that would have been read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{written:?} is not {quantity}: {problem}; write it like {example}")]
pub struct UnitError {
    /// What was expected, with its article: "an amount of bytes".
    pub quantity: &'static str,
    /// What stood there, cut to its first 60 characters.
    pub written: String,
    /// What is wrong with it.
    pub problem: Problem,
    /// One or two amounts that are right.
    pub example: &'static str,
}

/// What is wrong with a written amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is nothing to read.
    #[error("it is empty")]
    Empty,
    /// It does not start with a decimal number, or goes on after its end.
    #[error("a decimal number was expected at {0:?}")]
    NotANumber(String),
    /// A bare number, where its unit would be a guess.
    #[error("a number alone does not say its unit")]
    UnitMissing,
    /// A unit that this quantity does not have.
    #[error("unknown unit {unit:?}, the units are {known}")]
    UnitUnknown {
        /// The unit that was written.
        unit: String,
        /// The units that there are.
        known: &'static str,
    },
    /// The parts of a span stand in another order than large to small.
    #[error("{0:?} stands after a unit that is not larger")]
    UnitOrder(String),
    /// Amounts are never negative.
    #[error("it is negative")]
    Negative,
    /// It has a fraction of the smallest amount there is.
    #[error("it is not a whole number of {0}")]
    TooFine(&'static str),
    /// It is beyond what can be counted.
    #[error("it is too large")]
    TooLarge,
    /// Not a moment in time as RFC 3339 writes one.
    #[error("{0}")]
    NotAnInstant(String),
}

/// The longest part of a refused amount that is repeated in its error.
const WRITTEN_CHARS_MAX: usize = 60;

impl UnitError {
    pub(crate) fn new(
        quantity: &'static str,
        example: &'static str,
        written: &str,
        problem: Problem,
    ) -> Self {
        let written = written.chars().take(WRITTEN_CHARS_MAX).collect();
        Self {
            quantity,
            written,
            problem,
            example,
        }
    }
}
