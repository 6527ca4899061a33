//! A driver on a disk in memory, with an agent's stream into it.

use crate::gate::{Gate, GatedEngine, PATIENCE};
use crate::stage::{self, LIMITS};
use jeroboam_core::event::Event;
use jeroboam_core::ids::{JobId, LeaseId};
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::site::SiteSpec;
use jeroboam_core::spec::BatchSpec;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use jeroboam_proto::v1::scheduler_message::Kind;
use jeroboam_scheduler::dispatch::{Connection, FromSite, Hello};
use jeroboam_scheduler::driver::{Driver, DriverError, GrantLimits, Options};
use jeroboam_scheduler::recover::{Replayed, recover, replay};
use jeroboam_scheduler::store::engine::memory::MemoryDisk;
use jeroboam_scheduler::store::{Store, StoreOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tonic::Status;

/// A running driver.
pub struct Service {
    pub driver: Driver,
    pub thread: JoinHandle<()>,
    pub gate: Gate,
    pub replayed: Replayed,
    /// Holds the snapshots and the lock.
    data_dir: TempDir,
}

/// What is open on a disk and how to run it.
pub fn start(disk: &MemoryDisk) -> Service {
    let data_dir = tempfile::tempdir().expect("a directory can be made");
    start_in(disk, data_dir, 1_000_000)
}

/// As [`start`], with a directory that may hold snapshots, and their interval.
pub fn start_in(disk: &MemoryDisk, data_dir: TempDir, snapshot_records: u64) -> Service {
    start_with(disk, data_dir, snapshot_records, u64::MAX)
}

/// As [`start_in`], with the interval in bytes too.
pub fn start_with(
    disk: &MemoryDisk,
    data_dir: TempDir,
    snapshot_records: u64,
    snapshot_bytes: u64,
) -> Service {
    let gate = Gate::default();
    let engine = Box::new(GatedEngine::on(disk, &gate));
    let store = Store::over(engine, data_dir.path(), &StoreOptions::default())
        .expect("what is on the disk opens");
    let (parts, _spool, replayed) =
        recover(store, LIMITS, configuration).expect("what is on the disk is taken up");
    let options = Options {
        round_interval: Duration::from_millis(1),
        snapshot_records,
        snapshot_bytes,
        grant_limits: GrantLimits {
            outputs_bytes_max: 1 << 20,
            outputs_files_max: 10,
            log_bytes_max: 1 << 20,
        },
    };
    let (driver, thread) = Driver::start(parts, options);
    Service {
        driver,
        thread,
        gate,
        replayed,
        data_dir,
    }
}

/// Two sites and a queue, unless they are there.
fn configuration(world: &World) -> Vec<Event> {
    if !world.sites().is_empty() {
        return Vec::new();
    }
    let sites = stage::SITES.map(|name| {
        Event::SiteDeclared(SiteSpec {
            name: name.into(),
            region: String::new(),
            contract: None,
        })
    });
    let queue = Event::QueueCreated(QueueSpec {
        submitters: BTreeSet::from(["*".to_string()]),
        ..QueueSpec::new("hep", 1)
    });
    sites.into_iter().chain([queue]).collect()
}

/// The World that a disk holds, read as a start would.
pub fn world_on(disk: &MemoryDisk) -> World {
    let data_dir = tempfile::tempdir().expect("a directory can be made");
    world_in(disk, &data_dir).0
}

/// As [`world_on`], with a directory that may hold snapshots.
pub fn world_in(disk: &MemoryDisk, data_dir: &TempDir) -> (World, Replayed) {
    let engine = Box::new(disk.engine());
    let store = Store::over(engine, data_dir.path(), &StoreOptions::default());
    let (world, replayed) =
        replay(&store.expect("the disk opens")).expect("what is on the disk replays");
    assert_eq!(replayed.plans_changed, 0, "each plan comes out the same");
    world.check();
    (world, replayed)
}

impl Service {
    /// Submits a job of some tasks.
    pub fn submit(
        &self,
        request_id: &str,
        count: u32,
    ) -> impl Future<Output = Result<JobId, DriverError>> + use<> {
        submit(self.driver.clone(), request_id.into(), count)
    }

    /// An agent that has been through inventory and verdict and reported its node.
    pub async fn join(&self, site: &str, leases: &[(LeaseId, bool)]) -> Agent {
        let hello = Hello {
            site: site.into(),
            federation: String::new(),
            incarnation: format!("{site}-1"),
            version: "0.1.0".into(),
        };
        let opened = self.driver.open_site(hello).await;
        let (connection, messages) = opened.expect("the driver takes work");
        let mut agent = Agent {
            driver: self.driver.clone(),
            connection,
            messages,
        };
        let Kind::Welcome(welcome) = agent.hear().await else {
            panic!("the first word is the welcome");
        };
        let leases: BTreeMap<_, _> = leases.iter().copied().collect();
        let session = welcome.session;
        agent.say(FromSite::Inventory { session, leases }).await;
        assert!(matches!(agent.hear().await, Kind::Verdict(_)));
        agent.say(stage::capacity()).await;
        agent
    }

    /// Ends it, and waits for its threads.
    pub async fn stop(self) -> TempDir {
        self.driver.shutdown().await;
        self.joined().await
    }

    /// Waits for its threads; the directory's lock is free then.
    pub async fn joined(self) -> TempDir {
        drop(self.driver);
        let joined = tokio::task::spawn_blocking(move || self.thread.join());
        let joined = tokio::time::timeout(PATIENCE, joined).await;
        joined
            .expect("it ends in time")
            .expect("joining does not panic")
            .expect("the driver does not panic");
        self.data_dir
    }
}

/// Submits a job of some tasks, on a clone that outlives its caller.
pub async fn submit(driver: Driver, request_id: String, count: u32) -> Result<JobId, DriverError> {
    let spec = BatchSpec {
        name: "analysis".into(),
        queue: "hep".into(),
        jobs: vec![stage::job(count)],
    };
    let event = Event::BatchSubmitted {
        request_id: request_id.clone(),
        digest: [1; 32],
        by: "alice".into(),
        spec,
    };
    let seen = move |world: &World| {
        let batch = world.batch_of_request(&request_id);
        batch.expect("it was just accepted").first_job
    };
    let answer = tokio::time::timeout(PATIENCE, driver.apply(event, seen)).await;
    answer.expect("every caller is answered")
}

/// The agent's end of a stream.
pub struct Agent {
    pub driver: Driver,
    pub connection: Connection,
    pub messages: mpsc::Receiver<Result<v1::SchedulerMessage, Status>>,
}

impl Agent {
    /// Says something.
    pub async fn say(&self, said: FromSite) {
        let sent = self.driver.from_site(self.connection, said).await;
        sent.expect("the driver takes work");
    }

    /// The next message.
    pub async fn hear(&mut self) -> Kind {
        let next = tokio::time::timeout(PATIENCE, self.messages.recv()).await;
        let next = next.expect("a message comes in time");
        let next = next.expect("the stream is open");
        next.expect("it is not refused")
            .kind
            .expect("it says something")
    }

    /// The next grant; nothing else is expected.
    pub async fn granted(&mut self) -> LeaseId {
        match self.hear().await {
            Kind::Grant(grant) => core_lease(grant.lease),
            other => panic!("not a grant: {other:?}"),
        }
    }

    /// True if nothing has come.
    pub fn hears_nothing(&mut self) -> bool {
        matches!(
            self.messages.try_recv(),
            Err(mpsc::error::TryRecvError::Empty)
        )
    }
}

/// A lease as the core has it.
pub fn core_lease(lease: Option<v1::Lease>) -> LeaseId {
    jeroboam_scheduler::convert::lease::lease_in("lease", lease).expect("it is whole")
}

/// Polls once: what the future came to, if it has.
pub async fn ready<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Looks at the World as it is now, durable or not.
pub async fn spy<T: Send + 'static>(
    driver: &Driver,
    look: impl FnOnce(&World) -> T + Send + 'static,
) -> T {
    let (sender, seen) = tokio::sync::oneshot::channel();
    let driver = driver.clone();
    tokio::spawn(async move {
        // Its own answer waits for the sync; the spy's does not.
        let _ = driver
            .read(move |world, _| sender.send(look(world)).is_ok())
            .await;
    });
    let seen = tokio::time::timeout(PATIENCE, seen).await;
    let seen = seen.expect("no sync keeps the owner from its commands");
    seen.expect("the driver takes work")
}
