//! The scheduler's half of the lease protocol, on the pure state: each test drives
//! the faulty order of events that one rule of the protocol is there for, and
//! fails without that rule.
//!
//! | rule | test |
//! |---|---|
//! | nothing leaves before the sync | `durability` |
//! | W > L + K + D, from the last answer; the clock | `silence` |
//! | hello, inventory, current and older sessions, incarnations, the leader | `sessions` |
//! | reports by lease, lineage, unknown leases, cancel, stop | `reports` |
//!
//! That the driver keeps the order that [`stage`] pretends is proved on the real
//! one, in `driver.rs`; both halves of the protocol meet in the workspace's own
//! `tests/leases.rs`.

#![allow(clippy::unwrap_used)]

#[path = "leases/durability.rs"]
mod durability;
#[path = "leases/reports.rs"]
mod reports;
#[path = "leases/sessions.rs"]
mod sessions;
#[path = "leases/silence.rs"]
mod silence;
#[path = "leases/stage.rs"]
mod stage;
