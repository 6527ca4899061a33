//! The node index alone: questions and changes, at sizes that each line says.
//!
//! `cargo bench --bench index` prints medians; `-- --quick` runs a small size once.
//! Three fillings: `empty`; `half`, each node filled to a random level; `full5`, every
//! node filled with what fits, then one in twenty of its tasks ended. Classes are
//! interleaved, 200 at a time. Neither the order of a round nor the commit of its
//! plan is measured here. Seeds are fixed; nothing is asserted about time.

use jeroboam_core::event::Event;
use jeroboam_core::ids::{ClassId, NodeId, SiteId};
use jeroboam_core::index::NodeIndex;
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::Resources;
use jeroboam_core::site::{NodeReport, SiteSpec};
use jeroboam_core::spec::{BatchSpec, Coe, JobSpec, Needs};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const START: TimeMs = TimeMs(1_000_000_000_000);
/// Classes that take turns, as arrays of as many queues do.
const INTERLEAVED: usize = 200;

struct Size {
    nodes: u32,
    sites: u32,
    classes: usize,
    placements: usize,
    ends: usize,
}

/// What stands on the nodes, beside what the World knows.
type Running = Vec<(NodeId, Resources)>;

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    let size = if quick {
        Size {
            nodes: 2_000,
            sites: 10,
            classes: 100,
            placements: 1_000,
            ends: 100,
        }
    } else {
        Size {
            nodes: 100_000,
            sites: 200,
            classes: 2_000,
            placements: 50_000,
            ends: 1_000,
        }
    };
    let repeats = if quick { 1 } else { 3 };
    let mut world = world(&size);
    let started = Instant::now();
    world.with_index(|world, index| index.free(world, NodeId(0)));
    println!(
        "{} nodes at {} sites, {} classes: built in {:?}",
        size.nodes,
        size.sites,
        size.classes,
        started.elapsed()
    );
    for filling in ["empty", "half", "full5"] {
        let mut runs: Vec<Vec<f64>> = Vec::new();
        for _ in 0..repeats {
            runs.push(world.with_index(|world, index| {
                index.clear();
                let figures = run(world, index, &size, filling);
                index.settle();
                figures
            }));
        }
        print(filling, &runs);
    }
}

fn print(filling: &str, runs: &[Vec<f64>]) {
    let names = [
        "placements",
        "ms for them all",
        "ns per question",
        "ns per change",
        "ns per question that found nothing",
        "classes that found nothing",
        "ms after the ends: all classes asked until they fail",
        "placements after the ends",
        "us when nothing changed, all classes asked",
        "bytes per node",
    ];
    for (at, name) in names.iter().enumerate() {
        let mut values: Vec<f64> = runs.iter().map(|run| run[at]).collect();
        values.sort_by(f64::total_cmp);
        println!(
            "{filling}: {name}: {:.1} ({:.1} to {:.1})",
            values[values.len() / 2],
            values[0],
            values[values.len() - 1]
        );
    }
}

fn run(world: &World, index: &mut NodeIndex, size: &Size, filling: &str) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let classes: Vec<ClassId> = world.classes().iter().collect();
    let mut running = fill(world, index, &classes, filling, &mut rng);
    let mut meter = Meter::default();
    let started = Instant::now();
    let mut alive: Vec<ClassId> = classes.clone();
    let mut at = 0;
    while meter.placed < size.placements && !alive.is_empty() {
        let turn = at % alive.len().min(INTERLEAVED);
        // An array of 200 tasks, then its queue's next.
        if at % (INTERLEAVED * 200) == 0 && alive.len() > INTERLEAVED {
            alive.rotate_left(INTERLEAVED);
        }
        at += 1;
        if !meter.place(world, index, alive[turn], &mut running) {
            alive.remove(turn);
        }
    }
    let total = started.elapsed();
    let mut figures = vec![
        meter.placed as f64,
        total.as_secs_f64() * 1e3,
        meter.per_found(),
        meter.changes.as_nanos() as f64 / meter.placed.max(1) as f64,
        meter.missing.as_nanos() as f64 / meter.missed.max(1) as f64,
        meter.missed as f64,
    ];
    for class in &classes {
        while filling == "full5" && meter.place(world, index, *class, &mut running) {}
    }
    for _ in 0..size.ends.min(running.len()) {
        let (node, amounts) = running.swap_remove(rng.random_range(0..running.len()));
        index.give(world, node, &amounts, 0);
    }
    let (before, started) = (meter.placed, Instant::now());
    for class in &classes {
        while filling == "full5" && meter.place(world, index, *class, &mut running) {}
    }
    // Those asked first were not asked after the last placements.
    for class in &classes {
        while filling == "full5" && meter.place(world, index, *class, &mut running) {}
    }
    figures.push(started.elapsed().as_secs_f64() * 1e3);
    figures.push((meter.placed - before) as f64);
    let started = Instant::now();
    let known = classes
        .iter()
        .filter(|class| index.fails(world, START, **class));
    let known = known.count();
    figures.push(started.elapsed().as_secs_f64() * 1e6);
    assert!(
        filling != "full5" || known == classes.len(),
        "{known} known to fail"
    );
    figures.push(index.size_bytes() as f64 / f64::from(size.nodes));
    figures
}

#[derive(Default)]
struct Meter {
    placed: usize,
    missed: usize,
    finding: Duration,
    missing: Duration,
    changes: Duration,
}

impl Meter {
    fn place(
        &mut self,
        world: &World,
        index: &mut NodeIndex,
        class: ClassId,
        running: &mut Running,
    ) -> bool {
        let asked = Instant::now();
        let Some(node) = index.best(world, START, class) else {
            self.missing += asked.elapsed();
            self.missed += 1;
            return false;
        };
        let found = Instant::now();
        let amounts = world.classes().needs(class).resources;
        index.take(world, node, &amounts, 0);
        self.changes += found.elapsed();
        self.finding += found - asked;
        self.placed += 1;
        running.push((node, amounts));
        true
    }

    fn per_found(&self) -> f64 {
        self.finding.as_nanos() as f64 / self.placed.max(1) as f64
    }
}

/// Puts tasks on the nodes, without asking the index where.
fn fill(
    world: &World,
    index: &mut NodeIndex,
    classes: &[ClassId],
    filling: &str,
    rng: &mut ChaCha8Rng,
) -> Running {
    let mut running = Running::new();
    for node in world.nodes() {
        let capacity = node.report.capacity;
        let level = match filling {
            "empty" => continue,
            "half" => rng.random_range(0..1_000),
            _ => 1_000,
        };
        let room = Resources(capacity.0.map(|amount| amount * level / 1_000));
        let (mut held, mut misses) = (Resources::ZERO, 0);
        while misses < 6 {
            let class = classes[rng.random_range(0..classes.len())];
            let amounts = world.classes().needs(class).resources;
            if amounts.plus(&held).fits_in(&room) {
                held += &amounts;
                if filling == "half" || rng.random_range(0..20) > 0 {
                    running.push((node.id, amounts));
                }
            } else {
                misses += 1;
            }
        }
    }
    for (node, amounts) in &running {
        index.take(world, *node, amounts, 0);
    }
    running
}

fn apply(world: &mut World, event: Event) {
    world
        .apply(START, &event)
        .expect("the bench's events are accepted");
}

/// Sites of nodes of 20 shapes and 50 kinds, and one job of each class.
fn world(size: &Size) -> World {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut world = World::default();
    apply(
        &mut world,
        Event::Founded {
            federation: "bench".into(),
            lineage: 1,
        },
    );
    for site in (0..size.sites).map(SiteId) {
        let name = format!("site{}", site.0);
        apply(
            &mut world,
            Event::SiteDeclared(SiteSpec {
                name: name.clone(),
                region: String::new(),
                contract: None,
            }),
        );
        apply(
            &mut world,
            Event::SessionOpened {
                site: name.clone(),
                session: 1,
                incarnation: "a".into(),
                agent_version: String::new(),
                leases: BTreeSet::new(),
            },
        );
        // A site bought its nodes in a few lots.
        let lots: Vec<u32> = (0..rng.random_range(2..6))
            .map(|_| rng.random_range(0..50))
            .collect();
        let nodes = (0..size.nodes / size.sites)
            .map(|number| node(number, lots[rng.random_range(0..lots.len())], &mut rng));
        let event = Event::CapacityReported {
            site: name,
            session: 1,
            full: true,
            nodes: nodes.collect(),
            removed: vec![],
        };
        apply(&mut world, event);
    }
    submit(&mut world, size, &mut rng);
    world
}

fn node(number: u32, kind: u32, rng: &mut ChaCha8Rng) -> NodeReport {
    let shape = kind % 20;
    let cores = [16, 32, 48, 64, 96, 128][shape as usize % 6];
    let memory_gib = i64::from(cores) * [2, 3, 4, 8][shape as usize / 5];
    // Kernels leave a few MiB more or less.
    let memory = memory_gib * 1_024 - 600 - rng.random_range(0..8);
    let gpu = if shape >= 17 { 4 } else { 0 };
    let labels = [
        ("kind".to_string(), format!("k{kind}")),
        ("host".to_string(), format!("n{number}")),
    ];
    NodeReport {
        name: format!("n{number}"),
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: String::new(),
        runtimes: Vec::new(),
        capacity: Resources::of(i64::from(cores) * 1_000, memory, 500_000, gpu),
        labels: labels.into(),
        taints: BTreeSet::new(),
        speed_milli: 10_000,
        schedulable: true,
    }
}

fn submit(world: &mut World, size: &Size, rng: &mut ChaCha8Rng) {
    apply(
        world,
        Event::QueueCreated(QueueSpec {
            submitters: BTreeSet::from(["*".to_string()]),
            ..QueueSpec::new("q", 1)
        }),
    );
    let jobs = (0..size.classes).map(|number| job(number, size, rng));
    let spec = BatchSpec {
        name: "bench".into(),
        queue: "q".into(),
        jobs: jobs.collect(),
    };
    let (request_id, digest, by) = ("r".into(), [0; 32], "bench".into());
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

/// 1 to 32 cores of 1 to 4.9 GiB; one in twenty with a GPU, one in five for some
/// kinds of nodes only, one in ten for five sites only.
fn job(number: usize, size: &Size, rng: &mut ChaCha8Rng) -> JobSpec {
    let cores = [1, 1, 1, 2, 4, 4, 8, 8, 16, 32][rng.random_range(0..10)];
    let memory = cores * rng.random_range(1_024..5_000);
    let gpu = i64::from(rng.random_range(0..20) == 0);
    let mut labels = BTreeMap::new();
    if rng.random_range(0..5) == 0 {
        labels.insert("kind".into(), format!("k{}", rng.random_range(0..50)));
    }
    let mut sites = BTreeSet::new();
    if rng.random_range(0..10) == 0 {
        sites.extend((0..5).map(|_| format!("site{}", rng.random_range(0..size.sites))));
    }
    let needs = Needs {
        resources: Resources::of(cores * 1_000, memory, 1_000, gpu),
        // Tells classes apart that ask for the same otherwise.
        walltime_ms: 3_600_000 + number as i64,
        coe: None,
        labels,
        tolerations: BTreeSet::new(),
        sites,
        sites_excluded: BTreeSet::new(),
        ..Needs::new(Resources::ZERO, 0)
    };
    JobSpec::new(format!("work{number}"), needs)
}
