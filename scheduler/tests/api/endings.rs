//! How tasks ended, explained: from memory and from the history alike.

use crate::agent::{Agent, exit};
use crate::service::{Service, eventually, job};
use jeroboam_proto::v1;
use v1::TaskState;
use v1::outcome::Kind;
use v1::scheduler_message::Kind as Down;

fn outcome(kind: Kind) -> v1::Ended {
    v1::Ended {
        outcome: Some(v1::Outcome { kind: Some(kind) }),
        ..exit(0)
    }
}

async fn explain(service: &Service, job: u64, index: u32) -> v1::ExplainReply {
    let task = Some(v1::Task { job, index });
    let request = v1::ExplainRequest {
        task,
        predict: false,
    };
    let explained = service.client().explain(request).await;
    explained.unwrap().into_inner()
}

/// State, reason, words, remedy, last attempt and dependencies of each task.
async fn told(service: &Service, tasks: &[(u64, u32)]) -> String {
    let mut text = String::new();
    for (job, index) in tasks {
        let explained = explain(service, *job, *index).await;
        let state = explained.state().as_str_name().to_string();
        let end = explained.end.unwrap();
        let attempt = end.attempt.map(|attempt| {
            let number = attempt.lease.unwrap().attempt;
            let outcome = attempt.ended.unwrap().outcome.unwrap().kind.unwrap();
            format!(
                " #{number} at {}/{}: {outcome:?}",
                attempt.site, attempt.node
            )
        });
        let attempt = attempt.unwrap_or_default();
        text += &format!("{state} {}{attempt}\n  {}\n", end.reason, end.text);
        if !end.remedy.is_empty() {
            text += &format!("  {}\n", end.remedy);
        }
        for needed in end.dependencies {
            let tasks = needed.tasks.iter();
            let tasks: Vec<String> = tasks
                .map(|count| format!("{} {}", count.count, count.state().as_str_name()))
                .collect();
            text += &format!(
                "  needs job-{} {}: {}\n",
                needed.job,
                needed.name,
                tasks.join(", ")
            );
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_end_is_explained_with_its_last_attempt() {
    let service = Service::start("").await;
    let mut merge = job("merge", 1);
    merge.outputs_of.push("generate".into());
    merge.after_ok.push("fine".into());
    let mut flaky = job("flaky", 1);
    flaky.retries.push(v1::RetryRule {
        times: 1,
        ..Default::default()
    });
    let jobs = vec![
        job("generate", 3),
        merge,
        job("fine", 1),
        flaky,
        job("unwanted", 1),
    ];
    let reply = service.submit(jobs).await;
    let unwanted = v1::ChangeRequest {
        verb: v1::change_request::Verb::Cancel.into(),
        job: reply.jobs[4],
        ..Default::default()
    };
    service.client().change(unwanted).await.unwrap();
    let mut agent = Agent::join(&service, "meyrin").await;
    let mut acknowledged = 0;
    while acknowledged < 6 {
        let grant = match agent.hear().await.unwrap() {
            Down::Grant(grant) => grant,
            Down::Ack(_) => {
                acknowledged += 1;
                continue;
            }
            other => panic!("{other:?}"),
        };
        let Some(v1::Lease {
            task: Some(task),
            attempt,
            ..
        }) = grant.lease
        else {
            panic!("a grant of nothing");
        };
        let ended = match (grant.job_name.as_str(), task.index, attempt) {
            ("generate", 0, 1) => outcome(Kind::StartFailed("no such program: `gen`".into())),
            ("generate", 1, 1) => outcome(Kind::Signal(11)),
            ("generate", 2, 1) => outcome(Kind::WalltimeExceeded(v1::Empty {})),
            ("fine", 0, 1) => exit(0),
            ("flaky", 0, 1) => exit(3),
            ("flaky", 0, 2) => exit(4),
            other => panic!("{other:?} was granted"),
        };
        let ended = v1::report::Kind::Ended(ended);
        agent.report(grant.lease, ended).await;
    }
    let [generate, merge, fine, flaky, unwanted] = reply.jobs[..] else {
        panic!("{:?}", reply.jobs)
    };
    let tasks = [
        (generate, 0),
        (generate, 1),
        (generate, 2),
        (merge, 0),
        (fine, 0),
        (flaky, 0),
        (unwanted, 0),
    ];
    let in_memory = told(&service, &tasks).await;
    expect_test::expect![[r#"
        TASK_STATE_FAILED start #1 at meyrin/n1: StartFailed("no such program: `gen`")
          it could not be started: no such program: `gen`
          correct what could not be started and submit it anew; as it is, `jero retry 'job-1[0]'` tries it again
        TASK_STATE_FAILED signal:11 #1 at meyrin/n1: Signal(11)
          its command was ended by signal 11
          `jero logs 'job-1[1]' --stderr` may say why; `jero retry 'job-1[1]'` tries it again
        TASK_STATE_FAILED walltime #1 at meyrin/n1: WalltimeExceeded(Empty)
          it ran into its walltime limit and was stopped
          if it was only slow, raise `walltime` and submit it anew; as it is, `jero retry 'job-1[2]'` tries it again
        TASK_STATE_CANCELLED dependency
          a job that it needs did not succeed
          `jero explain 'job-1[INDEX]'` says why that ended; `jero retry batch-1` tries again what has not succeeded
          needs job-1 generate: 3 TASK_STATE_FAILED
        TASK_STATE_SUCCEEDED  #1 at meyrin/n1: ExitCode(0)
          it succeeded
        TASK_STATE_FAILED exit:4 #2 at meyrin/n1: ExitCode(4)
          its command ended with code 4
          `jero logs 'job-4[0]' --stderr` may say why; `jero retry 'job-4[0]'` tries it again
        TASK_STATE_CANCELLED user
          it was cancelled, by local
          `jero retry 'job-5[0]'` tries it again
    "#]].assert_eq(&in_memory);

    let service = Service::start_in(service.stop().await, "[retention]\nmemory = \"0s\"\n").await;
    service.await_retirement(reply.batch).await;
    let in_history = told(&service, &tasks).await;
    let only_here = in_history.lines().filter(|line| !in_memory.contains(*line));
    let only_here: Vec<&str> = only_here.map(str::trim).collect();
    expect_test::expect![[r#"
          `jero logs 'job-1[1]' --stderr` may say why; submit it anew: it has left memory for the history
          `jero logs 'job-4[0]' --stderr` may say why; submit it anew: it has left memory for the history
          submit it anew: it has left memory for the history"#]].assert_eq(&only_here.join("\n"));
    assert_eq!(in_history.lines().count(), in_memory.lines().count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_has_no_end() {
    let service = Service::start("").await;
    let id = service.submit(vec![job("a", 1)]).await.jobs[0];
    assert_eq!(explain(&service, id, 0).await.end, None);
    let mut agent = Agent::join(&service, "meyrin").await;
    let lease = agent.granted().await.lease;
    agent.running(lease).await;
    let running = eventually("it runs", || async {
        let explained = explain(&service, id, 0).await;
        (explained.state() == TaskState::Running).then_some(explained)
    });
    assert_eq!(running.await.end, None);
}
