//! Amounts of what nodes have and tasks ask for, as one integer vector.
//!
//! Units: milli-cores, MiB, MiB, whole GPUs, then up to four named extended
//! resources whose names are the policy's. Every amount is below
//! [`AMOUNT_MAX`], so that sums over a federation stay far inside an `i64` and
//! fair-share keys inside a `u128` (see `round::order`).

use serde::{Deserialize, Serialize};
use std::ops::{AddAssign, Index, IndexMut, SubAssign};

/// Number of dimensions of the vector.
pub const DIMENSIONS: usize = 8;
/// Milli-cores.
pub const CPU: usize = 0;
/// MiB of memory.
pub const MEMORY: usize = 1;
/// MiB of scratch disk.
pub const DISK: usize = 2;
/// Whole GPUs.
pub const GPU: usize = 3;
/// The first extended resource; the policy names this and the following.
pub const EXTENDED: usize = 4;
/// No single amount, and no sum over a federation, reaches this.
pub const AMOUNT_MAX: i64 = 1 << 40;

/// How a dimension is called; `extended` are the policy's names.
pub fn name(dimension: usize, extended: &[String]) -> &str {
    match dimension {
        CPU => "cpu",
        MEMORY => "memory",
        DISK => "disk",
        GPU => "gpu",
        other => extended
            .get(other - EXTENDED)
            .map_or("(unnamed)", String::as_str),
    }
}

/// An amount of a dimension for people: `2.5`, `512MiB`, `8`.
pub fn spoken(dimension: usize, amount: i64) -> String {
    match dimension {
        CPU if amount % 1_000 == 0 => (amount / 1_000).to_string(),
        CPU => {
            let thousandths = format!("{:03}", amount % 1_000);
            format!("{}.{}", amount / 1_000, thousandths.trim_end_matches('0'))
        }
        MEMORY | DISK => format!("{amount}MiB"),
        _ => amount.to_string(),
    }
}

/// A vector of amounts; negative entries occur only in differences.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Resources(pub [i64; DIMENSIONS]);

impl Resources {
    /// Nothing of anything.
    pub const ZERO: Resources = Resources([0; DIMENSIONS]);

    /// The four standing dimensions: milli-cores, MiB, MiB, GPUs.
    pub fn of(cpu_milli: i64, memory_mib: i64, disk_mib: i64, gpu: i64) -> Self {
        let mut amounts = [0; DIMENSIONS];
        amounts[CPU] = cpu_milli;
        amounts[MEMORY] = memory_mib;
        amounts[DISK] = disk_mib;
        amounts[GPU] = gpu;
        Resources(amounts)
    }

    /// True if `self` fits into `room` in every dimension that it asks for.
    ///
    /// A dimension not asked for does not count, so a node whose capacity
    /// shrank below what runs in one dimension still takes what needs none of it.
    pub fn fits_in(&self, room: &Resources) -> bool {
        self.0
            .iter()
            .zip(&room.0)
            .all(|(need, free)| *need == 0 || need <= free)
    }

    /// True if every amount is within `0 .. AMOUNT_MAX`.
    pub fn is_valid(&self) -> bool {
        self.0.iter().all(|amount| (0..AMOUNT_MAX).contains(amount))
    }

    /// True if nothing is asked for.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// `count` times this; saturates at the ends of `i64`.
    pub fn times(&self, count: i64) -> Resources {
        Resources(self.0.map(|amount| amount.saturating_mul(count)))
    }

    /// The smaller amount in each dimension.
    pub fn smaller(&self, other: &Resources) -> Resources {
        Resources(std::array::from_fn(|d| self.0[d].min(other.0[d])))
    }

    /// The larger amount in each dimension.
    pub fn larger(&self, other: &Resources) -> Resources {
        Resources(std::array::from_fn(|d| self.0[d].max(other.0[d])))
    }

    /// How many times this fits into `room`; `i64::MAX` when it asks nothing.
    pub fn times_in(&self, room: &Resources) -> i64 {
        let per_dimension = self.0.iter().zip(&room.0).filter(|(need, _)| **need > 0);
        per_dimension
            .map(|(need, free)| (*free).max(0) / need)
            .min()
            .unwrap_or(i64::MAX)
    }

    /// Sum; amounts are bounded so that it cannot overflow.
    ///
    /// # Panics
    /// If an entry overflows: a broken invariant, since every source is bounded.
    #[must_use]
    pub fn plus(mut self, other: &Resources) -> Resources {
        self += other;
        self
    }

    /// Difference, entry by entry; may be negative.
    ///
    /// # Panics
    /// As [`Resources::plus`].
    #[must_use]
    pub fn minus(mut self, other: &Resources) -> Resources {
        self -= other;
        self
    }
}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.checked_add(*theirs).expect("amounts are below 2^40");
        }
    }
}

impl SubAssign<&Resources> for Resources {
    fn sub_assign(&mut self, other: &Resources) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.checked_sub(*theirs).expect("amounts are below 2^40");
        }
    }
}

impl Index<usize> for Resources {
    type Output = i64;

    fn index(&self, dimension: usize) -> &i64 {
        &self.0[dimension]
    }
}

impl IndexMut<usize> for Resources {
    fn index_mut(&mut self, dimension: usize) -> &mut i64 {
        &mut self.0[dimension]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dimension_not_asked_for_does_not_count() {
        let shrunk = Resources::of(1000, -5, 0, 0);
        assert!(Resources::of(1000, 0, 0, 0).fits_in(&shrunk));
        assert!(!Resources::of(1000, 1, 0, 0).fits_in(&shrunk));
    }

    #[test]
    fn times_in_is_the_scarcest_dimension() {
        assert_eq!(
            Resources::of(1000, 4096, 0, 0).times_in(&Resources::of(9000, 18432, 0, 0)),
            4
        );
        assert_eq!(Resources::ZERO.times_in(&Resources::ZERO), i64::MAX);
    }
}
