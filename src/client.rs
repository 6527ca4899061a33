//! The connection of `jero`'s verbs to a scheduler.
//!
//! The rule: a token never travels in the clear beyond this machine, and a
//! call that was cut off is repeated only where repeating it changes nothing
//! (`patience`). Which scheduler is `choice`'s. Entry point: [`Scheduler::of`].

mod choice;
mod patience;

use std::time::Duration;

use jeroboam_proto::v1;
use jeroboam_proto::v1::client_client::ClientClient;
use jeroboam_proto::v1::files_client::FilesClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Response, Status};

pub use choice::Remote;
pub use patience::Patience;

use crate::failure::Failure;
use choice::Choice;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Longest wait for the answer to a call that is no stream.
const CALL_MAX: Duration = Duration::from_secs(60);

/// How often a quiet connection is tried, and how long for an answer.
const ALIVE: Duration = Duration::from_secs(20);

/// Entries asked for at once from long lists.
pub const PAGE: u32 = 1_000;

/// The longest message that is taken from a scheduler.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The channel with the token put on every call.
type Authorized = InterceptedService<Channel, Bearer>;

/// Client of the service `Client`.
pub type Client = ClientClient<Authorized>;

/// Client of the service `Files`.
pub type Files = FilesClient<Authorized>;

/// A scheduler to talk to. It connects when first used, and again whenever
/// the connection was lost; clones share the connection.
#[derive(Clone)]
pub struct Scheduler {
    server: String,
    channel: Authorized,
}

/// Puts `authorization: Bearer TOKEN` on every call, if there is a token.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Scheduler {
    /// The scheduler that options, environment or configuration file choose.
    ///
    /// # Errors
    /// A choice that cannot be: see [`Remote`].
    pub fn of(remote: &Remote) -> Result<Self, Failure> {
        Self::at(Choice::of(remote)?)
    }

    fn at(choice: Choice) -> Result<Self, Failure> {
        let wrong = |error: tonic::transport::Error| {
            let what = format!(
                "{} is not the address of a scheduler: {error}",
                choice.server
            );
            Failure::input(
                what,
                "write it like http://127.0.0.1:7117 or https://HOST:PORT",
            )
        };
        let mut endpoint = Endpoint::from_shared(choice.server.clone()).map_err(wrong)?;
        endpoint = endpoint
            .connect_timeout(CONNECT_MAX)
            .http2_keep_alive_interval(ALIVE)
            .keep_alive_timeout(ALIVE)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if choice.server.starts_with("https:") {
            let mut tls = ClientTlsConfig::new();
            tls = match &choice.ca_pem {
                Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
                None => tls.with_native_roots(),
            };
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        }
        let channel = InterceptedService::new(endpoint.connect_lazy(), Bearer(choice.bearer));
        Ok(Self {
            server: choice.server,
            channel,
        })
    }

    /// For calls of the service `Client`.
    pub fn client(&self) -> Client {
        ClientClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// For calls of the service `Files`.
    pub fn files(&self) -> Files {
        FilesClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// What a call's status means for the user.
    pub fn failure(&self, status: &Status) -> Failure {
        Failure::of_status(status, &self.server)
    }

    /// Waits for the answer to a call, within bounds.
    ///
    /// # Errors
    /// Unreachable or refused.
    pub async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        self.status_of(call)
            .await
            .map_err(|status| self.failure(&status))
    }

    /// The same for callers that look at the status themselves.
    ///
    /// # Errors
    /// The call's status; `Unavailable` if no answer came in time.
    pub async fn status_of<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        match tokio::time::timeout(CALL_MAX, call).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::unavailable(format!(
                "no answer within {} s",
                CALL_MAX.as_secs()
            ))),
        }
    }

    /// Repeats a call that changes nothing, or nothing twice, while its
    /// connection is lost.
    ///
    /// # Errors
    /// Refused, or unreachable for longer than the patience lasts.
    pub async fn insist<T, F>(
        &self,
        patience: &mut Patience,
        mut call: impl FnMut(Self) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        loop {
            match self.status_of(call(self.clone())).await {
                Ok(answer) => {
                    patience.restore();
                    return Ok(answer);
                }
                Err(status) => patience.bear(self, &status).await?,
            }
        }
    }

    /// A job, its spec, and its tasks by state.
    ///
    /// # Errors
    /// Unreachable or refused.
    pub async fn describe(
        &self,
        job: u64,
        patience: &mut Patience,
    ) -> Result<v1::DescribeJobReply, Failure> {
        let request = v1::DescribeJobRequest {
            job,
            attempts_max: 1,
            ..Default::default()
        };
        self.insist(patience, |scheduler| {
            let request = request.clone();
            async move { scheduler.client().describe_job(request).await }
        })
        .await
    }

    /// All jobs of a batch, live and finished, by id.
    ///
    /// # Errors
    /// Unreachable or refused.
    pub async fn jobs_of_batch(
        &self,
        batch: u64,
        patience: &mut Patience,
    ) -> Result<Vec<v1::Job>, Failure> {
        let mut jobs = std::collections::BTreeMap::new();
        for finished in [true, false] {
            let limit = PAGE;
            let mut request = v1::ListJobsRequest {
                batch,
                finished,
                limit,
                ..Default::default()
            };
            loop {
                let page = self
                    .insist(patience, |scheduler| {
                        let request = request.clone();
                        async move { scheduler.client().list_jobs(request).await }
                    })
                    .await?;
                jobs.extend(page.jobs.into_iter().map(|job| (job.id, job)));
                if page.next_page_token.is_empty() {
                    break;
                }
                request.page_token = page.next_page_token;
            }
        }
        Ok(jobs.into_values().collect())
    }
}
