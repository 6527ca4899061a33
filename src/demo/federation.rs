//! The demo's federation: configuration files in a directory of its own, one
//! scheduler process, three agent processes.
//!
//! The rule: whatever ends the demo, ten seconds later none of its processes is left.
//! The processes get a signal when the demo dies, however that happens; the
//! attempts' shims, which outlive an agent by design, stop themselves at the
//! contact limit, which is a few seconds here.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jeroboam_proto::v1;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::Scheduler;
use crate::demo::directory::Directory;
use crate::failure::Failure;

/// Places for one task each, over all sites: so many tasks run at a time.
pub const PLACES: i64 = 12;
/// Nodes of each site, and places on each node.
const SITES: [(&str, &[i64]); 3] = [
    ("meyrin", &[3, 3]),
    ("wigner", &[2, 2]),
    ("cloud-west", &[1, 1]),
];
/// Longest wait until the processes are up.
const START_MAX: Duration = Duration::from_secs(20);
/// Longest wait for the processes to end by themselves.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Queues, with their weights; parents first.
pub const QUEUES: [(&str, u32); 11] = [
    ("cms", 3),
    ("cms.higgs", 2),
    ("cms.higgs.alice", 1),
    ("cms.top", 1),
    ("cms.top.erin", 1),
    ("atlas", 2),
    ("atlas.susy", 1),
    ("atlas.susy.bob", 1),
    ("lhcb", 1),
    ("lhcb.charm", 1),
    ("lhcb.charm.carol", 1),
];

/// The running processes.
pub struct Federation {
    /// Everything that it writes is below.
    pub directory: PathBuf,
    /// Says that the directory is in use, as long as this process lives.
    _lock: Directory,
    /// The scheduler's address.
    pub server: String,
    processes: Vec<(String, Child)>,
}

impl Federation {
    /// Writes its file and starts the scheduler; returns once that listens.
    ///
    /// # Errors
    /// A file cannot be written, or the scheduler does not come up.
    pub async fn start() -> Result<Federation, Failure> {
        let directory = Directory::create()?;
        let mut federation = Federation {
            directory: directory.path.clone(),
            _lock: directory,
            server: String::new(),
            processes: Vec::new(),
        };
        federation.write_scheduler_file()?;
        federation.spawn("scheduler", &["serve", "--config", "scheduler.toml"])?;
        federation.server = federation.wait_for_address().await?;
        println!(
            "scheduler   {}   ({})",
            federation.server,
            federation.directory.display()
        );
        Ok(federation)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.directory.join(name);
        std::fs::write(&path, text).map_err(Failure::local("write", &path))?;
        Ok(path)
    }

    /// Writes a batch file, so that a user finds it to read and to submit again.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_batch(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        self.write(name, text)
    }

    fn write_scheduler_file(&self) -> Result<(), Failure> {
        // A contact limit of seconds, where an hour is usual: should the demo be
        // killed, its jobs notice that nobody is there and end.
        let mut text = String::from(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"scheduler\"\n\n\
             [leases]\ncontact_limit = \"6s\"\nheartbeat_interval = \"1s\"\n\n\
             [policy]\ngrace = \"1s\"\n",
        );
        for (name, weight) in QUEUES {
            let submitters = if name.contains('.') {
                ""
            } else {
                "submitters = [\"*\"]\n"
            };
            text += &format!("\n[[queue]]\nname = \"{name}\"\nweight = {weight}\n{submitters}");
        }
        for (site, _) in SITES {
            let token: String = (0..4)
                .map(|_| format!("{:016x}", rand::random::<u64>()))
                .collect();
            let path = self.write(&format!("{site}.token"), &token)?;
            restrict(&path)?;
            let kind = if site == "cloud-west" {
                "leased"
            } else {
                "owned"
            };
            text += &format!(
                "\n[[site]]\nname = \"{site}\"\nkind = \"{kind}\"\ntoken_file = \"{site}.token\"\n"
            );
            if kind == "leased" {
                let now_ms = crate::output::now_ms();
                let start = jeroboam_units::Instant(now_ms - 60_000);
                let end = jeroboam_units::Instant(now_ms + 24 * 3_600_000);
                text += &format!(
                    "contract = {{ start = \"{start}\", end = \"{end}\", price_per_core_hour = 0.04, budget = 10 }}\n"
                );
            }
        }
        self.write("scheduler.toml", &text)?;
        Ok(())
    }

    fn write_site_file(&self, site: &str, nodes: &[i64]) -> Result<(), Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as i64;
        let place_milli = place_milli(cores);
        let mut text = format!(
            "site = \"{site}\"\nscheduler = \"{}\"\ntoken_file = \"{site}.token\"\nstate_dir = \"{site}\"\n\n\
             [[cluster]]\nname = \"hosts\"\ncoe = \"process\"\n",
            self.server
        );
        for (number, places) in nodes.iter().enumerate() {
            text += &format!(
                "\n[[cluster.node]]\nname = \"{site}-{}\"\ncpu = \"{}m\"\nmemory = \"{}MiB\"\n",
                number + 1,
                places * place_milli,
                places * 128,
            );
        }
        self.write(&format!("{site}.toml"), &text)?;
        Ok(())
    }

    /// Starts a process of `jero` that dies with the demo.
    fn spawn(&mut self, name: &str, args: &[&str]) -> Result<(), Failure> {
        let exe = own_exe()?;
        let log_path = self.directory.join(format!("{name}.log"));
        let log = std::fs::File::create(&log_path).map_err(Failure::local("create", &log_path))?;
        let errors = log.try_clone().map_err(Failure::local("open", &log_path))?;
        let mut command = Command::new(&exe);
        command
            .args(args)
            .current_dir(&self.directory)
            .env_remove("JERO_SERVER")
            .env_remove("JERO_TOKEN_FILE")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A terminal's SIGINT is the demo's to act on.
            .process_group(0);
        let demo = std::process::id();
        // SAFETY: prctl and getppid are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                if nix::unistd::getppid().as_raw() != demo as i32 {
                    // The demo died before the request above.
                    return Err(std::io::Error::other("the demo has ended"));
                }
                Ok(())
            });
        }
        let child = command.spawn().map_err(Failure::local("start", &exe))?;
        self.processes.push((name.to_string(), child));
        Ok(())
    }

    /// The scheduler writes its address where it keeps its data once it listens.
    async fn wait_for_address(&mut self) -> Result<String, Failure> {
        let path = self.directory.join("scheduler/address");
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Ok(address) = std::fs::read_to_string(&path)
                && !address.trim().is_empty()
            {
                return Ok(format!("http://{}", address.trim()));
            }
            self.check()?;
            if Instant::now() > deadline {
                return Err(self.failure("scheduler", "does not listen"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts the agents; returns once every site has a session and has reported
    /// its nodes.
    ///
    /// # Errors
    /// A process does not start or ended, or it takes too long.
    pub async fn join_sites(&mut self, scheduler: &Scheduler) -> Result<(), Failure> {
        for (site, nodes) in SITES {
            self.write_site_file(site, nodes)?;
            self.spawn(site, &["agent", "--config", &format!("{site}.toml")])?;
        }
        let deadline = Instant::now() + START_MAX;
        loop {
            self.check()?;
            let mut client = scheduler.client();
            let request = v1::ListSitesRequest::default();
            let sites = scheduler.answer(client.list_sites(request)).await?.sites;
            let ready = |site: &&v1::SiteStatus| site.connected && site.nodes > 0;
            if sites.iter().filter(ready).count() == SITES.len() {
                return Ok(());
            }
            if let Some(site) = sites.iter().find(|site| !ready(site))
                && Instant::now() > deadline
            {
                return Err(self.failure(&site.name, "does not join"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All processes still run.
    ///
    /// # Errors
    /// Which one does not, and the end of its log.
    pub fn check(&mut self) -> Result<(), Failure> {
        let ended = self.processes.iter_mut().find_map(|(name, child)| {
            let status = child.try_wait().ok().flatten()?;
            Some((name.clone(), status))
        });
        match ended {
            None => Ok(()),
            Some((name, status)) => Err(self.failure(&name, &format!("ended ({status})"))),
        }
    }

    fn failure(&self, name: &str, what: &str) -> Failure {
        let log = std::fs::read_to_string(self.directory.join(format!("{name}.log")));
        let log = log.unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(8).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Failure::Work(format!(
            "{name} {what}; the end of its log:\n  {}",
            tail.join("\n  ")
        ))
    }

    /// Ends all processes and removes the directory.
    pub async fn stop(mut self) {
        self.end_work().await;
        for (_, child) in &self.processes {
            // A process that has ended already is as good.
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
        }
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline
            && self
                .processes
                .iter_mut()
                .any(|(_, child)| matches!(child.try_wait(), Ok(None)))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.kill_all();
        // What cannot be removed stays below the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.directory);
    }

    /// Cancels what still runs and waits until it has stopped, so that no attempt
    /// is left behind.
    async fn end_work(&mut self) {
        let remote = crate::client::Remote {
            server: Some(self.server.clone()),
            ..crate::client::Remote::default()
        };
        let Ok(scheduler) = Scheduler::of(&remote) else {
            return;
        };
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline && self.check().is_ok() {
            let request = v1::ListBatchesRequest {
                limit: 100,
                ..Default::default()
            };
            let mut client = scheduler.client();
            let Ok(reply) = scheduler.status_of(client.list_batches(request)).await else {
                return;
            };
            let open: Vec<u64> = reply
                .batches
                .iter()
                .filter(|b| b.finished_ms == 0)
                .map(|b| b.id)
                .collect();
            if open.is_empty() {
                return;
            }
            for batch in open {
                let request = v1::ChangeRequest {
                    verb: v1::change_request::Verb::Cancel.into(),
                    batch,
                    reason: "the demo ends".into(),
                    ..Default::default()
                };
                // Refused where all of it is stopping already.
                let _ = scheduler.status_of(client.change(request)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn kill_all(&mut self) {
        for (_, child) in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Says what to try, and stays until a signal comes.
    ///
    /// # Errors
    /// None; it ends with the signal.
    pub async fn keep(mut self) -> Result<(), Failure> {
        let (server, directory) = (&self.server, self.directory.display());
        println!(
            "\nthe federation stays up until Ctrl-C; its files are in {directory}. In another terminal:\n\
             \n  export JERO_SERVER={server}\
             \n  jero sites; jero queues; jero batches; jero nodes\
             \n  jero submit {directory}/higgs.yaml --wait\
             \n  jero explain job-1; jero logs 'job-1[0]'; jero get batch-1 --to outputs\n"
        );
        let name = signalled().await;
        println!("{name}: ending");
        self.check()?;
        self.stop().await;
        Ok(())
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// A place's slice of this host, so that all places together are the host.
pub fn place_milli(cores: i64) -> i64 {
    (cores * 1_000 / PLACES).max(1)
}

/// Waits for SIGINT, SIGTERM or SIGHUP, and names it.
pub async fn signalled() -> &'static str {
    let kinds = [
        ("SIGINT", SignalKind::interrupt()),
        ("SIGTERM", SignalKind::terminate()),
        ("SIGHUP", SignalKind::hangup()),
    ];
    let [first, second, third] = kinds.map(|(name, kind)| async move {
        match signal(kind) {
            Ok(mut stream) => {
                stream.recv().await;
                name
            }
            // Without a handler the signal ends the process by itself.
            Err(_) => std::future::pending().await,
        }
    });
    tokio::select! {
        name = first => name,
        name = second => name,
        name = third => name,
    }
}

/// The running program's file.
pub fn own_exe() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(Failure::local("find", Path::new("/proc/self/exe")))
}

/// A token is its owner's alone.
fn restrict(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(Failure::local("restrict", path))
}
