use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;

const LIMITS: Limits = Limits {
    walltime_ms: 10_000,
    grace_ms: 500,
    memory_max_mib: 100,
    disk_max_mib: 0,
};

/// Drives a job started at 1000 whose contact deadline is 5000 through events
/// at their times, and shows what comes out.
fn check(events: &[(i64, Event)], expected: Expect) {
    let mut run = Run::new(LIMITS, Some(5000), 1000);
    let mut shown = String::new();
    for (now_ms, event) in events {
        let effects = run.step(*now_ms, event.clone());
        writeln!(
            shown,
            "{now_ms} {event:?}: {effects:?} due {:?}",
            run.due_ms()
        )
        .expect("a string");
    }
    expected.assert_eq(&shown);
}

fn exited(code: i32) -> Event {
    Event::JobEnded(Outcome::Exited { code })
}

#[test]
fn a_job_that_ends_by_itself_is_recorded_when_its_tree_is_gone() {
    check(
        &[
            (1050, exited(3)),
            (1080, Event::Timer),
            (1090, Event::TreeGone),
            (1100, Event::TreeGone),
        ],
        expect![[r#"
            1050 JobEnded(Exited { code: 3 }): [KillTree] due Some(1070)
            1080 Timer: [KillTree] due Some(1100)
            1090 TreeGone: [Record(Exited { code: 3 })] due None
            1100 TreeGone: [] due None
        "#]],
    );
}

#[test]
fn disk_is_measured_in_little_of_the_time_and_more_often_near_the_limit() {
    let limits = Limits {
        walltime_ms: 0,
        memory_max_mib: 0,
        disk_max_mib: 100,
        ..LIMITS
    };
    let mut run = Run::new(limits, None, 1000);
    run.step(1200, Event::Memory { resident_mib: 1 });
    assert_eq!(run.step(1200, Event::Timer), [Effect::SampleDisk]);
    let mut after = |now_ms, used_mib, took_ms| {
        let effects = run.step(now_ms, Event::Disk { used_mib, took_ms });
        (effects, run.disk_due_ms)
    };
    assert_eq!(after(1200, 50, 1), (vec![], Some(2200)));
    assert_eq!(after(2200, 51, 1), (vec![], Some(2400)));
    assert_eq!(after(2400, 100, 300), (vec![], Some(8400)));
    assert_eq!(after(8400, 101, 1).0, [Effect::KillTree]);
    assert_eq!(after(8500, 102, 1).0, []);
    let failed = Outcome::disk_exceeded(101, 100);
    assert_eq!(run.step(8600, Event::TreeGone), [Effect::Record(failed)]);
}

#[test]
fn a_job_without_its_directory_is_killed_at_once() {
    check(
        &[
            (1200, Event::DirectoryGone),
            (1210, Event::DirectoryGone),
            (1220, Event::TreeGone),
        ],
        expect![[r#"
            1200 DirectoryGone: [KillTree] due Some(1220)
            1210 DirectoryGone: [] due Some(1220)
            1220 TreeGone: [Record(OutputsFailed { message: "the attempt's directory was removed or replaced while the job ran: how it ended, its logs and its outputs are gone with it; a job must leave alone what is outside its scratch directory" })] due None
        "#]],
    );
}

#[test]
fn walltime_ends_in_sigkill_after_the_grace() {
    check(
        &[
            (5000, Event::Timer),
            (5000, Event::Deadline(Some(90_000))),
            (11_000, Event::Timer),
            (11_499, Event::Memory { resident_mib: 1 }),
            (11_499, Event::Timer),
            (11_500, Event::Timer),
            (11_505, exited(0)),
            (11_506, Event::TreeGone),
        ],
        expect![[r#"
            5000 Timer: [ReadDeadline] due Some(1200)
            5000 Deadline(Some(90000)): [] due Some(1200)
            11000 Timer: [TermTree] due Some(1200)
            11499 Memory { resident_mib: 1 }: [] due Some(11500)
            11499 Timer: [] due Some(11500)
            11500 Timer: [KillTree] due Some(11520)
            11505 JobEnded(Exited { code: 0 }): [] due Some(11520)
            11506 TreeGone: [Record(WalltimeExceeded)] due None
        "#]],
    );
}

#[test]
fn the_contact_deadline_is_read_again_before_it_counts() {
    check(
        &[
            (4999, Event::Memory { resident_mib: 1 }),
            (5000, Event::Timer),
            (5000, Event::Deadline(Some(7000))),
            (6500, Event::Memory { resident_mib: 1 }),
            (7001, Event::Timer),
            (7001, Event::Deadline(Some(7000))),
            (7100, exited(0)),
            (7101, Event::TreeGone),
        ],
        expect![[r#"
            4999 Memory { resident_mib: 1 }: [] due Some(5000)
            5000 Timer: [ReadDeadline] due Some(5000)
            5000 Deadline(Some(7000)): [] due Some(5999)
            6500 Memory { resident_mib: 1 }: [] due Some(7000)
            7001 Timer: [ReadDeadline] due Some(7000)
            7001 Deadline(Some(7000)): [TermTree] due Some(7500)
            7100 JobEnded(Exited { code: 0 }): [KillTree] due Some(7120)
            7101 TreeGone: [Record(ContactLost)] due None
        "#]],
    );
}

/// The clock includes suspend: a host that slept from 2000 to 900000 finds the
/// deadline long past, though the job itself hardly ran.
#[test]
fn a_host_that_slept_past_the_deadline_stops_the_job() {
    check(
        &[(900_000, Event::Timer)],
        expect![[r#"
        900000 Timer: [TermTree] due Some(1200)
    "#]],
    );
    let unlimited = Limits {
        walltime_ms: 0,
        ..LIMITS
    };
    let mut run = Run::new(unlimited, Some(5000), 1000);
    assert_eq!(run.step(900_000, Event::Timer), [Effect::ReadDeadline]);
    assert_eq!(
        run.step(900_000, Event::Deadline(Some(5000))),
        [Effect::TermTree]
    );
}

#[test]
fn a_job_that_waits_without_contact_is_never_fenced() {
    let unlimited = Limits {
        walltime_ms: 0,
        ..LIMITS
    };
    let mut run = Run::new(unlimited, None, 1000);
    assert_eq!(run.step(i64::MAX / 2, Event::Timer), [Effect::SampleMemory]);
}

#[test]
fn memory_beyond_the_limit_is_killed_at_once() {
    check(
        &[
            (1200, Event::Timer),
            (1200, Event::Memory { resident_mib: 50 }),
            (2200, Event::Memory { resident_mib: 51 }),
            (2300, Event::Memory { resident_mib: 100 }),
            (2400, Event::Memory { resident_mib: 101 }),
            (2410, Event::JobEnded(Outcome::Signaled { signal: 9 })),
            (2411, Event::TreeGone),
        ],
        expect![[r#"
            1200 Timer: [SampleMemory] due Some(1200)
            1200 Memory { resident_mib: 50 }: [] due Some(2200)
            2200 Memory { resident_mib: 51 }: [] due Some(2300)
            2300 Memory { resident_mib: 100 }: [] due Some(2400)
            2400 Memory { resident_mib: 101 }: [KillTree] due Some(2420)
            2410 JobEnded(Signaled { signal: 9 }): [] due Some(2420)
            2411 TreeGone: [Record(MemoryExceeded)] due None
        "#]],
    );
}

#[test]
fn a_stop_asked_for_wins_over_the_exit_code_that_follows() {
    check(
        &[
            (1100, Event::StopAsked),
            (1101, Event::StopAsked),
            (1150, exited(0)),
            (1160, Event::TreeGone),
        ],
        expect![[r#"
            1100 StopAsked: [TermTree] due Some(1200)
            1101 StopAsked: [] due Some(1200)
            1150 JobEnded(Exited { code: 0 }): [KillTree] due Some(1170)
            1160 TreeGone: [Record(Stopped)] due None
        "#]],
    );
}

#[test]
fn an_end_seen_first_wins_over_the_stop() {
    check(
        &[
            (1100, exited(0)),
            (1100, Event::StopAsked),
            (1101, Event::TreeGone),
        ],
        expect![[r#"
            1100 JobEnded(Exited { code: 0 }): [KillTree] due Some(1120)
            1100 StopAsked: [] due Some(1120)
            1101 TreeGone: [Record(Exited { code: 0 })] due None
        "#]],
    );
}

/// The job outlives the one that watches it: nothing may be recorded before
/// the tree is gone, and killing is repeated until it is.
#[test]
fn job_outlives_its_shim() {
    let mut run = Run::new(LIMITS, Some(5000), 1000);
    let mut effects = run.step(1100, exited(0));
    for now_ms in (1120..2000).step_by(20) {
        effects.extend(run.step(now_ms, Event::Timer));
    }
    assert!(
        effects.iter().all(|effect| *effect == Effect::KillTree),
        "{effects:?}"
    );
    assert_eq!(effects.len(), 45);
    let recorded = run.step(2000, Event::TreeGone);
    assert_eq!(recorded, [Effect::Record(Outcome::Exited { code: 0 })]);
}

#[test]
fn a_tree_gone_without_a_word_is_lost() {
    check(
        &[(1100, Event::TreeGone)],
        expect![[r#"
        1100 TreeGone: [Record(Lost)] due None
    "#]],
    );
}

/// Whatever comes in whatever order: one record, the last effect, and only
/// once the tree is gone.
#[test]
fn any_events_record_once_and_last() {
    use proptest::prelude::*;
    let event = prop_oneof![
        Just(Event::Timer),
        Just(Event::StopAsked),
        Just(exited(0)),
        (0..200i64).prop_map(|resident_mib| Event::Memory { resident_mib }),
        prop::option::of(0..30_000i64).prop_map(Event::Deadline),
    ];
    let events = prop::collection::vec((0..3000i64, event), 0..20);
    proptest!(|(events in events)| {
        let mut run = Run::new(LIMITS, Some(5000), 0);
        let mut now_ms = 0;
        for (later_ms, event) in events {
            now_ms += later_ms;
            let effects = run.step(now_ms, event);
            prop_assert!(!effects.iter().any(|effect| matches!(effect, Effect::Record(_))));
        }
        prop_assert!(matches!(run.step(now_ms, Event::TreeGone)[..], [Effect::Record(_)]));
        prop_assert!(run.step(now_ms, Event::TreeGone).is_empty());
        prop_assert_eq!(run.due_ms(), None);
    });
}
