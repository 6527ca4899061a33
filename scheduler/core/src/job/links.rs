//! What a job waits for and what waits for it, in its own batch.
//!
//! A job's place in the batch is kept by name in its specification and by id here,
//! in both directions. Of a need for a whole job is remembered whether it is still
//! open; whether a task's own predecessor has ended is asked of that job's states,
//! so that an array that waits for an array is one record. The walk along these links is
//! in [`crate::world::World::apply`] (`world/dependencies.rs`).

use crate::ids::{JobId, TaskId};
use crate::rare::Unset;
use crate::spec::{By, Ends};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The dependencies of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// What goes first: each job once as a whole and once by element at most, in order.
    pub needs: Vec<Need>,
    /// Whole jobs among them that have not ended as they should yet.
    pub waits_for: BTreeSet<JobId>,
    /// Jobs that need this one as a whole.
    pub dependents: Vec<JobId>,
    /// Jobs that need it element by element.
    pub followers: Vec<JobId>,
}

/// A job that goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Which.
    pub job: JobId,
    /// How much of it.
    pub by: By,
    /// With which end.
    pub ends: Ends,
}

impl Unset for Links {
    const UNSET: &'static Self = &Links {
        needs: Vec::new(),
        waits_for: BTreeSet::new(),
        dependents: Vec::new(),
        followers: Vec::new(),
    };
}

impl Links {
    /// The jobs whose success it needs.
    pub fn needs_success(&self) -> impl Iterator<Item = &Need> {
        self.needs.iter().filter(|need| need.ends == Ends::Ok)
    }

    /// What its tasks need of the tasks with their index.
    pub fn by_element(&self) -> impl Iterator<Item = &Need> {
        self.needs.iter().filter(|need| need.by == By::Element)
    }

    /// The need for a whole job.
    pub fn whole(&self, job: JobId) -> Option<&Need> {
        let mut needs = self.needs.iter();
        needs.find(|need| need.by == By::Job && need.job == job)
    }
}

/// What keeps a task from being queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    /// All of a job.
    Job(JobId),
    /// The task of its own index in another job.
    Task(TaskId),
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocker::Job(job) => job.fmt(f),
            Blocker::Task(task) => task.fmt(f),
        }
    }
}
