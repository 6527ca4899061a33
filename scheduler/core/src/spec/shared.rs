//! Specifications of jobs in memory: those that differ in name and command alone share
//! one.

use super::JobSpec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All that are in use, with how many jobs use each.
///
/// It is a cache of the World, not a part of it: left out when the World is written, equal
/// to every other, and built anew by [`crate::world::World::share_specs`].
#[derive(Debug, Clone, Default)]
pub struct SharedSpecs {
    jobs: BTreeMap<Arc<JobSpec>, u64>,
}

impl SharedSpecs {
    /// The shared copy of a specification without name and command, counted for one more
    /// job.
    pub fn intern(&mut self, spec: JobSpec) -> Arc<JobSpec> {
        if let Some((shared, _)) = self.jobs.get_key_value(&spec) {
            let shared = Arc::clone(shared);
            *self.jobs.entry(Arc::clone(&shared)).or_default() += 1;
            return shared;
        }
        let shared = Arc::new(spec);
        self.jobs.insert(Arc::clone(&shared), 1);
        shared
    }

    /// One job fewer.
    pub fn release(&mut self, spec: &JobSpec) {
        if let Some(jobs) = self.jobs.get_mut(spec) {
            *jobs -= 1;
            if *jobs == 0 {
                self.jobs.remove(spec);
            }
        }
    }

    /// How many different ones there are.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

/// A cache says nothing of its own.
impl PartialEq for SharedSpecs {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SharedSpecs {}
