//! Refusals as gRPC statuses, with the details that clients print: a stable
//! reason, the place and the remedy.

use super::shortage;
use crate::dispatch::Closing;
use crate::driver::DriverError;
use crate::store::StoreError;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::world::World;
use jeroboam_core::world::largest::TooLarge;
use jeroboam_units::Bytes;
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every reason given here.
pub const DOMAIN: &str = "jeroboam";

/// A refusal with its reason, and place and remedy where there are such.
pub fn refusal(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    place: Option<&str>,
    remedy: &str,
) -> Status {
    refusal_about(None, code, reason, message.into(), place, remedy)
}

/// A refusal whose place is inside a job of this name.
fn refusal_about(
    job: Option<&str>,
    code: Code,
    reason: &str,
    message: String,
    place: Option<&str>,
    remedy: &str,
) -> Status {
    let noted = [
        ("place", place.unwrap_or_default()),
        ("job", job.unwrap_or_default()),
        ("remedy", remedy),
    ];
    let noted = noted.into_iter().filter(|(_, text)| !text.is_empty());
    let metadata: HashMap<String, String> = noted
        .map(|(key, text)| (key.to_string(), text.to_string()))
        .collect();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if let Some(place) = place {
        details.add_bad_request_violation(place, message.clone());
    }
    Status::with_error_details(code, message, details)
}

/// What the World refused. The place stands beside the message, not in it.
pub fn rejected(rejected: &Rejected) -> Status {
    rejected_in(rejected, |_| None)
}

/// What the World refused of a batch; `name_of` says how the job at a position is
/// called.
pub fn rejected_in<'a>(
    rejected: &Rejected,
    name_of: impl FnOnce(usize) -> Option<&'a str>,
) -> Status {
    let position = rejected.place().and_then(position_in);
    refusal_about(
        position.and_then(name_of),
        code_of(rejected),
        rejected.code(),
        rejected.what(),
        rejected.place(),
        &rejected.remedy(),
    )
}

/// The position in a place such as `jobs[2].resources`.
fn position_in(place: &str) -> Option<usize> {
    let (position, _) = place.strip_prefix("jobs[")?.split_once(']')?;
    position.parse().ok()
}

/// A job that fits on no known node, and that no other site will take.
pub fn too_large(world: &World, job: &str, found: &TooLarge) -> Status {
    let text = shortage::text(world, &found.shortage);
    let lack = found.shortage.lacks.first();
    let resource = lack.map_or("", |lack| shortage::name(world.policy(), lack.dimension));
    let place = format!("jobs[{}].resources.{resource}", found.position);
    refusal_about(
        Some(job),
        Code::InvalidArgument,
        "EXCEEDS_EVERY_NODE",
        format!("a task of `{job}` fits on no node, even an empty one: {text}"),
        Some(&place),
        "ask for less, or split the work; `jero nodes` shows what the nodes have",
    )
}

fn code_of(rejected: &Rejected) -> Code {
    match rejected {
        Rejected::Invalid { .. }
        | Rejected::OutOfBounds { .. }
        | Rejected::QueueNotLeaf { .. }
        | Rejected::IndexOutOfRange { .. } => Code::InvalidArgument,
        Rejected::UnknownQueue { .. }
        | Rejected::UnknownBatch(_)
        | Rejected::UnknownJob(_)
        | Rejected::UnknownSite { .. }
        | Rejected::UnknownPart { .. } => Code::NotFound,
        Rejected::QueueExists { .. } | Rejected::RequestIdReused { .. } => Code::AlreadyExists,
        Rejected::NotSubmitter { .. } => Code::PermissionDenied,
        Rejected::QueueFull { .. } | Rejected::UserQueueFull { .. } => Code::ResourceExhausted,
        Rejected::QueueHoldsBatches { .. }
        | Rejected::NothingToChange { .. }
        | Rejected::SiteClaimed { .. }
        | Rejected::LeaseClosed(_)
        | Rejected::Unplaceable { .. }
        | Rejected::Unfinished { .. } => Code::FailedPrecondition,
        Rejected::SessionClosed { .. } => Code::Aborted,
        Rejected::TimeReversed { .. } => Code::Internal,
    }
}

/// Why a call to the driver brought nothing about.
pub fn driver(error: DriverError) -> Status {
    match error {
        DriverError::Rejected(cause) => rejected(&cause),
        // Without details: clients take it for a lost connection, and try again.
        DriverError::Ending => Status::unavailable(error.to_string()),
        DriverError::Stopped(_) => refusal(
            Code::Unavailable,
            "STOPPED",
            error.to_string(),
            None,
            "the operator finds the cause in the scheduler's log; restart it once that is gone",
        ),
    }
}

/// What the disk refused. Paths and causes are the operator's business and go
/// to the log, unless they are about what the caller sent.
pub fn store(error: &StoreError) -> Status {
    let (code, reason, remedy) = match error {
        StoreError::TooLarge { .. } => (
            Code::InvalidArgument,
            "TOO_LARGE",
            "send less, or have the bound raised",
        ),
        StoreError::BadDigest { .. } => (
            Code::InvalidArgument,
            "BAD_DIGEST",
            "give the SHA-256 as 64 lower-case hexadecimal digits",
        ),
        StoreError::SizeMismatch { .. } => (
            Code::InvalidArgument,
            "SIZE_MISMATCH",
            "announce the content's own size",
        ),
        StoreError::WrongOffset { .. } => (
            Code::Aborted,
            "WRONG_OFFSET",
            "ask for the status and go on from there",
        ),
        StoreError::DigestMismatch { .. } => (
            Code::DataLoss,
            "DIGEST_MISMATCH",
            "send it again from the start",
        ),
        StoreError::UnknownFile { .. } => (
            Code::NotFound,
            "UNKNOWN_FILE",
            "upload it first; what nothing refers to is removed after a while",
        ),
        StoreError::SpoolFull { .. } => {
            tracing::warn!(%error, "an upload was refused");
            let remedy =
                "send less, wait until outputs expire, or have `retention.spool_bytes_max` raised";
            let message = "the scheduler's spool has no room for it";
            return refusal(Code::ResourceExhausted, "SPOOL_FULL", message, None, remedy);
        }
        StoreError::SpoolShareFull {
            account,
            used_bytes,
            needed_bytes,
            limit_bytes,
        } => {
            let message = format!(
                "the files of the queue `{account}` hold {} of the {} that they may in the scheduler's spool; {} more do not fit",
                Bytes(*used_bytes),
                Bytes(*limit_bytes),
                Bytes(*needed_bytes)
            );
            let remedy = "keep large data in the sites' storage, wait until results of that queue expire, or have `retention.spool_queue_percent_max` raised";
            return refusal(
                Code::ResourceExhausted,
                "SPOOL_SHARE_FULL",
                message,
                Some("queue"),
                remedy,
            );
        }
        full if full.is_disk_full() => {
            tracing::error!(%error, "the disk is full");
            let remedy = "the operator frees room on its file system";
            return refusal(
                Code::ResourceExhausted,
                "DISK_FULL",
                "the scheduler's disk is full",
                None,
                remedy,
            );
        }
        _ => {
            tracing::error!(%error, "the store failed");
            let remedy = "the operator finds the cause in the scheduler's log";
            return refusal(
                Code::Internal,
                "STORE_FAILED",
                "the scheduler's disk failed",
                None,
                remedy,
            );
        }
    };
    refusal(code, reason, error.to_string(), None, remedy)
}

/// Why an agent's stream was closed from here.
pub fn closing(closing: &Closing) -> Status {
    match closing {
        Closing::Superseded => refusal(
            Code::Aborted,
            "SUPERSEDED",
            "a newer session of this site took over",
            None,
            "nothing, if this agent opened it; otherwise see that one agent runs per site",
        ),
        Closing::Silent => refusal(
            Code::Aborted,
            "SILENT",
            "the site was silent for so long that its leases are out",
            None,
            "open a new session",
        ),
        Closing::ForeignFederation { theirs, ours } => refusal(
            Code::FailedPrecondition,
            "FOREIGN_FEDERATION",
            format!("this agent belongs to the federation {theirs}, not to {ours}"),
            Some("hello.federation"),
            "give the agent a state directory of its own for this federation",
        ),
        Closing::Refused(cause) => rejected(cause),
        Closing::NotLeading => refusal(
            Code::Unavailable,
            "NOT_LEADING",
            "this scheduler is not the leader now",
            None,
            "try again; another one may have taken over",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_reason_place_and_remedy() {
        let cause = Rejected::invalid("jobs[2].walltime", "it is missing", "set it");
        let status = rejected(&cause);
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let reason = details.error_info().expect("a reason");
        assert_eq!(
            (reason.reason.as_str(), reason.domain.as_str()),
            ("INVALID", DOMAIN)
        );
        assert_eq!(reason.metadata["place"], "jobs[2].walltime");
        assert_eq!(reason.metadata["remedy"], "set it");
        assert_eq!(status.message(), "it is missing", "the place is beside it");
        let fields = &details.bad_request().expect("a field").field_violations;
        assert_eq!(fields[0].field, "jobs[2].walltime");
    }

    #[test]
    fn a_place_inside_a_job_comes_with_its_name() {
        let name = |place: &str| {
            let cause = Rejected::invalid(place, "it is missing", "set it");
            let names = ["a", "b"];
            let status = rejected_in(&cause, |position| names.get(position).copied());
            let details = status.get_error_details();
            let reason = details.error_info().expect("a reason");
            reason.metadata.get("job").cloned().unwrap_or_default()
        };
        assert_eq!(name("jobs[1].walltime"), "b");
        assert_eq!(name("jobs[0] (command and labels)"), "a");
        for other in ["jobs[2].walltime", "jobs[].count", "queue"] {
            assert_eq!(name(other), "", "{other}");
        }
    }

    #[test]
    fn a_failed_disk_does_not_tell_strangers_where_it_is() {
        let path = std::path::Path::new("/secret/place");
        let broken = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let status = store(&StoreError::io("open", path, broken));
        assert!(
            !status.message().contains("/secret"),
            "{}",
            status.message()
        );
        assert_eq!(status.code(), Code::Internal);
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let status = store(&StoreError::io(
            "write upload",
            std::path::Path::new("x"),
            full,
        ));
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
}
