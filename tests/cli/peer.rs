//! The other end of the client API, whose connections can be cut at a chosen
//! moment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use jeroboam_proto::v1;
use jeroboam_proto::v1::client_server::{Client, ClientServer};
use jeroboam_proto::v1::files_server::{Files, FilesServer};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::answers;

/// Where a call can be held until the peer is restarted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// A submission was taken, its answer not sent.
    Submitted,
    /// So much of an upload was taken.
    ReceivedBytes(usize),
    /// So much of a download was sent.
    SentBytes(usize),
    /// The first state of a watched batch was sent.
    Watched,
    /// Half of a log was sent.
    LogHalf,
}

/// What the peer was told and holds.
#[derive(Debug, Default)]
pub struct Seen {
    pub calls: u32,
    pub authorization: Option<String>,
    pub submissions: Vec<v1::SubmitRequest>,
    pub changes: Vec<v1::ChangeRequest>,
    pub queues_set: Vec<v1::SetQueueRequest>,
    pub sites_set: Vec<v1::SetSiteRequest>,
    pub contents: BTreeMap<String, Vec<u8>>,
    pub put_offsets: Vec<u64>,
    pub get_offsets: Vec<u64>,
    outputs: Vec<(String, u64)>,
    hold: Option<(Moment, mpsc::Sender<()>)>,
}

/// A running peer.
pub struct Peer {
    address: SocketAddr,
    runtime: Option<Runtime>,
    seen: Arc<Mutex<Seen>>,
    held: Option<mpsc::Receiver<()>>,
}

impl Peer {
    pub fn start() -> Self {
        let seen = Arc::default();
        let (runtime, address) = serve(([127, 0, 0, 1], 0).into(), &seen);
        Self {
            address,
            runtime: Some(runtime),
            seen,
            held: None,
        }
    }

    pub fn server(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// The next call that comes to this moment does not go on.
    pub fn hold_at(&mut self, moment: Moment) {
        let (sender, receiver) = mpsc::channel();
        self.seen().hold = Some((moment, sender));
        self.held = Some(receiver);
    }

    pub fn wait_until_held(&self) {
        let held = self
            .held
            .as_ref()
            .unwrap()
            .recv_timeout(Duration::from_secs(30));
        held.expect("no call came to that moment");
    }

    /// Cuts all connections and listens again at the same address.
    pub fn restart(&mut self) {
        self.runtime
            .take()
            .unwrap()
            .shutdown_timeout(Duration::from_secs(10));
        let (runtime, _) = serve(self.address, &self.seen);
        self.runtime = Some(runtime);
    }

    /// An output of job-17[0]; gives back its digest.
    pub fn offer(&self, content: &[u8]) -> String {
        let digest = digest(content);
        let mut seen = self.seen();
        seen.outputs.push((digest.clone(), content.len() as u64));
        seen.contents.insert(digest.clone(), content.to_vec());
        digest
    }

    /// Flips a bit of a content.
    pub fn corrupt(&self, digest: &str) {
        self.seen().contents.get_mut(digest).unwrap()[0] ^= 1;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn digest(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn serve(address: SocketAddr, seen: &Arc<Mutex<Seen>>) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let service = Service(Arc::clone(seen));
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(address))
        .unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(ClientServer::new(service.clone()))
        .add_service(FilesServer::new(service));
    runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (runtime, address)
}

#[derive(Clone)]
struct Service(Arc<Mutex<Seen>>);

type Answer<T> = Result<Response<T>, Status>;
type Sent<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }

    /// Counts the call and notes who makes it.
    fn take<T>(&self, request: Request<T>) -> T {
        let mut seen = self.seen();
        seen.calls += 1;
        let authorization = request.metadata().get("authorization");
        seen.authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        request.into_inner()
    }

    /// Never goes on if it is to be held here.
    async fn pass(&self, here: impl Fn(Moment) -> bool) {
        let held = {
            let mut seen = self.seen();
            seen.hold.take_if(|(moment, _)| here(*moment))
        };
        if let Some((_, sender)) = held {
            sender.send(()).unwrap();
            std::future::pending().await
        }
    }

    /// Sends these in order, each once the connection has taken the one before.
    fn send<T: Send + 'static>(&self, messages: Vec<(T, Option<Moment>)>) -> Response<Sent<T>> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let service = self.clone();
        tokio::spawn(async move {
            for (message, moment) in messages {
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
                if let Some(moment) = moment {
                    // The stream takes the message before it gives room again.
                    sender.reserve().await.map(drop).ok();
                    service.pass(|held| held == moment).await;
                }
            }
        });
        Response::new(Box::pin(ReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl Client for Service {
    type WatchBatchStream = Sent<v1::Batch>;
    type LogsStream = Sent<v1::LogsReply>;

    async fn server(&self, request: Request<v1::ServerRequest>) -> Answer<v1::ServerReply> {
        self.take(request);
        Ok(Response::new(v1::ServerReply::default()))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitReply> {
        let request = self.take(request);
        self.seen().submissions.push(request);
        self.pass(|moment| moment == Moment::Submitted).await;
        let warnings = vec!["no site has so much memory\u{7}".to_owned()];
        Ok(Response::new(v1::SubmitReply {
            batch: 3,
            jobs: vec![17],
            warnings,
        }))
    }

    async fn list_batches(
        &self,
        request: Request<v1::ListBatchesRequest>,
    ) -> Answer<v1::ListBatchesReply> {
        self.take(request);
        let batches = vec![answers::batch(3, v1::TaskState::Succeeded)];
        Ok(Response::new(v1::ListBatchesReply {
            batches,
            ..Default::default()
        }))
    }

    async fn watch_batch(
        &self,
        request: Request<v1::WatchBatchRequest>,
    ) -> Answer<Self::WatchBatchStream> {
        let request = self.take(request);
        let mut running = answers::batch(request.batch, v1::TaskState::Running);
        running.finished_ms = 0;
        // batch-4 is the one that fails.
        let end = if request.batch == 4 {
            v1::TaskState::Failed
        } else {
            v1::TaskState::Succeeded
        };
        let ended = answers::batch(request.batch, end);
        Ok(self.send(vec![(running, Some(Moment::Watched)), (ended, None)]))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsReply> {
        let request = self.take(request);
        let job = answers::job(17, request.batch.max(3));
        let jobs = if request.finished {
            Vec::new()
        } else {
            vec![job]
        };
        Ok(Response::new(v1::ListJobsReply {
            jobs,
            ..Default::default()
        }))
    }

    async fn describe_job(
        &self,
        request: Request<v1::DescribeJobRequest>,
    ) -> Answer<v1::DescribeJobReply> {
        self.take(request);
        Ok(Response::new(answers::description()))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Answer<v1::ExplainReply> {
        let task = self.take(request).task.unwrap_or_default();
        Ok(Response::new(match task {
            v1::Task { job: 17, index: 1 } | v1::Task { job: 18, .. } => {
                answers::explanation_of_end(task)
            }
            _ => answers::explanation(Some(task)),
        }))
    }

    async fn change(&self, request: Request<v1::ChangeRequest>) -> Answer<v1::ChangeReply> {
        let request = self.take(request);
        if request.batch == 99 {
            return Err(answers::refusal());
        }
        self.seen().changes.push(request);
        Ok(Response::new(v1::ChangeReply {
            changed: 4,
            stopping: 2,
        }))
    }

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        const LOG: &str = "first half, second half\n";
        const HALF: usize = "first half, ".len();
        let request = self.take(request);
        let reply = |first: usize, end: usize| v1::LogsReply {
            data: LOG.as_bytes()[first..end].into(),
            attempt: 1,
            offset: first as u64,
        };
        let pieces = match (request.attempt, request.offset) {
            (0, 0) => vec![
                (reply(0, HALF), Some(Moment::LogHalf)),
                (reply(HALF, LOG.len()), None),
            ],
            (1, offset) => vec![(reply(usize::try_from(offset).unwrap(), LOG.len()), None)],
            other => return Err(Status::invalid_argument(format!("{other:?}"))),
        };
        Ok(self.send(pieces))
    }

    async fn list_queues(
        &self,
        request: Request<v1::ListQueuesRequest>,
    ) -> Answer<v1::ListQueuesReply> {
        self.take(request);
        let queues = ["cms.higgs", "atlas", "cms", "cms-old"]
            .map(answers::queue)
            .into();
        Ok(Response::new(v1::ListQueuesReply { queues }))
    }

    async fn create_queue(&self, request: Request<v1::CreateQueueRequest>) -> Answer<v1::Queue> {
        let request = self.take(request);
        let mut queue = answers::queue(&request.name);
        queue.submitters = request.submitters;
        queue.submitters_above.clear();
        queue.warnings = vec!["nobody may submit to it\u{7}".to_owned()];
        Ok(Response::new(queue))
    }

    async fn set_queue(&self, request: Request<v1::SetQueueRequest>) -> Answer<v1::Queue> {
        let request = self.take(request);
        let queue = answers::queue(&request.name);
        self.seen().queues_set.push(request);
        Ok(Response::new(queue))
    }

    async fn list_sites(
        &self,
        request: Request<v1::ListSitesRequest>,
    ) -> Answer<v1::ListSitesReply> {
        let request = self.take(request);
        let mut sites = answers::sites();
        sites.retain(|site| request.name.is_empty() || site.name == request.name);
        Ok(Response::new(v1::ListSitesReply { sites }))
    }

    async fn set_site(&self, request: Request<v1::SetSiteRequest>) -> Answer<v1::SiteStatus> {
        let request = self.take(request);
        self.seen().sites_set.push(request);
        Ok(Response::new(answers::sites().remove(0)))
    }

    async fn list_nodes(
        &self,
        request: Request<v1::ListNodesRequest>,
    ) -> Answer<v1::ListNodesReply> {
        let request = self.take(request);
        // Two pages of one node each.
        let (node, next_page_token) = match request.page_token.as_str() {
            "" => (answers::node("n1"), "after n1".to_owned()),
            _ => (answers::node_over_committed("n2"), String::new()),
        };
        let nodes = vec![node];
        Ok(Response::new(v1::ListNodesReply {
            nodes,
            next_page_token,
        }))
    }
}

#[tonic::async_trait]
impl Files for Service {
    type GetStream = Sent<v1::GetReply>;

    async fn status(&self, request: Request<v1::FileStatusRequest>) -> Answer<v1::FileStatusReply> {
        let request = self.take(request);
        let seen = self.seen();
        let held = seen.contents.get(&request.digest);
        let received_bytes = held.map_or(0, |content| content.len() as u64);
        let complete = held.is_some_and(|content| digest(content) == request.digest);
        Ok(Response::new(v1::FileStatusReply {
            received_bytes,
            complete,
        }))
    }

    async fn put(
        &self,
        request: Request<Streaming<v1::PutRequest>>,
    ) -> Answer<v1::FileStatusReply> {
        let mut stream = request.into_inner();
        let first = stream
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("empty"))?;
        let (name, size_bytes) = (first.digest.clone(), first.size_bytes);
        {
            let mut seen = self.seen();
            let held = seen.contents.get(&name).map_or(0, Vec::len) as u64;
            if first.offset != held {
                return Err(Status::out_of_range(format!("{held} bytes are held")));
            }
            seen.put_offsets.push(first.offset);
            assert!(!first.queue.is_empty(), "on whose account is it?");
        }
        let mut next = Some(first);
        let mut received = 0;
        while let Some(message) = next {
            {
                let mut seen = self.seen();
                let content = seen.contents.entry(name.clone()).or_default();
                content.extend_from_slice(&message.data);
                received = content.len();
            }
            self.pass(|moment| matches!(moment, Moment::ReceivedBytes(at) if received >= at))
                .await;
            next = stream.message().await?;
        }
        let complete = received as u64 == size_bytes;
        Ok(Response::new(v1::FileStatusReply {
            received_bytes: received as u64,
            complete,
        }))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Answer<Self::GetStream> {
        let request = self.take(request);
        self.seen().get_offsets.push(request.offset);
        let content = self.seen().contents[&request.digest].clone();
        let size_bytes = content.len() as u64;
        let mut sent = usize::try_from(request.offset).unwrap();
        let mut messages = Vec::new();
        for chunk in content[sent..].chunks(100_000) {
            sent += chunk.len();
            let data = chunk.to_vec().into();
            messages.push((
                v1::GetReply { size_bytes, data },
                Some(Moment::SentBytes(sent)),
            ));
        }
        Ok(self.send(messages))
    }

    async fn list_outputs(
        &self,
        request: Request<v1::ListOutputsRequest>,
    ) -> Answer<v1::ListOutputsReply> {
        let request = self.take(request);
        let seen = self.seen();
        let outputs = seen
            .outputs
            .iter()
            .map(|(digest, size_bytes)| v1::TaskOutput {
                task: Some(v1::Task {
                    job: request.job,
                    index: 0,
                }),
                file: Some(v1::File {
                    path: "data/big.bin".into(),
                    digest: digest.clone(),
                    size_bytes: *size_bytes,
                    executable: false,
                }),
            });
        let outputs = outputs.collect();
        Ok(Response::new(v1::ListOutputsReply {
            outputs,
            ..Default::default()
        }))
    }
}
