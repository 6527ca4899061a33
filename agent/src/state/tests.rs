//! The protocol's rules, each driven by the order of events that breaks it.
#![allow(clippy::unwrap_used)]
