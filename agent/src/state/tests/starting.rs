//! From a grant to a shim, and what cannot be started.

use super::*;

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
