//! The agent under test, its grants, and waiting with a bound.

use std::path::{Path, PathBuf};
use std::time::Instant;

use jeroboam_agent::config::{Cluster, Config, Tls};
use jeroboam_agent::drivers::process::DeclaredNode;
use jeroboam_proto::v1;
use tokio::runtime::Runtime;
use v1::outcome::Kind as Outcome;

use crate::peer::{Peer, Session, WAIT_MAX};

/// An agent in a runtime of its own, so that it can be dropped where it stands.
pub struct Agent(Option<Runtime>);

impl Agent {
    pub fn start(peer: &Peer, state_dir: &Path) -> Self {
        let config = Config {
            site: "meyrin".to_owned(),
            scheduler: format!("http://{}", peer.address),
            token: None,
            state_dir: state_dir.to_owned(),
            cache_bytes_max: 10 << 20,
            tls: Tls::default(),
            clusters: vec![Cluster {
                name: "hosts".to_owned(),
                nodes: vec![DeclaredNode {
                    name: "n1".to_owned(),
                    cpu_milli: 4_000,
                    memory_mib: 1_024,
                    disk_mib: 0,
                    gpu: 0,
                    labels: Default::default(),
                    taints: Vec::new(),
                    speed_milli: 0,
                }],
            }],
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_attempt-shim"));
        runtime.spawn(async move {
            let give_up = Instant::now() + WAIT_MAX;
            // The one before it may still be letting go of the directory.
            while let Err(error) =
                jeroboam_agent::run_with(config.clone(), program.clone(), std::future::pending())
                    .await
            {
                assert!(Instant::now() < give_up, "{error}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        Self(Some(runtime))
    }

    /// Drops it without any farewell.
    pub fn kill(mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A peer, an agent and the first session, begun.
pub async fn begun() -> (tempfile::TempDir, Peer, Agent, Session) {
    let dir = tempfile::tempdir().unwrap();
    let peer = Peer::start().await;
    let agent = Agent::start(&peer, dir.path());
    let mut session = peer.session().await;
    assert_eq!(session.begin().await, []);
    (dir, peer, agent, session)
}

pub fn lease(job: u64) -> v1::Lease {
    v1::Lease {
        lineage: 1,
        task: Some(v1::Task { job, index: 4 }),
        attempt: 2,
    }
}

pub fn script(job: u64, text: &str) -> v1::Grant {
    v1::Grant {
        lease: Some(lease(job)),
        node: "n1".to_owned(),
        queue: "cms".to_owned(),
        batch: 3,
        batch_name: "search".to_owned(),
        job_name: "select".to_owned(),
        count: 10,
        command: ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
        walltime_ms: 60_000,
        grace_ms: 500,
        outputs_bytes_max: 10 << 20,
        outputs_files_max: 10,
        log_bytes_max: 1 << 20,
        ..Default::default()
    }
}

/// Runs until the file `go` is in its scratch directory.
pub const WAITS: &str = "echo waiting; while [ ! -e go ]; do sleep 0.02; done; echo going; exit 7";

pub fn attempt_dir(state_dir: &Path, job: u64) -> PathBuf {
    state_dir.join(format!("attempts/1-{job}-4-2"))
}

pub fn let_go(state_dir: &Path, job: u64) {
    std::fs::write(attempt_dir(state_dir, job).join("scratch/go"), "").unwrap();
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + WAIT_MAX;
    while !holds() {
        assert!(Instant::now() < give_up, "waited too long until {what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

pub fn outcome(ended: &v1::Ended) -> Outcome {
    ended.outcome.clone().unwrap().kind.unwrap()
}

pub fn file(path: &str, file: v1::File) -> v1::File {
    v1::File {
        path: path.to_owned(),
        ..file
    }
}
