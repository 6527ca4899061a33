//! A scripted scheduler: sessions whose messages the test says itself, and a
//! Files service in memory whose transfers it can cut.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jeroboam_proto::v1;
use jeroboam_proto::v1::files_server::{Files, FilesServer};
use jeroboam_proto::v1::site_server::{Site, SiteServer};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};
use v1::agent_message::Kind as Up;
use v1::scheduler_message::Kind as Down;

pub const WAIT_MAX: Duration = Duration::from_secs(30);
const CHUNK_BYTES: usize = 100_000;

/// The scheduler's half of one stream.
pub struct Session {
    up: mpsc::UnboundedReceiver<v1::AgentMessage>,
    down: mpsc::Sender<Result<v1::SchedulerMessage, Status>>,
    said: u64,
    heard: u64,
}

impl Session {
    pub async fn say(&mut self, kind: Down) {
        self.said += 1;
        let message = v1::SchedulerMessage {
            sequence: self.said,
            kind: Some(kind),
        };
        // A stream that the agent closed is seen by `next`.
        let _ = self.down.send(Ok(message)).await;
    }

    /// The next message but heartbeats, which are answered; `None` at the end.
    pub async fn next(&mut self) -> Option<Up> {
        loop {
            let message = tokio::time::timeout(WAIT_MAX, self.up.recv()).await;
            let message = message.expect("the agent says something")?;
            self.heard += 1;
            assert_eq!(message.sequence, self.heard, "numbered per session");
            match message.kind.expect("a kind") {
                Up::Heartbeat(v1::Heartbeat { number }) => {
                    self.say(Down::Renewed(v1::Renewed { number })).await;
                }
                kind => return Some(kind),
            }
        }
    }

    pub async fn report(&mut self) -> v1::report::Kind {
        match self.next().await {
            Some(Up::Report(report)) => report.kind.expect("a kind"),
            other => panic!("a report was expected, not {other:?}"),
        }
    }

    /// The end of the only attempt, whatever is reported before it.
    pub async fn end(&mut self) -> v1::Ended {
        loop {
            if let v1::report::Kind::Ended(ended) = self.report().await {
                return ended;
            }
        }
    }

    pub async fn hello(&mut self) -> v1::Hello {
        match self.next().await {
            Some(Up::Hello(hello)) => hello,
            other => panic!("a hello was expected, not {other:?}"),
        }
    }

    pub async fn welcome(&mut self, federation: &str) {
        self.say(Down::Welcome(v1::Welcome {
            federation: federation.to_owned(),
            lineage: 1,
            term: 1,
            session: 1,
            contact_limit_ms: 600_000,
            heartbeat_interval_ms: 200,
        }))
        .await;
    }

    /// Greets and takes the inventory, which it returns; every lease is kept.
    pub async fn begin(&mut self) -> Vec<v1::HeldLease> {
        self.hello().await;
        self.welcome("lhc").await;
        let Some(Up::Inventory(inventory)) = self.next().await else {
            panic!("an inventory was expected");
        };
        let keep = inventory.leases.iter().filter_map(|held| held.lease);
        let keep = keep.collect();
        self.say(Down::Verdict(v1::Verdict {
            keep,
            ..Default::default()
        }))
        .await;
        let Some(Up::Capacity(capacity)) = self.next().await else {
            panic!("the capacity was expected");
        };
        assert!(capacity.full);
        assert_eq!(capacity.nodes[0].name, "n1");
        inventory.leases
    }

    pub async fn ack(&mut self, lease: v1::Lease) {
        self.say(Down::Ack(v1::Ack {
            lease: Some(lease),
            ended: true,
        }))
        .await;
    }
}

/// What the Files service holds, and what it is to do wrong.
#[derive(Default)]
pub struct Store {
    pub whole: BTreeMap<String, Vec<u8>>,
    pub part: BTreeMap<String, Vec<u8>>,
    pub outputs: BTreeMap<u64, Vec<v1::TaskOutput>>,
    /// Bytes after which the next transfers break, one entry each; none: it does not.
    pub cuts: VecDeque<Option<usize>>,
    /// The offsets of all transfers.
    pub offsets: Vec<u64>,
    pub calls: usize,
}

impl Store {
    pub fn add(&mut self, content: &[u8]) -> v1::File {
        let digest = digest(content);
        self.whole.insert(digest.clone(), content.to_vec());
        v1::File {
            digest,
            size_bytes: content.len() as u64,
            ..Default::default()
        }
    }

    pub fn content(&self, file: &v1::File) -> &[u8] {
        &self.whole[&file.digest]
    }

    fn status(&self, digest: &str) -> v1::FileStatusReply {
        let whole = self.whole.get(digest).map(Vec::len);
        let held = whole.or_else(|| self.part.get(digest).map(Vec::len));
        v1::FileStatusReply {
            received_bytes: held.unwrap_or(0) as u64,
            complete: whole.is_some(),
        }
    }
}

/// A scripted scheduler on a free port.
pub struct Peer {
    pub address: SocketAddr,
    pub store: Arc<Mutex<Store>>,
    sessions: AsyncMutex<mpsc::UnboundedReceiver<Session>>,
}

impl Peer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, sessions) = mpsc::unbounded_channel();
        let store = Arc::new(Mutex::default());
        let service = Service {
            opened,
            store: Arc::clone(&store),
        };
        let server = tonic::transport::Server::builder()
            .add_service(SiteServer::new(service.clone()))
            .add_service(FilesServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        Self {
            address,
            store,
            sessions: AsyncMutex::new(sessions),
        }
    }

    /// The next stream that an agent opens.
    pub async fn session(&self) -> Session {
        let mut sessions = self.sessions.lock().await;
        let next = tokio::time::timeout(WAIT_MAX, sessions.recv()).await;
        next.expect("the agent dials").unwrap()
    }

    pub fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }
}

pub fn digest(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone)]
struct Service {
    opened: mpsc::UnboundedSender<Session>,
    store: Arc<Mutex<Store>>,
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Site for Service {
    type SessionStream = ReceiverStream<Result<v1::SchedulerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (down, replies) = mpsc::channel(64);
        let (heard, up) = mpsc::unbounded_channel();
        let mut messages = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                if heard.send(message).is_err() {
                    return;
                }
            }
        });
        let session = Session {
            up,
            down,
            said: 0,
            heard: 0,
        };
        let _ = self.opened.send(session);
        Ok(Response::new(ReceiverStream::new(replies)))
    }
}

#[tonic::async_trait]
impl Files for Service {
    type GetStream = Replies<v1::GetReply>;

    async fn status(
        &self,
        request: Request<v1::FileStatusRequest>,
    ) -> Result<Response<v1::FileStatusReply>, Status> {
        let mut store = self.store.lock().unwrap();
        store.calls += 1;
        Ok(Response::new(store.status(&request.get_ref().digest)))
    }

    async fn put(
        &self,
        request: Request<Streaming<v1::PutRequest>>,
    ) -> Result<Response<v1::FileStatusReply>, Status> {
        let mut messages = request.into_inner();
        let mut wanted: Option<(String, u64)> = None;
        let mut cut_after = None;
        while let Some(message) = messages.message().await? {
            let mut store = self.store.lock().unwrap();
            if wanted.is_none() {
                store.calls += 1;
                store.offsets.push(message.offset);
                cut_after = store.cuts.pop_front().flatten();
                let held = store.status(&message.digest).received_bytes;
                assert_eq!(message.offset, held, "an upload goes on where it stopped");
                assert_ne!(message.job, 0, "an upload says on whose account it is");
                wanted = Some((message.digest.clone(), message.size_bytes));
            }
            let (digest, _) = wanted.as_ref().unwrap();
            let part = store.part.entry(digest.clone()).or_default();
            part.extend_from_slice(&message.data);
            if cut_after.is_some_and(|bytes| part.len() >= bytes) {
                return Err(Status::unavailable("cut"));
            }
        }
        let (wanted, size_bytes) = wanted.ok_or(Status::invalid_argument("nothing"))?;
        let mut store = self.store.lock().unwrap();
        let part = store.part.remove(&wanted).unwrap();
        assert_eq!(
            (digest(&part), part.len() as u64),
            (wanted.clone(), size_bytes)
        );
        store.whole.insert(wanted.clone(), part);
        Ok(Response::new(store.status(&wanted)))
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        let request = request.into_inner();
        let mut store = self.store.lock().unwrap();
        store.calls += 1;
        store.offsets.push(request.offset);
        let cut_after = store.cuts.pop_front().flatten();
        let whole = store.whole.get(&request.digest);
        let whole = whole.ok_or(Status::not_found("no such content"))?;
        let size_bytes = whole.len() as u64;
        let rest = &whole[request.offset as usize..];
        let sent = &rest[..cut_after.unwrap_or(rest.len()).min(rest.len())];
        let mut replies: Vec<_> = sent
            .chunks(CHUNK_BYTES)
            .map(|data| {
                Ok(v1::GetReply {
                    size_bytes,
                    data: data.to_vec().into(),
                })
            })
            .collect();
        if cut_after.is_some() {
            replies.push(Err(Status::unavailable("cut")));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(replies))))
    }

    async fn list_outputs(
        &self,
        request: Request<v1::ListOutputsRequest>,
    ) -> Result<Response<v1::ListOutputsReply>, Status> {
        let request = request.into_inner();
        let mut store = self.store.lock().unwrap();
        store.calls += 1;
        // One a page.
        let page: usize = request.page_token.parse().unwrap_or(0);
        let outputs = store.outputs.get(&request.job).cloned().unwrap_or_default();
        let more = page + 1 < outputs.len();
        Ok(Response::new(v1::ListOutputsReply {
            outputs: outputs.into_iter().skip(page).take(1).collect(),
            next_page_token: if more {
                (page + 1).to_string()
            } else {
                String::new()
            },
        }))
    }
}
