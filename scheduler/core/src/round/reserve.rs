//! Reservations (rule R of the fair share): the first that does not fit is given nodes
//! on which it will fit soonest, its queues are charged for it, and others may pass
//! there only if they do not delay it.
//!
//! Every round looks at each reservation again: it starts, it waits on, or it falls. It
//! falls when it would have to wait longer than was promised, or when its queue has
//! meanwhile got its share without it.

use super::Round;
use super::barrier::{Barrier, HeldBack, Stopped, Work};
use super::feasible::{leaves_gpus, will_take};
use super::order::{Head, is_about};
use super::room::{Found, Group, Kept, group_of};
use super::share::fine;
use crate::ids::{ClassId, NodeId, QueueId};
use crate::isolation::whole;
use crate::reservation::{Place, Reservation};
use crate::resources::{DIMENSIONS, Resources};
use crate::site::Node;
use crate::soonest::BLOCK;
use crate::spec::{Needs, Within};
use crate::time::TimeMs;
use std::collections::{BTreeMap, BTreeSet};

/// Where there are so few nodes, [`HOLD_SMALL_PERMILLE`] is held back at most.
pub(super) const NODES_SMALL: usize = 20;
/// See [`NODES_SMALL`].
const HOLD_SMALL_PERMILLE: u32 = 100;
/// There is a reservation for so many nodes at most, whatever the policy allows.
const NODES_PER_RESERVATION: usize = 3;

/// A reservation as a round sees it.
#[derive(Debug, Clone)]
pub struct Booking {
    pub reservation: Reservation,
    pub class: ClassId,
    pub work: Work,
}

/// What came of trying to reserve.
pub enum Tried {
    /// Room is kept.
    Reserved,
    /// No node will ever have room as things are.
    Nowhere,
    /// Only where room is kept for others, whom it must respect; or the policy keeps none.
    PassedOver,
    /// As many nodes are kept as may be.
    Full,
}

impl Round<'_> {
    /// Takes over the World's reservations, oldest first.
    pub(super) fn renew_reservations(&mut self) {
        for reservation in self.world.reservations() {
            // Where there is none, its tasks have gone another way.
            if let Some(booking) = self.booking(reservation) {
                self.book(booking, self.now);
            }
        }
        // Others may fall or come while one is looked at.
        let each = |booking: &Booking| (booking.reservation.job, booking.reservation.tasks[0]);
        for whose in self.bookings.iter().map(each).collect::<Vec<_>>() {
            let Some(position) = self
                .bookings
                .iter()
                .position(|booking| each(booking) == whose)
            else {
                continue;
            };
            match self.renew(position) {
                Renewed::Waits(until) if !self.bookings[position].reservation.freed => {
                    self.keep(position, until);
                }
                Renewed::Waits(_) | Renewed::Started => {}
                Renewed::Falls => self.unbook(position),
            }
        }
        self.update_barrier();
    }

    /// A reservation of the World, if those it is for still wait.
    pub(super) fn booking(&self, reservation: &Reservation) -> Option<Booking> {
        let job = self.world.jobs().get(&reservation.job)?;
        let size = reservation.tasks.len() as u32;
        let whole = size == 1 || u64::from(size) == job.tasks.gang.len();
        let waits = |task: &u32| job.tasks.queued.contains(*task);
        let ready = job.ready();
        let class = match reservation.tasks.as_slice() {
            [index] => job.class_of(*index),
            _ => job.class,
        };
        let right_size = self.world.classes().gang(class).size == size && ready.size == size;
        let open = self.world.queues().cordoned(job.queue).is_none();
        let all = whole && right_size && open && reservation.tasks.iter().all(waits);
        all.then(|| Booking {
            reservation: reservation.clone(),
            class,
            work: Work {
                leaf: job.queue,
                cost: self.world.classes().cost(class),
            },
        })
    }

    /// Keeps room for a booking and charges its queues.
    pub(super) fn book(&mut self, booking: Booking, until: TimeMs) {
        let (job, leaf) = (booking.reservation.job, booking.work.leaf);
        let tasks = &booking.reservation.tasks;
        self.order.reserve(leaf, job, tasks, &booking.work.cost);
        if booking.reservation.freed {
            self.order.free_for(&booking.work);
        }
        self.bookings.push(booking);
        self.keep(self.bookings.len() - 1, until);
    }

    fn keep(&mut self, position: usize, until: TimeMs) {
        let booking = &self.bookings[position];
        let needs = self.world.classes().needs(booking.class);
        for place in &booking.reservation.places {
            let need = self.need_of(needs, place);
            let kept = Kept {
                owner: booking.work,
                class: booking.class,
                need,
                until,
                spare: self.room.free_at(place.node, until).minus(&need),
                freed: booking.reservation.freed,
            };
            self.room.keep(place.node, kept);
        }
    }

    /// Gives a booking up: its tasks are in the order again, its nodes are open.
    pub(super) fn unbook(&mut self, position: usize) {
        let booking = self.close(position);
        if booking.reservation.freed {
            self.order.free_no_more_for(&booking.work);
        }
        let job = booking.reservation.job;
        let tasks = &booking.reservation.tasks;
        self.order
            .unreserve(&booking.work, job, tasks, booking.class);
    }

    fn close(&mut self, position: usize) -> Booking {
        let booking = self.bookings.remove(position);
        let needs = self.world.classes().needs(booking.class);
        for place in &booking.reservation.places {
            let need = self.need_of(needs, place);
            self.room.open(place.node, &need);
        }
        self.room.forget_failed();
        booking
    }

    /// What is kept of a place.
    fn need_of(&self, needs: &Needs, place: &Place) -> Resources {
        let report = &self.world.node(place.node).report;
        whole(needs, report).times(place.tasks.into())
    }

    fn renew(&mut self, position: usize) -> Renewed {
        let booking = self.bookings[position].clone();
        let needs = self.world.classes().needs(booking.class);
        let usable = |place: &Place| {
            let node = self.world.node(place.node);
            will_take(self.world, self.now, &self.room.taken, needs, node)
        };
        let usable = booking.reservation.places.iter().all(usable);
        let freed = booking.reservation.freed;
        let over_bounds = self.order.is_over_bounds(booking.work.leaf, booking.class);
        if !usable || over_bounds || self.order.is_over_limit(&booking.work, !freed) {
            return Renewed::Falls;
        }
        if !freed && self.has_share_without(&booking) {
            return Renewed::Falls;
        }
        let limited = freed && self.order.is_over_limit(&booking.work, true);
        if !limited && self.start(position) {
            return Renewed::Started;
        }
        if freed {
            let leaving = |place: &Place| !self.room.leaving(self.world.node(place.node)).is_zero();
            let some = limited || booking.reservation.places.iter().any(leaving);
            return if some {
                Renewed::Waits(self.now)
            } else {
                Renewed::Falls
            };
        }
        let head = Head {
            leaf: booking.work.leaf,
            job: booking.reservation.job,
            class: booking.class,
        };
        if self.has_right(&head, &booking.work) {
            // It falls when it is replaced by one whose room is being freed.
            self.unbook(position);
            if self.reclaim(&head) {
                return Renewed::Started;
            }
            self.bookings.insert(position, booking.clone());
            let tasks = &booking.reservation.tasks;
            self.order
                .reserve(booking.work.leaf, head.job, tasks, &booking.work.cost);
            self.keep(position, self.now);
        }
        match self.soonest(&booking) {
            // What is over its walltime limit may end at any moment: that is no delay.
            Some(until) if until <= booking.reservation.promised.max(self.now + 1) => {
                Renewed::Waits(until)
            }
            _ => Renewed::Falls,
        }
    }

    /// True if a queue above has what it is entitled to, in something that the work is
    /// about, without the reservation.
    fn has_share_without(&self, booking: &Booking) -> bool {
        let cost = &booking.work.cost;
        let queues = self.world.queues();
        let mut path = queues
            .path(booking.work.leaf)
            .filter(|id| *id != QueueId::ROOT);
        path.any(|id| {
            let without = fine(&self.order.charged(id).minus(cost));
            let share = &self.order.shares().of(id).fine;
            let pool = &self.order.shares().pool;
            (0..DIMENSIONS).any(|d| is_about(cost, pool, d) && without[d] >= share[d])
        })
    }

    /// When all places of a booking have room.
    fn soonest(&self, booking: &Booking) -> Option<TimeMs> {
        let needs = self.world.classes().needs(booking.class);
        let mut latest = self.now;
        for place in &booking.reservation.places {
            let tasks = place.tasks.into();
            let at = self.room.earliest(needs, tasks, place.node)?;
            latest = latest.max(at);
        }
        Some(latest)
    }

    /// Places all tasks of a booking: on its nodes where those have room, else on open
    /// ones.
    fn start(&mut self, position: usize) -> bool {
        let booking = self.bookings[position].clone();
        let needs = self.world.classes().needs(booking.class);
        let size = booking.reservation.tasks.len();
        let leaf = booking.work.leaf;
        let mut found: Vec<Found> = Vec::with_capacity(size);
        for place in &booking.reservation.places {
            for _ in 0..place.tasks {
                if self.room.has_room(needs, place.node) {
                    found.push(self.room.take(needs, leaf, place.node));
                }
            }
        }
        let freed = booking.reservation.freed;
        while found.len() < size
            && !freed
            && self.world.classes().gang(booking.class).within.is_none()
        {
            let Ok(node) = self.room.pick_open(booking.class, None) else {
                break;
            };
            found.push(self.room.take(needs, leaf, node));
        }
        if found.len() < size {
            found.iter().rev().for_each(|found| self.room.give(found));
            return false;
        }
        // Nobody has to respect the room that was kept for it any more.
        let booking = self.close(position);
        let tasks = &booking.reservation.tasks;
        let (job, leaf) = (booking.reservation.job, booking.work.leaf);
        if !booking.reservation.freed {
            self.order.free_for(&booking.work);
        }
        self.order.start_reserved(leaf, job, tasks);
        let class = booking.class;
        self.add_placements(&Head { leaf, job, class }, tasks, &found);
        true
    }

    /// Reserves for a head the nodes on which it will fit soonest.
    pub(super) fn reserve(&mut self, head: &Head) -> Tried {
        let gang = self.world.classes().gang(head.class).clone();
        let work = Work {
            leaf: head.leaf,
            cost: self.order.cost(head),
        };
        let found = match &gang.within {
            None => self.soonest_places(&work, head.class, gang.size),
            Some(within) => self.soonest_within(&work, head.class, gang.size, within),
        };
        let Some((places, until)) = found else {
            let others = self
                .room
                .kept
                .keys()
                .any(|node| !self.may_keep(&work, *node));
            return if others {
                Tried::PassedOver
            } else {
                Tried::Nowhere
            };
        };
        if self.world.policy().reservations_max == 0 {
            // Nobody waits for room: whoever fits goes.
            return Tried::PassedOver;
        }
        let taken_over: Vec<NodeId> = places
            .iter()
            .map(|place| place.node)
            .filter(|node| self.room.kept.contains_key(node))
            .collect();
        let kept = self
            .bookings
            .iter()
            .filter(|booking| !booking.reservation.freed);
        let kept: usize = kept.map(|booking| booking.reservation.places.len()).sum();
        // However wide it is, one may always wait for its room.
        if kept > 0 && kept + places.len() - taken_over.len() > self.reservations_max() {
            return Tried::Full;
        }
        let falls = |booking: &Booking| {
            let mut places = booking.reservation.places.iter();
            places.any(|place| taken_over.contains(&place.node))
        };
        while let Some(position) = self.bookings.iter().position(falls) {
            self.unbook(position);
        }
        if !taken_over.is_empty() {
            self.order.reopen();
        }
        let reservation = Reservation {
            job: head.job,
            tasks: self.order.tasks(head),
            places,
            promised: until,
            freed: false,
        };
        let class = head.class;
        self.book(
            Booking {
                reservation,
                class,
                work,
            },
            until,
        );
        Tried::Reserved
    }

    /// The nodes without kept room, or with room kept for those whom the work need not
    /// respect, on which so many tasks will fit soonest, and when.
    fn soonest_places(
        &mut self,
        work: &Work,
        class: ClassId,
        size: u32,
    ) -> Option<(Vec<Place>, TimeMs)> {
        let needs = self.world.classes().needs(class);
        let mut soonest: BTreeSet<Soon> = BTreeSet::new();
        for (bound, block) in self.soonest.blocks(self.world, &needs.resources) {
            let worst = soonest.last().filter(|_| soonest.len() >= size as usize);
            if worst.is_some_and(|(at, ..)| bound > *at) {
                break;
            }
            let nodes = self.world.nodes().iter().skip(block * BLOCK).take(BLOCK);
            for node in nodes.filter(|node| node.is_known()) {
                let worst = soonest.last().filter(|_| soonest.len() >= size as usize);
                let bound = self.soonest.node(node.id, &needs.resources);
                // At best it has room then, and stands behind those that come first.
                let best = (bound, leaves_gpus(needs, node), node.id, 1);
                if worst.is_none_or(|worst| best < *worst) && self.may_keep(work, node.id) {
                    self.add_soonest(&mut soonest, class, size, node);
                }
            }
        }
        places_of(soonest, size)
    }

    /// The same inside one group of nodes that have something in common: the one where
    /// that is soonest.
    fn soonest_within(
        &self,
        work: &Work,
        class: ClassId,
        size: u32,
        within: &Within,
    ) -> Option<(Vec<Place>, TimeMs)> {
        let mut groups: BTreeMap<Group, BTreeSet<Soon>> = BTreeMap::new();
        for node in self.world.nodes() {
            if let Some(group) = group_of(node, within)
                && self.may_keep(work, node.id)
            {
                self.add_soonest(groups.entry(group).or_default(), class, size, node);
            }
        }
        let found = groups
            .into_values()
            .filter_map(|soonest| places_of(soonest, size));
        found.min_by_key(|(_, until)| *until)
    }

    /// True if room may be kept on a node for work: none is, or only for those whom it
    /// need not respect.
    fn may_keep(&self, work: &Work, node: NodeId) -> bool {
        let kept = self.room.kept.get(&node);
        kept.is_none_or(|kept| !kept.freed && self.order.ignores(work, &kept.owner))
    }

    /// Adds when one, two, … tasks fit on a node, as far as that is soon enough. What
    /// needs no gpu goes to nodes with gpus last.
    fn add_soonest(&self, soonest: &mut BTreeSet<Soon>, class: ClassId, size: u32, node: &Node) {
        let needs = self.world.classes().needs(class);
        let capacity = &node.report.capacity;
        let gpus = leaves_gpus(needs, node);
        let most = needs.resources.times_in(capacity).min(size.into());
        for tasks in 1..=most {
            let Some(at) = self.room.earliest(needs, tasks, node.id) else {
                break;
            };
            soonest.insert((at, gpus, node.id, tasks as u32));
            if soonest.len() > size as usize {
                soonest.pop_last();
            }
        }
    }

    /// Nodes that may be kept: fewer where there are few.
    fn reservations_max(&self) -> usize {
        let most = self.world.policy().reservations_max as usize;
        most.min((self.nodes_known / NODES_PER_RESERVATION).max(1))
    }

    /// The resources that a head is about are closed to those who must respect it.
    pub(super) fn stop_others(&mut self, head: &Head) {
        let cost = self.order.cost(head);
        let pool = self.order.shares().pool;
        let owner = Work {
            leaf: head.leaf,
            cost,
        };
        if self.stopped.iter().any(|stopped| stopped.owner == owner) {
            // Others like it have been before it: nothing is left to close.
            self.order.shut(head);
            return;
        }
        let closed = std::array::from_fn(|d| is_about(&cost, &pool, d));
        self.stopped.push(Stopped { owner, closed });
        self.update_barrier();
    }

    /// Brings the order's barrier after what has been taken and kept.
    pub(super) fn update_barrier(&mut self) {
        let mut freed = BTreeSet::new();
        let held_back = self.bookings.iter().map(|booking| HeldBack {
            owner: booking.work,
            amount: self.held_back(booking, &mut freed),
            until: self.needed_from(booking),
        });
        let barrier = Barrier {
            free: self.free,
            least: self.least,
            held_back: held_back.collect(),
            stopped: self.stopped.clone(),
        };
        self.order.set_barrier(barrier);
    }

    /// When the first reservation falls or starts by time alone.
    pub(super) fn next_edge(&self) -> Option<TimeMs> {
        let waits = self
            .bookings
            .iter()
            .filter(|booking| !booking.reservation.freed);
        let edges = waits.map(|booking| self.needed_from(booking).max(self.now + 1));
        edges.min()
    }

    /// From when on a booking's room is needed; what is being freed is at once.
    fn needed_from(&self, booking: &Booking) -> TimeMs {
        let kept = booking.reservation.places.first();
        let kept = kept.and_then(|place| self.room.kept.get(&place.node));
        match kept {
            Some(kept) if !kept.freed => kept.until,
            _ => self.now,
        }
    }

    /// What is held back in the pool for a booking: what is free on its nodes and will
    /// be needed, and a part of what it asks for at least.
    ///
    /// Room that is being freed is counted once a node: `freed` says for which it is.
    fn held_back(&self, booking: &Booking, freed: &mut BTreeSet<NodeId>) -> Resources {
        let mut permille = self.world.policy().hold_permille;
        if self.nodes_known <= NODES_SMALL {
            permille = permille.min(HOLD_SMALL_PERMILLE);
        }
        let mut sum = Resources::ZERO;
        for place in &booking.reservation.places {
            let Some(kept) = self.room.kept.get(&place.node) else {
                continue;
            };
            let node = self.world.node(place.node);
            let free = self.room.free(place.node).larger(&Resources::ZERO);
            if kept.freed {
                if !freed.insert(place.node) {
                    continue;
                }
                sum += &free.minus(&self.room.beside_freed(node, kept).smaller(&free));
                continue;
            }
            for d in 0..DIMENSIONS {
                let kept_free = (free[d] - kept.spare[d].max(0)).clamp(0, kept.need[d]);
                let part = kept.need[d] * i64::from(permille) / 1_000;
                sum[d] += kept_free.max(part);
            }
        }
        sum
    }
}

/// When a node has room for so many tasks; those with gpus that are not asked for last.
type Soon = (TimeMs, bool, NodeId, u32);

/// The first places of as many tasks as there are, and when the last has room.
fn places_of(soonest: BTreeSet<Soon>, size: u32) -> Option<(Vec<Place>, TimeMs)> {
    if soonest.len() < size as usize {
        return None;
    }
    let until = soonest.last()?.0;
    let mut places: BTreeMap<NodeId, u32> = BTreeMap::new();
    for (_, _, node, _) in soonest {
        *places.entry(node).or_default() += 1;
    }
    let place = |(node, tasks)| Place { node, tasks };
    Some((places.into_iter().map(place).collect(), until))
}

/// What became of a reservation.
enum Renewed {
    /// Until then.
    Waits(TimeMs),
    /// Its tasks are placed, or their room is being freed: it is gone from its place.
    Started,
    /// It is to be given up.
    Falls,
}
