//! Queues: listed with their shares, created and changed.

use super::ClientApi;
use crate::auth::Caller;
use crate::convert::amounts::{limit_in, resources_in};
use crate::convert::place;
use crate::convert::status::{driver as unavailable, rejected};
use crate::convert::submission::isolation_in;
use jeroboam_core::event::{Event, QueueChange};
use jeroboam_core::queue::{Limit, QueueSpec, TaskBounds};
use jeroboam_core::rejected::Rejected;
use jeroboam_core::resources::Resources;
use jeroboam_core::round::share::Shares;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use tonic::Status;

/// Characters of a cordon's reason.
const REASON_CHARS_MAX: usize = 500;

impl ClientApi {
    pub(super) async fn queues(
        &self,
        _: v1::ListQueuesRequest,
    ) -> Result<v1::ListQueuesReply, Status> {
        let look = |world: &World, now: TimeMs| {
            let shares = Shares::new(world, now);
            let named = world.queues().iter().filter(|queue| queue.parent.is_some());
            let mut queues: Vec<v1::Queue> = named
                .map(|queue| place::queue(world, &shares, queue.id))
                .collect();
            // By name and segment, so that a queue stands before those below it.
            queues.sort_by(|left, right| left.name.split('.').cmp(right.name.split('.')));
            v1::ListQueuesReply { queues }
        };
        self.driver.read(look).await.map_err(unavailable)
    }

    pub(super) async fn new_queue(
        &self,
        (caller, request): (Caller, v1::CreateQueueRequest),
    ) -> Result<v1::Queue, Status> {
        self.rights.check_operator(&caller)?;
        let name = request.name.clone();
        let (guarantee, limit) = self.bounds(request.guarantee, request.limit).await?;
        let spec = QueueSpec {
            name: request.name,
            weight: request.weight.unwrap_or(1),
            guarantee: guarantee.unwrap_or_default(),
            limit: limit.unwrap_or_default(),
            queued_max: (request.queued_max != 0).then_some(request.queued_max),
            submitters: request.submitters.into_iter().collect(),
            bounds: TaskBounds::default().with(&place::bounds_in(request.bounds)),
            isolation: isolation_in("isolation", request.isolation)
                .map_err(|cause| rejected(&cause))?,
            tenant: request.tenant,
        };
        self.apply_to_queue(&caller, Event::QueueCreated(spec), name)
            .await
    }

    pub(super) async fn change_queue(
        &self,
        (caller, request): (Caller, v1::SetQueueRequest),
    ) -> Result<v1::Queue, Status> {
        self.rights.check_operator(&caller)?;
        let cordon = match request.cordon {
            Some(reason) if reason.chars().count() > REASON_CHARS_MAX => {
                let length = reason.chars().count() as u64;
                return Err(rejected(&Rejected::bounds(
                    "cordon (characters)",
                    length,
                    0,
                    REASON_CHARS_MAX as u64,
                )));
            }
            // Who closed it is of interest to whoever waits.
            Some(reason) if !reason.is_empty() => Some(format!("{reason} ({caller})")),
            other => other,
        };
        let (guarantee, limit) = self.bounds(request.guarantee, request.limit).await?;
        let change = QueueChange {
            guarantee,
            limit,
            weight: request.weight,
            queued_max: request.queued_max,
            cordon,
            submitters: request
                .submitters
                .map(|submitters| submitters.names.into_iter().collect()),
            bounds: place::bounds_in(request.bounds),
            isolation: request
                .isolation
                .map(|wire| isolation_in("isolation", wire))
                .transpose()
                .map_err(|cause| rejected(&cause))?,
            tenant: request.tenant,
        };
        let name = request.name.clone();
        self.apply_to_queue(
            &caller,
            Event::QueueChanged {
                name: request.name,
                change,
            },
            name,
        )
        .await
    }

    /// Guarantee and limit from the wire, in the names of the policy's resources.
    async fn bounds(
        &self,
        guarantee: Option<v1::Resources>,
        limit: Option<v1::Limit>,
    ) -> Result<(Option<Resources>, Option<Limit>), Status> {
        let read = move |world: &World, _: TimeMs| {
            let policy = world.policy();
            let guarantee = match guarantee {
                None => None,
                some => Some(resources_in(policy, "guarantee", some)?),
            };
            let limit = limit.map(|limit| limit_in(policy, "limit", limit));
            Ok((guarantee, limit.transpose()?))
        };
        let read: Result<_, Rejected> = self.driver.read(read).await.map_err(unavailable)?;
        read.map_err(|cause| rejected(&cause))
    }

    async fn apply_to_queue(
        &self,
        caller: &Caller,
        event: Event,
        name: String,
    ) -> Result<v1::Queue, Status> {
        tracing::info!(%caller, ?event, "a queue is changed");
        let seen = move |world: &World| {
            let id = world.queues().find(&name)?;
            Ok(place::queue(world, &Shares::new(world, world.now()), id))
        };
        let seen: Result<v1::Queue, Rejected> =
            self.driver.apply(event, seen).await.map_err(unavailable)?;
        seen.map_err(|cause| rejected(&cause))
    }
}
