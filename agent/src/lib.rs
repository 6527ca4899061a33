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
mod backoff;
pub mod config;
pub mod drivers;
pub mod files;
pub mod outputs;
pub mod session;
pub mod shim;
pub mod state;
pub mod tails;

use std::path::PathBuf;

use config::Config;
use drivers::process::DriverError;
use files::FilesError;
use session::Session;
use session::state_dir::StateError;

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its cache of inputs.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Its driver.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The scheduler's address or certificates.
    #[error(
        "cannot use {scheduler} as the scheduler: {source}; check `scheduler` and `[tls]` in the site file"
    )]
    Address {
        /// As configured.
        scheduler: String,
        /// What is wrong.
        source: tonic::transport::Error,
    },
    /// The token has characters that cannot be sent.
    #[error("the token file holds a token that cannot be sent; use visible ASCII characters only")]
    TokenUnusable,
    /// The system gave no threads.
    #[error("cannot start the threads that work on attempts: {0}")]
    Threads(std::io::Error),
    /// The program that is to run the shims.
    #[error("cannot tell where the jero program is: {0}")]
    Program(std::io::Error),
}

/// Runs the agent of a site until `shutdown`. What runs at the site then runs
/// on, until its contact deadline at the latest; the next agent finds it.
///
/// # Errors
/// It cannot start. Once started, it outlives every failure of the scheduler.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    let program = std::env::current_exe().map_err(AgentError::Program)?;
    run_with(config, program, shutdown).await
}

/// The same with another program for the shims: `program attempt-shim DIR`.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    config: Config,
    program: PathBuf,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    Session::run(config, program, shutdown).await
}
