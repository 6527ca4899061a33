//! Interned requirement classes: jobs with the same needs share one, so that
//! what failed for one is not tried for another in the same round. Where queues bound what
//! a user runs, those of different users do not.

use crate::ids::ClassId;
use crate::isolation::Isolation;
use crate::resources::Resources;
use crate::spec::{Gang, Needs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Needs by class and back; a class is freed with its last job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassTable {
    entries: Vec<Option<Entry>>,
    by_key: BTreeMap<Key, ClassId>,
    free: Vec<ClassId>,
    /// Classes that ask to be kept apart from other tenants.
    isolated: u32,
}

type Key = (Needs, Gang, Option<String>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    needs: Needs,
    gang: Gang,
    user: Option<String>,
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

    /// How many tasks of the class go at once.
    ///
    /// # Panics
    /// As [`ClassTable::needs`].
    pub fn gang(&self, class: ClassId) -> &Gang {
        &self.entry(class).gang
    }

    /// Whose it is, where queues bound what a user runs.
    ///
    /// # Panics
    /// As [`ClassTable::needs`].
    pub fn user(&self, class: ClassId) -> Option<&str> {
        self.entry(class).user.as_deref()
    }

    /// What all tasks that go at once ask for together.
    ///
    /// # Panics
    /// As [`ClassTable::needs`].
    pub fn cost(&self, class: ClassId) -> Resources {
        let entry = self.entry(class);
        entry.needs.resources.times(entry.gang.size.into())
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
        self.by_key.values().copied()
    }

    /// Classes in use that ask to be kept apart from other tenants.
    pub fn isolated(&self) -> u32 {
        self.isolated
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
    pub(crate) fn intern(&mut self, needs: &Needs, gang: &Gang, user: Option<&str>) -> ClassId {
        let key = (needs.clone(), gang.clone(), user.map(str::to_string));
        if let Some(class) = self.by_key.get(&key) {
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
            gang: gang.clone(),
            user: key.2.clone(),
            jobs: 1,
        });
        self.isolated += u32::from(needs.isolation > Isolation::Shared);
        self.by_key.insert(key, class);
        class
    }

    /// One job fewer.
    pub(crate) fn release(&mut self, class: ClassId) {
        let slot = &mut self.entries[class.index()];
        let entry = slot.as_mut().expect("a job's class is in use");
        entry.jobs -= 1;
        if entry.jobs == 0 {
            let key = (entry.needs.clone(), entry.gang.clone(), entry.user.clone());
            self.by_key.remove(&key);
            self.isolated -= u32::from(key.0.isolation > Isolation::Shared);
            *slot = None;
            self.free.push(class);
        }
    }
}
