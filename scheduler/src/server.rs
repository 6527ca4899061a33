//! The server: what listens, within which limits, and how it ends.
//!
//! The rule it keeps: it listens only where [`crate::config`] found it safe,
//! every connection and message is bounded, peers that died are noticed, and it
//! says of itself whether it takes work (`NOT_SERVING` once the driver stopped).
//!
//! It binds first and writes the address that it got to `data_dir/address`, so
//! port 0 may be asked for. At the end, streams are told and closed, calls under
//! way finish, all within [`GRACE`]; the driver is shut down after that, by the
//! caller. Entry point: [`run`].

mod connections;
mod credentials;

use crate::api::rights::Rights;
use crate::api::session::SessionApi;
use crate::api::{ClientApi, Parts, off_thread};
use crate::auth::{AuthError, CheckTokens, Tokens};
use crate::config::Config;
use crate::driver::Driver;
use crate::files::retention::{Cleaned, Cleaner};
use crate::files::{FilesApi, InUse};
use crate::metrics;
use crate::store::spool::Spool;
use connections::Connections;
pub use credentials::Credentials;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::Router;
use tonic::transport::{Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

/// Calls and streams that go on after the end was asked for, at most.
pub const GRACE: Duration = Duration::from_secs(10);
/// Calls of one connection at one time.
const CALLS_PER_CONNECTION_MAX: usize = 256;
/// Streams of one connection at one time.
const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;
/// How often a quiet peer is tried, and how long for an answer.
const ALIVE: Duration = Duration::from_secs(20);
/// How often retention is looked after: a pass reads through the history.
const CLEAN_EVERY: Duration = Duration::from_secs(1_800);
/// After the start, so that it does not compete with that.
const CLEAN_FIRST: Duration = Duration::from_secs(60);
/// How often the disk's use is measured and the driver's health is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks between two measurements of the disk.
const LOOKS_PER_MEASUREMENT: u64 = 60;

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A token file.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The address.
    #[error(
        "cannot listen on {address}: {source}; choose another `listen`, or stop what listens there"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file that says where the server listens, or a TLS file.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// What was being done.
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Certificate and key.
    #[error("the certificate {} and the key {} cannot be used: {source}; both are to be PEM and belong together", cert.display(), key.display())]
    Tls {
        /// The certificate.
        cert: PathBuf,
        /// Its key.
        key: PathBuf,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] metrics::ExporterError),
    /// Reflection.
    #[error("the descriptors of the services cannot be used: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// While running.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves until `shutdown` has come, then closes everything.
///
/// # Errors
/// It cannot listen where it should, or it failed.
pub async fn run(
    config: &Config,
    credentials: Credentials,
    driver: Driver,
    spool: Spool,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let Credentials { tokens, tls } = credentials;
    let address_file = AddressFile::fresh(&config.data_dir)?;
    let listen = config.listen;
    let failed = |source| ServeError::Listen {
        address: listen,
        source,
    };
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if let Some(address) = config.metrics_listen {
        metrics::serve(address)?;
    }
    let (closing, closed) = watch::channel(false);
    let in_use = InUse::default();
    let (health, health_service) = tonic_health::server::health_reporter();
    let shared = Shared {
        config,
        driver: &driver,
        spool: &spool,
        in_use: &in_use,
        tokens: Arc::new(tokens),
        closing: closed,
    };
    let router = services(shared, health_service, tls)?;
    report_health(&health, true).await;
    address_file.write(address)?;
    tracing::info!(%address, "serving");

    let cleaner = Cleaner::new(driver.clone(), spool.clone(), in_use, config.retention);
    let cleaning = tokio::spawn(clean(cleaner));
    let looking = tokio::spawn(look(config.data_dir.clone(), driver, spool, health.clone()));
    let result = serve(router, Connections::new(listener), closing, shutdown).await;
    for task in [cleaning, looking] {
        task.abort();
        // Awaited for what it holds; that it was aborted is its result.
        let _ = task.await;
    }
    result
}

/// Runs the router; after the end was asked for, no longer than the grace.
async fn serve(
    router: Router,
    connections: Connections,
    closing: watch::Sender<bool>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let mut closed = closing.subscribe();
    let until_closed = async move {
        let _ = closed.wait_for(|closing| *closing).await;
    };
    let served = router.serve_with_incoming_shutdown(connections.into_stream(), until_closed);
    tokio::pin!(served);
    tokio::select! {
        result = &mut served => return Ok(result?),
        () = shutdown => {}
    }
    tracing::info!("shutting down");
    closing.send_replace(true);
    match tokio::time::timeout(GRACE, served).await {
        Ok(result) => Ok(result?),
        Err(_) => {
            tracing::warn!("calls still under way are cut off");
            Ok(())
        }
    }
}

/// What all services share.
struct Shared<'a> {
    config: &'a Config,
    driver: &'a Driver,
    spool: &'a Spool,
    in_use: &'a InUse,
    tokens: Arc<Tokens>,
    closing: watch::Receiver<bool>,
}

/// All services, with their limits; health and reflection ask for no token.
fn services(
    shared: Shared<'_>,
    health: HealthServer<impl Health>,
    tls: Option<ServerTlsConfig>,
) -> Result<Router, ServeError> {
    let Shared {
        config,
        driver,
        spool,
        in_use,
        tokens,
        closing,
    } = shared;
    let rights = Rights::new(config.operators.clone());
    let policy = Arc::new(config.policy.clone());
    let check = CheckTokens(tokens.clone());
    let client = ClientApi::new(Parts {
        driver: driver.clone(),
        spool: spool.clone(),
        in_use: in_use.clone(),
        retention: config.retention,
        policy: policy.clone(),
        rights: rights.clone(),
        closing: closing.clone(),
    });
    let files = FilesApi::new(
        driver.clone(),
        spool.clone(),
        in_use.clone(),
        config.retention,
        rights,
    );
    let sessions = SessionApi::new(driver.clone(), tokens, policy, closing);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(jeroboam_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut server = Server::builder()
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(ALIVE))
        .http2_keepalive_timeout(Some(ALIVE));
    if let Some(tls) = tls {
        server = server.tls_config(tls)?;
    }
    Ok(server
        .add_service(health)
        .add_service(reflection)
        .add_service(InterceptedService::new(client.into_server(), check.clone()))
        .add_service(InterceptedService::new(files.into_server(), check.clone()))
        .add_service(InterceptedService::new(sessions.into_server(), check)))
}

async fn report_health(health: &HealthReporter, serving: bool) {
    let status = if serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    for service in [
        "",
        "jeroboam.v1.Client",
        "jeroboam.v1.Files",
        "jeroboam.v1.Site",
    ] {
        health.set_service_status(service, status).await;
    }
}

/// Looks after retention until aborted.
async fn clean(cleaner: Cleaner) {
    let first = tokio::time::Instant::now() + CLEAN_FIRST;
    let mut ticks = tokio::time::interval_at(first, CLEAN_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match cleaner.pass().await {
            Ok(cleaned) if cleaned == Cleaned::default() => {}
            Ok(Cleaned { entries, files }) => {
                tracing::info!(
                    entries,
                    files = files.removed,
                    bytes = files.removed_bytes,
                    "retention has ended"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "retention was not looked after; it is tried again")
            }
        }
    }
}

/// Looks at the driver's health and the disk's use until aborted.
async fn look(data_dir: PathBuf, driver: Driver, spool: Spool, health: HealthReporter) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut serving = true;
    for looks in 0_u64.. {
        ticks.tick().await;
        let works = driver.stopped().is_none();
        if works != serving {
            serving = works;
            report_health(&health, serving).await;
        }
        metrics::record_spool(&spool);
        if looks.is_multiple_of(LOOKS_PER_MEASUREMENT) {
            let data_dir = data_dir.clone();
            // A measurement that fails shows as an old figure.
            let _ = off_thread(move || measure(&data_dir)).await;
        }
    }
}

fn measure(data_dir: &Path) {
    for part in ["journal", "snapshots", "spool"] {
        let entries = std::fs::read_dir(data_dir.join(part)).into_iter().flatten();
        let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
        metrics::record_disk(part, sizes.sum());
    }
}

/// Says where the server listens, as long as it does.
struct AddressFile(PathBuf);

impl AddressFile {
    /// An address of an earlier server is no longer true.
    fn fresh(data_dir: &Path) -> Result<Self, ServeError> {
        let path = data_dir.join("address");
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(AddressFile(path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(AddressFile(path)),
            Err(source) => Err(ServeError::File {
                operation: "remove",
                path,
                source,
            }),
        }
    }

    /// Whole or not at all, for whoever waits for it.
    fn write(&self, address: SocketAddr) -> Result<(), ServeError> {
        let unfinished = self.0.with_extension("tmp");
        let write = || {
            std::fs::write(&unfinished, format!("{address}\n"))?;
            std::fs::rename(&unfinished, &self.0)
        };
        write().map_err(|source| ServeError::File {
            operation: "write",
            path: self.0.clone(),
            source,
        })
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        // What is left says where a server was; the next one removes it.
        let _ = std::fs::remove_file(&self.0);
    }
}
