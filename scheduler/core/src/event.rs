//! Everything that can change the World, as it stands in the journal.

use crate::ids::{BatchId, JobId, LeaseId, NodeId, TaskId};
use crate::isolation::{Isolation, Way};
use crate::job::AttemptEnd;
use crate::policy::Policy;
use crate::queue::{Limit, QueueSpec, TaskBounds};
use crate::ranges::RangeSet;
use crate::reservation::Reservation;
use crate::resources::Resources;
use crate::site::{Closing, NodeReport, Part, SiteSpec};
use crate::spec::BatchSpec;
use crate::time::TimeMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One change. The order of variants is part of the journal's format: append only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The journal begins.
    Founded {
        /// Name of the federation, random.
        federation: String,
        /// Of its first life, random.
        lineage: u64,
    },
    /// A scheduler took up the journal; every open session is over.
    Started {
        /// Rises with every start.
        term: u64,
    },
    /// The journal was restored from a backup: leases of older lineages are void.
    Restored {
        /// Never used before.
        lineage: u64,
        /// Nothing is granted to any site before.
        quarantine_until: TimeMs,
    },
    /// The operator changed the tunables.
    PolicyChanged(Policy),
    /// A site was declared, or declared anew with other particulars.
    SiteDeclared(SiteSpec),
    /// A site is no longer declared.
    SiteWithdrawn {
        /// Its name.
        name: String,
    },
    /// A site was closed (cordon, drain) or opened by hand.
    SiteClosed {
        /// Its name.
        name: String,
        /// `None` opens it.
        how: Option<Closing>,
        /// In words.
        reason: String,
        /// Who did it.
        by: String,
    },
    /// A queue was added.
    QueueCreated(QueueSpec),
    /// A queue was changed.
    QueueChanged {
        /// Its name.
        name: String,
        /// What changed.
        change: QueueChange,
    },
    /// A batch was accepted.
    BatchSubmitted {
        /// The client's, for idempotence.
        request_id: String,
        /// Of the specification.
        digest: [u8; 32],
        /// Who submitted.
        by: String,
        /// What.
        spec: BatchSpec,
    },
    /// Tasks were changed by hand.
    TasksChanged {
        /// What was done.
        verb: Verb,
        /// To which tasks.
        selection: Selection,
        /// Who did it.
        by: String,
        /// Why, in words; may be empty.
        reason: String,
    },
    /// A round has decided.
    PlanCommitted {
        /// Places given, in the order in which they were decided.
        placements: Vec<Placement>,
        /// Places taken away.
        preemptions: Vec<Preemption>,
        /// All there are from now on, oldest first; `None` where nothing changed.
        reservations: Option<Vec<Reservation>>,
    },
    /// A site's inventory was accepted: this session is its current one.
    SessionOpened {
        /// Name of the site.
        site: String,
        /// Rises with every session.
        session: u64,
        /// The agent's state directory.
        incarnation: String,
        /// Of the agent's software.
        agent_version: String,
        /// Every lease that the agent holds.
        leases: BTreeSet<LeaseId>,
    },
    /// A site's current session ended.
    SessionClosed {
        /// Name of the site.
        site: String,
        /// Which.
        session: u64,
    },
    /// A site reported what it has.
    CapacityReported {
        /// Name of the site.
        site: String,
        /// By this session.
        session: u64,
        /// True: nodes not listed are gone.
        full: bool,
        /// New and changed nodes.
        nodes: Vec<NodeReport>,
        /// Names of nodes that are gone.
        removed: Vec<String>,
    },
    /// A site was silent for W: its fenced leases are out.
    LeasesExpired {
        /// Name of the site.
        site: String,
    },
    /// The site prepares an attempt.
    AttemptStarting {
        /// Which.
        lease: LeaseId,
    },
    /// The command of an attempt runs.
    AttemptRunning {
        /// Which.
        lease: LeaseId,
    },
    /// An attempt has ended.
    AttemptEnded {
        /// Which.
        lease: LeaseId,
        /// How.
        end: AttemptEnd,
    },
    /// A finished batch leaves memory for the history.
    BatchRetired {
        /// Which.
        batch: BatchId,
    },
    /// A site or a part of it was closed (cordon, drain) or opened by hand.
    PartClosed {
        /// Name of the site.
        site: String,
        /// All of it, or what.
        part: Part,
        /// `None` opens it, and ends a quarantine.
        how: Option<Closing>,
        /// In words.
        reason: String,
        /// Who did it.
        by: String,
        /// When it opens by itself.
        until: Option<TimeMs>,
    },
    /// A time in which nothing is to run at a site or a part of it.
    DowntimeDeclared {
        /// Name of the site.
        site: String,
        /// All of it, or what.
        part: Part,
        /// Everything that starts has to have ended before.
        from: TimeMs,
        /// When it is over.
        until: TimeMs,
        /// In words.
        reason: String,
        /// Who did it.
        by: String,
    },
    /// A declared downtime does not take place, or is over earlier.
    DowntimeRemoved {
        /// Name of the site.
        site: String,
        /// Which.
        id: u32,
    },
}

/// What changes in a queue; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueChange {
    /// Share among its siblings.
    pub weight: Option<u32>,
    /// Queued tasks at most.
    pub queued_max: Option<u64>,
    /// A reason cordons; an empty one lifts the cordon.
    pub cordon: Option<String>,
    /// Who may submit.
    pub submitters: Option<BTreeSet<String>>,
    /// What is its own whenever it asks for it.
    pub guarantee: Option<Resources>,
    /// What it may hold at most.
    pub limit: Option<Limit>,
    /// How many tasks at most; 0 lifts a bound.
    pub bounds: TaskBounds,
    /// Least isolation of the jobs that are submitted from now on.
    pub isolation: Option<Isolation>,
    /// Whether it is a tenant of its own.
    pub tenant: Option<bool>,
}

/// What can be done to tasks by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// End them.
    Cancel,
    /// Keep them from being placed.
    Hold,
    /// Undo a hold.
    Release,
    /// Queue again what failed or was cancelled.
    Retry,
    /// Take their places away; a gang loses all of its.
    Preempt,
    /// Give whole jobs another priority.
    Prioritise(i32),
}

/// Which tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// All of a batch.
    Batch(BatchId),
    /// Some of a job; `None` is all.
    Job(JobId, Option<RangeSet>),
}

/// A task gets a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Which.
    pub task: TaskId,
    /// Where.
    pub node: NodeId,
    /// How it runs there, where that is not the engine's own runtime beside others; of
    /// `None` the World makes what the node does.
    pub way: Option<Way>,
}

/// A task loses its place and waits again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preemption {
    /// Which.
    pub task: TaskId,
    /// For a task of this job.
    pub by: JobId,
}
