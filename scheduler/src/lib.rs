//! The scheduler service: the pure core inside, one thread that owns it, and
//! what speaks to the outside.
//!
//! One decision by file: `api` validates a submission → [`driver`] applies it to
//! the World ([`state`]), has it appended and synced ([`store`]) and only then
//! lets the reply go → a round plans → the plan is applied, synced, and its
//! grants leave over the sites' sessions ([`dispatch`]).

pub mod api;
pub mod auth;
pub mod clock;
pub mod config;
pub mod convert;
pub mod dispatch;
pub mod driver;
pub mod files;
pub mod history_record;
pub mod metrics;
pub mod record;
pub mod recover;
pub mod server;
pub mod state;
pub mod step;
pub mod store;
pub mod waiting;

use config::Config;
use driver::Driver;
use recover::{RecoverError, recover};
use store::{Store, StoreError};

/// Why the service has ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be opened.
    #[error("cannot open the data directory: {0}")]
    Store(#[from] StoreError),
    /// The journal cannot be taken up.
    #[error("cannot take up the journal: {0}")]
    Recover(#[from] RecoverError),
    /// The API cannot be served.
    #[error(transparent)]
    Serve(#[from] server::ServeError),
}

/// Runs the service until `shutdown`: takes up the journal, serves, and ends
/// after everything that was accepted is durable.
///
/// # Errors
/// A file of the configuration cannot be used, or the data directory or the address cannot be had.
pub async fn serve(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    tracing::info!("configuration:\n{config}");
    // First what may be mistyped: the data directory is not touched before that.
    let credentials = server::Credentials::load(&config)?;
    let options = config.store_options();
    let store = Store::open(&config.data_dir, &options)?;
    let (parts, spool, replayed) = recover(store, config.limits(), |world| config.events(world))?;
    tracing::info!(
        records = replayed.records,
        plans_changed = replayed.plans_changed,
        term = parts.state.world.term(),
        federation = parts.state.world.federation(),
        "the journal is taken up"
    );
    let (driver, thread) = Driver::start(parts, config.driver_options());
    let served = server::run(&config, credentials, driver.clone(), spool, shutdown).await;
    driver.shutdown().await;
    let ended = tokio::task::spawn_blocking(move || thread.join()).await;
    if !matches!(ended, Ok(Ok(()))) {
        tracing::error!("the driver's thread ended by a panic");
    }
    Ok(served?)
}
