//! Downtimes: declared, taken back, and over by themselves.
//!
//! What they keep away is in `round/feasible.rs`; what runs when one begins is left alone.

use super::{Timer, World};
use crate::effect::Effect;
use crate::ids::{NodeId, SiteId};
use crate::rejected::Rejected;
use crate::site::{DOWNTIMES_MAX, Downtime, Part};
use crate::time::TimeMs;

impl World {
    pub(super) fn declare_downtime(
        &mut self,
        site: &str,
        mut downtime: Downtime,
    ) -> Result<Vec<Effect>, Rejected> {
        let id = self.check_part(site, &downtime.part, None)?;
        if downtime.until <= self.now || downtime.until <= downtime.from {
            return Err(Rejected::invalid(
                "until",
                "it is over already, or before it begins",
                "name a time to come, behind `from`",
            ));
        }
        let count = self.site(id).downtimes.len() + 1;
        if count > DOWNTIMES_MAX {
            let (count, max) = (count as u64, DOWNTIMES_MAX as u64);
            return Err(Rejected::bounds("downtimes of a site", count, 0, max));
        }
        let record = &mut self.sites[id.index()];
        downtime.id = record.next_downtime;
        record.next_downtime += 1;
        let (part, until) = (downtime.part.clone(), downtime.until);
        record.downtimes.push(downtime);
        record
            .downtimes
            .sort_by_key(|downtime| (downtime.from, downtime.id));
        self.timers.insert((until, Timer::Downtime(id)));
        self.touch_part(id, &part);
        Ok(Vec::new())
    }

    pub(super) fn remove_downtime(
        &mut self,
        site: &str,
        number: u32,
    ) -> Result<Vec<Effect>, Rejected> {
        let site = self.find_site(site)?;
        let (id, mut known) = (site.id, site.downtimes.iter());
        let Some(position) = known.position(|downtime| downtime.id == number) else {
            return Err(Rejected::invalid(
                "downtime",
                format!("the site has no downtime {number}"),
                "`jero site downtime list SITE` shows those there are",
            ));
        };
        let gone = self.sites[id.index()].downtimes.remove(position);
        let still = |other: &Downtime| other.until == gone.until;
        if !self.site(id).downtimes.iter().any(still) {
            self.timers.remove(&(gone.until, Timer::Downtime(id)));
        }
        self.touch_part(id, &gone.part);
        Ok(Vec::new())
    }

    /// Downtimes of a site are over.
    pub(super) fn end_downtimes(&mut self, id: SiteId, at: TimeMs) {
        let downtimes = std::mem::take(&mut self.sites[id.index()].downtimes);
        let (over, left): (Vec<_>, Vec<_>) = downtimes
            .into_iter()
            .partition(|downtime| downtime.until <= at);
        self.sites[id.index()].downtimes = left;
        for downtime in over {
            self.touch_part(id, &downtime.part);
        }
    }

    /// What a round sees of a part of a site has changed.
    fn touch_part(&mut self, id: SiteId, part: &Part) {
        let site = self.site(id);
        let nodes: Vec<NodeId> = match part {
            Part::Site => site.nodes.values().copied().collect(),
            Part::Cluster(name) => self.nodes_of_cluster(id, name),
            Part::Node(name) => site.nodes.get(name).copied().into_iter().collect(),
        };
        for node in nodes {
            self.touch_node(node);
        }
    }
}
