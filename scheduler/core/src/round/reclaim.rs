//! Reclaiming guarantees (rule 7 of the fair share): whose places are taken away for
//! work whose queue is below its guarantee, so that it cannot go on for ever; and for work
//! that outranks others of its own queue.
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
//!
//! Inside a leaf work takes places from lower classes, whatever its queue holds: that
//! changes no queue's share. The lowest class goes first, of that the least lost work.
//!
//! The rules stand in `rules`, the search for the cheapest list in `search`.

mod rules;
mod running;
mod search;
mod trial;

pub use running::Running;

use super::Round;
use super::barrier::Work;
use super::feasible::will_take;
use super::order::Head;
use super::reserve::Booking;
use super::room::{Group, group_of};
use crate::event::Preemption;
use crate::isolation::whole;
use crate::reservation::{Place, Reservation};
use crate::resources::Resources;
use crate::spec::{PriorityClass, Within};
use search::{Ground, STARTS_MAX, Search};
use std::collections::BTreeMap;
use trial::Trial;

/// By which rule places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// By A alone.
    A,
    /// By A or B.
    AOrB,
    /// From lower classes of the same leaf.
    Class(PriorityClass),
}

impl Round<'_> {
    /// Takes places away for a head whose queue is below its guarantee or that outranks
    /// others of its queue, and keeps them for it; false if that is not allowed, or would
    /// not help.
    pub(super) fn reclaim(&mut self, head: &Head) -> bool {
        let work = Work {
            leaf: head.leaf,
            cost: self.order.cost(head),
        };
        let rights = self.rights(head, &work);
        let bounded = self.preemptions_left() == 0 || !self.order.within_bounds(head);
        if bounded || rights.is_empty() {
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
        let grounds = self.grounds(head);
        let mut running = match self.running.take() {
            Some(running) => running,
            None => Running::new(self.world, &self.order, self.now),
        };
        let search = Search {
            world: self.world,
            queues: self.world.queues(),
            order: &self.order,
            room: &self.room,
            running: &running,
            head,
            work,
            now: self.now,
            preemptions_left: self.preemptions_left(),
        };
        let found = search.find(&rights, &grounds);
        if let Some(trial) = &found {
            self.carry_out(&mut running, head, &work, trial);
        }
        self.running = Some(running);
        found.is_some()
    }

    fn preemptions_left(&self) -> u64 {
        self.preemptions_max
            .saturating_sub(self.preemptions.len() as u64)
    }

    /// True if a head may take places at all.
    pub(super) fn has_right(&self, head: &Head, work: &Work) -> bool {
        self.order.has_claim(work) || self.world.outranks_running(&self.world.jobs()[&head.job])
    }

    /// By which rules a head may take places, in the order in which they are tried.
    fn rights(&self, head: &Head, work: &Work) -> Vec<Right> {
        let job = &self.world.jobs()[&head.job];
        let mut rights = Vec::new();
        if self.order.has_claim(work) {
            rights.extend([Right::A, Right::AOrB]);
        }
        if self.world.outranks_running(job) {
            rights.push(Right::Class(job.spec.priority_class));
        }
        rights
    }

    /// Where the tasks of a head may go: anywhere, or in one of the largest groups of
    /// nodes that have what its gang asks for in common.
    fn grounds(&mut self, head: &Head) -> Vec<Ground> {
        let Some(within) = self.world.classes().gang(head.class).within.clone() else {
            let free = self.room.some_places(&self.order, head, None);
            return vec![Ground { group: None, free }];
        };
        let groups = self.groups(head, &within).into_iter().take(STARTS_MAX);
        let ground = |group: Group| {
            let inside =
                |node: &crate::site::Node| group_of(node, &within).as_ref() == Some(&group);
            let free = self.room.some_places(&self.order, head, Some(&inside));
            Ground {
                free,
                group: Some(group),
            }
        };
        groups.map(ground).collect()
    }

    /// The groups in which a gang would fit if the nodes that would take it were empty, the
    /// largest first.
    fn groups(&self, head: &Head, within: &Within) -> Vec<Group> {
        let classes = self.world.classes();
        let needs = classes.needs(head.class);
        let mut groups: BTreeMap<Group, i64> = BTreeMap::new();
        for node in self.world.nodes() {
            if let Some(group) = group_of(node, within)
                && will_take(self.world, self.now, &self.room.taken, needs, node)
            {
                let each = whole(needs, &node.report);
                *groups.entry(group).or_default() += each.times_in(&node.report.capacity);
            }
        }
        let size = i64::from(classes.gang(head.class).size);
        let mut groups: Vec<(i64, Group)> = groups
            .into_iter()
            .filter(|(_, places)| *places >= size)
            .map(|(group, places)| (-places, group))
            .collect();
        groups.sort();
        groups.into_iter().map(|(_, group)| group).collect()
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
        let Some(limited) = self.order.limited_by(work, |_| Resources::ZERO) else {
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

    /// The victims lose their places, which are kept for the head.
    fn carry_out(&mut self, running: &mut Running, head: &Head, work: &Work, trial: &Trial) {
        for position in &trial.victims {
            running.leave(*position);
            let victim = &running.units[*position];
            self.order.leave(victim.work.leaf, &victim.work.cost);
            for (task, node) in victim.tasks.all() {
                self.room.preempt(*task, *node);
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
