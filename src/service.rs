//! What `jero serve` and `jero agent` have in common: logs, and an orderly end.
//!
//! SIGINT and SIGTERM ask the service to end; a second one ends it at once.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// What every service takes.
#[derive(Debug, clap::Args)]
pub struct Start {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// How to write logs to standard error [default: as configured, or human]
    #[arg(long, value_name = "FORM", value_enum)]
    pub log_format: Option<LogForm>,
    /// Which logs to write: info, debug, or by module as in jeroboam_agent=debug
    #[arg(
        long,
        env = "JERO_LOG",
        hide_env_values = true,
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,
}

/// The form of logs.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum LogForm {
    /// A line for people
    Human,
    /// A JSON object per line
    Json,
}

impl Start {
    /// Reads the configuration with `read`, starts the logs in the form that
    /// `log_form` finds there, and runs the service until it ends or a signal
    /// asks it to.
    ///
    /// # Errors
    /// The configuration has faults, or the service fails.
    pub fn run<C, E, F>(
        self,
        read: impl FnOnce(&Path) -> Result<C, E>,
        log_form: impl FnOnce(&C) -> LogForm,
        service: impl FnOnce(C, Shutdown) -> F,
    ) -> Result<(), Failure>
    where
        E: std::fmt::Display,
        F: Future<Output = anyhow::Result<()>>,
    {
        let config =
            read(&self.config).map_err(|error| Failure::Configuration(error.to_string()))?;
        self.start_logs(self.log_format.unwrap_or_else(|| log_form(&config)))?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime");
        let runtime = runtime.map_err(Failure::Here)?;
        let ended = runtime.block_on(async {
            let shutdown = shutdown().context("cannot listen for signals")?;
            service(config, shutdown).await
        });
        ended.map_err(Failure::Here)
    }

    fn start_logs(&self, form: LogForm) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(&self.log).map_err(|error| {
            let what = format!("`{}` is no filter of logs: {error}", self.log);
            Failure::input(
                what,
                "write a level such as info, or modules as in jeroboam_agent=debug",
            )
        })?;
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match form {
            LogForm::Human => logs.with_ansi(false).init(),
            LogForm::Json => logs.json().init(),
        }
        Ok(())
    }
}

/// Done when a signal asks the service to end.
pub type Shutdown = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn shutdown() -> std::io::Result<Shutdown> {
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    };
    Ok(Box::pin(async move {
        signals.next().await;
        tracing::info!("asked to end; a second signal ends at once");
        tokio::spawn(async move {
            signals.next().await;
            std::process::exit(ENDED_AT_ONCE);
        });
    }))
}

/// What a shell gives for a command that a signal ended.
const ENDED_AT_ONCE: i32 = 130;

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
