//! Accepting a batch: converted and checked here, applied by the driver, and
//! answered once it is durable.

use super::{ClientApi, off_thread};
use crate::auth::Caller;
use crate::convert::shortage;
use crate::convert::status::{
    driver as unavailable, rejected, rejected_in, store as refused, too_large,
};
use crate::convert::submission::{batch_in, digest};
use crate::driver::Owner;
use crate::store::journal::RECORD_BYTES_MAX;
use crate::store::spool::{Digest, SpoolStatus};
use jeroboam_core::event::Event;
use jeroboam_core::job::Batch;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::spec::{BatchSpec, File};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use std::collections::BTreeMap;
use tonic::Status;

/// Below this a submission's record is surely within the journal's bound.
const SURELY_SMALL_BYTES: usize = 4 << 20;

/// Where a content is named first.
struct Input {
    job: String,
    place: String,
    file: File,
}

impl ClientApi {
    pub(super) async fn accept_batch(
        &self,
        (caller, request): (Caller, v1::SubmitRequest),
    ) -> Result<v1::SubmitReply, Status> {
        let by = caller.user()?.to_string();
        let v1::SubmitRequest { request_id, batch } = request;
        let wire = batch.unwrap_or_default();
        let wire_bytes = prost::Message::encoded_len(&wire);
        let digest = digest(&wire);
        let spec = batch_in(&self.policy, wire).map_err(|refused| refused.status())?;
        spec.validate()
            .map_err(|cause| rejected_of(&spec, &cause))?;
        let inputs = self.check_sizes(&spec)?;
        if !inputs.is_empty() {
            // Inputs of a batch that was accepted earlier need not be there any more.
            if let Some(reply) = self.repeated(&request_id, digest).await? {
                return Ok(reply);
            }
            self.check_inputs(inputs).await?;
        }
        let event = Event::BatchSubmitted {
            request_id,
            digest,
            by,
            spec,
        };
        if wire_bytes > SURELY_SMALL_BYTES {
            check_record(&event)?;
        }
        let decide = move |owner: &mut Owner| accepted(owner, event);
        self.driver.decide(decide).await.map_err(unavailable)?
    }

    /// The reply that an earlier submission of the same content got.
    async fn repeated(
        &self,
        request_id: &str,
        digest: [u8; 32],
    ) -> Result<Option<v1::SubmitReply>, Status> {
        let id = request_id.to_string();
        let look = move |world: &World, _: TimeMs| {
            let earlier = world.batch_of_request(&id);
            earlier.filter(|batch| batch.digest == digest).map(reply_of)
        };
        self.driver.read(look).await.map_err(unavailable)
    }

    /// The inputs of a job together are bounded.
    fn check_sizes(&self, spec: &BatchSpec) -> Result<BTreeMap<String, Input>, Status> {
        let max = self.retention.input_bytes_max;
        let mut inputs = BTreeMap::new();
        for (position, job) in spec.jobs.iter().enumerate() {
            let bytes = job
                .inputs
                .iter()
                .fold(0_u64, |sum, file| sum.saturating_add(file.size_bytes));
            if bytes > max {
                let place = format!("jobs[{position}].inputs (bytes)");
                let cause = Rejected::bounds(&place, bytes, 0, max);
                return Err(rejected_of(spec, &cause));
            }
            for (number, file) in job.inputs.iter().enumerate() {
                let place = format!("jobs[{position}].inputs[{number}]");
                inputs.entry(file.digest.clone()).or_insert_with(|| Input {
                    job: job.name.clone(),
                    place,
                    file: file.clone(),
                });
            }
        }
        Ok(inputs)
    }

    /// Every input is there, and stays: it counts as used now.
    async fn check_inputs(&self, inputs: BTreeMap<String, Input>) -> Result<(), Status> {
        if inputs.is_empty() {
            return Ok(());
        }
        let _in_use = self.in_use.read().await;
        let spool = self.spool.clone();
        let check = move || {
            for (digest, Input { job, place, file }) in inputs {
                let refuse = |what: String, remedy: &str| {
                    let cause = Rejected::invalid(place, what, remedy);
                    rejected_in(&cause, |_| Some(&job))
                };
                let digest: Digest = digest.parse().map_err(|error| refused(&error))?;
                let SpoolStatus::Complete { size_bytes } = spool.status(&digest) else {
                    let what =
                        format!("the content of `{}` is not in the Files service", file.path);
                    let remedy =
                        "upload it first (Files.Put), then submit with the same request id";
                    return Err(refuse(what, remedy));
                };
                if size_bytes != file.size_bytes {
                    let what = format!(
                        "`{}` has {size_bytes} bytes, not {}",
                        file.path, file.size_bytes
                    );
                    return Err(refuse(what, "give the content's own size"));
                }
                spool
                    .begin(&digest, size_bytes)
                    .map_err(|error| refused(&error))?;
            }
            Ok(())
        };
        off_thread(check).await?
    }
}

/// A record beyond the journal's bound would stop the scheduler: it is refused here.
fn check_record(event: &Event) -> Result<(), Status> {
    let bytes = crate::record::encode(TimeMs(i64::MAX), event).len();
    if bytes <= RECORD_BYTES_MAX {
        return Ok(());
    }
    Err(rejected(&Rejected::bounds(
        "batch (bytes in the journal)",
        bytes as u64,
        0,
        RECORD_BYTES_MAX as u64,
    )))
}

/// Accepts a batch, or the same one again, if its tasks can ever run.
///
/// # Errors
/// What the World refused; inside, what it would let wait for ever.
fn accepted(owner: &mut Owner, event: Event) -> Result<Result<v1::SubmitReply, Status>, Rejected> {
    let Event::BatchSubmitted {
        request_id, spec, ..
    } = &event
    else {
        unreachable!("a submission is made above");
    };
    let mut warnings = Vec::new();
    // What was accepted once stays so, whatever has left since.
    if owner.state().world.batch_of_request(request_id).is_none()
        && let Some(found) = owner.too_large(spec)
    {
        let (world, job) = (&owner.state().world, &spec.jobs[found.position].name);
        if world.is_reported(owner.now()) {
            return Ok(Err(too_large(world, job, &found)));
        }
        let text = shortage::text(world, &found.shortage);
        warnings.push(format!("a task of `{job}` waits for a larger node: {text}"));
    }
    let id = request_id.clone();
    owner.apply(event)?;
    let world = &owner.state().world;
    let batch = world
        .batch_of_request(&id)
        .expect("a submission that was applied is there");
    if let Some((queue, why)) = world.queues().cordoned(batch.queue) {
        let queue = &world.queues().queue(queue).spec.name;
        warnings.push(format!(
            "the queue `{queue}` is cordoned, and nothing starts: {why}"
        ));
    }
    Ok(Ok(v1::SubmitReply {
        warnings,
        ..reply_of(batch)
    }))
}

/// A refusal with the name of the job that it is about.
fn rejected_of(spec: &BatchSpec, cause: &Rejected) -> Status {
    rejected_in(cause, |position| {
        spec.jobs.get(position).map(|job| job.name.as_str())
    })
}

fn reply_of(batch: &Batch) -> v1::SubmitReply {
    let jobs = batch.job_ids().map(|id| id.0).collect();
    v1::SubmitReply {
        batch: batch.id.0,
        jobs,
        warnings: Vec::new(),
    }
}
