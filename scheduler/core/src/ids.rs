//! Identities: counters in the World, printed with a prefix (`job-17`).
//!
//! Ids are given out in rising order and never reused, so they also break ties.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0)
            }
        }
    };
}

id!(/** A batch: what one submission brought. */ BatchId(u64), "batch");
id!(/** A job: an array of one or more tasks, kept as one record. */ JobId(u64), "job");
id!(/** A queue of the tree; 0 is the root. */ QueueId(u32), "queue");
id!(/** A site, in order of declaration. */ SiteId(u32), "site");
id!(/** A node, in order of first report. */ NodeId(u32), "node");
id!(/** An interned requirement class. */ ClassId(u32), "class");
id!(/** A kernel that a node runs or ran. */ KernelId(u32), "kernel");

impl QueueId {
    /// The unnamed root of the queue tree.
    pub const ROOT: QueueId = QueueId(0);

    /// Index into the vectors that hold one entry per queue.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// Index into the World's node vector.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl SiteId {
    /// Index into the World's site vector.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl KernelId {
    /// Of nodes that report none.
    pub const UNKNOWN: KernelId = KernelId(0);

    /// Index into the table of kernels.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ClassId {
    /// Index into the class table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One element of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// The job.
    pub job: JobId,
    /// The element, below the job's count.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.job, self.index)
    }
}

/// The grant of a place to one attempt; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeaseId {
    /// Which life of the journal granted it: a restore from backup starts another.
    pub lineage: u64,
    /// The task.
    pub task: TaskId,
    /// Which attempt of the task, from 1.
    pub attempt: u32,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.attempt)
    }
}
