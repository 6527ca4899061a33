//! How amounts are written in Jeroboam's files, on its command line and in
//! its output: cores, bytes, spans of time, instants and euros.
//!
//! The rule: an amount is read exactly or refused. Nothing is rounded, a bare
//! number is refused where its unit would be a guess, and what [`Display`]
//! writes, [`FromStr`] reads back as the same amount.
//!
//! Not here: vectors of resources and their checked arithmetic (`jeroboam-core`),
//! and clocks; this crate never asks what time it is.
//!
//! Each type is a newtype over the integer that the rest of the code computes
//! with ([`Cores`] milli-cores, [`Bytes`] bytes, [`Span`] and [`Instant`]
//! milliseconds, [`MicroEuro`] millionths of a euro). In formats made for
//! people (YAML, TOML, JSON) serde writes the text, in others the integer.
//!
//! Entry points: the five types' `FromStr`, and [`UnitError`] for what went wrong.
//!
//! [`Display`]: std::fmt::Display
//! [`FromStr`]: std::str::FromStr

mod bytes;
mod cores;
mod decimal;
mod error;
mod euro;
mod instant;
mod span;
mod written;

pub use bytes::Bytes;
pub use cores::Cores;
pub use error::{Problem, UnitError};
pub use euro::MicroEuro;
pub use instant::Instant;
pub use span::Span;
