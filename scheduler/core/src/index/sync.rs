//! How the index follows the World: built once, then only what was touched.

use super::cells::{Cells, Standing, block_of};
use super::log::Log;
use super::{Mark, NOWHERE, NodeIndex, Place, Touched, Weights};
use crate::ids::{NodeId, SiteId};
use crate::round::feasible::takes_tasks;
use crate::round::score::price_milli_eur;
use crate::site::Site;
use crate::time::TimeMs;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// Dead cells and new kinds of nodes that are borne before all is built anew.
const STALE_MAX: usize = 1_000;
/// A label is spread if its values have fewer nodes of a site each than this...
const NODES_PER_VALUE: usize = 8;
/// ...and are at least this many.
const VALUES_MAX: usize = 32;
/// The log keeps a part of this of the nodes: beyond it, a scan is cheaper.
const LOG_PART: usize = 4;
/// The log keeps this many entries at least.
const LOG_MIN: usize = 1_024;

impl NodeIndex {
    /// Reads again what was touched.
    pub(super) fn refresh(&mut self, world: &World) {
        let live = self.cells.cells.len() - self.cells.dead;
        let stale = self.cells.dead > live + STALE_MAX
            || self.cells.kinds() > 2 * self.kinds_built + STALE_MAX
            || self.places.len() > 2 * self.nodes_built + STALE_MAX;
        if !self.built || stale || self.isolating != world.is_isolating() {
            self.build(world);
            return;
        }
        if self.touched_sites.is_empty() && self.touched_nodes.is_empty() {
            return;
        }
        for site in std::mem::take(&mut self.touched_sites) {
            self.sync_site(world, site);
        }
        for node in std::mem::take(&mut self.touched_nodes) {
            self.sync_node(world, node);
        }
    }

    /// Logs the sites that open by themselves between the last question and now.
    pub(super) fn move_on(&mut self, world: &World, now: TimeMs) {
        let seen = std::mem::replace(&mut self.seen, now);
        if seen <= now && now < self.wake {
            return;
        }
        for site in world.sites() {
            let crossed = opens(site).any(|at| seen > now || (seen < at && at <= now));
            if crossed {
                self.log_site(site.id);
            }
        }
        let later = world.sites().iter().flat_map(opens).filter(|at| *at > now);
        self.wake = later.min().unwrap_or(TimeMs(i64::MAX));
    }

    fn build(&mut self, world: &World) {
        let policy = world.policy();
        // Weights are at most 1,000.
        self.weights = Weights {
            stranded: policy.score_stranded as i32,
            fill: policy.score_fill as i32,
        };
        self.isolating = world.is_isolating();
        self.cells = Cells::new(spread(world), policy.score_kernel);
        self.places = vec![Place::default(); world.nodes().len()];
        self.log = Log::new(self.log.end(), log_max(world.nodes().len()));
        (self.memos, self.memos_bytes) = (Vec::new(), 0);
        self.touched_nodes.clear();
        self.touched_sites.clear();
        self.sites.resize(world.sites().len(), Mark::default());
        for site in world.sites() {
            let mark = &mut self.sites[site.id.index()];
            mark.price_micro_eur = price(site);
            mark.touched = false;
        }
        for (at, (node, _)) in self.taken.iter().enumerate() {
            self.places[node.index()].taken = at as u32;
        }
        self.built = true;
        for node in world.nodes() {
            self.places[node.id.index()].touched = Touched::Report;
            self.sync_node(world, node.id);
        }
        self.kinds_built = self.cells.kinds();
        self.nodes_built = self.places.len();
        self.wake = TimeMs(i64::MIN);
    }

    /// Another price is another cell for each of its nodes; the rest is asked for live.
    fn sync_site(&mut self, world: &World, id: SiteId) {
        let (site, mark) = (world.site(id), &mut self.sites[id.index()]);
        mark.touched = false;
        if mark.price_micro_eur != price(site) {
            mark.price_micro_eur = price(site);
            mark.edition += 1;
            for node in site.nodes.values() {
                self.touch_node(*node);
            }
        }
        self.log_site(id);
        self.wake = TimeMs(i64::MIN);
    }

    fn sync_node(&mut self, world: &World, id: NodeId) {
        let node = world.node(id);
        let place = &mut self.places[id.index()];
        let touched = std::mem::replace(&mut place.touched, Touched::No);
        let mut free = node.free();
        if place.taken != NOWHERE {
            free -= &self.taken[place.taken as usize].1;
        }
        let same = place.free == free && place.capacity == node.report.capacity;
        place.free = free;
        place.capacity = node.report.capacity;
        place.site = node.site;
        let seat = place.seat;
        if touched == Touched::Report && !takes_tasks(world.site(node.site), node) {
            self.unseat(id);
            return;
        }
        if touched == Touched::Report {
            let site = world.site(node.site);
            let downtimes = site.downtimes_of(node);
            let windows = downtimes.map(|downtime| (downtime.from, downtime.until));
            let windows = self.cells.windows(windows.collect());
            let standing = Standing {
                site: site.id,
                edition: self.sites[site.id.index()].edition,
                timed: site.spec.contract.is_some() || windows > 0,
                windows,
                price: (world.policy().score_price * price_milli_eur(site)) as u32,
            };
            let tenancy = self.isolating.then(|| {
                let taken = self.kernels.get(&node.kernel).copied();
                taken.unwrap_or_else(|| world.tenancy(node))
            });
            let cell = self.cells.find(standing, &node.report, tenancy);
            let stays = seat != NOWHERE && self.cells.blocks[block_of(seat)].cell == cell;
            if !stays {
                self.unseat(id);
                self.places[id.index()].seat = self.cells.seat(cell, id.0);
                self.show(id);
                return;
            }
        }
        if !same {
            self.show(id);
        }
    }

    fn unseat(&mut self, id: NodeId) {
        let place = &mut self.places[id.index()];
        let seat = std::mem::replace(&mut place.seat, NOWHERE);
        if seat != NOWHERE {
            self.log.strike(place.logged);
            place.logged = u64::MAX;
            self.cells.vacate(seat);
        }
    }
}

/// When a site takes what it refused before, without an event.
fn opens(site: &Site) -> impl Iterator<Item = TimeMs> + use<> {
    let start = site.spec.contract.map(|contract| contract.start);
    start.into_iter().chain([site.quarantined_until])
}

fn price(site: &Site) -> Option<i64> {
    let contract = site.spec.contract.as_ref();
    contract.map(|contract| contract.price_micro_eur_per_core_hour)
}

fn log_max(nodes: usize) -> usize {
    (nodes / LOG_PART).max(LOG_MIN)
}

/// Keys of labels whose values have few nodes each at their sites.
fn spread(world: &World) -> BTreeSet<String> {
    // Per key: nodes that have it, and how often it tells nodes of a site apart.
    let mut keys: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for site in world.sites() {
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for node in site.nodes.values() {
            for (key, value) in &world.node(*node).report.labels {
                keys.entry(key).or_default().0 += 1;
                values.entry(key).or_default().insert(value);
            }
        }
        for (key, values) in values {
            keys.entry(key).or_default().1 += values.len() - 1;
        }
    }
    let is_spread =
        |(nodes, apart): &(usize, usize)| *apart >= VALUES_MAX && *apart * NODES_PER_VALUE > *nodes;
    let spread = keys.into_iter().filter(|(_, counts)| is_spread(counts));
    spread.map(|(key, _)| key.to_string()).collect()
}
