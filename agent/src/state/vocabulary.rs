//! What goes into the agent's state machine and what comes out of it.

use crate::attempt::{LeaseId, LeaseRecord, OnLostContact, Outcome, Usage};

/// One stream to the scheduler, numbered by the shell, rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream(pub u64);

/// What happened; times are boottime milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// At the start, once: every attempt found on disk.
    Recovered(Vec<Found>),
    /// A stream is open and nothing was said on it yet.
    Opened(Stream),
    /// A stream has ended.
    Broken(Stream),
    /// The scheduler said something.
    Said(Stream, FromScheduler),
    /// A lease record is durable, and nothing was started yet.
    Persisted(LeaseId),
    /// The inputs are in the scratch directory.
    Fetched(LeaseId),
    /// The shim was started, or an earlier one was found running.
    Spawned(LeaseId),
    /// The attempt's directory says that no shim runs, or will ever run, it. Also
    /// after a failure to persist, to fetch or to spawn was closed there.
    ShimGone(LeaseId),
    /// Its outputs and logs are stored, and this is what is to be reported.
    Collected(LeaseId, Box<Ended>),
    /// Time passes.
    Tick,
}

/// An attempt found on disk at the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its record.
    pub record: LeaseRecord,
    /// The contact deadline in force.
    pub deadline_ms: i64,
    /// How far it is.
    pub phase: FoundPhase,
}

/// How far an attempt found on disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundPhase {
    /// Durable, and no shim has ever run it.
    NotStarted,
    /// Its shim runs.
    Running,
    /// It has ended, its shim died, or its host was restarted.
    Over,
}

/// The scheduler's messages that concern leases; log tails pass by.
#[derive(Debug, Clone, PartialEq)]
pub enum FromScheduler {
    /// The session begins.
    Welcome {
        /// Whose.
        federation: String,
        /// Of its journal.
        lineage: u64,
        /// Of the scheduler's start.
        term: u64,
        /// This session.
        session: u64,
        /// L.
        contact_limit_ms: i64,
        /// How often to ask for renewal.
        heartbeat_interval_ms: i64,
    },
    /// What becomes of the inventory.
    Verdict {
        /// Renewed.
        keep: Vec<LeaseId>,
        /// To be stopped.
        ended: Vec<LeaseId>,
        /// Kept until their deadline.
        unknown: Vec<LeaseId>,
    },
    /// Answers a heartbeat.
    Renewed(u64),
    /// Run this. The record's deadline is filled in by the state machine.
    Grant(Box<LeaseRecord>),
    /// End this.
    Stop(LeaseId),
    /// The report of the end is durable.
    Ack(LeaseId),
}

/// What is reported at the end of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// Absent where nothing ran.
    pub usage: Option<Usage>,
    /// What came back.
    pub outputs: Vec<StoredFile>,
    /// What was kept of the standard output, unless empty.
    pub stdout: Option<StoredFile>,
    /// What was kept of the standard error, unless empty.
    pub stderr: Option<StoredFile>,
}

/// A file that the scheduler holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Relative path in the scratch directory.
    pub path: String,
    /// Lower-case hexadecimal SHA-256.
    pub digest: String,
    /// Its length.
    pub size_bytes: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// What the shell is to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Say this on a stream, with the next sequence number of that stream.
    Send(Stream, ToScheduler),
    /// End a stream; `Broken` is not expected back.
    Close(Stream, &'static str),
    /// Make this durable before any later effect.
    SaveIdentity {
        /// The federation that the site belongs to.
        federation: String,
        /// Of the last welcome.
        lineage: u64,
    },
    /// Make the attempt's directory durable, then give `Persisted` (or close the
    /// attempt as one that could not be started and give `ShimGone`).
    Persist(Box<LeaseRecord>),
    /// Fetch inputs, then give `Fetched` (or close it as one that could not be
    /// started and give `ShimGone`).
    Fetch(LeaseId),
    /// Start the shim, then give `Spawned` (or close it and give `ShimGone`).
    Spawn(LeaseId),
    /// Watch the shim that an earlier agent started; `ShimGone` when it ends.
    Adopt(LeaseId),
    /// Write the contact deadline for the shim to read.
    SetDeadline(LeaseId, i64),
    /// End it: `notrun` under the lock if it has not started, else its shim is
    /// asked to stop. `ShimGone` follows in either case.
    Stop(LeaseId),
    /// Settle how it ended, store outputs and logs, then give `Collected`.
    Collect(LeaseId),
    /// Remove its directory: its end is acknowledged.
    Remove(LeaseId),
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq)]
pub enum ToScheduler {
    /// Who is there.
    Hello {
        /// Empty before the first welcome.
        federation: String,
        /// 0 before the first welcome.
        lineage: u64,
    },
    /// Every lease held, and whether its command runs.
    Inventory {
        /// As welcomed.
        session: u64,
        /// All of them.
        leases: Vec<(LeaseId, bool)>,
    },
    /// What the site has; the shell knows.
    Capacity,
    /// Asks for renewal.
    Heartbeat(u64),
    /// An accepted grant has inputs to fetch first.
    Starting(LeaseId),
    /// Its shim was started.
    Running(LeaseId),
    /// It has ended.
    Ended(LeaseId, Box<Ended>),
}

/// True for attempts that their shims fence.
pub(super) fn is_fenced(record: &LeaseRecord) -> bool {
    record.on_lost_contact == OnLostContact::Restart
}
