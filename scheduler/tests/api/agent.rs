//! An agent that says what a test has it say.

use crate::service::{PATIENCE, Service};
use jeroboam_proto::v1;
use jeroboam_proto::v1::agent_message::Kind as Up;
use jeroboam_proto::v1::scheduler_message::Kind as Down;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

pub struct Agent {
    messages: mpsc::Sender<v1::AgentMessage>,
    pub answers: Streaming<v1::SchedulerMessage>,
    sequence: u64,
}

pub fn hello(site: &str) -> v1::Hello {
    v1::Hello {
        site: site.into(),
        incarnation: format!("{site}-1"),
        version: "0.1.0".into(),
        ..Default::default()
    }
}

impl Agent {
    /// Opens a stream and says hello.
    pub async fn open(service: &Service, token: Option<&str>, hello: v1::Hello) -> Agent {
        let (messages, stream) = mpsc::channel(64);
        let answers = service
            .site_as(token)
            .session(ReceiverStream::new(stream))
            .await
            .unwrap()
            .into_inner();
        let mut agent = Agent {
            messages,
            answers,
            sequence: 0,
        };
        agent.say(Up::Hello(hello)).await;
        agent
    }

    /// A session of a site with one node of four cores at double speed.
    pub async fn join(service: &Service, site: &str) -> Agent {
        Agent::join_as(service, None, site).await
    }

    pub async fn join_as(service: &Service, token: Option<&str>, site: &str) -> Agent {
        let mut agent = Agent::open(service, token, hello(site)).await;
        let Down::Welcome(welcome) = agent.hear().await.unwrap() else {
            panic!("no welcome")
        };
        assert_eq!(welcome.contact_limit_ms, 60_000);
        agent
            .say(Up::Inventory(v1::Inventory {
                session: welcome.session,
                leases: vec![],
            }))
            .await;
        let Down::Verdict(_) = agent.hear().await.unwrap() else {
            panic!("no verdict")
        };
        agent
            .say(Up::Capacity(v1::Capacity {
                full: true,
                nodes: vec![node("n1")],
                removed: vec![],
            }))
            .await;
        agent
    }

    pub async fn say(&mut self, kind: Up) {
        self.sequence += 1;
        self.say_as(self.sequence, kind).await;
    }

    pub async fn say_as(&mut self, sequence: u64, kind: Up) {
        let message = v1::AgentMessage {
            sequence,
            kind: Some(kind),
        };
        self.messages.send(message).await.unwrap();
    }

    /// The next message, or how the stream ended.
    pub async fn hear(&mut self) -> Result<Down, Status> {
        let heard = tokio::time::timeout(PATIENCE, self.answers.message())
            .await
            .unwrap();
        Ok(heard?.expect("the stream goes on").kind.unwrap())
    }

    pub async fn granted(&mut self) -> v1::Grant {
        match self.hear().await.unwrap() {
            Down::Grant(grant) => grant,
            other => panic!("no grant but {other:?}"),
        }
    }

    pub async fn report(&mut self, lease: Option<v1::Lease>, kind: v1::report::Kind) {
        self.say(Up::Report(v1::Report {
            lease,
            kind: Some(kind),
        }))
        .await;
    }

    pub async fn running(&mut self, lease: Option<v1::Lease>) {
        self.report(
            lease,
            v1::report::Kind::Running(v1::Running { started_ms: 1 }),
        )
        .await;
    }

    /// Reports the end and waits until the scheduler has it for good.
    pub async fn ended(&mut self, lease: Option<v1::Lease>, ended: v1::Ended) {
        self.report(lease, v1::report::Kind::Ended(ended)).await;
        self.await_ack(lease).await;
    }

    pub async fn await_ack(&mut self, lease: Option<v1::Lease>) {
        match self.hear().await.unwrap() {
            Down::Ack(ack) => assert_eq!((ack.lease, ack.ended), (lease, true)),
            other => panic!("no acknowledgement but {other:?}"),
        }
    }
}

pub fn node(name: &str) -> v1::NodeReport {
    v1::NodeReport {
        name: name.into(),
        cluster: "main".into(),
        coe: v1::Coe::Process.into(),
        kernel: "boot-1".into(),
        capacity: Some(v1::Resources {
            cpu_milli: 4_000,
            memory_mib: 4_096,
            ..Default::default()
        }),
        speed_milli: 20_000,
        schedulable: true,
        ..Default::default()
    }
}

/// An end with an exit code.
pub fn exit(code: i32) -> v1::Ended {
    let kind = Some(v1::outcome::Kind::ExitCode(code));
    let usage = v1::Usage {
        started_ms: 1_000,
        ended_ms: 3_000,
        cpu_ms: 1_500,
        memory_peak_mib: 32,
    };
    v1::Ended {
        outcome: Some(v1::Outcome { kind }),
        usage: Some(usage),
        ..Default::default()
    }
}
