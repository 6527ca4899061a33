//! Sites and nodes: who has joined, what they report, what is held there.
//!
//! A site's session as the World sees it is only what placement needs (is there
//! one, of which agent); renewals and their clocks are volatile and live in the
//! service's `dispatch`.

use crate::health::Health;
use crate::ids::{KernelId, NodeId, SiteId, TaskId};
use crate::isolation::Runtime;
use crate::resources::{CPU, Resources};
use crate::spec::{Coe, Taint};
use crate::time::{HOUR_MS, TimeMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The highest price of a contract: 1,000 € for a core-hour.
pub const PRICE_MICRO_EUR_MAX: i64 = 1_000_000_000;
/// No contract is promised more than this, whether it has a budget or not; sums
/// of costs stay far inside an `i64`.
pub const BUDGET_MICRO_EUR_MAX: i64 = i64::MAX / 1_024;
/// HEPScore23 per core of the reference, in thousandths: walltime limits are
/// given for this speed.
pub const SPEED_REFERENCE_MILLI: i64 = 10_000;

/// What the operator declares about a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteSpec {
    /// Unique in the federation.
    pub name: String,
    /// Where it is, in words.
    pub region: String,
    /// Present for a leased site.
    pub contract: Option<Contract>,
}

/// The paid window of a leased site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Nothing starts before.
    pub start: TimeMs,
    /// Everything must have ended, by its walltime limit, before.
    pub end: TimeMs,
    /// Millionths of a euro.
    pub price_micro_eur_per_core_hour: i64,
    /// Millionths of a euro over the whole window; `None` is unbounded.
    pub budget_micro_eur: Option<i64>,
}

impl Contract {
    /// Cost of holding `resources` for a span, rounded up.
    pub fn cost_micro_eur(&self, resources: &Resources, span_ms: i64) -> i64 {
        let core_ms = i128::from(resources[CPU]) * i128::from(span_ms.max(0));
        let scale = 1_000 * i128::from(HOUR_MS);
        let cost = (core_ms * i128::from(self.price_micro_eur_per_core_hour) + scale - 1) / scale;
        i64::try_from(cost).unwrap_or(i64::MAX)
    }
}

/// A data centre of the federation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its place in the World's vector.
    pub id: SiteId,
    /// As declared.
    pub spec: SiteSpec,
    /// No longer declared: kept while something runs there, takes nothing.
    pub withdrawn: bool,
    /// Set by hand: nothing new starts.
    pub closed: Option<Closed>,
    /// Nothing is granted before: after a restore from backup.
    pub quarantined_until: TimeMs,
    /// The agent's state directory that was admitted last.
    pub incarnation: Option<String>,
    /// The session whose inventory was accepted, while it lives.
    pub session: Option<u64>,
    /// Of the agent's software.
    pub agent_version: String,
    /// Leases that the agent holds and the journal does not know.
    pub unknown_leases: u32,
    /// Tasks with an open lease here.
    pub running: u32,
    /// Sum of held resources of its nodes.
    pub held: Resources,
    /// Core-milliseconds of ended attempts.
    pub core_ms: i64,
    /// Cost of ended attempts.
    pub cost_micro_eur: i64,
    /// What the open leases may still cost, by their walltime limits.
    pub cost_reserved_micro_eur: i64,
    /// Sum of what its present nodes have.
    pub capacity: Resources,
    /// Its known nodes by name.
    pub nodes: BTreeMap<String, NodeId>,
    /// What its failures say.
    pub health: Health,
    /// Its clusters that are closed by hand, by name.
    pub closed_clusters: BTreeMap<String, Closed>,
    /// After a restore from backup nobody knows who has used the kernels that it reports;
    /// until its first full report.
    pub kernels_doubted: bool,
    /// Those to come and under way, by when they begin.
    pub downtimes: Vec<Downtime>,
    /// Of the next one.
    pub next_downtime: u32,
}

/// Nothing runs, by its walltime limit, at a part of a site for a time that was declared
/// before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downtime {
    /// Of this site; not used again.
    pub id: u32,
    /// All of the site, a cluster or a node.
    pub part: Part,
    /// Everything that starts has to have ended before.
    pub from: TimeMs,
    /// It is over, and forgotten.
    pub until: TimeMs,
    /// In the words of whoever declared it.
    pub reason: String,
    /// Who did.
    pub by: String,
}

/// Declared downtimes of one site, at most.
pub const DOWNTIMES_MAX: usize = 100;

/// Why a site, a cluster or a node takes nothing new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Cordoned or draining.
    pub how: Closing,
    /// In the words of whoever did it.
    pub reason: String,
    /// Who did it.
    pub by: String,
    /// When.
    pub since: TimeMs,
    /// When it opens by itself.
    pub until: Option<TimeMs>,
}

/// What of a site is closed or opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// All of it.
    Site,
    /// The nodes of this cluster, those that join later as well.
    Cluster(String),
    /// The node of this name.
    Node(String),
}

/// The two ways of closing a site or a part of it by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Closing {
    /// Nothing new starts; its capacity still counts in the shares.
    Cordon,
    /// Nothing new starts and its capacity leaves the shares as it empties.
    Drain,
}

/// What an agent reports of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Unique at the site.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster: String,
    /// The cluster's engine.
    pub coe: Coe,
    /// Identity of the running kernel (boot id); empty where it is not known.
    pub kernel: String,
    /// What containers can run in; none is the engine's own runtime, which shares the kernel.
    pub runtimes: Vec<Runtime>,
    /// All that tasks may use together.
    pub capacity: Resources,
    /// For constraints.
    pub labels: BTreeMap<String, String>,
    /// Keep away what does not tolerate them.
    pub taints: BTreeSet<Taint>,
    /// HEPScore23 per core in thousandths.
    pub speed_milli: i64,
    /// The engine takes new tasks on it.
    pub schedulable: bool,
}

/// A node: what was reported last, and what is held on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its place in the World's vector.
    pub id: NodeId,
    /// Where it stands.
    pub site: SiteId,
    /// As reported last.
    pub report: NodeReport,
    /// The kernel that was reported last.
    pub kernel: KernelId,
    /// False: no longer reported; kept while something is held on it.
    pub present: bool,
    /// Sum of what the open leases on it hold.
    pub held: Resources,
    /// The part of it whose tasks were told to end.
    pub leaving: Resources,
    /// Tasks with an open lease here.
    pub running: u32,
    /// Which.
    pub tasks: BTreeSet<TaskId>,
    /// What its failures say.
    pub health: Health,
    /// Set by hand: nothing new starts.
    pub closed: Option<Closed>,
}

impl Node {
    /// False once nobody reports it, nothing is held on it and nobody has closed it: it
    /// is forgotten.
    pub fn is_known(&self) -> bool {
        self.present || self.running > 0 || self.closed.is_some()
    }

    /// What is left; negative where the capacity shrank below what is held.
    pub fn free(&self) -> Resources {
        self.report.capacity.minus(&self.held)
    }

    /// By how much what is held exceeds what a reported node has, where it does: the
    /// site said that it has less than it had. What runs there goes on.
    pub fn over_committed(&self) -> Option<Resources> {
        let over = self.free().0.map(|left| (-left).max(0));
        (self.present && over.iter().any(|more| *more > 0)).then_some(Resources(over))
    }

    /// A walltime limit given for reference speed, on this node; rounded up.
    pub fn scaled_ms(&self, walltime_ms: i64) -> i64 {
        let speed_milli = i128::from(self.report.speed_milli.max(1));
        let scaled = i128::from(walltime_ms) * i128::from(SPEED_REFERENCE_MILLI);
        i64::try_from((scaled + speed_milli - 1) / speed_milli).unwrap_or(i64::MAX)
    }
}

impl Site {
    /// A site just declared.
    pub fn new(id: SiteId, spec: SiteSpec) -> Self {
        Site {
            id,
            spec,
            withdrawn: false,
            closed: None,
            quarantined_until: TimeMs::default(),
            incarnation: None,
            session: None,
            agent_version: String::new(),
            unknown_leases: 0,
            running: 0,
            held: Resources::ZERO,
            core_ms: 0,
            cost_micro_eur: 0,
            cost_reserved_micro_eur: 0,
            capacity: Resources::ZERO,
            nodes: BTreeMap::new(),
            health: Health::default(),
            closed_clusters: BTreeMap::new(),
            kernels_doubted: false,
            downtimes: Vec::new(),
            next_downtime: 1,
        }
    }

    /// Who has closed a node of this site by hand, itself or with its cluster.
    pub fn closed_at<'s>(&'s self, node: &'s Node) -> Option<&'s Closed> {
        let cluster = || self.closed_clusters.get(&node.report.cluster);
        node.closed.as_ref().or_else(cluster)
    }

    /// The downtimes of a node: its own, its cluster's and its site's.
    pub fn downtimes_of<'s>(&'s self, node: &'s Node) -> impl Iterator<Item = &'s Downtime> {
        let of_node = |downtime: &&Downtime| match &downtime.part {
            Part::Site => true,
            Part::Cluster(name) => *name == node.report.cluster,
            Part::Node(name) => *name == node.report.name,
        };
        self.downtimes.iter().filter(of_node)
    }

    /// True while a node is in a downtime.
    pub fn is_down(&self, node: &Node, now: TimeMs) -> bool {
        !self.downtimes.is_empty()
            && self
                .downtimes_of(node)
                .any(|downtime| (downtime.from..downtime.until).contains(&now))
    }

    /// True while a node's free capacity counts in the shares, if its site's does.
    pub fn counts_node(&self, node: &Node, now: TimeMs) -> bool {
        let cluster = self.closed_clusters.get(&node.report.cluster);
        let mut closed = node.closed.iter().chain(cluster);
        let drained = closed.any(|closed| closed.how == Closing::Drain);
        node.present && !drained && !self.is_down(node, now)
    }

    /// True while its free capacity counts in the shares.
    pub fn counts(&self, now: TimeMs) -> bool {
        let draining = self
            .closed
            .as_ref()
            .is_some_and(|closed| closed.how == Closing::Drain);
        let in_window = self
            .spec
            .contract
            .is_none_or(|contract| (contract.start..contract.end).contains(&now));
        self.session.is_some() && !self.withdrawn && !draining && in_window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_rounded_up() {
        let contract = Contract {
            start: TimeMs(0),
            end: TimeMs(1),
            price_micro_eur_per_core_hour: 40_000,
            budget_micro_eur: None,
        };
        assert_eq!(
            contract.cost_micro_eur(&Resources::of(2_000, 0, 0, 0), HOUR_MS),
            80_000
        );
        assert_eq!(
            contract.cost_micro_eur(&Resources::of(1_000, 0, 0, 0), 1),
            1
        );
    }
}
