//! Nothing leaves before it is synced, and what a start finds counts as renewed.

use crate::stage::{LIMITS, Said, Scheduler, Stands, ended};
use jeroboam_core::ids::{LeaseId, TaskId};
use jeroboam_core::job::Outcome;
use jeroboam_scheduler::dispatch::{Connection, FromSite, ToSite};

/// One attempt runs at meyrin.
fn running() -> (Scheduler, Connection, LeaseId) {
    let mut scheduler = Scheduler::founded(LIMITS);
    let agent = scheduler.join("meyrin", "m-1", &[]);
    scheduler.submit(1);
    let lease = scheduler.round()[0];
    scheduler.say(agent, FromSite::Running(lease));
    scheduler.left();
    (scheduler, agent, lease)
}

#[test]
fn a_grant_leaves_with_its_plan_or_not_at_all() {
    let mut scheduler = Scheduler::founded(LIMITS);
    let agent = scheduler.join("meyrin", "m-1", &[]);
    scheduler.submit(1);
    scheduler.left();
    scheduler.hold_syncs();
    let lost = scheduler.round()[0];
    assert_eq!(scheduler.heard(agent), [], "before the sync");
    scheduler.crash();
    assert_eq!(scheduler.left(), []);
    assert_eq!(scheduler.stands(lost.task), Stands::Queued);

    // The same lease is given out again, elsewhere: had the first grant left,
    // the task would run twice under one name.
    let other = scheduler.join("wigner", "w-1", &[]);
    let leased = scheduler.round();
    assert_eq!(leased, [lost]);
    assert!(scheduler.heard(other).contains(&ToSite::Grant(lost)));
    scheduler.crash();
    assert!(scheduler.open(lost).is_some(), "what was granted is kept");
}

#[test]
fn an_acknowledgement_leaves_with_its_report_or_not_at_all() {
    let (mut scheduler, agent, lease) = running();
    scheduler.hold_syncs();
    scheduler.say(agent, ended(lease, Outcome::Exit(0)));
    assert_eq!(scheduler.heard(agent), [], "before the sync");
    scheduler.crash();
    assert!(scheduler.open(lease).is_some(), "the report was lost");

    let agent = scheduler.join("meyrin", "m-1", &[(lease, false)]);
    scheduler.say(agent, ended(lease, Outcome::Exit(0)));
    assert!(scheduler.heard(agent).contains(&ToSite::Ack(lease)));
    scheduler.crash();
    assert_eq!(scheduler.stands(lease.task), Stands::Succeeded);
}

#[test]
fn a_reply_leaves_with_its_event_or_not_at_all() {
    let mut scheduler = Scheduler::founded(LIMITS);
    scheduler.hold_syncs();
    let lost = scheduler.submit(1);
    assert_eq!(scheduler.left(), [], "before the sync");
    scheduler.crash();
    assert!(!scheduler.state.world.was_job(lost));

    let kept = scheduler.submit(1);
    assert_eq!(scheduler.left(), [Said::Told("submitted")]);
    scheduler.crash();
    let task = TaskId {
        job: kept,
        index: 0,
    };
    assert_eq!(scheduler.stands(task), Stands::Queued);
}

#[test]
fn a_stop_and_the_word_stopping_leave_with_their_event_or_not_at_all() {
    let (mut scheduler, agent, lease) = running();
    scheduler.hold_syncs();
    scheduler.cancel(lease.task);
    assert_eq!(scheduler.left(), [], "before the sync");
    scheduler.sync();
    assert_eq!(
        scheduler.left(),
        [Said::To(agent, ToSite::Stop(lease)), Said::Told("stopping")]
    );
    scheduler.crash();
    scheduler.join("meyrin", "m-1", &[]);
    assert_eq!(scheduler.stands(lease.task), Stands::Cancelled);
}

#[test]
fn a_verdict_leaves_with_the_inventory_that_it_is_about() {
    let (mut scheduler, old, lease) = running();
    scheduler.disconnect(old);
    let agent = scheduler.hello("meyrin", "m-1");
    let welcomed = scheduler.left();
    let [Said::To(_, ToSite::Welcome { session })] = welcomed[..] else {
        panic!("the welcome alone is said: {welcomed:?}");
    };
    scheduler.hold_syncs();
    let leases = [].into();
    scheduler.say(agent, FromSite::Inventory { session, leases });
    assert_eq!(scheduler.stands(lease.task), Stands::Queued);
    assert_eq!(scheduler.left(), [], "before the sync");
    scheduler.sync();
    assert!(matches!(
        scheduler.heard(agent)[..],
        [ToSite::Verdict { .. }]
    ));
    scheduler.crash();
    assert_eq!(scheduler.stands(lease.task), Stands::Queued);
}

#[test]
fn a_start_counts_as_the_renewal_of_every_lease() {
    let (mut scheduler, agent, lease) = running();
    let silence_ms = LIMITS.silence_ms();
    // Renewed long after the last record: no journal knows of it.
    scheduler.pass(silence_ms - 10);
    scheduler.say(agent, FromSite::Heartbeat(1));
    assert_eq!(scheduler.heard(agent), [ToSite::Renewed(1)]);
    scheduler.crash();
    scheduler.pass(silence_ms);
    scheduler.tick();
    assert!(
        scheduler.open(lease).is_some(),
        "W from the start is not over"
    );
    // The count must begin, too: else it would be renewed for ever.
    scheduler.pass(1);
    scheduler.tick();
    assert_eq!(scheduler.stands(lease.task), Stands::Queued);
}
