//! From when contact deadlines count, and when they are written.

use super::*;

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
