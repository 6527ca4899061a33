//! The protocol's rules, each driven by the order of events that breaks it.
//!
//! One test per rule that is about the agent. Not here: the lock on the state
//! directory and a copied one (`session/state_dir`, `state/identity`), and what
//! shims keep (`shim`).
#![allow(clippy::unwrap_used)]

mod deadlines;
mod ending;
mod greeting;
mod interleavings;
mod starting;
mod stream;

use super::message::*;
use super::*;
use crate::attempt::{Confinement, InputFile, OnLostContact, Resources, Stream as Log, Usage};

/// The contact limit.
const L: i64 = 60_000;
const BEAT: i64 = 10_000;
const LINEAGE: u64 = 7;

fn lease(job: u64) -> LeaseId {
    LeaseId {
        lineage: LINEAGE,
        job,
        index: 0,
        attempt: 1,
    }
}

fn record(lease: LeaseId) -> LeaseRecord {
    LeaseRecord {
        lease,
        boot_id: "boot".into(),
        deadline_ms: i64::MIN,
        site: "meyrin".into(),
        node: "n1".into(),
        queue: "cms".into(),
        batch: 1,
        batch_name: "b".into(),
        job_name: "j".into(),
        count: 1,
        command: vec!["true".into()],
        env: Default::default(),
        resources: Resources::default(),
        walltime_ms: 1_000,
        grace_ms: 1_000,
        on_lost_contact: OnLostContact::Restart,
        log_bytes_max: 1_000,
        confinement: Confinement::default(),
        runtime: String::new(),
        inputs: Vec::new(),
        outputs_of: Vec::new(),
        outputs: Vec::new(),
        outputs_bytes_max: 0,
        outputs_files_max: 0,
    }
}

fn exit(outcome: Outcome) -> ExitRecord {
    ExitRecord {
        outcome,
        usage: Usage::default(),
        log_error: None,
        site_fault: None,
    }
}

fn settings() -> Settings {
    Settings {
        site: "meyrin".into(),
        incarnation: "abc".into(),
        nodes: ["n1".to_owned()].into(),
    }
}

fn welcome(session: u64) -> Down {
    Down::Welcome(Welcome {
        federation: "fed".into(),
        lineage: LINEAGE,
        term: 1,
        session,
        contact_limit_ms: L,
        heartbeat_interval_ms: BEAT,
    })
}

fn verdict(keep: &[LeaseId], ended: &[LeaseId], unknown: &[LeaseId]) -> Down {
    Down::Verdict {
        keep: keep.to_vec(),
        ended: ended.to_vec(),
        unknown: unknown.to_vec(),
    }
}

/// A machine with a clock and the scheduler's end of the stream.
struct Site {
    machine: Machine,
    now_ms: i64,
    connection: u64,
    sequence: u64,
}

impl Site {
    /// One that belongs to the federation already, with these attempts.
    fn with(found: Vec<Found>) -> (Self, Vec<Effect>) {
        let allegiance = Allegiance {
            federation: "fed".into(),
            lineage: LINEAGE,
        };
        let (machine, effects) = Machine::recover(settings(), allegiance, found);
        let site = Self {
            machine,
            now_ms: 1_000,
            connection: 0,
            sequence: 0,
        };
        (site, effects)
    }

    /// One without attempts, its session current since 1,000.
    fn current() -> Self {
        let (mut site, _) = Self::with(Vec::new());
        site.join(&[]);
        site
    }

    fn at(&mut self, now_ms: i64) -> &mut Self {
        self.now_ms = now_ms;
        self
    }

    fn handle(&mut self, input: Input) -> Vec<Effect> {
        self.machine.handle(self.now_ms, input)
    }

    fn hear(&mut self, message: Down) -> Vec<Effect> {
        self.sequence += 1;
        let (connection, sequence) = (self.connection, self.sequence);
        self.handle(Input::Received {
            connection,
            sequence,
            message,
        })
    }

    fn open(&mut self) -> Vec<Effect> {
        self.connection += 1;
        self.sequence = 0;
        let connection = self.connection;
        self.handle(Input::StreamOpened { connection })
    }

    /// Opens a session up to its verdict, which keeps `keep`.
    fn join(&mut self, keep: &[LeaseId]) -> Vec<Effect> {
        let mut effects = self.open();
        effects.extend(self.hear(welcome(self.connection)));
        effects.extend(self.hear(verdict(keep, &[], &[])));
        effects
    }

    fn lose(&mut self) -> Vec<Effect> {
        let connection = self.connection;
        self.handle(Input::StreamBroken { connection })
    }

    /// Grants an attempt and runs it up to its shim.
    fn run(&mut self, lease: LeaseId) {
        self.hear(Down::Grant(Box::new(record(lease))));
        self.handle(Input::LeasePersisted(lease));
        let started = Input::AttemptStarted {
            lease,
            started_ms: 1,
        };
        self.handle(started);
    }

    fn end(&mut self, lease: LeaseId) -> Vec<Effect> {
        let exit = exit(Outcome::Exited { code: 0 });
        let mut effects = self.handle(Input::AttemptEnded {
            lease,
            exit: exit.clone(),
        });
        let report = EndReport::bare(exit);
        effects.extend(self.handle(Input::OutputsStored { lease, report }));
        effects
    }
}

fn sent(effects: &[Effect]) -> Vec<&Up> {
    fn message(effect: &Effect) -> Option<&Up> {
        match effect {
            Effect::Send { message, .. } => Some(message),
            _ => None,
        }
    }
    effects.iter().filter_map(message).collect()
}

/// The ends that are reported.
fn ends(effects: &[Effect]) -> Vec<(LeaseId, Outcome)> {
    let end = |message: &Up| match message {
        Up::Ended { lease, report } => Some((*lease, report.exit.outcome.clone())),
        _ => None,
    };
    sent(effects).into_iter().filter_map(end).collect()
}

fn spawned(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::SpawnShim(_)))
}

fn deadlines(effects: &[Effect]) -> Vec<i64> {
    let deadline = |effect: &Effect| match effect {
        Effect::SetDeadline { deadline_ms, .. } => Some(*deadline_ms),
        Effect::PersistLease(record) => Some(record.deadline_ms),
        _ => None,
    };
    effects.iter().filter_map(deadline).collect()
}

fn closings(effects: &[Effect]) -> Vec<(LeaseId, Outcome)> {
    let closing = |effect: &Effect| match effect {
        Effect::CloseUnstarted { lease, outcome } => Some((*lease, outcome.clone())),
        _ => None,
    };
    effects.iter().filter_map(closing).collect()
}

fn running(lease: LeaseId, deadline_ms: i64) -> Found {
    Found {
        lease,
        phase: FoundPhase::Running,
        deadline_ms: Some(deadline_ms),
    }
}
