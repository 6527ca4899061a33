//! The client API: what `jero` and every other client speaks.
//!
//! The rule it keeps: every call is authenticated, checked and bounded before it
//! reaches the driver; what it answers is durable, since the driver releases
//! nothing earlier; and what it refuses carries reason, place and remedy.
//!
//! It holds no state: the World is looked at through the [`Driver`], finished
//! work through the history, logs and files through the spool. What a caller may
//! do is in [`rights`]; the conversions are [`crate::convert`]'s; the agents'
//! side is [`session`], files are [`crate::files`].
//!
//! One file per group of calls. Entry point: [`ClientApi`].

mod batches;
mod change;
mod explain;
mod jobs;
mod logs;
mod paging;
mod queues;
pub mod rights;
pub mod session;
mod sites;
mod submit;

use crate::auth::Caller;
use crate::config::Retention;
use crate::convert::status::refusal;
use crate::driver::Driver;
use crate::files::InUse;
use crate::history_record::HistoryError;
use crate::store::spool::Spool;
use jeroboam_core::policy::Policy;
use jeroboam_proto::v1;
use jeroboam_proto::v1::client_server::{Client, ClientServer};
use rights::Rights;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

/// The largest message taken: a batch of a million jobs fits.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Streams that watch a batch or follow a log at one time, at most.
const STREAMS_MAX: usize = 2_000;
/// Predictions that are waited for at one time, at most.
const PREDICTIONS_MAX: usize = 8;
/// Messages of one stream that may wait for a slow client.
const STREAM_AHEAD: usize = 16;

/// What a stream sends.
pub(crate) type Sent<T> = ReceiverStream<Result<T, Status>>;

/// The service.
#[derive(Debug, Clone)]
pub struct ClientApi {
    driver: Driver,
    spool: Spool,
    in_use: InUse,
    retention: Retention,
    policy: Arc<Policy>,
    rights: Rights,
    streams: Arc<Semaphore>,
    predictions: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
}

/// What the service works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The owner of the World.
    pub driver: Driver,
    /// Contents by digest.
    pub spool: Spool,
    /// Shared with the Files service and the cleaner.
    pub in_use: InUse,
    /// Bounds of inputs.
    pub retention: Retention,
    /// The one in force: it changes at a start only.
    pub policy: Arc<Policy>,
    /// Who may do what.
    pub rights: Rights,
    /// True once streams are to end.
    pub closing: watch::Receiver<bool>,
}

impl ClientApi {
    /// The service over its parts.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            driver,
            spool,
            in_use,
            retention,
            policy,
            rights,
            closing,
        } = parts;
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        let predictions = Arc::new(Semaphore::new(PREDICTIONS_MAX));
        ClientApi {
            driver,
            spool,
            in_use,
            retention,
            policy,
            rights,
            streams,
            predictions,
            closing,
        }
    }

    /// For the server, with the bound on messages.
    pub fn into_server(self) -> ClientServer<Self> {
        ClientServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Runs what fills a stream until it has, the client left, or the service ends.
    fn stream<T: Send + 'static, F>(
        &self,
        fill: impl FnOnce(Self, Sink<T>) -> F,
    ) -> Result<Sent<T>, Status>
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let permit = self.streams.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{STREAMS_MAX} streams are open");
            refusal(
                Code::Unavailable,
                "TOO_MANY_STREAMS",
                message,
                None,
                "close some, or try again later",
            )
        })?;
        let (sender, messages) = tokio::sync::mpsc::channel(STREAM_AHEAD);
        let filled = fill(self.clone(), Sink(sender.clone()));
        let mut closing = self.closing.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let ended = tokio::select! {
                ended = filled => ended,
                () = sender.closed() => return,
                () = until(&mut closing) => {
                    Err(Status::unavailable("the scheduler is shutting down"))
                }
            };
            if let Err(status) = ended {
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(ReceiverStream::new(messages))
    }
}

/// The sending end of a stream.
#[derive(Debug)]
pub(crate) struct Sink<T>(tokio::sync::mpsc::Sender<Result<T, Status>>);

impl<T> Sink<T> {
    /// Sends a message, waiting for a slow client.
    ///
    /// # Errors
    /// The client has left.
    pub(crate) async fn send(&self, message: T) -> Result<(), Status> {
        self.0
            .send(Ok(message))
            .await
            .map_err(|_| Status::cancelled("the client has left"))
    }
}

/// Returns once streams are to end.
pub(crate) async fn until(closing: &mut watch::Receiver<bool>) {
    // A server that is gone has closed, too.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Runs what reads or writes the disk on a thread where that holds nobody up.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        tracing::error!(%error, "a task on the disk did not end");
        Status::internal("the scheduler failed; the operator finds the cause in its log")
    })
}

/// A history that cannot be read is the operator's business.
pub(crate) fn history_failed(error: &HistoryError) -> Status {
    tracing::error!(%error, "the history cannot be read");
    let remedy = "the operator finds the cause in the scheduler's log";
    refusal(
        Code::Internal,
        "HISTORY_UNREADABLE",
        "the history cannot be read",
        None,
        remedy,
    )
}

/// Counts a call by its outcome.
pub(crate) async fn recorded<T>(
    method: &'static str,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<Response<T>, Status> {
    let answer = answer.await;
    let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
    crate::metrics::record_call(method, code);
    answer.map(Response::new)
}

/// Answers a caller who is no site, and counts the call.
async fn answered<T, A, F>(
    method: &'static str,
    request: Request<T>,
    answer: impl FnOnce((Caller, T)) -> F,
) -> Answer<A>
where
    F: Future<Output = Result<A, Status>>,
{
    let asked = async {
        let caller = Caller::of(&request)?;
        caller.user()?;
        answer((caller, request.into_inner())).await
    };
    recorded(method, asked).await
}

impl ClientApi {
    async fn server_reply(&self) -> Result<v1::ServerReply, Status> {
        let version = env!("CARGO_PKG_VERSION").to_string();
        let look = |world: &jeroboam_core::world::World, now: jeroboam_core::time::TimeMs| {
            v1::ServerReply {
                version: String::new(),
                federation: world.federation().into(),
                lineage: world.lineage(),
                term: world.term(),
                now_ms: now.0,
                stopped: String::new(),
            }
        };
        match self.driver.read(look).await {
            Ok(reply) => Ok(v1::ServerReply { version, ..reply }),
            // That it takes no work is the answer to this question, not its failure.
            Err(error) => Ok(v1::ServerReply {
                version,
                stopped: error.to_string(),
                ..Default::default()
            }),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Client for ClientApi {
    async fn server(&self, request: Request<v1::ServerRequest>) -> Answer<v1::ServerReply> {
        Caller::of(&request)?;
        recorded("Server", self.server_reply()).await
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitReply> {
        answered("Submit", request, |asked| self.accept_batch(asked)).await
    }

    async fn list_batches(
        &self,
        request: Request<v1::ListBatchesRequest>,
    ) -> Answer<v1::ListBatchesReply> {
        answered("ListBatches", request, |(_, asked)| self.batches(asked)).await
    }

    type WatchBatchStream = Sent<v1::Batch>;

    async fn watch_batch(
        &self,
        request: Request<v1::WatchBatchRequest>,
    ) -> Answer<Self::WatchBatchStream> {
        answered("WatchBatch", request, |(_, asked)| self.watch(asked)).await
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsReply> {
        answered("ListJobs", request, |(_, asked)| self.jobs(asked)).await
    }

    async fn describe_job(
        &self,
        request: Request<v1::DescribeJobRequest>,
    ) -> Answer<v1::DescribeJobReply> {
        answered("DescribeJob", request, |asked| self.describe(asked)).await
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Answer<v1::ExplainReply> {
        answered("Explain", request, |(_, asked)| self.explained(asked)).await
    }

    async fn change(&self, request: Request<v1::ChangeRequest>) -> Answer<v1::ChangeReply> {
        answered("Change", request, |asked| self.change_tasks(asked)).await
    }

    type LogsStream = Sent<v1::LogsReply>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        answered("Logs", request, |asked| self.log(asked)).await
    }

    async fn list_queues(
        &self,
        request: Request<v1::ListQueuesRequest>,
    ) -> Answer<v1::ListQueuesReply> {
        answered("ListQueues", request, |(_, asked)| self.queues(asked)).await
    }

    async fn create_queue(&self, request: Request<v1::CreateQueueRequest>) -> Answer<v1::Queue> {
        answered("CreateQueue", request, |asked| self.new_queue(asked)).await
    }

    async fn set_queue(&self, request: Request<v1::SetQueueRequest>) -> Answer<v1::Queue> {
        answered("SetQueue", request, |asked| self.change_queue(asked)).await
    }

    async fn list_sites(
        &self,
        request: Request<v1::ListSitesRequest>,
    ) -> Answer<v1::ListSitesReply> {
        answered("ListSites", request, |(_, asked)| self.sites(asked)).await
    }

    async fn set_site(&self, request: Request<v1::SetSiteRequest>) -> Answer<v1::SiteStatus> {
        answered("SetSite", request, |asked| self.change_site(asked)).await
    }

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Answer<v1::ListNodesReply> {
        answered("ListNodes", request, |(_, asked)| self.nodes(asked)).await
    }
}
