//! Agents that do not keep to the protocol, and what they are told.

use crate::agent::{Agent, hello};
use crate::service::{Service, refused};
use jeroboam_proto::v1;
use v1::agent_message::Kind as Up;

/// How a session ends that begins with this hello.
async fn told(service: &Service, hello: v1::Hello) -> String {
    refused(Agent::open(service, None, hello).await.hear().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_hello_is_refused_with_its_remedy() {
    let service = Service::start("").await;
    let _admitted = Agent::join(&service, "meyrin").await;
    let seen = [
        told(&service, hello("meyrn")).await,
        told(
            &service,
            v1::Hello {
                incarnation: "other".into(),
                ..hello("meyrin")
            },
        )
        .await,
        told(
            &service,
            v1::Hello {
                federation: "theirs".into(),
                ..hello("cloud-west")
            },
        )
        .await,
        told(
            &service,
            v1::Hello {
                incarnation: String::new(),
                ..hello("cloud-west")
            },
        )
        .await,
        told(&service, hello(&"x".repeat(200))).await,
    ];
    let server = service
        .client()
        .server(v1::ServerRequest {})
        .await
        .unwrap()
        .into_inner();
    let seen = seen.map(|line| line.replace(&server.federation, "OURS"));
    expect_test::expect![[r#"
        NotFound UNKNOWN_SITE [] there is no site `meyrn` | did you mean `meyrin`? `jero sites` lists them all
        FailedPrecondition SITE_CLAIMED [] the site `meyrin` is claimed by another agent until its session ends | stop the other agent, or give this one a site of its own
        FailedPrecondition FOREIGN_FEDERATION [hello.federation] this agent belongs to the federation theirs, not to OURS | give the agent a state directory of its own for this federation
        InvalidArgument BAD_HELLO [hello.incarnation] it is missing | name the agent's state directory by a random number
        InvalidArgument BAD_HELLO [hello.site] it is absurdly long | use at most 128 characters
    "#]].assert_eq(&(seen.join("\n") + "\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_out_of_order_end_the_session() {
    let service = Service::start("").await;
    let mut skipping = Agent::join(&service, "meyrin").await;
    skipping
        .say_as(9, Up::Heartbeat(v1::Heartbeat { number: 1 }))
        .await;
    let told = refused(skipping.hear().await);
    expect_test::expect!["Aborted SEQUENCE_BROKEN [sequence] message 4 was expected and 9 came | number the messages of each session from 1, and open a new one now"].assert_eq(&told);
    let mut twice = Agent::join(&service, "meyrin").await;
    twice.say(Up::Hello(hello("meyrin"))).await;
    let told = refused(twice.hear().await);
    assert!(
        told.starts_with("InvalidArgument INVALID [hello]"),
        "{told}"
    );
    // A stream that does not begin with its hello.
    let (messages, stream) = tokio::sync::mpsc::channel(1);
    let kind = Some(Up::Heartbeat(v1::Heartbeat { number: 1 }));
    messages
        .send(v1::AgentMessage { sequence: 1, kind })
        .await
        .unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    let mut answers = service
        .site_as(None)
        .session(stream)
        .await
        .unwrap()
        .into_inner();
    let told = refused(answers.message().await);
    assert!(
        told.starts_with("InvalidArgument BAD_HELLO [hello]"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_are_answered_and_a_newer_session_takes_over() {
    let service = Service::start("").await;
    let mut older = Agent::join(&service, "meyrin").await;
    older.say(Up::Heartbeat(v1::Heartbeat { number: 17 })).await;
    let v1::scheduler_message::Kind::Renewed(renewed) = older.hear().await.unwrap() else {
        panic!("not renewed")
    };
    assert_eq!(renewed.number, 17);
    let _newer = Agent::join(&service, "meyrin").await;
    let told = refused(older.hear().await);
    assert!(told.starts_with("Aborted SUPERSEDED"), "{told}");
}
