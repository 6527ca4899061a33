//! Four-vectors, boosts and two-body decays, in GeV with c = 1.
//!
//! Knows no particle and no random number. Invariant: a decay conserves
//! four-momentum and gives its daughters the masses asked for, to rounding.

/// Energy and momentum, GeV.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FourVector {
    /// Energy.
    pub e: f64,
    /// Momentum along x, y and z (z is the beam).
    pub p: [f64; 3],
}

/// A unit vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Direction(pub [f64; 3]);

impl Direction {
    /// From cos θ to the z axis and azimuth φ.
    pub fn polar(cosine: f64, phi: f64) -> Self {
        let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
        Self([sine * phi.cos(), sine * phi.sin(), cosine])
    }

    /// The direction at cos θ and azimuth φ around `self` as the polar axis.
    pub fn around(self, cosine: f64, phi: f64) -> Self {
        let [x, y, z] = self.0;
        // Any axis that is not parallel serves: the azimuth starts anywhere.
        let other = if z.abs() < 0.9 {
            [0.0, 0.0, 1.0]
        } else {
            [1.0, 0.0, 0.0]
        };
        let first = unit(cross(self.0, other));
        let second = cross(self.0, first);
        let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
        let (a, b) = (sine * phi.cos(), sine * phi.sin());
        Self([
            cosine * x + a * first[0] + b * second[0],
            cosine * y + a * first[1] + b * second[1],
            cosine * z + a * first[2] + b * second[2],
        ])
    }
}

impl FourVector {
    /// On the mass shell: mass, momentum's size and direction.
    pub fn on_shell(mass: f64, momentum: f64, Direction(n): Direction) -> Self {
        Self {
            e: mass.hypot(momentum),
            p: n.map(|c| c * momentum),
        }
    }

    /// From mass, transverse momentum, rapidity and azimuth.
    pub fn from_rapidity(mass: f64, pt: f64, rapidity: f64, phi: f64) -> Self {
        let transverse_mass = mass.hypot(pt);
        Self {
            e: transverse_mass * rapidity.cosh(),
            p: [
                pt * phi.cos(),
                pt * phi.sin(),
                transverse_mass * rapidity.sinh(),
            ],
        }
    }

    /// Minkowski product, E·E − p·p.
    pub fn dot(self, other: Self) -> f64 {
        self.e * other.e - dot3(self.p, other.p)
    }

    /// Invariant mass; zero where rounding made the square negative.
    pub fn mass(self) -> f64 {
        self.dot(self).max(0.0).sqrt()
    }

    /// Transverse momentum.
    pub fn pt(self) -> f64 {
        self.p[0].hypot(self.p[1])
    }

    /// Azimuth.
    pub fn phi(self) -> f64 {
        self.p[1].atan2(self.p[0])
    }

    /// Pseudorapidity.
    pub fn eta(self) -> f64 {
        (self.p[2] / self.pt()).asinh()
    }

    /// `self`, given in the rest frame of `parent`, as seen where `parent` is.
    pub fn boosted_with(self, parent: Self) -> Self {
        let mass = parent.mass();
        let along = dot3(self.p, parent.p);
        let e = (self.e * parent.e + along) / mass;
        let shift = (self.e + e) / (parent.e + mass);
        Self {
            e,
            p: std::array::from_fn(|i| self.p[i] + shift * parent.p[i]),
        }
    }

    /// Decay into two particles of the masses given, the first along
    /// `direction` in the rest frame. The masses must fit into the parent's.
    pub fn decay(self, masses: [f64; 2], direction: Direction) -> [Self; 2] {
        let [first, second] = at_rest(self.mass(), masses, direction);
        [first.boosted_with(self), second.boosted_with(self)]
    }
}

/// Decay of a particle of mass `mass` at rest.
pub fn at_rest(mass: f64, masses: [f64; 2], direction: Direction) -> [FourVector; 2] {
    let momentum = mass / 2.0 * kallen(masses[0] / mass, masses[1] / mass).sqrt();
    let back = Direction(direction.0.map(|c| -c));
    [
        FourVector::on_shell(masses[0], momentum, direction),
        FourVector::on_shell(masses[1], momentum, back),
    ]
}

/// Källén function λ(1, a², b²) of the daughters' masses in units of the
/// parent's; zero at and beyond threshold.
pub fn kallen(a: f64, b: f64) -> f64 {
    ((1.0 - (a + b).powi(2)) * (1.0 - (a - b).powi(2))).max(0.0)
}

impl std::ops::Add for FourVector {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            e: self.e + other.e,
            p: std::array::from_fn(|i| self.p[i] + other.p[i]),
        }
    }
}

fn dot3(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

fn unit(a: [f64; 3]) -> [f64; 3] {
    let length = dot3(a, a).sqrt();
    a.map(|c| c / length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decays_conserve_momentum_and_give_the_masses(
            mass in 1.0f64..300.0, a in 0.0f64..0.5, b in 0.0f64..0.5,
            pt in 0.0f64..300.0, rapidity in -3.0f64..3.0,
            cosine in -1.0f64..1.0, phi in 0.0f64..6.2,
        ) {
            let parent = FourVector::from_rapidity(mass, pt, rapidity, phi);
            let masses = [a * mass, b * mass];
            let [one, two] = parent.decay(masses, Direction::polar(cosine, phi));
            let sum = one + two;
            prop_assert!((sum.e - parent.e).abs() <= 1e-9 * parent.e);
            for i in 0..3 {
                prop_assert!((sum.p[i] - parent.p[i]).abs() <= 1e-9 * parent.e);
            }
            prop_assert!((sum.mass() - mass).abs() <= 1e-9 * parent.e);
            // m = √(E² − p²) loses digits for a light, fast daughter: compare the squares.
            for (daughter, expected) in [(one, masses[0]), (two, masses[1])] {
                let off = daughter.dot(daughter) - expected * expected;
                prop_assert!(off.abs() <= 1e-9 * daughter.e * daughter.e);
            }
        }

        #[test]
        fn a_direction_around_an_axis_keeps_angle_and_length(
            axis in -1.0f64..1.0, phi in 0.0f64..6.2, cosine in -1.0f64..1.0,
        ) {
            let axis = Direction::polar(axis, phi);
            let around = axis.around(cosine, 2.0 * phi);
            prop_assert!((dot3(around.0, around.0) - 1.0).abs() < 1e-12);
            prop_assert!((dot3(axis.0, around.0) - cosine).abs() < 1e-12);
        }
    }

    #[test]
    fn a_particle_at_rest_boosts_to_its_parent() {
        let parent = FourVector::from_rapidity(91.0, 40.0, 1.2, 0.3);
        let still = FourVector {
            e: 91.0,
            p: [0.0; 3],
        };
        let moved = still.boosted_with(parent);
        assert!((moved.e - parent.e).abs() < 1e-9 && (moved.p[2] - parent.p[2]).abs() < 1e-9);
    }
}
