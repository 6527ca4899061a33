//! Predictions, and the same Worlds lived through by hand.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::event::{Selection, Verb};
use crate::ids::JobId;
use crate::queue::QueueSpec;
use crate::resources::Resources;
use crate::site::{Contract, NodeReport, SiteSpec};
use crate::spec::{After, BatchSpec, Coe, JobSpec, Needs};
use std::collections::{BTreeMap, BTreeSet};

const NOW: TimeMs = TimeMs(1_000_000_000);
const MINUTE_MS: i64 = 60_000;

fn go(world: &mut World, now: TimeMs, event: Event) {
    world.apply(now, &event).unwrap();
}

/// One node of so many cores, one queue `q`.
fn world(cores: i64, contract: Option<Contract>) -> World {
    let mut world = World::default();
    let spec = SiteSpec {
        name: "s".into(),
        region: String::new(),
        contract,
    };
    go(&mut world, NOW, Event::SiteDeclared(spec));
    let opened = Event::SessionOpened {
        site: "s".into(),
        session: 1,
        incarnation: "i".into(),
        agent_version: String::new(),
        leases: BTreeSet::new(),
    };
    go(&mut world, NOW, opened);
    let node = NodeReport {
        name: "n".into(),
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: String::new(),
        runtimes: Vec::new(),
        capacity: Resources::of(cores * 1_000, 1_024, 0, 0),
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        speed_milli: 10_000,
        schedulable: true,
    };
    let reported = Event::CapacityReported {
        site: "s".into(),
        session: 1,
        full: true,
        nodes: vec![node],
        removed: Vec::new(),
    };
    go(&mut world, NOW, reported);
    let queue = QueueSpec {
        submitters: ["*".to_string()].into(),
        ..QueueSpec::new("q", 1)
    };
    go(&mut world, NOW, Event::QueueCreated(queue));
    world
}

fn job(name: &str, count: u32, cores: i64, minutes: i64) -> JobSpec {
    let needs = Needs::new(Resources::of(cores * 1_000, 0, 0, 0), minutes * MINUTE_MS);
    JobSpec {
        count,
        ..JobSpec::new(name, needs)
    }
}

fn submit(world: &mut World, jobs: Vec<JobSpec>) -> JobId {
    let event = Event::BatchSubmitted {
        request_id: format!("{}", world.batches().len()),
        digest: [0; 32],
        by: "a".into(),
        spec: BatchSpec {
            name: "b".into(),
            queue: "q".into(),
            jobs,
        },
    };
    go(world, NOW, event);
    world.batches().values().next_back().unwrap().first_job
}

fn task(job: JobId, index: u32) -> TaskId {
    TaskId { job, index }
}

fn predicted(world: &World, task: TaskId) -> Prediction {
    predict(world.clone(), NOW, task, Bounds::default()).unwrap()
}

fn starts_after(world: &World, task: TaskId) -> i64 {
    match predicted(world, task) {
        Prediction::Starts { at, .. } => at - NOW,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_fits_starts_at_once() {
    let mut world = world(2, None);
    let job = submit(&mut world, vec![job("j", 2, 1, 60)]);
    assert_eq!(starts_after(&world, task(job, 1)), 0);
}

/// Four at a time for ten minutes each: the ninth goes after two of these, to within a second or a
/// 256th part of the wait for each.
#[test]
fn a_queue_is_worked_off_by_walltime_limits() {
    let mut world = world(4, None);
    let job = submit(&mut world, vec![job("j", 12, 1, 10)]);
    let wait_ms = starts_after(&world, task(job, 8));
    let expected_ms = 20 * MINUTE_MS;
    assert!(
        (expected_ms..expected_ms + 10_000).contains(&wait_ms),
        "{wait_ms}"
    );
}

#[test]
fn what_runs_counts_from_when_it_began() {
    let mut world = world(1, None);
    let job = submit(&mut world, vec![job("j", 2, 1, 60)]);
    let plan = plan_round(&mut world, NOW);
    go(&mut world, NOW, plan.into_event());
    let later = NOW + 45 * MINUTE_MS;
    let at = match predict(world.clone(), later, task(job, 1), Bounds::default()).unwrap() {
        Prediction::Starts { at, .. } => at,
        other => panic!("{other:?}"),
    };
    assert!(
        (0..10_000).contains(&(at - (NOW + 60 * MINUTE_MS))),
        "{at:?}"
    );
}

#[test]
fn work_behind_other_work_is_predicted() {
    let mut world = world(2, None);
    let second = JobSpec {
        after: vec![After::ok("a")],
        ..job("b", 1, 2, 10)
    };
    let first = submit(&mut world, vec![job("a", 4, 1, 30), second]);
    let wait_ms = starts_after(&world, task(JobId(first.0 + 1), 0));
    assert!(
        (60 * MINUTE_MS..60 * MINUTE_MS + 30_000).contains(&wait_ms),
        "{wait_ms}"
    );
}

#[test]
fn a_contract_that_begins_is_waited_for() {
    let contract = Contract {
        start: NOW + 5 * 60 * MINUTE_MS,
        end: NOW + 100 * 60 * MINUTE_MS,
        price_micro_eur_per_core_hour: 1,
        budget_micro_eur: None,
    };
    let mut world = world(2, Some(contract));
    let job = submit(&mut world, vec![job("j", 1, 1, 60)]);
    let wait_ms = starts_after(&world, task(job, 0));
    assert!(
        (300 * MINUTE_MS..303 * MINUTE_MS).contains(&wait_ms),
        "{wait_ms}"
    );
}

#[test]
fn what_fits_nowhere_never_starts() {
    let mut world = world(2, None);
    let wide = submit(&mut world, vec![job("wide", 1, 4, 60)]);
    assert_eq!(
        predicted(&world, task(wide, 0)),
        Prediction::Never { from: NOW }
    );
    // Nor while others run, which end at last.
    submit(&mut world, vec![job("j", 2, 1, 60)]);
    assert!(matches!(predicted(&world, task(wide, 0)), Prediction::Never { from } if from > NOW));
}

#[test]
fn bounds_are_told() {
    let mut world = world(1, None);
    let job = submit(&mut world, vec![job("j", 100, 1, 60)]);
    let hours = |horizon: i64| Bounds {
        horizon_ms: horizon * 60 * MINUTE_MS,
        ..Bounds::default()
    };
    let answer = |bounds| predict(world.clone(), NOW, task(job, 99), bounds).unwrap();
    let until = NOW + 48 * 60 * MINUTE_MS;
    let bound = Bound::Horizon;
    assert_eq!(answer(hours(48)), Prediction::NotBefore { until, bound });
    let few = Bounds {
        rounds_max: 5,
        ..Bounds::default()
    };
    let cut = answer(few);
    assert!(
        matches!(
            cut,
            Prediction::NotBefore {
                bound: Bound::Work,
                ..
            }
        ),
        "{cut:?}"
    );
    assert!(matches!(answer(hours(200)), Prediction::Starts { .. }));
}

/// Five days of half hours take few rounds, whatever ends on the way.
#[test]
fn the_work_grows_with_the_logarithm_of_the_wait() {
    let mut world = world(4, None);
    let job = submit(&mut world, vec![job("j", 1_000, 1, 30)]);
    let mut forecast = Forecast::new(world, NOW, task(job, 999), Bounds::default()).unwrap();
    let found = loop {
        if let Some(found) = forecast.step() {
            break found;
        }
    };
    assert!(matches!(found, Prediction::Starts { .. }), "{found:?}");
    assert!(forecast.rounds < 1_200, "{} rounds", forecast.rounds);
}

#[test]
fn what_does_not_wait_is_refused() {
    let mut world = world(1, None);
    let job = submit(&mut world, vec![job("j", 2, 1, 60)]);
    let plan = plan_round(&mut world, NOW);
    go(&mut world, NOW, plan.into_event());
    let hold = Event::TasksChanged {
        verb: Verb::Hold,
        selection: Selection::Job(job, Some([(1, 1)].into_iter().collect())),
        by: "a".into(),
        reason: String::new(),
    };
    go(&mut world, NOW, hold);
    for index in [0, 1] {
        let refused = predict(world.clone(), NOW, task(job, index), Bounds::default());
        assert!(
            matches!(refused, Err(Rejected::Invalid { .. })),
            "{refused:?}"
        );
    }
    let unknown = predict(world, NOW, task(JobId(99), 0), Bounds::default());
    assert!(
        matches!(unknown, Err(Rejected::UnknownJob(_))),
        "{unknown:?}"
    );
}
