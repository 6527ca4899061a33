//! Which scheduler, and as whom.
//!
//! An option wins over its environment variable, and that over the
//! configuration file `$XDG_CONFIG_HOME/jero/config.toml`
//! (`~/.config/jero/config.toml`); without any of them it is the scheduler's
//! own default address on this machine.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use tonic::metadata::{Ascii, MetadataValue};

use crate::failure::Failure;

/// Where `jero serve` listens when its configuration does not say.
const SERVER_DEFAULT: &str = "http://127.0.0.1:7117";

/// Permissions of the users who are neither owner nor in the group.
const OTHERS: u32 = 0o007;

/// Options of every verb that talks to a scheduler.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Scheduler")]
pub struct Remote {
    /// The scheduler's address: http://127.0.0.1:7117, https://HOST:PORT
    #[arg(long, env = "JERO_SERVER", hide_env_values = true, value_name = "URL")]
    pub server: Option<String>,
    /// File with the token that says who you are
    #[arg(
        long,
        env = "JERO_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// File with the certificates to trust (PEM) instead of the system's
    #[arg(
        long,
        env = "JERO_CA_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub ca_file: Option<PathBuf>,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

/// A choice with its files read.
pub(super) struct Choice {
    pub server: String,
    pub bearer: Option<MetadataValue<Ascii>>,
    pub ca_pem: Option<String>,
}

impl Choice {
    pub(super) fn of(remote: &Remote) -> Result<Self, Failure> {
        let file = match file_path() {
            Some(path) => read_file(&path)?,
            None => File::default(),
        };
        let server = remote.server.clone().or(file.server);
        let server = address(server.as_deref().unwrap_or(SERVER_DEFAULT));
        let token_file = remote.token_file.clone().or(file.token_file);
        let bearer = token_file.as_deref().map(bearer).transpose()?;
        if bearer.is_some() && server.starts_with("http:") && !is_loopback(&server) {
            let what = format!("the token would travel to {server} in the clear");
            return Err(Failure::input(
                what,
                "use an address that starts with https://",
            ));
        }
        let ca_pem = remote
            .ca_file
            .clone()
            .or(file.ca_file)
            .map(|path| certificates(&path))
            .transpose()?;
        Ok(Self {
            server,
            bearer,
            ca_pem,
        })
    }
}

fn file_path() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let directory = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    let path = directory.join("jero/config.toml");
    path.exists().then_some(path)
}

fn read_file(path: &Path) -> Result<File, Failure> {
    toml::from_str(&read(path)?).map_err(|error| {
        let what = format!("{}: {}", path.display(), error.to_string().trim_end());
        Failure::input(
            what,
            "correct the file; it can have server, token_file and ca_file",
        )
    })
}

/// The file's text, if it has certificates and all of them can be read.
fn certificates(path: &Path) -> Result<String, Failure> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let what = match found {
        Ok(found) if !found.is_empty() => return Ok(text),
        Ok(_) => format!("{} has no certificate in it", path.display()),
        Err(error) => format!("{} is no file of certificates: {error}", path.display()),
    };
    let remedy = "name a PEM file with the scheduler's certificate (-----BEGIN CERTIFICATE-----) \
                  or its authority's";
    Err(Failure::input(what, remedy))
}

fn bearer(path: &Path) -> Result<MetadataValue<Ascii>, Failure> {
    let text = secret(path)?;
    let token = text.trim();
    let value = MetadataValue::try_from(format!("Bearer {token}"));
    match value {
        Ok(mut value) if !token.is_empty() => {
            value.set_sensitive(true);
            Ok(value)
        }
        _ => {
            let what = format!("{} does not hold a token", path.display());
            Err(Failure::input(
                what,
                "put the token alone in the file, on one line",
            ))
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(Failure::local("read", path))
}

/// Reads a file that has to be closed to the machine's other users: whoever
/// read the token could be its owner. The scheduler and the agents refuse so too.
fn secret(path: &Path) -> Result<String, Failure> {
    let mut file = std::fs::File::open(path).map_err(Failure::local("read", path))?;
    let metadata = file.metadata().map_err(Failure::local("read", path))?;
    if metadata.permissions().mode() & OTHERS != 0 {
        let shown = path.display();
        let what = format!("the token in {shown} can be read by every user of this machine");
        let remedy = format!(
            "`chmod 600 {shown}`, and ask for a new token if others may have seen this one"
        );
        return Err(Failure::input(what, remedy));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(Failure::local("read", path))?;
    Ok(text)
}

/// `HOST:PORT` is taken for a URL: in the clear on this machine only.
fn address(server: &str) -> String {
    if server.contains("://") {
        return server.to_owned();
    }
    let clear = format!("http://{server}");
    if is_loopback(&clear) {
        clear
    } else {
        format!("https://{server}")
    }
}

fn is_loopback(server: &str) -> bool {
    let Ok(uri) = server.parse::<tonic::transport::Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_closed(path: &Path, text: &str) {
        std::fs::write(path, text).expect("written");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, mode).expect("restricted");
    }

    #[test]
    fn addresses_beyond_this_machine_are_taken_for_tls() {
        let seen = [
            "127.0.0.1:1",
            "localhost:1",
            "[::1]:1",
            "grid.cern.ch:1",
            "http://a:1",
        ];
        let seen = seen.map(address).join(" ");
        assert_eq!(
            seen,
            "http://127.0.0.1:1 http://localhost:1 http://[::1]:1 https://grid.cern.ch:1 http://a:1"
        );
    }

    #[test]
    fn a_token_does_not_travel_in_the_clear() {
        let directory = tempfile::tempdir().expect("a directory");
        let token_file = directory.path().join("token");
        write_closed(&token_file, "secret\n");
        let choose = |server: &str| {
            let server = Some(server.to_owned());
            Choice::of(&Remote {
                server,
                token_file: Some(token_file.clone()),
                ca_file: None,
            })
        };
        assert!(choose("http://127.0.0.1:7117").is_ok());
        assert!(choose("https://grid.cern.ch:7117").is_ok());
        let refused = choose("http://grid.cern.ch:7117")
            .err()
            .map(|failure| failure.to_string());
        assert!(refused.is_some_and(|text| text.contains("in the clear")));
    }

    #[test]
    fn a_token_file_without_a_token_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        for text in ["", "\n", "two\nlines"] {
            write_closed(&path, text);
            assert!(bearer(&path).is_err(), "{text:?}");
        }
    }
}
