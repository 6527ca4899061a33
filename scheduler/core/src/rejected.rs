//! Why an event was refused: the World is unchanged, and the caller is told
//! what was wrong, where, and what to do.

use crate::ids::{BatchId, JobId, LeaseId, TaskId};
use crate::ranges::RangeSet;
use crate::time::TimeMs;
use thiserror::Error;

/// A typed refusal. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum Rejected {
    #[error("{place}: {what}")]
    Invalid {
        place: String,
        what: String,
        remedy: String,
    },
    #[error("{place}: {value} is outside {min} ..= {max}")]
    OutOfBounds {
        place: String,
        value: u64,
        min: u64,
        max: u64,
    },
    #[error("there is no queue `{name}`")]
    UnknownQueue { name: String, near: Option<String> },
    #[error("the queue `{name}` exists already")]
    QueueExists { name: String },
    #[error("the queue `{name}` has queues below it; work is submitted to a leaf")]
    QueueNotLeaf { name: String },
    #[error("the queue `{parent}` holds batches and cannot get queues below it")]
    QueueHoldsBatches { parent: String },
    #[error("`{who}` may not submit to the queue `{queue}`")]
    NotSubmitter { who: String, queue: String },
    #[error(
        "the queue `{queue}` takes {max} waiting tasks; {queued} wait and {more} more were submitted"
    )]
    QueueFull {
        queue: String,
        max: u64,
        queued: u64,
        more: u64,
    },
    #[error(
        "the queue `{queue}` takes {max} waiting tasks of one user; {queued} of `{who}` wait and {more} more were submitted"
    )]
    UserQueueFull {
        queue: String,
        who: String,
        max: u64,
        queued: u64,
        more: u64,
    },
    #[error("the request id `{request_id}` was used for another submission ({batch})")]
    RequestIdReused { request_id: String, batch: BatchId },
    #[error("there is no {0}, or it has left memory for the history")]
    UnknownBatch(BatchId),
    #[error("there is no {0}, or it has left memory for the history")]
    UnknownJob(JobId),
    #[error("{job} has {count} tasks; {ranges} names others")]
    IndexOutOfRange {
        job: JobId,
        count: u32,
        ranges: RangeSet,
    },
    #[error("no task of the selection can be {verb}: {why}")]
    NothingToChange { verb: &'static str, why: String },
    #[error("there is no site `{name}`")]
    UnknownSite { name: String, near: Option<String> },
    #[error("the site `{site}` has no {what} `{name}`")]
    UnknownPart {
        site: String,
        what: &'static str,
        name: String,
        near: Option<String>,
    },
    #[error("the site `{name}` is claimed by another agent until {until}")]
    SiteClaimed { name: String, until: String },
    #[error("session {session} of the site `{name}` is not its current one")]
    SessionClosed { name: String, session: u64 },
    #[error("the lease {0} is not open")]
    LeaseClosed(LeaseId),
    #[error("{task} cannot be placed: {why}")]
    Unplaceable { task: TaskId, why: String },
    #[error("{batch} cannot leave memory: it has unfinished tasks")]
    Unfinished { batch: BatchId },
    #[error("time {} is before the World's {} (ms)", event.0, world.0)]
    TimeReversed { event: TimeMs, world: TimeMs },
}

impl Rejected {
    /// A wrong value at a place, with its remedy.
    pub fn invalid(
        place: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Rejected::Invalid {
            place: place.into(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// A number outside its bounds.
    pub fn bounds(place: &str, value: u64, min: u64, max: u64) -> Self {
        Rejected::OutOfBounds {
            place: place.to_string(),
            value,
            min,
            max,
        }
    }

    /// Stable name of the kind, as the API's `ErrorInfo.reason` carries it.
    pub fn code(&self) -> &'static str {
        match self {
            Rejected::Invalid { .. } => "INVALID",
            Rejected::OutOfBounds { .. } => "OUT_OF_BOUNDS",
            Rejected::UnknownQueue { .. } => "UNKNOWN_QUEUE",
            Rejected::QueueExists { .. } => "QUEUE_EXISTS",
            Rejected::QueueNotLeaf { .. } => "QUEUE_NOT_LEAF",
            Rejected::QueueHoldsBatches { .. } => "QUEUE_HOLDS_BATCHES",
            Rejected::NotSubmitter { .. } => "NOT_SUBMITTER",
            Rejected::QueueFull { .. } => "QUEUE_FULL",
            Rejected::UserQueueFull { .. } => "USER_QUEUE_FULL",
            Rejected::RequestIdReused { .. } => "REQUEST_ID_REUSED",
            Rejected::UnknownBatch(_) => "UNKNOWN_BATCH",
            Rejected::UnknownJob(_) => "UNKNOWN_JOB",
            Rejected::IndexOutOfRange { .. } => "INDEX_OUT_OF_RANGE",
            Rejected::NothingToChange { .. } => "NOTHING_TO_CHANGE",
            Rejected::UnknownSite { .. } => "UNKNOWN_SITE",
            Rejected::UnknownPart { .. } => "UNKNOWN_PART",
            Rejected::SiteClaimed { .. } => "SITE_CLAIMED",
            Rejected::SessionClosed { .. } => "SESSION_CLOSED",
            Rejected::LeaseClosed(_) => "LEASE_CLOSED",
            Rejected::Unplaceable { .. } => "UNPLACEABLE",
            Rejected::Unfinished { .. } => "UNFINISHED",
            Rejected::TimeReversed { .. } => "TIME_REVERSED",
        }
    }

    /// What is wrong, without the place.
    pub fn what(&self) -> String {
        match self {
            Rejected::Invalid { what, .. } => what.clone(),
            Rejected::OutOfBounds {
                value, min, max, ..
            } => format!("{value} is outside {min} ..= {max}"),
            other => other.to_string(),
        }
    }

    /// Where the fault is, where there is such a place.
    pub fn place(&self) -> Option<&str> {
        match self {
            Rejected::Invalid { place, .. } | Rejected::OutOfBounds { place, .. } => Some(place),
            _ => None,
        }
    }

    /// What the caller can do about it.
    pub fn remedy(&self) -> String {
        let near = |near: &Option<String>, list: &str| match near {
            Some(name) => format!("did you mean `{name}`? `{list}` lists them all"),
            None => format!("`{list}` lists those there are"),
        };
        match self {
            Rejected::Invalid { remedy, .. } => remedy.clone(),
            Rejected::OutOfBounds { min, max, .. } => format!("use a value from {min} to {max}"),
            Rejected::UnknownQueue { near: name, .. } => near(name, "jero queues"),
            Rejected::QueueExists { .. } => "use `jero queue set` to change it".into(),
            Rejected::QueueNotLeaf { .. } => {
                "name one of the queues below it (`jero queues`)".into()
            }
            Rejected::QueueHoldsBatches { .. } => {
                "wait until its batches have left memory, or create a sibling".into()
            }
            Rejected::NotSubmitter { .. } => {
                "ask its owner for `jero queue set NAME --submitters ...`".into()
            }
            Rejected::UserQueueFull { .. } => {
                "submit fewer at a time, or wait until some of yours have ended".into()
            }
            Rejected::QueueFull { .. } => {
                "submit less, wait, or raise the bound with `jero queue set NAME --queued-max N`"
                    .into()
            }
            Rejected::RequestIdReused { .. } => "use a fresh request id for another batch".into(),
            Rejected::UnknownBatch(_) => "see `jero batches` and `jero batches --finished`".into(),
            Rejected::UnknownJob(_) => "see `jero jobs` and `jero jobs --finished`".into(),
            Rejected::IndexOutOfRange { count, .. } => {
                format!("use indexes from 0 to {}", count.saturating_sub(1))
            }
            Rejected::NothingToChange { .. } => "see the states with `jero job ID`".into(),
            Rejected::UnknownSite { near: name, .. } => near(name, "jero sites"),
            Rejected::UnknownPart { near: name, .. } => near(name, "jero nodes"),
            Rejected::SiteClaimed { .. } => {
                "stop the other agent, or give this one a site of its own".into()
            }
            Rejected::SessionClosed { .. } => "open a new session".into(),
            Rejected::LeaseClosed(_) => "nothing: the task went another way".into(),
            Rejected::Unplaceable { .. } => "plan again on the present World".into(),
            Rejected::Unfinished { .. } => "cancel it first, or wait".into(),
            Rejected::TimeReversed { .. } => "hand in a time that never falls".into(),
        }
    }
}
