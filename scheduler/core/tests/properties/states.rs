//! Small random states for the order and the shares: a tree, a pool, a past, work of all kinds.

use jeroboam_core::event::{Event, QueueChange};
use jeroboam_core::round::plan_round;
use jeroboam_core::spec::BatchSpec;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::act::{self, JobAct};
use crate::make;

/// A state in small numbers.
#[derive(Debug, Clone)]
pub struct State {
    /// Parent among the earlier queues (0 is the root) and weight.
    queues: Vec<(u8, u32, bool)>,
    nodes: Vec<(u8, u8, u8, u8)>,
    /// Queue, job, hours before it is submitted.
    batches: Vec<(u8, JobAct, u8)>,
    /// Nodes after the past, so that the pool may have shrunk.
    later: Option<Vec<(u8, u8, u8, u8)>>,
}

/// Any state.
pub fn state() -> impl Strategy<Value = State> {
    let weight = prop_oneof![1 => Just(0u32), 6 => 1u32..6, 1 => Just(65_536u32)];
    let queues = vec((any::<u8>(), weight, prop::bool::weighted(0.1)), 1..7);
    let nodes = || vec((0u8..4, 0u8..20, 0u8..20, 0u8..4), 1..4);
    let batches = vec(
        (any::<u8>(), act::job(), prop_oneof![Just(0u8), 0u8..60]),
        1..10,
    );
    (
        queues,
        nodes(),
        batches,
        prop::option::weighted(0.3, nodes()),
    )
        .prop_map(|(queues, nodes, batches, later)| State {
            queues,
            nodes,
            batches,
            later,
        })
}

/// The World of a state: queues, a site, and a round after each batch but the last three,
/// so that there is something held and remembered.
pub fn build(state: &State) -> (World, TimeMs) {
    let mut world = World::default();
    let mut now = make::START;
    let go = |world: &mut World, now: TimeMs, event: Event| world.apply(now, &event).is_ok();
    go(
        &mut world,
        now,
        Event::SiteDeclared(make::site("meyrin", false, 0)),
    );
    let opened = Event::SessionOpened {
        site: "meyrin".into(),
        session: 1,
        incarnation: "i".into(),
        agent_version: String::new(),
        leases: Default::default(),
    };
    go(&mut world, now, opened);
    go(&mut world, now, capacity(&state.nodes));
    let mut names = vec![String::new()];
    for (position, (parent, weight, _)) in state.queues.iter().enumerate() {
        let parent = &names[usize::from(*parent) % names.len()];
        let name = if parent.is_empty() {
            format!("q{position}")
        } else {
            format!("{parent}.q{position}")
        };
        let mut spec = make::queue(&name);
        spec.weight = *weight;
        go(&mut world, now, Event::QueueCreated(spec));
        names.push(name);
    }
    let leaves: Vec<String> = world
        .queues()
        .iter()
        .filter(|queue| queue.is_leaf())
        .map(|queue| queue.spec.name.clone())
        .collect();
    for (position, (queue, job, hours)) in state.batches.iter().enumerate() {
        now = now + i64::from(*hours) * 3_600_000;
        let mut job = job.clone();
        (job.after, job.site) = (0, 255);
        let spec = BatchSpec {
            name: "b".into(),
            queue: leaves[usize::from(*queue) % leaves.len()].clone(),
            jobs: vec![make::job(0, &job)],
        };
        let submitted = Event::BatchSubmitted {
            request_id: format!("r{position}"),
            digest: [0; 32],
            by: "a".into(),
            spec,
        };
        go(&mut world, now, submitted);
        if position + 3 < state.batches.len() {
            let placements = plan_round(&mut world, now).placements;
            go(&mut world, now, Event::PlanCommitted { placements });
        }
    }
    for (position, (_, _, cordoned)) in state.queues.iter().enumerate().filter(|(_, queue)| queue.2)
    {
        let change = QueueChange {
            cordon: cordoned.then(|| "stop".into()),
            ..QueueChange::default()
        };
        go(
            &mut world,
            now,
            Event::QueueChanged {
                name: names[position + 1].clone(),
                change,
            },
        );
    }
    if let Some(nodes) = &state.later {
        go(&mut world, now, capacity(nodes));
    }
    world.move_on(now);
    (world, now)
}

fn capacity(nodes: &[(u8, u8, u8, u8)]) -> Event {
    let node =
        |(n, cpu, memory, gpu): &(u8, u8, u8, u8)| make::node(format!("n{n}"), *cpu, *memory, *gpu);
    Event::CapacityReported {
        site: "meyrin".into(),
        session: 1,
        full: true,
        nodes: make::named_once(nodes.iter().map(node).collect()),
        removed: Vec::new(),
    }
}
