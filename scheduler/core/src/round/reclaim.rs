//! Reclaiming guarantees (rule 7 of the fair share): whose places are taken away for
//! work whose queue is below its guarantee, so that it cannot go on for ever.
//!
//! A victim is a task, or a gang whole. `q` and `y₀` are the children of the lowest queue
//! above both, toward the claimant and toward the victim; every queue `y` from `y₀` down
//! to the victim's leaf is asked.
//!
//! - A: `q` is below its guarantee in something the work is about, and each `y` keeps its
//!   own in all that the victim holds.
//! - B: with the work `q` is still inside its guarantee in everything that it asks for,
//!   and the victim is beyond that of each `y`, counting its units in the order in which
//!   they started.
//!
//! A list by A alone is tried first. The queues above both may not fall below what they
//! hold of their guarantee, unless all victims fall under B. Least lost work goes first.

mod running;

pub use running::Running;

use super::Round;
use super::barrier::Work;
use super::feasible::refusal;
use super::order::{Head, is_about};
use super::reserve::Booking;
use super::room::{Group, group_of};
use super::share::fine;
use crate::event::Preemption;
use crate::ids::{NodeId, QueueId, TaskId};
use crate::isolation::whole;
use crate::reason::Refusal;
use crate::reservation::{Place, Reservation};
use crate::resources::{DIMENSIONS, Resources};
use crate::site::Node;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that are tried for the first task of a gang.
const STARTS_MAX: usize = 8;
/// Of a longer list of victims nobody is left out again.
const VICTIMS_WEIGHED_MAX: usize = 64;

/// A node on which room is wanted.
#[derive(Clone, Copy)]
struct Wanted<'n> {
    node: NodeId,
    need: &'n Resources,
    free: Resources,
}

/// A list of victims that is being put together, and what would be left.
struct Trial {
    /// By A alone, or by A and B.
    only_a: bool,
    /// B allows every victim.
    all_b: bool,
    rem: Vec<Resources>,
    victims: Vec<usize>,
    freed: BTreeMap<NodeId, Resources>,
    places: BTreeMap<NodeId, u32>,
    taken: BTreeMap<NodeId, Resources>,
}

impl Round<'_> {
    /// Takes places away for a head whose queue is below its guarantee, and keeps them
    /// for it; false if that is not allowed, or would not help.
    pub(super) fn reclaim(&mut self, head: &Head) -> bool {
        let work = Work {
            leaf: head.leaf,
            cost: self.order.cost(head),
        };
        if self.preemptions.len() >= self.world.policy().preemptions_per_round_max as usize
            || !self.order.has_claim(&work)
            || !self.order.within_bounds(head)
        {
            return false;
        }
        let has_room = self.room.has_room_for(&self.order, head);
        if has_room && self.order.within_limits(head.leaf, &work.cost) {
            // Free room will do, once it is its turn.
            return false;
        }
        if self.give_up_below_limits(&work) {
            // Who goes at once need not wait for the next round.
            self.place(head);
            return true;
        }
        if has_room && self.holds_less_than_limits(&work) {
            // It waits behind a reservation that it must respect, not behind who runs.
            return false;
        }
        let running = match self.running.take() {
            Some(running) => running,
            None => Running::new(self.world, &self.order, self.now),
        };
        let found = [true, false]
            .into_iter()
            .find_map(|only_a| self.try_reclaim(&running, head, &work, only_a));
        if let Some(trial) = &found {
            self.carry_out(&running, head, &work, trial);
        }
        self.running = Some(running);
        found.is_some()
    }

    /// True if only reservations are between the work and the limits above it.
    fn holds_less_than_limits(&self, work: &Work) -> bool {
        self.world.queues().path(work.leaf).all(|id| {
            let with = self.order.net(id).plus(&work.cost);
            let limit = &self.world.queues().queue(id).spec.limit;
            !limit.exceeded(&with, &work.cost)
        })
    }

    /// Gives up a reservation that takes up what a limit above the work allows, if the
    /// work need not respect it: a promise goes before a place is taken away.
    fn give_up_below_limits(&mut self, work: &Work) -> bool {
        let net = self.begin(true).rem;
        let Some(limited) = self.order.limited_by(work, &net) else {
            return false;
        };
        let queues = self.world.queues();
        let in_the_way = |booking: &Booking| {
            !booking.reservation.freed
                && queues.path(booking.work.leaf).any(|id| id == limited)
                && self.order.ignores(work, &booking.work)
        };
        let position = self.bookings.iter().position(in_the_way);
        position.map(|position| self.unbook(position)).is_some()
    }

    /// Whose places a head may take. Where the cheapest node for its first task leads
    /// nowhere, others are tried: a gang may need one that takes several.
    fn try_reclaim(
        &self,
        running: &Running,
        head: &Head,
        work: &Work,
        only_a: bool,
    ) -> Option<Trial> {
        let gang = self.world.classes().gang(head.class);
        let Some(within) = &gang.within else {
            let all = BTreeSet::new();
            return self.try_reclaim_beside(running, head, work, only_a, all);
        };
        // All places in one group: those with the most of them first.
        let needs = self.world.classes().needs(head.class);
        let mut groups: BTreeMap<Group, i64> = BTreeMap::new();
        for node in self.world.nodes() {
            if let Some(group) = group_of(node, within) {
                *groups.entry(group).or_default() +=
                    needs.resources.times_in(&node.report.capacity);
            }
        }
        let mut groups: Vec<(i64, Group)> = groups
            .into_iter()
            .map(|(group, places)| (-places, group))
            .collect();
        groups.retain(|(places, _)| -places >= i64::from(gang.size));
        groups.sort();
        groups.into_iter().take(STARTS_MAX).find_map(|(_, group)| {
            let outside = |node: &&Node| group_of(node, within).as_ref() != Some(&group);
            let others = self.world.nodes().iter().filter(outside);
            let others = others.map(|node| node.id).collect();
            self.try_reclaim_beside(running, head, work, only_a, others)
        })
    }

    /// The same on other nodes than those that are `avoided`.
    fn try_reclaim_beside(
        &self,
        running: &Running,
        head: &Head,
        work: &Work,
        only_a: bool,
        mut avoided: BTreeSet<NodeId>,
    ) -> Option<Trial> {
        let gang = self.world.classes().gang(head.class);
        for _ in 0..STARTS_MAX {
            let mut trial = self.begin(only_a);
            let found = self.find_victims(running, head, work, &mut trial, &avoided);
            let first = trial.places.keys().next().copied();
            if found.is_some() {
                let trial = self.without_needless(running, work, trial);
                if self.is_allowed_in_all(running, work, &trial) {
                    return Some(trial);
                }
            }
            if gang.size == 1 || !avoided.insert(first?) {
                return None;
            }
        }
        None
    }

    fn begin(&self, only_a: bool) -> Trial {
        let queues = self.world.queues().iter();
        Trial {
            only_a,
            all_b: true,
            rem: queues.map(|queue| *self.order.net(queue.id)).collect(),
            victims: Vec::new(),
            freed: BTreeMap::new(),
            places: BTreeMap::new(),
            taken: BTreeMap::new(),
        }
    }

    /// Fills a trial with victims until there is room below the limits and on the nodes;
    /// `None` if nobody further may be preempted.
    fn find_victims(
        &self,
        running: &Running,
        head: &Head,
        work: &Work,
        trial: &mut Trial,
        avoided: &BTreeSet<NodeId>,
    ) -> Option<()> {
        while let Some(limited) = self.order.limited_by(work, &trial.rem) {
            let unit = self.least_below(running, work, trial, limited)?;
            self.add_victim(running, work, trial, unit);
        }
        for _ in 0..self.world.classes().gang(head.class).size {
            let (node, victims) = self.cheapest(running, head, work, trial, avoided)?;
            let needs = self.world.classes().needs(head.class);
            let each = whole(needs, &self.world.node(node).report);
            for unit in victims {
                self.add_victim(running, work, trial, unit);
            }
            *trial.places.entry(node).or_default() += 1;
            *trial.taken.entry(node).or_default() += &each;
        }
        Some(())
    }

    /// Leaves out of a list whoever need not go, the largest loss first: who was chosen
    /// to stay below a limit, or for one node, may not be needed after the others.
    fn without_needless(&self, running: &Running, work: &Work, trial: Trial) -> Trial {
        let mut kept = trial;
        if kept.victims.len() > VICTIMS_WEIGHED_MAX {
            return kept;
        }
        let mut candidates = kept.victims.clone();
        candidates.sort_by_key(|unit| std::cmp::Reverse((running.units[*unit].lost, *unit)));
        for unit in candidates {
            let others = kept.victims.iter().filter(|other| **other != unit);
            let others: Vec<usize> = others.copied().collect();
            if let Some(fewer) = self.with_just(running, work, &kept, &others) {
                kept = fewer;
            }
        }
        kept
    }

    /// A trial for the same places with just these victims, if they may be preempted and
    /// are enough.
    fn with_just(
        &self,
        running: &Running,
        work: &Work,
        trial: &Trial,
        victims: &[usize],
    ) -> Option<Trial> {
        let mut other = self.begin(trial.only_a);
        for unit in victims {
            if !self.is_allowed(running, work, &other, *unit) {
                return None;
            }
            self.add_victim(running, work, &mut other, *unit);
        }
        let has_room = |(node, taken): (&NodeId, &Resources)| {
            let free = self.room.soon_free(self.world.node(*node));
            let freed = other.freed.get(node).unwrap_or(&Resources::ZERO);
            taken.fits_in(&free.plus(freed))
        };
        let enough =
            trial.taken.iter().all(has_room) && self.order.limited_by(work, &other.rem).is_none();
        other.places = trial.places.clone();
        other.taken = trial.taken.clone();
        enough.then_some(other)
    }

    /// Of what runs below a queue and may be preempted for the work, the unit with the
    /// least lost work.
    fn least_below(
        &self,
        running: &Running,
        work: &Work,
        trial: &Trial,
        top: QueueId,
    ) -> Option<usize> {
        let below = |leaf: QueueId| self.world.queues().path(leaf).any(|id| id == top);
        let units = (0..running.units.len()).filter(|unit| {
            self.is_open(running, trial, *unit)
                && below(running.units[*unit].work.leaf)
                && self.is_allowed(running, work, trial, *unit)
        });
        units.min_by_key(|unit| (running.units[*unit].lost, std::cmp::Reverse(*unit)))
    }

    /// True if a unit may be preempted at all, and is not lost already.
    fn is_open(&self, running: &Running, trial: &Trial, unit: usize) -> bool {
        let gone = |(task, _): &(TaskId, NodeId)| self.room.victims.contains(task);
        running.units[unit].open
            && !trial.victims.contains(&unit)
            && !running.units[unit].tasks.iter().any(gone)
    }

    /// The node on which one more task gets room with the least lost work, and whom that
    /// takes.
    fn cheapest(
        &self,
        running: &Running,
        head: &Head,
        work: &Work,
        trial: &mut Trial,
        avoided: &BTreeSet<NodeId>,
    ) -> Option<(NodeId, Vec<usize>)> {
        let mut best: Option<(i128, NodeId, Vec<usize>)> = None;
        let open = |node: &&Node| node.is_known() && !avoided.contains(&node.id);
        for node in self.world.nodes().iter().filter(open) {
            let kept = self.room.kept.get(&node.id);
            if kept.is_some_and(|kept| !kept.freed && !self.order.ignores(work, &kept.owner)) {
                continue;
            }
            let needs = self.world.classes().needs(head.class);
            let refusal = refusal(self.world, self.now, &self.room.taken, needs, node);
            if !matches!(refusal, None | Some(Refusal::Busy)) {
                continue;
            }
            let need = whole(needs, &node.report);
            let Some((lost, victims)) = self.victims_on(running, work, trial, node.id, &need)
            else {
                continue;
            };
            if best
                .as_ref()
                .is_none_or(|best| (lost, node.id) < (best.0, best.1))
            {
                best = Some((lost, node.id, victims));
            }
        }
        best.map(|(_, node, victims)| (node, victims))
    }

    /// Whom a node must lose so that `need` fits; none where it fits as it is.
    fn victims_on(
        &self,
        running: &Running,
        work: &Work,
        trial: &mut Trial,
        node: NodeId,
        need: &Resources,
    ) -> Option<(i128, Vec<usize>)> {
        let mut free = self.room.soon_free(self.world.node(node));
        free += trial.freed.get(&node).unwrap_or(&Resources::ZERO);
        free -= trial.taken.get(&node).unwrap_or(&Resources::ZERO);
        if need.fits_in(&free) {
            return Some((0, Vec::new()));
        }
        let none = Vec::new();
        let mut units: Vec<usize> = running.on_node.get(&node).unwrap_or(&none).clone();
        units.retain(|unit| self.is_open(running, trial, *unit));
        units.sort_by_key(|unit| (running.units[*unit].lost, std::cmp::Reverse(*unit)));
        let short = need.minus(&free).larger(&Resources::ZERO);
        let wanted = Wanted { node, need, free };
        if let Some(found) = self.choose_on(running, work, trial, wanted, &units) {
            return Some(found);
        }
        // Small ones may have used up what may be taken of a queue: one that is enough
        // by itself, before several.
        let part = |unit: &usize| {
            let of_node = running.units[*unit].on(node);
            let asked = (0..DIMENSIONS).filter(|d| short[*d] > 0);
            let parts = asked.map(|d| i128::from(of_node[d].min(short[d])) << 20);
            let whole = short.0.iter().filter(|amount| **amount > 0);
            parts
                .zip(whole)
                .map(|(part, whole)| part / i128::from(*whole))
                .sum::<i128>()
        };
        units.sort_by_key(|unit| std::cmp::Reverse(part(unit)));
        self.choose_on(running, work, trial, wanted, &units)
    }

    /// Takes of these units, in their order, who helps and may be preempted, until there
    /// is enough; then whoever turned out not to be needed stays, the last first.
    fn choose_on(
        &self,
        running: &Running,
        work: &Work,
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
        for unit in units.iter().copied() {
            if need.fits_in(&free) {
                break;
            }
            let of_node = running.units[unit].on(node);
            let helps = (0..DIMENSIONS).any(|d| need[d] > free[d] && of_node[d] > 0);
            if helps && self.is_allowed(running, work, trial, unit) {
                self.shift(running, trial, unit, true);
                free += &of_node;
                chosen.push(unit);
            }
        }
        let enough = need.fits_in(&free);
        let mut position = chosen.len();
        while enough && position > 0 {
            position -= 1;
            let without = free.minus(&running.units[chosen[position]].on(node));
            if need.fits_in(&without) {
                free = without;
                let unit = chosen.remove(position);
                self.shift(running, trial, unit, false);
            }
        }
        chosen
            .iter()
            .for_each(|unit| self.shift(running, trial, *unit, false));
        let lost = chosen.iter().map(|unit| running.units[*unit].lost).sum();
        enough.then_some((lost, chosen))
    }

    /// Moves a unit out of the running totals, or back.
    fn shift(&self, running: &Running, trial: &mut Trial, unit: usize, out: bool) {
        let work = running.units[unit].work;
        for id in self.world.queues().path(work.leaf) {
            let rem = &mut trial.rem[id.index()];
            if out {
                *rem -= &work.cost;
            } else {
                *rem += &work.cost;
            }
        }
    }

    fn add_victim(&self, running: &Running, work: &Work, trial: &mut Trial, unit: usize) {
        trial.all_b &= self.allows_b(running, work, trial, unit);
        self.shift(running, trial, unit, true);
        let victim = &running.units[unit];
        for (_, node) in &victim.tasks {
            *trial.freed.entry(*node).or_default() += &victim.each;
        }
        trial.victims.push(unit);
    }

    /// A or B for one more victim, on the running totals.
    fn is_allowed(&self, running: &Running, work: &Work, trial: &Trial, unit: usize) -> bool {
        if self.allows_a(running, work, trial, unit) && self.keeps_above(running, work, trial, unit)
        {
            return true;
        }
        !trial.only_a
            && self.allows_b(running, work, trial, unit)
            && (trial.all_b || self.keeps_above(running, work, trial, unit))
    }

    /// Without one more victim, and with the work, the queues above both keep what they
    /// hold of their guarantees.
    fn keeps_above(&self, running: &Running, work: &Work, trial: &Trial, unit: usize) -> bool {
        let victim = running.units[unit].work;
        let queues = self.world.queues();
        let above = |id: &QueueId| queues.path(victim.leaf).any(|other| other == *id);
        let mut both = queues.path(work.leaf).filter(above);
        both.all(|id| {
            let left = trial.rem[id.index()].minus(&victim.cost);
            self.keeps_guarantee(id, &left.plus(&work.cost))
        })
    }

    /// True if a queue that holds this would hold no less of its guarantee than before.
    fn keeps_guarantee(&self, id: QueueId, after: &Resources) -> bool {
        let (before, after) = (fine(self.order.net(id)), fine(after));
        let guarantee = &self.order.shares().of(id).guarantee;
        (0..DIMENSIONS).all(|d| after[d] >= before[d].min(guarantee[d]))
    }

    fn allows_a(&self, running: &Running, work: &Work, trial: &Trial, unit: usize) -> bool {
        let victim = running.units[unit].work;
        let Some((q, y0)) = self.world.queues().fork(work.leaf, victim.leaf) else {
            return false;
        };
        let shares = self.order.shares();
        let (held, share) = (fine(&trial.rem[q.index()]), shares.of(q));
        let below =
            |d: usize| is_about(&work.cost, &shares.pool, d) && held[d] < share.guarantee[d];
        (0..DIMENSIONS).any(below)
            && self.down_to(y0, victim.leaf).all(|y| {
                let left = fine(&trial.rem[y.index()].minus(&victim.cost));
                let kept = &shares.of(y).guarantee;
                (0..DIMENSIONS).all(|d| victim.cost[d] == 0 || left[d] >= kept[d])
            })
    }

    fn allows_b(&self, running: &Running, work: &Work, trial: &Trial, unit: usize) -> bool {
        let victim = &running.units[unit];
        let Some((q, y0)) = self.world.queues().fork(work.leaf, victim.work.leaf) else {
            return false;
        };
        let with = fine(&trial.rem[q.index()].plus(&work.cost));
        let guarantee = &self.order.shares().of(q).guarantee;
        let inside = (0..DIMENSIONS).all(|d| work.cost[d] == 0 || with[d] <= guarantee[d]);
        let levels = self.down_to(y0, victim.work.leaf).count();
        inside && victim.beyond[..levels].iter().all(|beyond| *beyond)
    }

    /// The queues from a leaf up to one above it, both included.
    fn down_to(&self, top: QueueId, leaf: QueueId) -> impl Iterator<Item = QueueId> + '_ {
        let mut reached = false;
        self.world.queues().path(leaf).take_while(move |id| {
            let goes_on = !reached;
            reached = *id == top;
            goes_on
        })
    }

    /// What the whole list must keep: the guarantees of the queues above claimant and
    /// victims, the limits above the claimant, and the bound of a round.
    fn is_allowed_in_all(&self, running: &Running, work: &Work, trial: &Trial) -> bool {
        let most = self.world.policy().preemptions_per_round_max as usize;
        let victims = trial.victims.iter();
        let tasks: usize = victims.map(|unit| running.units[*unit].tasks.len()).sum();
        let within = self.preemptions.len() + tasks <= most;
        if !within || self.order.limited_by(work, &trial.rem).is_some() {
            return false;
        }
        let mut path = self.world.queues().path(work.leaf);
        let after = |id: QueueId| trial.rem[id.index()].plus(&work.cost);
        trial.all_b || path.all(|id| self.keeps_guarantee(id, &after(id)))
    }

    /// The victims lose their places, which are kept for the head.
    fn carry_out(&mut self, running: &Running, head: &Head, work: &Work, trial: &Trial) {
        for unit in &trial.victims {
            let victim = &running.units[*unit];
            self.order.leave(victim.work.leaf, &victim.work.cost);
            for (task, _) in &victim.tasks {
                self.room.victims.insert(*task);
                self.preemptions.push(Preemption {
                    task: *task,
                    by: head.job,
                });
            }
        }
        let over = |booking: &Booking| {
            let mut places = booking.reservation.places.iter();
            !booking.reservation.freed && places.any(|place| trial.places.contains_key(&place.node))
        };
        while let Some(position) = self.bookings.iter().position(over) {
            self.unbook(position);
        }
        let places = trial.places.iter().map(|(node, tasks)| Place {
            node: *node,
            tasks: *tasks,
        });
        let reservation = Reservation {
            job: head.job,
            tasks: self.order.tasks(head),
            places: places.collect(),
            promised: self.now,
            freed: true,
        };
        let booking = Booking {
            reservation,
            class: head.class,
            work: *work,
        };
        self.book(booking, self.now);
        // After a reclaim nothing stays marked as failed.
        self.room.forget_failed();
        self.order.reopen();
        self.update_barrier();
    }
}
