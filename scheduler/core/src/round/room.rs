//! Where there is room now: the World's nodes, less what the round has taken, less what
//! it keeps for reservations.

mod ahead;
mod kept;

pub use kept::Kept;

use super::feasible::{Taken, Took, longest_ms, refusal, site_refusal, takes_tasks};
use super::order::{Head, Order};
use super::score::{best_node, score};
use crate::ids::{ClassId, JobId, NodeId, QueueId, TaskId};
use crate::index::NodeIndex;
use crate::reason::{Refusal, WaitingReason};
use crate::resources::{DIMENSIONS, Resources};
use crate::round::barrier::Work;
use crate::site::Node;
use crate::sparse::Sparse;
use crate::spec::{Needs, Within};
use crate::time::TimeMs;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// The nodes as a round sees them.
pub struct Room<'w> {
    world: &'w World,
    now: TimeMs,
    /// Finds nodes without a scan; a room that is only looked at has none.
    index: Option<&'w mut NodeIndex>,
    /// What the round gives away.
    pub taken: Taken,
    /// What it has given away on each node, and until when by the walltime limits.
    placed: Sparse<Vec<Placed>>,
    /// Nodes with room that is kept.
    pub kept: BTreeMap<NodeId, Kept>,
    /// Tasks that the round takes their places away from.
    victims: BTreeSet<TaskId>,
    /// What those hold on each node.
    preempted: BTreeMap<NodeId, Resources>,
    /// Classes of which no node without kept room takes a task any more.
    failed: BTreeMap<ClassId, WaitingReason>,
    /// Classes of gangs for which there is not enough room any more.
    failed_gangs: BTreeMap<(QueueId, ClassId), WaitingReason>,
}

/// What a round has given away on a node.
#[derive(Debug, Clone, Copy)]
struct Placed {
    until: TimeMs,
    amounts: Resources,
    alone: bool,
}

/// Where a task goes, and what it takes there.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Where.
    pub node: NodeId,
    /// What.
    pub took: Took,
}

impl<'w> Room<'w> {
    /// The room at the start of a round.
    pub fn indexed(world: &'w World, now: TimeMs, index: &'w mut NodeIndex) -> Self {
        Room {
            index: Some(index),
            ..Room::new(world, now)
        }
    }

    /// The room as it is, to be looked at: every question costs a scan, and says why
    /// there is none.
    pub fn new(world: &'w World, now: TimeMs) -> Self {
        Room {
            world,
            now,
            index: None,
            taken: Taken::default(),
            placed: Sparse::default(),
            kept: BTreeMap::new(),
            victims: BTreeSet::new(),
            preempted: BTreeMap::new(),
            failed: BTreeMap::new(),
            failed_gangs: BTreeMap::new(),
        }
    }

    /// What is free on a node now.
    pub fn free(&self, node: NodeId) -> Resources {
        self.taken.free(self.world.node(node))
    }

    /// What is free now on all nodes that take new tasks.
    pub fn free_in_all(&self) -> Resources {
        let mut free = Resources::ZERO;
        for node in self.world.nodes() {
            let site = self.world.site(node.site);
            let open = site_refusal(self.now, site).is_none() && takes_tasks(site, node);
            if open && site.counts(self.now) && !site.is_down(node, self.now) {
                free += &self.taken.free(node).larger(&Resources::ZERO);
            }
        }
        free
    }

    /// Takes places for all tasks of a head, if there is room for all.
    ///
    /// # Errors
    /// Why there is not.
    pub fn find(&mut self, order: &Order<'_>, head: &Head) -> Result<Vec<Found>, WaitingReason> {
        if let Some(reason) = self.failed_gangs.get(&(head.leaf, head.class)) {
            return Err(*reason);
        }
        let gang = self.world.classes().gang(head.class);
        let found = match &gang.within {
            None => self.find_among(order, head, gang.size, None),
            Some(within) => self.find_within(order, head, gang.size, within),
        };
        if let Err(reason) = &found
            && gang.size > 1
        {
            self.failed_gangs.insert((head.leaf, head.class), *reason);
        }
        found
    }

    /// Whether there is room for all tasks of a class that go at once; takes nothing.
    ///
    /// # Errors
    /// Why there is not.
    pub fn probe(
        &mut self,
        order: &Order<'_>,
        leaf: QueueId,
        class: ClassId,
    ) -> Result<(), WaitingReason> {
        let head = Head {
            leaf,
            job: JobId(0),
            class,
        };
        self.find(order, &head)?
            .into_iter()
            .rev()
            .for_each(|found| self.give(&found));
        Ok(())
    }

    /// Of the groups of nodes that have something in common, the one with least room
    /// that still has enough.
    fn find_within(
        &mut self,
        order: &Order<'_>,
        head: &Head,
        size: u32,
        within: &Within,
    ) -> Result<Vec<Found>, WaitingReason> {
        let needs = self.world.classes().needs(head.class);
        let mut rooms: BTreeMap<Group, i64> = BTreeMap::new();
        let mut closest = WaitingReason::NoNodes;
        for node in self.world.nodes() {
            match (
                group_of(node, within),
                refusal(self.world, self.now, &self.taken, needs, node),
            ) {
                (Some(group), None) => {
                    let places = self.places_on(needs, node);
                    let room = rooms.entry(group).or_default();
                    *room = room.saturating_add(places);
                }
                (Some(_), Some(cause)) => closest = closest.closer(WaitingReason::Refused(cause)),
                (None, _) => {}
            }
        }
        let mut groups: Vec<(i64, Group)> = rooms
            .into_iter()
            .map(|(group, places)| (places, group))
            .collect();
        groups.retain(|(places, _)| *places >= i64::from(size));
        groups.sort();
        for (_, group) in groups {
            let inside = |node: &Node| group_of(node, within).as_ref() == Some(&group);
            if let Ok(found) = self.find_among(order, head, size, Some(&inside)) {
                return Ok(found);
            }
        }
        Err(closest.closer(WaitingReason::Gang))
    }

    /// For how many tasks of a class there are places now: in all, or in the one group
    /// of nodes that has most.
    pub fn places(&self, class: ClassId) -> i64 {
        let needs = self.world.classes().needs(class);
        let within = &self.world.classes().gang(class).within;
        let mut rooms: BTreeMap<Option<Group>, i64> = BTreeMap::new();
        for node in self.world.nodes() {
            let group = within.as_ref().map(|within| group_of(node, within));
            let lacks_label = matches!(group, Some(None));
            if !lacks_label && refusal(self.world, self.now, &self.taken, needs, node).is_none() {
                let places = self.places_on(needs, node);
                let room = rooms.entry(group.flatten()).or_default();
                *room = room.saturating_add(places);
            }
        }
        rooms.into_values().max().unwrap_or(0)
    }

    /// For how many tasks a node has room that takes them.
    fn places_on(&self, needs: &Needs, node: &Node) -> i64 {
        let amounts = self.taken.amounts(self.world, needs, node);
        amounts.times_in(&self.taken.free(node))
    }

    fn find_among(
        &mut self,
        order: &Order<'_>,
        head: &Head,
        size: u32,
        inside: Option<&dyn Fn(&Node) -> bool>,
    ) -> Result<Vec<Found>, WaitingReason> {
        let work = Work {
            leaf: head.leaf,
            cost: order.cost(head),
        };
        let needs = self.world.classes().needs(head.class);
        let mut found: Vec<Found> = Vec::with_capacity(size as usize);
        for _ in 0..size {
            match self.pick(order, &work, head.class, inside) {
                Ok(node) => found.push(self.take(needs, head.leaf, node)),
                Err(reason) => {
                    let some = !found.is_empty();
                    found.iter().rev().for_each(|found| self.give(found));
                    return Err(if some { WaitingReason::Gang } else { reason });
                }
            }
        }
        Ok(found)
    }

    /// The best node for one task, with regard to room that is kept.
    fn pick(
        &mut self,
        order: &Order<'_>,
        work: &Work,
        class: ClassId,
        inside: Option<&dyn Fn(&Node) -> bool>,
    ) -> Result<NodeId, WaitingReason> {
        let needs = self.world.classes().needs(class);
        let free = self.pick_open(class, inside);
        if self.kept.is_empty() {
            return free;
        }
        let passes = |(id, kept): (&NodeId, &Kept)| {
            let node = self.world.node(*id);
            let fits = refusal(self.world, self.now, &self.taken, needs, node).is_none();
            let fits = fits && inside.is_none_or(|inside| inside(node));
            (fits && self.passes(order, work, needs, node, kept)).then_some(*id)
        };
        let beside: Vec<NodeId> = self.kept.iter().filter_map(passes).collect();
        let all = beside.into_iter().chain(free.ok());
        let scored = all.map(|id| {
            (
                score(self.world, &self.taken, needs, self.world.node(id)),
                id,
            )
        });
        match (scored.min(), free) {
            (Some((_, node)), _) | (None, Ok(node)) => Ok(node),
            (None, Err(reason)) => Err(reason),
        }
    }

    /// The best node for one task among those with no kept room; room only shrinks, so
    /// what failed once fails again.
    pub fn pick_open(
        &mut self,
        class: ClassId,
        inside: Option<&dyn Fn(&Node) -> bool>,
    ) -> Result<NodeId, WaitingReason> {
        if let Some(reason) = self.failed.get(&class) {
            return Err(*reason);
        }
        if let (Some(index), None) = (&mut self.index, inside) {
            let picked = index.best(self.world, self.now, class);
            // Why not is not asked in a round.
            let reason = WaitingReason::Refused(Refusal::Busy);
            if picked.is_none() {
                self.failed.insert(class, reason);
            }
            return picked.ok_or(reason);
        }
        let needs = self.world.classes().needs(class);
        let open = |node: &Node| {
            !self.kept.contains_key(&node.id) && inside.is_none_or(|inside| inside(node))
        };
        let picked = best_node(self.world, self.now, &self.taken, needs, open);
        if let (Err(reason), None) = (picked, inside) {
            self.failed.insert(class, reason);
        }
        picked
    }

    /// Nodes for tasks of a head, one entry a task, for as many as there is room now;
    /// takes nothing.
    pub fn some_places(
        &mut self,
        order: &Order<'_>,
        head: &Head,
        inside: Option<&dyn Fn(&Node) -> bool>,
    ) -> Vec<NodeId> {
        let work = Work {
            leaf: head.leaf,
            cost: order.cost(head),
        };
        let needs = self.world.classes().needs(head.class);
        let size = self.world.classes().gang(head.class).size as usize;
        if size > 1 {
            // What failed may have done so beside others of the gang.
            self.failed.remove(&head.class);
        }
        let mut found = Vec::new();
        while found.len() < size
            && let Ok(node) = self.pick(order, &work, head.class, inside)
        {
            found.push(self.take(needs, head.leaf, node));
        }
        for found in found.iter().rev() {
            self.give(found);
            self.failed.remove(&head.class);
        }
        found.iter().map(|found| found.node).collect()
    }

    /// True if there is room for a head now.
    pub fn has_room_for(&mut self, order: &Order<'_>, head: &Head) -> bool {
        self.probe(order, head.leaf, head.class).is_ok()
    }

    /// True if a node takes a task now, whatever room is kept there.
    pub fn has_room(&self, needs: &Needs, node: NodeId) -> bool {
        let node = self.world.node(node);
        refusal(self.world, self.now, &self.taken, needs, node).is_none()
    }

    /// A task of a leaf with these needs gets a place on a node.
    pub fn take(&mut self, needs: &Needs, leaf: QueueId, id: NodeId) -> Found {
        let node = self.world.node(id);
        let tenant = self.world.queues().queue(leaf).tenant;
        let took = self.taken.take(self.world, needs, tenant, node);
        if let Some(index) = &mut self.index {
            index.take(self.world, id, &took.amounts, took.cost_micro_eur);
            index.use_kernel(self.world, node.kernel, self.taken.changed_tenancy(node));
        }
        let until = self.now + longest_ms(self.world, needs, node);
        let (amounts, alone) = (took.amounts, took.choice.way.alone);
        self.placed_on(id).push(Placed {
            until,
            amounts,
            alone,
        });
        if let Some(kept) = self.kept.get_mut(&id)
            && until > kept.until
        {
            kept.spare -= &took.amounts;
        }
        Found { node: id, took }
    }

    /// Undoes the last [`Room::take`] of a node.
    pub fn give(&mut self, found: &Found) {
        let Found { node: id, took } = found;
        let node = self.world.node(*id);
        self.taken.give(node, took);
        if let Some(index) = &mut self.index {
            index.give(self.world, *id, &took.amounts, took.cost_micro_eur);
            index.use_kernel(self.world, node.kernel, self.taken.changed_tenancy(node));
        }
        let last = self.placed_on(*id).pop();
        if let (Some(kept), Some(last)) = (self.kept.get_mut(id), last)
            && last.until > kept.until
        {
            kept.spare += &last.amounts;
        }
    }

    fn placed_on(&mut self, node: NodeId) -> &mut Vec<Placed> {
        self.placed.entry(node.index(), Vec::new)
    }

    /// Room has come back: what did not fit may fit again.
    pub fn forget_failed(&mut self) {
        self.failed.clear();
        self.failed_gangs.clear();
    }

    /// The smallest amount of each resource that anything waiting asks for.
    pub fn least_asked(&self) -> Resources {
        let mut least = Resources::ZERO;
        let queues = self.world.queues().iter();
        let classes: BTreeSet<ClassId> = queues
            .flat_map(|queue| queue.pending.keys().copied())
            .collect();
        for class in classes {
            let cost = self.world.classes().needs(class).resources;
            for d in (0..DIMENSIONS).filter(|d| cost[*d] > 0) {
                let lower = least[d] == 0 || cost[d] < least[d];
                least[d] = if lower { cost[d] } else { least[d] };
            }
        }
        least
    }
}

/// What nodes have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group(crate::ids::SiteId, String);

/// The group of a node; `None` where it lacks the label.
pub fn group_of(node: &Node, within: &Within) -> Option<Group> {
    if !node.is_known() {
        return None;
    }
    match within {
        Within::Site => Some(Group(node.site, String::new())),
        Within::Cluster => Some(Group(node.site, node.report.cluster.clone())),
        Within::Label(key) => {
            let value = node.report.labels.get(key)?;
            Some(Group(crate::ids::SiteId(0), value.clone()))
        }
    }
}
