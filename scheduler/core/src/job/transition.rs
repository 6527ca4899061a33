//! The one place that decides what becomes of a task whose attempt has ended.

use super::{ActiveState, CancelledWhy, FailedReason, Outcome, Past, StopWhy};
use crate::policy::{NOT_RUN_MAX, Policy};
use crate::spec::{FailureClass, JobSpec, RetryRule};

/// What a task becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Done.
    Succeeded,
    /// Waits for another place.
    Queued,
    /// A rule grants another attempt.
    Granted(Grant),
    /// Failed for good.
    Failed(FailedReason),
    /// Ended by decision.
    Cancelled(CancelledWhy),
}

/// Another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The rule's position: it may say where to go next, and with what.
    pub rule: usize,
    /// Not before, in milliseconds.
    pub delay_ms: i64,
}

/// Decides after an attempt, and writes into `past` what it used up.
///
/// A cancel wins over a success that arrives later: the user was told
/// *stopping*. A lost attempt is tried again if the job is restartable or a rule
/// names losses, but not for ever; other failures only where a rule grants it. A rule
/// that asks for more memory grants nothing where there is none to be had (`can_grow`):
/// the same again would fail again. An
/// attempt that never ran costs nothing and uses up no rule; after [`NOT_RUN_MAX`] of
/// them the task has failed to start.
pub fn after_attempt(
    state: ActiveState,
    outcome: &Outcome,
    past: &mut Past,
    spec: &JobSpec,
    policy: &Policy,
    can_grow: impl Fn(&RetryRule) -> bool,
) -> Next {
    match state {
        ActiveState::Stopping {
            why: StopWhy::Cancelled(why),
        } => return Next::Cancelled(why),
        // It was to wait again: a success that was faster stands, anything else is no
        // fault of its own.
        ActiveState::Stopping {
            why: StopWhy::Preempted { .. } | StopWhy::PreemptedByHand,
        } => {
            past.preempted = past.preempted.saturating_add(1);
            return match outcome {
                Outcome::Exit(0) => Next::Succeeded,
                Outcome::NotRun => Next::Queued,
                _ if spec.restartable => Next::Queued,
                _ => Next::Failed(FailedReason::Preempted),
            };
        }
        ActiveState::Stopping {
            why: StopWhy::GangBroken,
        } => {
            return match outcome {
                Outcome::Exit(0) => Next::Succeeded,
                Outcome::NotRun => Next::Queued,
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
        | Outcome::GangBroken
        | Outcome::PreemptedByHand { .. } => {
            past.lost += 1;
            if past.lost >= policy.lost_attempts_max {
                return Next::Failed(FailedReason::Lost);
            }
            (FailedReason::Lost, FailureClass::Lost, None)
        }
    };
    match grant_retry((class, exit_code), past, spec, can_grow) {
        Some(grant) => Next::Granted(grant),
        // What a rule says of losses comes first: it may delay, or lead elsewhere.
        None if class == FailureClass::Lost && spec.restartable => Next::Queued,
        None => Next::Failed(reason),
    }
}

/// The attempt that the first rule that matches grants, which is then used up; `None` if
/// it does not.
fn grant_retry(
    (class, exit_code): (FailureClass, Option<i32>),
    past: &mut Past,
    spec: &JobSpec,
    can_grow: impl Fn(&RetryRule) -> bool,
) -> Option<Grant> {
    let position = spec
        .retries
        .iter()
        .position(|rule| rule.matches(class, exit_code))?;
    past.rule_uses.resize(spec.retries.len(), 0);
    let uses = &mut past.rule_uses[position];
    let rule = &spec.retries[position];
    if *uses >= rule.times || (rule.grows() && !can_grow(rule)) {
        return None;
    }
    let delay_ms = rule.delay_after_ms(*uses);
    *uses += 1;
    Some(Grant {
        rule: position,
        delay_ms,
    })
}
