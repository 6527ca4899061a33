//! Why a task waits, and what would let it run; or how it ended.

mod detail;
mod end;
mod prediction;

use super::jobs::check_range;
use super::{ClientApi, history_failed, off_thread};
use crate::convert;
use crate::convert::amounts::resources;
use crate::convert::by_hand::{author, said};
use crate::convert::status::{driver as unavailable, rejected};
use crate::convert::work::cancelled_code;
use crate::history_record::{HistoryError, read_job};
use crate::store::history::History;
use end::{End, failed_dependencies, finished_dependencies};
use jeroboam_core::event::Verb;
use jeroboam_core::ids::TaskId;
use jeroboam_core::job::{CancelledWhy, Job};
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::reason::WaitingReason;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::round::explain::explain;
use jeroboam_core::spec::Ends;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use tonic::Status;
use v1::TaskState;

/// Dependencies that are named; of more, the first ones.
const NAMED_MAX: usize = 10;

impl ClientApi {
    pub(super) async fn explained(
        &self,
        request: v1::ExplainRequest,
    ) -> Result<v1::ExplainReply, Status> {
        let task =
            convert::lease::task_in("task", request.task).map_err(|cause| rejected(&cause))?;
        let look = move |world: &World, now: TimeMs| {
            let job = world.jobs().get(&task.job)?;
            Some(explained(world, now, job, task))
        };
        let explained = self.driver.read(look).await.map_err(unavailable)?;
        let (mut reply, end) = match explained {
            Some(explained) => explained.map_err(|cause| rejected(&cause))?,
            None => self.explain_finished(task).await?,
        };
        if request.predict && matches!(reply.state(), TaskState::Queued | TaskState::Blocked) {
            reply.prediction = self.predicted(task).await?;
        }
        let Some(end) = end else {
            return Ok(reply);
        };
        let attempt = self.last_attempt(task).await?;
        let end = Some(end.wire(task, attempt.as_ref()));
        Ok(v1::ExplainReply { end, ..reply })
    }

    /// From the history, where all have ended.
    async fn explain_finished(&self, task: TaskId) -> Result<Explained, Status> {
        let history = self.driver.history().clone();
        let read = off_thread(move || finished(&history, task)).await?;
        let found = read.map_err(|error| history_failed(&error))?;
        let end = found.unwrap_or(Err(Rejected::UnknownJob(task.job)));
        let end = end.map_err(|cause| rejected(&cause))?;
        let reply = v1::ExplainReply {
            task: Some(convert::lease::task(task)),
            state: end.state.into(),
            ..Default::default()
        };
        Ok((reply, Some(end)))
    }
}

/// How a task of a finished job ended; `None` where the history has no such job.
fn finished(
    history: &History,
    task: TaskId,
) -> Result<Option<Result<End, Rejected>>, HistoryError> {
    let Some(job) = read_job(history, task.job.0)? else {
        return Ok(None);
    };
    let one = only(task.index);
    if let Err(beyond) = check_range(task.job, job.summary.count, Some(&one)) {
        return Ok(Some(Err(beyond)));
    }
    let states = job.states(Some(&one)).into_iter().next();
    let states = states.unwrap_or_default();
    let dependencies = if states.reason == cancelled_code(CancelledWhy::Dependency) {
        finished_dependencies(history, &job)?
    } else {
        Vec::new()
    };
    let author = (!states.by.is_empty()).then(|| said(&states.by, &states.why));
    Ok(Some(Ok(End {
        state: states.state(),
        author,
        reason: states.reason,
        dependencies,
        batch_in_memory: None,
    })))
}

/// What is said of a task, and how it ended, if it has.
type Explained = (v1::ExplainReply, Option<End>);

fn only(index: u32) -> RangeSet {
    [(index, index)].into_iter().collect()
}

fn explained(world: &World, now: TimeMs, job: &Job, task: TaskId) -> Result<Explained, Rejected> {
    check_range(job.id, job.spec.count, Some(&only(task.index)))?;
    let (state, reason) = convert::work::state_of(&job.tasks, task.index).unwrap_or_default();
    let mut reply = v1::ExplainReply {
        task: Some(convert::lease::task(task)),
        state: state.into(),
        ..Default::default()
    };
    match state {
        TaskState::Queued => explain_queued(world, now, task, &mut reply)?,
        TaskState::Held => {
            let who = author(world, task, Verb::Hold);
            reply.waiting = Some(v1::WaitingReason {
                code: "held".into(),
                text: match who {
                    Some(who) => format!("it is held, by {who}"),
                    None => "somebody holds it".into(),
                },
                remedy: format!("`jero release {task}` lets it go on"),
            });
        }
        TaskState::Blocked => reply.waiting = Some(blocked(world, task)),
        TaskState::Leased
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Stopping
        | TaskState::Unspecified => {}
        TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled => {
            let dependencies = if reason == cancelled_code(CancelledWhy::Dependency) {
                failed_dependencies(world, job, task.index)
            } else {
                Vec::new()
            };
            let cancelled = reason == cancelled_code(CancelledWhy::User);
            let end = End {
                state,
                author: author(world, task, Verb::Cancel).filter(|_| cancelled),
                reason,
                dependencies,
                batch_in_memory: Some(job.batch.0),
            };
            return Ok((reply, Some(end)));
        }
    }
    Ok((reply, None))
}

fn blocked(world: &World, task: TaskId) -> v1::WaitingReason {
    let blockers = world.blockers(task);
    let sort = |wanted: Ends, how: &str| {
        let mut names = blockers.iter().filter(|(_, ends)| *ends == wanted);
        let named = names.by_ref().take(NAMED_MAX);
        let mut named: Vec<String> = named.map(|(blocker, _)| blocker.to_string()).collect();
        match names.count() {
            0 => {}
            more => named.push(format!("{more} more")),
        }
        (!named.is_empty()).then(|| format!("these have {how}: {}", named.join(", ")))
    };
    let until = [sort(Ends::Ok, "succeeded"), sort(Ends::Any, "ended")];
    let until: Vec<String> = until.into_iter().flatten().collect();
    v1::WaitingReason {
        code: "blocked".into(),
        text: format!("it waits until {}", until.join("; and until ")),
        remedy: "wait; `jero explain` of those says what they wait for".into(),
    }
}

fn explain_queued(
    world: &World,
    now: TimeMs,
    task: TaskId,
    reply: &mut v1::ExplainReply,
) -> Result<(), Rejected> {
    let explanation = explain(world, now, task)?;
    let job = world.find_job(task.job)?;
    let mut waiting = convert::work::waiting(explanation.reason);
    detail::add(world, now, task, explanation.reason, &mut waiting);
    let past = job.tasks.past.get(&task.index);
    if let (WaitingReason::RetryDelay, Some(at)) =
        (explanation.reason, past.and_then(|past| past.not_before))
    {
        let at = jeroboam_units::Instant(at.0);
        waiting.text = format!("{} until {at}", waiting.text);
    }
    reply.waiting = Some(waiting);
    reply.reservation = detail::reservation(world, now, task);
    reply.position = explanation.ahead + 1;
    reply.refusals = explanation
        .refusals
        .iter()
        .map(|((site, cause), nodes)| v1::Refusal {
            site: world.site(*site).spec.name.clone(),
            reason: Some(convert::work::waiting(WaitingReason::Refused(*cause))),
            nodes: *nodes,
        })
        .collect();
    reply.path = explanation
        .path
        .iter()
        .map(|step| {
            let queue = world.queues().queue(step.queue);
            v1::ShareStep {
                queue: queue.spec.name.clone(),
                weight: queue.spec.weight,
                entitlement: Some(resources(world.policy(), &step.entitlement)),
                held: Some(resources(world.policy(), &step.held)),
                key_milli: step.key_milli,
            }
        })
        .collect();
    Ok(())
}
