//! H → ZZ* → 4μ with the tree-level matrix element of the Standard Model,
//! without the interference of the two ways to pair identical muons.
//!
//! Masses first, by dΓ ∝ BW(s_a)·BW(s_b)·√λ·(λ + 12·s_a·s_b/m_H⁴) (Djouadi,
//! Phys. Rept. 457 (2008) 1), then angles at fixed masses by
//! (g_L⁴+g_R⁴)(p₁·p₃)(p₂·p₄) + 2·g_L²·g_R²·(p₁·p₄)(p₂·p₃), of which the first is
//! the integral.

use super::{Event, muon_pair, production};
use crate::higgs::kinematics::{FourVector, at_rest, kallen};
use crate::higgs::published::{
    HIGGS_MASS_GEV, HIGGS_WIDTH_GEV, SIN2_THETA, Z_MASS_GEV, Z_WIDTH_GEV,
};
use crate::higgs::random::Stream;

/// Lightest pair that is generated; the selection wants 12 GeV.
const PAIR_MIN_GEV: f64 = 2.0;
/// Cut of the line shape, far beyond its width.
const LINE_HALF_RANGE_GEV: f64 = 1.0;

/// Draws one event.
pub fn event(stream: &mut Stream) -> Event {
    let (low, high) = (
        HIGGS_MASS_GEV - LINE_HALF_RANGE_GEV,
        HIGGS_MASS_GEV + LINE_HALF_RANGE_GEV,
    );
    let mass = stream
        .breit_wigner(HIGGS_MASS_GEV, HIGGS_WIDTH_GEV, low * low, high * high)
        .sqrt();
    let pair_masses = pair_masses(mass, stream);
    let pairs = muons_at_rest(mass, pair_masses, stream);
    let rapidity = production::gluon_rapidity(mass, stream);
    let higgs = production::system(mass, rapidity, production::GLUON_RECOIL_GEV, stream);
    Event::from_pairs(pairs.map(|pair| pair.map(|p| p.boosted_with(higgs))), true)
}

/// Masses of the heavier and the lighter pair.
pub fn pair_masses(mass: f64, stream: &mut Stream) -> [f64; 2] {
    let least = PAIR_MIN_GEV * PAIR_MIN_GEV;
    let heavy_most = (mass - PAIR_MIN_GEV).powi(2);
    let light_most = (mass / 2.0).powi(2);
    loop {
        let heavy = stream
            .breit_wigner(Z_MASS_GEV, Z_WIDTH_GEV, least, heavy_most)
            .sqrt();
        let light = stream
            .breit_wigner(Z_MASS_GEV, Z_WIDTH_GEV, least, light_most)
            .sqrt();
        if light > heavy || light + heavy >= mass {
            continue;
        }
        let (a, b) = (heavy / mass, light / mass);
        let lambda = kallen(a, b);
        // At most 1, its value for two massless pairs.
        if stream.uniform() < lambda.sqrt() * (lambda + 12.0 * (a * b).powi(2)) {
            return [heavy, light];
        }
    }
}

fn muons_at_rest(mass: f64, masses: [f64; 2], stream: &mut Stream) -> [[FourVector; 2]; 2] {
    let (same, _) = chiralities();
    // The four products add up to (m² − s_a − s_b)/2, and `same` is the larger factor.
    let total = (mass * mass - masses[0].powi(2) - masses[1].powi(2)) / 2.0;
    let bound = same * total * total / 4.0;
    loop {
        let pairs = isotropic(mass, masses, stream);
        if stream.uniform() * bound < element(pairs) {
            return pairs;
        }
    }
}

/// Two pairs of the masses given, each isotropic in its own rest frame.
pub fn isotropic(mass: f64, masses: [f64; 2], stream: &mut Stream) -> [[FourVector; 2]; 2] {
    at_rest(mass, masses, stream.direction()).map(|boson| muon_pair(boson, stream))
}

/// The angular part of the squared matrix element.
pub fn element([[p1, p2], [p3, p4]]: [[FourVector; 2]; 2]) -> f64 {
    let (same, opposite) = chiralities();
    same * p1.dot(p3) * p2.dot(p4) + opposite * p1.dot(p4) * p2.dot(p3)
}

/// g_L⁴ + g_R⁴ and 2·g_L²·g_R² of the muon.
fn chiralities() -> (f64, f64) {
    let (left, right) = ((SIN2_THETA - 0.5).powi(2), SIN2_THETA.powi(2));
    (left * left + right * right, 2.0 * left * right)
}
