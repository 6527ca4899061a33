//! How long the scheduler waits: W > L + K + D, strictly, from its last answer,
//! by a clock that no jump of the wall clock moves.

use crate::stage::{LIMITS, START, Scheduler, Stands, ended};
use jeroboam_core::event::Event;
use jeroboam_core::ids::LeaseId;
use jeroboam_core::job::Outcome;
use jeroboam_core::spec::{BatchSpec, OnLostContact};
use jeroboam_scheduler::clock::Clock;
use jeroboam_scheduler::dispatch::{Closing, Connection, FromSite, Limits, ToSite};
use std::time::{Duration, UNIX_EPOCH};

/// As the demo has it: here the drift's least second is what counts.
const SHORT: Limits = Limits {
    contact_limit_ms: 10_000,
    kill_ms: 2_000,
    heartbeat_interval_ms: 500,
};

/// One attempt runs at meyrin; the last answer was given now.
fn running(limits: Limits) -> (Scheduler, Connection, LeaseId) {
    let mut scheduler = Scheduler::founded(limits);
    let agent = scheduler.join("meyrin", "m-1", &[]);
    scheduler.submit(1);
    let lease = scheduler.round()[0];
    scheduler.say(agent, FromSite::Running(lease));
    scheduler.say(agent, FromSite::Heartbeat(1));
    assert!(scheduler.heard(agent).contains(&ToSite::Renewed(1)));
    (scheduler, agent, lease)
}

/// The scheduler's clock, counted from the heartbeat's sending, when the last
/// process of an attempt dies at the latest: the node's clock is slow and the
/// scheduler's fast, by two percent together or by a second.
fn dead_ms(limits: Limits) -> i64 {
    let fenced_ms = limits.contact_limit_ms + limits.kill_ms;
    fenced_ms + (fenced_ms * 2 / 100).max(1_000)
}

#[test]
fn nothing_is_given_away_before_the_last_process_is_dead() {
    for limits in [LIMITS, SHORT] {
        let (mut scheduler, _, lease) = running(limits);
        scheduler.join("wigner", "w-1", &[]);
        scheduler.pass(dead_ms(limits));
        scheduler.tick();
        assert_eq!(scheduler.round(), [], "{limits:?}: two run at once");
        assert!(scheduler.open(lease).is_some(), "{limits:?}");
    }
}

#[test]
fn the_wait_is_longer_strictly_and_ends() {
    for limits in [LIMITS, SHORT] {
        let silence_ms = limits.silence_ms();
        assert!(silence_ms > dead_ms(limits), "{limits:?}: equality fails");
        let (mut scheduler, agent, lease) = running(limits);
        scheduler.pass(silence_ms);
        scheduler.tick();
        assert!(scheduler.open(lease).is_some(), "{limits:?}: W itself");
        scheduler.pass(1);
        scheduler.tick();
        assert_eq!(scheduler.stands(lease.task), Stands::Queued, "{limits:?}");
        assert_eq!(scheduler.closed(agent), Some(Closing::Silent));
    }
}

#[test]
fn every_answer_counts_and_nothing_else_does() {
    let silence_ms = LIMITS.silence_ms();
    type Act = fn(&mut Scheduler, Connection, LeaseId);
    let acts: [(&str, bool, Act); 7] = [
        ("a renewal", true, |scheduler, agent, _| {
            scheduler.say(agent, FromSite::Heartbeat(2));
        }),
        ("a verdict", true, |scheduler, _, lease| {
            scheduler.join("meyrin", "m-1", &[(lease, true)]);
        }),
        ("a welcome", false, |scheduler, _, _| {
            scheduler.hello("meyrin", "m-1");
        }),
        ("a grant", false, |scheduler, agent, _| {
            scheduler.submit(1);
            scheduler.round();
            let heard = scheduler.heard(agent);
            assert!(matches!(heard[..], [ToSite::Grant(_)]), "{heard:?}");
        }),
        ("a stop", false, |scheduler, agent, lease| {
            scheduler.cancel(lease.task);
            assert_eq!(scheduler.heard(agent), [ToSite::Stop(lease)]);
        }),
        ("an acknowledgement", false, |scheduler, agent, lease| {
            let never = LeaseId {
                attempt: 9,
                ..lease
            };
            scheduler.say(agent, ended(never, Outcome::Exit(0)));
        }),
        ("a capacity", false, |scheduler, agent, _| {
            scheduler.say(agent, crate::stage::capacity());
        }),
    ];
    for (what, counts, act) in acts {
        let (mut scheduler, agent, lease) = running(LIMITS);
        scheduler.heard(agent);
        scheduler.pass(silence_ms - 5);
        act(&mut scheduler, agent, lease);
        scheduler.pass(6);
        scheduler.tick();
        assert_eq!(scheduler.open(lease).is_some(), counts, "{what}");
    }
}

#[test]
fn an_expired_lease_is_never_revived() {
    let (mut scheduler, agent, lease) = running(LIMITS);
    scheduler.pass(LIMITS.silence_ms() + 1);
    scheduler.tick();
    scheduler.left();
    // What was under way over the closed stream renews nothing.
    scheduler.say(agent, FromSite::Heartbeat(2));
    scheduler.say(agent, FromSite::Running(lease));
    assert_eq!(scheduler.left(), []);
    // A new session that lists it is told that it has ended.
    let agent = scheduler.hello("meyrin", "m-1");
    scheduler.list(agent, &[(lease, true)]);
    let (keep, ended_leases, unknown) = (vec![], vec![lease], vec![]);
    assert_eq!(
        scheduler.heard(agent),
        [ToSite::Verdict {
            keep,
            ended: ended_leases,
            unknown
        }]
    );
    // The task runs elsewhere by now; the first attempt's success comes too late.
    scheduler.join("wigner", "w-1", &[]);
    let second = scheduler.round()[0];
    assert_eq!((second.task, second.attempt), (lease.task, 2));
    scheduler.say(agent, ended(lease, Outcome::Exit(0)));
    assert!(scheduler.heard(agent).contains(&ToSite::Ack(lease)));
    assert!(scheduler.open(second).is_some());
    assert_eq!(scheduler.stands(lease.task), Stands::Active);
}

#[test]
fn all_leases_of_a_silent_site_expire_at_once_and_no_other_sites() {
    let mut scheduler = Scheduler::founded(LIMITS);
    scheduler.join("meyrin", "m-1", &[]);
    scheduler.submit(2);
    let silent = scheduler.round();
    let other = scheduler.join("wigner", "w-1", &[]);
    scheduler.submit(1);
    let kept = scheduler.round()[0];
    assert_eq!(silent.len(), 2);
    scheduler.pass(LIMITS.silence_ms());
    scheduler.say(other, FromSite::Heartbeat(1));
    scheduler.pass(1);
    scheduler.tick();
    for lease in silent {
        assert_eq!(scheduler.stands(lease.task), Stands::Queued);
    }
    assert!(scheduler.open(kept).is_some());
}

#[test]
fn what_waits_for_its_site_is_not_given_away() {
    let mut scheduler = Scheduler::founded(LIMITS);
    let agent = scheduler.join("meyrin", "m-1", &[]);
    let mut job = crate::stage::job(1);
    job.on_lost_contact = OnLostContact::Wait;
    let spec = BatchSpec {
        name: "waits".into(),
        queue: "hep".into(),
        jobs: vec![job],
    };
    let event = Event::BatchSubmitted {
        request_id: "waits".into(),
        digest: [2; 32],
        by: "alice".into(),
        spec,
    };
    scheduler.apply(event, "submitted");
    let lease = scheduler.round()[0];
    scheduler.disconnect(agent);
    scheduler.pass(2 * LIMITS.silence_ms());
    scheduler.tick();
    assert!(scheduler.open(lease).is_some());
    let agent = scheduler.hello("meyrin", "m-1");
    scheduler.list(agent, &[(lease, true)]);
    let verdict = ToSite::Verdict {
        keep: vec![lease],
        ended: vec![],
        unknown: vec![],
    };
    assert_eq!(scheduler.heard(agent), [verdict]);
}

/// The wall clock was decades behind when the scheduler started, and is set right
/// while it runs.
#[test]
fn a_jump_of_the_wall_clock_expires_nothing() {
    let (mut scheduler, _, lease) = running(LIMITS);
    let wrong = UNIX_EPOCH + Duration::from_secs(946_684_800);
    let clock = Clock::starting(START, wrong);
    let before = clock.now();
    assert!(before >= START && before - START < 60_000, "{before:?}");
    scheduler.pass(before - scheduler.now());
    scheduler.tick();
    assert!(scheduler.open(lease).is_some());
    // Nor does it stand still until the wall clock has caught up.
    let patience = std::time::Instant::now() + Duration::from_secs(10);
    while clock.now() == before {
        assert!(std::time::Instant::now() < patience, "the clock froze");
        std::thread::yield_now();
    }
}
