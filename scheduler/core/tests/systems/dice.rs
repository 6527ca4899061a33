//! Numbers by chance, from a seed that a failure prints.

/// A SplitMix64 generator: the same seed throws the same numbers everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[allow(dead_code)] // not every test that throws them needs it
    /// Dice of their own for something that came later: what these throw stays the same.
    pub fn aside(&self, what: u64) -> Dice {
        Dice(self.0 ^ what.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// From `first` to `last`, both included.
    pub fn between(&mut self, first: i64, last: i64) -> i64 {
        let many = (last - first) as u64 + 1;
        first + (self.next() % many) as i64
    }

    /// True that often in a hundred throws.
    pub fn percent(&mut self, often: u64) -> bool {
        self.next() % 100 < often
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }
}
