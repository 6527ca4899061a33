//! All nodes' room over time: where, and when, tasks will have room soonest.
//!
//! A node's [`Timeline`] is built when it is first asked for. Only nodes that take a class
//! now, or will once something has ended there, count for it: what else could change (a
//! contract that has not begun, a site that is not connected) nobody waits for here.

use super::timeline::{Ask, Timeline};
use crate::ids::{ClassId, NodeId};
use crate::isolation::whole;
use crate::reservation::{Place, Reservation};
use crate::round::feasible::{leaves_gpus, longest_ms, will_take};
use crate::round::room::{Group, Room, group_of};
use crate::site::Node;
use crate::soonest::{BLOCK, Soonest};
use crate::spec::Needs;
use crate::time::TimeMs;
use crate::world::World;
use std::collections::BTreeMap;

/// Times that are tried for a gang, from when on there is room enough by numbers.
const STARTS_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Profile<'w> {
    world: &'w World,
    now: TimeMs,
    lines: BTreeMap<NodeId, Timeline>,
    /// Nodes with reservations, and how many.
    reserved: BTreeMap<NodeId, u32>,
}

/// Nodes that could take some tasks: those with gpus that are not asked for last, then
/// those with least room.
type Candidate = (bool, i64, NodeId);

impl<'w> Profile<'w> {
    /// Nothing is reserved yet.
    pub fn new(world: &'w World, now: TimeMs) -> Self {
        Profile {
            world,
            now,
            lines: BTreeMap::new(),
            reserved: BTreeMap::new(),
        }
    }

    /// Nodes with reservations.
    pub fn reserved(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.reserved.keys().copied()
    }

    /// True if there are reservations on a node.
    pub fn is_reserved(&self, node: NodeId) -> bool {
        self.reserved.contains_key(&node)
    }

    /// Room is kept for a reservation, or is not any more.
    pub fn keep(&mut self, room: &Room<'_>, reservation: &Reservation, needs: &Needs, keep: bool) {
        for place in &reservation.places {
            let ask = self.ask(needs, place.node);
            let line = self.line(room, place.node);
            if keep {
                line.take(reservation.promised, &ask, place.tasks);
                *self.reserved.entry(place.node).or_default() += 1;
                continue;
            }
            line.give(reservation.promised, &ask, place.tasks);
            let left = self.reserved.get_mut(&place.node);
            if left.is_some_and(|left| {
                *left -= 1;
                *left == 0
            }) {
                self.reserved.remove(&place.node);
            }
        }
    }

    /// A task starts on a node now, or does not after all.
    pub fn start(&mut self, needs: &Needs, node: NodeId, starts: bool) {
        let ask = self.ask(needs, node);
        // A line that is built later reads it from the room.
        if let Some(line) = self.lines.get_mut(&node) {
            match starts {
                true => line.take(self.now, &ask, 1),
                false => line.give(self.now, &ask, 1),
            }
        }
    }

    /// True if a reservation's places have room for the rest of its time from `at` on.
    pub fn holds(
        &mut self,
        room: &Room<'_>,
        reservation: &Reservation,
        needs: &Needs,
        at: TimeMs,
    ) -> bool {
        reservation.places.iter().all(|place| {
            let node = self.world.node(place.node);
            let takes = |at| will_take(self.world, at, &room.taken, needs, node);
            let (mut ask, tasks) = (self.ask(needs, place.node), i64::from(place.tasks));
            ask.span_ms = (ask.span_ms - (at - reservation.promised)).max(1);
            let there = node.is_known() && takes(self.now) && takes(at);
            there && self.line(room, place.node).places(&ask, at, tasks) == tasks
        })
    }

    /// For how many tasks a node has room from a time on, `most` at most.
    pub fn places(
        &mut self,
        room: &Room<'_>,
        needs: &Needs,
        node: &Node,
        at: TimeMs,
        most: i64,
    ) -> i64 {
        if !will_take(self.world, at, &room.taken, needs, node) {
            return 0;
        }
        if at <= self.now && !self.is_reserved(node.id) {
            return whole(needs, &node.report)
                .times_in(&room.free(node.id))
                .min(most);
        }
        let ask = self.ask(needs, node.id);
        self.line(room, node.id).places(&ask, at, most)
    }

    /// Nodes for all that go at once, from a time on: of the groups with room enough the
    /// one with least.
    pub fn places_at(&mut self, room: &Room<'_>, class: ClassId, at: TimeMs) -> Option<Vec<Place>> {
        let (needs, size) = self.asked(class);
        let mut groups: BTreeMap<Option<Group>, Vec<Candidate>> = BTreeMap::new();
        for node in self.world.nodes().iter().filter(|node| node.is_known()) {
            let Some(group) = self.group(class, node) else {
                continue;
            };
            let places = self.places(room, needs, node, at, size);
            if places > 0 {
                let gpus = leaves_gpus(needs, node);
                let candidates = groups.entry(group).or_default();
                candidates.push((gpus, places, node.id));
            }
        }
        let all = |nodes: &[Candidate]| nodes.iter().map(|(_, places, _)| places).sum::<i64>();
        let enough = groups.into_values().filter(|nodes| all(nodes) >= size);
        let mut nodes = enough.min_by_key(|nodes| all(nodes))?;
        nodes.sort_unstable();
        let mut left = size;
        let mut places = Vec::new();
        for (_, room, node) in nodes {
            let tasks = room.min(left);
            if tasks == 0 {
                break;
            }
            left -= tasks;
            places.push(Place {
                node,
                tasks: tasks as u32,
            });
        }
        Some(places)
    }

    /// Where and when all that go at once will have room soonest; `None` if never, as
    /// things are.
    pub fn soonest(
        &mut self,
        room: &Room<'_>,
        bounds: &mut Soonest,
        class: ClassId,
    ) -> Option<(Vec<Place>, TimeMs)> {
        match self.asked(class) {
            (needs, 1) => self.soonest_of_one(room, bounds, needs),
            (needs, size) => {
                let starts = self.starts(room, class, needs, size);
                let mut starts = starts.into_iter().take(STARTS_MAX);
                starts.find_map(|at| Some((self.places_at(room, class, at)?, at)))
            }
        }
    }

    fn soonest_of_one(
        &mut self,
        room: &Room<'_>,
        bounds: &mut Soonest,
        needs: &Needs,
    ) -> Option<(Vec<Place>, TimeMs)> {
        let world = self.world;
        let mut best: Option<(TimeMs, bool, NodeId)> = None;
        for (bound, block) in bounds.blocks(world, &needs.resources) {
            if best.is_some_and(|(at, ..)| bound > at) {
                break;
            }
            let nodes = world.nodes().iter().skip(block * BLOCK).take(BLOCK);
            for node in nodes.filter(|node| node.is_known()) {
                let bound = bounds.node(node.id, &needs.resources);
                if best.is_some_and(|(at, ..)| bound > at)
                    || !will_take(world, self.now, &room.taken, needs, node)
                {
                    continue;
                }
                let ask = self.ask(needs, node.id);
                let at = self.line(room, node.id).earliest(&ask);
                let at = at.filter(|at| will_take(world, *at, &room.taken, needs, node));
                if let Some(at) = at {
                    let found = (at, leaves_gpus(needs, node), node.id);
                    best = Some(best.map_or(found, |best| best.min(found)));
                }
            }
        }
        best.map(|(at, _, node)| (vec![Place { node, tasks: 1 }], at))
    }

    /// When there is room for a gang in some group, by numbers: the times at which that
    /// becomes so, or at which more comes to be free while it is.
    fn starts(&mut self, room: &Room<'_>, class: ClassId, needs: &Needs, size: i64) -> Vec<TimeMs> {
        let mut sums: BTreeMap<Option<Group>, BTreeMap<TimeMs, i64>> = BTreeMap::new();
        for node in self.world.nodes().iter().filter(|node| node.is_known()) {
            let Some(group) = self.group(class, node) else {
                continue;
            };
            if !will_take(self.world, self.now, &room.taken, needs, node) {
                continue;
            }
            let ask = self.ask(needs, node.id);
            let changes = sums.entry(group).or_default();
            let mut before = 0;
            for (at, places) in self.line(room, node.id).counts(&ask, size) {
                *changes.entry(at).or_default() += places - before;
                before = places;
            }
        }
        let mut starts = Vec::new();
        for changes in sums.into_values() {
            let mut sum = 0;
            for (at, change) in changes {
                sum += change;
                if sum >= size && change > 0 {
                    starts.push(at);
                }
            }
        }
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// The group of a node, of which a class may ask for one; `None` where a class does
    /// and the node is in none.
    fn group(&self, class: ClassId, node: &Node) -> Option<Option<Group>> {
        match &self.world.classes().gang(class).within {
            None => Some(None),
            Some(within) => group_of(node, within).map(Some),
        }
    }

    fn asked(&self, class: ClassId) -> (&'w Needs, i64) {
        let classes = self.world.classes();
        (classes.needs(class), classes.gang(class).size.into())
    }

    fn ask(&self, needs: &Needs, node: NodeId) -> Ask {
        let node = self.world.node(node);
        Ask {
            need: whole(needs, &node.report),
            span_ms: longest_ms(self.world, needs, node).max(1),
        }
    }

    fn line(&mut self, room: &Room<'_>, node: NodeId) -> &mut Timeline {
        let (world, now) = (self.world, self.now);
        self.lines.entry(node).or_insert_with(|| {
            // Who was told to end may be gone at any moment.
            let ends = room.ends_with(world.node(node), 1);
            Timeline::new(now, room.free(node), ends)
        })
    }
}
