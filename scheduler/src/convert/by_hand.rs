//! Who did what by hand, on its way in and out.

use super::lease::ranges;
use super::work::{cancelled_code, preempted_by_hand_code};
use jeroboam_core::event::Verb;
use jeroboam_core::ids::TaskId;
use jeroboam_core::job::{Batch, ByHand, CancelledWhy, Job};
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use v1::TaskState;
use v1::change_request::Verb as WireVerb;

/// What is asked for.
///
/// # Errors
/// Nothing is, or what a newer release knows.
pub fn verb_in(request: &v1::ChangeRequest) -> Result<Verb, Rejected> {
    match request.verb() {
        WireVerb::Cancel => Ok(Verb::Cancel),
        WireVerb::Hold => Ok(Verb::Hold),
        WireVerb::Release => Ok(Verb::Release),
        WireVerb::Retry => Ok(Verb::Retry),
        WireVerb::Preempt => Ok(Verb::Preempt),
        WireVerb::Prioritise => Ok(Verb::Prioritise(request.priority)),
        WireVerb::Unspecified => {
            let what = "it is missing, or of a newer release";
            Err(Rejected::invalid(
                "verb",
                what,
                "use cancel, hold, release, retry, preempt or prioritise",
            ))
        }
    }
}

fn verb(verb: Verb) -> WireVerb {
    match verb {
        Verb::Cancel => WireVerb::Cancel,
        Verb::Hold => WireVerb::Hold,
        Verb::Release => WireVerb::Release,
        Verb::Retry => WireVerb::Retry,
        Verb::Preempt => WireVerb::Preempt,
        Verb::Prioritise(_) => WireVerb::Prioritise,
    }
}

/// The last that was done by hand to tasks of a job.
pub fn last(batch: &Batch, job: &Job) -> Option<v1::ByHand> {
    let mut notes = batch.by_hand.iter().rev();
    let note = notes.find(|note| note.of_job(job))?;
    Some(v1::ByHand {
        verb: verb(note.verb).into(),
        by: note.by.clone(),
        why: note.reason.clone(),
        at_ms: note.at.0,
        priority: match note.verb {
            Verb::Prioritise(priority) => priority,
            _ => 0,
        },
    })
}

/// Says of states that somebody brought about by hand who that was, each in a part of
/// its own.
pub fn with_authors(
    batch: &Batch,
    job: &Job,
    states: Vec<v1::StateRanges>,
) -> Vec<v1::StateRanges> {
    let parts = states
        .into_iter()
        .flat_map(|state| match verb_behind(&state) {
            None => vec![state],
            Some(verb) => by_author(batch, job, state, verb),
        });
    parts.collect()
}

/// The verb that brings tasks into a state, where one alone does.
fn verb_behind(state: &v1::StateRanges) -> Option<Verb> {
    let cancelled = cancelled_code(CancelledWhy::User);
    match (state.state(), state.reason.as_str()) {
        (TaskState::Held, _) => Some(Verb::Hold),
        (TaskState::Cancelled | TaskState::Stopping, reason) if reason == cancelled => {
            Some(Verb::Cancel)
        }
        (TaskState::Stopping, reason) if reason == preempted_by_hand_code() => Some(Verb::Preempt),
        _ => None,
    }
}

fn by_author(batch: &Batch, job: &Job, state: v1::StateRanges, verb: Verb) -> Vec<v1::StateRanges> {
    let range = |range: &v1::Range| (range.first, range.last);
    let mut left: RangeSet = state.ranges.iter().map(range).collect();
    let mut parts = Vec::new();
    let notes = batch.by_hand.iter().rev().filter(|note| note.verb == verb);
    for note in notes {
        let theirs = left.take(&note.tasks_of(job));
        if !theirs.is_empty() {
            parts.push(part(&state, &theirs, Some(note)));
        }
    }
    if !left.is_empty() {
        parts.push(part(&state, &left, None));
    }
    parts
}

fn part(state: &v1::StateRanges, tasks: &RangeSet, note: Option<&ByHand>) -> v1::StateRanges {
    v1::StateRanges {
        state: state.state,
        reason: state.reason.clone(),
        ranges: ranges(tasks),
        by: note.map(|note| note.by.clone()).unwrap_or_default(),
        why: note.map(|note| note.reason.clone()).unwrap_or_default(),
    }
}

/// Who brought a task into the state that it is in, as `alice` or `alice: why`; `None`
/// where nobody did or it is not remembered.
pub fn author(world: &World, task: TaskId, verb: Verb) -> Option<String> {
    let note = world.by_hand(task, verb)?;
    Some(said(&note.by, &note.reason))
}

/// `alice`, or `alice: why`.
pub fn said(by: &str, why: &str) -> String {
    match why {
        "" => by.into(),
        why => format!("{by}: {why}"),
    }
}
