//! The agents' side: one stream per site, its messages to the driver and back.
//!
//! The rule it keeps: an agent speaks for the site that its token names and no
//! other, its first message is the hello, and its messages are numbered from 1
//! without a gap; whatever else comes ends the session with a typed status. What
//! the messages mean is [`crate::dispatch`]'s business.
//!
//! Two tasks per stream: one hears the agent, one passes on what the driver has
//! to say, so that a slow reader never keeps the other direction waiting.

use super::{Sent, until};
use crate::auth::{Caller, Tokens};
use crate::convert::report::{Said, said};
use crate::convert::status::{driver as unavailable, refusal, rejected};
use crate::dispatch::{Connection, Hello};
use crate::driver::Driver;
use jeroboam_core::policy::Policy;
use jeroboam_proto::v1;
use jeroboam_proto::v1::agent_message::Kind;
use jeroboam_proto::v1::site_server::{Site, SiteServer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// The longest message of an agent: what it says, as an event, stays below the
/// bound of a journal record, and a full report of 100,000 nodes fits.
const SITE_MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How long a stream may be open without its hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Messages on their way to the agent, beyond those that the driver holds.
const AHEAD: usize = 64;
/// Characters of a name in a hello.
const NAME_CHARS_MAX: usize = 128;

/// The service.
#[derive(Debug, Clone)]
pub struct SessionApi {
    driver: Driver,
    tokens: Arc<Tokens>,
    policy: Arc<Policy>,
    closing: watch::Receiver<bool>,
}

impl SessionApi {
    /// The service before a driver; `closing` ends all sessions.
    pub fn new(
        driver: Driver,
        tokens: Arc<Tokens>,
        policy: Arc<Policy>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        SessionApi {
            driver,
            tokens,
            policy,
            closing,
        }
    }

    /// For the server, with the bound on messages.
    pub fn into_server(self) -> SiteServer<Self> {
        SiteServer::new(self).max_decoding_message_size(SITE_MESSAGE_BYTES_MAX)
    }

    async fn open(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Sent<v1::SchedulerMessage>, Status> {
        let caller = Caller::of(&request)?;
        let messages = request.into_inner();
        let (sender, sent) = mpsc::channel(AHEAD);
        let api = self.clone();
        // The hello comes after the stream has begun: an agent waits for the
        // stream's headers before it says anything.
        tokio::spawn(async move {
            if let Err(status) = api.run(&caller, messages, &sender).await {
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(ReceiverStream::new(sent))
    }

    async fn run(
        &self,
        caller: &Caller,
        mut messages: Streaming<v1::AgentMessage>,
        sender: &mpsc::Sender<Result<v1::SchedulerMessage, Status>>,
    ) -> Result<(), Status> {
        let hello = tokio::time::timeout(HELLO_WITHIN, first(&mut messages)).await;
        let (hello, lineage) =
            hello.unwrap_or_else(|_| Err(broken("hello", "no hello came", "say hello first")))?;
        self.tokens.check_site(caller, &hello.site)?;
        let site = hello.site.clone();
        tracing::info!(site, %caller, version = hello.version, lineage, "an agent says hello");
        let (connection, mut outbox) = self.driver.open_site(hello).await.map_err(unavailable)?;
        let (refused, mut refusals) = oneshot::channel();
        let (driver, policy) = (self.driver.clone(), self.policy.clone());
        let hearing = tokio::spawn(async move {
            let end = hear(&driver, &policy, connection, messages).await;
            // Told even when this task alone has ended.
            let _ = refused.send(end);
        });
        let mut closing = self.closing.clone();
        let ended = loop {
            tokio::select! {
                end = &mut refusals => break end.unwrap_or(Ok(())),
                message = outbox.recv() => {
                    let Some(message) = message else { break Ok(()) };
                    if sender.send(message).await.is_err() {
                        break Ok(());
                    }
                }
                () = sender.closed() => break Ok(()),
                () = until(&mut closing) => break Err(Status::unavailable("the scheduler is shutting down")),
            }
        };
        hearing.abort();
        // A driver that has ended has no session to close.
        let _ = self.driver.site_gone(connection).await;
        match &ended {
            Ok(()) => tracing::info!(site, "a session ends"),
            Err(status) => {
                let why = status.message();
                tracing::info!(site, code = ?status.code(), why, "a session ends");
            }
        }
        ended
    }
}

/// The hello, which is the first message, and the lineage of the last welcome.
async fn first(messages: &mut Streaming<v1::AgentMessage>) -> Result<(Hello, u64), Status> {
    let message = messages.message().await?.unwrap_or_default();
    check_sequence(message.sequence, 1)?;
    let Some(Kind::Hello(hello)) = message.kind else {
        return Err(broken(
            "hello",
            "the first message is no hello",
            "say hello first",
        ));
    };
    let v1::Hello {
        site,
        federation,
        lineage,
        incarnation,
        version,
    } = hello;
    let names = [
        ("hello.site", &site),
        ("hello.federation", &federation),
        ("hello.incarnation", &incarnation),
        ("hello.version", &version),
    ];
    for (place, name) in names {
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(broken(
                place,
                "it is absurdly long",
                "use at most 128 characters",
            ));
        }
    }
    if incarnation.is_empty() {
        return Err(broken(
            "hello.incarnation",
            "it is missing",
            "name the agent's state directory by a random number",
        ));
    }
    let hello = Hello {
        site,
        federation,
        incarnation,
        version,
    };
    Ok((hello, lineage))
}

/// Passes on what the agent says until it ends its side, or says something wrong.
async fn hear(
    driver: &Driver,
    policy: &Policy,
    connection: Connection,
    mut messages: Streaming<v1::AgentMessage>,
) -> Result<(), Status> {
    let mut expected = 2;
    while let Some(message) = messages.message().await? {
        check_sequence(message.sequence, expected)?;
        expected += 1;
        match said(policy, message.kind).map_err(|cause| rejected(&cause))? {
            Said::State(said) => driver
                .from_site(connection, said)
                .await
                .map_err(unavailable)?,
            Said::Tail(chunk) => driver
                .tail_chunk(connection, chunk)
                .await
                .map_err(unavailable)?,
        }
    }
    Ok(())
}

fn check_sequence(got: u64, expected: u64) -> Result<(), Status> {
    if got == expected {
        return Ok(());
    }
    let message = format!("message {expected} was expected and {got} came");
    let remedy = "number the messages of each session from 1, and open a new one now";
    Err(refusal(
        Code::Aborted,
        "SEQUENCE_BROKEN",
        message,
        Some("sequence"),
        remedy,
    ))
}

fn broken(place: &str, what: &str, remedy: &str) -> Status {
    refusal(
        Code::InvalidArgument,
        "BAD_HELLO",
        what,
        Some(place),
        remedy,
    )
}

#[tonic::async_trait]
impl Site for SessionApi {
    type SessionStream = Sent<v1::SchedulerMessage>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        super::recorded("Session", self.open(request)).await
    }
}
