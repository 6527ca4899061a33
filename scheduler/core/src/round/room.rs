//! Where there is room now: the World's nodes, less what the round has taken, less what
//! it keeps for reservations.

use super::feasible::{Taken, latest_end, longest_ms, refusal, takes_tasks, will_take};
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
    placed: Sparse<Vec<(TimeMs, Resources)>>,
    /// Nodes with room that is kept.
    pub kept: BTreeMap<NodeId, Kept>,
    /// Tasks that the round takes their places away from.
    pub victims: BTreeSet<TaskId>,
    /// Classes of which no node without kept room takes a task any more.
    failed: BTreeMap<ClassId, WaitingReason>,
    /// Classes of gangs for which there is not enough room any more.
    failed_gangs: BTreeMap<(QueueId, ClassId), WaitingReason>,
}

/// Room that is kept on a node.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// For whom.
    pub owner: Work,
    /// How much.
    pub need: Resources,
    /// From when on it is needed.
    pub until: TimeMs,
    /// What is free then beside it; others may have that for longer.
    pub spare: Resources,
    /// It is being freed by preemption.
    pub freed: bool,
}

/// Where the tasks of some work go.
pub type Found = Vec<NodeId>;

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
            let open = takes_tasks(site, node) && site.closed.is_none();
            let open = open && site.health.quarantine.is_none();
            if open && site.counts(self.now) {
                free += &self.taken.free(node).larger(&Resources::ZERO);
            }
        }
        free
    }

    /// Takes places for all tasks of a head, if there is room for all.
    ///
    /// # Errors
    /// Why there is not.
    pub fn find(&mut self, order: &Order<'_>, head: &Head) -> Result<Found, WaitingReason> {
        if let Some(reason) = self.failed_gangs.get(&(head.leaf, head.class)) {
            return Err(*reason);
        }
        let gang = self.world.classes().gang(head.class);
        let found = match &gang.within {
            None => self.find_among(order, head, gang.size, None),
            Some(within) => self.find_within(order, head, gang.size, within),
        };
        if let Err(reason) = found
            && gang.size > 1
        {
            self.failed_gangs.insert((head.leaf, head.class), reason);
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
        let found = self.find(order, &head)?;
        let needs = self.world.classes().needs(class);
        found
            .into_iter()
            .rev()
            .for_each(|node| self.give(needs, node));
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
    ) -> Result<Found, WaitingReason> {
        let needs = self.world.classes().needs(head.class);
        let mut rooms: BTreeMap<Group, i64> = BTreeMap::new();
        let mut closest = WaitingReason::NoNodes;
        for node in self.world.nodes() {
            match (
                group_of(node, within),
                refusal(self.world, self.now, &self.taken, needs, node),
            ) {
                (Some(group), None) => {
                    let places = needs.resources.times_in(&self.taken.free(node));
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
                let places = needs.resources.times_in(&self.taken.free(node));
                let room = rooms.entry(group.flatten()).or_default();
                *room = room.saturating_add(places);
            }
        }
        rooms.into_values().max().unwrap_or(0)
    }

    fn find_among(
        &mut self,
        order: &Order<'_>,
        head: &Head,
        size: u32,
        inside: Option<&dyn Fn(&Node) -> bool>,
    ) -> Result<Found, WaitingReason> {
        let work = Work {
            leaf: head.leaf,
            cost: order.cost(head),
        };
        let needs = self.world.classes().needs(head.class);
        let mut found = Vec::with_capacity(size as usize);
        for _ in 0..size {
            match self.pick(order, &work, head.class, inside) {
                Ok(node) => {
                    self.take(needs, node);
                    found.push(node);
                }
                Err(reason) => {
                    let some = !found.is_empty();
                    found
                        .into_iter()
                        .rev()
                        .for_each(|node| self.give(needs, node));
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

    /// True if there is room for a head now.
    pub fn has_room_for(&mut self, order: &Order<'_>, head: &Head) -> bool {
        self.probe(order, head.leaf, head.class).is_ok()
    }

    /// True if a node takes a task now, whatever room is kept there.
    pub fn has_room(&self, needs: &Needs, node: NodeId) -> bool {
        let node = self.world.node(node);
        refusal(self.world, self.now, &self.taken, needs, node).is_none()
    }

    /// True if a task that fits on a node does not delay what room is kept for there.
    fn passes(
        &self,
        order: &Order<'_>,
        work: &Work,
        needs: &Needs,
        node: &Node,
        kept: &Kept,
    ) -> bool {
        if kept.freed {
            return needs.resources.fits_in(&self.beside_freed(node, kept));
        }
        order.ignores(work, &kept.owner)
            || self.now + longest_ms(self.world, needs, node) <= kept.until
            || needs.resources.fits_in(&kept.spare)
    }

    /// What of a node's free room is left over once those who are on their way out
    /// have made room for whom it is freed.
    pub fn beside_freed(&self, node: &Node, kept: &Kept) -> Resources {
        let free = self.taken.free(node);
        let then = free.plus(&self.leaving(node)).minus(&kept.need);
        free.smaller(&then).larger(&Resources::ZERO)
    }

    /// What those hold on a node who were told to end.
    pub fn leaving(&self, node: &Node) -> Resources {
        let mut leaving = Resources::ZERO;
        for task in &node.tasks {
            let job = &self.world.jobs()[&task.job];
            if job.tasks.active[&task.index].is_stopping() || self.victims.contains(task) {
                leaving += job.resources_of(task.index);
            }
        }
        leaving
    }

    /// Keeps room on a node; what is being freed there for others stays kept as well.
    pub fn keep(&mut self, node: NodeId, kept: Kept) {
        if let Some(index) = &mut self.index {
            index.mask(self.world, node);
        }
        let entry = self.kept.entry(node);
        let entry = entry.or_insert(Kept {
            need: Resources::ZERO,
            ..kept
        });
        *entry = Kept {
            need: if kept.freed {
                entry.need.plus(&kept.need)
            } else {
                kept.need
            },
            ..kept
        };
    }

    /// Keeps so much less room on a node.
    pub fn open(&mut self, node: NodeId, need: &Resources) {
        if let Some(kept) = self.kept.get_mut(&node) {
            kept.need -= need;
            if !kept.freed || kept.need.is_zero() {
                self.kept.remove(&node);
                if let Some(index) = &mut self.index {
                    index.unmask(self.world, node);
                }
            }
        }
    }

    /// What will be free on a node for a claimant once those who were told to end are
    /// gone, and those are served for whom they were.
    pub fn soon_free(&self, node: &Node) -> Resources {
        let free = self.taken.free(node).plus(&self.leaving(node));
        match self.kept.get(&node.id) {
            Some(kept) if kept.freed => free.minus(&kept.need),
            _ => free,
        }
    }

    /// A task with these needs gets a place on a node.
    pub fn take(&mut self, needs: &Needs, id: NodeId) {
        let node = self.world.node(id);
        let cost = self.taken.take(self.world, needs, node);
        if let Some(index) = &mut self.index {
            index.take(self.world, id, &needs.resources, cost);
        }
        let end = self.now + longest_ms(self.world, needs, node);
        self.placed_on(id).push((end, needs.resources));
        if let Some(kept) = self.kept.get_mut(&id)
            && end > kept.until
        {
            kept.spare -= &needs.resources;
        }
    }

    /// Undoes the last [`Room::take`] of a node.
    pub fn give(&mut self, needs: &Needs, id: NodeId) {
        let node = self.world.node(id);
        let cost = self.taken.give(self.world, needs, node);
        if let Some(index) = &mut self.index {
            index.give(self.world, id, &needs.resources, cost);
        }
        let last = self.placed_on(id).pop();
        if let (Some(kept), Some((end, _))) = (self.kept.get_mut(&id), last)
            && end > kept.until
        {
            kept.spare += &needs.resources;
        }
    }

    fn placed_on(&mut self, node: NodeId) -> &mut Vec<(TimeMs, Resources)> {
        self.placed.entry(node.index(), Vec::new)
    }

    /// Room has come back: what did not fit may fit again.
    pub fn forget_failed(&mut self) {
        self.failed.clear();
        self.failed_gangs.clear();
    }

    /// When a node will have room for `need`, by the walltime limits of what runs
    /// there, and what is free on it then; `None` if never.
    pub fn earliest(
        &self,
        needs: &Needs,
        need: &Resources,
        id: NodeId,
    ) -> Option<(TimeMs, Resources)> {
        let node = self.world.node(id);
        if !will_take(self.world, self.now, &self.taken, needs, node) {
            return None;
        }
        let mut free = self.taken.free(node);
        if need.fits_in(&free) {
            return Some((self.now, free));
        }
        if !need.fits_in(&node.report.capacity) {
            return None;
        }
        for (end, resources) in self.ends(node) {
            free += &resources;
            if need.fits_in(&free) {
                return Some((end, free));
            }
        }
        None
    }

    /// What is free on a node at a time.
    pub fn free_at(&self, id: NodeId, at: TimeMs) -> Resources {
        let node = self.world.node(id);
        let ends = self.ends(node).into_iter().filter(|(end, _)| *end <= at);
        ends.fold(self.taken.free(node), |free, (_, resources)| {
            free.plus(&resources)
        })
    }

    /// What runs on a node, by when it ends at the latest.
    fn ends(&self, node: &Node) -> Vec<(TimeMs, Resources)> {
        self.ends_with(node, self.world.policy().grace_ms)
    }

    /// The same, where what was told to end is taken to be gone after so long.
    pub(super) fn ends_with(&self, node: &Node, grace_ms: i64) -> Vec<(TimeMs, Resources)> {
        let of = |task: &TaskId| {
            let stays = !self.victims.contains(task);
            let end = latest_end(self.world, node, task).filter(|_| stays);
            let end = end.unwrap_or(self.now + grace_ms).max(self.now + 1);
            (end, *self.world.jobs()[&task.job].resources_of(task.index))
        };
        let mut ends: Vec<(TimeMs, Resources)> = node.tasks.iter().map(of).collect();
        ends.extend(self.placed.get(node.id.index()).into_iter().flatten());
        ends.sort();
        ends
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
