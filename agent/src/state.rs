//! The agent's half of the lease protocol, as a pure state machine.
//!
//! The rule it keeps: what the scheduler may believe about this site is never
//! less than what may run here. So a lease is on disk before its shim is
//! started, an inventory lists every lease held, deadlines count from when a
//! message was *sent*, what comes over a closed stream is not heard, and the
//! record of an end stays until the scheduler says that it is durable.
//!
//! It has no clock, no I/O and no tasks: time (boottime, ms) and everything
//! that happened come in as an [`Input`]; what is to be done goes out as
//! [`Effect`]s, to be performed in their order, whose results come back as
//! inputs. `session` is the shell that does so. It does not decide how an
//! attempt is run (`shim`), which files go where (`files`), nor whether the
//! state directory is still the same place (`state/identity.rs`).
//!
//! Invariants: a lease is spawned at most once in the life of a machine, and
//! never by a machine that found it on disk; an attempt leaves the machine only
//! after its end was acknowledged; what the site itself could not do ends as
//! `NotRun`, never as the task's failure. Work per message does not grow with the
//! number of attempts, but for inventory, verdict and the loss of a stream.
//!
//! Entry points: [`Machine::recover`], [`Machine::handle`], [`Machine::wake_ms`].

mod attempts;
pub mod identity;
mod link;
pub mod message;

use std::collections::BTreeSet;

use crate::attempt::{ExitRecord, LeaseId, LeaseRecord, Outcome};
use attempts::Attempts;
use link::Stream;
use message::{Down, EndReport, SchedulerNotice, TailChunk, TailRequest, Up};

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The site.
    pub site: String,
    /// This state directory on this machine.
    pub incarnation: String,
    /// The declared nodes: a grant of any other place is refused.
    pub nodes: BTreeSet<String>,
}

/// Which scheduler the agent belongs to, as persisted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allegiance {
    /// Empty before the first welcome.
    pub federation: String,
    /// Of the last welcome; 0 before the first.
    pub lineage: u64,
}

/// An attempt found on disk at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub lease: LeaseId,
    /// How far it got.
    pub phase: FoundPhase,
    /// Its contact deadline on disk; none for one that waits without contact.
    pub deadline_ms: Option<i64>,
}

/// How far an attempt found on disk had got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundPhase {
    /// Nobody holds its lock and it was never started.
    NotStarted,
    /// A shim holds its lock.
    Running,
    /// Started, and its shim is gone without a record.
    ShimDied,
    /// It has ended.
    Ended(ExitRecord),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A stream to the scheduler is open. Connections are numbered, rising.
    StreamOpened {
        /// Its number.
        connection: u64,
    },
    /// A stream is gone.
    StreamBroken {
        /// Its number.
        connection: u64,
    },
    /// The scheduler said something.
    Received {
        /// Over which stream.
        connection: u64,
        /// From 1 in each.
        sequence: u64,
        /// What.
        message: Down,
    },
    /// [`Effect::PersistAllegiance`] is done.
    AllegiancePersisted {
        /// For which stream.
        connection: u64,
    },
    /// [`Effect::PersistLease`] is done, durably.
    LeasePersisted(LeaseId),
    /// It failed: the site's fault, not the task's.
    LeaseNotPersisted(LeaseId),
    /// [`Effect::FetchInputs`] is done.
    InputsReady(LeaseId),
    /// It failed: the site's fault, not the task's.
    FetchFailed(LeaseId),
    /// It failed for good, and would anywhere.
    InputsFailed {
        /// Which.
        lease: LeaseId,
        /// Why, and what to do.
        why: String,
    },
    /// [`Effect::SpawnShim`] is done.
    AttemptStarted {
        /// Which.
        lease: LeaseId,
        /// When, by the wall clock.
        started_ms: i64,
    },
    /// It failed: the site's fault, not the task's.
    SpawnFailed(LeaseId),
    /// [`Effect::CloseUnstarted`] came too late: a shim holds the lock.
    CloseTooLate(LeaseId),
    /// The exit record of an attempt is on disk, whoever wrote it.
    AttemptEnded {
        /// Which.
        lease: LeaseId,
        /// The record.
        exit: ExitRecord,
    },
    /// [`Effect::CollectOutputs`] is done.
    OutputsStored {
        /// Which.
        lease: LeaseId,
        /// What is to be reported.
        report: EndReport,
    },
    /// A piece of a log was read for a request of this stream.
    TailRead {
        /// Over which stream it was asked for.
        connection: u64,
        /// The piece.
        chunk: TailChunk,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send this.
    Send {
        /// Over which stream.
        connection: u64,
        /// From 1 in each.
        sequence: u64,
        /// What.
        message: Up,
    },
    /// Close the stream; the machine has forgotten it already.
    CloseStream {
        /// Which.
        connection: u64,
        /// Why.
        why: Closed,
    },
    /// Write down, durably, to whom the agent belongs.
    PersistAllegiance {
        /// For which stream.
        connection: u64,
        /// To be written.
        allegiance: Allegiance,
    },
    /// Make the attempt's directory with this record, durably.
    PersistLease(Box<LeaseRecord>),
    /// Fill its scratch directory.
    FetchInputs(LeaseId),
    /// Start its shim.
    SpawnShim(LeaseId),
    /// Move its contact deadline.
    SetDeadline {
        /// Which.
        lease: LeaseId,
        /// Boottime, ms.
        deadline_ms: i64,
    },
    /// Write this outcome under the attempt's lock unless it has started.
    CloseUnstarted {
        /// Which.
        lease: LeaseId,
        /// `NotRun` or `StartFailed`.
        outcome: Outcome,
    },
    /// Ask the shim to stop its job.
    StopShim(LeaseId),
    /// Watch over a shim that an earlier agent started.
    AdoptShim(LeaseId),
    /// Kill what is left of the tree and record the attempt as lost.
    RecordLost(LeaseId),
    /// Store outputs and logs at the scheduler.
    CollectOutputs {
        /// Which.
        lease: LeaseId,
        /// How it ended.
        exit: ExitRecord,
    },
    /// Remove its directory.
    RemoveAttempt(LeaseId),
    /// Read a log.
    StartTail {
        /// For which stream.
        connection: u64,
        /// What is wanted.
        request: TailRequest,
    },
    /// Read it no longer.
    CancelTail(u64),
    /// Read none any longer.
    CancelTails,
    /// Tell the operator.
    Notice(Notice),
}

/// Why the agent closed a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The scheduler is another federation's.
    #[error(
        "the scheduler is of federation {theirs}, this agent belongs to {ours}; point `scheduler` at the right one, or give this site a new, empty state_dir"
    )]
    ForeignFederation {
        /// The agent's.
        ours: String,
        /// The scheduler's.
        theirs: String,
    },
    /// A scheduler that has been deposed answers.
    #[error("a scheduler of term {term} answered after one of term {seen} had")]
    OlderTerm {
        /// Its term.
        term: u64,
        /// The latest known.
        seen: u64,
    },
    /// Heartbeats are no longer answered.
    #[error("{unanswered} heartbeats were not answered")]
    Silent {
        /// How many.
        unanswered: usize,
    },
    /// No verdict came.
    #[error("the scheduler did not open the session within {} s", .0 / 1000)]
    NoVerdict(i64),
    /// A message is missing or out of place.
    #[error("the scheduler broke the protocol: {0}")]
    Protocol(&'static str),
}

/// What an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The session is current.
    SessionCurrent {
        /// Its number.
        session: u64,
        /// Leases held.
        held: usize,
    },
    /// Held here, unknown to the scheduler's journal: kept until its deadline.
    Unknown(LeaseId),
    /// A grant that cannot be meant was not followed.
    GrantIgnored {
        /// Which.
        lease: LeaseId,
        /// Why.
        why: &'static str,
    },
    /// Its deadline passed before it could be started.
    OutOfTime(LeaseId),
    /// The scheduler wants it known.
    Told(SchedulerNotice),
}

/// The state of the protocol at one site.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    allegiance: Allegiance,
    term_seen: (u64, u64),
    connection_last: u64,
    stream: Option<Stream>,
    attempts: Attempts,
}

impl Machine {
    /// The machine of an agent that starts with these attempts on disk. There
    /// is none without: an inventory sent before the disk was looked at would
    /// give every task away.
    pub fn recover(
        settings: Settings,
        allegiance: Allegiance,
        found: Vec<Found>,
    ) -> (Self, Vec<Effect>) {
        let mut effects = Vec::new();
        let machine = Self {
            settings,
            allegiance,
            term_seen: (0, 0),
            connection_last: 0,
            stream: None,
            attempts: Attempts::recover(found, &mut effects),
        };
        (machine, effects)
    }

    /// Takes in what happened at `now_ms` (boottime); gives what is to be done.
    pub fn handle(&mut self, now_ms: i64, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::StreamOpened { connection } => self.stream_opened(now_ms, connection, &mut out),
            Input::StreamBroken { connection } => self.stream_broken(connection, &mut out),
            Input::Received {
                connection,
                sequence,
                message,
            } => self.received(now_ms, connection, sequence, message, &mut out),
            Input::AllegiancePersisted { connection } => {
                self.allegiance_persisted(now_ms, connection, &mut out);
            }
            Input::LeasePersisted(lease) => self.lease_persisted(lease, &mut out),
            Input::LeaseNotPersisted(lease) => {
                if let Some(report) = self.attempts.not_persisted(lease) {
                    self.send(Up::Ended { lease, report }, &mut out);
                }
            }
            Input::InputsReady(lease) => self.attempts.inputs_ready(lease, &mut out),
            Input::InputsFailed { lease, why } => {
                let outcome = Outcome::StartFailed { message: why };
                self.attempts.start_failed(lease, outcome, &mut out);
            }
            Input::SpawnFailed(lease) | Input::FetchFailed(lease) => {
                self.attempts.start_failed(lease, Outcome::NotRun, &mut out);
            }
            Input::AttemptStarted { lease, started_ms } => {
                if self.attempts.started(lease) {
                    self.send(Up::Running { lease, started_ms }, &mut out);
                }
            }
            Input::CloseTooLate(lease) => self.attempts.close_too_late(lease, &mut out),
            Input::AttemptEnded { lease, exit } => {
                if let Some(report) = self.attempts.ended(lease, exit, &mut out) {
                    self.send(Up::Ended { lease, report }, &mut out);
                }
            }
            Input::OutputsStored { lease, report } => {
                if let Some(report) = self.attempts.stored(lease, report) {
                    self.send(Up::Ended { lease, report }, &mut out);
                }
            }
            Input::TailRead { connection, chunk } => {
                if self
                    .stream
                    .as_ref()
                    .is_some_and(|s| s.connection() == connection)
                {
                    self.send(Up::TailChunk(chunk), &mut out);
                }
            }
            Input::Tick => self.tick(now_ms, &mut out),
        }
        out
    }

    /// When [`Input::Tick`] is due next, boottime ms.
    pub fn wake_ms(&self) -> Option<i64> {
        let beat = self.stream.as_ref().map(Stream::wake_ms);
        [beat, self.attempts.wake_ms(self.renewal())]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether this lease is held.
    pub fn holds(&self, lease: LeaseId) -> bool {
        self.attempts.holds(lease)
    }

    /// How many leases are held.
    pub fn held(&self) -> usize {
        self.attempts.len()
    }

    fn lease_persisted(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        if self.attempts.persisted(lease, out) {
            self.send(Up::Starting(lease), out);
        }
    }

    /// Ends a lease that was never to get a directory: it is not held, so that
    /// it need not be remembered beyond this session either.
    fn refuse(&mut self, lease: LeaseId, outcome: Outcome, out: &mut Vec<Effect>) {
        let report = self.attempts.refused(lease, outcome);
        self.send(Up::Ended { lease, report }, out);
    }

    /// Moves deadlines that are worth moving, closes what ran out of time
    /// before it started, asks for renewal.
    fn tick(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        self.attempts.flush(now_ms, self.renewal(), out);
        self.attempts.expire(now_ms, out);
        self.beat(now_ms, out);
    }
}

#[cfg(test)]
mod tests;
