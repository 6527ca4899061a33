//! Whose task goes next: hierarchical dominant-resource fair share.
//!
//! At each level of the queue tree the child with the lowest key goes, where
//! the key is that of the child's own next task:
//!
//! `max over r of φ_r · min(a + c, max(a, e))_r / (λ_r · w)`
//!
//! with `a` held, `c` the task's cost, `e` the entitlement, `λ·w` the water level
//! ([`super::share`]), and `r` the resources that the task is about: those of
//! which it asks at least half as much, relative to the pool, as of its
//! dominant one. `φ` in [½, 2] remembers decayed usage. The cost is capped by
//! the entitlement, so a task wider than its queue's share still starts.
//! Ties: the lower load before the task, then the smaller task, then the id.
//! Inside a leaf: priority, then submission, then id.
//!
//! Sizes: amounts ≤ 2^41, φ ≤ 2^17, levels ≤ 2^54; a key is a fraction of a number
//! below 2^72 and one below 2^54, so products of two keys fit into 128 bits.

use super::share::{FINE_BITS, Shares};
use crate::ids::{ClassId, JobId, QueueId};
use crate::queue::{PendingJob, Queue};
use crate::resources::{DIMENSIONS, Resources};
use crate::time::TimeMs;
use crate::world::World;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// 1 in the fixed point of φ.
const PHI_ONE: u128 = 1 << 16;

/// The next task of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Of this leaf.
    pub leaf: QueueId,
    /// The job that it belongs to.
    pub job: JobId,
    /// Its requirement class.
    pub class: ClassId,
}

/// A fraction; a denominator of 0 is larger than everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    numerator: u128,
    denominator: u128,
}

/// The order in which waiting tasks go, while a round takes places.
pub struct Order<'a> {
    world: &'a World,
    shares: Shares,
    held: Vec<Resources>,
    phi: Vec<[u128; DIMENSIONS]>,
    heads: Vec<Option<Head>>,
    failed: Vec<bool>,
    /// How far each job's queued indexes have been placed in this round.
    next_index: BTreeMap<JobId, u32>,
    /// Jobs whose queued tasks have all been placed in this round.
    spent: Vec<PendingCursor>,
}

/// Per leaf and class: the jobs before this position are spent.
type PendingCursor = BTreeMap<ClassId, PendingJob>;

impl<'a> Order<'a> {
    /// The order at the start of a round.
    pub fn new(world: &'a World, now: TimeMs) -> Self {
        let queues = world.queues().len();
        let shares = Shares::new(world, now);
        let mut order = Order {
            world,
            held: world.queues().iter().map(|queue| queue.held).collect(),
            phi: world
                .queues()
                .iter()
                .map(|queue| memory(world, &shares, queue))
                .collect(),
            shares,
            heads: vec![None; queues],
            failed: vec![false; world.classes().ids_end()],
            next_index: BTreeMap::new(),
            spent: vec![PendingCursor::new(); queues],
        };
        // Parents come before their children in order of creation.
        for id in (0..queues as u32).rev().map(QueueId) {
            order.refresh(id);
        }
        order
    }

    /// The shares that the order goes by.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// The task that goes next; `None` when nothing is left to try.
    pub fn first(&self) -> Option<Head> {
        self.heads[QueueId::ROOT.index()]
    }

    /// No node takes the class any more in this round: every queue whose head it
    /// was gets another, since a head that cannot go must not decide the order.
    pub fn fail(&mut self, class: ClassId) {
        self.failed[class.index()] = true;
        let queues = self.world.queues();
        let stale = |id: &QueueId| {
            queues.queue(*id).children.is_empty()
                && self.heads[id.index()].is_some_and(|head| head.class == class)
        };
        let leaves: Vec<QueueId> = (0..queues.len() as u32)
            .map(QueueId)
            .filter(stale)
            .collect();
        leaves.into_iter().for_each(|leaf| self.refresh_path(leaf));
    }

    /// Takes the head's task out of the order and charges its queues.
    ///
    /// Returns the index of the task.
    pub fn place(&mut self, head: &Head) -> u32 {
        let job = &self.world.jobs()[&head.job];
        let from = self.next_index.get(&head.job).copied().unwrap_or(0);
        let index = job
            .tasks
            .queued
            .first_from(from)
            .expect("a head has a queued task");
        self.next_index.insert(head.job, index + 1);
        if job.tasks.queued.first_from(index + 1).is_none() {
            self.spent[head.leaf.index()].insert(head.class, job.pending());
        }
        for queue in self.world.queues().path(head.leaf) {
            self.held[queue.index()] += job.resources();
        }
        self.refresh_path(head.leaf);
        index
    }

    /// The key of a queue for a task below it, as the order compares it.
    pub fn key(&self, queue: QueueId, head: &Head) -> Key {
        let cost = &self.world.classes().needs(head.class).resources;
        let share = self.shares.of(queue);
        let held = &self.held[queue.index()];
        self.largest(queue, cost, |d| {
            let (held, cost) = (held[d] << FINE_BITS, cost[d] << FINE_BITS);
            (held + cost).min(held.max(share.fine[d]))
        })
    }

    fn load(&self, queue: QueueId, head: &Head) -> Key {
        let cost = &self.world.classes().needs(head.class).resources;
        self.largest(queue, cost, |d| self.held[queue.index()][d] << FINE_BITS)
    }

    /// The largest of φ · amount / level over the resources a task is about; amounts
    /// with [`FINE_BITS`] fractional bits, as the levels are.
    fn largest(&self, queue: QueueId, cost: &Resources, amount: impl Fn(usize) -> i64) -> Key {
        let share = self.shares.of(queue);
        let phi = &self.phi[queue.index()];
        let about = (0..DIMENSIONS).filter(|d| is_about(cost, &self.shares.pool, *d));
        let keys = about.map(|d| Key {
            numerator: phi[d] * amount(d).max(0) as u128,
            denominator: share.level[d].max(0) as u128,
        });
        keys.max().unwrap_or(Key {
            numerator: 0,
            denominator: 1,
        })
    }

    fn refresh_path(&mut self, leaf: QueueId) {
        let path: Vec<QueueId> = self.world.queues().path(leaf).collect();
        path.into_iter().for_each(|id| self.refresh(id));
    }

    /// Finds a queue's head anew, from its jobs or from its children's heads.
    fn refresh(&mut self, id: QueueId) {
        let queue = self.world.queues().queue(id);
        self.heads[id.index()] = if queue.cordoned.is_some() {
            None
        } else if queue.children.is_empty() {
            self.leaf_head(queue)
        } else {
            let heads = queue
                .children
                .iter()
                .filter_map(|child| self.heads[child.index()].map(|head| (*child, head)));
            heads
                .min_by(|left, right| self.compare(*left, *right))
                .map(|(_, head)| head)
        };
    }

    fn leaf_head(&self, queue: &Queue) -> Option<Head> {
        let spent = &self.spent[queue.id.index()];
        let alive = queue
            .pending
            .iter()
            .filter(|(class, _)| !self.failed[class.index()]);
        let firsts = alive.filter_map(|(class, pending)| {
            let first = match spent.get(class) {
                None => pending.jobs.first(),
                Some(done) => pending
                    .jobs
                    .range((std::ops::Bound::Excluded(done), std::ops::Bound::Unbounded))
                    .next(),
            };
            first.map(|first| (*first, *class))
        });
        let (first, class) = firsts.min()?;
        Some(Head {
            leaf: queue.id,
            job: first.job,
            class,
        })
    }

    fn compare(&self, left: (QueueId, Head), right: (QueueId, Head)) -> Ordering {
        let keys = self.key(left.0, &left.1).cmp(&self.key(right.0, &right.1));
        keys.then_with(|| {
            self.load(left.0, &left.1)
                .cmp(&self.load(right.0, &right.1))
        })
        .then_with(|| self.size(&left.1).cmp(&self.size(&right.1)))
        .then_with(|| left.0.cmp(&right.0))
    }

    /// How large a task is: its dominant share of the pool.
    fn size(&self, head: &Head) -> Key {
        let cost = &self.world.classes().needs(head.class).resources;
        let shares = (0..DIMENSIONS)
            .filter(|d| self.shares.pool[*d] > 0)
            .map(|d| Key {
                numerator: cost[d].max(0) as u128,
                denominator: self.shares.pool[d] as u128,
            });
        shares.max().unwrap_or(Key {
            numerator: 0,
            denominator: 1,
        })
    }
}

/// True if a task is about a resource: it asks for at least half as much of it,
/// relative to the pool, as of the one that it asks most of.
pub fn is_about(cost: &Resources, pool: &Resources, d: usize) -> bool {
    if pool[d] <= 0 || cost[d] <= 0 {
        return false;
    }
    let at_least_half = |other: usize| {
        let mine = 2 * i128::from(cost[d]) * i128::from(pool[other]);
        mine >= i128::from(cost[other]) * i128::from(pool[d])
    };
    (0..DIMENSIONS)
        .filter(|other| pool[*other] > 0)
        .all(at_least_half)
}

/// φ: what decayed usage does to a queue's keys, in [½, 2].
fn memory(world: &World, shares: &Shares, queue: &Queue) -> [u128; DIMENSIONS] {
    let policy = world.policy();
    let exponent = if queue.children.is_empty() {
        policy.memory_exponent_leaf
    } else {
        policy.memory_exponent_inner
    };
    if exponent == 0 || !queue.usage.has_past() {
        return [PHI_ONE; DIMENSIONS];
    }
    let average = queue.usage.average_fine();
    let level = &shares.of(queue.id).level;
    std::array::from_fn(|d| {
        if level[d] <= 0 {
            return PHI_ONE;
        }
        // The average's own fractional bits are as many as φ's.
        let used = (average[d].max(0) as u128) << FINE_BITS;
        power_clamped(used / level[d] as u128, exponent)
    })
}

/// `base^exponent` in 16 fractional bits, clamped to [½, 2] on the way: once
/// outside the range of a base on the same side of 1, it never returns.
fn power_clamped(base: u128, exponent: u32) -> u128 {
    let (low, high) = (PHI_ONE / 2, PHI_ONE * 2);
    let base = base.clamp(low, high);
    (1..exponent).fold(base, |power, _| (power * base / PHI_ONE).clamp(low, high))
}

impl Key {
    /// In thousandths, for people; saturates.
    pub fn milli(&self) -> i64 {
        if self.denominator == 0 {
            return i64::MAX;
        }
        let milli = self.numerator / PHI_ONE * 1_000 / self.denominator;
        i64::try_from(milli).unwrap_or(i64::MAX)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.denominator, other.denominator) {
            (0, 0) => Ordering::Equal,
            (0, _) => Ordering::Greater,
            (_, 0) => Ordering::Less,
            _ => (self.numerator * other.denominator).cmp(&(other.numerator * self.denominator)),
        }
    }
}
