//! What each queue is entitled to (rules 1 to 4 of the fair share): water-filling by
//! weight between guarantee and demand, per resource, from the root down.
//!
//! A leaf demands what it holds and what its classes could use, in proportion: a queue
//! whose cores are short does not claim the memory that would go with all the cores it
//! asks for. So demand depends on entitlement and this on demand; both are found
//! together, by damped steps ([`STEPS_MAX`]).
//!
//! Shares are kept in fractions of a unit ([`FINE_BITS`]): a queue entitled to half a
//! gpu differs from one entitled to none, and so do the users below it.

use super::fill::{Water, cut_guarantees, pour};
use super::order::{dominant, is_about};
use crate::ids::{ClassId, QueueId};
use crate::queue::Queue;
use crate::resources::{DIMENSIONS, Resources};
use crate::time::TimeMs;
use crate::world::World;
use std::collections::BTreeMap;

/// Fractional bits of [`Share::fine`], [`Share::guarantee`] and [`Share::level`].
pub const FINE_BITS: u32 = 14;
/// Steps towards a consistent demand, at most.
const STEPS_MAX: usize = 32;
/// Shares of the pool that differ by less, in units of 2^-this, are taken for equal.
const STEADY_BITS: u32 = 12;

/// Amounts with [`FINE_BITS`] fractional bits.
pub type Fine = [i64; DIMENSIONS];

/// One queue's share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Held, plus what could be used if there were no others.
    pub demand: Resources,
    /// What the water-filling gives, in whole units.
    pub entitlement: Resources,
    /// The same with [`FINE_BITS`] fractional bits.
    pub fine: Fine,
    /// The guarantee as far as it is asked for and there is room for it.
    pub guarantee: Fine,
    /// λ · weight per resource, with [`FINE_BITS`] fractional bits: what the
    /// keys of the order measure by. What the parent could have where the
    /// resource is not contested, 0 for weight 0.
    pub level: Fine,
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
        let mut filling = Filling::new(world, pool);
        for _ in 0..STEPS_MAX {
            filling.gather();
            filling.spread();
            if filling.is_consistent() {
                break;
            }
        }
        Shares {
            pool,
            shares: filling.into_shares(),
        }
    }

    /// What of a queue's guarantee it asks for and there is room for, in whole units.
    pub fn guarantee(&self, queue: QueueId) -> Resources {
        Resources(self.of(queue).guarantee.map(|amount| amount >> FINE_BITS))
    }

    /// The share of a queue.
    pub fn of(&self, queue: QueueId) -> &Share {
        &self.shares[queue.index()]
    }
}

/// Amounts in fractions of a unit.
pub fn fine(amounts: &Resources) -> Fine {
    amounts.0.map(|amount| amount << FINE_BITS)
}

/// The work of [`Shares::new`].
struct Filling<'w> {
    world: &'w World,
    pool: Resources,
    /// Resources of which there are any.
    dimensions: Vec<usize>,
    shares: Vec<Share>,
    /// Of leaves: all that is asked for, whatever the share.
    asked: Vec<Resources>,
    /// Of leaves: how many tasks that is.
    tasks: Vec<i64>,
    /// The demand as far as it has settled.
    demand: Vec<Fine>,
    /// What no key of the order restrains: of leaves, the demand for what their work is
    /// not about.
    floor: Vec<Fine>,
}

impl<'w> Filling<'w> {
    fn new(world: &'w World, pool: Resources) -> Self {
        let queues = world.queues().len();
        let mut filling = Filling {
            world,
            pool,
            dimensions: (0..DIMENSIONS).filter(|d| pool[*d] > 0).collect(),
            shares: vec![Share::default(); queues],
            asked: vec![Resources::ZERO; queues],
            tasks: vec![0; queues],
            demand: vec![[0; DIMENSIONS]; queues],
            floor: vec![[0; DIMENSIONS]; queues],
        };
        for queue in world
            .queues()
            .iter()
            .filter(|queue| queue.children.is_empty())
        {
            let (asked, tasks) = asked_by(world, &pool, queue);
            filling.asked[queue.id.index()] = asked;
            filling.tasks[queue.id.index()] = tasks;
            filling.demand[queue.id.index()] = fine(&asked);
        }
        filling
    }

    /// Sums demands and floors from the leaves up, cut by limits and by what there is.
    fn gather(&mut self) {
        // Children come after their parents in order of creation.
        let queues: Vec<&Queue> = self.world.queues().iter().collect();
        for queue in queues.into_iter().rev() {
            let id = queue.id.index();
            if !queue.children.is_empty() {
                self.demand[id] = self.sum(queue, |filling, child| &filling.demand[child]);
                self.floor[id] = self.sum(queue, |filling, child| &filling.floor[child]);
            } else {
                let asked = self.asked[id];
                self.floor[id] = std::array::from_fn(|d| {
                    let restrained = asked[d] == 0 || is_about(&asked, &self.pool, d);
                    if restrained { 0 } else { self.demand[id][d] }
                });
            }
            let limit = queue.spec.limit.amounts();
            for d in 0..DIMENSIONS {
                self.demand[id][d] = self.demand[id][d].min(limit[d] << FINE_BITS);
                self.floor[id][d] = self.floor[id][d].min(self.demand[id][d]);
            }
        }
    }

    fn sum(&self, queue: &Queue, of: impl Fn(&Self, usize) -> &Fine) -> Fine {
        let mut sum = [0i64; DIMENSIONS];
        for child in &queue.children {
            for (sum, amount) in sum.iter_mut().zip(of(self, child.index())) {
                *sum = sum.saturating_add(*amount);
            }
        }
        // More than there is, or than is held, changes no share.
        let most = fine(&self.pool.larger(&queue.held));
        std::array::from_fn(|d| sum[d].min(most[d]))
    }

    /// Pours the pool from the root down.
    fn spread(&mut self) {
        let pool = fine(&self.pool);
        let root = QueueId::ROOT.index();
        self.shares[root].fine = pool;
        self.shares[root].level = pool;
        for queue in self
            .world
            .queues()
            .iter()
            .filter(|queue| !queue.children.is_empty())
        {
            let share = self.shares[queue.id.index()];
            for position in 0..self.dimensions.len() {
                let d = self.dimensions[position];
                self.fill(&queue.children, d, share.fine[d], share.level[d]);
            }
        }
    }

    /// Where there is enough for all, `level` is what their keys are measured by: what
    /// their parent could have.
    fn fill(&mut self, siblings: &[QueueId], d: usize, available: i64, level: i64) {
        let water = |id: &QueueId| {
            let spec = &self.world.queues().queue(*id).spec;
            Water {
                weight: spec.weight.into(),
                guarantee: spec.guarantee[d] << FINE_BITS,
                floor: self.floor[id.index()][d],
                demand: self.demand[id.index()][d],
                ..Water::default()
            }
        };
        let mut waters: Vec<Water> = siblings.iter().map(water).collect();
        cut_guarantees(&mut waters, available);
        let contested = pour(&mut waters, available);
        for (id, water) in siblings.iter().zip(&waters) {
            let share = &mut self.shares[id.index()];
            share.fine[d] = water.entitlement;
            share.guarantee[d] = water.guarantee;
            share.level[d] = match water.weight {
                0 => 0,
                _ if contested => water.level,
                _ => level.max(water.level),
            };
        }
    }

    /// Moves every leaf's demand half the way to what its share lets it use; true if
    /// none had to move any more.
    fn is_consistent(&mut self) -> bool {
        let mut steady = true;
        let leaves = self
            .world
            .queues()
            .iter()
            .filter(|queue| queue.children.is_empty());
        for queue in leaves {
            let id = queue.id.index();
            let Some(usable) = self.usable(queue) else {
                continue;
            };
            for d in self.dimensions.iter().copied() {
                let mine = &mut self.demand[id][d];
                let moved = *mine + (usable[d] - *mine) / 2;
                let step = (moved - *mine).abs();
                steady &= step <= ((self.pool[d] << FINE_BITS) >> STEADY_BITS);
                *mine = moved;
            }
        }
        steady
    }

    /// What a leaf can use with its share: all that it asks of the resource that binds
    /// it, and of the others what goes with as many whole tasks as that allows, the last
    /// one begun; `None` where it asks for nothing.
    fn usable(&self, queue: &Queue) -> Option<Fine> {
        let id = queue.id.index();
        let (asked, share) = (&self.asked[id], &self.shares[id].fine);
        let about = self.dimensions.iter().copied();
        let about = about.filter(|d| asked[*d] > 0 && is_about(asked, &self.pool, *d));
        // The smallest part of what is asked for, as part/whole.
        let binding = about.min_by(|left, right| {
            let mine = i128::from(share[*left]) * i128::from(asked[*right]);
            mine.cmp(&(i128::from(share[*right]) * i128::from(asked[*left])))
        })?;
        let whole = i128::from(asked[binding] << FINE_BITS);
        let all = i128::from(self.tasks[id].max(1));
        let part = i128::from(share[binding]).min(whole);
        let tasks = (all * part + whole - 1) / whole;
        Some(std::array::from_fn(|d| {
            let asked = asked[d] << FINE_BITS;
            if d == binding {
                return asked;
            }
            let usable = i128::from(asked) * tasks / all;
            (usable as i64).max(queue.held[d] << FINE_BITS)
        }))
    }

    fn into_shares(mut self) -> Vec<Share> {
        let root = &mut self.shares[QueueId::ROOT.index()];
        for (share, demand) in root
            .fine
            .iter_mut()
            .zip(&self.demand[QueueId::ROOT.index()])
        {
            *share = (*share).min(*demand);
        }
        for (share, demand) in self.shares.iter_mut().zip(&self.demand) {
            share.demand = Resources(demand.map(|amount| amount >> FINE_BITS));
            share.entitlement = Resources(share.fine.map(|amount| amount >> FINE_BITS));
        }
        self.shares
    }
}

/// All that a leaf asks for: held, and of each class as much as the pool and the limits
/// above the leaf could run of it.
///
/// Where that is more than the pool it is cut in proportion, so that the resource it
/// asks most of is asked for whole: more changes no share.
fn asked_by(world: &World, pool: &Resources, queue: &Queue) -> (Resources, i64) {
    let mut tasks = queue.running as i64;
    if world.queues().cordoned(queue.id).is_some() {
        return (queue.held, tasks);
    }
    let mut room = *pool;
    for id in world.queues().path(queue.id) {
        let limit = world.queues().queue(id).spec.limit.amounts();
        room = room.smaller(&limit.minus(&queue.held));
    }
    let mut asked = queue.held;
    let mut left = Left::new(world, queue.id);
    for (class, pending) in &queue.pending {
        let (needs, gang) = (world.classes().needs(*class), world.classes().gang(*class));
        let usable = needs.resources.times_in(&room).min(pending.tasks as i64);
        let usable = left.take(world, *class, usable);
        if usable >= gang.size.into() {
            asked += &needs.resources.times(usable);
            tasks += usable;
        }
    }
    let most = dominant(&asked, pool);
    let Some(most) = most.filter(|d| asked[*d] > pool[*d]) else {
        return (asked, tasks);
    };
    let cut = |d: usize| i128::from(asked[d]) * i128::from(pool[most]) / i128::from(asked[most]);
    let asked_most = asked[most];
    let cut_tasks = i128::from(tasks) * i128::from(pool[most]) / i128::from(asked_most);
    let asked = Resources(std::array::from_fn(|d| (cut(d) as i64).max(queue.held[d])));
    (asked, (cut_tasks as i64).max(queue.running as i64))
}

/// How many more tasks of a leaf, and of each user in it, may hold a place.
struct Left<'w> {
    leaf: QueueId,
    bounded: bool,
    all: i64,
    of_user: BTreeMap<&'w str, i64>,
}

impl<'w> Left<'w> {
    fn new(world: &World, leaf: QueueId) -> Self {
        let mut left = Left {
            leaf,
            bounded: false,
            all: i64::MAX,
            of_user: BTreeMap::new(),
        };
        for id in world.queues().path(leaf) {
            let queue = world.queues().queue(id);
            left.bounded |= queue.spec.bounds.bound_running();
            if let Some(max) = queue.spec.bounds.running_max {
                left.all = left.all.min(max.saturating_sub(queue.running) as i64);
            }
        }
        left
    }

    /// How many of so many tasks of a class may, which are then no longer left.
    fn take(&mut self, world: &'w World, class: ClassId, tasks: i64) -> i64 {
        if !self.bounded {
            return tasks;
        }
        let mut tasks = tasks.min(self.all);
        if let Some(user) = world.classes().user(class) {
            let leaf = self.leaf;
            let left = self.of_user.entry(user);
            let left = left.or_insert_with(|| user_left(world, leaf, user));
            tasks = tasks.min(*left);
            *left -= tasks;
        }
        self.all -= tasks;
        tasks
    }
}

fn user_left(world: &World, leaf: QueueId, user: &str) -> i64 {
    let bound = |id: QueueId| {
        let queue = world.queues().queue(id);
        let running = queue.users.get(user).map_or(0, |tasks| tasks.running);
        let max = queue.spec.bounds.user_running_max?;
        Some(max.saturating_sub(running) as i64)
    };
    let bounds = world.queues().path(leaf).filter_map(bound);
    bounds.min().unwrap_or(i64::MAX)
}

/// Rule 1 of the fair share: capacity of nodes that are up, plus what is
/// held elsewhere, so that a drain alone takes nobody's share away.
fn pool(world: &World, now: TimeMs) -> Resources {
    let mut pool = Resources::ZERO;
    for node in world.nodes() {
        let site = world.site(node.site);
        if site.counts_node(node, now) && site.counts(now) {
            pool += &node.report.capacity;
        } else {
            pool += &node.held;
        }
    }
    pool
}
