//! Z → μμγ* → 4μ: a Z at its resonance whose muons radiate a virtual photon.
//!
//! The photon's mass falls as dm²/m²; the three-body decay Z → μ₁μ₂γ* follows
//! the tree-level element for the emission of a massive vector off a massless
//! pair (Dokshitzer, Marchesini, Webber, Nucl. Phys. B 469 (1996) 93), with
//! y_i = 1 − x_i and ε = m²/s:
//! [(x₁+ε)² + (x₂+ε)²]/(y₁y₂) − ε/y₁² − ε/y₂² over y₁y₂ ≥ ε, y₁+y₂ ≤ 1+ε.
//! The photon's polarisation is left out: it decays isotropically.

use std::f64::consts::TAU;

use super::{Event, muon_pair, production};
use crate::higgs::kinematics::{Direction, FourVector, at_rest};
use crate::higgs::published::{MUON_MASS_GEV, Z_MASS_GEV, Z_WIDTH_GEV};
use crate::higgs::random::Stream;

/// Range of four-muon masses generated.
const MASS_RANGE_GEV: [f64; 2] = [65.0, 115.0];
/// Range for which the branching fraction is published.
const REFERENCE_GEV: [f64; 2] = [80.0, 100.0];
/// Lightest opposite-sign pair of that definition, and of the generated photon.
const PAIR_MIN_GEV: f64 = 4.0;

/// Draws one event.
pub fn event(stream: &mut Stream) -> Event {
    let [low, high] = MASS_RANGE_GEV;
    let mass = stream
        .breit_wigner(Z_MASS_GEV, Z_WIDTH_GEV, low * low, high * high)
        .sqrt();
    let pairs = muons_at_rest(mass, stream);
    let rapidity = production::quark_rapidity(mass, stream);
    let z = production::system(mass, rapidity, production::quark_recoil(mass), stream);
    let in_reference =
        (REFERENCE_GEV[0]..REFERENCE_GEV[1]).contains(&mass) && lightest_pair(pairs) > PAIR_MIN_GEV;
    Event::from_pairs(
        pairs.map(|pair| pair.map(|p| p.boosted_with(z))),
        in_reference,
    )
}

fn lightest_pair([[a, b], [c, d]]: [[FourVector; 2]; 2]) -> f64 {
    [(a, b), (c, d), (a, d), (c, b)]
        .map(|(one, other)| (one + other).mass())
        .into_iter()
        .fold(f64::INFINITY, f64::min)
}

/// The radiating pair and the photon's pair, in the Z's rest frame.
fn muons_at_rest(mass: f64, stream: &mut Stream) -> [[FourVector; 2]; 2] {
    let (epsilon, y) = photon(mass, stream);
    let turn = TAU * stream.uniform();
    let [first, second, photon] = three_bodies(mass, epsilon, y, stream.direction(), turn);
    let radiating = if stream.uniform() < 0.5 {
        [first, second]
    } else {
        [second, first]
    };
    [radiating, muon_pair(photon, stream)]
}

/// μ₁, μ₂ and γ*: first Z → μ₁ + (μ₂γ*), whose mass is √(y₁s), along `axis`; then
/// the angle that gives y₂, turned by `turn` around it.
pub fn three_bodies(
    mass: f64,
    epsilon: f64,
    y: [f64; 2],
    axis: Direction,
    turn: f64,
) -> [FourVector; 3] {
    let [first, recoil] = at_rest(mass, [MUON_MASS_GEV, y[0].sqrt() * mass], axis);
    let (least, most) = (epsilon / y[0], 1.0 + epsilon - y[0]);
    let cosine = 1.0 - 2.0 * (y[1] - least) / (most - least);
    let masses = [epsilon.sqrt() * mass, MUON_MASS_GEV];
    let [photon, second] = recoil.decay(masses, axis.around(cosine, turn));
    [first, second, photon]
}

/// ε and (y₁, y₂), drawn log-uniformly and accepted by the element.
pub fn photon(mass: f64, stream: &mut Stream) -> (f64, [f64; 2]) {
    let least = (PAIR_MIN_GEV / mass).powi(2);
    loop {
        let epsilon = stream.log_between(least, 1.0);
        let y = [
            stream.log_between(epsilon, 1.0),
            stream.log_between(epsilon, 1.0),
        ];
        // Room for the muons' own masses, which the element neglects.
        let room = epsilon.sqrt() + 3.0 * MUON_MASS_GEV / mass;
        if y[0] * y[1] < epsilon || y[0] + y[1] > 1.0 + epsilon || y[0].sqrt() < room {
            continue;
        }
        // The proposal's own range in ln y narrows with ε: undo that.
        let range = (epsilon.ln() / least.ln()).powi(2);
        if 2.0 * stream.uniform() < range * element(epsilon, y) {
            return (epsilon, y);
        }
    }
}

/// The element times y₁y₂, which is at most 2.
fn element(epsilon: f64, [a, b]: [f64; 2]) -> f64 {
    let x = |y: f64| 1.0 - y + epsilon;
    x(a).powi(2) + x(b).powi(2) - epsilon * (a / b + b / a)
}
