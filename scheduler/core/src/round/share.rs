//! What each queue is entitled to: water-filling by weight, per resource, from
//! the root down.
//!
//! At each level and for each resource the parent's entitlement is poured over
//! the children in proportion to their weights until each has what it demands;
//! the level reached is the water level λ. Entitlements are rounded down.

use crate::ids::QueueId;
use crate::resources::{DIMENSIONS, Resources};
use crate::time::TimeMs;
use crate::world::World;

/// Fractional bits of [`Share::level`].
pub const LEVEL_BITS: u32 = 8;

/// One queue's share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Held, plus what could be used if there were no others.
    pub demand: Resources,
    /// What the water-filling gives.
    pub entitlement: Resources,
    /// λ · weight per resource, with [`LEVEL_BITS`] fractional bits: what the
    /// keys of the order measure by. The parent's entitlement where the
    /// resource is not contested, 0 for weight 0.
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
        root.level = pool.0.map(|amount| amount << LEVEL_BITS);
        // Children come after their parents in order of creation.
        for queue in world.queues().iter() {
            let available = shares.of(queue.id).entitlement;
            for d in 0..DIMENSIONS {
                shares.fill(world, &queue.children, d, available[d]);
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
    fn add_demands(&mut self, world: &World) {
        let queues: Vec<_> = world.queues().iter().collect();
        for queue in queues.into_iter().rev() {
            if queue.children.is_empty() {
                let mut demand = queue.held;
                for (class, pending) in &queue.pending {
                    let each = &world.classes().needs(*class).resources;
                    let usable = each.times_in(&self.pool).min(pending.tasks as i64);
                    demand += &each.times(usable);
                }
                self.shares[queue.id.index()].demand = demand;
            }
            if let Some(parent) = queue.parent {
                let demand = self.shares[queue.id.index()].demand;
                self.shares[parent.index()].demand += &demand;
            }
        }
    }

    /// Pours `available` of one resource over siblings.
    fn fill(&mut self, world: &World, siblings: &[QueueId], d: usize, available: i64) {
        let weight = |id: QueueId| i64::from(world.queues().queue(id).spec.weight);
        let demand = |shares: &Shares, id: QueueId| shares.of(id).demand[d];
        let wanted: i64 = siblings.iter().map(|id| demand(self, *id)).sum();
        if wanted <= available {
            for id in siblings {
                let share = &mut self.shares[id.index()];
                share.entitlement[d] = share.demand[d];
                share.level[d] = if weight(*id) == 0 {
                    0
                } else {
                    available << LEVEL_BITS
                };
            }
            return;
        }
        let mut weighted: Vec<QueueId> = siblings
            .iter()
            .copied()
            .filter(|id| weight(*id) > 0)
            .collect();
        // In the order in which they are satisfied: demand per weight.
        weighted.sort_by_key(|id| (fraction_key(demand(self, *id), weight(*id)), *id));
        let mut left = available;
        let mut weights: i64 = weighted.iter().map(|id| weight(*id)).sum();
        let mut satisfied = 0;
        for id in &weighted {
            let (demand, weight) = (demand(self, *id), weight(*id));
            if i128::from(demand) * i128::from(weights) > i128::from(left) * i128::from(weight) {
                break;
            }
            self.shares[id.index()].entitlement[d] = demand;
            left -= demand;
            weights -= weight;
            satisfied += 1;
        }
        let level = |weight: i64, left: i64, weights: i64| {
            let poured = (i128::from(left) << LEVEL_BITS) * i128::from(weight);
            (poured / i128::from(weights.max(1))) as i64
        };
        for (position, id) in weighted.iter().enumerate() {
            let weight = weight(*id);
            let reached = level(weight, left, weights);
            let share = &mut self.shares[id.index()];
            if position >= satisfied {
                share.entitlement[d] = reached >> LEVEL_BITS;
            }
            share.level[d] = if weights > 0 {
                reached
            } else {
                available << LEVEL_BITS
            };
        }
        if weights == 0 {
            self.fill_weightless(world, siblings, d, left);
        }
    }

    /// Queues of weight 0 get what the others leave, in order of id.
    fn fill_weightless(&mut self, world: &World, siblings: &[QueueId], d: usize, mut left: i64) {
        let weightless = |id: &&QueueId| world.queues().queue(**id).spec.weight == 0;
        for id in siblings.iter().filter(weightless) {
            let share = &mut self.shares[id.index()];
            share.entitlement[d] = share.demand[d].min(left);
            left -= share.entitlement[d];
        }
    }
}

/// Orders demand / weight exactly enough to sort: 2^20 steps per unit.
fn fraction_key(demand: i64, weight: i64) -> i128 {
    (i128::from(demand) << 20) / i128::from(weight)
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
