//! Why tasks wait, with what stands in their way by name; the site is one node of four
//! cores.

use crate::agent::{Agent, exit};
use crate::service::{Service, batch, eventually, job};
use jeroboam_proto::v1;
use v1::scheduler_message::Kind as Down;

/// A second queue that may submit, with a guarantee; places are given up at once.
const LHCB: &str = "[policy]\npreempt_after = \"1ms\"\n\
    [[queue]]\nname = \"lhcb\"\nsubmitters = [\"*\"]\nguarantee = { cpu = 2 }\n";

async fn submit_to(service: &Service, queue: &str, job: v1::JobSpec) -> u64 {
    let request = v1::SubmitRequest {
        request_id: format!("{queue}-{}", job.name),
        batch: Some(v1::BatchSpec {
            queue: queue.into(),
            ..batch(vec![job])
        }),
    };
    service
        .client()
        .submit(request)
        .await
        .unwrap()
        .into_inner()
        .jobs[0]
}

async fn explain(service: &Service, job: u64, index: u32) -> v1::ExplainReply {
    let task = Some(v1::Task { job, index });
    let explained = service
        .client()
        .explain(v1::ExplainRequest {
            task,
            predict: false,
        })
        .await;
    explained.unwrap().into_inner()
}

/// Code, words, remedy and reservation of the first task of a job, once it waits so.
async fn told(service: &Service, job: u64, index: u32, code: &str) -> String {
    let explained = eventually(code, || async {
        let explained = explain(service, job, index).await;
        let waiting = explained.waiting.as_ref()?;
        (waiting.code == code).then_some(explained)
    })
    .await;
    let waiting = explained.waiting.unwrap();
    let mut text = format!("{}: {}\n  {}\n", waiting.code, waiting.text, waiting.remedy);
    if let Some(kept) = explained.reservation {
        for place in kept.places {
            text += &format!(
                "  on {} at {} for {}\n",
                place.node, place.site, place.tasks
            );
        }
        for task in kept.leaving {
            text += &format!("  leaving: job-{}[{}]\n", task.job, task.index);
        }
        assert!(kept.promised_ms > 0);
    }
    text
}

/// The code that the list and the description of jobs have for a job.
async fn listed(service: &Service, job: u64) -> String {
    let request = v1::ListJobsRequest::default();
    let page = service.client().list_jobs(request).await.unwrap();
    let jobs = page.into_inner().jobs;
    let listed = jobs.into_iter().find(|listed| listed.id == job).unwrap();
    let described = service.describe(job).await.job.unwrap();
    assert_eq!(listed.waiting, described.waiting);
    listed.waiting.unwrap().code
}

fn cores(name: &str, count: u32, cpu: i64) -> v1::JobSpec {
    let mut job = job(name, count);
    job.resources.as_mut().unwrap().cpu_milli = 1_000 * cpu;
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_says_whose_it_is_and_how_much() {
    let service = Service::start("").await;
    let limit = v1::SetQueueRequest {
        name: "cms".into(),
        limit: Some(v1::Limit {
            cpu_milli: Some(2_500),
            ..Default::default()
        }),
        ..Default::default()
    };
    service.client().set_queue(limit).await.unwrap();
    let few = submit_to(&service, "cms.higgs", cores("few", 3, 1)).await;
    let wide = submit_to(&service, "cms.higgs", cores("wide", 1, 3)).await;
    let mut agent = Agent::join(&service, "meyrin").await;
    agent.granted().await;
    agent.granted().await;
    let told =
        told(&service, few, 2, "queue-limit").await + &told(&service, wide, 0, "queue-limit").await;
    expect_test::expect![[r#"
        queue-limit: the queue, or one above it, would hold more than its limit: `cms` may hold 2.5 of cpu, it has 2, and this asks for 1
          wait until something of `cms` ends, or raise its limit; `jero queue show cms` shows what it holds
        queue-limit: the queue, or one above it, would hold more than its limit: `cms` may hold 2.5 of cpu, and it asks for 3
          ask for less, or raise the limit (`jero queue set cms --limit cpu=3`)
    "#]].assert_eq(&told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gang_says_how_many_places_there_are() {
    let service = Service::start("[policy]\nreservations_max = 0\n").await;
    let mut agent = Agent::join(&service, "meyrin").await;
    submit_to(&service, "cms.higgs", cores("few", 2, 1)).await;
    agent.granted().await;
    agent.granted().await;
    let one = v1::JobSpec {
        running_max: 1,
        ..cores("one", 2, 1)
    };
    let one = submit_to(&service, "cms.higgs", one).await;
    agent.granted().await;
    expect_test::expect![[r#"
        running-max: as many tasks of the job as it allows hold a place: `running_max` is 1
          wait, or submit with a larger `running_max`
    "#]]
    .assert_eq(&told(&service, one, 1, "running-max").await);
    assert_eq!(listed(&service, one).await, "running-max");
    let gang = v1::JobSpec {
        min: 2,
        within: Some(v1::Within {
            what: Some(v1::within::What::Cluster(true)),
        }),
        ..cores("gang", 2, 1)
    };
    let gang = submit_to(&service, "cms.higgs", gang).await;
    expect_test::expect![[r#"
        gang: there are places, but not as many at once as the gang needs: 1 in the cluster with most room, of 2
          wait, or lower `min`
    "#]].assert_eq(&told(&service, gang, 1, "gang").await);
}

async fn told_of(service: &Service, job: u64, code: &str) -> String {
    told(service, job, 0, code).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_a_place_says_for_whom() {
    let service = Service::start(LHCB).await;
    let mut agent = Agent::join(&service, "meyrin").await;
    let many = submit_to(&service, "cms.higgs", cores("many", 5, 1)).await;
    for _ in 0..4 {
        agent.granted().await;
    }
    let guaranteed = submit_to(&service, "lhcb", cores("guaranteed", 1, 1)).await;
    let Down::Stop(stop) = agent.hear().await.unwrap() else {
        panic!("no stop")
    };
    let told = told_of(&service, guaranteed, "preempting").await;
    assert_eq!(listed(&service, guaranteed).await, "preempting");
    expect_test::expect![[r#"
        preempting: those who had its place were told to end
          wait; it starts as soon as they are gone
          on n1 at meyrin for 1
          leaving: job-1[3]
    "#]]
    .assert_eq(&told);
    let stopped = v1::Ended {
        outcome: Some(v1::Outcome {
            kind: Some(v1::outcome::Kind::Stopped(v1::Empty {})),
        }),
        ..exit(0)
    };
    agent.ended(stop.lease, stopped).await;
    let granted = agent.granted().await.lease.unwrap().task.unwrap();
    assert_eq!(granted.job, guaranteed);
    let described = service.describe(many).await;
    let mut ended = described
        .attempts
        .iter()
        .filter_map(|attempt| attempt.ended.as_ref());
    let outcome = ended.next().unwrap().outcome.as_ref().unwrap();
    assert_eq!(outcome.kind, Some(v1::outcome::Kind::Preempted(guaranteed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarantee_that_waits_says_who_holds_it() {
    let service = Service::start(LHCB).await;
    let mut agent = Agent::join(&service, "meyrin").await;
    let firm = v1::JobSpec {
        preemptible: Some(false),
        ..cores("firm", 4, 1)
    };
    submit_to(&service, "cms.higgs", firm).await;
    for _ in 0..4 {
        agent.granted().await;
    }
    let guaranteed = submit_to(&service, "lhcb", cores("guaranteed", 1, 1)).await;
    let told = eventually("it waits", || async {
        let waiting = explain(&service, guaranteed, 0).await.waiting?;
        Some(format!("{}: {}\n", waiting.code, waiting.text))
    });
    expect_test::expect![[r#"
        non-preemptible: its queue is below its guarantee, but nothing that could make room may be preempted: `cms.higgs` holds 4 of cpu so, and is guaranteed 0
    "#]].assert_eq(&told.await);
}

/// Two at a time for an hour each, and one that is wider than the node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_is_predicted() {
    let service = Service::start("").await;
    let few = submit_to(&service, "cms.higgs", cores("few", 5, 2)).await;
    let wide = submit_to(&service, "cms.higgs", cores("wide", 1, 64)).await;
    let mut agent = Agent::join(&service, "meyrin").await;
    agent.granted().await;
    agent.granted().await;
    let predicted = async |job: u64, index: u32| {
        let task = Some(v1::Task { job, index });
        let request = v1::ExplainRequest {
            task,
            predict: true,
        };
        let explained = service.client().explain(request).await.unwrap();
        explained.into_inner().prediction
    };
    let now = std::time::SystemTime::now();
    let now_ms = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    let limit_ms = cores("few", 5, 2).walltime_ms;
    let mut waits_ms = Vec::new();
    for index in [2, 4] {
        let found = predicted(few, index).await.unwrap();
        assert_eq!(
            (found.code.as_str(), found.site.as_str()),
            ("starts", "meyrin")
        );
        assert!(!found.node.is_empty());
        waits_ms.push(found.at_ms - now_ms);
    }
    // To within what the test itself took.
    let near = |wait: i64, expected: i64| (wait - expected).abs() < 60_000 + expected / 100;
    assert!(
        near(waits_ms[0], limit_ms) && near(waits_ms[1], 2 * limit_ms),
        "{waits_ms:?}"
    );
    assert_eq!(predicted(wide, 0).await.unwrap().code, "never");
    // What runs does not wait.
    assert_eq!(predicted(few, 0).await, None);
    // The second World has followed: the next place is given to another.
    let cancelled = v1::ChangeRequest {
        verb: v1::change_request::Verb::Cancel.into(),
        job: few,
        ranges: vec![v1::Range { first: 2, last: 3 }],
        ..Default::default()
    };
    service.client().change(cancelled).await.unwrap();
    let sooner = predicted(few, 4).await.unwrap().at_ms - now_ms;
    assert!(near(sooner, limit_ms), "{sooner}");
}
