//! Logs from the site while a task runs, from the spool afterwards.

use crate::agent::{Agent, exit};
use crate::files::put;
use crate::service::{PATIENCE, Service, job, refused};
use jeroboam_proto::v1;
use v1::agent_message::Kind as Up;
use v1::scheduler_message::Kind as Down;

fn request(job: u64, follow: bool) -> v1::LogsRequest {
    v1::LogsRequest {
        task: Some(v1::Task { job, index: 0 }),
        follow,
        ..Default::default()
    }
}

async fn asked(agent: &mut Agent) -> v1::TailRequest {
    match agent.hear().await.unwrap() {
        Down::TailRequest(asked) => asked,
        other => panic!("no tail request but {other:?}"),
    }
}

async fn send(agent: &mut Agent, request: u64, offset: u64, text: &str, last: bool) {
    let data = text.as_bytes().to_vec().into();
    agent
        .say(Up::TailChunk(v1::TailChunk {
            request,
            offset,
            data,
            last,
        }))
        .await;
}

/// Reads until as much as expected is there.
async fn read(stream: &mut tonic::Streaming<v1::LogsReply>, expected: &str) {
    let mut text = Vec::new();
    while text.len() < expected.len() {
        let reply = tokio::time::timeout(PATIENCE, stream.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        text.extend(reply.data);
    }
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followed_log_goes_on_through_attempts_and_ends_with_the_task() {
    let service = Service::start("").await;
    let mut flaky = job("flaky", 1);
    flaky.retries.push(v1::RetryRule {
        times: 1,
        ..Default::default()
    });
    let id = service.submit(vec![flaky]).await.jobs[0];
    // It may be followed before it has a place.
    let mut stream = service
        .client()
        .logs(request(id, true))
        .await
        .unwrap()
        .into_inner();
    let mut agent = Agent::join(&service, "meyrin").await;
    let first = agent.granted().await.lease;
    agent.running(first).await;
    let tail = asked(&mut agent).await;
    assert_eq!(
        (tail.lease, tail.offset, tail.follow, tail.cancel),
        (first, 0, true, false)
    );
    send(&mut agent, tail.request, 0, "one ", false).await;
    read(&mut stream, "one ").await;
    // The attempt ends before all of its log came; the rest is in what it brought back.
    let stdout = put(&service, b"one two ").await;
    agent
        .ended(
            first,
            v1::Ended {
                stdout: Some(stdout),
                ..exit(1)
            },
        )
        .await;
    let second = loop {
        match agent.hear().await.unwrap() {
            Down::Grant(grant) => break grant.lease,
            Down::TailRequest(_) => {}
            other => panic!("{other:?}"),
        }
    };
    send(&mut agent, tail.request, 4, "", true).await;
    read(&mut stream, "two ").await;
    let tail = loop {
        let tail = asked(&mut agent).await;
        if tail.lease == second && !tail.cancel {
            break tail;
        }
    };
    send(&mut agent, tail.request, 0, "three", true).await;
    read(&mut stream, "three").await;
    let stdout = put(&service, b"three").await;
    agent
        .ended(
            second,
            v1::Ended {
                stdout: Some(stdout),
                ..exit(0)
            },
        )
        .await;
    let end = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .unwrap();
    assert_eq!(end.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_following_it_is_what_there_is_now() {
    let service = Service::start("").await;
    let id = service.submit(vec![job("a", 1)]).await.jobs[0];
    let mut nothing = service
        .client()
        .logs(request(id, false))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(nothing.message().await.unwrap(), None, "it has not begun");
    let mut agent = Agent::join(&service, "meyrin").await;
    let lease = agent.granted().await.lease;
    agent.running(lease).await;
    let mut stderr = request(id, false);
    stderr.set_stream(v1::LogStream::Stderr);
    let mut stream = service.client().logs(stderr).await.unwrap().into_inner();
    let tail = asked(&mut agent).await;
    assert_eq!((tail.stream(), tail.follow), (v1::LogStream::Stderr, false));
    send(&mut agent, tail.request, 0, "so far", true).await;
    read(&mut stream, "so far").await;
    assert_eq!(stream.message().await.unwrap(), None);

    // A site that is away has the log with it.
    drop(agent);
    let away = crate::service::eventually("the site is gone", || async {
        let mut stream = service
            .client()
            .logs(request(id, false))
            .await
            .unwrap()
            .into_inner();
        match tokio::time::timeout(std::time::Duration::from_millis(200), stream.message()).await {
            Ok(Err(status)) => Some(refused::<()>(Err(status))),
            Ok(Ok(_)) | Err(_) => None,
        }
    });
    let away = away.await;
    assert!(away.starts_with("Unavailable SITE_DISCONNECTED"), "{away}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_goes_on_where_it_was() {
    let service = Service::start("").await;
    let mut flaky = job("flaky", 1);
    flaky.retries.push(v1::RetryRule {
        times: 2,
        ..Default::default()
    });
    let id = service.submit(vec![flaky]).await.jobs[0];
    let mut agent = Agent::join(&service, "meyrin").await;
    for (text, code) in [(b"first 1", 1), (b"second2", 1)] {
        let lease = agent.granted().await.lease;
        let stdout = Some(put(&service, text).await);
        agent
            .ended(
                lease,
                v1::Ended {
                    stdout,
                    ..exit(code)
                },
            )
            .await;
    }
    let third = agent.granted().await.lease;
    agent.running(third).await;
    // What broke off in the first attempt misses its rest, and the second.
    let from = v1::LogsRequest {
        attempt: 1,
        offset: 6,
        ..request(id, true)
    };
    let mut stream = service.client().logs(from).await.unwrap().into_inner();
    let tail = asked(&mut agent).await;
    send(&mut agent, tail.request, 0, "thi", false).await;
    send(&mut agent, tail.request, 3, "rd", false).await;
    let mut pieces = Vec::new();
    while pieces.len() < 4 {
        let piece = tokio::time::timeout(PATIENCE, stream.message()).await;
        let piece = piece.unwrap().unwrap().unwrap();
        let text = String::from_utf8(piece.data.to_vec()).unwrap();
        pieces.push((piece.attempt, piece.offset, text));
    }
    let expected = [(1, 6, "1"), (2, 0, "second2"), (3, 0, "thi"), (3, 3, "rd")];
    assert_eq!(
        pieces,
        expected.map(|(attempt, offset, text)| (attempt, offset, text.to_string()))
    );
    // The agent is asked for the rest alone.
    drop(stream);
    let from = v1::LogsRequest {
        attempt: 3,
        offset: 5,
        ..request(id, true)
    };
    let mut stream = service.client().logs(from).await.unwrap().into_inner();
    let tail = loop {
        let tail = asked(&mut agent).await;
        if !tail.cancel {
            break tail;
        }
    };
    assert_eq!((tail.lease, tail.offset), (third, 5));
    let stdout = Some(put(&service, b"third and last").await);
    agent
        .report(
            third,
            v1::report::Kind::Ended(v1::Ended { stdout, ..exit(0) }),
        )
        .await;
    send(&mut agent, tail.request, 5, "", true).await;
    read(&mut stream, " and last").await;

    let nowhere = v1::LogsRequest {
        offset: 5,
        ..request(id, false)
    };
    let nowhere = refused(service.client().logs(nowhere).await);
    assert!(
        nowhere.starts_with("InvalidArgument INVALID [attempt]"),
        "{nowhere}"
    );
}
