//! Why queued tasks wait, for many of them at once and within a bound on work.
//!
//! The rule it keeps: a reason is looked for once a requirement class, since every
//! look costs one at each node; beyond [`NODES_LOOKED_AT_MAX`] none is looked for.
//! The reasons themselves are the core's (`round::explain`).

use jeroboam_core::ids::{ClassId, QueueId};
use jeroboam_core::reason::WaitingReason;
use jeroboam_core::round::explain::waiting_reason;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use std::collections::BTreeMap;

/// Nodes looked at for all reasons together, at most.
const NODES_LOOKED_AT_MAX: usize = 200_000;
/// The stable code of what is beyond that bound.
pub const UNEXAMINED: &str = "unexamined";

/// The reasons that were found on one World at one time.
#[derive(Debug)]
pub struct Reasons<'a> {
    world: &'a World,
    now: TimeMs,
    known: BTreeMap<ClassId, WaitingReason>,
    nodes_looked_at: usize,
}

impl<'a> Reasons<'a> {
    /// None yet.
    pub fn new(world: &'a World, now: TimeMs) -> Self {
        Reasons {
            world,
            now,
            known: BTreeMap::new(),
            nodes_looked_at: 0,
        }
    }

    /// Why queued tasks of a class wait in a leaf; `None` beyond the bound.
    pub fn of(&mut self, leaf: QueueId, class: ClassId) -> Option<WaitingReason> {
        // A cordon is the leaf's; all else is the same wherever the class waits.
        if self.world.queues().cordoned(leaf).is_some() {
            return Some(WaitingReason::QueueCordoned);
        }
        if let Some(known) = self.known.get(&class) {
            return Some(*known);
        }
        if self.nodes_looked_at >= NODES_LOOKED_AT_MAX {
            return None;
        }
        self.nodes_looked_at += self.world.nodes().len();
        let needs = self.world.classes().needs(class);
        let reason = waiting_reason(self.world, self.now, leaf, needs);
        self.known.insert(class, reason);
        Some(reason)
    }
}
