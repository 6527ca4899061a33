//! Cancel, hold, release, retry, preempt and set.

use super::ClientApi;
use crate::auth::Caller;
use crate::convert::by_hand::verb_in;
use crate::convert::lease::ranges_in;
use crate::convert::status::{driver as unavailable, rejected};
use crate::driver::Owner;
use jeroboam_core::event::{Event, Selection, Verb};
use jeroboam_core::ids::{BatchId, JobId};
use jeroboam_core::rejected::Rejected;
use jeroboam_core::world::World;
use jeroboam_core::world::batches::Changeable;
use jeroboam_proto::v1;
use tonic::Status;

/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 200;

impl ClientApi {
    pub(super) async fn change_tasks(
        &self,
        (caller, request): (Caller, v1::ChangeRequest),
    ) -> Result<v1::ChangeReply, Status> {
        let refuse = |cause: Rejected| rejected(&cause);
        let verb = verb_in(&request).map_err(refuse)?;
        let selection = selection_in(&request).map_err(refuse)?;
        let (rights, by, chosen) = (self.rights.clone(), caller.clone(), selection.clone());
        let reason: String = request.reason.chars().take(REASON_CHARS_MAX).collect();
        let why = reason.clone();
        let decide = move |owner: &mut Owner| {
            let world = &owner.state().world;
            let (queue, submitter) = owner_of(world, &chosen)?;
            if let Err(denied) = rights.check_change(world, &by, queue, submitter) {
                return Ok(Err(denied));
            }
            let counted = count(world, verb, &chosen)?;
            owner.apply(Event::TasksChanged {
                verb,
                selection: chosen,
                by: by.to_string(),
                reason: why,
            })?;
            Ok(Ok(counted))
        };
        let v1::ChangeReply { changed, stopping } =
            self.driver.decide(decide).await.map_err(unavailable)??;
        if verb == Verb::Preempt {
            crate::metrics::record_preempted("hand", stopping);
        }
        tracing::info!(%caller, ?verb, ?selection, changed, stopping, reason, "tasks changed");
        Ok(v1::ChangeReply { changed, stopping })
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
fn count(world: &World, verb: Verb, selection: &Selection) -> Result<v1::ChangeReply, Rejected> {
    let mut counted = v1::ChangeReply::default();
    for (id, wanted) in world.select(selection)? {
        let Changeable { at_once, to_stop } = world.changeable(verb, id, &wanted);
        counted.changed += at_once;
        counted.stopping += to_stop;
    }
    Ok(counted)
}
