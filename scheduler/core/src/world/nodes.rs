//! What a site has: its nodes as its agent reports them.
//!
//! A node that is no longer reported stays known while something is held on it,
//! and comes back under its name. What a site has in all is kept, since no sum
//! over the federation may leave the bounds that the fair share computes in.

use super::World;
use crate::effect::Effect;
use crate::ids::{NodeId, SiteId};
use crate::rejected::Rejected;
use crate::resources::Resources;
use crate::site::{Node, NodeReport};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that one site may have.
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
        for report in nodes {
            if !report.capacity.is_valid() {
                return Err(Rejected::invalid(
                    format!("nodes[{}].capacity", report.name),
                    "an amount is negative or absurd",
                    "correct the capacity in the site file",
                ));
            }
            changed.insert(report.name.as_str(), report.capacity);
        }
        let new = nodes
            .iter()
            .filter(|report| !known.contains_key(&report.name));
        let count = known.len() + new.count();
        if count > NODES_PER_SITE_MAX {
            let max = NODES_PER_SITE_MAX as u64;
            return Err(Rejected::bounds("nodes", count as u64, 0, max));
        }
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

    fn report_node(&mut self, site: SiteId, report: &NodeReport) {
        match self.site(site).nodes.get(&report.name).copied() {
            Some(id) => {
                let node = &mut self.nodes[id.index()];
                node.report = report.clone();
                node.present = true;
            }
            None => {
                let id = NodeId(self.nodes.len() as u32);
                self.sites[site.index()]
                    .nodes
                    .insert(report.name.clone(), id);
                let (held, running) = (Resources::ZERO, 0);
                let report = report.clone();
                self.nodes.push(Node {
                    id,
                    site,
                    report,
                    present: true,
                    held,
                    running,
                });
            }
        }
    }

    fn remove_node(&mut self, site: SiteId, name: &str) {
        if let Some(id) = self.site(site).nodes.get(name).copied() {
            self.nodes[id.index()].present = false;
        }
    }
}
