//! Places taken away by hand, and the memory of who changed what.

use super::World;
use crate::effect::Effect;
use crate::event::{Selection, Verb};
use crate::ids::{JobId, TaskId};
use crate::job::{BY_HAND_MAX, ByHand, Outcome, StopWhy};
use crate::ranges::RangeSet;
use crate::rejected::Rejected;

/// A priority is the whole job's.
pub(super) fn check_whole(verb: Verb, selection: &Selection) -> Result<(), Rejected> {
    match (verb, selection) {
        (Verb::Prioritise(_), Selection::Job(id, Some(_))) => Err(Rejected::invalid(
            "ranges",
            "all tasks of a job have one priority",
            format!("name the whole job, {id}"),
        )),
        _ => Ok(()),
    }
}

impl World {
    /// The tasks that a verb is about: of a gang all lose their places or none.
    pub(super) fn with_gangs(&self, verb: Verb, selection: &Selection) -> Selection {
        match (verb, selection) {
            (Verb::Preempt, Selection::Job(id, Some(wanted))) if self.jobs.contains_key(id) => {
                Selection::Job(*id, Some(self.with_gang(*id, wanted)))
            }
            _ => selection.clone(),
        }
    }

    fn with_gang(&self, id: JobId, wanted: &RangeSet) -> RangeSet {
        let tasks = &self.jobs[&id].tasks;
        let mut wanted = wanted.clone();
        let members = tasks.gang.intersection(&wanted);
        if !tasks.active_among(&members).is_empty() {
            wanted.extend(&tasks.gang);
        }
        wanted
    }

    /// Of the wanted tasks, and the gang of those, all that hold a place and were not
    /// told to end.
    pub(super) fn preemptible_by_hand(&self, id: JobId, wanted: &RangeSet) -> Vec<u32> {
        let tasks = &self.jobs[&id].tasks;
        let placed = tasks.active_among(&self.with_gang(id, wanted)).into_iter();
        placed
            .filter(|index| !tasks.active[index].is_stopping())
            .collect()
    }

    pub(super) fn preempt(&mut self, id: JobId, wanted: &RangeSet, effects: &mut Vec<Effect>) {
        for index in self.preemptible_by_hand(id, wanted) {
            self.stop(TaskId { job: id, index }, StopWhy::PreemptedByHand, effects);
        }
    }

    /// Remembers who did what; the oldest is forgotten where there is too much.
    pub(super) fn note_by_hand(
        &mut self,
        verb: Verb,
        selection: Selection,
        by: &str,
        reason: &str,
    ) {
        let id = match &selection {
            Selection::Batch(id) => *id,
            Selection::Job(job, _) => self.jobs[job].batch,
        };
        let at = self.now;
        let batch = self.batches.get_mut(&id);
        let notes = &mut batch.expect("a job's batch is in memory").by_hand;
        if notes.len() >= BY_HAND_MAX {
            notes.remove(0);
        }
        notes.push(ByHand {
            verb,
            selection,
            by: by.into(),
            reason: reason.into(),
            at,
        });
    }

    /// The last change by hand of one kind that a task saw, if it is remembered.
    pub fn by_hand(&self, task: TaskId, verb: Verb) -> Option<&ByHand> {
        let batch = &self.batches[&self.jobs.get(&task.job)?.batch];
        let mut notes = batch.by_hand.iter().rev();
        notes.find(|note| note.verb == verb && note.covers(task))
    }

    /// How an attempt ended that somebody took the place away from.
    pub(super) fn preempted_by_hand(&self, task: TaskId) -> Outcome {
        let note = self.by_hand(task, Verb::Preempt);
        let said = note.map(|note| (note.by.clone(), note.reason.clone()));
        let (by, reason) = said.unwrap_or_default();
        Outcome::PreemptedByHand { by, reason }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::event::{Event, Selection, Verb};
    use crate::ids::JobId;
    use crate::queue::QueueSpec;
    use crate::resources::Resources;
    use crate::spec::{BatchSpec, JobSpec, Needs};
    use crate::time::TimeMs;
    use crate::world::World;

    #[test]
    fn a_job_that_had_ended_saw_nothing_of_what_was_done_to_its_batch() {
        let mut world = World::default();
        let mut go = |at: i64, event: Event| {
            world.apply(TimeMs(at), &event).unwrap();
        };
        let mut queue = QueueSpec::new("q", 1);
        queue.submitters.insert("*".into());
        go(1, Event::QueueCreated(queue));
        let job = |name: &str| JobSpec::new(name, Needs::new(Resources::of(1, 0, 0, 0), 1_000));
        let spec = BatchSpec {
            name: "b".into(),
            queue: "q".into(),
            jobs: vec![job("a"), job("b")],
        };
        go(
            1,
            Event::BatchSubmitted {
                request_id: "r".into(),
                digest: [0; 32],
                by: "alice".into(),
                spec,
            },
        );
        let cancel = |selection, reason: &str| Event::TasksChanged {
            verb: Verb::Cancel,
            selection,
            by: "bob".into(),
            reason: reason.into(),
        };
        go(2, cancel(Selection::Job(JobId(1), None), "one"));
        let batch = world.jobs()[&JobId(1)].batch;
        world
            .apply(TimeMs(3), &cancel(Selection::Batch(batch), "all"))
            .unwrap();
        let told = |id: u64| {
            let job = &world.jobs()[&JobId(id)];
            let mut notes = world.batches()[&batch].by_hand.iter().rev();
            notes.find(|note| note.of_job(job)).unwrap().reason.clone()
        };
        assert_eq!((told(1), told(2)), ("one".into(), "all".into()));
    }
}
