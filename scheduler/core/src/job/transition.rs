//! The one place that decides what becomes of a task whose attempt has ended.

use super::{ActiveState, CancelledWhy, FailedReason, Outcome, Past, StopWhy};
use crate::policy::{NOT_RUN_MAX, Policy};
use crate::spec::{FailureClass, JobSpec};

/// What a task becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Done.
    Succeeded,
    /// Waits for another place.
    Queued,
    /// Waits for its time, so many milliseconds, and then for another place.
    Delayed(i64),
    /// Failed for good.
    Failed(FailedReason),
    /// Ended by decision.
    Cancelled(CancelledWhy),
}

/// Decides after an attempt, and writes into `past` what it used up.
///
/// A cancel wins over a success that arrives later: the user was told
/// *stopping*. A lost attempt is tried again if the job is restartable or a rule
/// names losses, but not for ever; other failures only where a rule grants it. An
/// attempt that never ran costs nothing and uses up no rule; after [`NOT_RUN_MAX`] of
/// them the task has failed to start.
pub fn after_attempt(
    state: ActiveState,
    outcome: &Outcome,
    past: &mut Past,
    spec: &JobSpec,
    policy: &Policy,
) -> Next {
    match state {
        ActiveState::Stopping {
            why: StopWhy::Cancelled(why),
        } => return Next::Cancelled(why),
        // It was to wait again: a success that was faster stands, anything else is no
        // fault of its own.
        ActiveState::Stopping {
            why: StopWhy::Preempted { .. },
        } => {
            past.preempted = past.preempted.saturating_add(1);
            return match outcome {
                Outcome::Exit(0) => Next::Succeeded,
                _ if spec.restartable => Next::Queued,
                _ => Next::Failed(FailedReason::Preempted),
            };
        }
        ActiveState::Stopping {
            why: StopWhy::GangBroken,
        } => {
            return match outcome {
                Outcome::Exit(0) => Next::Succeeded,
                _ if spec.restartable => Next::Queued,
                _ => Next::Failed(FailedReason::Lost),
            };
        }
        ActiveState::Leased | ActiveState::Starting | ActiveState::Running { .. } => {}
    }
    let (reason, class, exit_code) = match outcome {
        Outcome::Exit(0) => return Next::Succeeded,
        Outcome::NotRun => {
            past.not_run += 1;
            if past.not_run >= NOT_RUN_MAX {
                return Next::Failed(FailedReason::Start);
            }
            return Next::Queued;
        }
        Outcome::Exit(code) => (FailedReason::Exit(*code), FailureClass::Exit, Some(*code)),
        Outcome::Signal(signal) => (FailedReason::Signal(*signal), FailureClass::Signal, None),
        Outcome::WalltimeExceeded => (FailedReason::Walltime, FailureClass::Walltime, None),
        Outcome::MemoryExceeded => (FailedReason::Memory, FailureClass::Memory, None),
        Outcome::StartFailed(_) => (FailedReason::Start, FailureClass::Start, None),
        Outcome::OutputsFailed(_) => (FailedReason::Outputs, FailureClass::Outputs, None),
        Outcome::ContactLost
        | Outcome::Lost
        | Outcome::Stopped
        | Outcome::Preempted(_)
        | Outcome::GangBroken => {
            past.lost += 1;
            if past.lost >= policy.lost_attempts_max {
                return Next::Failed(FailedReason::Lost);
            }
            if spec.restartable {
                return Next::Queued;
            }
            (FailedReason::Lost, FailureClass::Lost, None)
        }
    };
    match grant_retry(class, exit_code, past, spec) {
        None => Next::Failed(reason),
        Some(0) => Next::Queued,
        Some(delay_ms) => Next::Delayed(delay_ms),
    }
}

/// After how long the first rule that matches grants another attempt, which is then used
/// up; `None` if it does not.
fn grant_retry(
    class: FailureClass,
    exit_code: Option<i32>,
    past: &mut Past,
    spec: &JobSpec,
) -> Option<i64> {
    let position = spec
        .retries
        .iter()
        .position(|rule| rule.matches(class, exit_code))?;
    past.rule_uses.resize(spec.retries.len(), 0);
    let uses = &mut past.rule_uses[position];
    let rule = &spec.retries[position];
    let granted = (*uses < rule.times).then(|| rule.delay_after_ms(*uses));
    *uses += u32::from(granted.is_some());
    granted
}
