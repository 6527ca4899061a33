//! What is submitted: a batch of jobs, checked before it touches the World.
//!
//! [`BatchSpec::validate`] (in `validate`) looks at the specification alone (bounds, names,
//! dependencies); what needs the World (does the queue exist, may this user
//! submit) is checked where the event is applied.

mod retry;
mod shared;
mod validate;

pub use retry::{AVOIDED_MAX, Avoided, RetryRule};
pub use shared::SharedSpecs;
pub use validate::{is_name, stays_inside};

use crate::ids::QueueId;
use crate::isolation::Isolation;
use crate::rare::Rare;
use crate::resources::Resources;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Tasks of one batch, at most.
pub const TASKS_PER_BATCH_MAX: u64 = 1_000_000;
/// Jobs (array records) of one batch, at most.
pub const JOBS_PER_BATCH_MAX: usize = 1_000_000;
/// Bytes of one job's command, environment, labels and paths together, at most.
pub const SPEC_BYTES_MAX: usize = 64 * 1024;
/// Entries of any list in a job (inputs, rules, labels, ...), at most.
pub const LIST_MAX: usize = 1_000;
/// Further attempts that one rule grants to a task, at most.
pub const RETRIES_MAX: u32 = 1_000;
/// No rule multiplies the memory by more, in thousandths.
pub const GROWTH_PERMILLE_MAX: u32 = 16_000;
/// One day: no retry is delayed for longer.
pub const DELAY_MAX_MS: i64 = 24 * 3_600_000;
/// Characters of a name, at most.
pub const NAME_MAX: usize = 128;
/// Seven weeks: no walltime limit is longer.
pub const WALLTIME_MAX_MS: i64 = 49 * 24 * 3_600_000;

/// One submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSpec {
    /// Chosen by the user; need not be unique.
    pub name: String,
    /// Full dotted name of a leaf queue.
    pub queue: String,
    /// In submission order.
    pub jobs: Vec<JobSpec>,
}

/// One job: an array of `count` tasks that differ in their index only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobSpec {
    /// Unique in the batch.
    pub name: String,
    /// Number of tasks, from 1.
    pub count: u32,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables added to the documented minimal environment.
    pub env: BTreeMap<String, String>,
    /// Container image; empty for the `process` engine.
    pub image: String,
    /// Goes before any priority; who waits may take the places of lower ones.
    pub priority_class: PriorityClass,
    /// Higher goes first inside its queue and class.
    pub priority: i32,
    /// What a place must offer.
    pub needs: Needs,
    /// Jobs of this batch that go first.
    pub after: Vec<After>,
    /// Files that travel with the batch.
    pub inputs: Vec<File>,
    /// Globs of files that come back.
    pub outputs: Vec<String>,
    /// Names of jobs of this batch whose outputs this one gets.
    pub outputs_of: Vec<String>,
    /// The first rule that matches a failure applies.
    pub retries: Vec<RetryRule>,
    /// What happens when the site falls silent.
    pub on_lost_contact: OnLostContact,
    /// A lost or preempted attempt may be run again.
    pub restartable: bool,
    /// It may be stopped for a queue that is below its guarantee, or for a higher class.
    pub preemptible: bool,
    /// So many of its first tasks get their places together or not at all; the rest
    /// are ordinary. 1: every task goes for itself.
    pub min: u32,
    /// What the places of those have in common.
    pub within: Option<Within>,
    /// Tasks that hold a place at the same time, at most.
    pub running_max: Option<u32>,
}

/// How jobs of one queue stand to each other: the higher class goes first, whatever the
/// priorities, and takes places from lower ones of the same queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PriorityClass {
    /// Steps aside.
    Low,
    /// What nothing else is said of.
    #[default]
    Normal,
    /// Does not wait for the others of its queue.
    High,
}

impl PriorityClass {
    /// All of them, the lowest first.
    pub const ALL: [PriorityClass; 3] = [
        PriorityClass::Low,
        PriorityClass::Normal,
        PriorityClass::High,
    ];

    /// Its place in [`PriorityClass::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            PriorityClass::Low => "low",
            PriorityClass::Normal => "normal",
            PriorityClass::High => "high",
        }
    }
}

/// A job of the same batch that goes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct After {
    /// Its name.
    pub job: String,
    /// All of it, or for each task the one of the same index.
    pub by: By,
    /// Which of its ends will do.
    pub ends: Ends,
}

/// How much of a job another one waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum By {
    /// Every task waits for all tasks of the other job.
    Job,
    /// Task *i* waits for task *i* of the other job, which has as many.
    Element,
}

/// Which end of a job another one waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ends {
    /// Success; whoever waits is cancelled when it ends otherwise.
    Ok,
    /// Any.
    Any,
}

impl After {
    /// After the success of a whole job.
    pub fn ok(job: impl Into<String>) -> Self {
        After {
            job: job.into(),
            by: By::Job,
            ends: Ends::Ok,
        }
    }

    /// The field in which a submission says such a thing.
    pub fn field(&self) -> &'static str {
        match (self.ends, self.by) {
            (Ends::Ok, By::Job) => "after_ok",
            (Ends::Ok, By::Element) => "after_ok_each",
            (Ends::Any, By::Job) => "after_any",
            (Ends::Any, By::Element) => "after_any_each",
        }
    }
}

/// What the places of a gang have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Within {
    /// All at one site.
    Site,
    /// All in one cluster.
    Cluster,
    /// All on nodes with one value of this label.
    Label(String),
}

/// How many tasks go at once, and what their places have in common: with the
/// [`Needs`], the key of a requirement class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gang {
    /// From 1, which is no gang.
    pub size: u32,
    /// Of a gang only.
    pub within: Option<Within>,
}

impl Gang {
    /// A task that goes for itself.
    pub const ALONE: Gang = Gang {
        size: 1,
        within: None,
    };
}

/// What a place must offer: the key of a requirement class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Needs {
    /// Per task.
    pub resources: Resources,
    /// Limit of the run time at reference speed, in milliseconds.
    pub walltime_ms: i64,
    /// Engine; `None` takes any.
    pub coe: Option<Coe>,
    /// Labels a node must carry with these values.
    pub labels: BTreeMap<String, String>,
    /// Taints that do not keep the task away.
    pub tolerations: BTreeSet<Taint>,
    /// Names of the only sites wanted; empty takes any.
    pub sites: BTreeSet<String>,
    /// Names of sites not wanted.
    pub sites_excluded: BTreeSet<String>,
    /// Where it failed, and a rule sends it elsewhere.
    pub avoided: Rare<Avoided>,
    /// How far it is kept apart from other tenants, at least.
    pub isolation: Isolation,
    /// Whose work it is, where it asks to be kept apart; said by the World alone.
    pub tenant: Option<QueueId>,
}

/// Container orchestration engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Coe {
    /// Pods of a Kubernetes cluster.
    Kubernetes,
    /// Services of a Docker swarm.
    Swarm,
    /// Tasks of a Mesos cluster.
    Mesos,
    /// Processes of a bare host.
    Process,
}

/// Keeps away every task that does not tolerate it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// For example `dedicated`.
    pub key: String,
    /// For example `alice`.
    pub value: String,
}

/// A file addressed by its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct File {
    /// Relative path in the scratch directory.
    pub path: String,
    /// Lower-case hexadecimal SHA-256.
    pub digest: String,
    /// Length of the content.
    pub size_bytes: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// How an attempt failed, as far as rules care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureClass {
    /// Exit code other than 0.
    Exit,
    /// Ended by a signal.
    Signal,
    /// Stopped at its walltime limit.
    Walltime,
    /// Stopped at its memory limit.
    Memory,
    /// Could not be started.
    Start,
    /// A promised output was missing or too large.
    Outputs,
    /// Lost with its node, shim or site.
    Lost,
}

/// What happens to a running task whose site stays silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OnLostContact {
    /// Fenced at the contact limit on the node, then queued again.
    Restart,
    /// Left alone until the site is back.
    Wait,
}

impl Needs {
    /// These resources for so long, anywhere.
    pub fn new(resources: Resources, walltime_ms: i64) -> Self {
        Needs {
            resources,
            walltime_ms,
            coe: None,
            labels: BTreeMap::new(),
            tolerations: BTreeSet::new(),
            sites: BTreeSet::new(),
            sites_excluded: BTreeSet::new(),
            avoided: Rare::default(),
            isolation: Isolation::Shared,
            tenant: None,
        }
    }

    /// True if it is sent away from a node of a site.
    pub fn avoids(&self, site: &str, node: &str) -> bool {
        self.avoided.site(site) || self.avoided.node(site, node)
    }
}

impl JobSpec {
    /// One task that runs `true`: what a job is if nothing else is said of it.
    pub fn new(name: impl Into<String>, needs: Needs) -> Self {
        JobSpec {
            name: name.into(),
            count: 1,
            command: vec!["true".into()],
            env: BTreeMap::new(),
            image: String::new(),
            priority_class: PriorityClass::Normal,
            priority: 0,
            needs,
            after: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            outputs_of: Vec::new(),
            retries: Vec::new(),
            on_lost_contact: OnLostContact::Restart,
            restartable: true,
            preemptible: true,
            min: 1,
            within: None,
            running_max: None,
        }
    }

    /// What it has in common with others like it: all but its name and command.
    #[must_use]
    pub fn common(&self) -> JobSpec {
        JobSpec {
            name: String::new(),
            count: self.count,
            command: Vec::new(),
            env: self.env.clone(),
            image: self.image.clone(),
            priority_class: self.priority_class,
            priority: self.priority,
            needs: self.needs.clone(),
            after: self.after.clone(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            outputs_of: self.outputs_of.clone(),
            retries: self.retries.clone(),
            on_lost_contact: self.on_lost_contact,
            restartable: self.restartable,
            preemptible: self.preemptible,
            min: self.min,
            within: self.within.clone(),
            running_max: self.running_max,
        }
    }

    /// How its first tasks go.
    pub fn gang(&self) -> Gang {
        self.gang_of(self.min)
    }

    /// How this many of them go.
    pub fn gang_of(&self, size: u32) -> Gang {
        match size {
            0 | 1 => Gang::ALONE,
            size => Gang {
                size,
                within: self.within.clone(),
            },
        }
    }

    /// Names of the jobs that go first, with how much of them and with which end.
    pub fn dependencies(&self) -> impl Iterator<Item = (&str, By, Ends)> {
        let after = self.after.iter();
        let after = after.map(|after| (after.job.as_str(), after.by, after.ends));
        let outputs = self.outputs_of.iter();
        after.chain(outputs.map(|job| (job.as_str(), By::Job, Ends::Ok)))
    }
}

#[cfg(test)]
#[path = "spec/tests.rs"]
mod tests;
