//! One line for all: first come first served, EASY and conservative backfilling.
//!
//! The line goes over all queues, by priority, submission and id ([`line`]). Under
//! [`Discipline::Fifo`] nobody passes whoever is first and does not fit. Otherwise the
//! first of those who do not fit hold reservations (one under [`Discipline::Easy`], many
//! under [`Discipline::Conservative`]): room on certain nodes from a certain time on, the
//! earliest that walltime limits and the reservations before it allow ([`profile`]). Who
//! is behind starts where, by its own walltime limit, it delays none of them: it ends
//! before, or there is room beside.
//!
//! A reservation is a promise. Each round looks at each again, in the order of the line,
//! while all others hold: it becomes no later, and earlier where something has ended
//! early. Only those who come to stand before somebody in the line, or what breaks its own
//! walltime limit or fails, can delay it: whoever cannot keep its time has all behind it
//! planned anew.
//!
//! Who is over a limit, or fits no node as things are even once all has ended, neither
//! stops the line nor holds a reservation. Shares and guarantees play no part.

mod line;
mod profile;
mod timeline;

use super::Round;
use super::barrier::Work;
use super::order::Head;
use super::reserve::Booking;
use super::room::{Found, Kept};
use super::score::score;
use crate::ids::{ClassId, JobId, NodeId};
use crate::policy::Discipline;
use crate::reservation::{Place, Reservation};
use crate::resources::Resources;
use crate::time::TimeMs;
use line::Line;
use profile::Profile;
use std::collections::{BTreeMap, BTreeSet};

/// What is known while the line is gone along.
struct Walk<'w> {
    line: Line,
    profile: Profile<'w>,
    /// How many of those who do not fit may hold a reservation.
    depth: usize,
    /// Nobody passes.
    strict: bool,
    /// Reservations of earlier rounds whose turn has not come, by job and first task,
    /// with their place among them.
    promises: BTreeMap<(JobId, u32), (usize, Booking)>,
    /// Classes that fit nowhere now, or never.
    failed: BTreeSet<ClassId>,
}

/// What there is for somebody.
enum Chance {
    /// Room now, and it is taken.
    Now(Vec<Found>),
    /// Room from then on.
    Later(Vec<Place>, TimeMs),
    /// Room later, but it may hold none.
    NotNow,
    /// None, as things are.
    Never,
}

impl Round<'_> {
    /// Goes along the line. False if the bound came first; and when a reservation is due.
    pub(super) fn go_in_line(&mut self, discipline: Discipline) -> (bool, Option<TimeMs>) {
        let policy = self.world.policy();
        let mut walk = Walk {
            line: Line::new(self.world),
            profile: Profile::new(self.world, self.now),
            depth: match discipline {
                Discipline::Fair | Discipline::Fifo => 0,
                Discipline::Easy => 1,
                Discipline::Conservative => policy.conservative_depth as usize,
            },
            strict: discipline == Discipline::Fifo,
            promises: BTreeMap::new(),
            failed: BTreeSet::new(),
        };
        self.take_over_promises(&mut walk);
        let mut complete = true;
        while let Some(head) = walk.line.first() {
            if self.placements.len() >= policy.placements_per_round_max as usize {
                complete = false;
                break;
            }
            if !self.serve(&mut walk, &head) {
                break;
            }
        }
        if !complete {
            self.keep_promises(walk);
        }
        let due = self.bookings.iter();
        let due = due.map(|booking| booking.reservation.promised);
        (complete, due.filter(|at| *at > self.now).min())
    }

    /// Gives the first of the line its places or a reservation, or passes over it; false
    /// if nobody may pass.
    fn serve(&mut self, walk: &mut Walk<'_>, head: &Head) -> bool {
        let job = &self.world.jobs()[&head.job];
        let Some(tasks) = self.order.unit(job, head.class) else {
            walk.line.spend(self.world);
            return true;
        };
        if self.bookings.len() >= walk.depth {
            self.drop_promises(walk);
        }
        let promise = walk.promises.remove(&(head.job, tasks[0]));
        let promise = promise.map(|(_, booking)| booking);
        if let Some(booking) = &promise {
            self.open(walk, booking);
        }
        let cost = self.order.cost(head);
        let allowed = self.order.within_limits(head.leaf, &cost) && self.order.within_bounds(head);
        if walk.failed.contains(&head.class) || !allowed {
            walk.line.pass_over();
            return true;
        }
        let mut chance = self.chance(walk, head, promise.as_ref());
        if is_delayed(&chance, promise.as_ref(), self.now) && !walk.promises.is_empty() {
            self.drop_promises(walk);
            chance = self.chance(walk, head, promise.as_ref());
        }
        match chance {
            Chance::Now(found) => {
                self.order.place(head, &tasks);
                self.add_placements(head, &tasks, &found);
                if tasks.len() > 1 {
                    walk.line.follow(job);
                }
            }
            Chance::Later(..) if walk.strict => return false,
            Chance::Later(places, promised) => {
                self.promise(walk, head, tasks, (places, promised));
            }
            Chance::NotNow | Chance::Never => {
                walk.failed.insert(head.class);
                walk.line.pass_over();
            }
        }
        true
    }

    /// What there is for a head beside the reservations that hold.
    fn chance(&mut self, walk: &mut Walk<'_>, head: &Head, promise: Option<&Booking>) -> Chance {
        if let Some(found) = self.start_now(walk, head) {
            return Chance::Now(found);
        }
        if self.bookings.len() >= walk.depth && !walk.strict {
            return Chance::NotNow;
        }
        let soonest = walk.profile.soonest(&self.room, self.soonest, head.class);
        // What has room now by numbers and does not start is over a budget.
        let Some((places, at)) = soonest.filter(|(_, at)| *at > self.now) else {
            return Chance::Never;
        };
        let Some(Booking { reservation, .. }) = promise else {
            return Chance::Later(places, at);
        };
        // What is over its walltime limit may end at any moment: that is no delay.
        let due = reservation.promised.max(self.now + 1);
        let needs = self.world.classes().needs(head.class);
        if due <= at && walk.profile.holds(&self.room, reservation, needs, due) {
            return Chance::Later(reservation.places.clone(), reservation.promised);
        }
        Chance::Later(places, at)
    }

    /// Takes places now for all that go at once, if they delay no reservation.
    fn start_now(&mut self, walk: &mut Walk<'_>, head: &Head) -> Option<Vec<Found>> {
        let gang = self.world.classes().gang(head.class);
        let mut found = Vec::with_capacity(gang.size as usize);
        if gang.within.is_some() {
            let places = walk.profile.places_at(&self.room, head.class, self.now)?;
            let each = |place: &Place| vec![place.node; place.tasks as usize];
            for node in places.iter().flat_map(each) {
                if !self.start_on(walk, head, Some(node), &mut found) {
                    return None;
                }
            }
            return Some(found);
        }
        for _ in 0..gang.size {
            let node = self.pick_beside(walk, head.class);
            if !self.start_on(walk, head, node, &mut found) {
                return None;
            }
        }
        Some(found)
    }

    /// Takes a node for one more task; where there is none, all are given back.
    fn start_on(
        &mut self,
        walk: &mut Walk<'_>,
        head: &Head,
        node: Option<NodeId>,
        found: &mut Vec<Found>,
    ) -> bool {
        let needs = self.world.classes().needs(head.class);
        if let Some(node) = node.filter(|node| self.room.has_room(needs, *node)) {
            found.push(self.room.take(needs, head.leaf, node));
            walk.profile.start(needs, node, true);
            return true;
        }
        for place in found.drain(..).rev() {
            self.room.give(&place);
            walk.profile.start(needs, place.node, false);
        }
        false
    }

    /// The best node for one task that starts now.
    fn pick_beside(&mut self, walk: &mut Walk<'_>, class: ClassId) -> Option<NodeId> {
        let needs = self.world.classes().needs(class);
        let open = self.room.pick_open(class, None).ok();
        let reserved: Vec<NodeId> = walk.profile.reserved().collect();
        let beside = reserved.into_iter().filter(|id| {
            let node = self.world.node(*id);
            let room = &self.room;
            room.has_room(needs, *id) && walk.profile.places(room, needs, node, self.now, 1) > 0
        });
        let all = beside.chain(open);
        let taken = &self.room.taken;
        let scored = all.map(|id| (score(self.world, taken, needs, self.world.node(id)), id));
        scored.min().map(|(_, node)| node)
    }

    /// Reserves for a head.
    fn promise(
        &mut self,
        walk: &mut Walk<'_>,
        head: &Head,
        tasks: Vec<u32>,
        (places, promised): (Vec<Place>, TimeMs),
    ) {
        let cost = self.order.cost(head);
        self.order.reserve(head.leaf, head.job, &tasks, &cost);
        let booking = Booking {
            reservation: Reservation {
                job: head.job,
                tasks,
                places,
                promised,
                freed: false,
            },
            class: head.class,
            work: Work {
                leaf: head.leaf,
                cost,
            },
        };
        self.close_for(walk, &booking);
        self.bookings.push(booking);
    }

    /// Room is kept for a booking: its nodes are looked at with regard to that.
    fn close_for(&mut self, walk: &mut Walk<'_>, booking: &Booking) {
        let needs = self.world.classes().needs(booking.class);
        let reservation = &booking.reservation;
        walk.profile.keep(&self.room, reservation, needs, true);
        for place in &reservation.places {
            let kept = Kept {
                owner: booking.work,
                class: booking.class,
                need: needs.resources.times(place.tasks.into()),
                until: reservation.promised,
                spare: Resources::ZERO,
                freed: false,
            };
            self.room.keep(place.node, kept);
        }
    }

    /// Undoes [`Round::close_for`].
    fn open(&mut self, walk: &mut Walk<'_>, booking: &Booking) {
        let needs = self.world.classes().needs(booking.class);
        let reservation = &booking.reservation;
        walk.profile.keep(&self.room, reservation, needs, false);
        for place in &reservation.places {
            if !walk.profile.is_reserved(place.node) {
                self.room.open(place.node, &Resources::ZERO);
            }
        }
        self.room.forget_failed();
    }

    /// Those of the World's reservations that are for somebody who still waits.
    fn take_over_promises(&mut self, walk: &mut Walk<'_>) {
        if walk.depth == 0 {
            return;
        }
        for (position, reservation) in self.world.reservations().iter().enumerate() {
            let booking = self.booking(reservation).filter(|_| !reservation.freed);
            if let Some(booking) = booking {
                self.close_for(walk, &booking);
                let key = (reservation.job, reservation.tasks[0]);
                walk.promises.insert(key, (position, booking));
            }
        }
    }

    /// Whoever has not been reached holds nothing any more.
    fn drop_promises(&mut self, walk: &mut Walk<'_>) {
        for (_, booking) in std::mem::take(&mut walk.promises).into_values() {
            self.open(walk, &booking);
        }
    }

    /// Those whose turn has not come in this round keep what they hold.
    fn keep_promises(&mut self, walk: Walk<'_>) {
        let mut kept: Vec<(usize, Booking)> = walk.promises.into_values().collect();
        kept.sort_by_key(|(position, _)| *position);
        self.bookings
            .extend(kept.into_iter().map(|(_, booking)| booking));
    }
}

/// True if somebody would have to wait, and not just until the time that was promised.
fn is_delayed(chance: &Chance, promise: Option<&Booking>, now: TimeMs) -> bool {
    match chance {
        Chance::Now(_) | Chance::NotNow | Chance::Never => false,
        Chance::Later(_, at) => promise.is_none_or(|booking| {
            let promised = booking.reservation.promised;
            *at > promised || promised <= now
        }),
    }
}
