//! What is said in a site session, as the state machine sees it.
//!
//! Own types, apart from the wire's: a message that has none of the fields it
//! needs never gets here. Conversion is in `session/wire.rs`.

use std::sync::Arc;

use crate::attempt::{ExitRecord, InputFile, LeaseId, LeaseRecord, Stream};

/// From the agent to the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Up {
    /// Who is there; carries no leases.
    Hello {
        /// The site.
        site: String,
        /// Empty before the first welcome.
        federation: String,
        /// Of the last welcome; 0 before the first.
        lineage: u64,
        /// The state directory on its machine.
        incarnation: String,
    },
    /// Every lease the agent holds, and whether its command runs.
    Inventory {
        /// As welcomed.
        session: u64,
        /// All of them.
        leases: Vec<(LeaseId, bool)>,
    },
    /// All that the site has.
    Capacity,
    /// Asks for renewal.
    Heartbeat(u64),
    /// Its inputs are being fetched. Not said of an attempt without any: it runs
    /// a moment later, and each report costs the scheduler a durable event.
    Starting(LeaseId),
    /// The shim has been started.
    Running {
        /// Which.
        lease: LeaseId,
        /// When, by the wall clock.
        started_ms: i64,
    },
    /// It has ended.
    Ended {
        /// Which.
        lease: LeaseId,
        /// How, and what it left.
        report: Arc<EndReport>,
    },
    /// A piece of a log that was asked for.
    TailChunk(TailChunk),
}

/// The end of an attempt with what it left at the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndReport {
    /// Outcome and usage; the outcome may have become `OutputsFailed`.
    pub exit: ExitRecord,
    /// Outputs, stored.
    pub outputs: Vec<InputFile>,
    /// What was kept of stdout, stored; absent when empty.
    pub stdout: Option<InputFile>,
    /// What was kept of stderr, stored; absent when empty.
    pub stderr: Option<InputFile>,
}

impl EndReport {
    /// Of an attempt that left nothing.
    pub fn bare(exit: ExitRecord) -> Self {
        Self {
            exit,
            outputs: Vec::new(),
            stdout: None,
            stderr: None,
        }
    }
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailChunk {
    /// The request it answers.
    pub request: u64,
    /// Where `data` begins in the stream.
    pub offset: u64,
    /// The bytes.
    pub data: Vec<u8>,
    /// Nothing more comes for this request.
    pub last: bool,
}

impl TailChunk {
    /// Ends a request without having had anything for it.
    pub fn nothing(request: u64, offset: u64) -> Self {
        Self {
            request,
            offset,
            data: Vec::new(),
            last: true,
        }
    }
}

/// From the scheduler to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// The session begins.
    Welcome(Welcome),
    /// The answer to the inventory.
    Verdict {
        /// Renewed, counted from when the inventory was sent.
        keep: Vec<LeaseId>,
        /// To be stopped.
        ended: Vec<LeaseId>,
        /// Kept until their deadline.
        unknown: Vec<LeaseId>,
    },
    /// All leases of the session, from when this heartbeat was sent.
    Renewed(u64),
    /// Run this. The record's deadline is filled in by the machine.
    Grant(Box<LeaseRecord>),
    /// End this.
    Stop(LeaseId),
    /// The report of the end is durable.
    Ack(LeaseId),
    /// A report that is not about an end is durable: nothing to do.
    Noted(LeaseId),
    /// Something that the site's operator should know.
    Notice(SchedulerNotice),
    /// Of a newer scheduler, and passed over: agents one minor version behind
    /// keep working.
    Unknown,
    /// A log is wanted.
    Tail(TailRequest),
    /// It no longer is.
    TailCancel(u64),
}

/// What the scheduler has to tell the site's operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerNotice {
    /// Stable, such as `over-committed`.
    pub code: String,
    /// Which node it is about.
    pub node: String,
    /// In words.
    pub text: String,
    /// What to do.
    pub remedy: String,
}

/// The scheduler's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The scheduler's federation.
    pub federation: String,
    /// Of its journal.
    pub lineage: u64,
    /// Rises with each leader.
    pub term: u64,
    /// Rises with each session.
    pub session: u64,
    /// L.
    pub contact_limit_ms: i64,
    /// Between two heartbeats.
    pub heartbeat_interval_ms: i64,
}

/// Asks for an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailRequest {
    /// Echoed in the chunks.
    pub request: u64,
    /// Whose.
    pub lease: LeaseId,
    /// Which of the two.
    pub stream: Stream,
    /// From where on.
    pub offset: u64,
    /// Until the attempt ends; otherwise what is there now.
    pub follow: bool,
}
