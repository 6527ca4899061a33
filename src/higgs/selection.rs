//! The selection of the published four-lepton analyses, for muons.
//!
//! After CMS, arXiv:1706.09936 and 2103.04956. The pair nearest to the Z mass is
//! Z1, the other two muons are Z2. What isolates and identifies muons in real
//! data has nothing to act on here.
//! Invariant: the stages are passed in order, so the cut flow never rises.

use serde::{Deserialize, Serialize};

use super::kinematics::FourVector;
use super::process::Muon;
use super::published::Z_MASS_GEV;

/// Pseudorapidity that the muon system covers.
pub const ETA_MAX: f64 = 2.4;
/// Least transverse momenta, hardest muon first.
const PT_MIN_GEV: [f64; 4] = [20.0, 10.0, 5.0, 5.0];
/// Least ΔR = √(Δη² + Δφ²) of two muons.
const SEPARATION_MIN: f64 = 0.02;
/// Least mass of any opposite-sign pair: keeps out J/ψ and soft resonances.
const PAIR_MIN_GEV: f64 = 4.0;
const Z1_GEV: std::ops::Range<f64> = 40.0..120.0;
const Z2_GEV: std::ops::Range<f64> = 12.0..120.0;
const FOUR_MUONS_MIN_GEV: f64 = 70.0;

/// How far an event gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Every event.
    Generated,
    /// Four muons with pT > 5 GeV, |η| < 2.4.
    Acceptance,
    /// The two hardest above 20 and 10 GeV.
    Momenta,
    /// All muons apart, all opposite-sign pairs above 4 GeV.
    Separation,
    /// 40 < m(Z1) < 120 GeV.
    FirstZ,
    /// 12 < m(Z2) < 120 GeV.
    SecondZ,
    /// m(4μ) > 70 GeV: selected.
    Selected,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 7] = [
        Self::Generated,
        Self::Acceptance,
        Self::Momenta,
        Self::Separation,
        Self::FirstZ,
        Self::SecondZ,
        Self::Selected,
    ];

    /// Name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Acceptance => "four muons, pT > 5 GeV, |η| < 2.4",
            Self::Momenta => "pT > 20, 10 GeV",
            Self::Separation => "ΔR > 0.02, m(μ⁺μ⁻) > 4 GeV",
            Self::FirstZ => "40 < m(Z1) < 120 GeV",
            Self::SecondZ => "12 < m(Z2) < 120 GeV",
            Self::Selected => "m(4μ) > 70 GeV",
        }
    }
}

/// The last stage passed, and the four-muon mass (GeV).
pub fn select(muons: &[Muon; 4]) -> (Stage, f64) {
    let total = muons
        .iter()
        .skip(1)
        .fold(muons[0].p, |sum, muon| sum + muon.p);
    (last_stage(muons, total.mass()), total.mass())
}

fn last_stage(muons: &[Muon; 4], mass: f64) -> Stage {
    let mut pts = muons.map(|muon| muon.p.pt());
    pts.sort_unstable_by(|a, b| b.total_cmp(a));
    let hard = |range: std::ops::Range<usize>| range.into_iter().all(|i| pts[i] > PT_MIN_GEV[i]);
    if !muons
        .iter()
        .all(|muon| muon.p.eta().abs() < ETA_MAX && muon.p.pt() > PT_MIN_GEV[3])
    {
        return Stage::Generated;
    }
    if !hard(0..4) {
        return Stage::Acceptance;
    }
    if !separated(muons) {
        return Stage::Momenta;
    }
    let [z1, z2] = z_masses(muons);
    if !Z1_GEV.contains(&z1) {
        return Stage::Separation;
    }
    if !Z2_GEV.contains(&z2) {
        return Stage::FirstZ;
    }
    if mass <= FOUR_MUONS_MIN_GEV {
        return Stage::SecondZ;
    }
    Stage::Selected
}

fn separated(muons: &[Muon; 4]) -> bool {
    (0..4)
        .flat_map(|i| (0..i).map(move |j| (i, j)))
        .all(|(i, j)| {
            let (one, other) = (muons[i], muons[j]);
            let far = distance(one.p, other.p) > SEPARATION_MIN;
            let heavy = one.charge == other.charge || (one.p + other.p).mass() > PAIR_MIN_GEV;
            far && heavy
        })
}

/// ΔR.
fn distance(one: FourVector, other: FourVector) -> f64 {
    let turn = (one.phi() - other.phi()).rem_euclid(std::f64::consts::TAU);
    (one.eta() - other.eta()).hypot(turn.min(std::f64::consts::TAU - turn))
}

/// Masses of Z1 and Z2: of the two ways to pair, the one that has the pair
/// nearest to the Z mass.
fn z_masses(muons: &[Muon; 4]) -> [f64; 2] {
    let of = |charge: i8| {
        muons
            .iter()
            .filter(move |muon| muon.charge == charge)
            .map(|m| m.p)
    };
    let minus: Vec<_> = of(-1).collect();
    let plus: Vec<_> = of(1).collect();
    let mass = |i: usize, j: usize| (minus[i] + plus[j]).mass();
    let off = |mass: f64| (mass - Z_MASS_GEV).abs();
    [[mass(0, 0), mass(1, 1)], [mass(0, 1), mass(1, 0)]]
        .map(|[a, b]| if off(a) <= off(b) { [a, b] } else { [b, a] })
        .into_iter()
        .min_by(|a, b| off(a[0]).total_cmp(&off(b[0])))
        .expect("two pairings")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn muon(pt: f64, eta: f64, phi: f64, charge: i8) -> Muon {
        Muon {
            p: FourVector::from_rapidity(0.1057, pt, eta, phi),
            charge,
        }
    }

    /// Z1 back to back near 91 GeV, Z2 at about 30 GeV.
    fn good() -> [Muon; 4] {
        [
            muon(45.6, 0.0, 0.0, -1),
            muon(45.6, 0.0, 3.1, 1),
            muon(15.0, 0.3, 1.2, -1),
            muon(15.0, 0.3, 4.4, 1),
        ]
    }

    #[test]
    fn each_stage_stops_the_event_it_is_for() {
        let edit = |i: usize, muon: Muon| {
            let mut muons = good();
            muons[i] = muon;
            last_stage(&muons, 125.0)
        };
        assert_eq!(select(&good()).0, Stage::Selected);
        assert_eq!(edit(3, muon(15.0, 2.5, 4.4, 1)), Stage::Generated);
        assert_eq!(edit(3, muon(4.9, 0.3, 4.4, 1)), Stage::Generated);
        assert_eq!(
            last_stage(
                &good().map(|m| muon(15.0, m.p.eta(), m.p.phi(), m.charge)),
                125.0
            ),
            Stage::Acceptance
        );
        assert_eq!(edit(3, muon(15.0, 0.3, 1.25, 1)), Stage::Momenta);
        assert_eq!(edit(3, muon(15.0, 0.3, 1.21, -1)), Stage::Momenta);
        assert_eq!(edit(3, muon(15.0, 0.3, 1.6, 1)), Stage::FirstZ);
        assert_eq!(last_stage(&good(), 69.0), Stage::SecondZ);
        let light = good().map(|m| muon(m.p.pt().min(21.0) * 0.95, m.p.eta(), m.p.phi(), m.charge));
        assert_eq!(last_stage(&light, 70.0), Stage::Acceptance);
    }

    #[test]
    fn z1_is_the_pair_nearest_to_the_z_mass() {
        let [z1, z2] = z_masses(&good());
        assert!((z1 - 91.2).abs() < 0.5, "{z1}");
        assert!((z2 - 30.0).abs() < 1.0, "{z2}");
    }
}
