//! A scheduler whose files may not grow beyond a limit.

use crate::federation::JERO;
use nix::sys::resource::{Resource, setrlimit};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Of each file that the scheduler writes: some large batches fit.
const FILE_BYTES_MAX: u64 = 40 << 20;
/// Jobs of a batch, each with as large an environment as is allowed.
const JOBS: usize = 100;

/// The scheduler process and its files.
pub struct FullDisk {
    directory: tempfile::TempDir,
    child: Child,
}

impl FullDisk {
    /// Starts the scheduler under the limit.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = "listen = \"127.0.0.1:0\"\ndata_dir = \"scheduler\"\n\
                    [[queue]]\nname = \"vo\"\nsubmitters = [\"*\"]\n";
        std::fs::write(directory.path().join("scheduler.toml"), text).unwrap();
        let mut batch = String::from("name: large\nqueue: vo\njobs:\n");
        for job in 0..JOBS {
            let filling = "x".repeat(60_000);
            batch += &format!(
                "  - {{name: job{job}, run: 'true', walltime: 1m, resources: {{cpu: 1, memory: 1MiB}}, env: {{FILLING: {filling}}}}}\n"
            );
        }
        std::fs::write(directory.path().join("large.yaml"), batch).unwrap();
        let child = start(directory.path(), Some(FILE_BYTES_MAX));
        FullDisk { directory, child }
    }

    /// Submits a large batch; what was said if it was refused.
    pub fn submit(&self, number: usize) -> Result<(), String> {
        let request = format!("full-{number}");
        let file = self.directory.path().join("large.yaml");
        let args = ["submit", &file.to_string_lossy(), "--request-id", &request];
        let output = self.jero(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(())
        } else {
            Err(said)
        }
    }

    /// Batches that the scheduler knows.
    pub fn batches(&self) -> usize {
        let output = self.jero(&["batches", "--output", "json"]);
        let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        printed.as_array().unwrap().len()
    }

    /// Kills the scheduler and starts it without the limit.
    pub fn restart_with_room(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_file(self.address_file()).unwrap();
        self.child = start(self.directory.path(), None);
    }

    fn jero(&self, args: &[&str]) -> std::process::Output {
        let deadline = Instant::now() + Duration::from_secs(30);
        let address = loop {
            match std::fs::read_to_string(self.address_file()) {
                Ok(address) if !address.trim().is_empty() => break address,
                _ => assert!(Instant::now() < deadline, "the scheduler does not listen"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let server = format!("http://{}", address.trim());
        Command::new(JERO)
            .args(args)
            .env("JERO_SERVER", server)
            .output()
            .unwrap()
    }

    fn address_file(&self) -> std::path::PathBuf {
        self.directory.path().join("scheduler/address")
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(directory: &Path, file_bytes_max: Option<u64>) -> Child {
    let log = std::fs::File::create(directory.join("scheduler.log")).unwrap();
    let mut command = Command::new(JERO);
    command
        .args(["serve", "--config", "scheduler.toml"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    if let Some(limit) = file_bytes_max {
        // SAFETY: setrlimit is async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                setrlimit(Resource::RLIMIT_FSIZE, limit, limit).map_err(std::io::Error::from)
            });
        }
    }
    command.spawn().unwrap()
}
