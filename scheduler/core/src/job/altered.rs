//! Tasks that ask for something else than their job does: more memory, or another place
//! than where they failed.
//!
//! Few tasks do, so what they ask for is kept once for all of a job that ask for the
//! same, with a requirement class of their own; all others are the job's own. A task of a
//! gang never does: its tasks are alike. Who alters what, and when it ends, is in
//! `world/altered.rs`.

use super::{Job, Tasks};
use crate::ids::ClassId;
use crate::ranges::RangeSet;
use crate::resources::Resources;
use crate::spec::Needs;
use crate::time::TimeMs;
use serde::{Deserialize, Serialize};

/// Tasks of a job that ask for the same, which is not what the job asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Altered {
    /// Per task.
    pub needs: Needs,
    /// Which have not ended.
    pub tasks: RangeSet,
    /// When it is asked again whether they may go back to where they failed.
    pub relents: Option<TimeMs>,
}

impl Job {
    /// What a task asks for, in its attempt or in the next one.
    pub fn needs_of(&self, index: u32) -> &Needs {
        let mut altered = self.tasks.altered.values();
        let own = altered.find(|altered| altered.tasks.contains(index));
        own.map_or(&self.spec.needs, |altered| &altered.needs)
    }

    /// Its resources.
    pub fn resources_of(&self, index: u32) -> &Resources {
        &self.needs_of(index).resources
    }

    /// The class of a task that goes for itself.
    pub fn class_of(&self, index: u32) -> ClassId {
        let mut altered = self.tasks.altered.iter();
        let own = altered.find(|(_, altered)| altered.tasks.contains(index));
        own.map_or(self.alone, |(class, _)| *class)
    }

    /// The class with which a task goes next: with the others of its job, or its own.
    pub fn next_class_of(&self, index: u32) -> ClassId {
        match self.class_of(index) {
            class if class == self.alone => self.class,
            class => class,
        }
    }

    /// How many more tasks may hold a place.
    pub fn room(&self) -> u64 {
        let max = self.spec.running_max.map_or(u64::MAX, u64::from);
        max.saturating_sub(self.tasks.active.len() as u64)
    }

    /// What of its tasks of a class could go now: of those that are altered so, or of
    /// all others.
    pub fn ready_in(&self, class: ClassId) -> u64 {
        match self.tasks.altered.get(&class) {
            None => self.ready().tasks,
            Some(altered) => self.tasks.due_among(altered).min(self.room()),
        }
    }

    /// The classes of altered tasks of which some could go now, and how many.
    pub fn ready_altered(&self) -> Vec<(ClassId, u64)> {
        let classes = self.tasks.altered.keys();
        let ready = classes.map(|class| (*class, self.ready_in(*class)));
        ready.filter(|(_, tasks)| *tasks > 0).collect()
    }

    /// What of its tasks could go now, of whatever class.
    pub fn ready_in_all(&self) -> u64 {
        let altered = self.ready_altered().into_iter();
        let altered: u64 = altered.map(|(_, tasks)| tasks).sum();
        (self.ready().tasks + altered).min(self.room())
    }
}

impl Tasks {
    /// Queued tasks that are altered so and whose time has come.
    fn due_among(&self, altered: &Altered) -> u64 {
        let mut queued = self.queued.intersection(&altered.tasks);
        queued.take(&self.delayed);
        queued.len()
    }

    /// Queued tasks whose time has come and that ask for what their job does.
    pub(super) fn due(&self) -> u64 {
        let altered = self.altered.values();
        let others: u64 = altered.map(|altered| self.due_among(altered)).sum();
        self.queued.len() - self.delayed.len() - others
    }

    /// The first index from `from` on that is altered so, or not at all.
    pub(super) fn first_of_class(&self, class: ClassId, from: u32) -> Option<u32> {
        if let Some(altered) = self.altered.get(&class) {
            return altered.tasks.first_from(from);
        }
        let mut at = from;
        loop {
            let sets = self.altered.values();
            let next = sets.fold(at, |at, altered| altered.tasks.gap_from(at));
            if next == at {
                return Some(at);
            }
            at = next;
        }
    }

    /// Moves tasks among the altered, out of wherever they were; `None` makes them the
    /// job's own again. Classes that nobody has any more are left out.
    pub(crate) fn alter(
        &mut self,
        tasks: &RangeSet,
        to: Option<(ClassId, Altered)>,
    ) -> Vec<ClassId> {
        if let Some((class, altered)) = to {
            self.altered.entry(class).or_insert(altered);
            for (other, altered) in self.altered.iter_mut() {
                if *other == class {
                    altered.tasks.extend(tasks);
                } else {
                    altered.tasks.take(tasks);
                }
            }
        } else {
            let sets = self.altered.values_mut();
            sets.for_each(|altered| {
                altered.tasks.take(tasks);
            });
        }
        self.drop_unused()
    }

    /// Forgets what ended tasks asked for; the classes that nobody has any more.
    pub(crate) fn forget_ended(&mut self) -> Vec<ClassId> {
        if self.altered.is_empty() {
            return Vec::new();
        }
        let ended = self.failed.values().chain(self.cancelled.values());
        let ended: Vec<RangeSet> = ended.chain([&self.succeeded]).cloned().collect();
        for altered in self.altered.values_mut() {
            for ended in &ended {
                let gone = ended.intersection(&altered.tasks);
                altered.tasks.take(&gone);
            }
        }
        self.drop_unused()
    }

    fn drop_unused(&mut self) -> Vec<ClassId> {
        let altered = self.altered.iter();
        let unused = altered.filter(|(_, altered)| altered.tasks.is_empty());
        let unused: Vec<ClassId> = unused.map(|(class, _)| *class).collect();
        for class in &unused {
            self.altered.remove(class);
        }
        unused
    }
}
