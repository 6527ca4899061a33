//! qq̄ → (Z/γ*)(Z/γ*) → 4μ through t- and u-channel quark exchange at tree level.
//!
//! |M|² ∝ t/u + u/t + 2(s_a+s_b)ŝ/(tu) − s_a·s_b(1/t² + 1/u²) (Brown, Mikaelian,
//! Phys. Rev. D 19 (1979) 922, for two masses), times for each pair
//! s·Σ|Q_q·Q_μ/s + g_q·g_μ/(s − M² + iMΓ)|² with the quark's chirality the same
//! at both, times the toy quark luminosity. The bosons decay isotropically:
//! spin correlations, radiation off the muons (see `z_peak`) and gluon fusion
//! are left out; the measured cross-section that scales this includes the last.

use super::production::{quark_luminosity, quark_recoil, rapidity_max, system};
use super::{Event, muon_pair};
use crate::higgs::kinematics::{Direction, FourVector, at_rest, kallen};
use crate::higgs::published::{SIN2_THETA, Z_MASS_GEV, Z_WIDTH_GEV};
use crate::higgs::random::Stream;

/// Range of a pair's mass.
const PAIR_GEV: [f64; 2] = [4.0, 160.0];
/// Range of four-muon masses.
const SYSTEM_GEV: [f64; 2] = [65.0, 600.0];
/// Pair masses for which the cross-section is published.
const REFERENCE_GEV: [f64; 2] = [60.0, 120.0];
/// Bound of `weight`; a test looks that it is one, and not far too high.
pub const WEIGHT_MAX: f64 = 42.0;

/// A point in phase space, and how the hard process looks there.
pub struct Point {
    pair_masses: [f64; 2],
    mass: f64,
    rapidity: f64,
    /// Momentum transfer from the quark to the first boson, GeV², negative.
    t: f64,
    /// Squared element and luminosity over the density it was drawn from.
    pub weight: f64,
}

/// Draws one event.
pub fn event(stream: &mut Stream) -> Event {
    let point = loop {
        let Some(point) = propose(stream) else {
            continue;
        };
        if stream.uniform() * WEIGHT_MAX < point.weight {
            break point;
        }
    };
    let pairs = muons_at_rest(&point, stream);
    let total = system(point.mass, point.rapidity, quark_recoil(point.mass), stream);
    let in_reference = point
        .pair_masses
        .iter()
        .all(|mass| (REFERENCE_GEV[0]..REFERENCE_GEV[1]).contains(mass));
    Event::from_pairs(
        pairs.map(|pair| pair.map(|p| p.boosted_with(total))),
        in_reference,
    )
}

/// Draws a point; none where the masses leave the ranges.
pub fn propose(stream: &mut Stream) -> Option<Point> {
    let squares = [pair_square(stream), pair_square(stream)];
    let pair_masses = squares.map(f64::sqrt);
    let threshold = pair_masses[0] + pair_masses[1];
    let least = threshold.max(SYSTEM_GEV[0]).powi(2);
    // ŝ falls as 1/ŝ².
    let s = least / (1.0 - stream.uniform());
    let mass = s.sqrt();
    if mass >= SYSTEM_GEV[1] {
        return None;
    }
    let limit = rapidity_max(mass);
    let rapidity = stream.between(-limit, limit);
    let (t, t_range) = transfer(s, squares, stream)?;
    // 1/ŝ² of dσ/dt and 1/ŝ of the luminosity (which is times x₁x₂), over least/ŝ².
    let hard = element(s, t, squares) * t_range / (least * s);
    let luminosity = quark_luminosity(mass, rapidity);
    let couplings: f64 = [UP, DOWN]
        .iter()
        .zip(luminosity)
        .map(|(quark, flux)| flux * quark.couplings(squares))
        .sum();
    Some(Point {
        pair_masses,
        mass,
        rapidity,
        t,
        weight: hard * limit * couplings,
    })
}

/// Half from the Z's line, half as the photon's 1/s.
fn pair_square(stream: &mut Stream) -> f64 {
    let [low, high] = PAIR_GEV.map(|m| m * m);
    if stream.uniform() < 0.5 {
        stream.breit_wigner(Z_MASS_GEV, Z_WIDTH_GEV, low, high)
    } else {
        stream.log_between(low, high)
    }
}

/// Density of `pair_square`.
fn pair_density(s: f64) -> f64 {
    let [low, high] = PAIR_GEV.map(|m| m * m);
    let pole = Z_MASS_GEV * Z_MASS_GEV;
    let scale = Z_MASS_GEV * Z_WIDTH_GEV;
    let span = ((high - pole) / scale).atan() - ((low - pole) / scale).atan();
    let line = scale / ((s - pole).powi(2) + scale * scale) / span;
    0.5 * (line + 1.0 / (s * (high / low).ln()))
}

/// t from 1/t or, by symmetry, u from 1/u; with the logarithmic range.
fn transfer(s: f64, [a, b]: [f64; 2], stream: &mut Stream) -> Option<(f64, f64)> {
    let mass = s.sqrt();
    let root = s * kallen(a.sqrt() / mass, b.sqrt() / mass).sqrt();
    let sum = s - a - b;
    let far = (sum + root) / 2.0;
    // far·near = a·b: the quotient keeps the digits that sum − root loses.
    let near = a * b / far;
    if root <= 0.0 || near >= far {
        return None;
    }
    let drawn = stream.log_between(near, far);
    let t = if stream.uniform() < 0.5 {
        -drawn
    } else {
        drawn - sum
    };
    Some((t, (far / near).ln()))
}

/// The element over the density ∝ 1/t + 1/u of `transfer`.
fn element(s: f64, t: f64, [a, b]: [f64; 2]) -> f64 {
    let u = a + b - s - t;
    let squares = t * t + u * u + 2.0 * (a + b) * s - a * b * (u / t + t / u);
    squares / (t + u).abs()
}

fn muons_at_rest(point: &Point, stream: &mut Stream) -> [[FourVector; 2]; 2] {
    let [a, b] = point.pair_masses.map(|m| m * m);
    let s = point.mass * point.mass;
    let [lambda_a, lambda_b] = point.pair_masses.map(|m| m / point.mass);
    let root = s * kallen(lambda_a, lambda_b).sqrt();
    let cosine = ((2.0 * point.t + s - a - b) / root).clamp(-1.0, 1.0);
    // Either proton may give the quark.
    let cosine = if stream.uniform() < 0.5 {
        cosine
    } else {
        -cosine
    };
    let direction = Direction::polar(cosine, stream.between(0.0, std::f64::consts::TAU));
    at_rest(point.mass, point.pair_masses, direction).map(|boson| muon_pair(boson, stream))
}

/// Charge and third component of weak isospin.
struct Quark {
    charge: f64,
    isospin: f64,
}

const UP: Quark = Quark {
    charge: 2.0 / 3.0,
    isospin: 0.5,
};
const DOWN: Quark = Quark {
    charge: -1.0 / 3.0,
    isospin: -0.5,
};
const MUON: Quark = Quark {
    charge: -1.0,
    isospin: -0.5,
};

impl Quark {
    /// Couplings to the Z in units of the charge, left and right.
    fn z_couplings(&self) -> [f64; 2] {
        let norm = (SIN2_THETA * (1.0 - SIN2_THETA)).sqrt();
        let right = -self.charge * SIN2_THETA;
        [(self.isospin + right) / norm, right / norm]
    }

    /// Both pairs' factors over the density of `pair_square`, summed over chiralities.
    fn couplings(&self, squares: [f64; 2]) -> f64 {
        let [left, right] = self.z_couplings().map(|coupling| {
            let pair = |s| self.pair_factor(coupling, s) / pair_density(s);
            pair(squares[0]) * pair(squares[1])
        });
        left + right
    }

    /// s·Σ over the muon's chirality of |photon + Z|².
    fn pair_factor(&self, coupling: f64, s: f64) -> f64 {
        let (off, damp) = (s - Z_MASS_GEV * Z_MASS_GEV, Z_MASS_GEV * Z_WIDTH_GEV);
        let norm = off * off + damp * damp;
        let sum: f64 = MUON
            .z_couplings()
            .iter()
            .map(|muon| {
                let (photon, z) = (self.charge * MUON.charge / s, coupling * muon / norm);
                (photon + z * off).powi(2) + (z * damp).powi(2)
            })
            .sum();
        s * sum
    }
}
