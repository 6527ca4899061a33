//! The process driver: attempts as processes of this host, each under its shim.
//!
//! Rules: a shim does not depend on the agent that started it. It is started
//! detached (own session, no handle and no environment of the agent's), lives
//! on when the agent dies, and is found again by its directory: whoever holds
//! the attempt's lock *is* the shim. So signals go to the lock's owner through
//! a pidfd taken while it held the lock, never to a remembered pid.
//!
//! The end of a shim is noticed at once: one thread waits on the pidfds of all
//! of them (children of this agent, which it reaps, and adopted ones) and sends
//! an [`AttemptEnded`] each into the channel given at the start. It says only
//! that the shim is gone; [`AttemptDir::record_ended`] then tells or settles how
//! the attempt ended. A shim that lets a limit pass, since its job stopped it,
//! is woken and at last killed with its job (`process/oversight.rs`).
//!
//! It does not choose nodes or pin CPUs: declared nodes
//! (`process/nodes.rs`) divide the host on paper, for users who trust each
//! other. Entry point: [`ProcessDriver::new`].

mod nodes;
mod oversight;
mod pidfd;
mod state_dir;
mod watch;

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{User, getuid};
use tokio::sync::mpsc::UnboundedSender;

use crate::attempt::{AttemptDir, AttemptError, LeaseId, LockIdentity, Outcome, Phase};
use crate::shim::environment::SHIM_DIR_VARIABLE;
pub use nodes::{DeclaredNode, DeclaredTaint, node_reports, overcommitment};
use pidfd::Pidfd;
pub use state_dir::{StateDirError, check_state_dir};
use watch::Watch;

/// The hidden verb of `jero` that runs a shim.
pub const SHIM_VERB: &str = "attempt-shim";

/// What went wrong with a shim.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The shim's program could not be started.
    #[error("cannot start the shim of {lease} as {}: {source}; the jero program must stay where the agent found it", program.display())]
    Spawn {
        /// The attempt.
        lease: LeaseId,
        /// The shim's program.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("cannot {action}: {source}")]
    System {
        /// The operation, as a verb.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The attempt's directory could not be read.
    #[error(transparent)]
    Attempt(#[from] AttemptError),
}

impl DriverError {
    fn system(action: &'static str) -> impl FnOnce(nix::errno::Errno) -> Self {
        move |e| Self::System {
            action,
            source: e.into(),
        }
    }
}

/// The shim of this attempt is gone; ask the directory how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnded {
    /// The attempt.
    pub lease: LeaseId,
    /// Its directory.
    pub dir: AttemptDir,
    /// Which directory that was when its shim was seen first.
    pub lock: Option<LockIdentity>,
    /// How it ended if the shim left no record: `Lost`, unless the driver killed it.
    pub outcome: Outcome,
}

/// Starts, stops and watches shims. All calls may come from any thread; each
/// takes milliseconds at most.
#[derive(Debug)]
pub struct ProcessDriver {
    program: PathBuf,
    user: String,
    watch: Watch,
}

impl ProcessDriver {
    /// A driver whose shims are `program attempt-shim DIR` (`program` is the
    /// `jero` executable: `std::env::current_exe()`), and that tells their
    /// ends through `ended`: one message per successful `start` or `adopt`, so
    /// the channel is bounded by the attempts in flight.
    pub fn new(
        program: PathBuf,
        ended: UnboundedSender<AttemptEnded>,
    ) -> Result<Self, DriverError> {
        let uid = getuid();
        let user = User::from_uid(uid)
            .ok()
            .flatten()
            .map_or(uid.to_string(), |user| user.name);
        Ok(Self {
            program,
            user,
            watch: Watch::new(ended)?,
        })
    }

    /// Starts the shim of an attempt, whose directory must be durable and its
    /// inputs in place. A second shim for the same attempt is harmless: it
    /// finds the lock or the marker and refuses.
    pub fn start(&self, lease: LeaseId, dir: &AttemptDir) -> Result<(), DriverError> {
        let child = Command::new(&self.program)
            .arg(SHIM_VERB)
            .arg(dir.path())
            .env_clear()
            .env(SHIM_DIR_VARIABLE, dir.path())
            .env("USER", &self.user)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| DriverError::Spawn {
                lease,
                program: self.program.clone(),
                source,
            })?;
        // Not yet waited for, so the pid is its own until the watch reaps it.
        let pid = i32::try_from(child.id()).expect("pids fit an i32");
        let pidfd = Pidfd::open(pid).map_err(DriverError::system("open a pidfd"))?;
        self.watch.add(
            pidfd,
            Some(pid),
            AttemptEnded {
                lease,
                dir: dir.clone(),
                lock: dir.lock_identity()?,
                outcome: Outcome::Lost,
            },
        )
    }

    /// Watches the shim that holds this attempt's lock, left by an earlier
    /// agent. `false` if there is none: ask the directory for its phase again.
    pub fn adopt(&self, lease: LeaseId, dir: &AttemptDir) -> Result<bool, DriverError> {
        let Some(pidfd) = shim_of(dir)? else {
            return Ok(false);
        };
        self.watch.add(
            pidfd,
            None,
            AttemptEnded {
                lease,
                dir: dir.clone(),
                lock: dir.lock_identity()?,
                outcome: Outcome::Lost,
            },
        )?;
        Ok(true)
    }

    /// Asks the shim to stop its job: SIGTERM to the tree, SIGKILL after the
    /// lease's grace, outcome `Stopped`. `false` if no shim holds the lock: it
    /// has ended, or has not begun and is to be closed by
    /// [`AttemptDir::close_unstarted`].
    pub fn stop(&self, lease: LeaseId, dir: &AttemptDir) -> Result<bool, DriverError> {
        let Some(pidfd) = shim_of(dir)? else {
            return Ok(false);
        };
        self.watch.stop_asked(lease);
        let signaled = DriverError::system("signal a shim");
        pidfd.signal(Signal::SIGTERM).map_err(signaled)
    }
}

/// The shim that holds the lock, pinned: the owner is asked again after the
/// pidfd was opened, so the pid cannot have passed to another process between.
fn shim_of(dir: &AttemptDir) -> Result<Option<Pidfd>, DriverError> {
    let Phase::Running { shim_pid } = dir.phase()? else {
        return Ok(None);
    };
    let pidfd = match Pidfd::open(shim_pid) {
        Ok(pidfd) => pidfd,
        Err(nix::errno::Errno::ESRCH) => return Ok(None),
        Err(e) => return Err(DriverError::system("open a pidfd")(e)),
    };
    Ok((dir.phase()? == Phase::Running { shim_pid }).then_some(pidfd))
}
