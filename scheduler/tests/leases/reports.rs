//! Reports, cancels and verdicts, lease by lease.

use crate::stage::{LIMITS, LINEAGE, Said, Scheduler, Stands, ended};
use jeroboam_core::ids::{JobId, LeaseId, TaskId};
use jeroboam_core::job::{ActiveState, Outcome};
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

fn is_stopping(scheduler: &Scheduler, lease: LeaseId) -> bool {
    let open = scheduler.open(lease);
    open.is_some_and(|active| matches!(active.state, ActiveState::Stopping { .. }))
}

#[test]
fn a_cancel_is_final_only_once_the_end_is_certain() {
    type Certain = fn(&mut Scheduler, Connection, LeaseId);
    let ways: [(&str, Certain); 3] = [
        ("a report", |scheduler, agent, lease| {
            scheduler.say(agent, ended(lease, Outcome::Stopped));
        }),
        ("an absence", |scheduler, _, _| {
            scheduler.join("meyrin", "m-1", &[]);
        }),
        ("a silence of W", |scheduler, _, _| {
            scheduler.pass(LIMITS.silence_ms() + 1);
            scheduler.tick();
        }),
    ];
    for (what, certain) in ways {
        let (mut scheduler, agent, lease) = running();
        scheduler.cancel(lease.task);
        assert_eq!(
            scheduler.left(),
            [Said::To(agent, ToSite::Stop(lease)), Said::Told("stopping")]
        );
        assert!(is_stopping(&scheduler, lease), "{what}: it still runs");
        let batch = &scheduler.state.world.batches().values().next().unwrap();
        assert_eq!(batch.finished, None, "{what}");
        // News that crossed the stop change nothing, and its place stays taken.
        scheduler.say(agent, FromSite::Running(lease));
        assert!(is_stopping(&scheduler, lease), "{what}");
        scheduler.submit(2);
        assert_eq!(scheduler.round().len(), 1, "{what}: one of two cores");

        certain(&mut scheduler, agent, lease);
        assert_eq!(scheduler.stands(lease.task), Stands::Cancelled, "{what}");
    }
}

#[test]
fn a_cancel_wins_over_a_success_that_arrives_later() {
    let (mut scheduler, agent, lease) = running();
    scheduler.cancel(lease.task);
    scheduler.left();
    scheduler.say(agent, ended(lease, Outcome::Exit(0)));
    assert_eq!(scheduler.heard(agent), [ToSite::Ack(lease)]);
    assert_eq!(scheduler.stands(lease.task), Stands::Cancelled);
    // The other way round the success stands, also when it is told twice.
    let (mut scheduler, agent, lease) = running();
    scheduler.say(agent, ended(lease, Outcome::Exit(0)));
    scheduler.say(agent, ended(lease, Outcome::Stopped));
    let acks = [ToSite::Ack(lease), ToSite::Ack(lease)];
    assert_eq!(scheduler.heard(agent), acks);
    assert_eq!(scheduler.stands(lease.task), Stands::Succeeded);
}

/// The stop was never said: the site was away when the user cancelled.
#[test]
fn a_stop_is_said_in_every_session_until_the_end() {
    let (mut scheduler, agent, lease) = running();
    scheduler.disconnect(agent);
    scheduler.cancel(lease.task);
    assert_eq!(scheduler.left(), [Said::Told("stopping")]);
    for attempt in 1..=2 {
        let agent = scheduler.hello("meyrin", "m-1");
        scheduler.list(agent, &[(lease, true)]);
        let verdict = ToSite::Verdict {
            keep: vec![lease],
            ended: vec![],
            unknown: vec![],
        };
        let expected = [verdict, ToSite::Stop(lease)];
        assert_eq!(scheduler.heard(agent), expected, "session {attempt}");
        assert!(is_stopping(&scheduler, lease));
    }
    scheduler.crash();
    let agent = scheduler.hello("meyrin", "m-1");
    scheduler.list(agent, &[(lease, true)]);
    assert!(scheduler.heard(agent).contains(&ToSite::Stop(lease)));
}

/// The plan is durable and the grant was never said: a crash in between.
#[test]
fn a_grant_that_never_left_is_settled_by_the_next_inventory() {
    for cancelled in [false, true] {
        let mut scheduler = Scheduler::founded(LIMITS);
        let agent = scheduler.join("meyrin", "m-1", &[]);
        scheduler.submit(1);
        let lease = scheduler.round()[0];
        // All that was released is lost with the stream.
        scheduler.left();
        scheduler.disconnect(agent);
        scheduler.crash();
        if cancelled {
            scheduler.cancel(lease.task);
            assert!(is_stopping(&scheduler, lease), "it may have left");
        }
        scheduler.join("meyrin", "m-1", &[]);
        let expected = if cancelled {
            Stands::Cancelled
        } else {
            Stands::Queued
        };
        assert_eq!(scheduler.stands(lease.task), expected);
        assert!(
            !scheduler
                .left()
                .contains(&Said::To(agent, ToSite::Stop(lease)))
        );
    }
    // The agent did get it, and the cancel came before its session.
    let mut scheduler = Scheduler::founded(LIMITS);
    let agent = scheduler.join("meyrin", "m-1", &[]);
    scheduler.submit(1);
    let lease = scheduler.round()[0];
    scheduler.disconnect(agent);
    scheduler.cancel(lease.task);
    let agent = scheduler.hello("meyrin", "m-1");
    scheduler.list(agent, &[(lease, false)]);
    assert!(scheduler.heard(agent).contains(&ToSite::Stop(lease)));
}

#[test]
fn a_report_is_taken_once_and_acknowledged_every_time() {
    let (mut scheduler, agent, lease) = running();
    scheduler.say(agent, ended(lease, Outcome::Lost));
    let first = scheduler.state.world.clone();
    assert_eq!(scheduler.stands(lease.task), Stands::Queued);
    // The acknowledgement was lost with the stream; a new session says it again.
    scheduler.disconnect(agent);
    scheduler.left();
    let agent = scheduler.join("meyrin", "m-1", &[(lease, false)]);
    scheduler.say(agent, ended(lease, Outcome::Lost));
    assert!(scheduler.heard(agent).contains(&ToSite::Ack(lease)));
    let past = |world: &jeroboam_core::world::World| {
        world.jobs()[&lease.task.job].tasks.past[&lease.task.index].clone()
    };
    assert_eq!(past(&scheduler.state.world), past(&first), "lost once");

    // The second attempt is another lease: its report is no duplicate, and a
    // third telling of the first one does not end it.
    let second = scheduler.round()[0];
    assert_eq!((second.task, second.attempt), (lease.task, 2));
    scheduler.say(agent, ended(lease, Outcome::Lost));
    assert!(scheduler.open(second).is_some());
    scheduler.say(agent, ended(second, Outcome::Exit(0)));
    assert_eq!(scheduler.stands(lease.task), Stands::Succeeded);
    let acks = [
        ToSite::Grant(second),
        ToSite::Ack(lease),
        ToSite::Ack(second),
    ];
    assert_eq!(scheduler.heard(agent), acks);
}

/// A backup from before the grant is restored, and the same task is granted again.
#[test]
fn a_lease_of_an_older_lineage_is_another_lease() {
    let mut scheduler = Scheduler::founded(LIMITS);
    let agent = scheduler.join("meyrin", "m-1", &[]);
    scheduler.submit(1);
    let backup = scheduler.backup();
    let old = scheduler.round()[0];
    scheduler.say(agent, FromSite::Running(old));
    scheduler.restore(backup, LINEAGE + 1);
    scheduler.left();

    let agent = scheduler.hello("meyrin", "m-1");
    scheduler.list(agent, &[(old, true)]);
    let verdict = ToSite::Verdict {
        keep: vec![],
        ended: vec![],
        unknown: vec![old],
    };
    assert_eq!(
        scheduler.heard(agent),
        [verdict],
        "not renewed, not stopped"
    );
    assert_eq!(scheduler.state.world.sites()[0].unknown_leases, 1);
    scheduler.pass(LIMITS.silence_ms());
    scheduler.say(agent, crate::stage::capacity());
    let new = scheduler.round()[0];
    assert_eq!((new.task, new.attempt), (old.task, old.attempt));
    assert_ne!(new, old);
    // What the old one did is of another life.
    scheduler.say(agent, FromSite::Running(old));
    scheduler.say(agent, ended(old, Outcome::Exit(0)));
    let open = scheduler.open(new).expect("only its own report ends it");
    assert_eq!(open.state, ActiveState::Leased);
    assert_eq!(
        scheduler.heard(agent),
        [ToSite::Grant(new), ToSite::Ack(old)]
    );
}

#[test]
fn nothing_is_granted_for_w_after_a_restore() {
    let mut scheduler = Scheduler::founded(LIMITS);
    let agent = scheduler.join("meyrin", "m-1", &[]);
    scheduler.submit(2);
    let before = scheduler.round();
    scheduler.say(agent, FromSite::Running(before[0]));
    let backup = scheduler.backup();
    scheduler.restore(backup, LINEAGE + 1);
    // What the backup held as open is void, and its agent may run it still.
    for lease in &before {
        assert_eq!(scheduler.stands(lease.task), Stands::Queued);
    }
    scheduler.join("wigner", "w-1", &[]);
    assert_eq!(scheduler.round(), [], "two run at once");
    scheduler.pass(LIMITS.silence_ms() - 1);
    assert_eq!(scheduler.round(), [], "two run at once");
    scheduler.pass(1);
    assert_eq!(scheduler.round().len(), 2);
}

#[test]
fn what_the_journal_does_not_prove_ended_is_kept() {
    let (mut scheduler, agent, open) = running();
    let finished = {
        scheduler.submit(1);
        let lease = scheduler.round()[0];
        scheduler.say(agent, ended(lease, Outcome::Exit(0)));
        lease
    };
    let never = |lease: LeaseId, attempt| LeaseId { attempt, ..lease };
    let stranger = TaskId {
        job: JobId(99),
        index: 0,
    };
    let unknown = vec![
        never(open, open.attempt + 1),
        LeaseId {
            task: stranger,
            ..open
        },
        LeaseId {
            lineage: LINEAGE + 5,
            ..open
        },
    ];
    scheduler.disconnect(agent);
    scheduler.left();
    let agent = scheduler.hello("meyrin", "m-1");
    let mut listed = vec![(open, true), (finished, true)];
    listed.extend(unknown.iter().map(|lease| (*lease, true)));
    scheduler.list(agent, &listed);
    let verdict = ToSite::Verdict {
        keep: vec![open],
        ended: vec![finished],
        unknown: unknown.clone(),
    };
    assert_eq!(scheduler.heard(agent), [verdict]);
    let site = &scheduler.state.world.sites()[0];
    assert_eq!(site.unknown_leases, 3, "the operator is told");
    // Also once the job has left memory the journal knows that it had ended.
    scheduler.pass(2 * 3_600_000);
    scheduler.tick();
    assert!(
        !scheduler
            .state
            .world
            .jobs()
            .contains_key(&finished.task.job)
    );
    let agent = scheduler.hello("meyrin", "m-1");
    scheduler.list(agent, &[(finished, true)]);
    assert!(matches!(
        &scheduler.heard(agent)[..],
        [ToSite::Verdict { ended, .. }] if *ended == [finished]
    ));
}
