//! The core: whole rounds and their commits, at sizes that each line says.
//!
//! `cargo bench --bench core` prints medians; `-- --quick` runs small sizes once, to see
//! that the benches work. Seeds are fixed; nothing is asserted about time.
//!
//! - *wide*: many sites with nodes of four kinds each, a three-level tree of queues with arrays
//!   of up to 2,000 requirement classes: the first round on the empty nodes, the round
//!   after it when nothing has changed, rounds until nothing fits, and the round after
//!   1,000 ends.
//! - *flat*: nodes of 32 cores full of one-core tasks of ten classes: nothing has
//!   changed, 1 % ended, all ended.
//! - *reclaim*: the same full nodes, when a queue with a guarantee comes.

use jeroboam_core::event::Event;
use jeroboam_core::ids::LeaseId;
use jeroboam_core::job::{AttemptEnd, Outcome};
use jeroboam_core::policy::Policy;
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::Resources;
use jeroboam_core::round::plan_round;
use jeroboam_core::site::{NodeReport, SiteSpec};
use jeroboam_core::spec::{BatchSpec, Coe, JobSpec, Needs};
use jeroboam_core::time::{HOUR_MS, TimeMs};
use jeroboam_core::world::World;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const START: TimeMs = TimeMs(1_000_000_000_000);
/// Kinds of nodes at one site.
const KINDS: usize = 4;

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    if quick {
        wide(&Wide {
            sites: 4,
            nodes: 200,
            queues: [2, 2, 2],
            arrays: 40,
            tasks: 20,
            classes: 20,
            placements: 100,
            ends: 20,
        });
        flat(20);
        reclaim(20, 4);
        return;
    }
    wide(&Wide {
        sites: 200,
        nodes: 100_000,
        queues: [5, 8, 5],
        arrays: 5_000,
        tasks: 200,
        classes: 2_000,
        placements: 50_000,
        ends: 1_000,
    });
    wide(&Wide {
        sites: 200,
        nodes: 100_000,
        queues: [10, 20, 25],
        arrays: 5_000,
        tasks: 200,
        classes: 2_000,
        placements: 50_000,
        ends: 1_000,
    });
    flat(1_000);
    reclaim(1_000, 64);
}

struct Wide {
    sites: u32,
    nodes: u32,
    /// Per level: VOs, groups of each, users of each.
    queues: [u32; 3],
    arrays: u32,
    tasks: u32,
    classes: u32,
    /// Of one round, at most.
    placements: u32,
    ends: usize,
}

fn wide(size: &Wide) {
    let users: u32 = size.queues.iter().product();
    println!(
        "wide: {} nodes at {} sites, {users} user queues, {} queued in {} arrays of {} classes, at most {} placements a round",
        size.nodes,
        size.sites,
        size.arrays * size.tasks,
        size.arrays,
        size.classes,
        size.placements
    );
    let mut world = founded(size.placements);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for site in 0..size.sites {
        let kinds: Vec<NodeReport> = (0..KINDS).map(|_| kind(&mut rng)).collect();
        let nodes = (0..size.nodes / size.sites).map(|number| NodeReport {
            name: format!("n{number}"),
            ..kinds[rng.random_range(0..kinds.len())].clone()
        });
        join(&mut world, &format!("site-{site}"), nodes.collect());
    }
    let leaves = tree(&mut world, size.queues);
    let classes: Vec<Needs> = (0..size.classes).map(|_| needs(&mut rng)).collect();
    let started = Instant::now();
    for array in 0..size.arrays {
        let class = &classes[rng.random_range(0..classes.len())];
        submit(
            &mut world,
            &leaves[array as usize % leaves.len()],
            array,
            size.tasks,
            class.clone(),
        );
    }
    said("submission of all", started.elapsed(), "");
    let (placed, _) = round(&mut world, "first round");
    let mut rounds = 1;
    let mut all = placed;
    let started = Instant::now();
    loop {
        let now = world.now() + 1;
        let plan = plan_round(&mut world, now);
        rounds += 1;
        all += plan.placements.len();
        if plan.is_empty() && plan.complete {
            break;
        }
        apply(&mut world, plan.into_event());
    }
    said(
        "rounds until nothing fits",
        started.elapsed(),
        &format!("{rounds} rounds, {all} placed"),
    );
    idle(&mut world);
    end_some(&mut world, size.ends, &mut rng);
    round(&mut world, &format!("round after {} ends", size.ends));
}

fn flat(nodes: u32) {
    println!(
        "flat: {nodes} nodes x 32 cores, {} one-core tasks of 10 classes",
        nodes * 32
    );
    let (mut world, mut rng) = full(nodes);
    idle(&mut world);
    let all = nodes as usize * 32;
    end_some(&mut world, all / 100, &mut rng);
    round(&mut world, "round after 1 % ended");
    end_some(&mut world, all, &mut rng);
    round(&mut world, "round after all ended");
}

fn reclaim(nodes: u32, claims: u32) {
    println!(
        "reclaim: {nodes} nodes x 32 cores full of borrowers, {claims} one-core tasks of a queue that is guaranteed them"
    );
    let (mut world, _) = full(nodes);
    let guaranteed = QueueSpec {
        guarantee: Resources::of(i64::from(claims) * 1_000, 0, 0, 0),
        submitters: BTreeSet::from(["*".to_string()]),
        ..QueueSpec::new("guaranteed", 1)
    };
    apply(&mut world, Event::QueueCreated(guaranteed));
    submit(&mut world, "guaranteed", 1_000, claims, one_core(0));
    let now = world.now() + HOUR_MS;
    let started = Instant::now();
    let plan = plan_round(&mut world, now);
    said(
        "round",
        started.elapsed(),
        &format!("{} preempted", plan.preemptions.len()),
    );
}

/// Nodes full of one-core tasks, and as many again waiting.
fn full(nodes: u32) -> (World, ChaCha8Rng) {
    let mut world = founded(1_000_000);
    let reports = (0..nodes)
        .map(|node| self::node(node, [32, 128, 0]))
        .collect();
    join(&mut world, "site", reports);
    let leaves = tree(&mut world, [2, 2, 5]);
    for array in 0..20 {
        let needs = one_core(i64::from(array) % 10);
        let tasks = nodes * 32 / 10;
        submit(&mut world, &leaves[array as usize], array, tasks, needs);
    }
    round(&mut world, "first fill");
    (world, ChaCha8Rng::seed_from_u64(2))
}

/// Plans and commits one round; how many it placed, and how long both took.
fn round(world: &mut World, name: &str) -> (usize, Duration) {
    let now = world.now() + 1;
    let started = Instant::now();
    let plan = plan_round(world, now);
    let planned = started.elapsed();
    let placed = plan.placements.len();
    let kept = plan.reservations.as_ref().map_or(0, Vec::len);
    if !plan.is_empty() {
        apply(world, plan.into_event());
    }
    let all = started.elapsed();
    let detail = format!("{placed} placed, {kept} reserved; {planned:?} of it planning");
    said(name, all, &detail);
    (placed, all)
}

/// Nothing has changed: the median of many rounds.
fn idle(world: &mut World) {
    let mut times: Vec<Duration> = (0..101)
        .map(|_| {
            let now = world.now() + 1;
            let started = Instant::now();
            let plan = plan_round(world, now);
            let elapsed = started.elapsed();
            if !plan.is_empty() {
                apply(world, plan.into_event());
            }
            elapsed
        })
        .collect();
    times.sort();
    said(
        "round in which nothing has changed",
        times[50],
        "median of 101",
    );
}

fn said(name: &str, elapsed: Duration, detail: &str) {
    println!("  {name}: {elapsed:?} {detail}");
}

fn end_some(world: &mut World, count: usize, rng: &mut ChaCha8Rng) {
    let mut open: Vec<LeaseId> = Vec::new();
    for site in 0..world.sites().len() as u32 {
        open.extend(world.leases_at(jeroboam_core::ids::SiteId(site)));
    }
    let count = count.min(open.len());
    let started = Instant::now();
    for _ in 0..count {
        let lease = open.swap_remove(rng.random_range(0..open.len()));
        let end = AttemptEnd::bare(Outcome::Exit(0));
        apply(world, Event::AttemptEnded { lease, end });
    }
    let each = started.elapsed() / count.max(1) as u32;
    said("apply of one end", each, &format!("mean of {count}"));
}

fn apply(world: &mut World, event: Event) {
    let now = world.now();
    world
        .apply(now, &event)
        .expect("the bench's events are accepted");
}

fn founded(placements: u32) -> World {
    let mut world = World::default();
    let founded = Event::Founded {
        federation: "bench".into(),
        lineage: 1,
    };
    world
        .apply(START, &founded)
        .expect("a new World is founded");
    let policy = Policy {
        placements_per_round_max: placements,
        ..Policy::default()
    };
    apply(&mut world, Event::PolicyChanged(policy));
    world
}

fn join(world: &mut World, name: &str, nodes: Vec<NodeReport>) {
    let spec = SiteSpec {
        name: name.into(),
        region: String::new(),
        contract: None,
    };
    apply(world, Event::SiteDeclared(spec));
    let opened = Event::SessionOpened {
        site: name.into(),
        session: 1,
        incarnation: "a".into(),
        agent_version: String::new(),
        leases: BTreeSet::new(),
    };
    apply(world, opened);
    let reported = Event::CapacityReported {
        site: name.into(),
        session: 1,
        full: true,
        nodes,
        removed: vec![],
    };
    apply(world, reported);
}

/// 8 to 128 cores, 2 or 4 GiB a core, gpus on one kind in five.
fn kind(rng: &mut ChaCha8Rng) -> NodeReport {
    let cores = [8, 16, 32, 64, 128][rng.random_range(0..5)];
    let memory = cores * [2, 4][rng.random_range(0..2)];
    let gpus = if rng.random_range(0..5) == 0 { 4 } else { 0 };
    let mut report = node(0, [cores, memory, gpus]);
    let kind = format!("k{}", rng.random_range(0..4));
    report.labels.insert("kind".into(), kind);
    report
}

/// Cores, GiB, gpus.
fn node(number: u32, [cores, memory, gpus]: [i64; 3]) -> NodeReport {
    NodeReport {
        name: format!("n{number}"),
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: String::new(),
        runtimes: Vec::new(),
        capacity: Resources::of(cores * 1_000, memory * 1_024, 0, gpus),
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        speed_milli: 10_000,
        schedulable: true,
    }
}

/// VOs, groups and users of unequal weights; the names of the users' queues.
fn tree(world: &mut World, [vos, groups, users]: [u32; 3]) -> Vec<String> {
    let mut leaves = Vec::new();
    let mut add = |name: String, weight: u32| {
        let spec = QueueSpec {
            submitters: BTreeSet::from(["*".to_string()]),
            ..QueueSpec::new(name.clone(), weight)
        };
        apply(world, Event::QueueCreated(spec));
        name
    };
    for vo in 0..vos {
        let vo = add(format!("vo{vo}"), 1 + vo % 3);
        for group in 0..groups {
            let group = add(format!("{vo}.g{group}"), 1 + group % 3);
            for user in 0..users {
                leaves.push(add(format!("{group}.u{user}"), 1 + user % 2));
            }
        }
    }
    leaves
}

/// 1 to 32 cores, 1 to 4.9 GiB a core, one in twenty with a gpu, one in five for one label.
fn needs(rng: &mut ChaCha8Rng) -> Needs {
    let cores = [1, 1, 1, 2, 4, 4, 8, 8, 16, 32][rng.random_range(0..10)];
    let memory = cores * rng.random_range(1_024..5_000);
    let gpu = i64::from(rng.random_range(0..20) == 0);
    let mut needs = one_core(0);
    needs.resources = Resources::of(cores * 1_000, memory, 0, gpu);
    if rng.random_range(0..5) == 0 {
        let kind = format!("k{}", rng.random_range(0..4));
        needs.labels.insert("kind".into(), kind);
    }
    needs
}

fn one_core(class: i64) -> Needs {
    Needs::new(Resources::of(1_000, 1_024 + class, 0, 0), HOUR_MS)
}

fn submit(world: &mut World, queue: &str, number: u32, count: u32, needs: Needs) {
    let job = JobSpec {
        count,
        ..JobSpec::new("work", needs)
    };
    let event = Event::BatchSubmitted {
        request_id: format!("{queue}-{number}"),
        digest: [0; 32],
        by: "bench".into(),
        spec: BatchSpec {
            name: "bench".into(),
            queue: queue.into(),
            jobs: vec![job],
        },
    };
    apply(world, event);
}
