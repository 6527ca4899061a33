//! A round: decides which waiting tasks get which places, who loses one, and for whom
//! room is kept. It changes nothing.
//!
//! The pipeline, in order: reservations of earlier rounds are looked at again
//! ([`reserve`]); then, in the order of the fair share ([`share`], [`order`]), tasks and
//! gangs get the best places there are ([`room`], with [`feasible`] and [`score`]), and
//! whoever's turn it is and who fits nowhere has places taken away for it, if its queue
//! is below its guarantee ([`reclaim`]), or room kept; last, guarantees that are still
//! unserved are looked at.
//!
//! Where the policy knows one line instead of shares, that is gone along instead
//! ([`backfill`]).
//!
//! What was decided comes back into the World as one event and is checked again
//! there. The work of a round is bounded by the policy; what is left continues
//! in the next.
//!
//! Not here: why a task waits, in words ([`explain`] recomputes that on demand).

mod backfill;
pub mod barrier;
pub mod counts;
pub mod explain;
pub mod feasible;
mod fill;
pub mod order;
mod reclaim;
mod reserve;
pub mod room;
pub mod score;
pub mod share;

use crate::event::{Event, Placement, Preemption};
use crate::ids::{QueueId, TaskId};
use crate::index::NodeIndex;
use crate::isolation::Way;
use crate::policy::Discipline;
use crate::queue::Queue;
use crate::reservation::Reservation;
use crate::resources::Resources;
use crate::soonest::Soonest;
use crate::time::TimeMs;
use crate::world::World;
use barrier::Stopped;
use order::{Head, Order};
use reclaim::Running;
use reserve::{Booking, NODES_SMALL, Tried};
use room::{Found, Room};

/// What a round decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Places given, in the order in which they were decided.
    pub placements: Vec<Placement>,
    /// Places taken away.
    pub preemptions: Vec<Preemption>,
    /// All reservations from now on, oldest first; `None` where they are as they were.
    pub reservations: Option<Vec<Reservation>>,
    /// False: the bound was reached and the next round continues.
    pub complete: bool,
}

impl Plan {
    /// A plan of a round in which nothing could change.
    fn nothing() -> Plan {
        Plan {
            placements: Vec::new(),
            preemptions: Vec::new(),
            reservations: None,
            complete: true,
        }
    }

    /// What commits it.
    pub fn into_event(self) -> Event {
        Event::PlanCommitted {
            placements: self.placements,
            preemptions: self.preemptions,
            reservations: self.reservations,
        }
    }

    /// True if there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.placements.is_empty() && self.preemptions.is_empty() && self.reservations.is_none()
    }
}

/// Plans one round at `now`.
///
/// The same World at the same time gives the same plan. `world` is taken mutably
/// only to move its time on, which a replay does at the same point.
pub fn plan_round(world: &mut World, now: TimeMs) -> Plan {
    world.move_on(now);
    if world.is_quiet() {
        return Plan::nothing();
    }
    let (plan, edge) = world.with_caches(|world, index, soonest| {
        let mut round = Round::new(world, now, index, soonest);
        let (complete, edge) = match world.policy().order {
            Discipline::Fair => round.go_by_shares(),
            discipline => round.go_in_line(discipline),
        };
        let plan = round.into_plan(complete);
        index.settle();
        (plan, edge)
    });
    if plan.is_empty() && plan.complete {
        world.fall_quiet(edge);
    }
    plan
}

/// A round at work.
struct Round<'w> {
    world: &'w World,
    now: TimeMs,
    order: Order<'w>,
    room: Room<'w>,
    bookings: Vec<Booking>,
    stopped: Vec<Stopped>,
    /// Free in the pool.
    free: Resources,
    least: Resources,
    nodes_known: usize,
    running: Option<Running>,
    soonest: &'w mut Soonest,
    placements: Vec<Placement>,
    preemptions: Vec<Preemption>,
    preemptions_max: u64,
}

impl<'w> Round<'w> {
    fn new(
        world: &'w World,
        now: TimeMs,
        index: &'w mut NodeIndex,
        soonest: &'w mut Soonest,
    ) -> Self {
        let room = Room::indexed(world, now, index);
        let mut round = Round {
            world,
            now,
            order: Order::new(world, now),
            free: room.free_in_all(),
            least: room.least_asked(),
            room,
            bookings: Vec::new(),
            stopped: Vec::new(),
            nodes_known: world.nodes().iter().filter(|node| node.is_known()).count(),
            running: None,
            soonest,
            placements: Vec::new(),
            preemptions: Vec::new(),
            preemptions_max: world.preemptions_left(now),
        };
        if round.nodes_known <= NODES_SMALL {
            round.order.let_short_work_pass();
        }
        round
    }

    /// False if the bound came first; and when reservations change with time alone.
    fn go_by_shares(&mut self) -> (bool, Option<TimeMs>) {
        self.renew_reservations();
        let complete = self.place_in_order();
        if complete {
            self.serve_claims();
        }
        (complete, self.next_edge())
    }

    /// Gives places until nobody who may go is left; false if the bound came first.
    fn place_in_order(&mut self) -> bool {
        self.update_barrier();
        let policy = self.world.policy();
        while let Some(first) = self.order.first() {
            if self.placements.len() >= policy.placements_per_round_max as usize {
                return false;
            }
            let cost = self.order.cost(&first);
            if !self.order.within_limits(first.leaf, &cost) || !self.order.within_bounds(&first) {
                self.order.shut(&first);
                continue;
            }
            let near = self.order.near(policy.pass_permille);
            if near.iter().any(|head| self.place(head)) || self.reclaim(&first) {
                continue;
            }
            match self.reserve(&first) {
                Tried::Reserved => self.update_barrier(),
                Tried::Nowhere => self.order.block(first.class),
                Tried::PassedOver => self.order.shut(&first),
                Tried::Full => self.stop_others(&first),
            }
        }
        true
    }

    /// Gives a head its places, if there is room.
    fn place(&mut self, head: &Head) -> bool {
        let cost = self.order.cost(head);
        if !self.order.within_limits(head.leaf, &cost) || !self.order.within_bounds(head) {
            // A sibling came closer to the limit meanwhile.
            return false;
        }
        let Ok(found) = self.room.find(&self.order, head) else {
            return false;
        };
        let tasks = self.order.tasks(head);
        self.order.place(head, &tasks);
        self.add_placements(head, &tasks, &found);
        if self.bookings.is_empty() {
            self.order.take_free(&self.order.cost(head));
        } else {
            self.update_barrier();
        }
        true
    }

    fn add_placements(&mut self, head: &Head, tasks: &[u32], found: &[Found]) {
        let job = head.job;
        for (index, Found { node, took }) in tasks.iter().zip(found) {
            let (task, node) = (TaskId { job, index: *index }, *node);
            let usual = took.choice.way == Way::default();
            let way = (!usual).then_some(took.choice.way);
            self.placements.push(Placement { task, node, way });
            self.free -= &took.choice.overhead;
        }
        self.free -= &self.order.cost(head);
    }

    /// Offers every claim that is still unserved, whatever is closed, to [`reclaim`]:
    /// all work where there are guarantees, else what outranks others of its queue.
    fn serve_claims(&mut self) {
        let by_class = self.world.policy().preempt_by_class;
        let outranked = |queue: &Queue| by_class && queue.may_be_outranked();
        let queues = self.world.queues();
        let all = self.order.has_guarantees();
        if !all && !outranked(queues.queue(QueueId::ROOT)) {
            return;
        }
        self.order.open_to_claims();
        for queue in queues.iter() {
            let open = queue.is_leaf() && queues.cordoned(queue.id).is_none();
            if !open || !(all || outranked(queue)) {
                continue;
            }
            while let Some(head) = self.order.head_of(queue.id) {
                if !self.reclaim(&head) {
                    self.order.shut(&head);
                }
            }
        }
    }

    fn into_plan(self, complete: bool) -> Plan {
        let reservations: Vec<Reservation> = self
            .bookings
            .into_iter()
            .map(|booking| booking.reservation)
            .collect();
        let changed = reservations != self.world.reservations();
        Plan {
            placements: self.placements,
            preemptions: self.preemptions,
            reservations: changed.then_some(reservations),
            complete,
        }
    }
}
