//! A batch from its submission to its end, through an agent's session.

use crate::agent::{Agent, exit};
use crate::service::{PATIENCE, Service, count, eventually, job};
use jeroboam_proto::v1;
use v1::TaskState;

/// A generator of two tasks, and a merge that takes their outputs.
fn search() -> Vec<v1::JobSpec> {
    let mut generate = job("gen", 2);
    generate.outputs.push("*.json".into());
    let mut merge = job("merge", 1);
    merge.outputs_of.push("gen".into());
    vec![generate, merge]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_says_all_that_the_attempt_needs() {
    let service =
        Service::start("[retention]\nlog_bytes_max = \"10KiB\"\n[policy]\ngrace = \"3s\"\n").await;
    let reply = service.submit(search()).await;
    let mut agent = Agent::join(&service, "meyrin").await;
    let first = agent.granted().await;
    let expected = v1::Grant {
        lease: Some(v1::Lease {
            lineage: first.lease.unwrap().lineage,
            task: Some(v1::Task {
                job: reply.jobs[0],
                index: 0,
            }),
            attempt: 1,
        }),
        node: "n1".into(),
        queue: "cms.higgs".into(),
        batch: reply.batch,
        batch_name: "search".into(),
        job_name: "gen".into(),
        count: 2,
        command: vec!["true".into()],
        resources: Some(v1::Resources {
            cpu_milli: 1_000,
            memory_mib: 64,
            ..Default::default()
        }),
        // The node is twice as fast as the reference.
        walltime_ms: 30_000,
        grace_ms: 3_000,
        outputs: vec!["*.json".into()],
        outputs_bytes_max: 1 << 30,
        outputs_files_max: 1_000,
        log_bytes_max: 10 << 10,
        ..Default::default()
    };
    assert_eq!(first, expected);
    let second = agent.granted().await;
    for lease in [first.lease, second.lease] {
        agent.running(lease).await;
        agent.ended(lease, exit(0)).await;
    }
    let merge = agent.granted().await;
    assert_eq!(
        merge.outputs_of,
        [v1::OutputsOf {
            job: reply.jobs[0],
            name: "gen".into()
        }]
    );
    assert_eq!(merge.count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_watched_to_its_end() {
    let service = Service::start("").await;
    let reply = service.submit(search()).await;
    let request = v1::WatchBatchRequest { batch: reply.batch };
    let mut watch = service
        .client()
        .watch_batch(request)
        .await
        .unwrap()
        .into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(count(&first.tasks, TaskState::Queued), 2);
    assert_eq!(count(&first.tasks, TaskState::Blocked), 1);

    let mut agent = Agent::join(&service, "cloud-west").await;
    let leases = [agent.granted().await.lease, agent.granted().await.lease];
    agent.running(leases[0]).await;
    let running = eventually("it is shown running", || async {
        let attempts = service.describe(reply.jobs[0]).await.attempts;
        attempts
            .into_iter()
            .find(|attempt| attempt.state() == TaskState::Running)
    });
    let running = running.await;
    assert_eq!(
        (running.site.as_str(), running.node.as_str()),
        ("cloud-west", "n1")
    );
    assert_eq!((running.lease, running.ended), (leases[0], None));
    for lease in leases {
        agent.ended(lease, exit(0)).await;
    }
    let merge = agent.granted().await.lease;
    agent.running(merge).await;
    agent.ended(merge, exit(3)).await;

    let mut last = first;
    while let Some(next) = tokio::time::timeout(PATIENCE, watch.message())
        .await
        .unwrap()
        .unwrap()
    {
        assert_ne!(next, last, "only changes are sent");
        last = next;
    }
    assert!(last.finished_ms > 0);
    assert_eq!(
        (
            count(&last.tasks, TaskState::Succeeded),
            count(&last.tasks, TaskState::Failed)
        ),
        (2, 1)
    );
    assert!(
        last.core_ms > 0 && last.cost_micro_eur > 0,
        "the site is leased"
    );

    let merged = service.describe(reply.jobs[1]).await;
    let failed = merged
        .states
        .iter()
        .find(|states| states.state() == TaskState::Failed)
        .unwrap();
    assert_eq!(
        (failed.reason.as_str(), failed.ranges.as_slice()),
        ("exit:3", [v1::Range { first: 0, last: 0 }].as_slice())
    );
    let attempt = &merged.attempts[0];
    assert_eq!(attempt.ended.clone().unwrap(), exit(3));
    assert_eq!(attempt.lease, merge);
    // A finished batch is answered at once and ends the stream.
    let mut again = service
        .client()
        .watch_batch(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.message().await.unwrap().unwrap(), last);
    assert_eq!(again.message().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_state_is_explained() {
    let service = Service::start("").await;
    let mut jobs = search();
    jobs[0].resources.as_mut().unwrap().cpu_milli = 8_000;
    let reply = service.submit(jobs).await;
    let explain = async |job: u64, index: u32| {
        let task = Some(v1::Task { job, index });
        service
            .client()
            .explain(v1::ExplainRequest {
                task,
                predict: false,
            })
            .await
    };
    let waiting = explain(reply.jobs[0], 1).await.unwrap().into_inner();
    assert_eq!(waiting.state(), TaskState::Queued);
    assert_eq!(waiting.waiting.unwrap().code, "no-nodes");
    assert_eq!(waiting.position, 2, "its sibling goes first");
    let path: Vec<&str> = waiting
        .path
        .iter()
        .map(|step| step.queue.as_str())
        .collect();
    assert_eq!(path, ["cms", "cms.higgs"]);

    let _agent = Agent::join(&service, "meyrin").await;
    let refused = eventually("the node is looked at", || async {
        let explained = explain(reply.jobs[0], 0).await.unwrap().into_inner();
        explained.refusals.first().cloned()
    });
    let refused = refused.await;
    assert_eq!((refused.site.as_str(), refused.nodes), ("meyrin", 1));
    assert_eq!(refused.reason.unwrap().code, "too-large");

    let blocked = explain(reply.jobs[1], 0).await.unwrap().into_inner();
    assert_eq!(blocked.state(), TaskState::Blocked);
    let blocked = blocked.waiting.unwrap();
    assert_eq!(
        blocked.text,
        format!("it waits until these have succeeded: job-{}", reply.jobs[0])
    );
    let beyond = crate::service::refused(explain(reply.jobs[1], 1).await);
    assert!(
        beyond.starts_with("InvalidArgument INDEX_OUT_OF_RANGE"),
        "{beyond}"
    );
}
