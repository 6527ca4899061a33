//! Submissions: accepted once, refused with place and remedy.

use crate::service::{Service, batch, count, job, refused};
use jeroboam_proto::v1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_submission_gets_the_first_reply() {
    let service = Service::start("").await;
    let request = |name: &str| v1::SubmitRequest {
        request_id: "once".into(),
        batch: Some(batch(vec![job("a", 2), job(name, 1)])),
    };
    let first = service
        .client()
        .submit(request("b"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((first.batch, first.jobs.as_slice()), (1, [1, 2].as_slice()));
    let again = service
        .client()
        .submit(request("b"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
    let other = service.client().submit(request("c")).await;
    expect_test::expect!["AlreadyExists REQUEST_ID_REUSED [] the request id `once` was used for another submission (batch-1) | use a fresh request id for another batch"].assert_eq(&refused(other));

    // Also by the next scheduler.
    let service = Service::start_in(service.stop().await, "").await;
    let again = service
        .client()
        .submit(request("b"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
    assert_eq!(service.batch(1).await.submitted_by, "local");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_tasks_are_one_call() {
    let service = Service::start("").await;
    let reply = service.submit(vec![job("a", 1_000_000)]).await;
    let batch = service.batch(reply.batch).await;
    assert_eq!(count(&batch.tasks, v1::TaskState::Queued), 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_submission_is_refused_with_place_and_remedy() {
    let service = Service::start("").await;
    let mut cyclic = vec![job("a", 1), job("b", 1)];
    cyclic[0].after_ok.push("b".into());
    cyclic[1].outputs_of.push("a".into());
    let mut kernel = job("a", 1);
    kernel.isolation = 7;
    let mut absent = job("a", 1);
    let digest = "0".repeat(64);
    absent.inputs.push(v1::File {
        path: "in".into(),
        digest,
        size_bytes: 3,
        executable: false,
    });
    let mut large = job("a", 1);
    large.inputs.push(v1::File {
        size_bytes: 1 << 40,
        ..absent.inputs[0].clone()
    });
    let mut site = job("a", 1);
    site.sites.push("meyrn".into());
    let in_queue = |queue: &str| v1::BatchSpec {
        queue: queue.into(),
        ..batch(vec![job("a", 1)])
    };
    let cases = [
        batch(vec![]),
        batch(vec![job("a", 1), job("a", 1)]),
        batch(vec![job("a", 0)]),
        batch(vec![job("a", 600_000), job("b", 600_000)]),
        batch(cyclic),
        batch(vec![kernel]),
        batch(vec![absent]),
        batch(vec![large]),
        batch(vec![site]),
        in_queue("cms.higs"),
        in_queue("cms"),
        in_queue("atlas"),
    ];
    let mut seen = String::new();
    for case in cases {
        let request = v1::SubmitRequest {
            request_id: "r".into(),
            batch: Some(case),
        };
        seen += &(refused(service.client().submit(request).await) + "\n");
    }
    let nameless = v1::SubmitRequest {
        request_id: String::new(),
        batch: Some(batch(vec![job("a", 1)])),
    };
    seen += &refused(service.client().submit(nameless).await);
    expect_test::expect![[r#"
        InvalidArgument OUT_OF_BOUNDS [jobs] 0 is outside 1 ..= 1000000 | use a value from 1 to 1000000
        InvalidArgument INVALID [jobs[1].name] the job name `a` is already that of jobs[0] | give every job of the batch a name of its own
        InvalidArgument OUT_OF_BOUNDS [jobs[0].count] 0 is outside 1 ..= 1000000 | use a value from 1 to 1000000
        InvalidArgument OUT_OF_BOUNDS [jobs[].count (sum of tasks)] 1200000 is outside 1 ..= 1000000 | use a value from 1 to 1000000
        InvalidArgument INVALID [jobs[].after_ok] the dependencies form a cycle: a -> b -> a | remove one of these dependencies
        InvalidArgument INVALID [jobs[0].isolation] the value 7 means nothing to this release | use `shared`, `sandbox` or `kernel`
        InvalidArgument INVALID [jobs[0].inputs[0]] the content of `in` is not in the Files service | upload it first (Files.Put), then submit with the same request id
        InvalidArgument OUT_OF_BOUNDS [jobs[0].inputs (bytes)] 1099511627776 is outside 0 ..= 1073741824 | use a value from 0 to 1073741824
        NotFound UNKNOWN_SITE [] there is no site `meyrn` | did you mean `meyrin`? `jero sites` lists them all
        NotFound UNKNOWN_QUEUE [] there is no queue `cms.higs` | did you mean `cms.higgs`? `jero queues` lists them all
        InvalidArgument QUEUE_NOT_LEAF [] the queue `cms` has queues below it; work is submitted to a leaf | name one of the queues below it (`jero queues`)
        PermissionDenied NOT_SUBMITTER [] `local` may not submit to the queue `atlas` | ask its owner for `jero queue set NAME --submitters ...`
        InvalidArgument OUT_OF_BOUNDS [request_id (characters)] 0 is outside 1 ..= 64 | use a value from 1 to 64"#]].assert_eq(&seen);
    let live = service
        .client()
        .list_batches(v1::ListBatchesRequest::default())
        .await
        .unwrap();
    assert_eq!(live.into_inner().batches, []);
}
