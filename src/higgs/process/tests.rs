#![allow(clippy::unwrap_used)]

use super::continuum::{WEIGHT_MAX, propose};
use super::production::{PEAK_OVER_CENTRE, quark_luminosity, rapidity_max};
use super::signal::{element, isotropic, pair_masses};
use super::*;
use crate::higgs::kinematics::kallen;
use crate::higgs::published::{
    HIGGS_MASS_GEV, HIGGS_WIDTH_GEV, MUON_MASS_GEV, Z_MASS_GEV, Z_WIDTH_GEV,
};

fn four_muons(event: &Event) -> FourVector {
    event
        .muons
        .iter()
        .skip(1)
        .fold(event.muons[0].p, |sum, muon| sum + muon.p)
}

fn masses(channel: Channel, n: usize) -> Vec<f64> {
    let mut stream = Stream::open(11, channel.stream(), 0);
    let mut masses: Vec<f64> = (0..n)
        .map(|_| four_muons(&channel.event(&mut stream)).mass())
        .collect();
    masses.sort_unstable_by(f64::total_cmp);
    masses
}

#[test]
fn events_are_muons_of_both_charges_on_their_mass_shell() {
    for channel in Channel::ALL {
        let mut stream = Stream::open(3, channel.stream(), 0);
        for _ in 0..300 {
            let event = channel.event(&mut stream);
            assert_eq!(event.muons.map(|muon| muon.charge), [-1, 1, -1, 1]);
            for muon in event.muons {
                let off = muon.p.dot(muon.p) - MUON_MASS_GEV * MUON_MASS_GEV;
                assert!(off.abs() < 1e-9 * muon.p.e * muon.p.e, "{channel:?}: {off}");
            }
        }
    }
}

#[test]
fn the_z_decays_at_rest_conserving_momentum() {
    let mut stream = Stream::open(3, 1, 0);
    let axis = stream.direction();
    for _ in 0..300 {
        let (epsilon, y) = z_peak::photon(Z_MASS_GEV, &mut stream);
        let [first, second, photon] = z_peak::three_bodies(Z_MASS_GEV, epsilon, y, axis, 1.0);
        let sum = first + second + photon;
        assert!((sum.e - Z_MASS_GEV).abs() < 1e-9 * Z_MASS_GEV);
        assert!(sum.p.iter().all(|p| p.abs() < 1e-9 * Z_MASS_GEV));
        // The invariants asked for, to the muon's mass that the element neglects.
        let shares = [second, first].map(|muon| ((muon + photon).mass() / Z_MASS_GEV).powi(2));
        for (share, y) in shares.into_iter().zip(y) {
            assert!((share - y).abs() < 2e-3, "{share} for {y}");
        }
        assert!((photon.mass() / Z_MASS_GEV - epsilon.sqrt()).abs() < 1e-9);
    }
}

#[test]
fn resonances_are_where_they_are_published() {
    let n = 4000;
    let median_error = |width: f64| 4.0 * std::f64::consts::PI * width / 4.0 / f64::from(n).sqrt();
    let higgs = masses(Channel::Higgs, n as usize)[n as usize / 2];
    assert!(
        (higgs - HIGGS_MASS_GEV).abs() < median_error(HIGGS_WIDTH_GEV),
        "{higgs}"
    );
    let z = masses(Channel::ZPeak, n as usize)[n as usize / 2];
    // The line is one in s: its median lies a little lower in the range generated.
    assert!(
        (z - Z_MASS_GEV).abs() < median_error(Z_WIDTH_GEV) + 0.05,
        "{z}"
    );
}

#[test]
fn angles_of_the_higgs_decay_integrate_to_the_known_rate() {
    // Averaged over angles the element is λ + 12·s_a·s_b/m⁴, up to one factor.
    let mean = |masses: [f64; 2]| {
        let mut stream = Stream::open(9, 0, 0);
        let n = 20_000;
        let sum: f64 = (0..n)
            .map(|_| element(isotropic(HIGGS_MASS_GEV, masses, &mut stream)))
            .sum();
        let [a, b] = masses.map(|m| m / HIGGS_MASS_GEV);
        // λ alone is the longitudinal part; a pair's own size enters as s_a·s_b.
        sum / f64::from(n) / (kallen(a, b) + 12.0 * (a * b).powi(2))
    };
    let reference = mean([91.0, 30.0]);
    for masses in [[91.0, 12.0], [60.0, 50.0], [30.0, 20.0]] {
        let ratio = mean(masses) / reference;
        assert!((ratio - 1.0).abs() < 0.03, "{masses:?}: {ratio}");
    }
}

#[test]
fn the_lighter_pair_of_a_higgs_follows_the_integrated_rate() {
    // An independent integral of the rate on a grid gives the mean mass.
    let line = |m: f64| {
        let off = m * m - Z_MASS_GEV * Z_MASS_GEV;
        m / (off * off + (Z_MASS_GEV * Z_WIDTH_GEV).powi(2))
    };
    let (mut rate, mut moment) = (0.0, 0.0);
    for heavy in (0..2500).map(|i| 0.05 * (f64::from(i) + 0.5)) {
        for light in (0..250).map(|i| 2.0 + 0.25 * (f64::from(i) + 0.5)) {
            if light < heavy && light + heavy < HIGGS_MASS_GEV {
                let (a, b) = (heavy / HIGGS_MASS_GEV, light / HIGGS_MASS_GEV);
                let lambda = kallen(a, b);
                let weight = line(heavy) * line(light) * lambda.sqrt();
                let weight = weight * (lambda + 12.0 * (a * b).powi(2));
                rate += weight;
                moment += weight * light;
            }
        }
    }
    let mut stream = Stream::open(4, 0, 0);
    let n = 10_000;
    let drawn: f64 = (0..n)
        .map(|_| pair_masses(HIGGS_MASS_GEV, &mut stream)[1])
        .sum();
    let off = drawn / f64::from(n) - moment / rate;
    // The standard deviation is about 11 GeV.
    assert!(
        off.abs() < 4.0 * 11.0 / f64::from(n).sqrt(),
        "off by {off} GeV"
    );
}

#[test]
fn the_bound_of_the_continuum_holds_and_is_not_wasteful() {
    let mut stream = Stream::open(5, 9, 0);
    let n = 100_000;
    let weights: Vec<f64> = (0..n)
        .filter_map(|_| propose(&mut stream))
        .map(|point| point.weight)
        .collect();
    let largest = weights.iter().copied().fold(0.0, f64::max);
    assert!(largest <= WEIGHT_MAX, "{largest}");
    assert!(weights.iter().all(|weight| *weight >= 0.0));
    let efficiency = weights.iter().sum::<f64>() / f64::from(n) / WEIGHT_MAX;
    assert!(efficiency > 0.05, "{efficiency}");
}

#[test]
fn rapidities_stay_below_the_bound_of_their_density() {
    for mass in [65.0, Z_MASS_GEV, 115.0] {
        let density = |y: f64| quark_luminosity(mass, y).iter().sum::<f64>();
        let bound = PEAK_OVER_CENTRE * density(0.0);
        let limit = rapidity_max(mass);
        assert!((0..1000).all(|i| density(limit * f64::from(i) / 1000.0) <= bound));
    }
}
