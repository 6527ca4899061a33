//! Cancel, hold, release and retry.

use super::ClientApi;
use crate::auth::Caller;
use crate::convert::lease::ranges_in;
use crate::convert::status::{driver as unavailable, rejected};
use jeroboam_core::event::{Event, Selection, Verb};
use jeroboam_core::ids::{BatchId, JobId};
use jeroboam_core::job::ActiveState;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use tonic::Status;
use v1::change_request::Verb as WireVerb;

/// Characters of a reason that are logged.
const REASON_CHARS_MAX: usize = 200;

impl ClientApi {
    pub(super) async fn change_tasks(
        &self,
        (caller, request): (Caller, v1::ChangeRequest),
    ) -> Result<v1::ChangeReply, Status> {
        let refuse = |cause: Rejected| rejected(&cause);
        let verb = verb_in(request.verb()).map_err(refuse)?;
        let selection = selection_in(&request).map_err(refuse)?;
        let (rights, by, chosen) = (self.rights.clone(), caller.clone(), selection.clone());
        // Counted just before: what ends in between is counted all the same.
        let look = move |world: &World, _: TimeMs| {
            let (queue, owner) = owner_of(world, &chosen).map_err(|cause| rejected(&cause))?;
            rights.check_change(world, &by, queue, owner)?;
            count(world, verb, &chosen).map_err(|cause| rejected(&cause))
        };
        let (changed, stopping) = self.driver.read(look).await.map_err(unavailable)??;
        let event = Event::TasksChanged {
            verb,
            selection: selection.clone(),
        };
        self.driver
            .apply(event, |_| ())
            .await
            .map_err(unavailable)?;
        let reason: String = request.reason.chars().take(REASON_CHARS_MAX).collect();
        tracing::info!(%caller, ?verb, ?selection, changed, stopping, reason, "tasks changed");
        Ok(v1::ChangeReply { changed, stopping })
    }
}

fn verb_in(verb: WireVerb) -> Result<Verb, Rejected> {
    match verb {
        WireVerb::Cancel => Ok(Verb::Cancel),
        WireVerb::Hold => Ok(Verb::Hold),
        WireVerb::Release => Ok(Verb::Release),
        WireVerb::Retry => Ok(Verb::Retry),
        WireVerb::Unspecified => {
            let what = "it is missing, or of a newer release";
            Err(Rejected::invalid(
                "verb",
                what,
                "use cancel, hold, release or retry",
            ))
        }
    }
}

fn selection_in(request: &v1::ChangeRequest) -> Result<Selection, Rejected> {
    let ranges = ranges_in(&request.ranges)?;
    match (request.batch, request.job, ranges) {
        (batch, 0, None) if batch != 0 => Ok(Selection::Batch(BatchId(batch))),
        (0, job, ranges) if job != 0 => Ok(Selection::Job(JobId(job), ranges)),
        _ => {
            let what = "exactly one of batch and job is to be named, ranges only with a job";
            Err(Rejected::invalid(
                "batch",
                what,
                "write batch-3, job-17 or job-17[3-7,9]",
            ))
        }
    }
}

/// Queue and submitter of the batch that a selection is about.
fn owner_of<'a>(world: &'a World, selection: &Selection) -> Result<(&'a str, &'a str), Rejected> {
    let id = match selection {
        Selection::Batch(id) => *id,
        Selection::Job(id, _) => world.find_job(*id)?.batch,
    };
    let batch = world.batches().get(&id).ok_or(Rejected::UnknownBatch(id))?;
    Ok((&world.queues().queue(batch.queue).spec.name, &batch.by))
}

/// How many tasks change at once, and how many are on their way.
fn count(world: &World, verb: Verb, selection: &Selection) -> Result<(u64, u64), Rejected> {
    let (mut all, mut stopping) = (0, 0);
    for (id, wanted) in world.select(selection)? {
        all += world.changeable(verb, id, &wanted);
        if verb == Verb::Cancel {
            let tasks = &world.jobs()[&id].tasks;
            let active = tasks.active_among(&wanted).into_iter();
            let going_on = active
                .filter(|index| !matches!(tasks.active[index].state, ActiveState::Stopping { .. }));
            stopping += going_on.count() as u64;
        }
    }
    Ok((all - stopping, stopping))
}
