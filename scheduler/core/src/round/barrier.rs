//! Who is kept from going so that reservations come true (rule R of the fair share).
//!
//! A resource is closed when what is free of it, less what is held back for
//! reservations, is less than half of the smallest ask; or when somebody's turn came
//! who could get neither room nor a reservation. Work that mostly needs a closed
//! resource waits, whatever its key: so nobody is overtaken without limit.

use super::order::dominant;
use crate::ids::QueueId;
use crate::resources::{DIMENSIONS, Resources};
use crate::time::TimeMs;

/// Work is kept out by a closed resource of which it asks for at least the eighth
/// part, relative to the pool, of what it asks most of.
const MATTERS: i128 = 8;

/// Which resources are closed, and because of whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Barrier {
    /// Free in the pool.
    pub free: Resources,
    /// The smallest amount that anything waiting asks for; 0 where nothing does.
    pub least: Resources,
    /// Held back for reservations.
    pub held_back: Vec<HeldBack>,
    /// Heads that could get neither room nor a reservation.
    pub stopped: Vec<Stopped>,
}

/// Room that is held back in the pool for one reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack {
    /// Whose.
    pub owner: Work,
    /// How much.
    pub amount: Resources,
    /// From when on it is needed.
    pub until: TimeMs,
}

/// Somebody whose turn it is, and the resources that are closed for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Whose turn.
    pub owner: Work,
    /// What it is about.
    pub closed: [bool; DIMENSIONS],
}

/// Work of a leaf, as far as others' rights against it depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Where it waits.
    pub leaf: QueueId,
    /// What it asks for in all.
    pub cost: Resources,
}

impl Barrier {
    /// Which resources are closed, as far as those count of whom `counts` says so; it is
    /// told from when on room is needed, where some is held back.
    pub fn closed(&self, counts: impl Fn(&Work, Option<TimeMs>) -> bool) -> [bool; DIMENSIONS] {
        let mut open = self.free;
        for held in self
            .held_back
            .iter()
            .filter(|held| counts(&held.owner, Some(held.until)))
        {
            open -= &held.amount;
        }
        let mut closed = std::array::from_fn(|d| self.least[d] > 0 && 2 * open[d] < self.least[d]);
        for stopped in self
            .stopped
            .iter()
            .filter(|stopped| counts(&stopped.owner, None))
        {
            for (closed, also) in closed.iter_mut().zip(&stopped.closed) {
                *closed |= also;
            }
        }
        closed
    }
}

/// True if work of this cost mostly needs a closed resource.
pub fn keeps_out(closed: &[bool; DIMENSIONS], cost: &Resources, pool: &Resources) -> bool {
    let Some(most) = dominant(cost, pool) else {
        return false;
    };
    let matters = |d: usize| {
        let mine = MATTERS * i128::from(cost[d]) * i128::from(pool[most]);
        mine >= i128::from(cost[most]) * i128::from(pool[d])
    };
    let mut asked = (0..DIMENSIONS).filter(|d| pool[*d] > 0 && cost[*d] > 0);
    asked.any(|d| closed[d] && matters(d))
}
