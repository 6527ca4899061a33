//! How the four-muon system moves: toy parton densities and recoil.
//!
//! These are *chosen*, not published. The densities obey the valence sum rules
//! and have about the size of measured ones near x = 0.01–0.1 at 100 GeV, do
//! not evolve with the scale, and serve for shapes only: the rates come from
//! published cross-sections.

use std::f64::consts::TAU;

use crate::higgs::kinematics::FourVector;
use crate::higgs::published::{COLLISION_ENERGY_GEV, Z_MASS_GEV};
use crate::higgs::random::Stream;

/// Densities times x of up-type and down-type quarks and of one sea antiquark.
pub struct Quarks {
    pub up: f64,
    pub down: f64,
    pub sea: f64,
}

/// x·q(x): valence 2/B(0.7, 4.3)·x^0.7(1−x)^3.3 and 1/B(0.7, 5.3)·x^0.7(1−x)^4.3
/// over a sea 0.15·x^−0.3(1−x)^8.
pub fn quarks(x: f64) -> Quarks {
    let rest = 1.0 - x;
    let sea = 0.15 * x.powf(-0.3) * rest.powi(8);
    let valence = x.powf(0.7) * rest.powf(3.3);
    Quarks {
        up: 4.18 * valence + sea,
        down: 2.43 * valence * rest + sea,
        sea,
    }
}

/// Momentum fractions of the two partons for mass and rapidity.
pub fn fractions(mass: f64, rapidity: f64) -> [f64; 2] {
    let scale = mass / COLLISION_ENERGY_GEV;
    [scale * rapidity.exp(), scale * (-rapidity).exp()]
}

/// Largest rapidity that a system of this mass can have.
pub fn rapidity_max(mass: f64) -> f64 {
    (COLLISION_ENERGY_GEV / mass).ln()
}

/// uū and dd̄ luminosity (times x₁x₂), with either proton giving the quark.
pub fn quark_luminosity(mass: f64, rapidity: f64) -> [f64; 2] {
    let [one, two] = fractions(mass, rapidity).map(quarks);
    [
        one.up * two.sea + one.sea * two.up,
        one.down * two.sea + one.sea * two.down,
    ]
}

/// Rapidity of a system made by two gluons, x·g ∝ x^−0.35(1−x)^6: the powers
/// of x cancel at fixed mass and the rest is largest at rest.
pub fn gluon_rapidity(mass: f64, stream: &mut Stream) -> f64 {
    let density = |y: f64| {
        let [a, b] = fractions(mass, y);
        ((1.0 - a) * (1.0 - b)).max(0.0).powi(6)
    };
    accept_rapidity(mass, density, density(0.0), stream)
}

/// Rapidity of a Z boson made by a quark and an antiquark.
pub fn quark_rapidity(mass: f64, stream: &mut Stream) -> f64 {
    let density = |y: f64| quark_luminosity(mass, y).iter().sum::<f64>();
    accept_rapidity(mass, density, PEAK_OVER_CENTRE * density(0.0), stream)
}

/// Bound of the quark luminosity over rapidity in units of its value at zero:
/// the valence quarks put the maximum aside of the centre.
pub const PEAK_OVER_CENTRE: f64 = 1.2;

fn accept_rapidity(
    mass: f64,
    density: impl Fn(f64) -> f64,
    bound: f64,
    stream: &mut Stream,
) -> f64 {
    let limit = rapidity_max(mass);
    loop {
        let y = stream.between(-limit, limit);
        if stream.uniform() * bound < density(y) {
            return y;
        }
    }
}

/// Recoil scale of a system made by gluons, GeV (median pT about 26 GeV).
pub const GLUON_RECOIL_GEV: f64 = 40.0;

/// Recoil scale of a system made by quarks, GeV: grows with its mass, and puts
/// the median pT of a Z at about 11 GeV.
pub fn quark_recoil(mass: f64) -> f64 {
    17.0 * mass / Z_MASS_GEV
}

/// The system in the laboratory: pT² falls as 1/(pT² + scale²)³.
pub fn system(mass: f64, rapidity: f64, recoil: f64, stream: &mut Stream) -> FourVector {
    let pt = recoil * ((1.0 - stream.uniform()).powf(-0.5) - 1.0).sqrt();
    FourVector::from_rapidity(mass, pt, rapidity, TAU * stream.uniform())
}
