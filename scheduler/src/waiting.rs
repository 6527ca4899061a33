//! Why queued tasks wait, for many of them at once and within a bound on work.
//!
//! The rule it keeps: a reason is looked for once a leaf and requirement class, since a
//! look costs one at each node; beyond [`NODES_LOOKED_AT_MAX`] none is looked for.
//! The reasons themselves are the core's (`round::explain`).

use jeroboam_core::ids::{ClassId, QueueId};
use jeroboam_core::reason::WaitingReason;
use jeroboam_core::round::explain;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use std::collections::BTreeSet;

/// Nodes looked at for all reasons together, at most.
const NODES_LOOKED_AT_MAX: usize = 200_000;
/// The stable code of what is beyond that bound.
pub const UNEXAMINED: &str = "unexamined";

/// The reasons that were found on one World at one time.
pub struct Reasons<'a> {
    world: &'a World,
    reasons: explain::Reasons<'a>,
    known: BTreeSet<(QueueId, ClassId)>,
    nodes_looked_at: usize,
}

impl<'a> Reasons<'a> {
    /// None yet.
    pub fn new(world: &'a World, now: TimeMs) -> Self {
        Reasons {
            world,
            reasons: explain::Reasons::new(world, now),
            known: BTreeSet::new(),
            nodes_looked_at: 0,
        }
    }

    /// Why queued tasks of a class wait in a leaf; `None` beyond the bound.
    pub fn of(&mut self, leaf: QueueId, class: ClassId) -> Option<WaitingReason> {
        if self.known.insert((leaf, class)) {
            if self.nodes_looked_at >= NODES_LOOKED_AT_MAX {
                self.known.remove(&(leaf, class));
                return None;
            }
            self.nodes_looked_at += self.world.nodes().len();
        }
        Some(self.reasons.of_class(leaf, class))
    }
}
