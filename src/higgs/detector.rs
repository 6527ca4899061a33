//! What a detector makes of a muon: its transverse momentum, smeared.
//!
//! The relative resolution grows from 1.2 % in the centre to 2.0 % at the edge
//! of the acceptance, about what CMS gives for its muons (1 % in the barrel,
//! 3 % in the endcaps up to 100 GeV: JINST 13 (2018) P06015). Angles are taken
//! as exact. Inefficiencies and radiated photons are left out.

use super::kinematics::FourVector;
use super::process::Muon;
use super::random::Stream;
use super::selection::ETA_MAX;

const RESOLUTION_CENTRE: f64 = 0.012;
const RESOLUTION_EDGE: f64 = 0.020;

/// Relative resolution of the transverse momentum.
pub fn resolution(eta: f64) -> f64 {
    let outward = (eta / ETA_MAX).powi(2).min(1.0);
    RESOLUTION_CENTRE + (RESOLUTION_EDGE - RESOLUTION_CENTRE) * outward
}

/// The muons as measured.
pub fn measure(muons: [Muon; 4], stream: &mut Stream) -> [Muon; 4] {
    muons.map(|muon| {
        let factor = 1.0 + resolution(muon.p.eta()) * stream.gaussian();
        // A factor of zero is fifty standard deviations away.
        Muon {
            p: scaled(muon.p, factor.max(0.1)),
            ..muon
        }
    })
}

/// Momentum times `factor`, at the same mass.
fn scaled(p: FourVector, factor: f64) -> FourVector {
    let mass = p.mass();
    let momentum = p.p.map(|c| c * factor);
    let squared: f64 = momentum.iter().map(|c| c * c).sum();
    FourVector {
        e: (mass * mass + squared).sqrt(),
        p: momentum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smearing_has_the_stated_width_and_keeps_direction() {
        let p = FourVector::from_rapidity(0.105_658, 40.0, 0.5, 1.0);
        let muon = Muon { p, charge: 1 };
        let mut stream = Stream::open(1, 0, 0);
        let n = 20_000;
        let mut squares = 0.0;
        for _ in 0..n {
            let [measured, ..] = measure([muon; 4], &mut stream);
            squares += (measured.p.pt() / p.pt() - 1.0).powi(2);
            assert!((measured.p.eta() - p.eta()).abs() < 1e-9);
        }
        let width = (squares / f64::from(n)).sqrt();
        let expected = resolution(p.eta());
        assert!((width / expected - 1.0).abs() < 4.0 / (2.0 * f64::from(n)).sqrt());
        assert!((0.01..0.02).contains(&expected));
    }
}
