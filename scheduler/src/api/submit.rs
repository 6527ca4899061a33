//! Accepting a batch: converted and checked here, applied by the driver, and
//! answered once it is durable.

use super::{ClientApi, off_thread};
use crate::auth::Caller;
use crate::convert::status::{driver as unavailable, rejected, store as refused};
use crate::convert::submission::{batch_in, digest};
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
        let refuse = |cause: Rejected| rejected(&cause);
        let spec = batch_in(&self.policy, wire).map_err(refuse)?;
        spec.validate().map_err(refuse)?;
        let inputs = self.check_sizes(&spec)?;
        if !inputs.is_empty() {
            // Inputs of a batch that was accepted earlier need not be there any more.
            if let Some(reply) = self.repeated(&request_id, digest).await? {
                return Ok(reply);
            }
            self.check_inputs(inputs).await?;
        }
        let id = request_id.clone();
        let event = Event::BatchSubmitted {
            request_id,
            digest,
            by,
            spec,
        };
        if wire_bytes > SURELY_SMALL_BYTES {
            check_record(&event)?;
        }
        let seen = move |world: &World| world.batch_of_request(&id).map(reply_of);
        let reply = self.driver.apply(event, seen).await.map_err(unavailable)?;
        reply.ok_or_else(|| Status::internal("the batch was accepted and is not there"))
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
    fn check_sizes(&self, spec: &BatchSpec) -> Result<BTreeMap<String, (String, File)>, Status> {
        let max = self.retention.input_bytes_max;
        let mut inputs = BTreeMap::new();
        for (position, job) in spec.jobs.iter().enumerate() {
            let bytes = job
                .inputs
                .iter()
                .fold(0_u64, |sum, file| sum.saturating_add(file.size_bytes));
            if bytes > max {
                let place = format!("jobs[{position}].inputs (bytes)");
                return Err(rejected(&Rejected::bounds(&place, bytes, 0, max)));
            }
            for (number, file) in job.inputs.iter().enumerate() {
                let place = format!("jobs[{position}].inputs[{number}]");
                inputs
                    .entry(file.digest.clone())
                    .or_insert((place, file.clone()));
            }
        }
        Ok(inputs)
    }

    /// Every input is there, and stays: it counts as used now.
    async fn check_inputs(&self, inputs: BTreeMap<String, (String, File)>) -> Result<(), Status> {
        if inputs.is_empty() {
            return Ok(());
        }
        let _in_use = self.in_use.read().await;
        let spool = self.spool.clone();
        let check = move || {
            for (digest, (place, file)) in inputs {
                let digest: Digest = digest.parse().map_err(|error| refused(&error))?;
                let SpoolStatus::Complete { size_bytes } = spool.status(&digest) else {
                    let what =
                        format!("the content of `{}` is not in the Files service", file.path);
                    let remedy =
                        "upload it first (Files.Put), then submit with the same request id";
                    return Err(rejected(&Rejected::invalid(place, what, remedy)));
                };
                if size_bytes != file.size_bytes {
                    let what = format!(
                        "`{}` has {size_bytes} bytes, not {}",
                        file.path, file.size_bytes
                    );
                    return Err(rejected(&Rejected::invalid(
                        place,
                        what,
                        "give the content's own size",
                    )));
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

fn reply_of(batch: &Batch) -> v1::SubmitReply {
    let jobs = batch.job_ids().map(|id| id.0).collect();
    v1::SubmitReply {
        batch: batch.id.0,
        jobs,
        warnings: Vec::new(),
    }
}
