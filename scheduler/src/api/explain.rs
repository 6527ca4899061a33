//! Why a task waits, and what would let it run.

use super::jobs::check_range;
use super::{ClientApi, history_failed, off_thread};
use crate::convert;
use crate::convert::amounts::resources;
use crate::convert::status::{driver as unavailable, rejected};
use crate::history_record::read_job;
use jeroboam_core::ids::TaskId;
use jeroboam_core::job::Job;
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::reason::{Refusal, WaitingReason};
use jeroboam_core::rejected::Rejected;
use jeroboam_core::round::explain::explain;
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
        if let Some(explained) = self.driver.read(look).await.map_err(unavailable)? {
            return explained.map_err(|cause| rejected(&cause));
        }
        let history = self.driver.history().clone();
        let job = off_thread(move || read_job(&history, task.job.0)).await?;
        let job = job.map_err(|error| history_failed(&error))?;
        let job = job.ok_or_else(|| rejected(&Rejected::UnknownJob(task.job)))?;
        let one = only(task.index);
        check_range(task.job, job.summary.count, Some(&one)).map_err(|cause| rejected(&cause))?;
        let state = job
            .states(Some(&one))
            .first()
            .map_or(0, |states| states.state);
        Ok(v1::ExplainReply {
            task: Some(convert::lease::task(task)),
            state,
            ..Default::default()
        })
    }
}

fn only(index: u32) -> RangeSet {
    [(index, index)].into_iter().collect()
}

fn explained(
    world: &World,
    now: TimeMs,
    job: &Job,
    task: TaskId,
) -> Result<v1::ExplainReply, Rejected> {
    check_range(job.id, job.spec.count, Some(&only(task.index)))?;
    let (state, _) = convert::work::state_of(&job.tasks, task.index).unwrap_or_default();
    let mut reply = v1::ExplainReply {
        task: Some(convert::lease::task(task)),
        state: state.into(),
        ..Default::default()
    };
    match state {
        TaskState::Queued => explain_queued(world, now, task, &mut reply)?,
        TaskState::Held => {
            reply.waiting = Some(v1::WaitingReason {
                code: "held".into(),
                text: "somebody holds it".into(),
                remedy: format!("`jero release {task}` lets it go on"),
            });
        }
        TaskState::Blocked => reply.waiting = Some(blocked(job)),
        TaskState::Leased
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Stopping
        | TaskState::Succeeded
        | TaskState::Failed
        | TaskState::Cancelled
        | TaskState::Unspecified => {}
    }
    Ok(reply)
}

fn blocked(job: &Job) -> v1::WaitingReason {
    let mut names: Vec<String> = job
        .waits_for
        .iter()
        .take(NAMED_MAX)
        .map(ToString::to_string)
        .collect();
    if job.waits_for.len() > NAMED_MAX {
        names.push(format!("{} more", job.waits_for.len() - NAMED_MAX));
    }
    v1::WaitingReason {
        code: "blocked".into(),
        text: format!("it waits until these have succeeded: {}", names.join(", ")),
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
    let mut waiting = convert::work::waiting(explanation.reason);
    if explanation.reason == WaitingReason::Refused(Refusal::TooLarge)
        && let Some(found) = world.shortage(now, &world.find_job(task.job)?.spec.needs)
    {
        let lacks = convert::shortage::text(world, &found);
        waiting.text = format!("{}: {lacks}", waiting.text);
    }
    reply.waiting = Some(waiting);
    reply.position = explanation.ahead_in_leaf + 1;
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
