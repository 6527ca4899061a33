//! The protocol's rules, each driven by the order of events that breaks it.
//!
//! One test per rule that is about the agent. Not here: the lock on the state
//! directory and a copied one (`session/state_dir`, `state/identity`), and what
//! shims keep (`shim`).
#![allow(clippy::unwrap_used)]

mod interleavings;

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

#[test]
fn a_hello_carries_no_leases_and_the_inventory_waits_for_the_welcome() {
    let (mut site, _) = Site::with(vec![running(lease(1), 9_000)]);
    let effects = site.open();
    assert!(
        matches!(sent(&effects)[..], [Up::Hello { .. }]),
        "{effects:?}"
    );
    let effects = site.hear(welcome(4));
    let leases = vec![(lease(1), true)];
    assert_eq!(sent(&effects), [&Up::Inventory { session: 4, leases }]);
}

#[test]
fn an_inventory_lists_every_lease_whatever_its_state() {
    let mut site = Site::current();
    site.hear(Down::Grant(Box::new(record(lease(1)))));
    site.run(lease(2));
    site.run(lease(3));
    site.end(lease(3));
    let effects = site.open();
    assert_eq!(sent(&effects).len(), 1);
    let effects = site.hear(welcome(2));
    let leases = vec![(lease(1), false), (lease(2), true), (lease(3), false)];
    assert_eq!(sent(&effects), [&Up::Inventory { session: 2, leases }]);
}

#[test]
fn a_verdict_counts_from_when_the_inventory_was_sent() {
    let (mut site, _) = Site::with(vec![running(lease(1), 20_000)]);
    site.open();
    site.at(2_000).hear(welcome(1));
    let effects = site.at(9_000).hear(verdict(&[lease(1)], &[], &[]));
    assert_eq!(deadlines(&effects), [2_000 + L]);
}

#[test]
fn a_renewal_counts_from_when_its_heartbeat_was_sent() {
    let mut site = Site::current();
    site.run(lease(1));
    site.at(30_000).handle(Input::Tick);
    site.at(40_000).handle(Input::Tick);
    let effects = site.at(49_000).hear(Down::Renewed(1));
    assert_eq!(deadlines(&effects), [30_000 + L]);
    // The second beat renews too, but not so much that it is worth a write.
    assert!(deadlines(&site.hear(Down::Renewed(2))).is_empty());
    assert_eq!(deadlines(&site.lose()), [40_000 + L]);
}

#[test]
fn a_number_that_was_never_sent_renews_nothing() {
    let mut site = Site::current();
    site.run(lease(1));
    let effects = site.at(50_000).hear(Down::Renewed(9));
    assert!(deadlines(&effects).is_empty());
    assert!(deadlines(&site.lose()).is_empty());
}

#[test]
fn a_grant_inherits_the_sessions_count() {
    let mut site = Site::current();
    let effects = site
        .at(40_000)
        .hear(Down::Grant(Box::new(record(lease(1)))));
    assert_eq!(
        deadlines(&effects),
        [1_000 + L],
        "from the inventory's sending"
    );
    site.at(45_000).handle(Input::Tick);
    site.at(50_000).hear(Down::Renewed(1));
    let effects = site
        .at(55_000)
        .hear(Down::Grant(Box::new(record(lease(2)))));
    assert_eq!(deadlines(&effects), [45_000 + L], "from the heartbeat's");
}

#[test]
fn a_grant_after_the_sessions_count_has_run_out_never_starts() {
    let mut site = Site::current();
    let late = site
        .at(1_000 + L)
        .hear(Down::Grant(Box::new(record(lease(1)))));
    assert_eq!(ends(&late), [(lease(1), Outcome::NotRun)]);
    assert!(deadlines(&late).is_empty());
}

#[test]
fn a_lease_is_persisted_before_its_shim_is_spawned() {
    let mut site = Site::current();
    let effects = site.hear(Down::Grant(Box::new(record(lease(1)))));
    assert!(
        matches!(effects[..], [Effect::PersistLease(_)]),
        "{effects:?}"
    );
    assert!(!spawned(&site.at(2_000).handle(Input::Tick)));
    assert!(!spawned(&site.handle(Input::InputsReady(lease(1)))));
    assert!(spawned(&site.handle(Input::LeasePersisted(lease(1)))));
}

#[test]
fn what_cannot_be_persisted_is_reported_and_never_spawned() {
    let mut site = Site::current();
    site.hear(Down::Grant(Box::new(record(lease(1)))));
    let lease = lease(1);
    let effects = site.handle(Input::LeaseNotPersisted(lease));
    assert_eq!(
        ends(&effects),
        [(lease, Outcome::NotRun)],
        "not the task's fault"
    );
    assert!(!spawned(&site.handle(Input::LeasePersisted(lease))));
    site.hear(Down::Ack(lease));
    assert!(!site.machine.holds(lease));
}

#[test]
fn what_cannot_be_persisted_is_reported_by_the_next_session_if_need_be() {
    let mut site = Site::current();
    let lease = lease(1);
    site.hear(Down::Grant(Box::new(record(lease))));
    site.lose();
    assert!(sent(&site.handle(Input::LeaseNotPersisted(lease))).is_empty());
    let effects = site.at(20_000).join(&[lease]);
    assert_eq!(ends(&effects), [(lease, Outcome::NotRun)]);
    assert!(deadlines(&effects).is_empty(), "there is no file for it");
    assert!(deadlines(&site.at(40_000).handle(Input::Tick)).is_empty());
}

#[test]
fn what_cannot_be_spawned_ends_unrun_unless_stopped_before() {
    let mut site = Site::current();
    for job in [1, 2] {
        site.hear(Down::Grant(Box::new(record(lease(job)))));
        assert!(spawned(&site.handle(Input::LeasePersisted(lease(job)))));
    }
    let effects = site.handle(Input::SpawnFailed(lease(1)));
    assert_eq!(closings(&effects), [(lease(1), Outcome::NotRun)]);
    let effects = site.hear(Down::Stop(lease(2)));
    assert_eq!(closings(&effects), [(lease(2), Outcome::NotRun)]);
    assert_eq!(site.handle(Input::SpawnFailed(lease(2))), []);
}

#[test]
fn inputs_come_between_persisting_and_spawning() {
    let mut site = Site::current();
    let mut granted = record(lease(1));
    granted.inputs.push(InputFile {
        path: "a".into(),
        digest: "d".into(),
        size_bytes: 1,
        executable: false,
    });
    site.hear(Down::Grant(Box::new(granted)));
    let effects = site.handle(Input::LeasePersisted(lease(1)));
    assert_eq!(effects[0], Effect::FetchInputs(lease(1)));
    assert_eq!(sent(&effects), [&Up::Starting(lease(1))]);
    assert!(spawned(&site.handle(Input::InputsReady(lease(1)))));
}

#[test]
fn what_cannot_be_fetched_is_closed_under_its_lock() {
    let mut site = Site::current();
    let mut granted = record(lease(1));
    granted.outputs_of.push(crate::attempt::OutputsOf {
        job: 9,
        name: "n".into(),
    });
    site.hear(Down::Grant(Box::new(granted)));
    site.handle(Input::LeasePersisted(lease(1)));
    let (lease, why) = (lease(1), "gone".to_owned());
    let effects = site.handle(Input::InputsFailed { lease, why });
    let message = "gone".to_owned();
    assert_eq!(
        closings(&effects),
        [(lease, Outcome::StartFailed { message })]
    );
    assert!(ends(&effects).is_empty());
}

#[test]
fn messages_of_closed_sessions_are_not_read() {
    let mut site = Site::current();
    site.run(lease(1));
    site.end(lease(1));
    site.join(&[lease(1)]);
    let late = [
        Down::Ack(lease(1)),
        Down::Grant(Box::new(record(lease(2)))),
        Down::Stop(lease(1)),
        Down::Renewed(1),
    ];
    for (message, sequence) in late.iter().zip(3..) {
        let effects = site.handle(Input::Received {
            connection: 1,
            sequence,
            message: message.clone(),
        });
        assert_eq!(effects, [], "{message:?}");
    }
    // Nor after a stream is gone with none in its place.
    site.lose();
    for message in late {
        assert_eq!(site.hear(message), []);
    }
}

#[test]
fn sequence_numbers_count_per_session() {
    let mut site = Site::current();
    site.handle(Input::Tick);
    let again = site.join(&[]);
    let numbers = |effects: &[Effect]| -> Vec<u64> {
        let number = |effect: &Effect| match effect {
            Effect::Send { sequence, .. } => Some(*sequence),
            _ => None,
        };
        effects.iter().filter_map(number).collect()
    };
    assert_eq!(numbers(&again), [1, 2, 3]);
}

#[test]
fn a_repeated_message_is_read_once_and_a_missing_one_ends_the_stream() {
    let mut site = Site::current();
    let grant = Down::Grant(Box::new(record(lease(1))));
    assert_eq!(site.hear(grant.clone()).len(), 1);
    site.sequence -= 1;
    assert_eq!(site.hear(grant.clone()), []);
    site.sequence += 1;
    let effects = site.hear(Down::Grant(Box::new(record(lease(2)))));
    let closed = |effect: &Effect| matches!(effect, Effect::CloseStream { .. });
    assert!(effects.iter().any(closed), "{effects:?}");
    assert!(deadlines(&effects).is_empty());
}

#[test]
fn an_end_is_reported_in_every_session_until_it_is_acknowledged() {
    let mut site = Site::current();
    site.run(lease(1));
    let outcome = Outcome::Exited { code: 0 };
    let effects = site.end(lease(1));
    assert_eq!(ends(&effects), [(lease(1), outcome.clone())]);
    assert!(!effects.contains(&Effect::RemoveAttempt(lease(1))));
    for _ in 0..3 {
        let effects = site.join(&[lease(1)]);
        assert_eq!(ends(&effects), [(lease(1), outcome.clone())]);
        let removed = effects.contains(&Effect::RemoveAttempt(lease(1)));
        assert!(!removed, "nobody acknowledged it");
    }
    assert_eq!(site.hear(Down::Noted(lease(1))), [], "not about the end");
    assert_eq!(
        site.hear(Down::Ack(lease(1))),
        [Effect::RemoveAttempt(lease(1))]
    );
    assert!(ends(&site.join(&[])).is_empty());
}

#[test]
fn an_end_without_a_session_waits_for_the_next_verdict() {
    let mut site = Site::current();
    site.run(lease(1));
    site.lose();
    assert!(ends(&site.end(lease(1))).is_empty());
    assert!(ends(&site.open()).is_empty());
    assert!(ends(&site.hear(welcome(2))).is_empty());
    let effects = site.hear(verdict(&[lease(1)], &[], &[]));
    assert_eq!(sent(&effects)[0], &Up::Capacity);
    assert_eq!(ends(&effects), [(lease(1), Outcome::Exited { code: 0 })]);
}

#[test]
fn repeated_grants_are_harmless_also_after_the_end() {
    let mut site = Site::current();
    site.run(lease(1));
    let grant = Down::Grant(Box::new(record(lease(1))));
    assert_eq!(site.hear(grant.clone()), []);
    site.end(lease(1));
    assert_eq!(site.hear(grant.clone()), []);
    site.hear(Down::Ack(lease(1)));
    assert_eq!(site.hear(grant), []);
}

#[test]
fn a_grant_of_another_lineage_is_not_followed() {
    let mut site = Site::current();
    let mut older = record(lease(1));
    older.lease.lineage = LINEAGE - 1;
    let effects = site.hear(Down::Grant(Box::new(older)));
    assert!(matches!(effects[..], [Effect::Notice(_)]), "{effects:?}");
}

#[test]
fn a_grant_that_cannot_be_followed_ends_and_the_session_goes_on() {
    let faults: [fn(&mut LeaseRecord); 3] = [
        |record| record.node = "n9".into(),
        |record| record.command.clear(),
        |record| record.walltime_ms = -1,
    ];
    let mut site = Site::current();
    for (fault, job) in faults.iter().zip(1..) {
        let mut granted = record(lease(job));
        fault(&mut granted);
        let effects = site.hear(Down::Grant(Box::new(granted)));
        let ended = ends(&effects);
        assert!(
            matches!(ended[..], [(_, Outcome::StartFailed { .. })]),
            "{effects:?}"
        );
        assert!(deadlines(&effects).is_empty(), "{job}");
    }
    assert_eq!(site.hear(Down::Unknown), []);
    assert_eq!(
        deadlines(&site.hear(Down::Grant(Box::new(record(lease(9)))))).len(),
        1
    );
}

#[test]
fn to_stop_what_has_not_started_notrun_is_written_before_it_is_reported() {
    let mut site = Site::current();
    site.hear(Down::Grant(Box::new(record(lease(1)))));
    let effects = site.hear(Down::Stop(lease(1)));
    assert!(ends(&effects).is_empty(), "its directory is being made");
    let effects = site.handle(Input::LeasePersisted(lease(1)));
    assert_eq!(closings(&effects), [(lease(1), Outcome::NotRun)]);
    assert!(!spawned(&effects));
    assert!(ends(&effects).is_empty(), "nothing is written yet");
    let (lease, exit) = (lease(1), exit(Outcome::NotRun));
    let effects = site.handle(Input::AttemptEnded { lease, exit });
    assert_eq!(ends(&effects), [(lease, Outcome::NotRun)]);
}

#[test]
fn a_stop_that_a_shim_outran_goes_to_the_shim() {
    let mut site = Site::current();
    site.hear(Down::Grant(Box::new(record(lease(1)))));
    site.handle(Input::LeasePersisted(lease(1)));
    let effects = site.hear(Down::Stop(lease(1)));
    assert_eq!(closings(&effects), [(lease(1), Outcome::NotRun)]);
    let lease = lease(1);
    let started = Input::AttemptStarted {
        lease,
        started_ms: 1,
    };
    site.handle(started);
    let effects = site.handle(Input::CloseTooLate(lease));
    assert_eq!(effects, [Effect::StopShim(lease)]);
}

#[test]
fn a_stop_of_an_unknown_lease_is_answered_with_notrun_once_and_for_all() {
    let mut site = Site::current();
    let effects = site.hear(Down::Stop(lease(1)));
    assert_eq!(ends(&effects), [(lease(1), Outcome::NotRun)]);
    assert_eq!(site.hear(Down::Grant(Box::new(record(lease(1))))), []);
    // It is not held, and so not listed.
    site.open();
    let leases = Vec::new();
    let inventory = Up::Inventory { session: 2, leases };
    assert_eq!(sent(&site.hear(welcome(2))), [&inventory]);
}

#[test]
fn a_verdict_stops_what_has_ended_and_leaves_alone_what_it_does_not_know() {
    let found = vec![running(lease(1), 20_000), running(lease(2), 20_000)];
    let (mut site, _) = Site::with(found);
    site.open();
    site.hear(welcome(1));
    let effects = site.hear(verdict(&[], &[lease(1)], &[lease(2)]));
    assert_eq!(closings(&effects), [(lease(1), Outcome::NotRun)]);
    assert!(effects.contains(&Effect::Notice(Notice::Unknown(lease(2)))));
    let effects = site.handle(Input::CloseTooLate(lease(1)));
    assert_eq!(effects, [Effect::StopShim(lease(1))]);
    // The unknown one is never renewed.
    site.at(11_000).handle(Input::Tick);
    assert!(deadlines(&site.hear(Down::Renewed(1))).is_empty());
    assert!(deadlines(&site.lose()).is_empty());
}

#[test]
fn another_federation_is_refused_and_what_runs_keeps_running() {
    let (mut site, _) = Site::with(vec![running(lease(1), 20_000)]);
    site.open();
    let mut foreign = welcome(1);
    if let Down::Welcome(welcome) = &mut foreign {
        welcome.federation = "other".into();
    }
    let effects = site.hear(foreign);
    let why = Closed::ForeignFederation {
        ours: "fed".into(),
        theirs: "other".into(),
    };
    let connection = 1;
    let close = Effect::CloseStream { connection, why };
    assert_eq!(effects, [Effect::CancelTails, close]);
    assert_eq!(site.machine.held(), 1);
    assert_eq!(site.hear(verdict(&[], &[lease(1)], &[])), []);
}

#[test]
fn a_deposed_scheduler_is_not_listened_to() {
    let mut site = Site::current();
    site.open();
    let mut older = welcome(2);
    if let Down::Welcome(welcome) = &mut older {
        welcome.term = 0;
    }
    let effects = site.hear(older);
    assert_eq!(sent(&effects), Vec::<&Up>::new());
    let why = Closed::OlderTerm { term: 0, seen: 1 };
    let connection = 2;
    assert!(effects.contains(&Effect::CloseStream { connection, why }));
}

#[test]
fn a_new_allegiance_is_on_disk_before_anything_is_listed() {
    let (mut machine, _) = Machine::recover(settings(), Allegiance::default(), Vec::new());
    machine.handle(1, Input::StreamOpened { connection: 1 });
    let (connection, sequence, message) = (1, 1, welcome(1));
    let welcome = Input::Received {
        connection,
        sequence,
        message,
    };
    let effects = machine.handle(2, welcome);
    let allegiance = Allegiance {
        federation: "fed".into(),
        lineage: LINEAGE,
    };
    let persist = Effect::PersistAllegiance {
        connection,
        allegiance,
    };
    assert_eq!(effects, [persist]);
    let effects = machine.handle(3, Input::AllegiancePersisted { connection });
    assert!(matches!(sent(&effects)[..], [Up::Inventory { .. }]));
}

#[test]
fn an_allegiance_that_could_not_be_written_is_written_in_the_next_session() {
    let (mut machine, _) = Machine::recover(settings(), Allegiance::default(), Vec::new());
    for connection in 1..3 {
        machine.handle(1, Input::StreamOpened { connection });
        let (sequence, message) = (1, welcome(connection));
        let effects = machine.handle(
            2,
            Input::Received {
                connection,
                sequence,
                message,
            },
        );
        let persisted = |effect: &Effect| matches!(effect, Effect::PersistAllegiance { .. });
        assert!(effects.iter().any(persisted), "{connection}: {effects:?}");
        machine.handle(3, Input::StreamBroken { connection });
    }
}

#[test]
fn what_an_earlier_agent_left_is_settled_and_never_spawned() {
    let found = |job, phase| Found {
        lease: lease(job),
        phase,
        deadline_ms: Some(9_000),
    };
    let code = exit(Outcome::Exited { code: 0 });
    let (mut site, effects) = Site::with(vec![
        found(1, FoundPhase::NotStarted),
        found(2, FoundPhase::Running),
        found(3, FoundPhase::ShimDied),
        found(4, FoundPhase::Ended(code.clone())),
    ]);
    let outcome = Outcome::NotRun;
    assert_eq!(
        effects,
        [
            Effect::CloseUnstarted {
                lease: lease(1),
                outcome
            },
            Effect::AdoptShim(lease(2)),
            Effect::RecordLost(lease(3)),
            Effect::CollectOutputs {
                lease: lease(4),
                exit: code
            },
        ]
    );
    // A slow shim of the earlier agent may be quicker than the closing.
    let effects = site.handle(Input::CloseTooLate(lease(1)));
    assert_eq!(effects, [Effect::AdoptShim(lease(1))]);
    assert!(!spawned(&site.join(&[
        lease(1),
        lease(2),
        lease(3),
        lease(4)
    ])));
}

#[test]
fn what_did_not_start_before_its_deadline_is_closed() {
    let mut site = Site::current();
    site.hear(Down::Grant(Box::new(record(lease(1)))));
    site.handle(Input::LeasePersisted(lease(1)));
    site.lose();
    assert!(closings(&site.at(L).handle(Input::Tick)).is_empty());
    assert_eq!(site.machine.wake_ms(), Some(1_000 + L));
    let effects = site.at(1_000 + L).handle(Input::Tick);
    assert_eq!(closings(&effects), [(lease(1), Outcome::NotRun)]);
}

#[test]
fn a_heartbeat_writes_only_deadlines_that_trail_or_come_due() {
    let mut site = Site::current();
    site.run(lease(1));
    let mut written = Vec::new();
    for beat in 1..=12 {
        site.at(1_000 + beat * BEAT).handle(Input::Tick);
        let renewed = site.hear(Down::Renewed(u64::try_from(beat).unwrap()));
        written.extend(deadlines(&renewed));
    }
    // Every second beat: a quarter of the limit is a beat and a half.
    assert_eq!(written.len(), 6, "{written:?}");
    assert_eq!(written.last(), Some(&(1_000 + 12 * BEAT + L)));
}

#[test]
fn a_silent_scheduler_is_hung_up_on() {
    let mut site = Site::current();
    for beat in 1..=4 {
        let effects = site.at(1_000 + beat * BEAT).handle(Input::Tick);
        assert!(matches!(sent(&effects)[..], [Up::Heartbeat(_)]), "{beat}");
    }
    let effects = site.at(1_000 + 5 * BEAT).handle(Input::Tick);
    let (connection, why) = (1, Closed::Silent { unanswered: 4 });
    assert!(effects.contains(&Effect::CloseStream { connection, why }));
}

#[test]
fn a_session_that_does_not_come_about_is_given_up() {
    let (mut site, _) = Site::with(Vec::new());
    site.open();
    site.hear(welcome(1));
    assert_eq!(site.machine.wake_ms(), Some(61_000));
    assert_eq!(site.at(60_999).handle(Input::Tick), []);
    let effects = site.at(61_000).handle(Input::Tick);
    let (connection, why) = (1, Closed::NoVerdict(60_000));
    assert!(effects.contains(&Effect::CloseStream { connection, why }));
}

#[test]
fn logs_are_read_for_their_stream_only() {
    let mut site = Site::current();
    site.run(lease(1));
    let request = |job| TailRequest {
        request: 5,
        lease: lease(job),
        stream: Log::Stdout,
        offset: 3,
        follow: true,
    };
    let effects = site.hear(Down::Tail(request(2)));
    assert_eq!(sent(&effects), [&Up::TailChunk(TailChunk::nothing(5, 3))]);
    let effects = site.hear(Down::Tail(request(1)));
    assert!(matches!(
        effects[..],
        [Effect::StartTail { connection: 1, .. }]
    ));
    let read = |connection| Input::TailRead {
        connection,
        chunk: TailChunk::nothing(5, 3),
    };
    assert_eq!(sent(&site.handle(read(1))).len(), 1);
    assert!(site.join(&[lease(1)]).contains(&Effect::CancelTails));
    assert_eq!(site.handle(read(1)), []);
}
