//! Water-filling: one resource is poured over siblings by weight, between a floor and
//! a demand for each (rules 3 and 4 of the fair share).
//!
//! All amounts have [`super::share::FINE_BITS`] fractional bits. Everything is rounded
//! down and remainders are handed to nobody.

use std::cmp::Ordering;

/// One vessel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Water {
    /// How wide it is.
    pub weight: i64,
    /// How much it gets in any case: its guarantee, as far as it asks for it.
    pub guarantee: i64,
    /// How much it takes before the water level counts: the guarantee, and what no key
    /// of the order restrains it in.
    pub floor: i64,
    /// How much it takes at most.
    pub demand: i64,
    /// How much it gets.
    pub entitlement: i64,
    /// The water level times its weight; all there is where there is enough for all,
    /// 0 for weight 0 alone.
    pub level: i64,
}

/// Cuts guarantees to the demand, and where they are more than there is, to what a
/// water-filling with the guarantees as weights gives.
pub fn cut_guarantees(waters: &mut [Water], available: i64) {
    for water in waters.iter_mut() {
        water.guarantee = water.guarantee.min(water.demand);
    }
    let sum: i128 = waters.iter().map(|water| i128::from(water.guarantee)).sum();
    if sum > i128::from(available) {
        let mut cut: Vec<Water> = waters
            .iter()
            .map(|water| Water {
                weight: water.guarantee,
                demand: water.guarantee,
                ..Water::default()
            })
            .collect();
        pour(&mut cut, available);
        for (water, cut) in waters.iter_mut().zip(cut) {
            water.guarantee = cut.entitlement;
        }
    }
    for water in waters.iter_mut() {
        water.floor = water.floor.clamp(water.guarantee, water.demand);
    }
    // Floors that are no guarantees give way where there is not enough for all.
    let floors: i128 = waters.iter().map(|water| i128::from(water.floor)).sum();
    if floors > i128::from(available) {
        for water in waters.iter_mut() {
            water.floor = water.guarantee;
        }
    }
}

/// Fills each to its floor, and then all by weight until each has its demand or nothing
/// is left; those of weight 0 get what the others leave, in their order.
///
/// The floors together are no more than what is available. True if the demands are at
/// least that much: then the resource is contested.
pub fn pour(waters: &mut [Water], available: i64) -> bool {
    let wanted: i128 = waters.iter().map(|water| i128::from(water.demand)).sum();
    if wanted < i128::from(available) {
        for water in waters.iter_mut() {
            water.entitlement = water.demand;
            water.level = if water.weight > 0 {
                available.max(1)
            } else {
                0
            };
        }
        return false;
    }
    let idle: i64 = waters
        .iter()
        .filter(|water| water.weight == 0)
        .map(|water| water.floor)
        .sum();
    let left = pour_weighted(waters, available - idle);
    pour_rest(waters, left);
    true
}

/// Returns what is left.
fn pour_weighted(waters: &mut [Water], available: i64) -> i64 {
    let weighted = || waters.iter().filter(|water| water.weight > 0);
    let wanted: i128 = weighted().map(|water| i128::from(water.demand)).sum();
    let level = if wanted < i128::from(available) {
        None
    } else {
        find_level(waters, available)
    };
    let mut left = available;
    for water in waters.iter_mut().filter(|water| water.weight > 0) {
        let reached = match level {
            None => available,
            Some(level) => level.times(water.weight),
        };
        // However small a share is, it is not the share of weight 0.
        water.level = reached.max(1);
        water.entitlement = water
            .level
            .clamp(water.floor, water.demand.max(water.floor));
        left -= water.entitlement;
    }
    left.max(0)
}

fn pour_rest(waters: &mut [Water], mut left: i64) {
    for water in waters.iter_mut().filter(|water| water.weight == 0) {
        let more = (water.demand - water.floor).clamp(0, left);
        water.entitlement = water.floor + more;
        water.level = 0;
        left -= more;
    }
}

/// The level λ at which Σ clamp(λ · weight, floor, demand) is what is available.
fn find_level(waters: &[Water], available: i64) -> Option<Level> {
    // Where a vessel begins to rise, and where it stops.
    let mut turns: Vec<(Level, i64, i64)> = Vec::with_capacity(2 * waters.len());
    let mut fixed = 0i128;
    for water in waters.iter().filter(|water| water.weight > 0) {
        let (floor, demand) = (water.floor, water.demand.max(water.floor));
        let of = |amount: i64| Level {
            amount: amount.into(),
            weight: water.weight.into(),
        };
        fixed += i128::from(floor);
        turns.push((of(floor), water.weight, -floor));
        turns.push((of(demand), -water.weight, demand));
    }
    turns.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    let (mut rising, mut last) = (0i128, None);
    for (turn, weight, amount) in turns {
        if rising > 0 {
            let level = Level {
                amount: i128::from(available) - fixed,
                weight: rising,
            };
            if level.cmp(&turn) != Ordering::Greater {
                return Some(level);
            }
        }
        rising += i128::from(weight);
        fixed += i128::from(amount);
        last = Some(turn);
    }
    last
}

/// An amount per weight.
#[derive(Debug, Clone, Copy)]
struct Level {
    amount: i128,
    weight: i128,
}

impl Level {
    /// Rounded down.
    fn times(self, weight: i64) -> i64 {
        let reached = self.amount.max(0) * i128::from(weight) / self.weight;
        i64::try_from(reached).unwrap_or(i64::MAX)
    }

    fn cmp(&self, other: &Level) -> Ordering {
        (self.amount * other.weight).cmp(&(other.amount * self.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn water(weight: i64, guarantee: i64, demand: i64) -> Water {
        Water {
            weight,
            guarantee,
            demand,
            ..Water::default()
        }
    }

    fn filled(mut waters: Vec<Water>, available: i64) -> Vec<i64> {
        cut_guarantees(&mut waters, available);
        pour(&mut waters, available);
        waters.iter().map(|water| water.entitlement).collect()
    }

    #[test]
    fn weights_share_what_guarantees_leave() {
        let waters = vec![water(1, 0, 100), water(1, 60, 100), water(2, 0, 10)];
        assert_eq!(filled(waters, 100), [30, 60, 10]);
    }

    #[test]
    fn too_many_guarantees_are_cut_by_their_size() {
        assert_eq!(filled(vec![water(9, 10, 20), water(1, 10, 20)], 10), [5, 5]);
        // Who asks for less than its guarantee leaves the rest to the others.
        assert_eq!(filled(vec![water(1, 10, 2), water(1, 10, 20)], 10), [2, 8]);
    }

    #[test]
    fn weight_0_gets_its_guarantee_and_the_rest() {
        let waters = vec![water(0, 3, 10), water(1, 0, 4)];
        assert_eq!(filled(waters, 10), [6, 4]);
    }

    proptest! {
        /// Nobody is outside its bounds, all is handed out but for the rounding, and no
        /// two that could still trade differ in what they have per weight.
        #[test]
        fn the_level_is_one(
            vessels in prop::collection::vec((0i64..5, 0i64..50, 0i64..100), 1..8),
            available in 0i64..300,
        ) {
            let mut waters: Vec<Water> = vessels.into_iter().map(|(w, g, d)| water(w, g, d)).collect();
            cut_guarantees(&mut waters, available);
            pour(&mut waters, available);
            let sum: i64 = waters.iter().map(|water| water.entitlement).sum();
            let wanted: i64 = waters.iter().map(|water| water.demand).sum();
            // A share is at least the smallest fraction there is.
            prop_assert!(sum <= available + waters.len() as i64);
            prop_assert!(sum + waters.len() as i64 > wanted.min(available) - 1);
            for water in &waters {
                prop_assert!(water.guarantee <= water.entitlement && water.entitlement <= water.demand);
            }
            for (i, a) in waters.iter().enumerate().filter(|(_, a)| a.weight > 0) {
                for b in waters[i + 1..].iter().filter(|b| b.weight > 0) {
                    // One unit of rounding on either side.
                    let more = |a: &Water, b: &Water| (a.entitlement - 1) * b.weight > (b.entitlement + 1) * a.weight;
                    prop_assert!(!(more(a, b) && a.entitlement > a.floor && b.entitlement < b.demand), "{a:?} {b:?}");
                    prop_assert!(!(more(b, a) && b.entitlement > b.floor && a.entitlement < a.demand), "{a:?} {b:?}");
                }
            }
        }
    }
}
