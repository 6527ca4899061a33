//! Whether one shim does its duty, as seen from outside: a pure machine.
//!
//! A job without a PID namespace can stop its shim, or keep it stopped. So at
//! every limit the shim is woken, in case it was stopped: one that is at work,
//! and may be for all of the job's grace, does not notice. Only if the job still
//! runs after its grace the shim is late, and at last shim and job are killed.
//! `watch` performs the steps.

use crate::attempt::{LeaseRecord, Outcome};
use crate::shim::overdue::Overdue;

/// After a limit, until the shim is woken.
const WAKE_MARGIN_MS: i64 = 1_000;
/// After a limit and the grace, until the shim is called late.
const LATE_MARGIN_MS: i64 = 3_000;
/// After a limit and the grace, until all is killed: later than the guard does.
const KILL_MARGIN_MS: i64 = 5_000;
/// A shim that has left no marker may still be about to start.
const START_MAX_MS: i64 = 60_000;

/// What stands on the disk now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// The contact deadline; `None` waits without contact.
    pub(super) contact_due_ms: Option<i64>,
    /// When the job was started, boottime ms, if it is known.
    pub(super) started_boot_ms: Option<i64>,
}

/// What is to be done about a shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It has time left.
    Nothing,
    /// SIGCONT, without a word: most shims are at work.
    Wake,
    /// SIGCONT, and say that it is late.
    Warn,
    /// Kill shim and job; how the attempt has ended then.
    Kill(Outcome),
}

/// One shim under watch.
#[derive(Debug)]
pub(super) struct Oversight {
    limits: Overdue,
    walltime_ms: i64,
    /// When it was started or found.
    seen_ms: i64,
    stage: Stage,
}

/// What was done last about a limit that has passed.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Trusted,
    Woken,
    WarnedOf,
}

impl Oversight {
    /// Of a shim started or found at `now_ms` (boottime).
    pub(super) fn new(lease: &LeaseRecord, contact_due_ms: Option<i64>, now_ms: i64) -> Self {
        let mut oversight = Self {
            limits: Overdue {
                walltime_due_ms: None,
                contact_due_ms,
                stop_asked_ms: None,
                grace_ms: lease.grace_ms,
            },
            walltime_ms: lease.walltime_ms,
            seen_ms: now_ms,
            stage: Stage::Trusted,
        };
        oversight.started_at(now_ms);
        oversight
    }

    /// A stop was asked for; the first time counts.
    pub(super) fn stop_asked(&mut self, now_ms: i64) {
        if self.limits.stop_asked_ms.is_none() {
            self.limits.stop_asked_ms = Some(now_ms);
        }
    }

    /// When to look again (boottime ms).
    pub(super) fn due_ms(&self) -> Option<i64> {
        match self.stage {
            Stage::Trusted => self.wake_due_ms(),
            Stage::Woken => self.late_ms(),
            Stage::WarnedOf => self.limits.dead_by_ms(KILL_MARGIN_MS).map(|(at, _)| at),
        }
    }

    fn wake_due_ms(&self) -> Option<i64> {
        let (due_ms, _) = self.limits.first()?;
        Some(due_ms.saturating_add(WAKE_MARGIN_MS))
    }

    fn late_ms(&self) -> Option<i64> {
        self.limits.dead_by_ms(LATE_MARGIN_MS).map(|(at, _)| at)
    }

    /// What is to be done now. Deadlines are moved on disk, so what is known
    /// of it counts again each time.
    pub(super) fn step(&mut self, now_ms: i64, facts: Facts) -> Step {
        self.limits.contact_due_ms = facts.contact_due_ms;
        self.started_at(facts.started_boot_ms.unwrap_or(self.seen_ms + START_MAX_MS));
        let passed = |due_ms: Option<i64>| due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        let (stage, step) = match self.limits.dead_by_ms(KILL_MARGIN_MS) {
            Some((due_ms, outcome)) if due_ms <= now_ms => (self.stage, Step::Kill(outcome)),
            _ if passed(self.late_ms()) => (Stage::WarnedOf, Step::Warn),
            _ if passed(self.wake_due_ms()) => (Stage::Woken, Step::Wake),
            _ => (Stage::Trusted, Step::Nothing),
        };
        self.stage = stage;
        step
    }

    fn started_at(&mut self, started_ms: i64) {
        let limited = self.walltime_ms > 0;
        self.limits.walltime_due_ms = limited.then(|| started_ms.saturating_add(self.walltime_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::tests::lease;

    fn oversight(walltime_ms: i64) -> Oversight {
        let record = LeaseRecord {
            walltime_ms,
            grace_ms: 10_000,
            ..lease(1)
        };
        Oversight::new(&record, Some(50_000), 0)
    }

    fn facts(contact_due_ms: i64, started_boot_ms: i64) -> Facts {
        Facts {
            contact_due_ms: Some(contact_due_ms),
            started_boot_ms: Some(started_boot_ms),
        }
    }

    #[test]
    fn a_silent_shim_is_woken_then_warned_of_then_killed() {
        let mut shim = oversight(20_000);
        assert_eq!(shim.due_ms(), Some(21_000));
        assert_eq!(shim.step(20_999, facts(50_000, 0)), Step::Nothing);
        assert_eq!(shim.step(21_000, facts(50_000, 0)), Step::Wake);
        assert_eq!(shim.due_ms(), Some(33_000));
        assert_eq!(shim.step(33_000, facts(50_000, 0)), Step::Warn);
        assert_eq!(shim.due_ms(), Some(35_000));
        let killed = Step::Kill(Outcome::WalltimeExceeded);
        assert_eq!(shim.step(35_000, facts(50_000, 0)), killed);
    }

    #[test]
    fn a_deadline_that_was_moved_and_a_late_start_give_time() {
        let mut shim = oversight(20_000);
        assert_eq!(shim.step(21_000, facts(50_000, 5_000)), Step::Nothing);
        assert_eq!(shim.due_ms(), Some(26_000));
        let mut shim = oversight(0);
        assert_eq!(shim.due_ms(), Some(51_000));
        assert_eq!(shim.step(51_000, facts(90_000, 0)), Step::Nothing);
        assert_eq!(shim.due_ms(), Some(91_000));
        assert_eq!(
            shim.step(105_000, facts(90_000, 0)),
            Step::Kill(Outcome::ContactLost)
        );
    }

    #[test]
    fn a_stop_counts_from_when_it_was_first_asked() {
        let mut shim = oversight(0);
        shim.stop_asked(1_000);
        shim.stop_asked(9_000);
        assert_eq!(shim.step(2_000, facts(50_000, 0)), Step::Wake);
        assert_eq!(
            shim.step(16_000, facts(50_000, 0)),
            Step::Kill(Outcome::Stopped)
        );
    }

    #[test]
    fn a_marker_that_is_missing_is_waited_for_but_not_for_ever() {
        let mut shim = oversight(20_000);
        let unmarked = Facts {
            contact_due_ms: None,
            started_boot_ms: None,
        };
        assert_eq!(shim.step(40_000, unmarked), Step::Nothing);
        assert_eq!(
            shim.step(95_000, unmarked),
            Step::Kill(Outcome::WalltimeExceeded)
        );
    }
}
