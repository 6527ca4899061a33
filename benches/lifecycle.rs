//! The whole lifecycle: an array of real `true` processes, each under its
//! shim, from submission to the end of the last, through a scheduler and three
//! agents as processes, everything durable.
//!
//! `cargo bench --bench lifecycle` prints tasks per second over 64 places, and
//! the CPU time that each task cost all processes together; `-- --quick` runs a
//! few, to see that the bench works. Nothing is asserted about time. State is
//! kept in a temporary directory: where that is in memory, syncs cost nothing.

use std::error::Error;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const JERO: &str = env!("CARGO_BIN_EXE_jero");
/// Places of one core: 64 together.
const SITES: [(&str, u32); 3] = [("meyrin", 22), ("wigner", 21), ("cloud", 21)];
const READY_MAX: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    let tasks = if quick { 100 } else { 10_000 };
    let directory = tempfile::tempdir()?;
    let federation = Federation::start(directory.path())?;
    federation.run(64, directory.path())?;
    let begun = Instant::now();
    federation.run(tasks, directory.path())?;
    let took = begun.elapsed();
    let per_second = f64::from(tasks) / took.as_secs_f64();
    println!("lifecycle, {tasks} `true` under shims, 3 agents, 64 places: {per_second:.0}/s");
    drop(federation);
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
    let per_task = (cpu(used.user_time()) + cpu(used.system_time())) / f64::from(tasks + 64);
    println!("  {per_task:.2} ms of CPU a task in all processes, start and end of these included");
    Ok(())
}

/// The processes; ended in order when dropped, so that their use is known.
struct Federation {
    server: String,
    children: Vec<Child>,
}

impl Federation {
    fn start(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut scheduler = format!(
            "listen = \"127.0.0.1:{port}\"\ndata_dir = \"scheduler\"\n\
             [[queue]]\nname = \"vo\"\nsubmitters = [\"*\"]\n"
        );
        for (site, places) in SITES {
            scheduler += &format!("[[site]]\nname = \"{site}\"\nkind = \"owned\"\n");
            let text = format!(
                "site = \"{site}\"\nscheduler = \"http://127.0.0.1:{port}\"\nstate_dir = \"{site}\"\n\
                 [[cluster]]\nname = \"hosts\"\ncoe = \"process\"\n\
                 [[cluster.node]]\nname = \"{site}-1\"\ncpu = \"{places}\"\nmemory = \"8GiB\"\n"
            );
            std::fs::write(directory.join(format!("{site}.toml")), text)?;
        }
        std::fs::write(directory.join("scheduler.toml"), scheduler)?;
        let mut federation = Self {
            server: format!("http://127.0.0.1:{port}"),
            children: Vec::new(),
        };
        federation.spawn(directory, "serve", "scheduler")?;
        for (site, _) in SITES {
            federation.spawn(directory, "agent", site)?;
        }
        Ok(federation)
    }

    fn spawn(&mut self, directory: &Path, verb: &str, name: &str) -> Result<(), Box<dyn Error>> {
        let log = std::fs::File::create(directory.join(format!("{name}.log")))?;
        let child = Command::new(JERO)
            .args([verb, "--config", &format!("{name}.toml")])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.children.push(child);
        Ok(())
    }

    /// Submits so many tasks and waits until all have succeeded.
    fn run(&self, tasks: u32, directory: &Path) -> Result<(), Box<dyn Error>> {
        let text = format!(
            "name: lifecycle\nqueue: vo\njobs:\n  - name: work\n    count: {tasks}\n    command: ['true']\n    \
             walltime: 1m\n    resources: {{cpu: 1, memory: 1MiB}}\n"
        );
        let file = directory.join(format!("{tasks}.yaml"));
        std::fs::write(&file, text)?;
        let give_up = Instant::now() + READY_MAX;
        let batch = loop {
            let said = self.jero(&["submit", &file.to_string_lossy(), "--output", "json"])?;
            if said.status.success() {
                let printed: serde_json::Value = serde_json::from_slice(&said.stdout)?;
                break printed["batch"]
                    .as_str()
                    .ok_or("no batch is named")?
                    .to_owned();
            }
            if Instant::now() > give_up {
                return Err(String::from_utf8_lossy(&said.stderr).into());
            }
        };
        let waited = self.jero(&["wait", &batch])?;
        if !waited.status.success() {
            return Err(String::from_utf8_lossy(&waited.stderr).into());
        }
        Ok(())
    }

    fn jero(&self, args: &[&str]) -> std::io::Result<std::process::Output> {
        let mut command = Command::new(JERO);
        command.args(args).env("JERO_SERVER", &self.server).output()
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
            if pid.as_raw() > 0 {
                let _ = kill(pid, Signal::SIGTERM);
            }
            let _ = child.wait();
        }
    }
}
