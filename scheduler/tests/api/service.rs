//! A service in this process, and clients of it.

use jeroboam_proto::v1;
use jeroboam_proto::v1::client_client::ClientClient;
use jeroboam_proto::v1::files_client::FilesClient;
use jeroboam_proto::v1::site_client::SiteClient;
use jeroboam_scheduler::config::Config;
use jeroboam_scheduler::store::{Store, StoreOptions};
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

/// Nothing here takes longer on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Sites, queues and short spans for all tests.
pub const BASE: &str = r#"
listen = "127.0.0.1:0"
data_dir = "data"
[leases]
contact_limit = "60s"
heartbeat_interval = "1s"
[rounds]
interval = "1ms"
"#;

/// Declared after what a test adds to [`BASE`].
pub const TREE: &str = r#"
[[site]]
name = "meyrin"
kind = "owned"
region = "Geneva"
[[site]]
name = "cloud-west"
kind = "leased"
contract = { start = "2020-01-01T00:00:00Z", end = "2100-01-01T00:00:00Z", price_per_core_hour = 0.04, budget = 10 }
[[queue]]
name = "cms"
[[queue]]
name = "cms.higgs"
weight = 3
submitters = ["*"]
[[queue]]
name = "atlas"
submitters = ["alice"]
"#;

/// A running service; aborted when dropped.
pub struct Service {
    pub directory: TempDir,
    pub address: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), jeroboam_scheduler::Error>>,
}

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

pub type Authorized = InterceptedService<Channel, Bearer>;

impl Service {
    pub async fn start(more: &str) -> Service {
        Service::start_in(tempfile::tempdir().unwrap(), more).await
    }

    /// A service in a directory that may hold an earlier one's data.
    pub async fn start_in(directory: TempDir, more: &str) -> Service {
        Service::start_with(directory, "", more).await
    }

    /// As [`Service::start_in`], with keys that stand in no section.
    pub async fn start_with(directory: TempDir, keys: &str, more: &str) -> Service {
        let text = format!("{keys}{BASE}{more}{TREE}");
        let config = Config::parse(&directory.path().join("scheduler.toml"), &text).unwrap();
        let address_file = directory.path().join("data/address");
        // What an earlier service left behind is not this one's.
        let _ = std::fs::remove_file(&address_file);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(jeroboam_scheduler::serve(config, async {
            let _ = stopped.await;
        }));
        let address = address_of(&address_file, &task).await;
        Service {
            directory,
            address,
            stop,
            task,
        }
    }

    /// Ends the service as an operator would; its data stays.
    pub async fn stop(self) -> TempDir {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        await_closed(&self.directory).await;
        self.directory
    }

    pub fn channel(&self, token: Option<&str>) -> Authorized {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let bearer = token.map(|token| format!("Bearer {token}").parse().unwrap());
        InterceptedService::new(endpoint.connect_lazy(), Bearer(bearer))
    }

    pub fn client(&self) -> ClientClient<Authorized> {
        self.client_as(None)
    }

    pub fn client_as(&self, token: Option<&str>) -> ClientClient<Authorized> {
        ClientClient::new(self.channel(token))
            .max_encoding_message_size(64 << 20)
            .max_decoding_message_size(64 << 20)
    }

    pub fn files(&self) -> FilesClient<Authorized> {
        FilesClient::new(self.channel(None))
    }

    pub fn site_as(&self, token: Option<&str>) -> SiteClient<Authorized> {
        SiteClient::new(self.channel(token))
    }

    /// Submits a batch under a request id of its own.
    pub async fn submit(&self, jobs: Vec<v1::JobSpec>) -> v1::SubmitReply {
        static REQUESTS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = REQUESTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let request = v1::SubmitRequest {
            request_id: format!("r{number}"),
            batch: Some(batch(jobs)),
        };
        self.client().submit(request).await.unwrap().into_inner()
    }

    pub async fn describe(&self, job: u64) -> v1::DescribeJobReply {
        let request = v1::DescribeJobRequest {
            job,
            ..Default::default()
        };
        self.client()
            .describe_job(request)
            .await
            .unwrap()
            .into_inner()
    }

    /// One batch as it is now.
    pub async fn batch(&self, batch: u64) -> v1::Batch {
        let request = v1::ListBatchesRequest {
            batch,
            ..Default::default()
        };
        let reply = self
            .client()
            .list_batches(request)
            .await
            .unwrap()
            .into_inner();
        reply.batches.into_iter().next().unwrap()
    }

    /// Waits until a batch has left memory.
    pub async fn await_retirement(&self, batch: u64) {
        eventually("the batch leaves memory", || async {
            let live = self
                .client()
                .list_batches(v1::ListBatchesRequest::default())
                .await;
            let live = live.unwrap().into_inner().batches;
            live.iter().all(|live| live.id != batch).then_some(())
        })
        .await;
    }
}

/// Waits until nothing in this process has the data open: calls that were under
/// way let go of it a moment after the service has ended.
pub async fn await_closed(directory: &TempDir) {
    let data_dir = directory.path().join("data");
    eventually("the data is closed", || async {
        Store::open(&data_dir, &StoreOptions::default())
            .ok()
            .map(drop)
    })
    .await;
}

async fn address_of(
    path: &Path,
    task: &JoinHandle<Result<(), jeroboam_scheduler::Error>>,
) -> String {
    eventually("the service listens", || async {
        assert!(!task.is_finished(), "the service has ended");
        std::fs::read_to_string(path)
            .ok()
            .map(|text| text.trim().to_string())
    })
    .await
}

/// Asks until there is an answer, within bounds.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn batch(jobs: Vec<v1::JobSpec>) -> v1::BatchSpec {
    v1::BatchSpec {
        name: "search".into(),
        queue: "cms.higgs".into(),
        jobs,
    }
}

/// A job of one-core tasks.
pub fn job(name: &str, count: u32) -> v1::JobSpec {
    v1::JobSpec {
        name: name.into(),
        count,
        command: vec!["true".into()],
        resources: Some(v1::Resources {
            cpu_milli: 1_000,
            memory_mib: 64,
            ..Default::default()
        }),
        walltime_ms: 60_000,
        restartable: true,
        ..Default::default()
    }
}

/// How many tasks of a list are in a state.
pub fn count(tasks: &[v1::StateCount], state: v1::TaskState) -> u32 {
    tasks
        .iter()
        .filter(|count| count.state() == state)
        .map(|count| count.count)
        .sum()
}

/// A refusal as a client sees it: code, reason, place and remedy.
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    let status = answer.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info();
    let get = |key: &str| {
        info.and_then(|info| info.metadata.get(key).cloned())
            .unwrap_or_default()
    };
    let reason = info.map_or("without a reason", |info| info.reason.as_str());
    format!(
        "{:?} {reason} [{}] {} | {}",
        status.code(),
        get("place"),
        status.message(),
        get("remedy")
    )
}
