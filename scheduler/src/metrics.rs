//! What the service measures of itself, for Prometheus.
//!
//! The rule it keeps: every metric has a name `jeroboam_*`, stands in the table
//! [`METRICS`] and nowhere else, and `docs/metrics.md` is that table (a test
//! compares them). Whoever measures calls a `record_*` function here; counting
//! costs nothing where nobody installed the exporter.
//!
//! Gauges of the state are refreshed by the driver on its own thread, so their
//! cost is bounded: in series by [`QUEUES_MAX`], in work by [`LOOKS_MAX`].

mod kernels;
mod waiting;

use crate::state::State;
use crate::store::spool::Spool;
use jeroboam_core::event::Preemption;
use jeroboam_core::ids::JobId;
use jeroboam_core::queue::Queue;
use jeroboam_core::resources::{CPU, DISK, EXTENDED, GPU, MEMORY, Resources};
use jeroboam_core::round::Plan;
use jeroboam_core::round::share::Shares;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Queues with series of their own: the first in order of creation.
const QUEUES_MAX: usize = 1_000;
/// Shares are computed for at most so many queues and nodes together each second.
const LOOKS_MAX: usize = 200_000;
/// Shares and waiting reasons are refreshed at every such call of [`record_state`].
const COSTLY_EVERY: u64 = 5;

/// Bounds of histograms over seconds.
const SECONDS: [f64; 14] = [
    0.000_1, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
/// Bounds of histograms over counts.
const COUNTS: [f64; 10] = [
    1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 20_000.0,
];

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, comma separated.
    pub labels: &'static str,
    /// What it says.
    pub text: &'static str,
}

macro_rules! metrics {
    ($($name:literal $kind:ident ($labels:literal) $text:literal;)*) => {
        /// Every metric there is.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: concat!("jeroboam_", $name),
            kind: Kind::$kind,
            labels: $labels,
            text: $text,
        }),*];
    };
}

metrics! {
    "queue_queued_tasks" Gauge ("queue") "Tasks that wait for a place, in the queue and below.";
    "queue_running_tasks" Gauge ("queue") "Tasks that hold a place, in the queue and below.";
    "queue_held" Gauge ("queue, resource") "Held by the queue: cores, bytes, GPUs.";
    "queue_entitlement" Gauge ("queue, resource") "What the fair share entitles the queue to now: cores, bytes, GPUs.";
    "queue_guarantee" Gauge ("queue, resource") "What is guaranteed to the queue, as far as it asks for it and there is room.";
    "queue_reserved" Gauge ("queue, resource") "Room that is kept for what does not fit yet.";
    "waiting_tasks" Gauge ("reason") "Queued tasks by the one reason why they wait; `unexamined` beyond the bound on work.";
    "round_seconds" Histogram ("phase") "Time of one scheduling round: `plan` decides, `commit` applies and encodes what was decided.";
    "rounds_cut_total" Counter ("") "Rounds that reached their bound and went on in the next.";
    "placements_total" Counter ("") "Tasks that were given a place.";
    "preemptions_total" Counter ("cause") "Tasks whose place was taken away: for a queue below its `guarantee`, for a higher `class` of its own queue, or by `hand`.";
    "reservations" Gauge ("kind") "Tasks and gangs for which room is kept: it is `waited` for, or being `freed` by preemption.";
    "predict_seconds" Histogram ("code") "Time to predict the start of a task, by what was found (`jero explain --predict`).";
    "journal_sync_seconds" Histogram ("") "Time to make one group of events durable.";
    "journal_group_records" Histogram ("") "Events in one group.";
    "journal_failed" Gauge ("") "1 once the journal has failed: no work is taken until a restart.";
    "site_connected" Gauge ("site") "1 while the site's session is open.";
    "site_leases" Gauge ("site") "Open leases at the site.";
    "site_unknown_leases" Gauge ("site") "Leases that the agent holds and the journal does not know.";
    "site_silent_seconds" Gauge ("site") "Since the site was answered last; only while something is waited for there.";
    "site_nodes_over_committed" Gauge ("site") "Nodes on which more is held than they have now.";
    "site_quarantined" Gauge ("site") "1 while the site is in quarantine because it failed whatever it started.";
    "site_nodes_quarantined" Gauge ("site") "Nodes in quarantine because they failed whatever they started.";
    "kernels" Gauge ("use") "Kernels of nodes by who has used them since they booted: `unused`, `one` tenant, `several`, or one that has it `alone`.";
    "kernel_wanted_tasks" Gauge ("queue") "Queued tasks of a tenant that wait for a kernel that nobody else has used.";
    "kernel_wanted" Gauge ("queue, resource") "What those tasks ask for: cores, bytes, GPUs.";
    "quarantines_total" Counter ("what") "Quarantines begun, of a `node` or a whole `site`.";
    "batches" Gauge ("") "Batches in memory.";
    "jobs" Gauge ("") "Jobs in memory.";
    "disk_bytes" Gauge ("part") "On disk, by part of the data directory: `journal` (with the history), `snapshots`, `spool`.";
    "spool_used_bytes" Gauge ("") "Of the spool's bound, uploads under way at their announced size.";
    "spool_limit_bytes" Gauge ("") "The spool's bound.";
    "spool_queue_used_bytes" Gauge ("queue") "Of the spool, held for a queue's jobs (not those below it); the queue `(no queue)` is for uploads that named none.";
    "spool_queue_limit_bytes" Gauge ("") "What one queue may hold of the spool.";
    "expired_total" Counter ("what") "Removed at the end of its retention: `history` entries, `spool` files.";
    "calls_total" Counter ("method, code") "Calls of the API by their outcome.";
    "commands_waiting" Gauge ("") "Commands that wait for the driver.";
}

/// The exporter could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot serve metrics on {address}: {source}; choose another `metrics_listen`, or leave it empty"
)]
pub struct ExporterError {
    address: SocketAddr,
    #[source]
    source: BuildError,
}

/// Describes all metrics and serves them over HTTP. Once per process.
///
/// # Errors
/// The address is taken, or a recorder is installed already.
pub fn serve(address: SocketAddr) -> Result<(), ExporterError> {
    let failed = |source| ExporterError { address, source };
    builder()
        .map_err(failed)?
        .with_http_listener(address)
        .install()
        .map_err(failed)?;
    describe();
    Ok(())
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_records".into()), &COUNTS)
}

/// Tells the recorder what each metric says.
pub fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.text),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.text),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.text),
        }
    }
}

/// A round was planned and applied.
pub fn record_round(planned: Duration, committed: Duration, plan: &Plan, world: &World) {
    histogram!("jeroboam_round_seconds", "phase" => "plan").record(planned);
    histogram!("jeroboam_round_seconds", "phase" => "commit").record(committed);
    counter!("jeroboam_placements_total").increment(plan.placements.len() as u64);
    let queue = |job: JobId| world.jobs().get(&job).map(|job| job.queue);
    let inside = |of: &&Preemption| queue(of.task.job) == queue(of.by);
    let by_class = plan.preemptions.iter().filter(inside).count();
    record_preempted("class", by_class as u64);
    record_preempted("guarantee", (plan.preemptions.len() - by_class) as u64);
    if !plan.complete {
        counter!("jeroboam_rounds_cut_total").increment(1);
    }
}

/// Places were taken away.
pub fn record_preempted(cause: &'static str, tasks: u64) {
    counter!("jeroboam_preemptions_total", "cause" => cause).increment(tasks);
}

/// A group became durable.
pub fn record_sync(took: Duration, records: usize) {
    histogram!("jeroboam_journal_sync_seconds").record(took);
    histogram!("jeroboam_journal_group_records").record(records as f64);
}

/// A start was predicted.
pub fn record_prediction(code: &'static str, took: Duration) {
    histogram!("jeroboam_predict_seconds", "code" => code).record(took);
}

/// The journal failed.
pub fn record_stopped() {
    gauge!("jeroboam_journal_failed").set(1.0);
}

/// A call of the API has ended.
pub fn record_call(method: &'static str, code: tonic::Code) {
    counter!("jeroboam_calls_total", "method" => method, "code" => format!("{code:?}"))
        .increment(1);
}

/// Commands wait for the driver.
pub fn record_commands(waiting: usize) {
    gauge!("jeroboam_commands_waiting").set(waiting as f64);
}

/// A quarantine has begun.
pub fn record_quarantine(what: &'static str) {
    counter!("jeroboam_quarantines_total", "what" => what).increment(1);
}

/// How large a part of the data directory is.
pub fn record_disk(part: &'static str, size_bytes: u64) {
    gauge!("jeroboam_disk_bytes", "part" => part).set(size_bytes as f64);
}

/// What the spool holds, for whom, and its bounds.
pub fn record_spool(spool: &Spool) {
    let limits = spool.limits();
    gauge!("jeroboam_spool_used_bytes").set(spool.used_bytes() as f64);
    gauge!("jeroboam_spool_limit_bytes").set(limits.total_bytes as f64);
    gauge!("jeroboam_spool_queue_limit_bytes").set(limits.account_bytes as f64);
    for (account, used_bytes) in spool.accounts().into_iter().take(QUEUES_MAX) {
        gauge!("jeroboam_spool_queue_used_bytes", "queue" => account.to_string())
            .set(used_bytes as f64);
    }
}

/// Something reached the end of its retention.
pub fn record_expired(what: &'static str, count: u64) {
    counter!("jeroboam_expired_total", "what" => what).increment(count);
}

/// Refreshes the gauges of the state; called every second by the driver. What
/// costs more than a look at each queue and site comes at every fifth call.
pub fn record_state(state: &State, now: TimeMs) {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let world = &state.world;
    gauge!("jeroboam_batches").set(world.batches().len() as f64);
    gauge!("jeroboam_jobs").set(world.jobs().len() as f64);
    for (kind, freed) in [("waited", false), ("freed", true)] {
        let mine = world.reservations().iter();
        let count = mine
            .filter(|reservation| reservation.freed == freed)
            .count();
        gauge!("jeroboam_reservations", "kind" => kind).set(count as f64);
    }
    for queue in own_series(world) {
        let name = name_of(queue);
        gauge!("jeroboam_queue_queued_tasks", "queue" => name.clone()).set(queue.queued as f64);
        gauge!("jeroboam_queue_running_tasks", "queue" => name.clone()).set(queue.running as f64);
        record_amounts(world, "jeroboam_queue_held", &name, &queue.held);
    }
    for site in world.sites() {
        let name = site.spec.name.clone();
        let connected = f64::from(u8::from(site.session.is_some()));
        gauge!("jeroboam_site_connected", "site" => name.clone()).set(connected);
        let quarantined = f64::from(u8::from(site.health.quarantine.is_some()));
        gauge!("jeroboam_site_quarantined", "site" => name.clone()).set(quarantined);
        gauge!("jeroboam_site_leases", "site" => name.clone()).set(f64::from(site.running));
        let unknown = f64::from(site.unknown_leases);
        gauge!("jeroboam_site_unknown_leases", "site" => name.clone()).set(unknown);
        let silent_ms = state
            .dispatch
            .answered(&name)
            .map_or(0, |answered| now - answered);
        gauge!("jeroboam_site_silent_seconds", "site" => name).set(silent_ms as f64 / 1_000.0);
    }
    if CALLS
        .fetch_add(1, Ordering::Relaxed)
        .is_multiple_of(COSTLY_EVERY)
    {
        if world.nodes().len() + world.queues().len() <= LOOKS_MAX {
            record_world(world, &Shares::new(world, now));
            record_nodes(world);
            kernels::record(world, now);
        }
        waiting::record(world, now);
    }
}

/// Refreshes what the shares say.
pub fn record_world(world: &World, shares: &Shares) {
    for queue in own_series(world) {
        let entitlement = &shares.of(queue.id).entitlement;
        record_amounts(
            world,
            "jeroboam_queue_entitlement",
            &name_of(queue),
            entitlement,
        );
        let guarantee = shares.guarantee(queue.id);
        record_amounts(
            world,
            "jeroboam_queue_guarantee",
            &name_of(queue),
            &guarantee,
        );
        let reserved = world.reserved(queue.id);
        record_amounts(world, "jeroboam_queue_reserved", &name_of(queue), &reserved);
    }
}

/// Refreshes what the nodes say.
pub fn record_nodes(world: &World) {
    for site in world.sites() {
        let nodes = site.nodes.values().map(|id| world.node(*id));
        let over = nodes.filter(|node| node.over_committed().is_some()).count();
        gauge!("jeroboam_site_nodes_over_committed", "site" => site.spec.name.clone())
            .set(over as f64);
        let nodes = site.nodes.values().map(|id| world.node(*id));
        let quarantined = nodes.filter(|node| node.health.quarantine.is_some());
        gauge!("jeroboam_site_nodes_quarantined", "site" => site.spec.name.clone())
            .set(quarantined.count() as f64);
    }
}

fn own_series(world: &World) -> impl Iterator<Item = &Queue> {
    world.queues().iter().take(QUEUES_MAX)
}

/// The root has no name of its own.
fn name_of(queue: &Queue) -> String {
    match queue.spec.name.as_str() {
        "" => "(all)".into(),
        name => name.into(),
    }
}

/// In base units, as Prometheus wants them.
fn record_amounts(world: &World, metric: &'static str, queue: &str, amounts: &Resources) {
    let mib = |amount: i64| amount as f64 * 1_048_576.0;
    let standing = [
        ("cpu", amounts[CPU] as f64 / 1_000.0),
        ("memory", mib(amounts[MEMORY])),
        ("disk", mib(amounts[DISK])),
        ("gpu", amounts[GPU] as f64),
    ];
    let extended = world
        .policy()
        .extended_resources
        .iter()
        .zip(&amounts.0[EXTENDED..]);
    let extended = extended.map(|(name, amount)| (name.as_str(), *amount as f64));
    for (resource, amount) in standing.into_iter().chain(extended) {
        gauge!(metric, "queue" => queue.to_string(), "resource" => resource.to_string())
            .set(amount);
    }
}

#[cfg(test)]
mod tests;
