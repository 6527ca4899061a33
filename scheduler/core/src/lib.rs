//! The scheduling core: a pure state machine and a pure planner.
//!
//! [`world::World::apply`] changes the state by one event and says what is to be
//! done outside; [`round::plan_round`] decides which waiting tasks get which
//! places. The service, `jero plan`, the benchmarks and the tests drive these two
//! and nothing else. There is no clock, no I/O and no randomness in here;
//! `clippy.toml` beside this crate keeps them out.
//!
//! Where to start reading: [`event`] (all that can happen), [`world`], then
//! [`round`].

pub mod class;
pub mod effect;
pub mod event;
pub mod health;
pub mod ids;
pub mod index;
pub mod isolation;
pub mod job;
pub mod kernel;
pub mod last_hour;
mod nearest;
pub mod policy;
pub mod predict;
pub mod queue;
pub mod ranges;
pub mod rare;
pub mod reason;
pub mod rejected;
pub mod reservation;
pub mod resources;
pub mod round;
pub mod site;
pub mod soonest;
pub mod sparse;
pub mod spec;
pub mod time;
pub mod usage;
pub mod words;
pub mod world;
