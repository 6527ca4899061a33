//! Stops, ends and their reports, and what an earlier agent left.

use super::*;

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
