//! Queues, sites and nodes, on their way out.

use super::amounts::{limit, resources};
use super::submission::{coe, isolation, taint};
use crate::state::State;
use jeroboam_core::ids::QueueId;
use jeroboam_core::isolation::{Runtime, Tenancy};
use jeroboam_core::queue::{TaskBounds, UserTasks};
use jeroboam_core::resources::Resources;
use jeroboam_core::round::share::Shares;
use jeroboam_core::site::{Closed, Closing, Contract, Downtime, Node, Part, Site};
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use std::collections::BTreeSet;

/// Users that are listed with a queue.
const USERS_MAX: usize = 1_000;

/// A queue on the wire.
pub fn queue(world: &World, shares: &Shares, id: QueueId) -> v1::Queue {
    let queue = world.queues().queue(id);
    let share = shares.of(id);
    let amounts = |vector: &Resources| Some(resources(world.policy(), vector));
    v1::Queue {
        name: queue.spec.name.clone(),
        weight: queue.spec.weight,
        cordoned: queue.cordoned.clone().unwrap_or_default(),
        queued_max: queue.spec.queued_max.unwrap_or(world.policy().queued_max),
        demand: amounts(&share.demand),
        entitlement: amounts(&share.entitlement),
        held: amounts(&queue.held),
        usage: amounts(&queue.usage.average()),
        queued: queue.queued,
        running: queue.running,
        submitters: queue.spec.submitters.iter().cloned().collect(),
        core_ms: queue.core_ms,
        cost_micro_eur: queue.cost_micro_eur,
        guarantee: amounts(&queue.spec.guarantee),
        limit: Some(limit(world.policy(), &queue.spec.limit)),
        reserved: amounts(&world.reserved(id)),
        submitters_above: submitters_above(world, id),
        warnings: nobody_submits(world, id).into_iter().collect(),
        bounds: Some(bounds(&queue.spec.bounds)),
        users: queue.users.iter().take(USERS_MAX).map(user).collect(),
        isolation: isolation(queue.spec.isolation).into(),
        tenant: world.queues().queue(queue.tenant).spec.name.clone(),
    }
}

fn bounds(bounds: &TaskBounds) -> v1::TaskBounds {
    v1::TaskBounds {
        running_max: bounds.running_max,
        user_running_max: bounds.user_running_max,
        user_queued_max: bounds.user_queued_max,
    }
}

fn user((user, tasks): (&String, &UserTasks)) -> v1::UserTasks {
    v1::UserTasks {
        user: user.clone(),
        running: tasks.running,
        waiting: tasks.waiting,
    }
}

/// Bounds from the wire; 0 lifts one.
pub fn bounds_in(bounds: Option<v1::TaskBounds>) -> TaskBounds {
    let bounds = bounds.unwrap_or_default();
    TaskBounds {
        running_max: bounds.running_max,
        user_running_max: bounds.user_running_max,
        user_queued_max: bounds.user_queued_max,
    }
}

/// Who may submit here because they are named further up.
fn submitters_above(world: &World, id: QueueId) -> Vec<String> {
    let above = world.queues().path(id).skip(1);
    let named = above.flat_map(|above| &world.queues().queue(above).spec.submitters);
    named
        .cloned()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// A leaf to which nobody may submit is of no use to anybody.
fn nobody_submits(world: &World, id: QueueId) -> Option<String> {
    let mut path = world.queues().path(id);
    let queue = world.queues().queue(id);
    if !queue.is_leaf() || path.any(|id| !world.queues().queue(id).spec.submitters.is_empty()) {
        return None;
    }
    let name = &queue.spec.name;
    Some(format!(
        "nobody may submit to `{name}`; `jero queue set {name} --submitters NAMES` says who may, `*` is everybody"
    ))
}

/// A site on the wire. Costs in proportion to its nodes.
pub fn site(state: &State, site: &Site) -> v1::SiteStatus {
    let world = &state.world;
    let present = site
        .nodes
        .values()
        .map(|id| world.node(*id))
        .filter(|node| node.present);
    let (mut nodes, mut over_committed, mut capacity) = (0, 0, Resources::ZERO);
    let mut nodes_quarantined = 0;
    for node in present {
        nodes += 1;
        nodes_quarantined += u32::from(node.health.quarantine.is_some());
        over_committed += u32::from(node.over_committed().is_some());
        capacity += &node.report.capacity;
    }
    let (cordoned, draining) = closed(site);
    let (quarantined, quarantined_until_ms) = quarantine(world, site);
    let name = &site.spec.name;
    v1::SiteStatus {
        name: name.clone(),
        leased: site.spec.contract.is_some(),
        region: site.spec.region.clone(),
        contract: site.spec.contract.as_ref().map(contract),
        connected: site.session.is_some(),
        renewed_ms: state
            .dispatch
            .answered(name)
            .map_or(0, |answered| answered.0),
        cordoned,
        draining,
        nodes,
        capacity: Some(resources(world.policy(), &capacity)),
        held: Some(resources(world.policy(), &site.held)),
        running: site.running,
        unknown_leases: site.unknown_leases,
        agent_version: site.agent_version.clone(),
        core_ms: site.core_ms,
        cost_micro_eur: site.cost_micro_eur,
        nodes_over_committed: over_committed,
        quarantined,
        quarantined_until_ms,
        nodes_quarantined,
        closed_until_ms: until_ms(site.closed.as_ref()),
        clusters_closed: site
            .closed_clusters
            .iter()
            .map(|(name, closed)| (name.clone(), cluster_closed(closed)))
            .collect(),
        downtimes: site.downtimes.iter().map(downtime).collect(),
    }
}

/// Why nothing new starts at a site for a time, and until when.
fn quarantine(world: &World, site: &Site) -> (String, i64) {
    if let Some(quarantine) = &site.health.quarantine {
        return (quarantine.to_string(), quarantine.until.0);
    }
    if world.now() < site.quarantined_until {
        let why = "leases from before a restore may still be open there";
        return (why.into(), site.quarantined_until.0);
    }
    (String::new(), 0)
}

/// Why a site takes nothing new, as (cordoned, draining).
fn closed(site: &Site) -> (String, String) {
    if site.withdrawn {
        return ("it is no longer declared".into(), String::new());
    }
    let Some(closed) = &site.closed else {
        return (String::new(), String::new());
    };
    let text = format!("{} ({})", closed.reason, closed.by);
    match closed.how {
        Closing::Cordon => (text, String::new()),
        Closing::Drain => (String::new(), text),
    }
}

fn until_ms(closed: Option<&Closed>) -> i64 {
    closed
        .and_then(|closed| closed.until)
        .map_or(0, |until| until.0)
}

fn cluster_closed(closed: &Closed) -> String {
    let how = match closed.how {
        Closing::Cordon => "cordoned",
        Closing::Drain => "draining",
    };
    let until = closed.until.map_or(String::new(), |until| {
        format!(" until {}", jeroboam_units::Instant(until.0))
    });
    format!("{how}{until}: {} ({})", closed.reason, closed.by)
}

fn contract(contract: &Contract) -> v1::Contract {
    v1::Contract {
        start_ms: contract.start.0,
        end_ms: contract.end.0,
        price_micro_eur_per_core_hour: contract.price_micro_eur_per_core_hour,
        budget_micro_eur: contract.budget_micro_eur.unwrap_or(0),
    }
}

fn downtime(downtime: &Downtime) -> v1::Downtime {
    let (node, cluster) = match &downtime.part {
        Part::Site => (String::new(), String::new()),
        Part::Cluster(name) => (String::new(), name.clone()),
        Part::Node(name) => (name.clone(), String::new()),
    };
    v1::Downtime {
        id: downtime.id,
        node,
        cluster,
        from_ms: downtime.from.0,
        until_ms: downtime.until.0,
        reason: downtime.reason.clone(),
        by: downtime.by.clone(),
    }
}

/// A node on the wire.
pub fn node(world: &World, node: &Node) -> v1::Node {
    let report = &node.report;
    let over = node.over_committed();
    let closed = world.site(node.site).closed_at(node);
    let (reason, until_ms) = match (closed, &node.health.quarantine) {
        (Some(by_hand), _) => {
            let reason = format!("{} ({})", by_hand.reason, by_hand.by);
            (reason, until_ms(closed))
        }
        (None, Some(quarantine)) => (quarantine.to_string(), quarantine.until.0),
        (None, None) => (String::new(), 0),
    };
    v1::Node {
        name: report.name.clone(),
        site: world.site(node.site).spec.name.clone(),
        cluster: report.cluster.clone(),
        coe: coe(Some(report.coe)).into(),
        kernel: report.kernel.clone(),
        state: node_state(world, node).into(),
        capacity: Some(resources(world.policy(), &report.capacity)),
        held: Some(resources(world.policy(), &node.held)),
        labels: report.labels.clone(),
        taints: report.taints.iter().map(taint).collect(),
        running: node.running,
        over_committed: over.map(|over| resources(world.policy(), &over)),
        reason,
        until_ms,
        runtimes: report
            .runtimes
            .iter()
            .map(|of_node| runtime(world, of_node))
            .collect(),
        used_by: used_by(world, node),
        alone: matches!(world.tenancy(node), Tenancy::Alone(_)),
    }
}

fn runtime(world: &World, runtime: &Runtime) -> v1::Runtime {
    v1::Runtime {
        name: runtime.name.clone(),
        isolation: isolation(runtime.isolation).into(),
        overhead: Some(resources(world.policy(), &runtime.overhead)),
    }
}

/// Who has used a node's kernel since it booted.
fn used_by(world: &World, node: &Node) -> String {
    match world.tenancy(node) {
        Tenancy::Unused => String::new(),
        Tenancy::One(tenant) | Tenancy::Alone(tenant) => {
            world.queues().queue(tenant).spec.name.clone()
        }
        Tenancy::Several => "several".into(),
    }
}

fn node_state(world: &World, node: &Node) -> &'static str {
    let site = world.site(node.site);
    let closed = site.closed.as_ref().or_else(|| site.closed_at(node));
    let closed = closed.map(|closed| closed.how);
    match (node.present, closed) {
        (false, _) => "lost",
        (true, Some(Closing::Drain)) => "draining",
        (true, Some(Closing::Cordon)) => "cordoned",
        (true, None) if !node.report.schedulable => "cordoned",
        (true, None) if node.health.quarantine.is_some() => "quarantined",
        (true, None) => "up",
    }
}
