//! A started job watched to its end: performs the effects of `run`, moves the
//! output from pipes to kept logs, measures, and gives the exit record.
//!
//! One `poll` sleeps on the guard's words, signals, one timer on
//! `CLOCK_BOOTTIME` (it fires on waking from suspend, too) and the two output
//! pipes; nothing is polled for. What is seen together is taken in this order:
//! the end of the command before a request to stop it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::read;

use super::command::Command;
use super::disk;
use super::guard::{Guard, Word, reap_all};
use super::run::{Effect, Event, Limits, Run};
use super::tree::{Procfs, signal_descendants};
use crate::attempt::boot::{boottime_ms, wall_ms};
use crate::attempt::durable::is_site_fault;
use crate::attempt::log::LogWriter;
use crate::attempt::{
    AttemptDir, Confinement, ExitRecord, LeaseRecord, Lock, Outcome, StartRecord, Stream, Usage,
};

const READ_BYTES: usize = 64 << 10;

/// The attempt, under its lock.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) dir: &'a AttemptDir,
    pub(super) lock: &'a Lock,
    pub(super) lease: &'a LeaseRecord,
}

/// Runs the command to its end and returns the record to be written.
pub(super) fn supervise(
    Place { dir, lock, lease }: Place<'_>,
    command: &Command,
    start: &StartRecord,
    signals: &SignalFd,
) -> Result<ExitRecord, Errno> {
    let guard = match Guard::spawn(dir, lease, command, start.confinement) {
        Ok(guard) => guard,
        Err(errno) => return Ok(unstarted(command, errno)),
    };
    let limits = Limits {
        walltime_ms: lease.walltime_ms,
        grace_ms: lease.grace_ms,
        memory_max_mib: lease.resources.memory_mib,
        disk_max_mib: lease.resources.disk_mib,
    };
    let log = |stream| LogWriter::new(dir.path(), stream, lease.log_bytes_max);
    let mut watched = Watched {
        run: Run::new(limits, dir.deadline_ms(lease), boottime_ms()),
        dir,
        lock,
        lease,
        command,
        confinement: start.confinement,
        guard,
        guard_left: true,
        words_left: true,
        proc_mounted: false,
        peak_mib: 0,
        outputs: [Some(log(Stream::Stdout)), Some(log(Stream::Stderr))],
        buffer: vec![0; READ_BYTES],
        log_error: None,
        site_fault: None,
        outcome: None,
    };
    watched.until_recorded(signals)?;
    Ok(watched.record(start))
}

struct Watched<'a> {
    run: Run,
    dir: &'a AttemptDir,
    lock: &'a Lock,
    lease: &'a LeaseRecord,
    command: &'a Command,
    confinement: Confinement,
    guard: Guard,
    /// It has not been reaped yet.
    guard_left: bool,
    /// Its pipe has not ended yet.
    words_left: bool,
    proc_mounted: bool,
    peak_mib: i64,
    /// `None` once the pipe has ended.
    outputs: [Option<LogWriter>; 2],
    buffer: Vec<u8>,
    log_error: Option<String>,
    /// Why the command was not executed, had that been the host's doing.
    site_fault: Option<String>,
    outcome: Option<Outcome>,
}

impl Watched<'_> {
    fn until_recorded(&mut self, signals: &SignalFd) -> Result<(), Errno> {
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC)?;
        let mut armed_ms = None;
        while self.outcome.is_none() {
            let due_ms = self.run.due_ms();
            if due_ms != armed_ms {
                arm(&timer, due_ms)?;
                armed_ms = due_ms;
            }
            self.wait(&timer, signals)?;
            self.take_words();
            self.take_signals(signals);
            self.react(Event::Timer);
            self.take_output();
        }
        self.take_rest();
        Ok(())
    }

    fn wait(&self, timer: &TimerFd, signals: &SignalFd) -> Result<(), Errno> {
        let mut fds: Vec<BorrowedFd<'_>> = vec![timer.as_fd(), signals.as_fd()];
        // At its end a pipe is always ready: asking again would spin until the
        // kernel has done away with the guard.
        if self.words_left {
            fds.push(self.guard.words.as_fd());
        }
        fds.extend(self.open_outputs().map(AsFd::as_fd));
        let mut fds: Vec<_> = fds
            .into_iter()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn react(&mut self, event: Event) {
        let effects = self.run.step(boottime_ms(), event);
        for effect in effects {
            match effect {
                Effect::ReadDeadline => {
                    let deadline_ms = self.dir.deadline_ms(self.lease);
                    self.react(Event::Deadline(deadline_ms));
                }
                Effect::SampleMemory => {
                    let resident_mib = self.resident_mib();
                    self.peak_mib = self.peak_mib.max(resident_mib);
                    self.react(Event::Memory { resident_mib });
                    if let Ok(false) = self.dir.is_where_locked(self.lock) {
                        self.react(Event::DirectoryGone);
                    }
                }
                Effect::SampleDisk => {
                    let begun_ms = boottime_ms();
                    let used_mib = disk::used_mib([self.dir.scratch(), self.dir.tmp()]);
                    let took_ms = boottime_ms() - begun_ms;
                    self.react(Event::Disk { used_mib, took_ms });
                }
                Effect::TermTree => self.guard.term_tree(),
                Effect::KillTree => self.kill_tree(),
                Effect::Record(outcome) => self.outcome = Some(outcome),
            }
        }
    }

    fn take_words(&mut self) {
        let mut bytes = [0; Word::BYTES];
        while self.words_left {
            match read(&self.guard.words, &mut bytes) {
                Ok(Word::BYTES) => self.take_word(bytes),
                Ok(_) => self.words_left = false,
                Err(_) => return,
            }
        }
    }

    fn take_word(&mut self, bytes: [u8; Word::BYTES]) {
        match Word::from_bytes(bytes) {
            Some(Word::ProcMounted) => self.proc_mounted = true,
            Some(Word::Exited(code)) => self.job_ended(Outcome::Exited { code }),
            Some(Word::Signaled(signal)) => self.job_ended(Outcome::Signaled { signal }),
            Some(Word::WalltimeOver) => self.job_ended(Outcome::WalltimeExceeded),
            Some(Word::ContactOver) => self.job_ended(Outcome::ContactLost),
            Some(Word::NotExecuted(errno)) => {
                let ExitRecord {
                    outcome,
                    site_fault,
                    ..
                } = unstarted(self.command, errno);
                self.site_fault = site_fault;
                self.job_ended(outcome);
            }
            None => {}
        }
    }

    fn job_ended(&mut self, by_itself: Outcome) {
        self.react(Event::JobEnded(by_itself));
    }

    fn take_signals(&mut self, signals: &SignalFd) {
        while let Ok(Some(signal)) = signals.read_signal() {
            let is = |asked: Signal| signal.ssi_signo == asked as u32;
            if is(Signal::SIGTERM) {
                self.react(Event::StopAsked);
            } else if is(Signal::SIGCHLD) {
                // The guard's last word came before its end.
                self.take_words();
                self.reap();
            }
        }
    }

    fn reap(&mut self) {
        let mut guard_left = self.guard_left;
        let left = reap_all(|pid| guard_left &= pid != self.guard.pid);
        self.guard_left = guard_left;
        if !left {
            self.react(Event::TreeGone);
        } else if !self.guard_left {
            // The guard was killed: its children are this process's now.
            self.job_ended(Outcome::Lost);
        }
    }

    /// Ends the guard, which in a namespace ends all; without, what it leaves
    /// comes to this process, and the passes that follow kill it.
    fn kill_tree(&mut self) {
        if self.guard_left {
            let _ = kill(self.guard.pid, Signal::SIGKILL);
        } else if self.confinement == Confinement::Subtree {
            signal_descendants(Signal::SIGKILL);
        }
    }

    fn resident_mib(&self) -> i64 {
        let guard = self.guard.pid.as_raw();
        let (procfs, pids) = if self.proc_mounted {
            let procfs = Procfs::of(guard);
            let pids = procfs.all().into_iter().filter(|pid| *pid != 1).collect();
            (procfs, pids)
        } else {
            (Procfs::own(), Procfs::own().descendants(guard))
        };
        procfs.resident_mib(&pids, self.lease.resources.memory_mib)
    }

    fn open_outputs(&self) -> impl Iterator<Item = &OwnedFd> {
        let pipes = [&self.guard.stdout, &self.guard.stderr];
        pipes
            .into_iter()
            .zip(&self.outputs)
            .filter_map(|(pipe, log)| log.is_some().then_some(pipe))
    }

    /// One read each, so that a flood delays nothing else.
    fn take_output(&mut self) -> bool {
        let mut more = false;
        let pipes = [&self.guard.stdout, &self.guard.stderr];
        for (pipe, output) in pipes.into_iter().zip(&mut self.outputs) {
            let Some(log) = output else { continue };
            match read(pipe, &mut self.buffer) {
                Ok(count @ 1..) => {
                    log.write(&self.buffer[..count]);
                    more = true;
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Ok(0) | Err(_) => {
                    self.log_error = self.log_error.take().or(log.error().map(str::to_owned));
                    *output = None;
                }
            }
        }
        more
    }

    /// What is still in the pipes; nobody is left to write into them.
    fn take_rest(&mut self) {
        while self.take_output() {}
        let errors = self.outputs.iter().flatten().filter_map(LogWriter::error);
        let error = errors.map(str::to_owned).next();
        self.log_error = self.log_error.take().or(error);
    }

    fn record(self, start: &StartRecord) -> ExitRecord {
        let outcome = self.outcome.expect("the loop ends with an outcome");
        let mut usage = Usage {
            started_ms: start.started_ms,
            ended_ms: wall_ms(),
            ..Usage::default()
        };
        if let Ok(used) = getrusage(UsageWho::RUSAGE_CHILDREN) {
            usage.cpu_ms =
                used.user_time().num_milliseconds() + used.system_time().num_milliseconds();
            usage.memory_peak_mib = self.peak_mib.max((used.max_rss() + 1023) / 1024);
        }
        ExitRecord {
            outcome,
            usage,
            log_error: self.log_error,
            site_fault: self.site_fault,
        }
    }
}

/// Of a command that was not executed. What the host had too little of is no
/// fault of the task's.
fn unstarted(command: &Command, errno: Errno) -> ExitRecord {
    let message = command.failure(errno);
    if !is_site_fault(errno) {
        return ExitRecord::unstarted(Outcome::StartFailed { message });
    }
    ExitRecord {
        site_fault: Some(message),
        ..ExitRecord::unstarted(Outcome::NotRun)
    }
}

/// Sets a timer on `CLOCK_BOOTTIME`.
pub(super) fn arm(timer: &TimerFd, due_ms: Option<i64>) -> Result<(), Errno> {
    let Some(due_ms) = due_ms else {
        return timer.unset();
    };
    // Zero would disarm it; what is long past is due at once all the same.
    let due = TimeSpec::milliseconds(due_ms.clamp(1, i64::MAX / 1_000_000));
    timer.set(
        Expiration::OneShot(due),
        TimerSetTimeFlags::TFD_TIMER_ABSTIME,
    )
}
