//! The jobs in memory, by id.
//!
//! Each has an allocation of its own: the nodes of a B-tree that grows at its end stay half
//! empty, which is cheap for pointers and dear for records.

use crate::ids::JobId;
use crate::job::Job;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::{Index, RangeBounds};

/// All jobs in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    by_id: BTreeMap<JobId, Box<Job>>,
}

impl Jobs {
    /// The job of an id, if it is in memory.
    pub fn get(&self, id: &JobId) -> Option<&Job> {
        self.by_id.get(id).map(|job| &**job)
    }

    /// True if it is in memory.
    pub fn contains_key(&self, id: &JobId) -> bool {
        self.by_id.contains_key(id)
    }

    /// All of them, by id.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Job> + Clone {
        self.by_id.values().map(|job| &**job)
    }

    /// Their ids, rising.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &JobId> + Clone {
        self.by_id.keys()
    }

    /// All of them with their ids.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&JobId, &Job)> + Clone {
        self.by_id.iter().map(|(id, job)| (id, &**job))
    }

    /// Those of some ids, with their ids.
    pub fn range(
        &self,
        ids: impl RangeBounds<JobId>,
    ) -> impl DoubleEndedIterator<Item = (&JobId, &Job)> + Clone {
        self.by_id.range(ids).map(|(id, job)| (id, &**job))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn get_mut(&mut self, id: &JobId) -> Option<&mut Job> {
        self.by_id.get_mut(id).map(|job| &mut **job)
    }

    pub(super) fn insert(&mut self, job: Job) {
        self.by_id.insert(job.id, Box::new(job));
    }

    pub(super) fn remove(&mut self, id: &JobId) -> Option<Job> {
        self.by_id.remove(id).map(|job| *job)
    }
}

impl Index<&JobId> for Jobs {
    type Output = Job;

    fn index(&self, id: &JobId) -> &Job {
        &self.by_id[id]
    }
}
