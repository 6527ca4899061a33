//! The scheduler service: the pure core inside, one thread that owns it, and
//! what speaks to the outside.
//!
//! One decision by file: `api` validates a submission → [`driver`] applies it to
//! the World ([`state`]), has it appended and synced ([`store`]) and only then
//! lets the reply go → a round plans → the plan is applied, synced, and its
//! grants leave over the sites' sessions ([`dispatch`]).

pub mod clock;
pub mod config;
pub mod convert;
pub mod dispatch;
pub mod driver;
pub mod history_record;
pub mod metrics;
pub mod record;
pub mod recover;
pub mod state;
pub mod step;
pub mod store;
