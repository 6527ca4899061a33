//! The node index: the best node for a class without looking at all nodes.
//!
//! The rule it keeps: [`NodeIndex::best`] is the node that a scan with
//! [`crate::round::feasible`] and [`crate::round::score`] would find, the least
//! score and then the least id, over the World's room less what was taken
//! tentatively, without the masked nodes. The answer depends on these alone, never
//! on what the index was asked before. Why nothing was found is not said here:
//! [`crate::round::explain`] computes that on demand.
//!
//! How: nodes that are alike stand together in [`cells`], in [`block`]s of 64 with
//! their room in columns; each change is written to a bounded [`log`]; each class
//! keeps a lower bound for each block ([`memo`]), lowered by reading the log on and
//! raised when a block is looked at. Bounds come from rounded numbers; the node that
//! is returned was checked on the true amounts. So a placement costs in
//! proportion to what changed since the class was last asked for, and a class that
//! found nothing costs nothing until something is freed that it could use.
//!
//! It is a cache of the World, not a part of it: left out when the World is written,
//! equal to every other, empty in a clone, and built when first asked. The
//! World says what it changes ([`NodeIndex::touch_node`] and its siblings); what
//! changed is read again at the next question.

mod block;
mod cells;
mod log;
mod memo;
mod minima;
mod search;
mod shape;
mod sync;

use crate::ids::{ClassId, KernelId, NodeId, SiteId};
use crate::isolation::Tenancy;
use crate::resources::Resources;
use crate::time::TimeMs;
use crate::world::World;
use block::Weights;
use cells::{Cells, block_of, lane_of};
use log::{Entry, Log};
use memo::Memo;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What classes may remember together; beyond it, those asked longest ago forget.
const MEMOS_BYTES_MAX: usize = 256 << 20;
/// No place, no position.
const NOWHERE: u32 = u32::MAX;

/// See the module.
#[derive(Default)]
pub struct NodeIndex {
    built: bool,
    weights: Weights,
    cells: Cells,
    kinds_built: usize,
    nodes_built: usize,
    places: Vec<Place>,
    sites: Vec<Mark>,
    log: Log,
    memos: Vec<Option<Box<Memo>>>,
    memos_bytes: usize,
    taken: Vec<(NodeId, Resources)>,
    masked: BTreeSet<NodeId>,
    /// Who uses kernels because of what was taken, where that is not as in the World.
    kernels: BTreeMap<KernelId, Tenancy>,
    /// The nodes of those kernels.
    kernels_of: BTreeSet<NodeId>,
    /// Who uses which kernel matters.
    isolating: bool,
    touched_nodes: Vec<NodeId>,
    touched_sites: Vec<SiteId>,
    /// The time of the last question.
    seen: TimeMs,
    /// When a site next opens by itself.
    wake: TimeMs,
}

/// What the index knows of a node.
#[derive(Debug, Clone)]
struct Place {
    /// What the World has left, less what is taken.
    free: Resources,
    capacity: Resources,
    /// Position of its last entry in the log.
    logged: u64,
    seat: u32,
    /// Its place among the taken.
    taken: u32,
    site: SiteId,
    touched: Touched,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    No,
    Room,
    Report,
}

/// What the index knows of a site.
#[derive(Debug, Clone)]
struct Mark {
    /// Of its contract.
    price_micro_eur: Option<i64>,
    edition: u32,
    taken_micro_eur: i64,
    /// Position of its last entry in the log.
    logged: u64,
    touched: bool,
}

impl NodeIndex {
    /// The best node for a class: the least score, then the least id. `None` if no
    /// node takes it now.
    ///
    /// # Panics
    /// If no job in memory has the class.
    pub fn best(&mut self, world: &World, now: TimeMs, class: ClassId) -> Option<NodeId> {
        self.refresh(world);
        self.move_on(world, now);
        self.search(world, now, class)
    }

    /// Where the log of changes ends now. While a later call answers the same, whatever
    /// failed before fails still, and no class need be asked.
    pub fn position(&mut self, world: &World, now: TimeMs) -> u64 {
        self.refresh(world);
        self.move_on(world, now);
        self.log.end()
    }

    /// True if it is known without looking that no node takes the class now: it
    /// was asked for, and nothing has changed since.
    pub fn fails(&mut self, world: &World, now: TimeMs, class: ClassId) -> bool {
        self.refresh(world);
        self.move_on(world, now);
        let memo = self.memos.get(class.index()).and_then(Option::as_ref);
        let needs = world.classes().needs(class);
        memo.is_some_and(|memo| {
            memo.position == self.log.end() && memo.least().is_none() && memo.needs == *needs
        })
    }

    /// Takes room of a node, and of its site's budget, until [`NodeIndex::settle`].
    pub fn take(&mut self, world: &World, node: NodeId, amounts: &Resources, cost_micro_eur: i64) {
        self.change_taken(world, node, cost_micro_eur, |taken| *taken += amounts);
    }

    /// Gives back room, taken before or held by what is to end, until
    /// [`NodeIndex::settle`].
    ///
    /// # Panics
    /// If the node had more than its capacity then.
    pub fn give(&mut self, world: &World, node: NodeId, amounts: &Resources, cost_micro_eur: i64) {
        self.change_taken(world, node, -cost_micro_eur, |taken| *taken -= amounts);
        let place = &self.places[node.index()];
        assert!(
            place.seat == NOWHERE || place.free.smaller(&place.capacity) == place.free,
            "{node}: more was given back than is held"
        );
    }

    /// Who uses a kernel because of what is taken, until [`NodeIndex::settle`]; `None`: as
    /// in the World.
    pub fn use_kernel(&mut self, world: &World, kernel: KernelId, tenancy: Option<Tenancy>) {
        self.refresh(world);
        if !self.isolating {
            return;
        }
        let before = match tenancy {
            Some(tenancy) => self.kernels.insert(kernel, tenancy),
            None => self.kernels.remove(&kernel),
        };
        if before != tenancy {
            let nodes = world.kernels().kernel(kernel).nodes();
            nodes.iter().for_each(|node| self.touch_node(*node));
            self.kernels_of.extend(nodes);
        }
    }

    /// The room of a node: the World's, less what is taken.
    pub fn free(&mut self, world: &World, node: NodeId) -> Resources {
        self.refresh(world);
        self.places[node.index()].free
    }

    /// Drops all that was taken or given tentatively, and all masks. Where the World has
    /// come to the same meanwhile, nothing changes.
    pub fn settle(&mut self) {
        for node in std::mem::take(&mut self.masked) {
            self.show(node);
        }
        for (node, _) in std::mem::take(&mut self.taken) {
            self.places[node.index()].taken = NOWHERE;
            self.touch_room(node);
        }
        self.kernels.clear();
        for node in std::mem::take(&mut self.kernels_of) {
            self.touch_node(node);
        }
        for site in (0..self.sites.len() as u32).map(SiteId) {
            if self.sites[site.index()].taken_micro_eur != 0 {
                self.sites[site.index()].taken_micro_eur = 0;
                self.touch_site(site);
            }
        }
    }

    /// Keeps a node from being found until [`NodeIndex::unmask`] or
    /// [`NodeIndex::settle`].
    pub fn mask(&mut self, world: &World, node: NodeId) {
        self.refresh(world);
        if self.masked.insert(node) {
            self.show(node);
        }
    }

    /// Lets a masked node be found again.
    pub fn unmask(&mut self, world: &World, node: NodeId) {
        self.refresh(world);
        if self.masked.remove(&node) {
            self.show(node);
        }
    }

    /// Nothing that the index knows holds any more, as after a change of the policy.
    pub fn clear(&mut self) {
        self.built = false;
    }

    /// What is held on a node has changed.
    pub fn touch_room(&mut self, node: NodeId) {
        self.touch(node, Touched::Room);
    }

    /// A node was added, or reported anew, or is gone.
    pub fn touch_node(&mut self, node: NodeId) {
        self.touch(node, Touched::Report);
    }

    /// A site's session, standing, contract or costs have changed.
    pub fn touch_site(&mut self, site: SiteId) {
        if !self.built {
            return;
        }
        if site.index() >= self.sites.len() {
            self.sites.resize(site.index() + 1, Mark::default());
        }
        let mark = &mut self.sites[site.index()];
        if !std::mem::replace(&mut mark.touched, true) {
            self.touched_sites.push(site);
        }
    }

    /// No job has the class any more.
    pub fn forget_class(&mut self, class: ClassId) {
        let memo = self.memos.get_mut(class.index());
        if let Some(memo) = memo.and_then(Option::take) {
            self.memos_bytes -= memo.size_bytes();
        }
    }

    /// Bytes held, those of names and labels apart.
    pub fn size_bytes(&self) -> usize {
        let places = self.places.capacity() * size_of::<Place>();
        self.memos_bytes + self.cells.size_bytes() + self.log.size_bytes() + places
    }

    fn touch(&mut self, node: NodeId, how: Touched) {
        if !self.built {
            return;
        }
        if node.index() >= self.places.len() {
            self.places.resize(node.index() + 1, Place::default());
        }
        let place = &mut self.places[node.index()];
        if place.touched == Touched::No {
            self.touched_nodes.push(node);
        }
        place.touched = place.touched.max(how);
    }

    fn change_taken(
        &mut self,
        world: &World,
        node: NodeId,
        cost_micro_eur: i64,
        change: impl Fn(&mut Resources),
    ) {
        self.refresh(world);
        let place = &mut self.places[node.index()];
        if place.taken == NOWHERE {
            place.taken = self.taken.len() as u32;
            self.taken.push((node, Resources::ZERO));
        }
        let taken = &mut self.taken[place.taken as usize].1;
        change(taken);
        place.free = world.node(node).free().minus(taken);
        let site = place.site;
        self.sites[site.index()].taken_micro_eur += cost_micro_eur;
        if cost_micro_eur < 0 {
            self.log_site(site);
        }
        self.show(node);
    }

    /// Writes a node's room to its block and to the log, if it has a seat.
    fn show(&mut self, node: NodeId) {
        let place = &mut self.places[node.index()];
        if place.seat == NOWHERE {
            return;
        }
        let id = block_of(place.seat);
        let cell = self.cells.blocks[id].cell;
        let room = self.cells.room(cell, &place.capacity, &place.free);
        let open = !self.masked.contains(&node);
        let block = &mut self.cells.blocks[id];
        block.set_room(lane_of(place.seat), &room);
        block.set_open(lane_of(place.seat), open);
        self.log.strike(place.logged);
        place.logged = u64::MAX;
        if open {
            place.logged = self.log.push(Entry::Node {
                node: node.0,
                block: id as u32,
                cell,
                shape: self.cells.cells[cell as usize].shape,
                room,
            });
        }
    }

    fn log_site(&mut self, site: SiteId) {
        let mark = &mut self.sites[site.index()];
        self.log.strike(mark.logged);
        mark.logged = self.log.push(Entry::Site(site.0));
    }
}

impl Default for Place {
    fn default() -> Self {
        Place {
            free: Resources::ZERO,
            capacity: Resources::ZERO,
            logged: u64::MAX,
            seat: NOWHERE,
            taken: NOWHERE,
            site: SiteId(0),
            touched: Touched::No,
        }
    }
}

impl Default for Mark {
    fn default() -> Self {
        Mark {
            price_micro_eur: None,
            edition: 0,
            taken_micro_eur: 0,
            logged: u64::MAX,
            touched: false,
        }
    }
}

/// A clone builds its own when it is asked.
impl Clone for NodeIndex {
    fn clone(&self) -> Self {
        NodeIndex::default()
    }
}

/// A cache says nothing of its own.
impl PartialEq for NodeIndex {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for NodeIndex {}

impl fmt::Debug for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeIndex")
            .field("built", &self.built)
            .field("nodes", &self.places.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
