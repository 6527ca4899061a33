//! Counts scaled to a luminosity, and where their peaks are.
//!
//! An event of a channel stands for σ·L / (events generated in the region of
//! the published σ). Uncertainties here are those of the number of generated
//! events; those of the cross-sections and of the model are not in them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::histogram::{Binning, Tally};
use super::process::Channel;
use super::published::{HIGGS_MASS_GEV, LUMINOSITY_PER_FB, Z_MASS_GEV};

/// Half the window of a peak's fit, GeV.
const PEAK_HALF_WIDTH_GEV: f64 = 2.5;

/// Expected events by channel and bin.
pub struct Expectation {
    /// The bins.
    pub binning: Binning,
    /// What one generated event stands for.
    pub per_event: BTreeMap<Channel, f64>,
    counts: BTreeMap<Channel, Vec<u64>>,
}

/// A peak's place by a fit.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// Position, GeV.
    pub position_gev: f64,
    /// Its uncertainty from the number of generated events, GeV.
    pub error_gev: f64,
    /// Standard deviation of the fitted Gaussian, GeV.
    pub width_gev: f64,
}

/// A channel without events in its reference region.
#[derive(Debug, thiserror::Error)]
#[error(
    "no event of {channel} lies where its cross-section is published; generate more with --events"
)]
pub struct NothingToScale {
    channel: &'static str,
}

impl Expectation {
    /// Scales a tally to the published luminosity.
    pub fn of(tally: &Tally) -> Result<Self, NothingToScale> {
        let mut per_event = BTreeMap::new();
        let mut counts = BTreeMap::new();
        for (name, channel) in &tally.channels {
            if channel.in_reference == 0 {
                return Err(NothingToScale {
                    channel: name.label(),
                });
            }
            let expected = name.reference_fb() * LUMINOSITY_PER_FB;
            per_event.insert(*name, expected / channel.in_reference as f64);
            counts.insert(*name, channel.four_muon_mass.counts.clone());
        }
        Ok(Self {
            binning: tally.binning,
            per_event,
            counts,
        })
    }

    /// Expected events of one channel within [low, high) GeV, by whole bins.
    pub fn within(&self, channel: Channel, range_gev: Range<f64>) -> f64 {
        let count: u64 = self
            .bins(range_gev)
            .map(|bin| self.counts[&channel][bin])
            .sum();
        count as f64 * self.per_event[&channel]
    }

    /// Events per channel in bins of `width_gev`, a multiple of the stored width,
    /// as lower edge and expected events in the order of `Channel::ALL`.
    pub fn rebinned(&self, range_gev: Range<f64>, width_gev: f64) -> Vec<(f64, [f64; 3])> {
        let bins = ((range_gev.end - range_gev.start) / width_gev).round() as usize;
        (0..bins)
            .map(|bin| {
                let low = range_gev.start + bin as f64 * width_gev;
                (
                    low,
                    Channel::ALL.map(|name| self.within(name, low..low + width_gev)),
                )
            })
            .collect()
    }

    /// The Z peak in the sum, the continuum subtracted.
    pub fn z_peak(&self) -> Option<Peak> {
        self.peak(Z_MASS_GEV)
    }

    /// The Higgs peak in the sum, the continuum subtracted.
    pub fn higgs_peak(&self) -> Option<Peak> {
        self.peak(HIGGS_MASS_GEV)
    }

    fn peak(&self, near_gev: f64) -> Option<Peak> {
        let window = near_gev - PEAK_HALF_WIDTH_GEV..near_gev + PEAK_HALF_WIDTH_GEV;
        let points = self.bins(window).map(|bin| {
            let of = |name: &Channel| (self.counts[name][bin] as f64, self.per_event[name]);
            let peaks = [Channel::ZPeak, Channel::Higgs];
            let height = peaks.iter().map(of).map(|(n, scale)| n * scale).sum();
            let variance = Channel::ALL
                .iter()
                .map(of)
                .map(|(n, scale)| n * scale * scale)
                .sum();
            let centre = self.binning.low_gev + (bin as f64 + 0.5) * self.binning.width_gev;
            (centre - near_gev, height, variance)
        });
        let fit = fit_gaussian(points)?;
        Some(Peak {
            position_gev: near_gev + fit.position_gev,
            ..fit
        })
    }

    fn bins(&self, range_gev: Range<f64>) -> Range<usize> {
        let edge = |gev: f64| {
            let bin = ((gev - self.binning.low_gev) / self.binning.width_gev).round();
            bin.clamp(0.0, self.binning.bins as f64) as usize
        };
        edge(range_gev.start)..edge(range_gev.end)
    }
}

/// Least squares of a parabola to the logarithm of (x, height, variance): a
/// Gaussian without a starting guess. None where there is no peak.
fn fit_gaussian(points: impl Iterator<Item = (f64, f64, f64)>) -> Option<Peak> {
    let mut matrix = [[0.0; 3]; 3];
    let mut vector = [0.0; 3];
    for (x, height, variance) in points {
        if height <= 0.0 || variance <= 0.0 {
            continue;
        }
        let weight = height * height / variance;
        let powers = [1.0, x, x * x];
        for i in 0..3 {
            vector[i] += weight * powers[i] * height.ln();
            for j in 0..3 {
                matrix[i][j] += weight * powers[i] * powers[j];
            }
        }
    }
    let covariance = inverse(matrix)?;
    let [_, slope, bend] = covariance.map(|row| (0..3).map(|i| row[i] * vector[i]).sum::<f64>());
    if bend >= 0.0 {
        return None;
    }
    let (by_slope, by_bend) = (-0.5 / bend, 0.5 * slope / (bend * bend));
    let variance = by_slope * by_slope * covariance[1][1]
        + 2.0 * by_slope * by_bend * covariance[1][2]
        + by_bend * by_bend * covariance[2][2];
    Some(Peak {
        position_gev: by_slope * slope,
        error_gev: variance.max(0.0).sqrt(),
        width_gev: (-0.5 / bend).sqrt(),
    })
}

/// Inverse of a symmetric 3×3 matrix by cofactors; none when it is singular.
fn inverse(m: [[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    let cofactor = |i: usize, j: usize| {
        let (a, b) = ((i + 1) % 3, (i + 2) % 3);
        let (c, d) = ((j + 1) % 3, (j + 2) % 3);
        m[a][c] * m[b][d] - m[a][d] * m[b][c]
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * cofactor(0, j)).sum();
    let scale = m[0][0] * m[1][1] * m[2][2];
    if scale <= 0.0 || determinant / scale < 1e-12 {
        return None;
    }
    Some(std::array::from_fn(|i| {
        std::array::from_fn(|j| cofactor(j, i) / determinant)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_finds_an_exact_gaussian() {
        let points = (-5..=5).map(|i| {
            let x = f64::from(i) * 0.5;
            let height = 1000.0 * (-0.5 * ((x - 0.3) / 1.1f64).powi(2)).exp();
            (x, height, height)
        });
        let peak = fit_gaussian(points).expect("a peak");
        assert!((peak.position_gev - 0.3).abs() < 1e-9 && (peak.width_gev - 1.1).abs() < 1e-9);
        assert!(peak.error_gev > 0.0);
    }

    #[test]
    fn no_peak_is_no_position() {
        assert!(fit_gaussian([(0.0, 1.0, 1.0)].into_iter()).is_none());
        let valley = (-5..=5).map(|i| (f64::from(i), (f64::from(i).powi(2) / 50.0).exp(), 1.0));
        assert!(fit_gaussian(valley).is_none());
    }
}
