//! The least of many keys, kept while single keys fall or rise.
//!
//! A tree of sixteen-fold nodes over one key per leaf: the least is read at the
//! root, one fallen key costs a compare or two, one risen key a few sixteens.

/// Children of a node of the tree.
const FAN: usize = 16;

/// No key.
pub(super) const NONE: u64 = u64::MAX;

/// The keys at the bottom, then the least of each sixteen, up to at most sixteen.
#[derive(Debug, Default)]
pub(super) struct Minima {
    levels: Vec<Vec<[u64; FAN]>>,
}

impl Minima {
    /// This many leaves, none with a key.
    pub(super) fn new(leaves: usize) -> Self {
        let mut minima = Minima::default();
        minima.grow(leaves);
        minima
    }

    /// At least this many leaves; new ones have no key.
    pub(super) fn grow(&mut self, leaves: usize) {
        let mut groups = leaves.div_ceil(FAN).max(1);
        if self.levels.first().is_some_and(|low| low.len() >= groups) {
            return;
        }
        let mut lowest = self.levels.drain(..).next().unwrap_or_default();
        lowest.resize(groups, [NONE; FAN]);
        self.levels.push(lowest);
        while groups > 1 {
            groups = groups.div_ceil(FAN);
            let below = self.levels.last().expect("the lowest level is there");
            let mut level = vec![[NONE; FAN]; groups];
            for (child, group) in below.iter().enumerate() {
                level[child / FAN][child % FAN] = least(group);
            }
            self.levels.push(level);
        }
    }

    /// Lowers a leaf's key if the new one is lower.
    pub(super) fn lower(&mut self, leaf: usize, key: u64) {
        let mut at = leaf;
        for level in &mut self.levels {
            let slot = &mut level[at / FAN][at % FAN];
            if *slot <= key {
                return;
            }
            *slot = key;
            at /= FAN;
        }
    }

    /// Sets a leaf's key.
    pub(super) fn set(&mut self, leaf: usize, key: u64) {
        let (mut at, mut key) = (leaf, key);
        for level in &mut self.levels {
            let group = &mut level[at / FAN];
            if group[at % FAN] == key {
                return;
            }
            group[at % FAN] = key;
            key = least(group);
            at /= FAN;
        }
    }

    /// The least key with its leaf.
    pub(super) fn least(&self) -> Option<(u64, usize)> {
        let (root, lower) = self.levels.split_last()?;
        let key = least(&root[0]);
        if key == NONE {
            return None;
        }
        let place = |group: &[u64; FAN]| {
            let found = group.iter().position(|other| *other == key);
            found.expect("a node's key is the least of its children's")
        };
        let mut at = place(&root[0]);
        for level in lower.iter().rev() {
            at = at * FAN + place(&level[at]);
        }
        Some((key, at))
    }

    /// Bytes held.
    pub(super) fn size_bytes(&self) -> usize {
        let groups: usize = self.levels.iter().map(Vec::capacity).sum();
        groups * size_of::<[u64; FAN]>()
    }
}

fn least(group: &[u64; FAN]) -> u64 {
    group.iter().fold(NONE, |least, key| least.min(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// As a plain vector, through growth.
        #[test]
        fn is_the_least_of_a_vector(
            steps in prop::collection::vec((0usize..700, 0u64..50, 0u8..4), 1..200)
        ) {
            let mut minima = Minima::new(1);
            let mut keys = vec![NONE; 700];
            for (leaf, key, how) in steps {
                minima.grow(leaf + 1);
                let key = if how == 0 { NONE } else { key };
                if how == 1 {
                    minima.lower(leaf, key);
                    keys[leaf] = keys[leaf].min(key);
                } else {
                    minima.set(leaf, key);
                    keys[leaf] = key;
                }
                let found = keys.iter().copied().enumerate().map(|(leaf, key)| (key, leaf));
                prop_assert_eq!(minima.least(), found.min().filter(|(key, _)| *key != NONE));
            }
        }
    }
}
