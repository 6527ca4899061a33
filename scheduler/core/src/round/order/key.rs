//! What the order compares: keys as exact fractions, ranks, and the memory of decayed
//! usage (rules 2, 5 and 6 of the fair share).
//!
//! Sizes: amounts ≤ 2^41, φ ≤ 2^17, levels ≤ 2^54; a key is a fraction of a number
//! below 2^72 and one below 2^54, so products of two keys fit into 128 bits.

use crate::queue::Queue;
use crate::resources::{DIMENSIONS, Resources};
use crate::round::share::{FINE_BITS, Shares};
use crate::world::World;
use std::cmp::Ordering;

/// 1 in the fixed point of φ.
const PHI_ONE: u128 = 1 << 16;

/// A fraction; a denominator of 0 is larger than everything else.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Over it.
    pub numerator: u128,
    /// Under it.
    pub denominator: u128,
}

/// Where a queue stands among its siblings with its head; lowest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Below its guarantee.
    pub band: Band,
    /// The key of rule 5.
    pub key: Key,
    /// The same without the head.
    pub load: Key,
    /// Dominant share of the head.
    pub size: Key,
}

/// The two kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Band {
    /// By how well the guarantee is served.
    BelowGuarantee,
    /// By what is held for the share.
    ByShare,
}

/// The resource of which most is asked for, relative to the pool.
pub fn dominant(cost: &Resources, pool: &Resources) -> Option<usize> {
    let asked = (0..DIMENSIONS).filter(|d| pool[*d] > 0 && cost[*d] > 0);
    asked.max_by(|left, right| {
        let mine = i128::from(cost[*left]) * i128::from(pool[*right]);
        mine.cmp(&(i128::from(cost[*right]) * i128::from(pool[*left])))
    })
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
pub fn memory(world: &World, shares: &Shares, queue: &Queue) -> [u128; DIMENSIONS] {
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
    /// Of nothing.
    pub const ZERO: Key = Key {
        numerator: 0,
        denominator: 1,
    };

    /// The key `permille` thousandths above.
    pub fn plus_permille(&self, permille: u32) -> Key {
        Key {
            // Rounded, so that products still fit.
            numerator: self.numerator + self.numerator / 1_000 * u128::from(permille),
            denominator: self.denominator,
        }
    }

    /// In thousandths of `one`; saturates.
    fn milli_of(&self, one: u128) -> i64 {
        if self.denominator == 0 {
            return i64::MAX;
        }
        let milli = self.numerator / one * 1_000 / self.denominator;
        i64::try_from(milli).unwrap_or(i64::MAX)
    }
}

impl Rank {
    /// The key in thousandths, for people; saturates.
    pub fn milli(&self) -> i64 {
        self.key.milli_of(match self.band {
            Band::BelowGuarantee => 1,
            Band::ByShare => PHI_ONE,
        })
    }

    /// True if the queue is below its guarantee.
    pub fn is_below_guarantee(&self) -> bool {
        self.band == Band::BelowGuarantee
    }
}

/// Equal as fractions.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

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
