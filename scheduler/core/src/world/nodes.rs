//! What a site has: its nodes as its agent reports them.
//!
//! A node that is no longer reported stays known while something is held on it or it is
//! closed by hand, and comes back under its name; after that it is forgotten and its id is given to
//! another. Only open leases name a node, and those hold something on it. What a site has in all is kept, since no sum
//! over the federation may leave the bounds that the fair share computes in.

use super::World;
use crate::effect::Effect;
use crate::health::Health;
use crate::ids::{KernelId, NodeId, SiteId};
use crate::isolation::{RUNTIMES_MAX, Tenancy};
use crate::rejected::Rejected;
use crate::reservation::Place;
use crate::resources::Resources;
use crate::site::{Node, NodeReport};
use crate::spec::{LIST_MAX, NAME_MAX, SPEC_BYTES_MAX};
use std::collections::{BTreeMap, BTreeSet};

/// Known nodes that one site may have.
pub const NODES_PER_SITE_MAX: usize = 100_000;

impl World {
    pub(super) fn report_capacity(
        &mut self,
        name: &str,
        session: u64,
        full: bool,
        nodes: &[NodeReport],
        removed: &[String],
    ) -> Result<Vec<Effect>, Rejected> {
        let id = self.current(name, session)?.id;
        let capacity = self.check_capacity(id, full, nodes, removed)?;
        self.sites[id.index()].capacity = capacity;
        if full {
            let listed: BTreeSet<&str> = nodes.iter().map(|report| report.name.as_str()).collect();
            let known = self.site(id).nodes.clone();
            known
                .iter()
                .filter(|(name, _)| !listed.contains(name.as_str()))
                .for_each(|(name, _)| self.remove_node(id, name));
        }
        removed.iter().for_each(|name| self.remove_node(id, name));
        nodes.iter().for_each(|report| self.report_node(id, report));
        if full {
            self.sites[id.index()].kernels_doubted = false;
        }
        Ok(Vec::new())
    }

    /// What the site will have in all, if that is within bounds.
    fn check_capacity(
        &self,
        site: SiteId,
        full: bool,
        nodes: &[NodeReport],
        removed: &[String],
    ) -> Result<Resources, Rejected> {
        let known = &self.site(site).nodes;
        let mut changed: BTreeMap<&str, Resources> = BTreeMap::new();
        let gone = removed.iter().chain(known.keys().filter(|_| full));
        changed.extend(gone.map(|name| (name.as_str(), Resources::ZERO)));
        check_reports(nodes)?;
        for report in nodes {
            changed.insert(report.name.as_str(), report.capacity);
        }
        self.check_count(site, full, nodes, removed)?;
        let mut capacity = self.site(site).capacity;
        for (name, after) in changed {
            let before = known.get(name).map(|id| self.node(*id));
            if let Some(node) = before.filter(|node| node.present) {
                capacity -= &node.report.capacity;
            }
            capacity += &after;
        }
        let others = self.sites.iter().filter(|other| other.id != site);
        let all = others.fold(capacity, |all, other| all.plus(&other.capacity));
        if all.is_valid() {
            return Ok(capacity);
        }
        Err(Rejected::invalid(
            "nodes[].capacity",
            "with these nodes the federation would have an absurd amount of a resource",
            "correct the capacity in the site file",
        ))
    }

    /// As many nodes as a site may have will be known: reported, or held on.
    fn check_count(
        &self,
        site: SiteId,
        full: bool,
        nodes: &[NodeReport],
        removed: &[String],
    ) -> Result<(), Rejected> {
        let known = &self.site(site).nodes;
        let listed: BTreeSet<&str> = nodes.iter().map(|report| report.name.as_str()).collect();
        let removed: BTreeSet<&str> = removed.iter().map(String::as_str).collect();
        let stays = |name: &str, id: NodeId| {
            let node = self.node(id);
            let reported = node.present && !full && !removed.contains(name);
            let kept = node.running > 0 || node.closed.is_some();
            !listed.contains(name) && (reported || kept)
        };
        let staying = known.iter().filter(|(name, id)| stays(name, **id));
        let count = listed.len() + staying.count();
        if count <= NODES_PER_SITE_MAX {
            return Ok(());
        }
        let max = NODES_PER_SITE_MAX as u64;
        Err(Rejected::bounds("nodes", count as u64, 0, max))
    }

    fn report_node(&mut self, site: SiteId, report: &NodeReport) {
        match self.site(site).nodes.get(&report.name).copied() {
            Some(id) => {
                self.change_kernel(id, &report.kernel);
                let node = &mut self.nodes[id.index()];
                node.report = report.clone();
                node.present = true;
                self.touch_node(id);
            }
            None => self.add_node(site, report),
        }
    }

    fn add_node(&mut self, site: SiteId, report: &NodeReport) {
        let free = self.free_nodes.pop();
        let id = free.unwrap_or(NodeId(self.nodes.len() as u32));
        let node = Node {
            id,
            site,
            report: report.clone(),
            kernel: KernelId::UNKNOWN,
            present: true,
            held: Resources::ZERO,
            leaving: Resources::ZERO,
            running: 0,
            tasks: BTreeSet::new(),
            health: Health::default(),
            closed: None,
        };
        match self.nodes.get_mut(id.index()) {
            Some(slot) => *slot = node,
            None => self.nodes.push(node),
        }
        let names = &mut self.sites[site.index()].nodes;
        names.insert(report.name.clone(), id);
        self.change_kernel(id, &report.kernel);
        self.touch_node(id);
    }

    /// A node runs the kernel of this name from now on, perhaps as before.
    fn change_kernel(&mut self, id: NodeId, name: &str) {
        let node = &self.nodes[id.index()];
        let before = node.kernel;
        if before != KernelId::UNKNOWN && node.report.kernel == name {
            return;
        }
        let fresh = if self.sites[node.site.index()].kernels_doubted {
            Tenancy::Several
        } else {
            Tenancy::Unused
        };
        let kernel = self.kernels.join(name, id, fresh);
        self.nodes[id.index()].kernel = kernel;
        if kernel != before {
            self.kernels.leave(before, id);
        }
    }

    fn remove_node(&mut self, site: SiteId, name: &str) {
        if let Some(id) = self.site(site).nodes.get(name).copied() {
            self.nodes[id.index()].present = false;
            self.touch_node(id);
            self.forget_unknown(id);
        }
    }

    /// Gives the id of a node free that nobody reports and nothing is held on any more.
    pub(super) fn forget_unknown(&mut self, id: NodeId) {
        let node = &self.nodes[id.index()];
        if node.is_known() {
            return;
        }
        let kernel = node.kernel;
        let names = &mut self.sites[node.site.index()].nodes;
        if names.remove(&node.report.name).is_some() {
            self.free_nodes.push(id);
            self.nodes[id.index()].kernel = KernelId::UNKNOWN;
            self.kernels.leave(kernel, id);
            let named = |place: &Place| place.node == id;
            self.reservations
                .retain(|reservation| !reservation.places.iter().any(named));
        }
    }
}

/// What can be said about a report without the World.
fn check_reports(nodes: &[NodeReport]) -> Result<(), Rejected> {
    let mut listed = BTreeSet::new();
    for report in nodes {
        check_bounds(report)?;
        if !listed.insert(report.name.as_str()) {
            return Err(Rejected::invalid(
                format!("nodes[{}]", report.name),
                "the node is listed twice in one report",
                "give every node of the site a name of its own",
            ));
        }
    }
    Ok(())
}

fn check_bounds(report: &NodeReport) -> Result<(), Rejected> {
    // A name may itself be what is too long: the place shows its beginning.
    let name: String = report.name.chars().take(NAME_MAX).collect();
    let place = |field: &str| format!("nodes[{name}].{field}");
    if !report.capacity.is_valid() {
        return Err(Rejected::invalid(
            place("capacity"),
            "an amount is negative or absurd",
            "correct the capacity in the site file",
        ));
    }
    let overheads = report.runtimes.iter().map(|runtime| &runtime.overhead);
    if let Some(position) = overheads.clone().position(|overhead| !overhead.is_valid()) {
        return Err(Rejected::invalid(
            place(&format!("runtimes[{position}].overhead")),
            "an amount is negative or absurd",
            "correct the overhead in the site file",
        ));
    }
    let labels = report
        .labels
        .iter()
        .map(|(key, value)| key.len() + value.len());
    let taints = report
        .taints
        .iter()
        .map(|taint| taint.key.len() + taint.value.len());
    let own = [&report.name, &report.cluster, &report.kernel].map(String::len);
    let runtimes = report.runtimes.iter().map(|runtime| runtime.name.len());
    let bytes: usize = labels.chain(taints).chain(own).chain(runtimes).sum();
    let bounds = [
        ("labels", report.labels.len(), LIST_MAX),
        ("taints", report.taints.len(), LIST_MAX),
        ("runtimes", report.runtimes.len(), RUNTIMES_MAX),
        ("(names, labels and taints together)", bytes, SPEC_BYTES_MAX),
    ];
    match bounds.into_iter().find(|(_, value, max)| value > max) {
        None => Ok(()),
        Some((field, value, max)) => {
            Err(Rejected::bounds(&place(field), value as u64, 0, max as u64))
        }
    }
}
