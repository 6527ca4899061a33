//! A round: decides which waiting tasks get which places, and changes nothing.
//!
//! The pipeline, in order: [`share`] computes what each queue is entitled to;
//! [`order`] says which queue's job goes next; [`feasible`] says which nodes
//! would take it; [`score`] picks the one that leaves the most useful room.
//! What was decided comes back into the World as one event and is checked again
//! there. The work of a round is bounded by the policy; what is left continues
//! in the next.
//!
//! Not here: why a task waits, in words ([`explain`] recomputes that on demand).

pub mod explain;
pub mod feasible;
pub mod order;
pub mod score;
pub mod share;

use crate::event::Placement;
use crate::ids::{ClassId, TaskId};
use crate::reason::WaitingReason;
use crate::time::TimeMs;
use crate::world::World;
use feasible::Taken;
use order::Order;
use score::best_node;
use std::collections::BTreeMap;

/// What a round decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they were decided.
    pub placements: Vec<Placement>,
    /// Why each class that found no node found none.
    pub failed: BTreeMap<ClassId, WaitingReason>,
    /// False: the bound was reached and the next round continues.
    pub complete: bool,
}

/// Plans one round at `now`.
///
/// The same World at the same time gives the same plan. `world` is taken mutably
/// only to move its time on, which a replay does at the same point.
pub fn plan_round(world: &mut World, now: TimeMs) -> Plan {
    world.move_on(now);
    let world = &*world;
    let mut taken = Taken::default();
    let mut order = Order::new(world, now);
    let mut placements = Vec::new();
    let mut failed = BTreeMap::new();
    let bound = world.policy().placements_per_round_max as usize;
    while let Some(head) = order.first() {
        if placements.len() == bound {
            return Plan {
                placements,
                failed,
                complete: false,
            };
        }
        let needs = world.classes().needs(head.class);
        match best_node(world, now, &taken, needs) {
            Ok(node) => {
                taken.take(world, needs, world.node(node));
                let task = TaskId {
                    job: head.job,
                    index: order.place(&head),
                };
                placements.push(Placement { task, node });
            }
            Err(reason) => {
                failed.insert(head.class, reason);
                order.fail(head.class);
            }
        }
    }
    Plan {
        placements,
        failed,
        complete: true,
    }
}
