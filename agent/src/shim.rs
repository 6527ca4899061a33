//! The attempt shim: the small process that runs one attempt and lives exactly
//! as long as it, whatever becomes of the agent.
//!
//! `jero attempt-shim DIR` takes the lock of the attempt's directory, decides
//! whether it may start (`shim/start.rs`), leaves the marker, runs the command
//! under a guard (`shim/guard.rs`), keeps walltime, contact deadline and memory
//! limit by itself (`shim/run.rs`, `shim/supervise.rs`), kills the whole tree at
//! the end, and leaves the exit record. It talks to nobody: the agent writes
//! the deadline into the directory and sends SIGTERM to stop.
//!
//! Invariants: the job never outlives the shim; the record is written only when
//! nothing of the tree is left; all deadlines are on `CLOCK_BOOTTIME`.
//!
//! **Memory** is limited without cgroups, by sampling the resident memory of
//! the tree: 200 ms after the start, then every second, ten times a second
//! above half of the limit. Resident sizes are summed; if that exceeds the
//! limit, shared pages are counted in proportion (PSS) before it counts. Beyond
//! it the tree is killed without grace. What slips through: peaks between two
//! samples, swapped pages, files in `tmpfs`, page cache and kernel memory.
//!
//! **Disk** is limited in the same way, by walking scratch directory and TMPDIR
//! once a second, five times a second above half of the limit, less often where
//! that takes long (`shim/disk.rs`). Inputs count.
//!
//! **Ending**: SIGTERM to every process, the lease's grace, SIGKILL to every
//! process. When the command itself has ended, what is left is killed at once.
//!
//! It is synchronous and has one thread; it must be called on the main thread
//! before any other is started and before anything is opened. In a container
//! the same shim is the entry point (`src/bin/attempt-shim.rs`).
//! Entry point: [`main`].

mod command;
mod disk;
pub(crate) mod environment;
mod guard;
mod job;
mod namespace;
pub(crate) mod overdue;
pub mod run;
pub mod start;
mod supervise;
pub(crate) mod tree;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{getuid, setsid};

use crate::attempt::boot::{boot_id, boottime_ms, wall_ms};
use crate::attempt::{
    AttemptDir, AttemptError, Confinement, ExitRecord, LeaseRecord, Lock, Outcome, StartRecord,
};
use command::Command;
use start::{Effect, Event, Facts, Refusal, Start};
use supervise::Place;

/// The shim's exit code when it started nothing.
const REFUSED: u8 = 3;
/// How often, a second apart, the exit record is tried on a full disk.
const RECORD_TRIES: u32 = 600;

/// Why a shim ended without an exit record.
#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    #[error("cannot {action}: {source}")]
    System {
        action: &'static str,
        source: std::io::Error,
    },
    #[error(
        "the attempt's directory was removed or replaced; the agent reports the attempt as failed"
    )]
    DirectoryGone,
}

impl ShimError {
    fn system<E: Into<std::io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |e| Self::System {
            action,
            source: e.into(),
        }
    }
}

/// Runs the attempt in `dir` to its end. Exit codes, for people who start it by
/// hand: 0 the exit record is written, 1 it could not be, 3 the attempt was not
/// to be started (the reason is on standard error).
pub fn main(dir: &Path) -> ExitCode {
    job::close_inherited();
    match attempt(dir) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(refusal)) => {
            eprintln!("{}: not started: {refusal}", dir.display());
            ExitCode::from(REFUSED)
        }
        Err(e) => {
            eprintln!("{}: {e}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn attempt(dir: &Path) -> Result<Option<Refusal>, ShimError> {
    // First of all: from here on a stop is never missed and never deadly.
    let signals = signals()?;
    // Fails for a process group's leader, as when started from a terminal.
    let _ = setsid();
    prctl::set_child_subreaper(true).map_err(ShimError::system("become a subreaper"))?;
    let path = dir
        .canonicalize()
        .map_err(ShimError::system("find the directory"))?;
    let dir = AttemptDir::open(&path)?;
    let lease = dir.lease()?;
    let mut shim = Shim {
        dir,
        lease,
        signals,
        lock: None,
        start: StartRecord::default(),
    };
    shim.decide()
}

struct Shim {
    dir: AttemptDir,
    lease: LeaseRecord,
    signals: SignalFd,
    /// Held to the end.
    lock: Option<Lock>,
    start: StartRecord,
}

impl Shim {
    fn decide(&mut self) -> Result<Option<Refusal>, ShimError> {
        let mut machine = Start::New;
        let mut event = Event::Begun;
        loop {
            event = match machine.step(event) {
                Effect::TakeLock => Event::Lock {
                    taken: self.take_lock()?,
                },
                Effect::Look => Event::Seen(self.look()?),
                Effect::LeaveMarker => Event::Marker {
                    durable: self.leave_marker(),
                },
                Effect::RunJob => return self.run_job().map(|()| None),
                Effect::CloseNotRun(refusal) => {
                    self.write(&ExitRecord::unstarted(Outcome::NotRun))?;
                    return Ok(Some(refusal));
                }
                Effect::End(refusal) => return Ok(Some(refusal)),
            }
        }
    }

    fn take_lock(&mut self) -> Result<bool, ShimError> {
        self.lock = self.dir.take_lock()?.ok();
        Ok(self.lock.is_some())
    }

    fn look(&self) -> Result<Facts, ShimError> {
        Ok(Facts {
            is_where_locked: self.dir.is_where_locked(self.held())?,
            started: self.dir.started_exists()?,
            ended: self.dir.exit()?.is_some(),
            same_boot: self.lease.boot_id == boot_id(),
            stop_asked: matches!(self.signals.read_signal(), Ok(Some(_))),
            deadline_ms: self.dir.deadline_ms(&self.lease),
            now_ms: boottime_ms(),
        })
    }

    fn leave_marker(&mut self) -> bool {
        let confinement = match self.lease.confinement {
            // Concerns only children made after it.
            Confinement::Namespace if namespace::for_children() => Confinement::Namespace,
            Confinement::Namespace | Confinement::Subtree => Confinement::Subtree,
        };
        let shim_pid = nix::unistd::getpid().as_raw();
        self.start = StartRecord {
            started_ms: wall_ms(),
            started_boot_ms: boottime_ms(),
            shim_pid,
            confinement,
        };
        self.dir.write_started(self.held(), &self.start).is_ok()
    }

    fn run_job(&self) -> Result<(), ShimError> {
        let exe = std::env::current_exe().map_err(ShimError::system("find this program"))?;
        // The driver looked it up once; the uid serves when started by hand.
        let user = std::env::var("USER").unwrap_or_else(|_| getuid().to_string());
        let record = match Command::new(&self.lease, &self.dir, &exe, &user) {
            Ok(command) => self.supervise(&command)?,
            Err(message) => ExitRecord::unstarted(Outcome::StartFailed { message }),
        };
        self.write(&record)
    }

    fn supervise(&self, command: &Command) -> Result<ExitRecord, ShimError> {
        let place = Place {
            dir: &self.dir,
            lock: self.held(),
            lease: &self.lease,
        };
        supervise::supervise(place, command, &self.start, &self.signals)
            .map_err(ShimError::system("watch the job"))
    }

    /// Room for the record was set aside; should it not do, what nobody will
    /// look at makes some. A full disk may become free; an attempt whose end is
    /// known is not given up for it at once. In a directory that took this one's place nothing is
    /// written: the agent knows how such an attempt ends.
    fn write(&self, record: &ExitRecord) -> Result<(), ShimError> {
        let mut tries = RECORD_TRIES;
        loop {
            if let Ok(false) = self.dir.is_where_locked(self.held()) {
                return Err(ShimError::DirectoryGone);
            }
            match self.dir.write_exit(self.held(), record) {
                Err(_) if tries > 1 => {
                    self.dir.free_disk(&record.outcome);
                    tries -= 1;
                }
                other => return Ok(other?),
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn held(&self) -> &Lock {
        self.lock
            .as_ref()
            .expect("the machine looks and runs only under the lock")
    }
}

/// Blocks what the shim waits for, and what would end it for no good reason.
fn signals() -> Result<SignalFd, ShimError> {
    let mut blocked = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGCHLD,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGPIPE,
    ] {
        blocked.add(signal);
    }
    blocked
        .thread_block()
        .map_err(ShimError::system("block signals"))?;
    let mut awaited = SigSet::empty();
    awaited.add(Signal::SIGTERM);
    awaited.add(Signal::SIGCHLD);
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&awaited, flags).map_err(ShimError::system("wait for signals"))
}
