//! What each queue is entitled to: water-filling by weight, per resource, from
//! the root down.
//!
//! At each level and for each resource the parent's entitlement is poured over
//! the children in proportion to their weights until each has what it demands;
//! the level reached is the water level λ. Both are kept in fractions of a unit
//! ([`FINE_BITS`]): a queue entitled to half a gpu differs from one entitled to
//! none, and so do the users below it. They are rounded down, but not to nothing.

use crate::ids::QueueId;
use crate::resources::{DIMENSIONS, Resources};
use crate::time::TimeMs;
use crate::world::World;

/// Fractional bits of [`Share::fine`] and [`Share::level`].
pub const FINE_BITS: u32 = 14;

/// One queue's share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Held, plus what could be used if there were no others.
    pub demand: Resources,
    /// What the water-filling gives, in whole units.
    pub entitlement: Resources,
    /// The same with [`FINE_BITS`] fractional bits.
    pub fine: [i64; DIMENSIONS],
    /// λ · weight per resource, with [`FINE_BITS`] fractional bits: what the
    /// keys of the order measure by. The parent's entitlement where the
    /// resource is not contested, 0 for weight 0 alone.
    pub level: [i64; DIMENSIONS],
}

/// Shares of all queues, and the pool they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// Capacity that counts: of connected sites and present nodes, and what is
    /// held on others.
    pub pool: Resources,
    shares: Vec<Share>,
}

impl Shares {
    /// Computes all shares at `now`.
    pub fn new(world: &World, now: TimeMs) -> Self {
        let pool = pool(world, now);
        let mut shares = Shares {
            pool,
            shares: vec![Share::default(); world.queues().len()],
        };
        shares.add_demands(world);
        let root = &mut shares.shares[QueueId::ROOT.index()];
        root.entitlement = pool.smaller(&root.demand);
        root.fine = root.entitlement.0.map(|amount| amount << FINE_BITS);
        root.level = pool.0.map(|amount| amount << FINE_BITS);
        // Children come after their parents in order of creation.
        for queue in world.queues().iter() {
            let available = shares.of(queue.id).fine;
            for (d, available) in available.into_iter().enumerate() {
                shares.fill(world, &queue.children, d, available);
            }
        }
        shares
    }

    /// The share of a queue.
    pub fn of(&self, queue: QueueId) -> &Share {
        &self.shares[queue.index()]
    }

    /// Demand of a leaf, counted per class so that no class asks for more than
    /// the pool could run of it; of an inner queue the sum of its children's.
    ///
    /// More than the whole pool, or what is held if that is more, is no demand:
    /// it changes no share and would grow without bound with the classes.
    fn add_demands(&mut self, world: &World) {
        let queues: Vec<_> = world.queues().iter().collect();
        for queue in queues.into_iter().rev() {
            let mut demand = self.shares[queue.id.index()].demand;
            demand += &if queue.children.is_empty() {
                queue.held
            } else {
                Resources::ZERO
            };
            for (class, pending) in &queue.pending {
                let each = &world.classes().needs(*class).resources;
                let usable = each.times_in(&self.pool).min(pending.tasks as i64);
                demand += &each.times(usable);
            }
            let most = self.pool.larger(&queue.held);
            let demand = demand.smaller(&most);
            self.shares[queue.id.index()].demand = demand;
            if let Some(parent) = queue.parent {
                self.shares[parent.index()].demand += &demand;
            }
        }
    }

    /// Pours `available`, in fractions of a unit, of one resource over siblings.
    fn fill(&mut self, world: &World, siblings: &[QueueId], d: usize, available: i64) {
        let mut waters: Vec<Water> = siblings
            .iter()
            .map(|id| Water {
                weight: i64::from(world.queues().queue(*id).spec.weight),
                demand: self.of(*id).demand[d] << FINE_BITS,
                ..Water::default()
            })
            .collect();
        pour(&mut waters, available);
        for (id, water) in siblings.iter().zip(&waters) {
            let share = &mut self.shares[id.index()];
            share.entitlement[d] = water.entitlement >> FINE_BITS;
            share.fine[d] = water.entitlement;
            share.level[d] = water.level;
        }
    }
}

/// One vessel of the water-filling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Water {
    /// How wide it is.
    pub weight: i64,
    /// How much it takes at most.
    pub demand: i64,
    /// How much it gets.
    pub entitlement: i64,
    /// The water level times its weight; all there is where there is enough for all.
    pub level: i64,
}

/// Fills siblings from below until each has its demand or nothing is left;
/// vessels of weight 0 get what the others leave, in their order.
pub fn pour(waters: &mut [Water], available: i64) {
    let wanted: i128 = waters.iter().map(|water| i128::from(water.demand)).sum();
    let enough = wanted <= i128::from(available);
    let mut weighted: Vec<&mut Water> =
        waters.iter_mut().filter(|water| water.weight > 0).collect();
    // In the order in which they are satisfied: by demand per weight.
    weighted.sort_by_key(|water| Satisfied(water.demand, water.weight));
    let mut left = available;
    let mut weights: i64 = weighted.iter().map(|water| water.weight).sum();
    for water in &mut weighted {
        let most = i128::from(left) * i128::from(water.weight);
        if i128::from(water.demand) * i128::from(weights) > most {
            break;
        }
        water.entitlement = water.demand;
        left -= water.demand;
        weights -= water.weight;
    }
    for water in weighted {
        let reached = if enough || weights == 0 {
            available
        } else {
            (i128::from(left) * i128::from(water.weight) / i128::from(weights)) as i64
        };
        // However small a share is, it is not the share of weight 0.
        water.level = reached.max(1);
        water.entitlement = water.demand.min(water.level);
    }
    if weights == 0 {
        for water in waters.iter_mut().filter(|water| water.weight == 0) {
            water.entitlement = water.demand.min(left);
            left -= water.entitlement;
        }
    }
}

/// Demand and weight, compared by their quotient.
#[derive(PartialEq, Eq)]
struct Satisfied(i64, i64);

impl Ord for Satisfied {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let mine = i128::from(self.0) * i128::from(other.1);
        mine.cmp(&(i128::from(other.0) * i128::from(self.1)))
    }
}

impl PartialOrd for Satisfied {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Rule 1 of the fair-share design: capacity of nodes that are up, plus what is
/// held elsewhere, so that a drain alone takes nobody's share away.
fn pool(world: &World, now: TimeMs) -> Resources {
    let mut pool = Resources::ZERO;
    for node in world.nodes() {
        if node.present && world.site(node.site).counts(now) {
            pool += &node.report.capacity;
        } else {
            pool += &node.held;
        }
    }
    pool
}
