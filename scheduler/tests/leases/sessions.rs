//! Which session of a site is heard, and which agent may speak for it.

use crate::stage::{FEDERATION, LIMITS, Said, Scheduler, Stands, capacity, ended};
use jeroboam_core::ids::LeaseId;
use jeroboam_core::job::{ActiveState, Outcome};
use jeroboam_core::rejected::Rejected;
use jeroboam_scheduler::dispatch::{Closing, Connection, FromSite, Leadership, ToSite};

/// One attempt is leased to meyrin's agent.
fn leased() -> (Scheduler, Connection, LeaseId) {
    let mut scheduler = Scheduler::founded(LIMITS);
    let agent = scheduler.join("meyrin", "m-1", &[]);
    scheduler.submit(1);
    let lease = scheduler.round()[0];
    scheduler.left();
    (scheduler, agent, lease)
}

fn welcome(scheduler: &mut Scheduler, connection: Connection) -> u64 {
    match scheduler.heard(connection)[..] {
        [ToSite::Welcome { session }] => session,
        ref other => panic!("not a welcome alone: {other:?}"),
    }
}

fn is_claimed(closing: Option<Closing>) -> bool {
    matches!(
        closing,
        Some(Closing::Refused(Rejected::SiteClaimed { .. }))
    )
}

#[test]
fn a_late_hello_empties_and_replaces_nothing() {
    let (mut scheduler, agent, lease) = leased();
    // Sent before the session that now is current, and read after it.
    let late = scheduler.hello("meyrin", "m-1");
    assert!(scheduler.open(lease).is_some());
    assert_eq!(scheduler.closed(agent), None);
    scheduler.say(agent, FromSite::Heartbeat(1));
    assert_eq!(scheduler.heard(agent), [ToSite::Renewed(1)]);
    scheduler.submit(1);
    let next = scheduler.round()[0];
    assert_eq!(scheduler.heard(agent), [ToSite::Grant(next)]);
    welcome(&mut scheduler, late);
}

#[test]
fn an_inventory_ends_what_it_does_not_list_and_keeps_the_rest() {
    let (mut scheduler, agent, kept) = leased();
    scheduler.submit(1);
    let gone = scheduler.round()[0];
    scheduler.disconnect(agent);
    scheduler.join("meyrin", "m-1", &[(kept, true)]);
    assert_eq!(scheduler.stands(gone.task), Stands::Queued);
    let active = scheduler.open(kept).expect("it was listed");
    assert!(matches!(active.state, ActiveState::Running { .. }));
}

#[test]
fn an_inventory_counts_for_the_session_that_it_names_alone() {
    let (mut scheduler, old, lease) = leased();
    let agent = scheduler.hello("meyrin", "m-1");
    let session = welcome(&mut scheduler, agent);
    for session in [0, session - 1, session + 1] {
        let leases = [].into();
        scheduler.say(agent, FromSite::Inventory { session, leases });
    }
    assert!(scheduler.open(lease).is_some());
    assert_eq!(scheduler.left(), []);
    assert_eq!(scheduler.state.dispatch.current("meyrin"), Some(old));
}

#[test]
fn messages_of_closed_sessions_are_not_heard() {
    let (mut scheduler, old, lease) = leased();
    let agent = scheduler.join("meyrin", "m-1", &[(lease, false)]);
    assert_eq!(scheduler.closed(old), Some(Closing::Superseded));
    scheduler.left();
    let leases = [].into();
    let late = [
        FromSite::Inventory { session: 1, leases },
        FromSite::Starting(lease),
        FromSite::Running(lease),
        FromSite::Heartbeat(9),
        FromSite::Capacity {
            full: true,
            nodes: Vec::new(),
            removed: Vec::new(),
        },
        ended(lease, Outcome::NotRun),
    ];
    let before = scheduler.state.world.clone();
    let answered = scheduler.state.dispatch.answered("meyrin");
    scheduler.pass(1_000);
    for message in late {
        scheduler.say(old, message.clone());
        assert_eq!(scheduler.left(), [], "{message:?}");
        assert_eq!(scheduler.state.world, before, "{message:?}");
        assert_eq!(scheduler.state.dispatch.answered("meyrin"), answered);
    }
    // Its end is no end of the session that took over.
    scheduler.disconnect(old);
    assert_eq!(scheduler.state.dispatch.current("meyrin"), Some(agent));
    assert_eq!(scheduler.state.world, before);
}

#[test]
fn what_comes_before_the_inventory_is_not_heard() {
    let (mut scheduler, old, lease) = leased();
    scheduler.disconnect(old);
    let agent = scheduler.hello("meyrin", "m-1");
    let session = welcome(&mut scheduler, agent);
    scheduler.say(agent, ended(lease, Outcome::NotRun));
    scheduler.say(agent, FromSite::Heartbeat(1));
    scheduler.say(agent, capacity());
    assert_eq!(scheduler.left(), []);
    assert!(scheduler.open(lease).is_some());
    let leases = [(lease, false)].into();
    scheduler.say(agent, FromSite::Inventory { session, leases });
    assert!(matches!(
        scheduler.heard(agent)[..],
        [ToSite::Verdict { .. }]
    ));
}

/// The first session's inventory is under way while the second one is accepted,
/// used and broken: then no session is current, and yet it must not count.
#[test]
fn an_accepted_inventory_closes_every_older_session() {
    let mut scheduler = Scheduler::founded(LIMITS);
    scheduler.submit(1);
    let first = scheduler.hello("meyrin", "m-1");
    let session = welcome(&mut scheduler, first);
    let second = scheduler.join("meyrin", "m-1", &[]);
    assert_eq!(scheduler.closed(first), Some(Closing::Superseded));
    let lease = scheduler.round()[0];
    scheduler.say(second, FromSite::Running(lease));
    scheduler.disconnect(second);
    scheduler.left();

    let leases = [].into();
    scheduler.say(first, FromSite::Inventory { session, leases });
    assert_eq!(scheduler.left(), []);
    assert!(scheduler.open(lease).is_some(), "it runs at meyrin");
    scheduler.join("wigner", "w-1", &[]);
    assert_eq!(scheduler.round(), [], "two run at once");
}

#[test]
fn sessions_rise_across_starts() {
    let mut scheduler = Scheduler::founded(LIMITS);
    let mut last = 0;
    for _ in 0..3 {
        for _ in 0..2 {
            let agent = scheduler.hello("meyrin", "m-1");
            let session = welcome(&mut scheduler, agent);
            assert!(session > last, "{session} after {last}");
            last = session;
        }
        scheduler.crash();
    }
}

#[test]
fn another_incarnation_waits_until_the_leases_are_out() {
    let (mut scheduler, agent, lease) = leased();
    scheduler.disconnect(agent);
    // The old state directory is gone, what its shims run is not.
    let newcomer = scheduler.hello("meyrin", "m-2");
    assert!(is_claimed(scheduler.closed(newcomer)));
    assert_eq!(scheduler.heard(newcomer), []);
    scheduler.pass(LIMITS.silence_ms());
    scheduler.tick();
    let newcomer = scheduler.hello("meyrin", "m-2");
    assert!(is_claimed(scheduler.closed(newcomer)));
    scheduler.pass(1);
    scheduler.tick();
    assert_eq!(scheduler.stands(lease.task), Stands::Queued);
    let newcomer = scheduler.join("meyrin", "m-2", &[]);
    assert_eq!(scheduler.state.dispatch.current("meyrin"), Some(newcomer));
}

#[test]
fn of_two_incarnations_the_admitted_one_stays() {
    let mut scheduler = Scheduler::founded(LIMITS);
    // Both were welcomed while the site was free; the first inventory decides.
    let first = scheduler.hello("meyrin", "m-1");
    let second = scheduler.hello("meyrin", "m-2");
    scheduler.list(first, &[]);
    scheduler.list(second, &[]);
    assert!(is_claimed(scheduler.closed(second)));
    assert_eq!(scheduler.closed(first), None);
    // It cannot displace the first by coming back, either.
    let again = scheduler.hello("meyrin", "m-2");
    assert!(is_claimed(scheduler.closed(again)));
    scheduler.say(first, FromSite::Heartbeat(1));
    assert!(scheduler.heard(first).contains(&ToSite::Renewed(1)));
    // Once the first has left, with nothing open, the site is free.
    scheduler.disconnect(first);
    let second = scheduler.join("meyrin", "m-2", &[]);
    assert_eq!(scheduler.state.dispatch.current("meyrin"), Some(second));
}

#[test]
fn a_leader_answers_only_while_it_surely_leads() {
    let (mut scheduler, agent, lease) = leased();
    let end = scheduler.now() + 1_000;
    scheduler.lead(Leadership::Until(end));
    scheduler.pass(999);
    scheduler.say(agent, FromSite::Heartbeat(1));
    assert_eq!(scheduler.heard(agent), [ToSite::Renewed(1)]);
    let answered = scheduler.state.dispatch.answered("meyrin");
    // Sent while it led, read when another may lead and count from its own start.
    scheduler.pass(1);
    scheduler.say(agent, FromSite::Heartbeat(2));
    assert_eq!(scheduler.heard(agent), []);
    assert_eq!(scheduler.state.dispatch.answered("meyrin"), answered);

    let before = scheduler.state.world.clone();
    let next = scheduler.hello("meyrin", "m-1");
    scheduler.list(next, &[(lease, true)]);
    assert_eq!(scheduler.closed(next), Some(Closing::NotLeading));
    assert_eq!(scheduler.heard(next), [], "no verdict");
    assert_eq!(scheduler.state.world, before);

    scheduler.lead(Leadership::Until(scheduler.now() + 1_000));
    scheduler.say(agent, FromSite::Heartbeat(3));
    assert_eq!(scheduler.heard(agent), [ToSite::Renewed(3)]);
}

#[test]
fn another_federation_is_refused_and_what_runs_is_left_alone() {
    let (mut scheduler, agent, lease) = leased();
    let stranger = scheduler.hello_of("meyrin", "m-1", "fermilab");
    assert!(matches!(
        scheduler.closed(stranger),
        Some(Closing::ForeignFederation { .. })
    ));
    assert!(scheduler.open(lease).is_some());
    assert_eq!(scheduler.state.dispatch.current("meyrin"), Some(agent));
    let ours = scheduler.hello_of("meyrin", "m-1", FEDERATION);
    assert_eq!(scheduler.closed(ours), None);
}

/// A state directory copied to another site, or an agent gone astray.
#[test]
fn a_site_speaks_for_its_own_leases_alone() {
    let (mut scheduler, agent, lease) = leased();
    let astray = scheduler.hello("wigner", "w-1");
    scheduler.list(astray, &[(lease, true)]);
    let verdict = ToSite::Verdict {
        keep: vec![],
        ended: vec![],
        unknown: vec![lease],
    };
    assert_eq!(scheduler.heard(astray), [verdict], "it renews nothing");
    let before = scheduler.state.world.clone();
    for message in [
        FromSite::Starting(lease),
        FromSite::Running(lease),
        ended(lease, Outcome::Exit(0)),
    ] {
        scheduler.say(astray, message.clone());
        assert_eq!(scheduler.state.world, before, "{message:?}");
        assert_eq!(scheduler.heard(astray), [], "{message:?}: not taken");
    }
    // Once it has ended where it was granted, the stray report can be forgotten.
    scheduler.say(agent, ended(lease, Outcome::Exit(0)));
    scheduler.say(astray, ended(lease, Outcome::Exit(0)));
    assert_eq!(
        scheduler.left(),
        [
            Said::To(agent, ToSite::Ack(lease)),
            Said::To(astray, ToSite::Ack(lease))
        ]
    );
}
