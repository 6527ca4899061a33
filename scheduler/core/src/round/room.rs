//! Where there is room now: the World's nodes, less what the round has taken, less what
//! it keeps for reservations.

use super::feasible::{
    Taken, Took, ends_in_time, latest_end, longest_ms, refusal, takes_tasks, will_take,
};
use super::order::{Head, Order};
use super::score::{best_node, score};
use crate::ids::{ClassId, JobId, NodeId, QueueId, TaskId};
use crate::index::NodeIndex;
use crate::isolation::{Tenancy, choose, whole};
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

/// Whether work keeps those away from a kernel for whom room is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoils {
    Never,
    WhileItRuns,
    /// Until the kernel boots again.
    Always,
}

/// Room that is kept on a node.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// For whom.
    pub owner: Work,
    /// Of what class.
    pub class: ClassId,
    /// How much.
    pub need: Resources,
    /// From when on it is needed.
    pub until: TimeMs,
    /// What is free then beside it; others may have that for longer.
    pub spare: Resources,
    /// It is being freed by preemption.
    pub freed: bool,
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
            let open = takes_tasks(site, node) && site.closed.is_none();
            let open = open && site.health.quarantine.is_none() && !site.is_down(node, self.now);
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

    /// True if a task that fits on a node does not delay what room is kept for there.
    fn passes(
        &self,
        order: &Order<'_>,
        work: &Work,
        needs: &Needs,
        node: &Node,
        kept: &Kept,
    ) -> bool {
        let amounts = self.taken.amounts(self.world, needs, node);
        let until = self.now + longest_ms(self.world, needs, node);
        let (ends, spoils) = (until <= kept.until, self.spoils(work, needs, node, kept));
        if kept.freed {
            return spoils == Spoils::Never && amounts.fits_in(&self.beside_freed(node, kept));
        }
        order.ignores(work, &kept.owner)
            || (ends && spoils != Spoils::Always)
            || (spoils == Spoils::Never && amounts.fits_in(&kept.spare))
    }

    /// Whether work on a node's kernel would keep those away for whom room is kept there.
    fn spoils(&self, work: &Work, needs: &Needs, node: &Node, kept: &Kept) -> Spoils {
        if !self.world.is_isolating() {
            return Spoils::Never;
        }
        let before = self.taken.tenancy(self.world, node);
        let Ok(choice) = choose(needs, &node.report.runtimes, before) else {
            return Spoils::Never;
        };
        let tenant = self.world.queues().queue(work.leaf).tenant;
        let after = before.with(tenant, choice.way.alone);
        let theirs = self.world.classes().needs(kept.class);
        match choose(theirs, &node.report.runtimes, after) {
            Ok(_) => Spoils::Never,
            Err(Refusal::KernelTaken) => {
                // Once nobody has it alone any more, it is one tenant's.
                let then = Tenancy::One(tenant);
                match choose(theirs, &node.report.runtimes, then) {
                    Ok(_) => Spoils::WhileItRuns,
                    Err(_) => Spoils::Always,
                }
            }
            Err(_) => Spoils::Always,
        }
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
        match self.preempted.get(&node.id) {
            None => node.leaving,
            Some(preempted) => node.leaving.plus(preempted),
        }
    }

    /// A task loses its place.
    pub fn preempt(&mut self, task: TaskId, node: NodeId) {
        if self.victims.insert(task) {
            let job = &self.world.jobs()[&task.job];
            let takes_up = job.tasks.active[&task.index].takes_up(job.resources_of(task.index));
            *self.preempted.entry(node).or_default() += &takes_up;
        }
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

    /// When a node will have room for so many tasks, by the walltime limits of what runs
    /// there; `None` if never.
    pub fn earliest(&self, needs: &Needs, tasks: i64, id: NodeId) -> Option<TimeMs> {
        let node = self.world.node(id);
        if !will_take(self.world, self.now, &self.taken, needs, node) {
            return None;
        }
        let need = whole(needs, &node.report).times(tasks);
        let from = self.taken_until(needs, node);
        let in_time = |at| ends_in_time(self.world, at, needs, node).then_some(at);
        let mut free = self.taken.free(node);
        if need.fits_in(&free) {
            return in_time(from);
        }
        if !need.fits_in(&node.report.capacity) {
            return None;
        }
        for (end, resources) in self.ends(node) {
            free += &resources;
            if need.fits_in(&free) {
                return in_time(end.max(from));
            }
        }
        None
    }

    /// Until when others have the kernel of a node alone, as far as that keeps a task
    /// away from it.
    fn taken_until(&self, needs: &Needs, node: &Node) -> TimeMs {
        if self.taken.choose(self.world, needs, node) != Err(Refusal::KernelTaken) {
            return self.now;
        }
        let grace_ms = self.world.policy().grace_ms;
        let kernel = self.world.kernels().kernel(node.kernel);
        let nodes = kernel.nodes().iter().map(|id| self.world.node(*id));
        let alone = nodes.flat_map(|node| {
            let alone = |task: &&TaskId| {
                let job = &self.world.jobs()[&task.job];
                job.tasks.active[&task.index].is_alone()
            };
            let running = node.tasks.iter().filter(alone);
            let running = running.map(move |task| self.end_of(node, task, grace_ms));
            let placed = self.placed.get(node.id.index()).into_iter().flatten();
            running.chain(
                placed
                    .filter(|placed| placed.alone)
                    .map(|placed| placed.until),
            )
        });
        alone.max().unwrap_or(self.now)
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
            let end = self.end_of(node, task, grace_ms);
            (end, self.world.takes_up(task))
        };
        let mut ends: Vec<(TimeMs, Resources)> = node.tasks.iter().map(of).collect();
        let placed = self.placed.get(node.id.index()).into_iter().flatten();
        ends.extend(placed.map(|placed| (placed.until, placed.amounts)));
        ends.sort();
        ends
    }

    /// When a task on a node ends at the latest.
    fn end_of(&self, node: &Node, task: &TaskId, grace_ms: i64) -> TimeMs {
        let stays = !self.victims.contains(task);
        let end = latest_end(self.world, node, task).filter(|_| stays);
        end.unwrap_or(self.now + grace_ms).max(self.now + 1)
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
