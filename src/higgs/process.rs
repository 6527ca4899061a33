//! The three channels, and one event of each: four muons before the detector.
//!
//! Each channel draws unweighted events by accept–reject, so every event
//! counts once and adding histograms is exact in any order. A channel's events
//! are scaled to the luminosity by a published cross-section and the number of
//! generated events in the region for which it was published.
//! Left out: see `docs/physics.md`.

mod continuum;
mod production;
mod signal;
mod z_peak;

use serde::{Deserialize, Serialize};

use super::kinematics::FourVector;
use super::published;
use super::random::Stream;

/// A process that ends in four muons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// pp → H → ZZ* → 4μ.
    Higgs,
    /// pp → Z → μμγ* → 4μ.
    ZPeak,
    /// qq̄ → (Z/γ*)(Z/γ*) → 4μ.
    Continuum,
}

/// A muon and its charge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Energy and momentum, GeV.
    pub p: FourVector,
    /// +1 or −1.
    pub charge: i8,
}

/// One generated collision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// μ⁻μ⁺ of one pair, then of the other.
    pub muons: [Muon; 4],
    /// Whether it lies in the region for which the cross-section is published.
    pub in_reference: bool,
}

impl Channel {
    /// All channels, in the order they are stacked, lowest first.
    pub const ALL: [Self; 3] = [Self::Continuum, Self::ZPeak, Self::Higgs];

    /// Name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Higgs => "H → ZZ* → 4μ",
            Self::ZPeak => "Z → 4μ",
            Self::Continuum => "ZZ*, Zγ* → 4μ",
        }
    }

    /// Number that keeps the channels' random streams apart.
    pub fn stream(self) -> u8 {
        match self {
            Self::Higgs => 0,
            Self::ZPeak => 1,
            Self::Continuum => 2,
        }
    }

    /// Cross-section times branching fraction of the reference region, fb.
    pub fn reference_fb(self) -> f64 {
        match self {
            Self::Higgs => published::higgs_fb(),
            Self::ZPeak => published::z_peak_fb(),
            Self::Continuum => published::continuum_fb(),
        }
    }

    /// Draws one event.
    pub fn event(self, stream: &mut Stream) -> Event {
        match self {
            Self::Higgs => signal::event(stream),
            Self::ZPeak => z_peak::event(stream),
            Self::Continuum => continuum::event(stream),
        }
    }
}

impl Event {
    /// From the pairs' momenta, negative muon first in each.
    fn from_pairs(pairs: [[FourVector; 2]; 2], in_reference: bool) -> Self {
        let [[a, b], [c, d]] = pairs;
        let muon = |p, charge| Muon { p, charge };
        Self {
            muons: [muon(a, -1), muon(b, 1), muon(c, -1), muon(d, 1)],
            in_reference,
        }
    }
}

/// Decay of a boson into a muon pair, isotropic in its rest frame.
fn muon_pair(boson: FourVector, stream: &mut Stream) -> [FourVector; 2] {
    boson.decay([published::MUON_MASS_GEV; 2], stream.direction())
}

#[cfg(test)]
mod tests;
