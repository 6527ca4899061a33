//! Decayed usage: an exponential average of what a queue held, in integers.
//!
//! Time is cut into steps of ten minutes. Within a step the exact integral of
//! `held` is kept; at its end the average over the step is folded in,
//! `h := h·d + average·(1 − d)` with `d = 2^(−step/half-life)` from a table, so
//! no floating point is involved and a replay folds at the same points.

use crate::resources::{DIMENSIONS, Resources};
use crate::time::TimeMs;
use serde::{Deserialize, Serialize};

/// Length of a step.
pub const STEP_MS: i64 = 600_000;
/// Fractional bits of the average.
pub const FRACTION_BITS: u32 = 16;
/// After so many half-lives the past cannot be told from none: not folded further.
pub const HALF_LIVES_MAX: i64 = 16;
const ONE: i128 = 1 << 32;

/// Decayed average of a vector of amounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Σ held · ms since the last fold.
    integral: [i64; DIMENSIONS],
    /// Until when the integral is counted.
    counted_until: TimeMs,
    /// The average, not yet corrected for youth; `FRACTION_BITS` fractional bits.
    average: [i64; DIMENSIONS],
    /// Weight of the past that the average has seen, of `ONE`.
    seen: i64,
}

impl Usage {
    /// Counts what was `held` until now; call before `held` changes.
    pub fn count(&mut self, held: &Resources, now: TimeMs) {
        let elapsed_ms = now - self.counted_until;
        for (sum, amount) in self.integral.iter_mut().zip(&held.0) {
            // A step has 6e5 ms and amounts are below 2^40: below 2^60.
            *sum = sum.saturating_add(amount.saturating_mul(elapsed_ms));
        }
        self.counted_until = now;
    }

    /// Folds the step that ends at `end`, over which `held` was counted.
    pub fn fold(&mut self, held: &Resources, end: TimeMs, decay: Decay) {
        self.count(held, end);
        let Decay(decay) = decay;
        for (average, sum) in self.average.iter_mut().zip(&mut self.integral) {
            let of_step = (i128::from(*sum) << FRACTION_BITS) / i128::from(STEP_MS);
            let mixed = i128::from(*average) * decay + of_step * (ONE - decay);
            *average = (mixed / ONE) as i64;
            *sum = 0;
        }
        self.seen = ((i128::from(self.seen) * decay + ONE * (ONE - decay)) / ONE) as i64;
    }

    /// What folding comes to when the same was `held` for very long until `end`.
    pub fn settle(&mut self, held: &Resources, end: TimeMs) {
        *self = Usage {
            integral: [0; DIMENSIONS],
            counted_until: end,
            average: held.0.map(|amount| amount << FRACTION_BITS),
            seen: ONE as i64,
        };
    }

    /// Starts counting at `now` with no past.
    pub fn start(&mut self, now: TimeMs) {
        self.counted_until = now;
    }

    /// The average held, corrected for a past shorter than the half-life;
    /// zero before the first fold.
    pub fn average(&self) -> Resources {
        Resources(self.average_fine().map(|average| average >> FRACTION_BITS))
    }

    /// The same with [`FRACTION_BITS`] fractional bits: half a gpu is not none.
    pub fn average_fine(&self) -> [i64; DIMENSIONS] {
        if self.seen == 0 {
            return [0; DIMENSIONS];
        }
        self.average
            .map(|average| (i128::from(average) * ONE / i128::from(self.seen)) as i64)
    }

    /// True once a step has been folded.
    pub fn has_past(&self) -> bool {
        self.seen > 0
    }
}

/// What is left of an average after one step: `2^(−step/half-life)` in 32
/// fractional bits. Computed once for many folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decay(i128);

impl Decay {
    /// By repeated square roots of one half: 2^(−x) is the product of 2^(−2^−k)
    /// over the set bits k of x; each factor is an integer square root of the last.
    pub fn of_half_life(half_life_ms: i64) -> Self {
        // x = step / half-life < 1, in 32 fractional bits.
        let exponent = (i128::from(STEP_MS) << 32) / i128::from(half_life_ms);
        let mut factor: u128 = 1 << 62; // 2^-1 in 63 fractional bits
        let mut product: u128 = 1 << 63;
        for bit in (0..32).rev() {
            factor = (factor << 63).isqrt(); // 2^(-2^(bit-32))
            if exponent >> bit & 1 == 1 {
                product = (product * factor) >> 63;
            }
        }
        Decay((product >> 31) as i128)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR_MS;

    fn folded(held: Resources, steps: i64, usage: &mut Usage, from: TimeMs) -> TimeMs {
        for step in 1..=steps {
            usage.fold(
                &held,
                from + step * STEP_MS,
                Decay::of_half_life(48 * HOUR_MS),
            );
        }
        from + steps * STEP_MS
    }

    #[test]
    fn a_constant_holding_is_its_own_average() {
        let mut usage = Usage::default();
        let held = Resources::of(8_000, 1_024, 0, 1);
        folded(held, 7, &mut usage, TimeMs(0));
        let average = usage.average();
        assert!((average[0] - 8_000).abs() <= 1, "{average:?}");
        assert!((average[1] - 1_024).abs() <= 1, "{average:?}");
    }

    #[test]
    fn half_is_forgotten_in_a_half_life() {
        let mut usage = Usage::default();
        let held = Resources::of(8_000, 0, 0, 0);
        let now = folded(held, 6 * 24 * 60, &mut usage, TimeMs(0));
        folded(Resources::ZERO, 6 * 48, &mut usage, now);
        assert!(
            (usage.average()[0] - 4_000).abs() <= 8,
            "{:?}",
            usage.average()
        );
    }

    #[test]
    fn the_decay_factor_is_the_root_of_one_half() {
        // 2^(-600/172800) = 0.997596...
        let decay = Decay::of_half_life(48 * HOUR_MS).0 as f64 / ONE as f64;
        assert!(
            (decay - 2f64.powf(-600.0 / 172_800.0)).abs() < 1e-9,
            "{decay}"
        );
    }
}
