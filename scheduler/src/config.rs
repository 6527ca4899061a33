//! The scheduler's file: read once, checked whole, printed at the start.
//!
//! The rule it keeps: an unknown key, a wrong unit or a value out of bounds is
//! refused with file, line, column and remedy; and nothing but loopback is bound
//! without TLS *and* tokens. Defaults stand in `scheduler/defaults.toml`, which
//! the program reads as the base of every file.
//!
//! Relative paths are relative to the file. Secrets are not in here, only the
//! names of the files that hold them ([`crate::auth`] reads those).
//!
//! What the file declares becomes events where it differs from the World
//! ([`Config::events`]): the policy and the sites follow the file; queues are
//! only *created* from it, since `jero queue set` changes them later and a
//! restart must not undo that.

mod amounts;
mod error;
mod events;
mod file;
mod print;

use crate::dispatch::Limits;
use crate::driver::{GrantLimits, Options};
use crate::store::StoreOptions;
use crate::store::journal::Sequence;
use crate::store::spool::SpoolLimits;
pub use error::ConfigError;
use jeroboam_core::policy::Policy;
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::site::SiteSpec;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The shipped defaults.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// The scheduler's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the API is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where metrics are served, if at all; on loopback.
    pub metrics_listen: Option<SocketAddr>,
    /// Journal, history, snapshots and spool.
    pub data_dir: PathBuf,
    /// Certificate and key of the API.
    pub tls: Option<TlsFiles>,
    /// Tokens of users.
    pub tokens_file: Option<PathBuf>,
    /// Users who may change queues and sites.
    pub operators: BTreeSet<String>,
    /// How logs are written.
    pub log: LogFormat,
    /// The lease protocol's spans.
    pub leases: Leases,
    /// Rounds are at least this far apart.
    pub round_interval: Duration,
    /// A snapshot is written after so many events.
    pub snapshot_records: u64,
    /// Or after events of so many bytes, whichever comes first.
    pub snapshot_bytes: u64,
    /// The operator goes on without the acknowledged events after this one.
    pub accept_loss_after: Option<u64>,
    /// What is kept for how long, and how much of it.
    pub retention: Retention,
    /// The core's tunables.
    pub policy: Policy,
    /// The sites that may join.
    pub sites: Vec<SiteConfig>,
    /// Queues that there should be at least.
    pub queues: Vec<QueueSpec>,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One object a line.
    Json,
}

/// The lease protocol's spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leases {
    /// An attempt not renewed for so long is stopped on its node.
    pub contact_limit_ms: i64,
    /// How often an agent asks for renewal.
    pub heartbeat_interval_ms: i64,
    /// Beyond the grace, until a killed process tree is surely dead.
    pub kill_margin_ms: i64,
}

/// What is kept for how long, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Finished work in the history.
    pub history_ms: i64,
    /// Finished jobs in the history.
    pub history_entries_max: u64,
    /// Files that no job refers to.
    pub unused_files_ms: i64,
    /// All files together.
    pub spool_bytes_max: u64,
    /// What the files of one queue may hold of that.
    pub spool_queue_percent_max: u32,
    /// The inputs of one job together.
    pub input_bytes_max: u64,
    /// The outputs of one task together.
    pub outputs_bytes_max: u64,
    /// Outputs of one task.
    pub outputs_files_max: u32,
    /// Standard output and standard error of one task, each.
    pub log_bytes_max: u64,
}

impl Retention {
    /// What the files of one queue may hold in the spool.
    pub fn spool_queue_bytes_max(&self) -> u64 {
        let percent = u64::from(self.spool_queue_percent_max);
        let (hundreds, rest) = (self.spool_bytes_max / 100, self.spool_bytes_max % 100);
        hundreds * percent + rest * percent / 100
    }
}

/// A site that may join.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteConfig {
    /// As the core knows it.
    pub spec: SiteSpec,
    /// Where the token of its agent stands; without it, any local caller may
    /// speak for the site.
    pub token_file: Option<PathBuf>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, or the first thing found wrong in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Checks a file's text; the path is for messages and relative paths.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        file::read(path, text)
    }

    /// How to open the data directory.
    pub fn store_options(&self) -> StoreOptions {
        let Retention {
            input_bytes_max,
            outputs_bytes_max,
            log_bytes_max,
            ..
        } = self.retention;
        StoreOptions {
            accept_loss_after: self.accept_loss_after.map(Sequence),
            spool: SpoolLimits {
                total_bytes: self.retention.spool_bytes_max,
                account_bytes: self.retention.spool_queue_bytes_max(),
                file_bytes: input_bytes_max.max(outputs_bytes_max).max(log_bytes_max),
            },
        }
    }

    /// How the driver is to run.
    pub fn driver_options(&self) -> Options {
        Options {
            round_interval: self.round_interval,
            snapshot_records: self.snapshot_records,
            snapshot_bytes: self.snapshot_bytes,
            grant_limits: GrantLimits {
                outputs_bytes_max: self.retention.outputs_bytes_max,
                outputs_files_max: self.retention.outputs_files_max,
                log_bytes_max: self.retention.log_bytes_max,
            },
        }
    }

    /// The lease protocol's spans, as the driver needs them.
    pub fn limits(&self) -> Limits {
        Limits {
            contact_limit_ms: self.leases.contact_limit_ms,
            kill_ms: self.policy.grace_ms + self.leases.kill_margin_ms,
            heartbeat_interval_ms: self.leases.heartbeat_interval_ms,
        }
    }
}

#[cfg(test)]
mod tests;
