//! The life of a started job: limits, fence, stops and the outcome, as a pure
//! machine. No clock and no process in here: `now_ms` (boottime ms) comes in,
//! effects go out, `supervise` performs them, tests reorder them.
//!
//! Rules: the first reason to stop is the outcome, whatever the job does then;
//! a job that ended before any such reason ended by itself. An outcome is
//! recorded only when nothing of the tree is left.

use crate::attempt::Outcome;

/// After the start, when memory is first looked at.
const SAMPLE_FIRST_MS: i64 = 200;
/// How often afterwards.
const SAMPLE_MS: i64 = 1000;
/// How often while more than half of the limit is used.
const SAMPLE_NEAR_MS: i64 = 100;
/// How often the disk is measured.
const DISK_MS: i64 = 1000;
/// How often while more than half of the limit is used.
const DISK_NEAR_MS: i64 = 200;
/// Of a shim's time at most a twentieth goes into that.
const DISK_PAUSE_FACTOR: i64 = 20;
/// How soon killing is repeated while something is left of the tree.
const KILL_AGAIN_MS: i64 = 20;

/// What a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the start; 0 for none.
    pub walltime_ms: i64,
    /// From SIGTERM to SIGKILL.
    pub grace_ms: i64,
    /// Resident memory of the tree; 0 for no limit.
    pub memory_max_mib: i64,
    /// Disk used by scratch directory and TMPDIR; 0 for no limit.
    pub disk_max_mib: i64,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    limits: Limits,
    walltime_due_ms: Option<i64>,
    /// As last read; `None` waits without contact.
    contact_due_ms: Option<i64>,
    sample_due_ms: i64,
    /// `None` without a limit.
    disk_due_ms: Option<i64>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Running,
    /// SIGTERM was sent.
    Stopping {
        outcome: Outcome,
        kill_due_ms: i64,
    },
    /// The outcome is certain; what is left of the tree is being killed.
    Killing {
        outcome: Outcome,
        again_due_ms: i64,
    },
    Recorded,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something may be due.
    Timer,
    /// The answer to [`Effect::ReadDeadline`]; `None` waits without contact.
    Deadline(Option<i64>),
    /// The answer to [`Effect::SampleMemory`].
    Memory {
        /// Resident memory of the tree.
        resident_mib: i64,
    },
    /// The answer to [`Effect::SampleDisk`].
    Disk {
        /// Used by scratch directory and TMPDIR.
        used_mib: i64,
        /// How long the measuring took.
        took_ms: i64,
    },
    /// The agent asks for a stop.
    StopAsked,
    /// The command itself has ended; others of its tree may run.
    JobEnded(Outcome),
    /// The attempt's directory was removed or replaced.
    DirectoryGone,
    /// Nothing is left of the tree.
    TreeGone,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read the contact deadline again.
    ReadDeadline,
    /// Measure the tree's resident memory; see whether the directory is there.
    SampleMemory,
    /// Measure the disk that the job uses.
    SampleDisk,
    /// SIGTERM to every process of the tree.
    TermTree,
    /// SIGKILL to every process of the tree.
    KillTree,
    /// Write the exit record and end.
    Record(Outcome),
}

impl Run {
    /// A job started at `now_ms` (boottime).
    pub fn new(limits: Limits, contact_due_ms: Option<i64>, now_ms: i64) -> Self {
        let limited = limits.walltime_ms > 0;
        Self {
            limits,
            walltime_due_ms: limited.then(|| now_ms.saturating_add(limits.walltime_ms)),
            contact_due_ms,
            sample_due_ms: now_ms.saturating_add(SAMPLE_FIRST_MS),
            disk_due_ms: (limits.disk_max_mib > 0).then(|| now_ms.saturating_add(SAMPLE_FIRST_MS)),
            state: State::Running,
        }
    }

    /// When [`Event::Timer`] is next wanted (boottime ms).
    pub fn due_ms(&self) -> Option<i64> {
        match self.state {
            State::Running => [
                self.walltime_due_ms,
                self.contact_due_ms,
                Some(self.sample_due_ms),
                self.disk_due_ms,
            ]
            .into_iter()
            .flatten()
            .min(),
            State::Stopping { kill_due_ms, .. } => Some(kill_due_ms.min(self.sample_due_ms)),
            State::Killing { again_due_ms, .. } => Some(again_due_ms),
            State::Recorded => None,
        }
    }

    /// The effects of one event at `now_ms` (boottime).
    pub fn step(&mut self, now_ms: i64, event: Event) -> Vec<Effect> {
        match event {
            Event::Timer => self.timer(now_ms),
            Event::Deadline(due_ms) => self.deadline(now_ms, due_ms),
            Event::Memory { resident_mib } => self.memory(now_ms, resident_mib),
            Event::Disk { used_mib, took_ms } => self.disk(now_ms, used_mib, took_ms),
            Event::StopAsked => self.stop(now_ms, Outcome::Stopped),
            Event::JobEnded(by_itself) => self.job_ended(now_ms, by_itself),
            Event::DirectoryGone => self.directory_gone(now_ms),
            Event::TreeGone => self.tree_gone(),
        }
    }

    fn timer(&mut self, now_ms: i64) -> Vec<Effect> {
        let is_due = |due_ms: Option<i64>| due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        match &self.state {
            State::Running if is_due(self.walltime_due_ms) => {
                self.stop(now_ms, Outcome::WalltimeExceeded)
            }
            State::Running if is_due(self.contact_due_ms) => vec![Effect::ReadDeadline],
            State::Stopping {
                outcome,
                kill_due_ms,
            } if *kill_due_ms <= now_ms => self.kill(now_ms, outcome.clone()),
            State::Killing {
                outcome,
                again_due_ms,
            } if *again_due_ms <= now_ms => self.kill(now_ms, outcome.clone()),
            State::Running | State::Stopping { .. } if self.sample_due_ms <= now_ms => {
                vec![Effect::SampleMemory]
            }
            State::Running if is_due(self.disk_due_ms) => vec![Effect::SampleDisk],
            State::Running | State::Stopping { .. } | State::Killing { .. } | State::Recorded => {
                Vec::new()
            }
        }
    }

    fn deadline(&mut self, now_ms: i64, due_ms: Option<i64>) -> Vec<Effect> {
        self.contact_due_ms = due_ms;
        match due_ms {
            Some(due_ms) if due_ms <= now_ms => self.stop(now_ms, Outcome::ContactLost),
            Some(_) | None => Vec::new(),
        }
    }

    fn memory(&mut self, now_ms: i64, resident_mib: i64) -> Vec<Effect> {
        let max_mib = self.limits.memory_max_mib;
        let near = max_mib > 0 && resident_mib > max_mib / 2;
        let interval_ms = if near { SAMPLE_NEAR_MS } else { SAMPLE_MS };
        self.sample_due_ms = now_ms.saturating_add(interval_ms);
        if max_mib == 0 || resident_mib <= max_mib {
            return Vec::new();
        }
        // No grace: it would use it to take more from its neighbours.
        match &self.state {
            State::Running => self.kill(now_ms, Outcome::MemoryExceeded),
            State::Stopping { outcome, .. } => self.kill(now_ms, outcome.clone()),
            State::Killing { .. } | State::Recorded => Vec::new(),
        }
    }

    fn disk(&mut self, now_ms: i64, used_mib: i64, took_ms: i64) -> Vec<Effect> {
        let max_mib = self.limits.disk_max_mib;
        let near = used_mib > max_mib / 2;
        let interval_ms = if near { DISK_NEAR_MS } else { DISK_MS };
        let pause_ms = interval_ms.max(took_ms.saturating_mul(DISK_PAUSE_FACTOR));
        self.disk_due_ms = Some(now_ms.saturating_add(pause_ms));
        match &self.state {
            // No grace, as with memory: the disk is its neighbours' too.
            State::Running if used_mib > max_mib => {
                self.kill(now_ms, Outcome::disk_exceeded(used_mib, max_mib))
            }
            State::Running | State::Stopping { .. } => Vec::new(),
            State::Killing { .. } | State::Recorded => Vec::new(),
        }
    }

    fn stop(&mut self, now_ms: i64, outcome: Outcome) -> Vec<Effect> {
        match self.state {
            State::Running => {
                let kill_due_ms = now_ms.saturating_add(self.limits.grace_ms);
                self.state = State::Stopping {
                    outcome,
                    kill_due_ms,
                };
                vec![Effect::TermTree]
            }
            State::Stopping { .. } | State::Killing { .. } | State::Recorded => Vec::new(),
        }
    }

    fn job_ended(&mut self, now_ms: i64, by_itself: Outcome) -> Vec<Effect> {
        match &self.state {
            State::Running => self.kill(now_ms, by_itself),
            State::Stopping { outcome, .. } => self.kill(now_ms, outcome.clone()),
            State::Killing { .. } | State::Recorded => Vec::new(),
        }
    }

    /// No grace: nothing that the job does now can be told to anybody.
    fn directory_gone(&mut self, now_ms: i64) -> Vec<Effect> {
        match &self.state {
            State::Running | State::Stopping { .. } => self.kill(now_ms, Outcome::directory_gone()),
            State::Killing { .. } | State::Recorded => Vec::new(),
        }
    }

    fn kill(&mut self, now_ms: i64, outcome: Outcome) -> Vec<Effect> {
        let again_due_ms = now_ms.saturating_add(KILL_AGAIN_MS);
        self.state = State::Killing {
            outcome,
            again_due_ms,
        };
        vec![Effect::KillTree]
    }

    fn tree_gone(&mut self) -> Vec<Effect> {
        match std::mem::replace(&mut self.state, State::Recorded) {
            // Without a word about the command: who could have told was killed too.
            State::Running => vec![Effect::Record(Outcome::Lost)],
            State::Stopping { outcome, .. } | State::Killing { outcome, .. } => {
                vec![Effect::Record(outcome)]
            }
            State::Recorded => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
