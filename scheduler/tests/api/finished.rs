//! What has left memory is answered from the history, the same way.

use crate::agent::{Agent, exit};
use crate::files::put;
use crate::service::{Service, count, job, refused};
use jeroboam_proto::v1;
use v1::TaskState;

const AT_ONCE: &str = "[retention]\nmemory = \"0s\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_work_is_answered_from_the_history_also_after_a_restart() {
    let service = Service::start(AT_ONCE).await;
    let mut generate = job("gen", 3);
    generate.retries.push(v1::RetryRule {
        times: 1,
        ..Default::default()
    });
    let reply = service.submit(vec![generate.clone()]).await;
    let id = reply.jobs[0];
    let mut agent = Agent::join(&service, "meyrin").await;
    let output = put(&service, b"result").await;
    let stdout = put(&service, b"all is well\n").await;
    let leases = [
        agent.granted().await.lease,
        agent.granted().await.lease,
        agent.granted().await.lease,
    ];
    let good = v1::Ended {
        outputs: vec![output.clone()],
        stdout: Some(stdout.clone()),
        ..exit(0)
    };
    agent.ended(leases[0], exit(9)).await;
    let again = agent.granted().await.lease;
    assert_eq!(again.unwrap().attempt, 2);
    agent.ended(again, good.clone()).await;
    agent.ended(leases[1], good.clone()).await;
    agent.ended(leases[2], exit(9)).await;
    let last = agent.granted().await.lease;
    agent.ended(last, exit(9)).await;
    service.await_retirement(reply.batch).await;
    let before = answers(&service, reply.batch, id).await;

    let (batch, job, described, explained, logs, outputs) = &before;
    assert_eq!(
        (batch.jobs, batch.name.as_str(), batch.queue.as_str()),
        (1, "search", "cms.higgs")
    );
    assert_eq!(
        (
            count(&batch.tasks, TaskState::Succeeded),
            count(&batch.tasks, TaskState::Failed)
        ),
        (2, 1)
    );
    assert_eq!((job.id, job.count, job.started_tasks), (id, 3, 3));
    assert!(job.core_ms > 0 && job.core_ms == batch.core_ms);
    assert_eq!(described.spec.clone().unwrap(), generate);
    let states: Vec<_> = described
        .states
        .iter()
        .map(|states| {
            (
                states.state(),
                states.reason.as_str(),
                states.ranges[0].first,
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            (TaskState::Succeeded, "", 0),
            (TaskState::Failed, "exit:9", 2)
        ]
    );
    let attempts: Vec<_> = described
        .attempts
        .iter()
        .map(|attempt| attempt.lease)
        .collect();
    assert_eq!(
        attempts,
        [last, leases[2], leases[1], again, leases[0]],
        "the latest first"
    );
    assert_eq!(described.attempts[3].ended, Some(good));
    assert_eq!(explained.state(), TaskState::Failed);
    assert_eq!(logs, b"all is well\n");
    let listed: Vec<_> = outputs
        .iter()
        .map(|output| output.task.unwrap().index)
        .collect();
    assert_eq!(listed, [0, 1]);
    assert_eq!(outputs[0].file, Some(output));

    drop(agent);
    let service = Service::start_in(service.stop().await, AT_ONCE).await;
    assert_eq!(answers(&service, reply.batch, id).await, before);
}

type Answers = (
    v1::Batch,
    v1::Job,
    v1::DescribeJobReply,
    v1::ExplainReply,
    Vec<u8>,
    Vec<v1::TaskOutput>,
);

/// All that there is to be asked about a finished batch of one job.
async fn answers(service: &Service, batch: u64, id: u64) -> Answers {
    let mut client = service.client();
    let watched = client
        .watch_batch(v1::WatchBatchRequest { batch })
        .await
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(watched, service.batch(batch).await);
    let finished = v1::ListBatchesRequest {
        finished: true,
        queue: "cms".into(),
        ..Default::default()
    };
    assert_eq!(
        client
            .list_batches(finished)
            .await
            .unwrap()
            .into_inner()
            .batches,
        std::slice::from_ref(&watched)
    );
    let jobs = v1::ListJobsRequest {
        finished: true,
        batch,
        ..Default::default()
    };
    let jobs = client.list_jobs(jobs).await.unwrap().into_inner().jobs;
    assert_eq!(jobs.len(), 1);
    let described = service.describe(id).await;
    assert_eq!(described.job.as_ref(), jobs.first());
    let task = Some(v1::Task { job: id, index: 2 });
    let explained = client
        .explain(v1::ExplainRequest {
            task,
            predict: false,
        })
        .await
        .unwrap()
        .into_inner();
    let task = Some(v1::Task { job: id, index: 0 });
    // Following what has ended ends at once.
    let request = v1::LogsRequest {
        task,
        follow: true,
        ..Default::default()
    };
    let mut stream = client.logs(request).await.unwrap().into_inner();
    let mut logs = Vec::new();
    while let Some(reply) = stream.message().await.unwrap() {
        logs.extend(reply.data);
    }
    let outputs = v1::ListOutputsRequest {
        job: id,
        ..Default::default()
    };
    let outputs = service
        .files()
        .list_outputs(outputs)
        .await
        .unwrap()
        .into_inner()
        .outputs;
    (
        watched,
        jobs[0].clone(),
        described,
        explained,
        logs,
        outputs,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_was_is_not_found() {
    let service = Service::start("").await;
    let task = Some(v1::Task { job: 7, index: 0 });
    let mut client = service.client();
    let seen = [
        refused(client.watch_batch(v1::WatchBatchRequest { batch: 7 }).await),
        refused(
            client
                .list_batches(v1::ListBatchesRequest {
                    batch: 7,
                    ..Default::default()
                })
                .await,
        ),
        refused(
            client
                .describe_job(v1::DescribeJobRequest {
                    job: 7,
                    ..Default::default()
                })
                .await,
        ),
        refused(
            client
                .describe_job(v1::DescribeJobRequest {
                    job: u64::MAX,
                    ..Default::default()
                })
                .await,
        ),
        refused(
            client
                .explain(v1::ExplainRequest {
                    task,
                    predict: false,
                })
                .await,
        ),
        refused(
            client
                .logs(v1::LogsRequest {
                    task,
                    ..Default::default()
                })
                .await,
        ),
        refused(
            service
                .files()
                .list_outputs(v1::ListOutputsRequest {
                    job: 7,
                    ..Default::default()
                })
                .await,
        ),
    ];
    let codes: Vec<&str> = seen
        .iter()
        .map(|line| line.split(" [").next().unwrap())
        .collect();
    let (batch, job) = ("NotFound UNKNOWN_BATCH", "NotFound UNKNOWN_JOB");
    assert_eq!(codes, [batch, batch, job, job, job, job, job]);
}
