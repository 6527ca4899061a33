//! What the configuration keeps in files of their own: tokens, and the certificate with its key.
//!
//! The rule it keeps: all of it is read and checked as a whole before the data directory is touched, so a start that
//! ends at a mistyped path changes nothing.

use super::ServeError;
use crate::auth::Tokens;
use crate::config::{Config, TlsFiles};
use std::path::PathBuf;
use std::time::Duration;
use tonic::transport::{Identity, Server, ServerTlsConfig};

/// Time for a TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Read and checked.
#[derive(Debug)]
pub struct Credentials {
    pub(super) tokens: Tokens,
    pub(super) tls: Option<ServerTlsConfig>,
}

impl Credentials {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// One cannot be read or used, and what is wrong with it.
    pub fn load(config: &Config) -> Result<Self, ServeError> {
        let tokens = Tokens::load(config)?;
        let tls = config.tls.as_ref().map(tls).transpose()?;
        Ok(Credentials { tokens, tls })
    }
}

fn tls(files: &TlsFiles) -> Result<ServerTlsConfig, ServeError> {
    let read = |path: &PathBuf| {
        let failed = |source| ServeError::File {
            operation: "read",
            path: path.clone(),
            source,
        };
        std::fs::read(path).map_err(failed)
    };
    let identity = Identity::from_pem(read(&files.cert_file)?, read(&files.key_file)?);
    let tls = ServerTlsConfig::new()
        .identity(identity)
        .timeout(HANDSHAKE_WITHIN);
    // Only a server's configuration looks into the two.
    Server::builder()
        .tls_config(tls.clone())
        .map_err(|source| ServeError::Tls {
            cert: files.cert_file.clone(),
            key: files.key_file.clone(),
            source,
        })?;
    Ok(tls)
}
