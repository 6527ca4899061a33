//! Random numbers whose stream is a function of (seed, channel, index) alone.
//!
//! The generator is ChaCha with 8 rounds: an algorithm with a specification, so
//! its stream does not change with a version of `rand`. The seed and channel
//! make the key, the index is the stream number: streams never overlap.
//! Uniform, Gaussian and Poisson numbers are derived here and not by `rand`'s
//! distributions, whose values may change between releases.

use std::f64::consts::TAU;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use super::kinematics::Direction;

/// One stream of random numbers.
pub struct Stream {
    generator: ChaCha8Rng,
}

impl Stream {
    /// Opens the stream of one `channel` of one job (`index`) under `seed`.
    pub fn open(seed: u64, channel: u8, index: u64) -> Self {
        let mut key = *b"........ jeroboam higgs channel ";
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[31] = channel;
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(index);
        Self { generator }
    }

    /// Uniform in [0, 1) with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1u64 << 53) as f64;
        (self.generator.next_u64() >> 11) as f64 * STEP
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Log-uniform in [low, high), both positive: density 1/x.
    pub fn log_between(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.uniform())
    }

    /// Squared mass from a Breit–Wigner in s, 1/((s−M²)²+M²Γ²), cut to [low, high) GeV².
    pub fn breit_wigner(&mut self, mass_gev: f64, width_gev: f64, low: f64, high: f64) -> f64 {
        let scale = mass_gev * width_gev;
        let angle = |s: f64| ((s - mass_gev * mass_gev) / scale).atan();
        mass_gev * mass_gev + scale * self.between(angle(low), angle(high)).tan()
    }

    /// Standard normal number (Box–Muller, one of the two).
    pub fn gaussian(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// Isotropic direction.
    pub fn direction(&mut self) -> Direction {
        let cosine = self.between(-1.0, 1.0);
        Direction::polar(cosine, TAU * self.uniform())
    }

    /// Poisson number. A sum of independent ones is Poisson again, so a large
    /// mean is drawn in pieces small enough for Knuth's product of uniforms.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        const PIECE: f64 = 16.0;
        let mut left = mean.max(0.0);
        let mut count = 0;
        while left > 0.0 {
            let bound = (-left.min(PIECE)).exp();
            let mut product = self.uniform();
            while product > bound {
                count += 1;
                product *= self.uniform();
            }
            left -= PIECE;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_seed_channel_and_index_differ_and_repeat() {
        let first = |seed, channel, index| Stream::open(seed, channel, index).uniform();
        let here = first(1, 0, 0);
        assert_eq!(here, first(1, 0, 0));
        for other in [first(2, 0, 0), first(1, 1, 0), first(1, 0, 1)] {
            assert_ne!(here, other);
        }
    }

    #[test]
    fn the_stream_is_the_one_that_was_published() {
        let mut stream = Stream::open(42, 0, 7);
        let drawn: Vec<u64> = (0..2).map(|_| stream.generator.next_u64()).collect();
        assert_eq!(drawn, STREAM_42_0_7);
    }

    /// First numbers of seed 42, channel 0, index 7.
    const STREAM_42_0_7: [u64; 2] = [7_249_149_776_664_691_953, 1_801_737_787_816_489];

    #[test]
    fn gaussian_and_poisson_have_their_moments() {
        let mut stream = Stream::open(1, 0, 0);
        let n = 50_000;
        let squares: f64 = (0..n).map(|_| stream.gaussian().powi(2)).sum();
        assert!((squares / f64::from(n) - 1.0).abs() < 4.0 * (2.0 / f64::from(n)).sqrt());
        for mean in [0.3, 7.0, 55.0] {
            let sum: u64 = (0..n).map(|_| stream.poisson(mean)).sum();
            let off = sum as f64 / f64::from(n) - mean;
            assert!(
                off.abs() < 4.0 * (mean / f64::from(n)).sqrt(),
                "mean {mean}: off by {off}"
            );
        }
    }
}
