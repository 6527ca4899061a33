use super::*;
use jeroboam_core::event::{Event, Placement};
use jeroboam_core::ids::{JobId, NodeId};
use jeroboam_core::policy::Policy;
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::Resources;
use jeroboam_core::site::{NodeReport, SPEED_REFERENCE_MILLI, SiteSpec};
use jeroboam_core::spec::{BatchSpec, Coe, JobSpec, Needs, OnLostContact, PriorityClass};

fn job(name: &str, count: u32) -> JobSpec {
    JobSpec {
        name: name.into(),
        count,
        command: vec!["true".into()],
        env: BTreeMap::new(),
        image: String::new(),
        priority_class: PriorityClass::Normal,
        priority: 0,
        needs: Needs {
            resources: Resources::of(1_000, 1, 0, 0),
            walltime_ms: 1_000,
            coe: None,
            labels: BTreeMap::new(),
            tolerations: Default::default(),
            sites: Default::default(),
            sites_excluded: Default::default(),
            ..Needs::new(Resources::ZERO, 0)
        },
        after: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        outputs_of: Vec::new(),
        retries: Vec::new(),
        on_lost_contact: OnLostContact::Restart,
        restartable: true,
        preemptible: true,
        min: 1,
        within: None,
        running_max: None,
    }
}

/// One node of two cores, on which the first task of the first job runs.
fn world(jobs: Vec<JobSpec>) -> World {
    let site = || "here".to_owned();
    let node = NodeReport {
        name: "n1".into(),
        cluster: "hosts".into(),
        coe: Coe::Process,
        kernel: String::new(),
        runtimes: Vec::new(),
        capacity: Resources::of(2_000, 1_024, 0, 0),
        labels: BTreeMap::new(),
        taints: Default::default(),
        speed_milli: SPEED_REFERENCE_MILLI,
        schedulable: true,
    };
    let events = [
        Event::Founded {
            federation: "f".into(),
            lineage: 1,
        },
        Event::SiteDeclared(SiteSpec {
            name: site(),
            region: site(),
            contract: None,
        }),
        Event::SessionOpened {
            site: site(),
            session: 1,
            incarnation: "i".into(),
            agent_version: String::new(),
            leases: Default::default(),
        },
        Event::CapacityReported {
            site: site(),
            session: 1,
            full: false,
            nodes: vec![node],
            removed: Vec::new(),
        },
        Event::QueueCreated(QueueSpec {
            submitters: ["*".to_owned()].into(),
            ..QueueSpec::new("cms", 1)
        }),
        Event::BatchSubmitted {
            request_id: "r".into(),
            digest: [0; 32],
            by: "alice".into(),
            spec: BatchSpec {
                name: "b".into(),
                queue: "cms".into(),
                jobs,
            },
        },
        Event::PlanCommitted {
            placements: vec![Placement {
                way: None,
                task: TaskId {
                    job: JobId(1),
                    index: 0,
                },
                node: NodeId(0),
            }],
            preemptions: Vec::new(),
            reservations: None,
        },
    ];
    let mut world = World::default();
    for event in events {
        world.apply(TimeMs(1_000), &event).expect("it fits");
    }
    world
}

#[test]
fn every_queued_task_is_counted_once() {
    let one = JobSpec {
        running_max: Some(1),
        ..job("one", 5)
    };
    let wide = JobSpec {
        needs: Needs {
            resources: Resources::of(2_000, 1, 0, 0),
            ..job("", 1).needs
        },
        ..job("wide", 3)
    };
    let world = world(vec![one, wide]);
    let mut tasks = BTreeMap::new();
    count(&world, TimeMs(1_000), &mut tasks);
    tasks.retain(|_, count| *count > 0);
    let expected = [("busy", 3), ("running-max", 4)];
    assert_eq!(tasks, expected.into());
}

#[test]
fn what_a_guarantee_keeps_back_is_told_apart_from_its_class() {
    let firm = JobSpec {
        preemptible: false,
        ..job("firm", 2)
    };
    let mut world = world(vec![job("first", 1), firm, job("other", 1)]);
    let policy = Policy {
        non_preemptible_within_guarantee: true,
        ..Policy::default()
    };
    let changed = Event::PolicyChanged(policy);
    world.apply(TimeMs(1_000), &changed).expect("a policy");
    let mut tasks = BTreeMap::new();
    count(&world, TimeMs(1_000), &mut tasks);
    tasks.retain(|_, count| *count > 0);
    let expected = [("beyond-guarantee", 2), ("others-first", 1)];
    assert_eq!(tasks, expected.into());
}
