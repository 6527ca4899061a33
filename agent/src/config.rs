//! The site file: which site this is, whose scheduler it belongs to, and what
//! it has.
//!
//! Rules: an unknown key, an amount without its unit and a value that cannot
//! work are refused with file, line, column and remedy. Relative paths are
//! relative to the file. The token never appears in what is printed. Whether
//! the state directory is fit is `session::state_dir`'s. Entry point:
//! [`Config::load`].
//!
//! ```toml
//! site = "meyrin"
//! scheduler = "https://jero.example.org:7117"
//! token_file = "meyrin.token"       # needed where the scheduler wants one
//! state_dir = "state"
//! cache_bytes_max = "1GiB"          # of inputs kept for later attempts
//!
//! [tls]                             # for https
//! ca_file = "ca.pem"                # without: the system's roots
//! domain = "jero.example.org"       # without: the host of `scheduler`
//!
//! [[cluster]]
//! name = "hosts"
//! coe = "process"
//!
//! [[cluster.node]]
//! name = "meyrin-1"
//! cpu = "8"
//! memory = "16GiB"
//! disk = "100GiB"                   # without: a share of the state_dir's disk
//! gpu = 0
//! speed = 10.0                      # HEPScore23 per core
//! labels = { rack = "r1" }
//! taints = [{ key = "gpu", value = "" }]
//! ```

mod error;
mod site_file;

use std::fmt;
use std::path::{Path, PathBuf};

pub use error::ConfigError;

use crate::drivers::process::DeclaredNode;

/// What an agent is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The site, as the scheduler's file names it.
    pub site: String,
    /// URL of the scheduler, `http://` or `https://`.
    pub scheduler: String,
    /// What the scheduler knows the site by.
    pub token: Option<Token>,
    /// Where leases, attempts and cache are; created if it does not exist.
    pub state_dir: PathBuf,
    /// Of inputs kept for later attempts.
    pub cache_bytes_max: u64,
    /// How the scheduler proves itself.
    pub tls: Tls,
    /// What the site has.
    pub clusters: Vec<Cluster>,
}

/// How the scheduler's certificate is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates to trust instead of the system's, as PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// The name that the certificate must have, if not the URL's host.
    pub domain: Option<String>,
}

/// A pool of nodes behind one driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Unique at the site.
    pub name: String,
    /// Its nodes, declared.
    pub nodes: Vec<DeclaredNode>,
}

/// A secret: printed as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The secret itself.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Config {
    /// Reads a site file and the files that it names.
    ///
    /// # Errors
    /// Whatever is wrong, with its place and remedy.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            what: "site file",
            path: path.to_owned(),
            source,
        })?;
        site_file::read(&text, path)
    }
}

/// What is in force, on one line, without secrets.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = if self.token.is_some() { "set" } else { "none" };
        let trust = match (&self.tls.ca_pem, self.scheduler.starts_with("https:")) {
            (_, false) => "none",
            (None, true) => "system roots",
            (Some(_), true) => "own roots",
        };
        write!(
            f,
            "site = {}, scheduler = {}, token = {token}, trust = {trust}, state_dir = {}, cache_bytes_max = {}",
            self.site,
            self.scheduler,
            self.state_dir.display(),
            jeroboam_units::Bytes(self.cache_bytes_max),
        )?;
        for cluster in &self.clusters {
            let cpu_milli: i64 = cluster.nodes.iter().map(|node| node.cpu_milli).sum();
            let memory_mib: i64 = cluster.nodes.iter().map(|node| node.memory_mib).sum();
            write!(
                f,
                ", cluster {} = {} nodes with {} cores and {}",
                cluster.name,
                cluster.nodes.len(),
                jeroboam_units::Cores(cpu_milli),
                jeroboam_units::Bytes::from_mib(memory_mib),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
