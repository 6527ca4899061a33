//! The file as it is written: every key optional, on top of the defaults.

use super::amounts::{self, Amounts};
use super::error::{ConfigError, Step, Text};
use super::{Config, DEFAULTS, Leases, LogFormat, Retention, SiteConfig, TlsFiles};
use Step::{Entry, Key};
use jeroboam_core::isolation::Isolation;
use jeroboam_core::policy::{Discipline, Policy};
use jeroboam_core::queue::{Limit, QueueSpec, TaskBounds};
use jeroboam_core::rejected::Rejected;
use jeroboam_core::resources::Resources;
use jeroboam_core::site::{Contract, SiteSpec};
use jeroboam_core::time::TimeMs;
use jeroboam_units::{Bytes, Instant, MicroEuro, Span};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A section whose keys may be missing, and are then taken from another.
macro_rules! section {
    ($name:ident { $($key:ident: $kind:ty,)* }) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct $name { $($key: Option<$kind>,)* }

        impl $name {
            fn or(self, base: Self) -> Self {
                Self { $($key: self.$key.or(base.$key),)* }
            }
        }
    };
}

section! { Log { format: LogFormat, } }
section! { LeasesFile { contact_limit: Span, heartbeat_interval: Span, kill_margin: Span, } }
section! { Rounds { interval: Span, } }
section! { JournalFile { snapshot_records: u64, snapshot_bytes: Bytes, accept_loss_after: u64, } }
section! { RetentionFile {
    memory: Span,
    history: Span,
    history_entries_max: u64,
    unused_files: Span,
    spool_bytes_max: Bytes,
    spool_queue_percent_max: u32,
    input_bytes_max: Bytes,
    outputs_bytes_max: Bytes,
    outputs_files_max: u32,
    log_bytes_max: Bytes,
} }
section! { PolicyFile {
    order: Discipline,
    conservative_depth: u32,
    grace: Span,
    lost_attempts_max: u32,
    avoid: Span,
    quarantine_failures: u32,
    quarantine_window: Span,
    quarantine_quick: Span,
    quarantine: Span,
    quarantine_max: Span,
    queued_max: u64,
    placements_per_round_max: u32,
    reservations_max: u32,
    pass_permille: u32,
    hold_permille: u32,
    preemptions_per_round_max: u32,
    preemptions_per_hour_max: u32,
    preempt_by_class: bool,
    preempt_after: Span,
    non_preemptible_within_guarantee: bool,
    usage_half_life: Span,
    memory_exponent_inner: u32,
    memory_exponent_leaf: u32,
    score_stranded: i64,
    score_fill: i64,
    score_price: i64,
    score_kernel: i64,
    extended_resources: Vec<String>,
} }

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<SocketAddr>,
    metrics_listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    tls: Option<TlsFile>,
    tokens_file: Option<PathBuf>,
    operators: Option<BTreeSet<String>>,
    log: Log,
    leases: LeasesFile,
    rounds: Rounds,
    journal: JournalFile,
    retention: RetentionFile,
    policy: PolicyFile,
    site: Vec<SiteFile>,
    queue: Vec<QueueFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsFile {
    cert_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteFile {
    name: String,
    kind: SiteKind,
    #[serde(default)]
    region: String,
    token_file: Option<PathBuf>,
    contract: Option<ContractFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SiteKind {
    Owned,
    Leased,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractFile {
    start: Instant,
    end: Instant,
    price_per_core_hour: MicroEuro,
    budget: Option<MicroEuro>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueFile {
    name: String,
    weight: Option<u32>,
    queued_max: Option<u64>,
    running_max: Option<u64>,
    user_running_max: Option<u64>,
    user_queued_max: Option<u64>,
    #[serde(default)]
    submitters: BTreeSet<String>,
    #[serde(default)]
    guarantee: Amounts,
    #[serde(default)]
    limit: Amounts,
    #[serde(default)]
    isolation: Level,
    #[serde(default)]
    tenant: bool,
}

/// A level of isolation by its name.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    #[default]
    Shared,
    Sandbox,
    Kernel,
}

/// Reads and checks a file.
pub(super) fn read(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let source = Text { path, text };
    let file: File = toml::from_str(text).map_err(|error| source.unreadable(&error))?;
    let base: File = toml::from_str(DEFAULTS).expect("the shipped defaults can be read");
    let directory = path.parent().unwrap_or(Path::new(""));
    let config = typed(&source, directory, file, base)?;
    check_spans(&source, &config)?;
    check_exposure(&source, &config)?;
    config
        .policy
        .validate()
        .map_err(|rejected| policy_fault(&source, &rejected))?;
    config.check_declared(&source)?;
    Ok(config)
}

const SHIPPED: &str = "the shipped defaults have it";

fn typed(
    source: &Text<'_>,
    directory: &Path,
    file: File,
    base: File,
) -> Result<Config, ConfigError> {
    let beside = |path: PathBuf| directory.join(path);
    let leases = file.leases.or(base.leases);
    let journal = file.journal.or(base.journal);
    let retention = file.retention.or(base.retention);
    let policy = policy(
        file.policy.or(base.policy),
        retention.memory.expect(SHIPPED),
    );
    let interval_ms = file.rounds.or(base.rounds).interval.expect(SHIPPED).0;
    let data_dir = file.data_dir.map(beside).ok_or_else(|| {
        source.wrong(
            &[],
            "`data_dir` is missing",
            "name the directory for journal, history and files",
        )
    })?;
    let sites = file.site.into_iter().enumerate();
    let queues = file.queue.into_iter().enumerate();
    let queues = queues
        .map(|(position, file)| queue(source, &policy, position, file))
        .collect::<Result<_, _>>()?;
    Ok(Config {
        listen: file.listen.or(base.listen).expect(SHIPPED),
        metrics_listen: file.metrics_listen,
        data_dir,
        tls: file.tls.map(|tls| TlsFiles {
            cert_file: beside(tls.cert_file),
            key_file: beside(tls.key_file),
        }),
        tokens_file: file.tokens_file.map(beside),
        operators: file.operators.or(base.operators).expect(SHIPPED),
        log: file.log.or(base.log).format.expect(SHIPPED),
        leases: Leases {
            contact_limit_ms: leases.contact_limit.expect(SHIPPED).0,
            heartbeat_interval_ms: leases.heartbeat_interval.expect(SHIPPED).0,
            kill_margin_ms: leases.kill_margin.expect(SHIPPED).0,
        },
        round_interval: Duration::from_millis(interval_ms.unsigned_abs()),
        snapshot_records: journal.snapshot_records.expect(SHIPPED),
        snapshot_bytes: journal.snapshot_bytes.expect(SHIPPED).0,
        accept_loss_after: journal.accept_loss_after,
        retention: Retention {
            history_ms: retention.history.expect(SHIPPED).0,
            history_entries_max: retention.history_entries_max.expect(SHIPPED),
            unused_files_ms: retention.unused_files.expect(SHIPPED).0,
            spool_bytes_max: retention.spool_bytes_max.expect(SHIPPED).0,
            spool_queue_percent_max: retention.spool_queue_percent_max.expect(SHIPPED),
            input_bytes_max: retention.input_bytes_max.expect(SHIPPED).0,
            outputs_bytes_max: retention.outputs_bytes_max.expect(SHIPPED).0,
            outputs_files_max: retention.outputs_files_max.expect(SHIPPED),
            log_bytes_max: retention.log_bytes_max.expect(SHIPPED).0,
        },
        policy,
        sites: sites
            .map(|(position, site)| self::site(source, directory, position, site))
            .collect::<Result<_, _>>()?,
        queues,
    })
}

fn policy(file: PolicyFile, memory: Span) -> Policy {
    Policy {
        order: file.order.expect(SHIPPED),
        conservative_depth: file.conservative_depth.expect(SHIPPED),
        placements_per_round_max: file.placements_per_round_max.expect(SHIPPED),
        score_stranded: file.score_stranded.expect(SHIPPED),
        score_fill: file.score_fill.expect(SHIPPED),
        score_price: file.score_price.expect(SHIPPED),
        score_kernel: file.score_kernel.expect(SHIPPED),
        usage_half_life_ms: file.usage_half_life.expect(SHIPPED).0,
        memory_exponent_inner: file.memory_exponent_inner.expect(SHIPPED),
        memory_exponent_leaf: file.memory_exponent_leaf.expect(SHIPPED),
        reservations_max: file.reservations_max.expect(SHIPPED),
        pass_permille: file.pass_permille.expect(SHIPPED),
        hold_permille: file.hold_permille.expect(SHIPPED),
        preemptions_per_round_max: file.preemptions_per_round_max.expect(SHIPPED),
        preemptions_per_hour_max: file.preemptions_per_hour_max.expect(SHIPPED),
        preempt_by_class: file.preempt_by_class.expect(SHIPPED),
        preempt_after_ms: file.preempt_after.expect(SHIPPED).0,
        non_preemptible_within_guarantee: file.non_preemptible_within_guarantee.expect(SHIPPED),
        grace_ms: file.grace.expect(SHIPPED).0,
        lost_attempts_max: file.lost_attempts_max.expect(SHIPPED),
        avoid_ms: file.avoid.expect(SHIPPED).0,
        quarantine_failures: file.quarantine_failures.expect(SHIPPED),
        quarantine_window_ms: file.quarantine_window.expect(SHIPPED).0,
        quarantine_quick_ms: file.quarantine_quick.expect(SHIPPED).0,
        quarantine_ms: file.quarantine.expect(SHIPPED).0,
        quarantine_max_ms: file.quarantine_max.expect(SHIPPED).0,
        queued_max: file.queued_max.expect(SHIPPED),
        finished_in_memory_ms: memory.0,
        extended_resources: file.extended_resources.expect(SHIPPED),
    }
}

fn site(
    source: &Text<'_>,
    directory: &Path,
    position: usize,
    file: SiteFile,
) -> Result<SiteConfig, ConfigError> {
    let at = |key| [Key("site"), Entry(position), Key(key)];
    let contract = match (file.kind, file.contract) {
        (SiteKind::Owned, None) => None,
        (SiteKind::Leased, Some(contract)) => Some(Contract {
            start: TimeMs(contract.start.0),
            end: TimeMs(contract.end.0),
            price_micro_eur_per_core_hour: contract.price_per_core_hour.0,
            budget_micro_eur: contract.budget.map(|budget| budget.0),
        }),
        (SiteKind::Owned, Some(_)) => {
            let what = format!("the owned site `{}` has a contract", file.name);
            return Err(source.wrong(
                &at("contract"),
                what,
                "call it `kind = \"leased\"`, or remove the contract",
            ));
        }
        (SiteKind::Leased, None) => {
            let what = format!("the leased site `{}` has no contract", file.name);
            let remedy = "add contract = { start, end, price_per_core_hour, budget }";
            return Err(source.wrong(&at("kind"), what, remedy));
        }
    };
    let spec = SiteSpec {
        name: file.name,
        region: file.region,
        contract,
    };
    Ok(SiteConfig {
        spec,
        token_file: file.token_file.map(|path| directory.join(path)),
    })
}

fn queue(
    source: &Text<'_>,
    policy: &Policy,
    position: usize,
    file: QueueFile,
) -> Result<QueueSpec, ConfigError> {
    let at = |key| [Key("queue"), Entry(position), Key(key)];
    let guarantee = amounts::read(source, policy, &at("guarantee"), &file.guarantee)?;
    let limit = amounts::read(source, policy, &at("limit"), &file.limit)?;
    Ok(QueueSpec {
        queued_max: file.queued_max,
        bounds: TaskBounds::default().with(&TaskBounds {
            running_max: file.running_max,
            user_running_max: file.user_running_max,
            user_queued_max: file.user_queued_max,
        }),
        submitters: file.submitters,
        guarantee: Resources(guarantee.map(|amount| amount.unwrap_or(0))),
        limit: Limit(limit),
        isolation: match file.isolation {
            Level::Shared => Isolation::Shared,
            Level::Sandbox => Isolation::Sandbox,
            Level::Kernel => Isolation::Kernel,
        },
        tenant: file.tenant,
        ..QueueSpec::new(file.name, file.weight.unwrap_or(1))
    })
}

/// Snapshots more often than this cost more than they save.
const SNAPSHOT_BYTES_MIN: u64 = 1 << 20;

/// Bounds of what has no meaning to the core.
fn check_spans(source: &Text<'_>, config: &Config) -> Result<(), ConfigError> {
    let Leases {
        contact_limit_ms,
        heartbeat_interval_ms,
        kill_margin_ms,
    } = config.leases;
    let bounded = [
        (
            "leases",
            "contact_limit",
            contact_limit_ms,
            1_000,
            30 * 86_400_000,
        ),
        (
            "leases",
            "heartbeat_interval",
            heartbeat_interval_ms,
            100,
            contact_limit_ms / 3,
        ),
        ("leases", "kill_margin", kill_margin_ms, 1_000, 3_600_000),
        (
            "rounds",
            "interval",
            config.round_interval.as_millis() as i64,
            1,
            60_000,
        ),
        (
            "retention",
            "history",
            config.retention.history_ms,
            0,
            36_500 * 86_400_000,
        ),
        (
            "retention",
            "unused_files",
            config.retention.unused_files_ms,
            60_000,
            3_650 * 86_400_000,
        ),
    ];
    for (section, key, value, min, max) in bounded {
        if !(min..=max).contains(&value) {
            let what = format!("`{section}.{key}` of {} is out of bounds", Span(value));
            let remedy = match key {
                "heartbeat_interval" => {
                    format!(
                        "use a span from {} to a third of the contact limit, {}",
                        Span(min),
                        Span(max)
                    )
                }
                _ => format!("use a span from {} to {}", Span(min), Span(max)),
            };
            return Err(source.wrong(&[Key(section), Key(key)], what, remedy));
        }
    }
    let percent = config.retention.spool_queue_percent_max;
    if !(1..=100).contains(&percent) {
        let what = format!("`retention.spool_queue_percent_max` of {percent} is out of bounds");
        let at = [Key("retention"), Key("spool_queue_percent_max")];
        return Err(source.wrong(&at, what, "use 1 to 100; 100 sets no bound of its own"));
    }
    if config.snapshot_bytes < SNAPSHOT_BYTES_MIN {
        let what = format!(
            "`journal.snapshot_bytes` of {} would write snapshots all the time",
            Bytes(config.snapshot_bytes)
        );
        let remedy = format!("use {} or more", Bytes(SNAPSHOT_BYTES_MIN));
        let at = [Key("journal"), Key("snapshot_bytes")];
        return Err(source.wrong(&at, what, remedy));
    }
    if config.snapshot_records == 0 {
        let what = "`journal.snapshot_records` is 0";
        return Err(source.wrong(
            &[Key("journal"), Key("snapshot_records")],
            what,
            "use 1 or more",
        ));
    }
    Ok(())
}

/// Safe by default: what others can reach is encrypted and asks who is there.
fn check_exposure(source: &Text<'_>, config: &Config) -> Result<(), ConfigError> {
    let reachable = |address: &SocketAddr| !address.ip().is_loopback();
    if reachable(&config.listen) && (config.tls.is_none() || config.tokens_file.is_none()) {
        let what = format!(
            "{} can be reached from other machines, and there is no {}",
            config.listen,
            if config.tls.is_none() {
                "TLS"
            } else {
                "token file"
            }
        );
        let remedy =
            "set [tls] cert_file and key_file as well as tokens_file, or listen on 127.0.0.1";
        return Err(source.wrong(&[Key("listen")], what, remedy));
    }
    if reachable(&config.listen)
        && let Some(open) = config
            .sites
            .iter()
            .position(|site| site.token_file.is_none())
    {
        let what = format!(
            "the site `{}` has no token, and {} can be reached from other machines",
            config.sites[open].spec.name, config.listen
        );
        let at = [Key("site"), Entry(open), Key("name")];
        return Err(source.wrong(&at, what, "give it a token_file"));
    }
    if let Some(address) = config.metrics_listen.filter(reachable) {
        let what = format!(
            "{address} can be reached from other machines, and metrics know neither TLS nor tokens"
        );
        let remedy = "listen on 127.0.0.1 and let a proxy on this machine publish them";
        return Err(source.wrong(&[Key("metrics_listen")], what, remedy));
    }
    Ok(())
}

fn policy_fault(source: &Text<'_>, rejected: &Rejected) -> ConfigError {
    let place = rejected.place().unwrap_or_default();
    let key = place.trim_start_matches("policy.");
    let steps = match key {
        "finished_in_memory_ms" => [Key("retention"), Key("memory")],
        other => [Key("policy"), Key(other.trim_end_matches("_ms"))],
    };
    source.wrong(&steps, rejected.to_string(), rejected.remedy())
}
