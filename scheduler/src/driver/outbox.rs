//! The way to an agent: a bounded queue of messages, numbered per session.

use crate::convert;
use crate::dispatch::{Limits, ToSite};
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use jeroboam_proto::v1::scheduler_message::Kind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tonic::Status;

/// Messages that may wait for a slow agent. Beyond it the stream is closed, and
/// the agent's next inventory settles what it missed.
pub const MESSAGES_MAX: usize = 65_536;

/// What an agent is told; ends when the stream is to be closed.
pub type Messages = mpsc::Receiver<Result<v1::SchedulerMessage, Status>>;

/// What grants say about files and logs.
#[derive(Debug, Clone, Copy)]
pub struct GrantLimits {
    /// Of one task's outputs together.
    pub outputs_bytes_max: u64,
    /// Of one task.
    pub outputs_files_max: u32,
    /// Of one task's standard output and of its standard error, each.
    pub log_bytes_max: u64,
}

/// The sending end. Clones share the queue and the numbering.
#[derive(Debug, Clone)]
pub struct Outbox(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    /// `None` once closed: nothing is ever delivered after a gap.
    sender: Option<mpsc::Sender<Result<v1::SchedulerMessage, Status>>>,
    sequence: u64,
}

impl Outbox {
    /// A new queue and its receiving end.
    pub fn new() -> (Outbox, Messages) {
        let (sender, messages) = mpsc::channel(MESSAGES_MAX);
        let open = Open {
            sender: Some(sender),
            sequence: 0,
        };
        (Outbox(Arc::new(Mutex::new(open))), messages)
    }

    /// Queues a message; a full queue closes the stream.
    pub fn send(&self, kind: Kind) {
        let mut open = self.open();
        open.sequence += 1;
        let message = v1::SchedulerMessage {
            sequence: open.sequence,
            kind: Some(kind),
        };
        if let Some(sender) = &open.sender
            && sender.try_send(Ok(message)).is_err()
        {
            open.sender = None;
        }
    }

    /// Closes the stream with a status after what was queued before.
    pub fn close(&self, status: Status) {
        if let Some(sender) = self.open().sender.take() {
            // A full queue ends without the status: the stream ends all the same.
            let _ = sender.try_send(Err(status));
        }
    }

    /// True if the agent can be told nothing more: it does not read, or is gone.
    pub fn is_closed(&self) -> bool {
        let open = self.open();
        open.sender.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message as it goes over the wire.
pub(super) fn encode(
    world: &World,
    limits: Limits,
    grant_limits: &GrantLimits,
    message: ToSite,
) -> Kind {
    let leases = |list: Vec<_>| list.into_iter().map(convert::lease).collect();
    match message {
        ToSite::Welcome { session } => Kind::Welcome(v1::Welcome {
            federation: world.federation().to_string(),
            lineage: world.lineage(),
            term: world.term(),
            session,
            contact_limit_ms: limits.contact_limit_ms,
            heartbeat_interval_ms: limits.heartbeat_interval_ms,
        }),
        ToSite::Verdict {
            keep,
            ended,
            unknown,
        } => Kind::Verdict(v1::Verdict {
            keep: leases(keep),
            ended: leases(ended),
            unknown: leases(unknown),
        }),
        ToSite::Renewed(number) => Kind::Renewed(v1::Renewed { number }),
        ToSite::Grant(lease) => Kind::Grant(convert::grant(world, lease, grant_limits)),
        ToSite::Stop(lease) => Kind::Stop(v1::Stop {
            lease: Some(convert::lease(lease)),
            reason: convert::work::stop_reason(world, lease).into(),
        }),
        ToSite::Ack(lease) => Kind::Ack(v1::Ack {
            lease: Some(convert::lease(lease)),
            ended: true,
        }),
        ToSite::OverCommitted(nodes) => {
            Kind::Notice(convert::notice::over_committed(world, &nodes))
        }
    }
}
