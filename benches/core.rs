//! The core: rounds and events, at sizes that each name says.
//!
//! `cargo bench` prints medians; `-- --quick` runs small sizes once, to see that
//! the benches work. Seeds are fixed; nothing is asserted about time.

use jeroboam_core::event::Event;
use jeroboam_core::ids::{LeaseId, TaskId};
use jeroboam_core::job::{AttemptEnd, Outcome};
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::Resources;
use jeroboam_core::round::plan_round;
use jeroboam_core::site::{NodeReport, SiteSpec};
use jeroboam_core::spec::{BatchSpec, Coe, JobSpec, Needs, OnLostContact};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

struct Size {
    nodes: u32,
    queues: u32,
    tasks_per_queue: u32,
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    let (sizes, repeats): (&[Size], usize) = if quick {
        (
            &[Size {
                nodes: 20,
                queues: 8,
                tasks_per_queue: 50,
            }],
            1,
        )
    } else {
        let small = Size {
            nodes: 100,
            queues: 40,
            tasks_per_queue: 500,
        };
        let large = Size {
            nodes: 1_000,
            queues: 40,
            tasks_per_queue: 5_000,
        };
        (&[small, large], 5)
    };
    for size in sizes {
        let label = format!(
            "{} nodes x 32 cores, {} queues, {} queued",
            size.nodes,
            size.queues,
            size.queues * size.tasks_per_queue
        );
        let mut times: [Vec<Duration>; 4] = Default::default();
        let mut placed = 0;
        for _ in 0..repeats {
            let mut world = world(size);
            placed = run(&mut world, &mut times);
        }
        let names = [
            "round that fills the nodes",
            "apply of its plan",
            "round in which nothing fits",
            "apply of one end",
        ];
        for (name, times) in names.iter().zip(&mut times) {
            times.sort();
            let median = times[times.len() / 2];
            println!(
                "{label}: {name}: {median:?} (median of {}; {placed} placed)",
                times.len()
            );
        }
    }
}

/// One round on an empty federation, one on the full one, and one end.
fn run(world: &mut World, times: &mut [Vec<Duration>; 4]) -> usize {
    let now = world.now();
    let started = Instant::now();
    let plan = plan_round(world, now);
    times[0].push(started.elapsed());
    let first = plan.placements[0];
    let started = Instant::now();
    apply(world, plan.clone().into_event());
    times[1].push(started.elapsed());
    let started = Instant::now();
    let nothing = plan_round(world, now);
    times[2].push(started.elapsed());
    assert!(
        nothing.placements.is_empty(),
        "the first round filled every node"
    );
    let task: TaskId = first.task;
    let lease = LeaseId {
        lineage: world.lineage(),
        task,
        attempt: 1,
    };
    let end = AttemptEnd::bare(Outcome::Exit(0));
    let started = Instant::now();
    apply(world, Event::AttemptEnded { lease, end });
    times[3].push(started.elapsed());
    plan.placements.len()
}

fn apply(world: &mut World, event: Event) {
    let now = world.now();
    world
        .apply(now, &event)
        .expect("the bench's events are accepted");
}

fn world(size: &Size) -> World {
    let mut world = World::default();
    let start = TimeMs(1_000_000_000_000);
    let founded = Event::Founded {
        federation: "bench".into(),
        lineage: 1,
    };
    world
        .apply(start, &founded)
        .expect("a new World is founded");
    let policy = jeroboam_core::policy::Policy {
        placements_per_round_max: 1_000_000,
        ..Default::default()
    };
    apply(&mut world, Event::PolicyChanged(policy));
    let spec = SiteSpec {
        name: "site".into(),
        region: String::new(),
        contract: None,
    };
    apply(&mut world, Event::SiteDeclared(spec));
    apply(
        &mut world,
        Event::SessionOpened {
            site: "site".into(),
            session: 1,
            incarnation: "a".into(),
            agent_version: String::new(),
            leases: BTreeSet::new(),
        },
    );
    let nodes = (0..size.nodes).map(node).collect();
    let (site, session) = ("site".into(), 1);
    apply(
        &mut world,
        Event::CapacityReported {
            site,
            session,
            full: true,
            nodes,
            removed: vec![],
        },
    );
    for queue in 0..size.queues {
        add_queue(&mut world, queue, size.tasks_per_queue);
    }
    world
}

fn node(number: u32) -> NodeReport {
    NodeReport {
        name: format!("n{number}"),
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: String::new(),
        capacity: Resources::of(32_000, 131_072, 0, 0),
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        speed_milli: 10_000,
        schedulable: true,
    }
}

/// A queue with one array of its own size of task, 1 to 4 cores.
fn add_queue(world: &mut World, number: u32, tasks: u32) {
    let name = format!("q{number}");
    let spec = QueueSpec {
        submitters: BTreeSet::from(["*".to_string()]),
        ..QueueSpec::new(name.clone(), 1 + number % 3)
    };
    apply(world, Event::QueueCreated(spec));
    let cores = i64::from(1 + number % 4);
    let needs = Needs {
        resources: Resources::of(cores * 1_000, cores * 2_048, 0, 0),
        walltime_ms: 3_600_000,
        coe: None,
        labels: BTreeMap::new(),
        tolerations: BTreeSet::new(),
        sites: BTreeSet::new(),
        sites_excluded: BTreeSet::new(),
    };
    let job = JobSpec {
        name: "work".into(),
        count: tasks,
        command: vec!["true".into()],
        env: BTreeMap::new(),
        image: String::new(),
        priority: 0,
        needs,
        after_ok: vec![],
        inputs: vec![],
        outputs: vec![],
        outputs_of: vec![],
        retries: vec![],
        on_lost_contact: OnLostContact::Restart,
        restartable: true,
        preemptible: true,
        min: 1,
        within: None,
        running_max: None,
    };
    let spec = BatchSpec {
        name: "bench".into(),
        queue: name.clone(),
        jobs: vec![job],
    };
    let (request_id, digest, by) = (name, [0; 32], "bench".into());
    apply(
        world,
        Event::BatchSubmitted {
            request_id,
            digest,
            by,
            spec,
        },
    );
}
