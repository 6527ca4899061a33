use super::super::builder;
use super::record;
use jeroboam_core::event::{Event, Placement};
use jeroboam_core::ids::{JobId, NodeId, TaskId};
use jeroboam_core::isolation::Isolation;
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::Resources;
use jeroboam_core::site::{NodeReport, SPEED_REFERENCE_MILLI, SiteSpec};
use jeroboam_core::spec::{BatchSpec, Coe, JobSpec, Needs};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

const SITE: &str = "here";

fn node(name: &str) -> NodeReport {
    NodeReport {
        name: name.into(),
        cluster: "hosts".into(),
        coe: Coe::Process,
        kernel: format!("boot of {name}"),
        runtimes: Vec::new(),
        capacity: Resources::of(2_000, 1_024, 0, 0),
        labels: Default::default(),
        taints: Default::default(),
        speed_milli: SPEED_REFERENCE_MILLI,
        schedulable: true,
    }
}

fn submission(queue: &str, count: u32, isolation: Isolation) -> Event {
    let needs = Needs {
        isolation,
        ..Needs::new(Resources::of(1_000, 0, 0, 0), 1_000)
    };
    Event::BatchSubmitted {
        request_id: queue.into(),
        digest: [0; 32],
        by: "alice".into(),
        spec: BatchSpec {
            name: "b".into(),
            queue: queue.into(),
            jobs: vec![JobSpec {
                count,
                ..JobSpec::new("j", needs)
            }],
        },
    }
}

/// Two nodes, of which one tenant has used the first; `medical` asks for three kernels.
fn events() -> Vec<Event> {
    let queue = |name: &str| {
        Event::QueueCreated(QueueSpec {
            submitters: ["*".to_owned()].into(),
            ..QueueSpec::new(name, 1)
        })
    };
    vec![
        Event::SiteDeclared(SiteSpec {
            name: SITE.into(),
            region: String::new(),
            contract: None,
        }),
        Event::SessionOpened {
            site: SITE.into(),
            session: 1,
            incarnation: "i".into(),
            agent_version: String::new(),
            leases: Default::default(),
        },
        reported(vec![node("n1"), node("n2")]),
        queue("cms"),
        queue("medical"),
        submission("cms", 1, Isolation::Shared),
        Event::PlanCommitted {
            placements: vec![Placement {
                task: TaskId {
                    job: JobId(1),
                    index: 0,
                },
                node: NodeId(0),
                way: None,
            }],
            preemptions: Vec::new(),
            reservations: None,
        },
        submission("medical", 3, Isolation::Kernel),
    ]
}

fn reported(nodes: Vec<NodeReport>) -> Event {
    Event::CapacityReported {
        site: SITE.into(),
        session: 1,
        full: true,
        nodes,
        removed: Vec::new(),
    }
}

fn check(world: &World, expected: &[&str]) {
    let recorder = builder().expect("buckets").build_recorder();
    let handle = recorder.handle();
    let page = metrics::with_local_recorder(&recorder, || {
        record(world, TimeMs(1));
        handle.render()
    });
    for line in expected {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[test]
fn what_waits_for_a_kernel_is_told_with_how_many_there_are() {
    let mut world = World::default();
    for event in events() {
        world.apply(TimeMs(1), &event).expect("it fits");
    }
    check(
        &world,
        &[
            "jeroboam_kernels{use=\"unused\"} 1",
            "jeroboam_kernels{use=\"one\"} 1",
            "jeroboam_kernel_wanted_tasks{queue=\"medical\"} 0",
        ],
    );
    // The unused one goes.
    let gone = reported(vec![node("n1")]);
    world.apply(TimeMs(1), &gone).expect("it may");
    check(
        &world,
        &[
            "jeroboam_kernels{use=\"unused\"} 0",
            "jeroboam_kernel_wanted_tasks{queue=\"medical\"} 3",
            "jeroboam_kernel_wanted_tasks{queue=\"cms\"} 0",
            "jeroboam_kernel_wanted{queue=\"medical\",resource=\"cpu\"} 3",
        ],
    );
}
