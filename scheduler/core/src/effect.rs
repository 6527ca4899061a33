//! What the outside is to do once an event is durable. The core does nothing
//! itself; the service carries effects out.

use crate::health::Quarantine;
use crate::ids::{BatchId, LeaseId, SiteId};
use crate::job::{AttemptRecord, Batch, Job};

/// One thing to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell the site to run an attempt.
    Grant {
        /// Where.
        site: SiteId,
        /// Which.
        lease: LeaseId,
    },
    /// Tell the site to end an attempt.
    Stop {
        /// Where.
        site: SiteId,
        /// Which.
        lease: LeaseId,
    },
    /// Keep this in the history, with the event.
    AttemptEnded(AttemptRecord),
    /// Tell the operator: nothing new starts there for a time.
    Quarantined {
        /// Name of the site.
        site: String,
        /// Name of the node; `None` for the whole site.
        node: Option<String>,
        /// Why, and until when.
        quarantine: Quarantine,
    },
    /// Every task of the batch has ended.
    BatchFinished(BatchId),
    /// Keep these in the history, with the event; they have left the World.
    Retired {
        /// The batch.
        batch: Batch,
        /// Its jobs.
        jobs: Vec<Job>,
    },
}
