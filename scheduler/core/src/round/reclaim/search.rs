//! Whose places some work takes: the search for the cheapest list that the rules allow.
//!
//! The lines of units are walked together from the cheapest unit on. A node is looked at
//! when the first of its units comes up; the search ends when that unit alone would cost
//! as much as the best node found.

use super::Right;
use super::running::Running;
use super::trial::Trial;
use crate::ids::{NodeId, QueueId};
use crate::isolation::whole;
use crate::queue::QueueTree;
use crate::reason::Refusal;
use crate::resources::{DIMENSIONS, Resources};
use crate::round::barrier::Work;
use crate::round::feasible::refusal;
use crate::round::order::{Head, Order};
use crate::round::room::{Group, Room, group_of};
use crate::time::TimeMs;
use crate::world::World;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Nodes that are tried for the first task of a gang, and groups of nodes for all of it.
pub(super) const STARTS_MAX: usize = 8;
/// Of a longer list of victims nobody is left out again.
const VICTIMS_WEIGHED_MAX: usize = 64;

/// Where places are looked for.
pub(super) struct Ground {
    /// Only in this group of nodes.
    pub group: Option<Group>,
    /// Where there is room for some of the tasks as it is, one entry a task.
    pub free: Vec<NodeId>,
}

/// A search for victims.
pub(super) struct Search<'a> {
    pub world: &'a World,
    pub queues: &'a QueueTree,
    pub order: &'a Order<'a>,
    pub room: &'a Room<'a>,
    pub running: &'a Running,
    pub head: &'a Head,
    pub work: Work,
    pub now: TimeMs,
    pub preemptions_left: u64,
}

/// A node on which room is wanted.
#[derive(Clone, Copy)]
struct Wanted<'n> {
    node: NodeId,
    need: &'n Resources,
    free: Resources,
}

impl Search<'_> {
    /// A list by one of these rights, on one of these grounds.
    pub fn find(&self, rights: &[Right], grounds: &[Ground]) -> Option<Trial> {
        let on = |right: &Right| grounds.iter().find_map(|ground| self.on(ground, *right));
        rights.iter().find_map(on)
    }

    /// Where the cheapest node for the first task leads nowhere, others are tried: a gang
    /// may need one that takes several.
    fn on(&self, ground: &Ground, right: Right) -> Option<Trial> {
        let size = self.world.classes().gang(self.head.class).size;
        let mut avoided = BTreeSet::new();
        for _ in 0..STARTS_MAX {
            let mut trial = Trial::new(right);
            let found = self.fill(&mut trial, ground, &avoided);
            let first = trial.first;
            if found.is_some() {
                let trial = self.without_needless(trial);
                if self.is_allowed_in_all(&trial) {
                    return Some(trial);
                }
            }
            if size == 1 || !avoided.insert(first?) {
                return None;
            }
        }
        None
    }

    /// Fills a trial with victims until there is room below the limits and on the nodes;
    /// `None` if nobody further may be preempted.
    fn fill(&self, trial: &mut Trial, ground: &Ground, avoided: &BTreeSet<NodeId>) -> Option<()> {
        while let Some(limited) = self.limited(trial) {
            let unit = self.cheapest_below(trial, limited)?;
            self.add_victim(trial, unit);
        }
        let mut free = ground.free.iter().filter(|node| !avoided.contains(node));
        for _ in 0..self.world.classes().gang(self.head.class).size {
            let (node, victims) = match free.next() {
                Some(node) => (*node, Vec::new()),
                None => self.cheapest_node(trial, ground, avoided)?,
            };
            victims
                .into_iter()
                .for_each(|unit| self.add_victim(trial, unit));
            trial.put(node);
        }
        Some(())
    }

    fn add_victim(&self, trial: &mut Trial, position: usize) {
        let unit = &self.running.units[position];
        trial.all_b &= self.allows_b(trial, unit);
        trial.add(self.queues, position, unit);
    }

    /// True if a unit is not gone already, and may go.
    fn takes(&self, trial: &Trial, position: usize) -> bool {
        let unit = &self.running.units[position];
        unit.open && !trial.victims.contains(&position) && self.is_allowed(trial, unit)
    }

    fn loss(&self, trial: &Trial, position: usize) -> i128 {
        self.running.units[position].loss(trial.right)
    }

    /// Leaves out of a list whoever need not go, the largest loss first: who was chosen
    /// to stay below a limit, or for one node, may not be needed after the others.
    fn without_needless(&self, trial: Trial) -> Trial {
        let mut kept = trial;
        if kept.victims.len() > VICTIMS_WEIGHED_MAX {
            return kept;
        }
        let mut candidates = kept.victims.clone();
        candidates.sort_by_key(|unit| Reverse((self.loss(&kept, *unit), *unit)));
        for unit in candidates {
            let others = kept.victims.iter().filter(|other| **other != unit);
            let others: Vec<usize> = others.copied().collect();
            if let Some(fewer) = self.with_just(&kept, &others) {
                kept = fewer;
            }
        }
        kept
    }

    /// A trial for the same places with just these victims, if they may be preempted and
    /// are enough.
    fn with_just(&self, trial: &Trial, victims: &[usize]) -> Option<Trial> {
        let mut other = Trial::new(trial.right);
        for unit in victims {
            if !self.takes(&other, *unit) {
                return None;
            }
            self.add_victim(&mut other, *unit);
        }
        let has_room = |(node, tasks): (&NodeId, &u32)| {
            let free = self.room.soon_free(self.world.node(*node));
            let free = free.plus(&other.freed(*node));
            self.each(*node).times((*tasks).into()).fits_in(&free)
        };
        let enough = trial.places.iter().all(has_room) && self.limited(&other).is_none();
        other.places = trial.places.clone();
        enough.then_some(other)
    }

    /// Of what runs below a queue and may go, the unit with the least loss.
    fn cheapest_below(&self, trial: &Trial, top: QueueId) -> Option<usize> {
        let below = |leaf: QueueId| self.queues.path(leaf).any(|id| id == top);
        let lines = self.running.lines();
        let lines = lines.filter(|(leaf, class, _)| below(*leaf) && self.may(trial, *leaf, *class));
        let firsts = lines.filter_map(|(_, _, line)| {
            let mut line = line.iter().copied();
            line.find(|unit| self.takes(trial, *unit))
        });
        firsts.min_by_key(|unit| (self.loss(trial, *unit), Reverse(*unit)))
    }

    /// The node on which one more task gets room with the least loss, and whom that takes.
    fn cheapest_node(
        &self,
        trial: &mut Trial,
        ground: &Ground,
        avoided: &BTreeSet<NodeId>,
    ) -> Option<(NodeId, Vec<usize>)> {
        if let Some(node) = self.comes_free(trial, ground, avoided) {
            return Some((node, Vec::new()));
        }
        let mut best: Option<(i128, NodeId, Vec<usize>)> = None;
        let mut seen = BTreeSet::new();
        let mut walk = self.walk(trial);
        while let Some(unit) = walk.next() {
            let bound = self.loss(trial, unit);
            if best.as_ref().is_some_and(|(loss, ..)| *loss <= bound) {
                break;
            }
            for (_, node) in self.running.units[unit].tasks.all() {
                if !seen.insert(*node) || !self.is_open(*node, ground, avoided) {
                    continue;
                }
                let most = best.as_ref().map(|(loss, ..)| *loss);
                if let Some((loss, victims)) =
                    self.victims_on(trial, *node, &self.each(*node), most)
                {
                    best = Some((loss, *node, victims));
                }
            }
        }
        best.map(|(_, node, victims)| (node, victims))
    }

    /// A node on which one more task gets room without further victims.
    fn comes_free(
        &self,
        trial: &Trial,
        ground: &Ground,
        avoided: &BTreeSet<NodeId>,
    ) -> Option<NodeId> {
        let stopping = self.running.stopping.iter().copied();
        let mut nodes = stopping.chain(trial.freed_nodes());
        nodes.find(|node| {
            let fits = self.each(*node).fits_in(&self.soon_free(trial, *node));
            fits && self.is_open(*node, ground, avoided)
        })
    }

    /// The units of all lines in which somebody may go, the cheapest first.
    fn walk(&self, trial: &Trial) -> Walk<'_> {
        let lines = self.running.lines();
        let lines = lines.filter(|(leaf, class, _)| self.may(trial, *leaf, *class));
        let mut walk = Walk {
            running: self.running,
            right: trial.right,
            lines: lines.map(|(_, _, line)| line).collect(),
            next: BinaryHeap::new(),
        };
        (0..walk.lines.len()).for_each(|line| walk.queue_up(line));
        walk
    }

    /// What will be free on a node beside what the trial puts there.
    fn soon_free(&self, trial: &Trial, node: NodeId) -> Resources {
        let tasks = trial.places.get(&node).copied().unwrap_or(0);
        let free = self.room.soon_free(self.world.node(node));
        free.plus(&trial.freed(node))
            .minus(&self.each(node).times(tasks.into()))
    }

    /// What one task takes up on a node.
    fn each(&self, node: NodeId) -> Resources {
        let needs = self.world.classes().needs(self.head.class);
        whole(needs, &self.world.node(node).report)
    }

    /// True if the work may go to a node at all.
    fn is_open(&self, id: NodeId, ground: &Ground, avoided: &BTreeSet<NodeId>) -> bool {
        let node = self.world.node(id);
        if !node.is_known() || avoided.contains(&id) {
            return false;
        }
        let within = &self.world.classes().gang(self.head.class).within;
        if let Some(within) = within
            && group_of(node, within) != ground.group
        {
            return false;
        }
        let kept = self.room.kept.get(&id);
        let others =
            kept.is_some_and(|kept| !kept.freed && !self.order.ignores(&self.work, &kept.owner));
        let needs = self.world.classes().needs(self.head.class);
        let refusal = refusal(self.world, self.now, &self.room.taken, needs, node);
        !others && matches!(refusal, None | Some(Refusal::Busy))
    }

    /// Whom a node must lose so that `need` fits, if that costs less than `most`.
    fn victims_on(
        &self,
        trial: &mut Trial,
        node: NodeId,
        need: &Resources,
        most: Option<i128>,
    ) -> Option<(i128, Vec<usize>)> {
        let free = self.soon_free(trial, node);
        let units = self.running.on_node(node).iter().copied();
        let mut units: Vec<usize> = units
            .filter(|unit| self.takes_first(trial, *unit))
            .collect();
        if matches!(trial.right, Right::Class(_)) {
            units.sort_by_key(|unit| (self.loss(trial, *unit), Reverse(*unit)));
        }
        let short = need.minus(&free).larger(&Resources::ZERO);
        if most.is_some_and(|most| self.costs_at_least(trial, node, &units, &short) >= most) {
            return None;
        }
        let wanted = Wanted { node, need, free };
        let cheaper = |(loss, _): &(i128, Vec<usize>)| most.is_none_or(|most| *loss < most);
        if let Some(found) = self.choose_on(trial, wanted, &units) {
            return Some(found).filter(cheaper);
        }
        // Small ones may have used up what may be taken of a queue: one that is enough
        // by itself, before several.
        units.sort_by_key(|unit| Reverse(self.part_of(*unit, node, &short)));
        self.choose_on(trial, wanted, &units).filter(cheaper)
    }

    /// True if a unit could go were it the first victim of its line.
    fn takes_first(&self, trial: &Trial, position: usize) -> bool {
        let unit = &self.running.units[position];
        unit.open
            && !trial.victims.contains(&position)
            && self.may(trial, unit.work.leaf, unit.class)
    }

    /// A lower bound of what a node must lose: as many of its cheapest units as are needed
    /// at least, if all were as large as the largest.
    fn costs_at_least(
        &self,
        trial: &Trial,
        node: NodeId,
        units: &[usize],
        short: &Resources,
    ) -> i128 {
        let of_node = |unit: &usize| self.running.units[*unit].on(node);
        let largest = units
            .iter()
            .map(of_node)
            .fold(Resources::ZERO, |largest, each| largest.larger(&each));
        let count = |d: usize| match largest[d] {
            0 => usize::MAX,
            most => ((short[d] + most - 1) / most) as usize,
        };
        let counts = (0..DIMENSIONS).filter(|d| short[*d] > 0).map(count);
        match counts.max() {
            Some(many) if many > units.len() => i128::MAX,
            Some(many) => units[..many]
                .iter()
                .map(|unit| self.loss(trial, *unit))
                .sum(),
            None => 0,
        }
    }

    /// How much of what is short on a node a unit has there, all resources together.
    fn part_of(&self, unit: usize, node: NodeId, short: &Resources) -> i128 {
        let of_node = self.running.units[unit].on(node);
        let asked = (0..DIMENSIONS).filter(|d| short[*d] > 0);
        let parts =
            asked.map(|d| (i128::from(of_node[d].min(short[d])) << 20) / i128::from(short[d]));
        parts.sum()
    }

    /// Takes of these units, in their order, who helps and may be preempted, until there
    /// is enough; then whoever turned out not to be needed stays, the last first.
    fn choose_on(
        &self,
        trial: &mut Trial,
        wanted: Wanted<'_>,
        units: &[usize],
    ) -> Option<(i128, Vec<usize>)> {
        let Wanted {
            node,
            need,
            mut free,
        } = wanted;
        let mut chosen: Vec<usize> = Vec::new();
        for position in units.iter().copied() {
            if need.fits_in(&free) {
                break;
            }
            let unit = &self.running.units[position];
            let of_node = unit.on(node);
            let helps = (0..DIMENSIONS).any(|d| need[d] > free[d] && of_node[d] > 0);
            if helps && self.is_allowed(trial, unit) {
                trial.shift(self.queues, unit, true);
                free += &of_node;
                chosen.push(position);
            }
        }
        let enough = need.fits_in(&free);
        let mut last = chosen.len();
        while enough && last > 0 {
            last -= 1;
            let unit = &self.running.units[chosen[last]];
            let without = free.minus(&unit.on(node));
            if need.fits_in(&without) {
                free = without;
                trial.shift(self.queues, unit, false);
                chosen.remove(last);
            }
        }
        for position in &chosen {
            trial.shift(self.queues, &self.running.units[*position], false);
        }
        let loss = chosen.iter().map(|unit| self.loss(trial, *unit)).sum();
        enough.then_some((loss, chosen))
    }
}

/// Lines of units, walked together.
struct Walk<'a> {
    running: &'a Running,
    right: Right,
    lines: Vec<&'a [usize]>,
    /// Of each line the first, by its loss, the latest started first.
    next: BinaryHeap<Reverse<(i128, Reverse<usize>, usize)>>,
}

impl Walk<'_> {
    fn next(&mut self) -> Option<usize> {
        let Reverse((_, Reverse(unit), line)) = self.next.pop()?;
        self.queue_up(line);
        Some(unit)
    }

    fn queue_up(&mut self, line: usize) {
        while let Some((first, rest)) = self.lines[line].split_first() {
            self.lines[line] = rest;
            let unit = &self.running.units[*first];
            if unit.open {
                self.next
                    .push(Reverse((unit.loss(self.right), Reverse(*first), line)));
                return;
            }
        }
    }
}
