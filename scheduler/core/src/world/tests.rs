//! That [`World::check`] notices: each invariant broken by hand once. What the
//! World does right is told in scenarios and properties.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::ids::{NodeId, QueueId, TaskId};
use crate::queue::QueueSpec;
use crate::ranges::RangeSet;
use crate::resources::Resources;
use crate::round::plan_round;
use crate::site::{Contract, NodeReport, SiteSpec};
use crate::spec::{After, BatchSpec, Coe, JobSpec, Needs};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

const NOW: TimeMs = TimeMs(1_000_000);

/// One site, two queues, a batch of two jobs of which two tasks hold a place.
fn world() -> World {
    let mut world = World::default();
    let mut go = |event: Event| {
        world.apply(NOW, &event).unwrap();
    };
    let contract = Contract {
        start: TimeMs(0),
        end: TimeMs(i64::MAX),
        price_micro_eur_per_core_hour: 40_000,
        budget_micro_eur: None,
    };
    go(Event::SiteDeclared(SiteSpec {
        name: "cloud".into(),
        region: String::new(),
        contract: Some(contract),
    }));
    go(Event::SessionOpened {
        site: "cloud".into(),
        session: 1,
        incarnation: "i".into(),
        agent_version: String::new(),
        leases: BTreeSet::new(),
    });
    go(Event::CapacityReported {
        site: "cloud".into(),
        session: 1,
        full: true,
        nodes: vec![node("n")],
        removed: Vec::new(),
    });
    for name in ["vo", "vo.leaf"] {
        go(Event::QueueCreated(QueueSpec {
            submitters: ["*".to_string()].into(),
            ..QueueSpec::new(name, 1)
        }));
    }
    go(Event::BatchSubmitted {
        request_id: "r".into(),
        digest: [0; 32],
        by: "alice".into(),
        spec: BatchSpec {
            name: "b".into(),
            queue: "vo.leaf".into(),
            jobs: vec![job("a", &[]), job("b", &["a"])],
        },
    });
    let plan = plan_round(&mut world, NOW);
    assert_eq!(plan.placements.len(), 2);
    world.apply(NOW, &plan.into_event()).unwrap();
    world
}

fn node(name: &str) -> NodeReport {
    NodeReport {
        name: name.into(),
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: String::new(),
        runtimes: Vec::new(),
        capacity: Resources::of(2_000, 1_024, 0, 0),
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        speed_milli: 10_000,
        schedulable: true,
    }
}

/// The site has just these.
fn report(world: &mut World, nodes: Vec<NodeReport>) -> Result<Vec<Effect>, Rejected> {
    let reported = Event::CapacityReported {
        site: "cloud".into(),
        session: 1,
        full: true,
        nodes,
        removed: Vec::new(),
    };
    world.apply(NOW, &reported)
}

fn job(name: &str, after_ok: &[&str]) -> JobSpec {
    JobSpec {
        count: 4,
        after: after_ok.iter().copied().map(After::ok).collect(),
        ..JobSpec::new(name, Needs::new(Resources::of(1_000, 0, 0, 0), 60_000))
    }
}

/// Breaks a sound World and says what the check says.
fn broken(how: impl FnOnce(&mut World)) -> String {
    let mut world = world();
    world.check();
    how(&mut world);
    let caught = catch_unwind(AssertUnwindSafe(|| world.check()));
    let panic = caught.expect_err("the check did not notice");
    let told = panic.downcast::<String>().map(|text| *text);
    told.unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .to_string()
}

fn leaf(world: &mut World) -> &mut crate::queue::Queue {
    world.queues.queue_mut(QueueId(2))
}

fn first(world: &mut World) -> &mut Job {
    world.jobs.get_mut(&JobId(1)).unwrap()
}

#[test]
fn the_check_notices() {
    type Break = (&'static str, fn(&mut World));
    let breaks: [Break; 21] = [
        ("states overlap", |w| {
            first(w).tasks.held = RangeSet::up_to(1).into()
        }),
        ("indexes out of range", |w| {
            let tasks = &mut first(w).tasks;
            tasks.queued.remove(3);
            tasks.queued.insert(9);
        }),
        ("blocked on nothing", |w| {
            w.jobs.get_mut(&JobId(2)).unwrap().links.waits_for.clear();
        }),
        ("goes before what it waits for", |w| {
            first(w).links.waits_for.insert(JobId(2));
        }),
        ("attempt number", |w| first(w).tasks.past.clear()),
        ("vo.leaf: sums", |w| leaf(w).queued += 1),
        ("vo.leaf: sums", |w| leaf(w).waiting -= 1),
        ("vo.leaf: sums", |w| leaf(w).held = Resources::ZERO),
        ("vo: sums", |w| w.queues.queue_mut(QueueId(1)).running = 0),
        ("vo.leaf: pending", |w| {
            leaf(w)
                .pending
                .values_mut()
                .for_each(|pending| pending.tasks += 1);
        }),
        ("vo.leaf: pending", |w| {
            leaf(w)
                .pending
                .values_mut()
                .for_each(|pending| pending.jobs.clear());
        }),
        ("no leaf lists", |w| leaf(w).pending.clear()),
        ("n: held", |w| w.nodes[0].running = 0),
        ("cloud: held", |w| w.sites[0].held = Resources::ZERO),
        ("cloud: capacity", |w| w.sites[0].capacity = Resources::ZERO),
        ("cloud: lists n", |w| w.nodes[0].report.name = "m".into()),
        ("free ids of nodes", |w| w.free_nodes.push(NodeId(0))),
        ("cloud: reserved cost", |w| {
            w.sites[0].cost_reserved_micro_eur += 1
        }),
        ("unfinished jobs", |w| {
            w.batches.get_mut(&BatchId(1)).unwrap().unfinished = 1;
        }),
        ("batch-1: finished", |w| {
            w.batches.get_mut(&BatchId(1)).unwrap().finished = Some(NOW);
        }),
        ("batch-1: request", |w| w.requests.clear()),
    ];
    for (expected, how) in breaks {
        let told = broken(how);
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

/// An index of the World that names a node or task twice does not pass either.
#[test]
fn a_moved_attempt_is_noticed() {
    let task = TaskId {
        job: JobId(1),
        index: 0,
    };
    let mut world = world();
    let moved = &mut world.jobs.get_mut(&task.job).unwrap().tasks.active;
    assert_eq!(moved[&task.index].node, NodeId(0));
    moved.remove(&task.index);
    assert!(catch_unwind(AssertUnwindSafe(|| world.check())).is_err());
}

/// A site may rename its nodes for ever: only what is there or held on counts.
#[test]
fn nodes_are_forgotten_once_nothing_is_held_on_them() {
    let mut world = world();
    let half = |prefix: &str| {
        let names = 0..nodes::NODES_PER_SITE_MAX / 2;
        names.map(|n| node(&format!("{prefix}{n}"))).collect()
    };
    for prefix in ["a", "b", "c"] {
        report(&mut world, half(prefix)).unwrap();
    }
    // `n` is held on.
    assert_eq!(world.nodes.len(), nodes::NODES_PER_SITE_MAX / 2 + 1);
    assert!(world.sites[0].nodes.contains_key("n"));
    report(&mut world, vec![node("a")]).unwrap();
    let open: Vec<_> = world.leases_at(SiteId(0)).collect();
    for lease in open {
        let end = crate::job::AttemptEnd::bare(crate::job::Outcome::Exit(0));
        world
            .apply(NOW, &Event::AttemptEnded { lease, end })
            .unwrap();
    }
    world.check();
    let names: Vec<&str> = world.sites[0].nodes.keys().map(String::as_str).collect();
    assert_eq!(names, ["a"]);
    let more = world.nodes.len() + 1;
    let many = (0..more).map(|n| node(&format!("m{n}"))).collect();
    report(&mut world, many).unwrap();
    world.check();
    assert_eq!(world.nodes.len(), more);
}

#[test]
fn a_report_out_of_bounds_is_refused() {
    let mut world = world();
    let mut refused = |nodes: Vec<NodeReport>| {
        let before = world.clone();
        let rejected = report(&mut world, nodes).unwrap_err();
        assert_eq!(world, before);
        rejected.place().unwrap_or_default().to_string()
    };
    assert_eq!(refused(vec![node("a"), node("b"), node("a")]), "nodes[a]");
    let mut labelled = node("a");
    labelled.labels = (0..1_001).map(|n| (n.to_string(), String::new())).collect();
    assert_eq!(refused(vec![labelled]), "nodes[a].labels");
    let mut tainted = node("a");
    let taint = |n: i32| crate::spec::Taint {
        key: n.to_string(),
        value: String::new(),
    };
    tainted.taints = (0..1_001).map(taint).collect();
    assert_eq!(refused(vec![tainted]), "nodes[a].taints");
    let mut long = node("a");
    long.kernel = "k".repeat(64 * 1024);
    let place = "nodes[a].(names, labels and taints together)";
    assert_eq!(refused(vec![long]), place);
}

fn usages(world: &World) -> Vec<crate::usage::Usage> {
    world.queues.iter().map(|queue| queue.usage).collect()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// A gap passed at once is the same as one passed step by step, up to sixteen
    /// half-lives; a longer one comes to what is held.
    #[test]
    fn gaps_are_folded_whole(hours in 0i64..40) {
        let mut at_once = world();
        at_once.policy.usage_half_life_ms = crate::time::HOUR_MS;
        let mut by_steps = at_once.clone();
        let end = NOW + hours * crate::time::HOUR_MS;
        at_once.move_on(end);
        let mut now = NOW;
        while now < end {
            now = now + STEP_MS;
            by_steps.move_on(now);
        }
        if hours <= 16 {
            proptest::prop_assert_eq!(&at_once, &by_steps);
        } else {
            proptest::prop_assert_eq!(at_once.step_end, by_steps.step_end);
            for (one, other) in usages(&at_once).iter().zip(usages(&by_steps)) {
                let apart = one.average()[0] - other.average()[0];
                proptest::prop_assert!(apart.abs() <= 1, "{one:?} {other:?}");
            }
        }
    }
}

/// Ten thousand years are no longer than a day.
#[test]
fn a_long_gap_takes_no_time() {
    let mut world = world();
    world.move_on(NOW + 10_000 * 365 * 24 * crate::time::HOUR_MS);
    let leaf = leaf(&mut world);
    assert_eq!(leaf.usage.average(), leaf.held);
}
