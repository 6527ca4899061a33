//! Attempts for the tests: a root in a temporary directory, leases, and waiting
//! for a condition with a bound.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jeroboam_agent::attempt::boot::{boot_id, boottime_ms};
use jeroboam_agent::attempt::{
    AttemptDir, Confinement, ExitRecord, LeaseId, LeaseRecord, OnLostContact, Outcome, Phase,
    Resources, Stream,
};
use jeroboam_agent::drivers::process::{AttemptEnded, ProcessDriver};
use tokio::sync::mpsc::UnboundedReceiver;

pub const BOTH: [Confinement; 2] = [Confinement::Namespace, Confinement::Subtree];
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A site of one driver.
pub struct Site {
    pub root: tempfile::TempDir,
    pub driver: ProcessDriver,
    pub ended: UnboundedReceiver<AttemptEnded>,
}

impl Site {
    pub fn new() -> Self {
        let (sender, ended) = tokio::sync::mpsc::unbounded_channel();
        Self {
            root: tempfile::tempdir().unwrap(),
            driver: ProcessDriver::new(shim_program(), sender).unwrap(),
            ended,
        }
    }

    /// One whose shims run as an ordinary user, started by these words.
    pub fn of_an_ordinary_user(words: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let mut site = Self::new();
        let shim = shim_program();
        let mut text = format!("#!/bin/sh\nexec {words} {} \"$@\"\n", shim.display());
        if nix::unistd::getuid().is_root() {
            let who = "nobody:$(id -gn nobody)";
            let demoted = "setpriv --reuid=nobody --regid=$(id -gn nobody) --clear-groups";
            text = text.replace("exec ", &format!("chown -R {who} \"$2\"\nexec {demoted} "));
        }
        let program = site.root.path().join("shim");
        std::fs::write(&program, text).unwrap();
        for path in [program.as_path(), site.root.path()] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let (sender, ended) = tokio::sync::mpsc::unbounded_channel();
        site.driver = ProcessDriver::new(program, sender).unwrap();
        site.ended = ended;
        site
    }

    pub fn create(&self, lease: &LeaseRecord) -> AttemptDir {
        AttemptDir::create(self.root.path(), lease).unwrap()
    }

    pub fn start(&self, lease: &LeaseRecord) -> AttemptDir {
        let dir = self.create(lease);
        self.driver.start(lease.lease, &dir).unwrap();
        dir
    }

    /// Starts an attempt and waits for its end.
    pub fn run(&mut self, lease: &LeaseRecord) -> (AttemptDir, ExitRecord) {
        let dir = self.start(lease);
        let record = self.end_of(&dir);
        (dir, record)
    }

    /// Asks its shim to stop; whether there is one.
    pub fn stop(&self, dir: &AttemptDir) -> bool {
        let name = dir.path().file_name().unwrap().to_str().unwrap();
        let lease = LeaseId::from_dir_name(name).unwrap();
        self.driver.stop(lease, dir).unwrap()
    }

    /// The record of an attempt once the driver has told its end.
    pub fn end_of(&mut self, dir: &AttemptDir) -> ExitRecord {
        let ended = until("the driver tells an end", || self.ended.try_recv().ok());
        assert_eq!(ended.dir, *dir);
        let record = dir.record_ended(ended.outcome, ended.lock).unwrap();
        record.expect("the shim is gone")
    }
}

pub fn shim_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_attempt-shim"))
}

/// A lease for a shell script.
pub fn script(job: u64, confinement: Confinement, text: &str) -> LeaseRecord {
    lease(job, confinement, &["/bin/sh", "-c", text])
}

pub fn lease(job: u64, confinement: Confinement, command: &[&str]) -> LeaseRecord {
    LeaseRecord {
        lease: LeaseId {
            lineage: 1,
            job,
            index: 4,
            attempt: 2,
        },
        boot_id: boot_id().to_owned(),
        deadline_ms: boottime_ms() + 3_600_000,
        site: "meyrin".to_owned(),
        node: "n1".to_owned(),
        queue: "cms.higgs.alice".to_owned(),
        batch: 3,
        batch_name: "search".to_owned(),
        job_name: "select".to_owned(),
        count: 10,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        env: BTreeMap::new(),
        resources: Resources {
            cpu_milli: 1500,
            ..Resources::default()
        },
        walltime_ms: 60_000,
        grace_ms: 300,
        on_lost_contact: OnLostContact::Restart,
        log_bytes_max: 4096,
        confinement,
        runtime: String::new(),
        inputs: Vec::new(),
        outputs_of: Vec::new(),
        outputs: Vec::new(),
        outputs_bytes_max: 0,
        outputs_files_max: 0,
    }
}

/// Asks again and again until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + WAIT_MAX;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < give_up, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the job has made this file in its scratch directory whole
/// (ended by a newline) and returns its lines.
pub fn lines(dir: &AttemptDir, file: &str) -> Vec<String> {
    until(&format!("the job writes {file}"), || {
        let text = std::fs::read_to_string(dir.scratch().join(file)).ok()?;
        text.ends_with('\n')
            .then(|| text.lines().map(str::to_owned).collect())
    })
}

pub fn stdout(dir: &AttemptDir) -> String {
    String::from_utf8(dir.read_log_whole(Stream::Stdout).unwrap()).unwrap()
}

pub fn shim_pid(dir: &AttemptDir) -> i32 {
    until("the shim holds the lock and has started", || {
        match dir.phase().unwrap() {
            Phase::Running { shim_pid } if dir.started().unwrap().is_some() => Some(shim_pid),
            _ => None,
        }
    })
}

pub fn exited(code: i32) -> Outcome {
    Outcome::Exited { code }
}

/// Processes alive (no zombies) whose command line has this word in it.
pub fn alive(word: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != std::process::id() as i32
            && line
                .split(|byte| *byte == 0)
                .any(|argument| argument == word.as_bytes())
    })
    .collect()
}
