//! What the peer answers: a small federation that never changes.

use std::collections::HashMap;

use jeroboam_proto::v1;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// 2026-03-01T08:00:00Z
const MORNING_MS: i64 = 1_772_352_000_000;

fn resources(cpu_milli: i64, memory_mib: i64) -> Option<v1::Resources> {
    Some(v1::Resources {
        cpu_milli,
        memory_mib,
        ..Default::default()
    })
}

fn counted(state: v1::TaskState, count: u32) -> v1::StateCount {
    v1::StateCount {
        state: state.into(),
        count,
    }
}

fn no_memory() -> Option<v1::WaitingReason> {
    Some(v1::WaitingReason {
        code: "no_room".into(),
        text: "no node has 64GiB of memory free".into(),
        remedy: "ask for at most 32GiB, or wait".into(),
    })
}

pub fn refusal() -> Status {
    let remedy = "see `jero batches` and `jero batches --finished`".to_owned();
    let metadata = HashMap::from([("remedy".to_owned(), remedy)]);
    let details = ErrorDetails::with_error_info("UNKNOWN_BATCH", "jeroboam", metadata);
    Status::with_error_details(Code::NotFound, "there is no batch-99", details)
}

pub fn batch(id: u64, state: v1::TaskState) -> v1::Batch {
    v1::Batch {
        id,
        name: "higgs".into(),
        queue: "cms.higgs".into(),
        submitted_by: "alice".into(),
        submitted_ms: MORNING_MS,
        jobs: 1,
        tasks: vec![counted(state, 2)],
        finished_ms: MORNING_MS + 60_000,
        core_ms: 5_430_000,
        cost_micro_eur: 67_875,
    }
}

pub fn job(id: u64, batch: u64) -> v1::Job {
    v1::Job {
        id,
        batch,
        name: "one".into(),
        queue: "cms.higgs".into(),
        count: 10,
        tasks: vec![
            counted(v1::TaskState::Queued, 7),
            counted(v1::TaskState::Failed, 3),
        ],
        submitted_ms: MORNING_MS,
        started_ms: MORNING_MS + 1_000,
        core_ms: 36_000_000,
        waiting: no_memory(),
        resources: resources(1_500, 65_536),
        submitted_by: "alice".into(),
        wait_sum_ms: 9_000,
        started_tasks: 3,
        by_hand: Some(v1::ByHand {
            verb: v1::change_request::Verb::Cancel.into(),
            by: "bob".into(),
            why: "wrong input".into(),
            at_ms: MORNING_MS,
            priority: 0,
        }),
        ..Default::default()
    }
}

pub fn description() -> v1::DescribeJobReply {
    let elements = |state: v1::TaskState, reason: &str, first, last| v1::StateRanges {
        state: state.into(),
        reason: reason.into(),
        ranges: vec![v1::Range { first, last }],
        by: String::new(),
        why: String::new(),
    };
    let cancelled = v1::StateRanges {
        by: "bob".into(),
        why: "wrong input".into(),
        ..elements(v1::TaskState::Cancelled, "user", 10, 11)
    };
    let spec = v1::JobSpec {
        command: ["/bin/sh", "-c", "echo a\necho b"]
            .map(str::to_owned)
            .into(),
        walltime_ms: 5_400_000,
        min: 4,
        within: Some(v1::Within {
            what: Some(v1::within::What::Label("rack".into())),
        }),
        running_max: 8,
        ..Default::default()
    };
    v1::DescribeJobReply {
        job: Some(job(17, 3)),
        spec: Some(spec),
        states: vec![
            elements(v1::TaskState::Queued, "", 3, 9),
            elements(v1::TaskState::Failed, "exit:3", 0, 2),
            cancelled,
        ],
        attempts: vec![
            attempt(0, v1::outcome::Kind::ExitCode(3)),
            {
                let why = "the program `jro` is not there".to_owned();
                attempt(1, v1::outcome::Kind::StartFailed(why))
            },
            attempt(2, v1::outcome::Kind::Preempted(21)),
            {
                let who = v1::PreemptedByHand {
                    by: "alice".into(),
                    reason: "the kernel".into(),
                };
                attempt(3, v1::outcome::Kind::PreemptedByHand(who))
            },
        ],
        altered: vec![v1::Altered {
            ranges: vec![v1::Range { first: 4, last: 5 }],
            resources: Some(v1::Resources {
                memory_mib: 3_072,
                ..Default::default()
            }),
            avoided: vec!["meyrin/n3".into(), "wigner".into()],
        }],
    }
}

fn attempt(index: u32, kind: v1::outcome::Kind) -> v1::Attempt {
    let usage = v1::Usage {
        started_ms: MORNING_MS,
        ended_ms: MORNING_MS + 65_432,
        cpu_ms: 64_000,
        memory_peak_mib: 300,
    };
    v1::Attempt {
        lease: Some(v1::Lease {
            lineage: 1,
            task: Some(v1::Task { job: 17, index }),
            attempt: 2,
        }),
        site: "meyrin".into(),
        node: "n1".into(),
        granted_ms: MORNING_MS,
        ended: Some(v1::Ended {
            outcome: Some(v1::Outcome { kind: Some(kind) }),
            usage: Some(usage),
            ..Default::default()
        }),
        ended_ms: MORNING_MS + 66_000,
        ..Default::default()
    }
}

pub fn explanation(task: Option<v1::Task>) -> v1::ExplainReply {
    let step = |queue: &str, key_milli| v1::ShareStep {
        queue: queue.into(),
        weight: 2,
        entitlement: resources(8_000, 0),
        held: resources(4_000, 0),
        key_milli,
    };
    v1::ExplainReply {
        task,
        state: v1::TaskState::Queued.into(),
        waiting: no_memory(),
        position: 12,
        refusals: vec![v1::Refusal {
            site: "meyrin".into(),
            reason: no_memory(),
            nodes: 40,
        }],
        path: vec![step("", 500), step("cms", 1_250)],
        reservation: Some(v1::Reservation {
            places: vec![v1::ReservedPlace {
                site: "meyrin".into(),
                node: "n1".into(),
                tasks: 2,
            }],
            promised_ms: MORNING_MS,
            predicted_start_ms: MORNING_MS - 600_000,
            leaving: vec![v1::Task { job: 21, index: 3 }],
        }),
        ..Default::default()
    }
}

/// job-17[1] failed; the tasks of job-18 were cancelled for that.
pub fn explanation_of_end(task: v1::Task) -> v1::ExplainReply {
    let (state, end) = if task.job == 17 {
        let failed = v1::TaskEnd {
            reason: "exit:3".into(),
            text: "it ended with exit code 3".into(),
            remedy: "see its standard error, then `jero retry`".into(),
            attempt: Some(attempt(task.index, v1::outcome::Kind::ExitCode(3))),
            dependencies: Vec::new(),
        };
        (v1::TaskState::Failed, failed)
    } else {
        let needed = v1::DependencyState {
            job: 17,
            name: "one".into(),
            tasks: vec![counted(v1::TaskState::Failed, 3)],
        };
        let cancelled = v1::TaskEnd {
            reason: "dependency".into(),
            text: "a job that it needs did not succeed".into(),
            remedy: "retry that job, then this one".into(),
            attempt: None,
            dependencies: vec![needed],
        };
        (v1::TaskState::Cancelled, cancelled)
    };
    v1::ExplainReply {
        task: Some(task),
        state: state.into(),
        end: Some(end),
        ..Default::default()
    }
}

pub fn queue(name: &str) -> v1::Queue {
    v1::Queue {
        name: name.into(),
        weight: 3,
        queued_max: 1_000_000,
        demand: resources(12_000, 1_024),
        entitlement: resources(8_000, 1_024),
        held: resources(4_500, 512),
        usage: resources(4_000, 512),
        guarantee: resources(2_000, 0),
        limit: Some(v1::Limit {
            cpu_milli: Some(10_500),
            gpu: Some(0),
            ..Default::default()
        }),
        reserved: resources(1_000, 64),
        queued: 1_000,
        running: 4,
        submitters: vec!["bob".into(), "alice".into()],
        submitters_above: vec!["alice".into(), "carol".into()],
        core_ms: 36_000_000,
        bounds: Some(v1::TaskBounds {
            running_max: Some(500),
            user_running_max: Some(20),
            user_queued_max: None,
        }),
        users: vec![v1::UserTasks {
            user: "alice".into(),
            running: 4,
            waiting: 1_000,
        }],
        ..Default::default()
    }
}

pub fn sites() -> Vec<v1::SiteStatus> {
    let meyrin = v1::SiteStatus {
        name: "meyrin".into(),
        region: "ch".into(),
        connected: true,
        renewed_ms: MORNING_MS,
        nodes: 40,
        capacity: resources(320_000, 655_360),
        held: resources(4_500, 1_536),
        running: 4,
        agent_version: "0.1.0".into(),
        downtimes: vec![v1::Downtime {
            id: 3,
            cluster: "batch".into(),
            from_ms: MORNING_MS,
            until_ms: MORNING_MS + 3_600_000,
            reason: "new switches".into(),
            by: "olga".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let contract = v1::Contract {
        start_ms: MORNING_MS,
        end_ms: MORNING_MS + 86_400_000,
        price_micro_eur_per_core_hour: 45_000,
        budget_micro_eur: 12_500_000,
    };
    let cloud_west = v1::SiteStatus {
        name: "cloud-west".into(),
        leased: true,
        contract: Some(contract),
        draining: "the contract ends\u{1b}[2J".into(),
        unknown_leases: 2,
        nodes_over_committed: 1,
        ..Default::default()
    };
    vec![meyrin, cloud_west]
}

/// One with a GPU, which has less memory than what runs there holds.
pub fn node_over_committed(name: &str) -> v1::Node {
    let mut node = node(name);
    node.labels
        .insert("rack".to_owned(), "r1-in-hall-513".to_owned());
    let capacity = node.capacity.get_or_insert_default();
    (capacity.memory_mib, capacity.disk_mib, capacity.gpu) = (256, 1_048_576, 2);
    node.taints.clear();
    node.over_committed = resources(0, 256);
    node
}

pub fn node(name: &str) -> v1::Node {
    v1::Node {
        name: name.into(),
        site: "meyrin".into(),
        cluster: "batch".into(),
        coe: v1::Coe::Process.into(),
        kernel: "b00t".into(),
        state: "up".into(),
        capacity: resources(8_000, 16_384),
        held: resources(1_500, 512),
        labels: [("disk".to_owned(), "ssd".to_owned())].into(),
        taints: vec![v1::Taint {
            key: "dedicated".into(),
            value: "alice".into(),
        }],
        running: 1,
        ..Default::default()
    }
}
