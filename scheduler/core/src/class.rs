//! Interned requirement classes: jobs with the same needs share one, so that
//! what failed for one is not tried for another in the same round.

use crate::ids::ClassId;
use crate::spec::Needs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Needs by class and back; a class is freed with its last job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassTable {
    entries: Vec<Option<Entry>>,
    by_needs: BTreeMap<Needs, ClassId>,
    free: Vec<ClassId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    needs: Needs,
    jobs: u64,
}

impl ClassTable {
    /// What a class in use asks for.
    ///
    /// # Panics
    /// If no job in memory has the class: a broken invariant.
    pub fn needs(&self, class: ClassId) -> &Needs {
        &self.entry(class).needs
    }

    /// True if a job in memory has the class.
    pub fn is_used(&self, class: ClassId) -> bool {
        self.entries[class.index()].is_some()
    }

    /// Jobs in memory of a class in use.
    pub fn jobs(&self, class: ClassId) -> u64 {
        self.entry(class).jobs
    }

    /// Classes in use.
    pub fn iter(&self) -> impl Iterator<Item = ClassId> + '_ {
        self.by_needs.values().copied()
    }

    /// An upper bound of the ids in use.
    pub fn ids_end(&self) -> usize {
        self.entries.len()
    }

    fn entry(&self, class: ClassId) -> &Entry {
        self.entries[class.index()]
            .as_ref()
            .expect("jobs in memory keep their class")
    }

    /// The class of these needs, counted for one more job.
    pub(crate) fn intern(&mut self, needs: &Needs) -> ClassId {
        if let Some(class) = self.by_needs.get(needs) {
            let entry = self.entries[class.index()].as_mut();
            entry.expect("a class with needs is in use").jobs += 1;
            return *class;
        }
        let class = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            ClassId(self.entries.len() as u32 - 1)
        });
        self.entries[class.index()] = Some(Entry {
            needs: needs.clone(),
            jobs: 1,
        });
        self.by_needs.insert(needs.clone(), class);
        class
    }

    /// One job fewer.
    pub(crate) fn release(&mut self, class: ClassId) {
        let slot = &mut self.entries[class.index()];
        let entry = slot.as_mut().expect("a job's class is in use");
        entry.jobs -= 1;
        if entry.jobs == 0 {
            self.by_needs.remove(&entry.needs);
            *slot = None;
            self.free.push(class);
        }
    }
}
