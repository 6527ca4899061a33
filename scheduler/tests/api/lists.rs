//! Long lists come in pages that together are whole.

use crate::agent::{Agent, exit};
use crate::service::{Service, job};
use jeroboam_proto::v1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_jobs_come_in_pages_newest_first() {
    let service = Service::start("").await;
    let reply = service
        .submit((0..25).map(|n| job(&format!("j{n}"), 1)).collect())
        .await;
    service.submit(vec![job("other", 1)]).await;
    let (all, pages) = jobs(
        &service,
        v1::ListJobsRequest {
            limit: 10,
            ..Default::default()
        },
    )
    .await;
    assert_eq!((all.len(), pages), (26, 3));
    let (of_batch, pages) = jobs(
        &service,
        v1::ListJobsRequest {
            batch: reply.batch,
            limit: 10,
            ..Default::default()
        },
    )
    .await;
    let newest_first: Vec<u64> = reply.jobs.into_iter().rev().collect();
    assert_eq!((of_batch, pages), (newest_first, 3));
    let held = v1::ListJobsRequest {
        state: v1::TaskState::Held.into(),
        ..Default::default()
    };
    assert_eq!(jobs(&service, held).await, (vec![], 1));
    let elsewhere = v1::ListJobsRequest {
        queue: "atlas".into(),
        ..Default::default()
    };
    assert_eq!(jobs(&service, elsewhere).await, (vec![], 1));
    let bad = v1::ListJobsRequest {
        page_token: "x".into(),
        ..Default::default()
    };
    let bad = crate::service::refused(service.client().list_jobs(bad).await);
    assert!(bad.starts_with("InvalidArgument BAD_PAGE_TOKEN"), "{bad}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_jobs_come_in_pages_newest_first() {
    let service = Service::start("[retention]\nmemory = \"0s\"\n").await;
    let first = service.submit(vec![job("a", 1), job("b", 1)]).await;
    let second = service
        .submit((0..5).map(|n| job(&format!("j{n}"), 1)).collect())
        .await;
    let mut agent = Agent::join(&service, "meyrin").await;
    let mut left = 7;
    let mut waiting = std::collections::VecDeque::new();
    while left > 0 {
        match agent.hear().await.unwrap() {
            v1::scheduler_message::Kind::Grant(grant) => waiting.push_back(grant.lease),
            v1::scheduler_message::Kind::Ack(_) => left -= 1,
            other => panic!("{other:?}"),
        }
        if let Some(lease) = waiting.pop_front() {
            agent.report(lease, v1::report::Kind::Ended(exit(0))).await;
        }
    }
    service.await_retirement(first.batch).await;
    service.await_retirement(second.batch).await;
    let finished = v1::ListJobsRequest {
        finished: true,
        limit: 2,
        ..Default::default()
    };
    let newest_first: Vec<u64> = first
        .jobs
        .iter()
        .chain(&second.jobs)
        .copied()
        .rev()
        .collect();
    assert_eq!(jobs(&service, finished.clone()).await, (newest_first, 4));
    let of_first = v1::ListJobsRequest {
        batch: first.batch,
        ..finished.clone()
    };
    assert_eq!(
        jobs(&service, of_first).await.0,
        [first.jobs[1], first.jobs[0]]
    );
    let failed = v1::ListJobsRequest {
        state: v1::TaskState::Failed.into(),
        ..finished
    };
    assert_eq!(jobs(&service, failed).await.0, []);
    let request = v1::ListBatchesRequest {
        finished: true,
        limit: 1,
        ..Default::default()
    };
    let page = service
        .client()
        .list_batches(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.batches[0].id, second.batch);
    let request = v1::ListBatchesRequest {
        page_token: page.next_page_token,
        ..request
    };
    let page = service
        .client()
        .list_batches(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (page.batches[0].id, page.next_page_token.as_str()),
        (first.batch, "")
    );
}

/// The ids of all jobs, and the number of pages that they came in.
async fn jobs(service: &Service, mut request: v1::ListJobsRequest) -> (Vec<u64>, usize) {
    let (mut ids, mut pages) = (Vec::new(), 0);
    loop {
        let page = service
            .client()
            .list_jobs(request.clone())
            .await
            .unwrap()
            .into_inner();
        ids.extend(page.jobs.iter().map(|job| job.id));
        pages += 1;
        if page.next_page_token.is_empty() {
            return (ids, pages);
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_finished_is_listed_whether_or_not_it_left_memory() {
    let service = Service::start("[retention]\nmemory = \"0s\"\n").await;
    let retired = service.submit(vec![job("retired", 1)]).await;
    let mut agent = Agent::join(&service, "meyrin").await;
    let lease = agent.granted().await.lease;
    agent.ended(lease, exit(0)).await;
    service.await_retirement(retired.batch).await;
    drop(agent);
    let service = Service::start_in(service.stop().await, "").await;
    let recent = service.submit(vec![job("done", 1), job("failed", 1)]).await;
    let mut agent = Agent::join(&service, "meyrin").await;
    let (done, failed) = (agent.granted().await.lease, agent.granted().await.lease);
    agent.ended(done, exit(0)).await;
    // A job is listed once it has finished, its batch once all of them have.
    let finished = v1::ListJobsRequest {
        finished: true,
        ..Default::default()
    };
    let of_batch = |batch| v1::ListJobsRequest {
        batch,
        ..finished.clone()
    };
    let batches = v1::ListBatchesRequest {
        finished: true,
        ..Default::default()
    };
    let listed = async || {
        let listed = service.client().list_batches(batches.clone()).await;
        let listed = listed.unwrap().into_inner().batches;
        listed.iter().map(|batch| batch.id).collect::<Vec<_>>()
    };
    assert_eq!(
        jobs(&service, finished.clone()).await.0,
        [recent.jobs[0], retired.jobs[0]]
    );
    assert_eq!(listed().await, [retired.batch]);
    agent.ended(failed, exit(1)).await;
    assert_eq!(listed().await, [recent.batch, retired.batch]);
    let all = [recent.jobs[1], recent.jobs[0], retired.jobs[0]];
    assert_eq!(jobs(&service, finished.clone()).await.0, all);
    let small = v1::ListJobsRequest {
        limit: 1,
        ..finished.clone()
    };
    assert_eq!(jobs(&service, small).await, (all.to_vec(), 3));
    assert_eq!(
        jobs(&service, of_batch(recent.batch)).await.0,
        [recent.jobs[1], recent.jobs[0]]
    );
    assert_eq!(
        jobs(&service, of_batch(retired.batch)).await.0,
        [retired.jobs[0]]
    );
    let of_state = v1::ListJobsRequest {
        state: v1::TaskState::Failed.into(),
        ..finished
    };
    assert_eq!(jobs(&service, of_state).await.0, [recent.jobs[1]]);
}
