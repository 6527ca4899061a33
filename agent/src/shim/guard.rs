//! The guard: the one process between the shim and the job, so that the job
//! dies with its shim and nothing of it escapes.
//!
//! It is a fork of the shim. In a PID namespace it is the namespace's first
//! process: the kernel kills it when the shim dies (parent-death signal; the
//! pipe below would end it too), and with it everything in there. It also gives
//! the job a `/proc` that fits, in a mount namespace of its own that still
//! receives the host's mounts (where the host refuses, the job sees the host's).
//! Without a PID namespace it is a subreaper that notices the shim's death by
//! the end of a pipe and kills its descendants until none is left; should the
//! job kill it, the job gets SIGKILL with it and the shim, the next subreaper,
//! adopts and kills the rest.
//!
//! It says how the command ended and passes SIGTERM on, and decides one thing:
//! a job that runs on well after its walltime or contact deadline is killed, for
//! then something keeps the shim from it (`overdue`).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2, read, setpgid, write};

use super::command::Command;
use super::job;
use super::overdue::Overdue;
use super::supervise::arm;
use super::tree::signal_descendants;
use crate::attempt::boot::boottime_ms;
use crate::attempt::{AttemptDir, Confinement, LeaseRecord, Outcome};

const PASS_PAUSE_MS: u16 = 10;
/// What a shim gets beyond its job's grace before it counts as kept from its duty.
const OVERDUE_MARGIN_MS: i64 = 3_000;
/// The guard's own exit code when it ends early; nobody reads it.
const EARLY: i32 = 70;

/// What the guard says through its pipe, five bytes each: a letter, a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The job has a `/proc` of its own namespace.
    ProcMounted,
    /// The command exited with this code.
    Exited(i32),
    /// The command was ended by this signal.
    Signaled(i32),
    /// The command could not be executed.
    NotExecuted(Errno),
    /// The walltime was over long ago.
    WalltimeOver,
    /// The contact deadline was over long ago.
    ContactOver,
}

impl Word {
    pub(super) const BYTES: usize = 5;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let (letter, number) = match self {
            Self::ProcMounted => (b'P', 0),
            Self::Exited(code) => (b'E', code),
            Self::Signaled(signal) => (b'S', signal),
            Self::NotExecuted(errno) => (b'X', errno as i32),
            Self::WalltimeOver => (b'W', 0),
            Self::ContactOver => (b'C', 0),
        };
        let n = number.to_le_bytes();
        [letter, n[0], n[1], n[2], n[3]]
    }

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let number = i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        match bytes[0] {
            b'P' => Some(Self::ProcMounted),
            b'E' => Some(Self::Exited(number)),
            b'S' => Some(Self::Signaled(number)),
            b'X' => Some(Self::NotExecuted(Errno::from_raw(number))),
            b'W' => Some(Self::WalltimeOver),
            b'C' => Some(Self::ContactOver),
            _ => None,
        }
    }

    /// A pipe takes so little at once or not at all.
    pub(super) fn send(self, pipe: &OwnedFd) {
        // Without a shim nobody wants to know.
        let _ = write(pipe, &self.to_bytes());
    }
}

/// The shim's side of its guard.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) pid: Pid,
    /// Where its words arrive, non-blocking.
    pub(super) words: OwnedFd,
    /// Where the job's output arrives, non-blocking.
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Its closing, by death or not, ends guard and job.
    life: OwnedFd,
}

impl Guard {
    /// Starts guard and job. `confinement` is what the next child of this
    /// process gets: in a PID namespace, or not.
    pub(super) fn spawn(
        dir: &AttemptDir,
        lease: &LeaseRecord,
        command: &Command,
        confinement: Confinement,
    ) -> Result<Self, Errno> {
        let (stdout, job_stdout) = pipe()?;
        let (stderr, job_stderr) = pipe()?;
        let (words, guard_words) = pipe()?;
        let (guard_life, life) = pipe2(OFlag::O_CLOEXEC)?;
        // SAFETY: the shim has one thread, so the child may do anything.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self {
                pid: child,
                words,
                stdout,
                stderr,
                life,
            }),
            ForkResult::Child => {
                drop((stdout, stderr, words, life));
                let side = Side {
                    dir,
                    lease,
                    words: guard_words,
                    life: guard_life,
                    confinement,
                };
                let outputs = (job_stdout, job_stderr);
                // Nothing of the shim's own may ever run here.
                let code = catch_unwind(AssertUnwindSafe(|| side.run(command, outputs)));
                // SAFETY: ends the process without the shim's clean-up.
                unsafe { nix::libc::_exit(code.unwrap_or(EARLY)) }
            }
        }
    }

    /// Asks it to send SIGTERM to the whole tree.
    pub(super) fn term_tree(&self) {
        // Gone already: then so is the tree, or the shim is killing it.
        let _ = write(&self.life, b"T");
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&reading, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reading, writing))
}

/// What wakes the guard, beside its shim.
struct Sources {
    signals: SignalFd,
    timer: TimerFd,
}

/// The guard's own side.
struct Side<'a> {
    dir: &'a AttemptDir,
    lease: &'a LeaseRecord,
    words: OwnedFd,
    life: OwnedFd,
    confinement: Confinement,
}

impl Side<'_> {
    fn run(&self, command: &Command, outputs: (OwnedFd, OwnedFd)) -> i32 {
        match self.start(command, &outputs) {
            Ok((job, sources)) => {
                drop(outputs);
                self.watch(job, &sources);
                0
            }
            Err(errno) => {
                Word::NotExecuted(errno).send(&self.words);
                EARLY
            }
        }
    }

    fn start(
        &self,
        command: &Command,
        outputs: &(OwnedFd, OwnedFd),
    ) -> Result<(Pid, Sources), Errno> {
        let _ = prctl::set_name(c"jero-guard");
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        match self.confinement {
            Confinement::Namespace => prctl::set_pdeathsig(Signal::SIGKILL)?,
            Confinement::Subtree => prctl::set_child_subreaper(true)?,
        }
        // The shim may have died before that took effect.
        if self.life_ended(PollTimeout::ZERO) {
            return Err(Errno::ESRCH);
        }
        if self.confinement == Confinement::Namespace && mount_proc().is_ok() {
            Word::ProcMounted.send(&self.words);
        }
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC)?;
        // SAFETY: the guard has one thread.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok((child, Sources { signals, timer })),
            ForkResult::Child => {
                let errno = job::execute(command, outputs.0.as_raw_fd(), outputs.1.as_raw_fd());
                Word::NotExecuted(errno).send(&self.words);
                // SAFETY: as in `Guard::spawn`.
                unsafe { nix::libc::_exit(127) }
            }
        }
    }

    /// Until the command has ended or the shim has, or the time is over.
    fn watch(&self, job: Pid, sources: &Sources) {
        let signals = &sources.signals;
        let limited = self.lease.walltime_ms > 0;
        let mut limits = Overdue {
            walltime_due_ms: limited.then(|| boottime_ms().saturating_add(self.lease.walltime_ms)),
            contact_due_ms: self.dir.deadline_ms(self.lease),
            stop_asked_ms: None,
            grace_ms: self.lease.grace_ms,
        };
        loop {
            // Without a timer the shim and the agent are what is left.
            let _ = arm(&sources.timer, due_ms(&limits));
            let shim_spoke = self.wait(sources);
            drain(signals);
            if let Some(word) = reap_until(job) {
                word.send(&self.words);
                return;
            }
            if shim_spoke {
                let mut letter = [0];
                match read(&self.life, &mut letter) {
                    Ok(1..) => self.term_tree(),
                    Ok(0) | Err(_) => return self.kill_tree(signals),
                }
            }
            if due_ms(&limits).is_some_and(|due_ms| due_ms <= boottime_ms())
                && let Some(word) = self.overdue(&mut limits)
            {
                word.send(&self.words);
                return self.kill_tree(signals);
            }
        }
    }

    /// Whether the shim has something to say, after anything happened.
    fn wait(&self, sources: &Sources) -> bool {
        let mut fds = [
            PollFd::new(self.life.as_fd(), PollFlags::POLLIN),
            PollFd::new(sources.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(sources.timer.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut fds, PollTimeout::NONE);
        fds[0].any().unwrap_or(true)
    }

    /// What is over, once the deadline has been read again.
    fn overdue(&self, limits: &mut Overdue) -> Option<Word> {
        limits.contact_due_ms = self.dir.deadline_ms(self.lease);
        let (due_ms, outcome) = limits.dead_by_ms(OVERDUE_MARGIN_MS)?;
        let word = match outcome {
            Outcome::ContactLost => Word::ContactOver,
            _ => Word::WalltimeOver,
        };
        (due_ms <= boottime_ms()).then_some(word)
    }

    fn term_tree(&self) {
        // A stopped process takes its SIGTERM only when it goes on.
        for signal in [Signal::SIGTERM, Signal::SIGCONT] {
            match self.confinement {
                // To everything in the namespace but its first process: this one.
                Confinement::Namespace => _ = kill(Pid::from_raw(-1), signal),
                Confinement::Subtree => signal_descendants(signal),
            }
        }
    }

    fn kill_tree(&self, signals: &SignalFd) {
        if self.confinement == Confinement::Namespace {
            return;
        }
        while reap_all(|_| {}) {
            signal_descendants(Signal::SIGKILL);
            let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(PASS_PAUSE_MS));
            drain(signals);
        }
    }

    fn life_ended(&self, timeout: PollTimeout) -> bool {
        let mut fds = [PollFd::new(self.life.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, timeout) != Ok(0)
    }
}

fn due_ms(limits: &Overdue) -> Option<i64> {
    let (due_ms, _) = limits.dead_by_ms(OVERDUE_MARGIN_MS)?;
    Some(due_ms)
}

/// Reaps what has ended; says how `job` did, if it is among it.
fn reap_until(job: Pid) -> Option<Word> {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == job => return Some(Word::Exited(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == job => {
                return Some(Word::Signaled(signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Reaps what has ended and says who; whether any child of this process is
/// left. For a subreaper no child means no descendant.
pub(super) fn reap_all(mut reaped: impl FnMut(Pid)) -> bool {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Err(Errno::ECHILD) => return false,
            Ok(status) => status.pid().into_iter().for_each(&mut reaped),
            Err(_) => {}
        }
    }
}

pub(super) fn drain(signals: &SignalFd) {
    while let Ok(Some(_)) = signals.read_signal() {}
}

fn mount_proc() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none)
}
