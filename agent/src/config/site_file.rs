//! The site file as it is written, and what it means.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jeroboam_units::{Bytes, Cores};
use serde::Deserialize;
use toml::Spanned;

use super::error::Source;
use super::{Cluster, Config, ConfigError, Tls, Token};
use crate::drivers::process::{DeclaredNode, DeclaredTaint};

/// Of inputs kept for later attempts, unless the file says otherwise.
const CACHE_BYTES_MAX: Bytes = Bytes(1 << 30);
const NAME_BYTES_MAX: usize = 63;
const MIB: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteFile {
    site: Spanned<String>,
    scheduler: Spanned<String>,
    token_file: Option<PathBuf>,
    state_dir: PathBuf,
    cache_bytes_max: Option<Bytes>,
    #[serde(default)]
    tls: TlsTable,
    #[serde(default)]
    cluster: Vec<Spanned<ClusterTable>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TlsTable {
    ca_file: Option<PathBuf>,
    domain: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterTable {
    name: Spanned<String>,
    coe: Spanned<String>,
    runtimes: Option<Spanned<toml::Value>>,
    #[serde(default)]
    node: Vec<NodeTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeTable {
    name: Spanned<String>,
    cpu: Spanned<Cores>,
    memory: Spanned<Bytes>,
    disk: Option<Bytes>,
    #[serde(default)]
    gpu: u32,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    taints: Vec<TaintTable>,
    speed: Option<Spanned<f64>>,
    runtimes: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaintTable {
    key: String,
    #[serde(default)]
    value: String,
}

pub(super) fn read(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let source = Source { text, path };
    let file: SiteFile = toml::from_str(text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        let remedy = "the keys and their form are in the example of docs/operating.md";
        source.fault(&at, error.message().trim(), remedy)
    })?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let state_dir = beside.join(&file.state_dir);
    check_name(&source, "site", &file.site)?;
    let token = file
        .token_file
        .map(|name| read_token(&beside.join(name)))
        .transpose()?;
    check_url(&source, &file.scheduler, token.is_some())?;
    Ok(Config {
        site: file.site.into_inner(),
        scheduler: file.scheduler.into_inner(),
        token,
        clusters: read_clusters(&source, file.cluster, &state_dir)?,
        state_dir,
        cache_bytes_max: file.cache_bytes_max.unwrap_or(CACHE_BYTES_MAX).0,
        tls: read_tls(file.tls, beside)?,
    })
}

fn read_tls(table: TlsTable, beside: &Path) -> Result<Tls, ConfigError> {
    let read = |name: PathBuf| {
        let path = beside.join(name);
        std::fs::read(&path).map_err(|source| ConfigError::Read {
            what: "certificate file",
            path,
            source,
        })
    };
    Ok(Tls {
        ca_pem: table.ca_file.map(read).transpose()?,
        domain: table.domain,
    })
}

fn read_token(path: &Path) -> Result<Token, ConfigError> {
    let failed = |source| ConfigError::Read {
        what: "token file",
        path: path.to_owned(),
        source,
    };
    let mode = std::fs::metadata(path)
        .map_err(failed)?
        .permissions()
        .mode();
    if mode & 0o007 != 0 {
        return Err(ConfigError::TokenExposed(path.to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let secret = text.trim();
    if secret.is_empty() || !secret.chars().all(|c| c.is_ascii_graphic()) {
        return Err(ConfigError::TokenUnusable(path.to_owned()));
    }
    Ok(Token::from(secret.to_owned()))
}

/// A token never travels in the clear beyond this machine.
fn check_url(source: &Source<'_>, url: &Spanned<String>, token: bool) -> Result<(), ConfigError> {
    let text = url.as_ref();
    let fault = |what: String, remedy: &str| Err(source.fault(&url.span(), what, remedy));
    let parsed = text.parse::<tonic::transport::Uri>().ok();
    let host = parsed.as_ref().and_then(|uri| uri.host());
    let scheme = parsed.as_ref().and_then(|uri| uri.scheme_str());
    let (Some(host), Some(scheme @ ("http" | "https"))) = (host, scheme) else {
        let remedy = "write it like \"https://jero.example.org:7117\" or \"http://127.0.0.1:7117\"";
        return fault(
            format!("{text:?} is not the address of a scheduler"),
            remedy,
        );
    };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if scheme == "http" && token && !here {
        let what = format!("the site's token would travel in the clear to {host}");
        return fault(what, "use https://");
    }
    Ok(())
}

fn read_clusters(
    source: &Source<'_>,
    tables: Vec<Spanned<ClusterTable>>,
    state_dir: &Path,
) -> Result<Vec<Cluster>, ConfigError> {
    if tables.is_empty() {
        let remedy = "add `[[cluster]]` with `name`, `coe = \"process\"` and at least one `[[cluster.node]]`";
        let end = source.text.len();
        return Err(source.fault(&(end..end), "the site has no cluster", remedy));
    }
    let nodes = tables.iter().flat_map(|table| &table.as_ref().node);
    let undeclared = nodes.filter(|node| node.disk.is_none()).count();
    let disk_share_mib = disk_mib(state_dir) / i64::try_from(undeclared.max(1)).unwrap_or(i64::MAX);
    let mut clusters: Vec<Cluster> = Vec::new();
    let mut names = BTreeSet::new();
    for table in tables {
        let at = table.span();
        let table = table.into_inner();
        check_name(source, "cluster", &table.name)?;
        if clusters
            .iter()
            .any(|cluster| cluster.name == *table.name.as_ref())
        {
            return Err(twice(source, "cluster", &table.name));
        }
        if table.coe.as_ref() != "process" {
            let what = format!("there is no driver for {:?}", table.coe.as_ref());
            return Err(source.fault(&table.coe.span(), what, "use \"process\""));
        }
        let of_nodes = table.node.iter().filter_map(|node| node.runtimes.as_ref());
        if let Some(runtimes) = table.runtimes.iter().chain(of_nodes).next() {
            let what = "the process engine starts no containers, so it has no runtimes";
            let remedy = "remove `runtimes`; work that asks for `sandbox` or `kernel` gets a host whose kernel nobody else has used";
            return Err(source.fault(&runtimes.span(), what, remedy));
        }
        if table.node.is_empty() {
            let what = format!("cluster {:?} has no node", table.name.as_ref());
            return Err(source.fault(&at, what, "add a `[[cluster.node]]` below it"));
        }
        let mut nodes = Vec::with_capacity(table.node.len());
        for node in table.node {
            check_name(source, "node", &node.name)?;
            if !names.insert(node.name.as_ref().clone()) {
                return Err(twice(source, "node", &node.name));
            }
            nodes.push(read_node(source, node, disk_share_mib)?);
        }
        clusters.push(Cluster {
            name: table.name.into_inner(),
            nodes,
        });
    }
    Ok(clusters)
}

fn read_node(
    source: &Source<'_>,
    table: NodeTable,
    disk_share_mib: i64,
) -> Result<DeclaredNode, ConfigError> {
    let cpu_milli = table.cpu.as_ref().0;
    if cpu_milli == 0 {
        return Err(source.fault(
            &table.cpu.span(),
            "the node has no cores",
            "write it like \"8\"",
        ));
    }
    let memory_mib = whole_mib(*table.memory.as_ref());
    if memory_mib == 0 {
        let what = "the node has less than 1MiB of memory";
        return Err(source.fault(&table.memory.span(), what, "write it like \"16GiB\""));
    }
    Ok(DeclaredNode {
        name: table.name.into_inner(),
        cpu_milli,
        memory_mib,
        disk_mib: table.disk.map_or(disk_share_mib, whole_mib),
        gpu: table.gpu.into(),
        labels: table.labels,
        taints: table
            .taints
            .into_iter()
            .map(|TaintTable { key, value }| DeclaredTaint { key, value })
            .collect(),
        speed_milli: table
            .speed
            .map_or(Ok(0), |speed| read_speed(source, &speed))?,
    })
}

/// The size of the file system that the attempts will be on; 0 if it cannot be
/// told, which opening the state directory will explain.
fn disk_mib(state_dir: &Path) -> i64 {
    let there = state_dir.ancestors().find(|dir| dir.is_dir());
    let dir = there.unwrap_or(Path::new("."));
    nix::sys::statvfs::statvfs(dir).map_or(0, |disk| {
        let bytes = disk.blocks().saturating_mul(disk.fragment_size());
        whole_mib(Bytes(bytes))
    })
}

/// Rounded down: a node never promises more than it has.
fn whole_mib(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0 / MIB).expect("2^64 bytes are 2^44 MiB")
}

fn read_speed(source: &Source<'_>, speed: &Spanned<f64>) -> Result<i64, ConfigError> {
    let value = *speed.as_ref();
    if (0.001..=1_000.0).contains(&value) {
        return Ok((value * 1_000.0).round() as i64);
    }
    let remedy = "give the HEPScore23 of one core, between 0.001 and 1000, like 10.0";
    Err(source.fault(&speed.span(), format!("{value} is no speed"), remedy))
}

fn check_name(source: &Source<'_>, what: &str, name: &Spanned<String>) -> Result<(), ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let text = name.as_ref();
    if !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(allowed) {
        return Ok(());
    }
    let remedy = "use 1 to 63 letters, digits and the signs - _ .";
    Err(source.fault(
        &name.span(),
        format!("{text:?} cannot name a {what}"),
        remedy,
    ))
}

fn twice(source: &Source<'_>, what: &str, name: &Spanned<String>) -> ConfigError {
    let text = name.as_ref();
    let remedy = format!("give every {what} of the site a name of its own");
    source.fault(
        &name.span(),
        format!("there are two {what}s named {text:?}"),
        remedy,
    )
}
