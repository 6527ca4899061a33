//! The agent of one site: it dials out to the scheduler, runs attempts under
//! their shims, and reports what became of them.
//!
//! Rules: nothing that the scheduler may believe dead runs on (`state`), no
//! attempt depends on the agent that started it (`attempt`, `shim`), and no
//! credential of the site leaves it. It decides nothing about who runs where;
//! that is the scheduler's.
//!
//! Entry points: [`run`] for the agent, [`shim::main`] for the hidden verb.

pub mod attempt;
pub mod config;
pub mod drivers;
pub mod shim;
pub mod state;
