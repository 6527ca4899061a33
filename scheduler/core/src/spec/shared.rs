//! Specifications of jobs in memory: those that differ in name and command alone share
//! one.

use super::JobSpec;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// All that are in use, with how many jobs use each.
///
/// It is a cache of the World, not a part of it: left out when the World is written, equal
/// to every other, and built anew by [`crate::world::World::share_specs`].
#[derive(Debug, Clone, Default)]
pub struct SharedSpecs {
    jobs: BTreeMap<Key, u64>,
}

/// By what most of them differ in before all else: a million are looked up in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key(Arc<JobSpec>);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |key: &Key| (key.0.needs.resources, key.0.needs.walltime_ms);
        let by_numbers = numbers(self).cmp(&numbers(other));
        by_numbers.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl SharedSpecs {
    /// The shared copy of a specification without name and command, counted for one more
    /// job.
    pub fn intern(&mut self, spec: Arc<JobSpec>) -> Arc<JobSpec> {
        match self.jobs.entry(Key(spec)) {
            Entry::Occupied(mut known) => {
                *known.get_mut() += 1;
                Arc::clone(&known.key().0)
            }
            Entry::Vacant(new) => {
                let shared = Arc::clone(&new.key().0);
                new.insert(1);
                shared
            }
        }
    }

    /// One job fewer.
    pub fn release(&mut self, spec: &Arc<JobSpec>) {
        let Entry::Occupied(mut known) = self.jobs.entry(Key(Arc::clone(spec))) else {
            return;
        };
        *known.get_mut() -= 1;
        if *known.get() == 0 {
            known.remove();
        }
    }
}

/// A cache says nothing of its own.
impl PartialEq for SharedSpecs {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SharedSpecs {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Resources;
    use crate::spec::Needs;

    fn spec(image: &str) -> Arc<JobSpec> {
        let mut spec = JobSpec::new("", Needs::new(Resources::of(1_000, 0, 0, 0), 1_000));
        spec.image = image.into();
        Arc::new(spec)
    }

    #[test]
    fn alike_ones_are_one_until_nobody_has_them() {
        let mut specs = SharedSpecs::default();
        let first = specs.intern(spec("a"));
        let other = specs.intern(spec("b"));
        let again = specs.intern(spec("a"));
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other));
        assert_eq!(specs.jobs.len(), 2);
        for shared in [first, again, other] {
            specs.release(&shared);
        }
        assert!(specs.jobs.is_empty());
    }
}
