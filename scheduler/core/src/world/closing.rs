//! Sites, clusters and nodes are closed and opened by hand, or open by themselves.

use super::{Timer, World};
use crate::effect::Effect;
use crate::ids::{NodeId, SiteId};
use crate::nearest::nearest;
use crate::rejected::Rejected;
use crate::site::{Closed, Part};

impl World {
    /// Closes a part of a site, or opens it, which ends its quarantine as well.
    pub(super) fn close_part(
        &mut self,
        site: &str,
        part: &Part,
        closed: Option<Closed>,
    ) -> Result<Vec<Effect>, Rejected> {
        let id = self.check_part(site, part, closed.as_ref())?;
        let opens = closed.is_none();
        let until = closed.as_ref().and_then(|closed| closed.until);
        let before = self.set_closed(id, part, closed);
        if let Some(until) = before.and_then(|before| before.until) {
            self.timers.remove(&(until, Timer::Open(id, part.clone())));
        }
        if let Some(until) = until {
            self.timers.insert((until, Timer::Open(id, part.clone())));
        }
        if opens {
            self.pardon(id, part);
        }
        Ok(Vec::new())
    }

    /// Its time is over.
    pub(super) fn open_part(&mut self, site: SiteId, part: &Part) {
        self.set_closed(site, part, None);
    }

    pub(super) fn check_part(
        &self,
        site: &str,
        part: &Part,
        closed: Option<&Closed>,
    ) -> Result<SiteId, Rejected> {
        let found = self.find_site(site)?;
        if let Some(until) = closed.and_then(|closed| closed.until)
            && until <= self.now
        {
            return Err(Rejected::invalid(
                "until",
                "it is over already",
                "name a time to come",
            ));
        }
        let unknown = |what, name: &str, near| {
            let (site, name) = (site.to_string(), name.to_string());
            Err(Rejected::UnknownPart {
                site,
                what,
                name,
                near,
            })
        };
        match part {
            Part::Node(name) if !found.nodes.contains_key(name) => {
                let names = found.nodes.keys().map(String::as_str);
                unknown("node", name, nearest(name, names))
            }
            Part::Cluster(name) => {
                let nodes = found.nodes.values().map(|id| self.node(*id));
                let mut clusters = nodes.map(|node| node.report.cluster.as_str());
                let known = found.closed_clusters.contains_key(name);
                if known || clusters.clone().any(|cluster| cluster == name) {
                    return Ok(found.id);
                }
                unknown("cluster", name, nearest(name, &mut clusters))
            }
            Part::Site | Part::Node(_) => Ok(found.id),
        }
    }

    /// Returns what it was before.
    fn set_closed(&mut self, id: SiteId, part: &Part, closed: Option<Closed>) -> Option<Closed> {
        let site = &mut self.sites[id.index()];
        match part {
            Part::Site => {
                self.index.touch_site(id);
                std::mem::replace(&mut site.closed, closed)
            }
            Part::Cluster(name) => {
                let before = match closed {
                    Some(closed) => site.closed_clusters.insert(name.clone(), closed),
                    None => site.closed_clusters.remove(name),
                };
                self.nodes_of_cluster(id, name)
                    .into_iter()
                    .for_each(|node| self.index.touch_node(node));
                before
            }
            Part::Node(name) => {
                let node = site.nodes.get(name).copied()?;
                let before = std::mem::replace(&mut self.nodes[node.index()].closed, closed);
                self.index.touch_node(node);
                self.forget_unknown(node);
                before
            }
        }
    }

    fn pardon(&mut self, id: SiteId, part: &Part) {
        match part {
            Part::Site => self.pardon_site(id),
            Part::Cluster(name) => self
                .nodes_of_cluster(id, name)
                .into_iter()
                .for_each(|node| self.pardon_node(node)),
            Part::Node(name) => {
                if let Some(node) = self.site(id).nodes.get(name).copied() {
                    self.pardon_node(node);
                }
            }
        }
    }

    pub(super) fn nodes_of_cluster(&self, site: SiteId, cluster: &str) -> Vec<NodeId> {
        let nodes = self.site(site).nodes.values().copied();
        nodes
            .filter(|id| self.node(*id).report.cluster == cluster)
            .collect()
    }
}
