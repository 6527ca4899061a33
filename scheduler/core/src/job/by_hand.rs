//! What was done to tasks by hand, by whom and why.
//!
//! It is remembered once a batch, not once a task; the oldest is forgotten where there
//! is too much of it.

use crate::event::{Selection, Verb};
use crate::ids::TaskId;
use crate::job::Job;
use crate::ranges::RangeSet;
use crate::time::TimeMs;
use serde::{Deserialize, Serialize};

/// Of one batch so many are remembered.
pub const BY_HAND_MAX: usize = 32;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    /// What was done.
    pub verb: Verb,
    /// To which tasks, gangs whole where that is the rule.
    pub selection: Selection,
    /// Who did it.
    pub by: String,
    /// Why, in words; may be empty.
    pub reason: String,
    /// When.
    pub at: TimeMs,
}

impl ByHand {
    /// True if it was done to tasks of this job of the batch: one that had ended before
    /// saw nothing of it.
    pub fn of_job(&self, job: &Job) -> bool {
        let ended_before = job.totals.finished.is_some_and(|ended| ended < self.at);
        match &self.selection {
            _ if ended_before => false,
            Selection::Batch(_) => true,
            Selection::Job(id, _) => *id == job.id,
        }
    }

    /// The tasks of a job of the batch to which it was done.
    pub fn tasks_of(&self, job: &Job) -> RangeSet {
        match &self.selection {
            Selection::Job(id, _) if *id != job.id => RangeSet::default(),
            Selection::Job(_, Some(ranges)) => ranges.clone(),
            Selection::Batch(_) | Selection::Job(_, None) => RangeSet::up_to(job.spec.count),
        }
    }

    /// True if it was done to this task.
    pub fn covers(&self, task: TaskId) -> bool {
        match &self.selection {
            Selection::Batch(_) => true,
            Selection::Job(job, None) => *job == task.job,
            Selection::Job(job, Some(ranges)) => *job == task.job && ranges.contains(task.index),
        }
    }
}
