//! A scheduler and agents as processes of the real binary.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const JERO: &str = env!("CARGO_BIN_EXE_jero");

/// The processes; index 0 is the scheduler.
pub struct Federation {
    directory: tempfile::TempDir,
    server: String,
    processes: Vec<Process>,
}

struct Process {
    name: String,
    args: Vec<String>,
    child: Option<Child>,
}

/// What the scheduler says about a job.
pub struct Job {
    pub id: u64,
    pub succeeded: u64,
    pub tasks: serde_json::Value,
}

impl Federation {
    /// Starts a scheduler and an agent for each site.
    pub fn start(sites: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // The scheduler comes back on the same port: one that is free now.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut scheduler = format!(
            "listen = \"127.0.0.1:{port}\"\ndata_dir = \"scheduler\"\n\
             [leases]\ncontact_limit = \"20s\"\nheartbeat_interval = \"1s\"\n\
             [journal]\nsnapshot_records = 500\n\
             [[queue]]\nname = \"vo\"\nsubmitters = [\"*\"]\n\
             [[queue]]\nname = \"vo.group\"\n[[queue]]\nname = \"vo.group.user\"\n"
        );
        for site in sites {
            scheduler += &format!("[[site]]\nname = \"{site}\"\nkind = \"owned\"\n");
            let text = format!(
                "site = \"{site}\"\nscheduler = \"http://127.0.0.1:{port}\"\nstate_dir = \"{site}\"\n\
                 [[cluster]]\nname = \"hosts\"\ncoe = \"process\"\n\
                 [[cluster.node]]\nname = \"{site}-1\"\ncpu = \"4\"\nmemory = \"1GiB\"\n\
                 [[cluster.node]]\nname = \"{site}-2\"\ncpu = \"4\"\nmemory = \"1GiB\"\n"
            );
            std::fs::write(directory.path().join(format!("{site}.toml")), text).unwrap();
        }
        std::fs::write(directory.path().join("scheduler.toml"), scheduler).unwrap();
        let process = |name: &str, verb: &str| Process {
            name: name.into(),
            args: vec![verb.into(), "--config".into(), format!("{name}.toml")],
            child: None,
        };
        let scheduler = process("scheduler", "serve");
        let agents = sites.iter().map(|site| process(site, "agent"));
        let processes = std::iter::once(scheduler).chain(agents).collect();
        let server = format!("http://127.0.0.1:{port}");
        let mut federation = Federation {
            directory,
            server,
            processes,
        };
        (0..federation.len()).for_each(|index| federation.restart(index));
        federation
    }

    /// Where all files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Number of processes.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Kills a process with SIGKILL.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.processes[index].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a process that was killed.
    pub fn restart(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let path = self.directory.path().join(format!("{}.log", process.name));
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        let mut command = Command::new(JERO);
        command
            .args(&process.args)
            .current_dir(self.directory.path());
        let command = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        process.child = Some(command.spawn().unwrap());
    }

    /// A thread that submits a batch file several times, each until it is
    /// acknowledged; returns the batches.
    pub fn submitter(&self, file: PathBuf, batches: usize) -> JoinHandle<Vec<u64>> {
        let server = self.server.clone();
        std::thread::spawn(move || {
            let submit = |number: usize| {
                let deadline = Instant::now() + Duration::from_secs(60);
                loop {
                    let request = format!("e2e-{number}");
                    let file = file.to_string_lossy().into_owned();
                    let args = [
                        "submit",
                        &file,
                        "--request-id",
                        &request,
                        "--output",
                        "json",
                    ];
                    if let Some(reply) = jero(&server, &args) {
                        return id(&reply["batch"]);
                    }
                    assert!(
                        Instant::now() < deadline,
                        "no submission is acknowledged any more"
                    );
                }
            };
            (0..batches)
                .map(|number| {
                    // Spread over the time of the kills.
                    std::thread::sleep(Duration::from_millis(1_000));
                    submit(number)
                })
                .collect()
        })
    }

    /// Waits until a batch has finished.
    pub fn wait_for(&mut self, batch: u64, deadline: Instant) {
        loop {
            let listed = jero(
                &self.server,
                &["jobs", &format!("batch-{batch}"), "--output", "json"],
            );
            let ended = |job: &serde_json::Value| {
                let sum = |state| job["tasks"][state].as_u64().unwrap_or(0);
                sum("succeeded") + sum("failed") + sum("cancelled")
                    == job["count"].as_u64().unwrap()
            };
            if listed
                .as_ref()
                .is_some_and(|jobs| list(jobs).iter().all(ended))
            {
                return;
            }
            if Instant::now() > deadline {
                self.directory.disable_cleanup(true);
                let logs = self.directory();
                panic!(
                    "batch-{batch} does not finish: {listed:?}; logs are in {}",
                    logs.display()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// All jobs, as the scheduler lists them.
    pub fn jobs(&self) -> Vec<Job> {
        let listed = jero(&self.server, &["jobs", "--output", "json"]).unwrap();
        let job = |job: &serde_json::Value| Job {
            id: id(&job["job"]),
            succeeded: job["tasks"]["succeeded"].as_u64().unwrap_or(0),
            tasks: job["tasks"].clone(),
        };
        list(&listed).iter().map(job).collect()
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        (0..self.len()).for_each(|index| self.kill(index));
    }
}

/// The entries of a printed list, bare or under a name.
fn list(printed: &serde_json::Value) -> Vec<serde_json::Value> {
    printed
        .as_array()
        .or_else(|| printed["jobs"].as_array())
        .unwrap()
        .clone()
}

/// The number behind `job-17` or `batch-3`.
fn id(printed: &serde_json::Value) -> u64 {
    let text = printed
        .as_str()
        .and_then(|text| text.split('-').nth(1)?.parse().ok());
    text.or_else(|| printed.as_u64()).unwrap()
}

/// Runs a verb; its JSON, or nothing if it failed.
fn jero(server: &str, args: &[&str]) -> Option<serde_json::Value> {
    let mut command = Command::new(JERO);
    let output = command
        .args(args)
        .env("JERO_SERVER", server)
        .output()
        .unwrap();
    if !output.status.success() {
        eprintln!(
            "jero {args:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        return None;
    }
    serde_json::from_slice(&output.stdout).ok()
}
