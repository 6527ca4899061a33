//! How an attempt ended, both ways, and the attempt as it is shown.

use super::lease::lease;
use super::submission::{file, file_in};
use super::work::active_state;
use crate::store::spool::Digest;
use jeroboam_core::ids::LeaseId;
use jeroboam_core::job::{Active, AttemptEnd, AttemptRecord, AttemptUsage, Outcome};
use jeroboam_core::rejected::Rejected;
use jeroboam_core::spec::File;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use v1::outcome::Kind;

/// Characters of a reported reason that are kept.
const REASON_CHARS_MAX: usize = 1_000;
/// Bytes of a reported path; no file system here has longer ones.
const PATH_BYTES_MAX: usize = 4_096;

/// The end of an attempt from the wire.
///
/// # Errors
/// No outcome, or a file without a digest or with an absurd path.
pub fn end_in(wire: v1::Ended) -> Result<AttemptEnd, Rejected> {
    let outcome = wire
        .outcome
        .and_then(|outcome| outcome.kind)
        .ok_or_else(|| {
            let what = "the outcome is missing, or of a newer release";
            Rejected::invalid("report.ended.outcome", what, "say how the attempt ended")
        })?;
    let outputs = wire.outputs.into_iter();
    Ok(AttemptEnd {
        outcome: outcome_in(outcome),
        usage: wire.usage.map(usage_in),
        outputs: outputs
            .map(|file| reported("report.ended.outputs", file))
            .collect::<Result<_, _>>()?,
        stdout: wire
            .stdout
            .map(|file| reported("report.ended.stdout", file))
            .transpose()?,
        stderr: wire
            .stderr
            .map(|file| reported("report.ended.stderr", file))
            .transpose()?,
    })
}

fn reported(place: &str, file: v1::File) -> Result<File, Rejected> {
    if file.path.len() > PATH_BYTES_MAX {
        let length = file.path.len() as u64;
        return Err(Rejected::bounds(
            &format!("{place}.path (bytes)"),
            length,
            0,
            PATH_BYTES_MAX as u64,
        ));
    }
    if file.digest.parse::<Digest>().is_err() {
        let what = "it has no SHA-256 digest";
        return Err(Rejected::invalid(
            place,
            what,
            "upload the file before the report",
        ));
    }
    Ok(file_in(file))
}

fn outcome_in(kind: Kind) -> Outcome {
    let bounded = |reason: String| reason.chars().take(REASON_CHARS_MAX).collect();
    match kind {
        Kind::ExitCode(code) => Outcome::Exit(code),
        Kind::Signal(signal) => Outcome::Signal(signal),
        Kind::WalltimeExceeded(_) => Outcome::WalltimeExceeded,
        Kind::MemoryExceeded(_) => Outcome::MemoryExceeded,
        Kind::ContactLost(_) => Outcome::ContactLost,
        Kind::Lost(_) => Outcome::Lost,
        Kind::NotRun(_) => Outcome::NotRun,
        // An agent knows only that it was told to stop.
        Kind::Stopped(_) | Kind::Preempted(_) | Kind::GangBroken(_) | Kind::PreemptedByHand(_) => {
            Outcome::Stopped
        }
        Kind::StartFailed(why) => Outcome::StartFailed(bounded(why)),
        Kind::OutputsFailed(why) => Outcome::OutputsFailed(bounded(why)),
    }
}

fn outcome(outcome: &Outcome) -> Kind {
    let empty = v1::Empty {};
    match outcome {
        Outcome::Exit(code) => Kind::ExitCode(*code),
        Outcome::Signal(signal) => Kind::Signal(*signal),
        Outcome::WalltimeExceeded => Kind::WalltimeExceeded(empty),
        Outcome::MemoryExceeded => Kind::MemoryExceeded(empty),
        Outcome::ContactLost => Kind::ContactLost(empty),
        Outcome::Lost => Kind::Lost(empty),
        Outcome::NotRun => Kind::NotRun(empty),
        Outcome::Stopped => Kind::Stopped(empty),
        Outcome::StartFailed(why) => Kind::StartFailed(why.clone()),
        Outcome::OutputsFailed(why) => Kind::OutputsFailed(why.clone()),
        Outcome::Preempted(by) => Kind::Preempted(by.0),
        Outcome::GangBroken => Kind::GangBroken(empty),
        Outcome::PreemptedByHand { by, reason } => Kind::PreemptedByHand(v1::PreemptedByHand {
            by: by.clone(),
            reason: reason.clone(),
        }),
    }
}

fn usage_in(wire: v1::Usage) -> AttemptUsage {
    AttemptUsage {
        started: TimeMs(wire.started_ms),
        ended: TimeMs(wire.ended_ms),
        cpu_ms: wire.cpu_ms,
        memory_peak_mib: wire.memory_peak_mib,
    }
}

fn usage(usage: &AttemptUsage) -> v1::Usage {
    v1::Usage {
        started_ms: usage.started.0,
        ended_ms: usage.ended.0,
        cpu_ms: usage.cpu_ms,
        memory_peak_mib: usage.memory_peak_mib,
    }
}

/// An ended attempt on the wire.
pub fn ended(record: &AttemptRecord) -> v1::Attempt {
    let end = &record.end;
    v1::Attempt {
        lease: Some(lease(record.lease)),
        site: record.site.clone(),
        node: record.node.clone(),
        granted_ms: record.granted.0,
        state: v1::TaskState::Unspecified.into(),
        ended: Some(v1::Ended {
            outcome: Some(v1::Outcome {
                kind: Some(outcome(&end.outcome)),
            }),
            usage: end.usage.as_ref().map(usage),
            outputs: end.outputs.iter().map(file).collect(),
            stdout: end.stdout.as_ref().map(file),
            stderr: end.stderr.as_ref().map(file),
        }),
        ended_ms: record.ended.0,
    }
}

/// An attempt under way on the wire.
pub fn active(world: &World, id: LeaseId, active: &Active) -> v1::Attempt {
    let node = world.node(active.node);
    v1::Attempt {
        lease: Some(lease(id)),
        site: world.site(node.site).spec.name.clone(),
        node: node.report.name.clone(),
        granted_ms: active.granted.0,
        state: active_state(active.state).into(),
        ended: None,
        ended_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_survives_the_wire() {
        let outcomes = [
            Outcome::Exit(3),
            Outcome::Signal(9),
            Outcome::WalltimeExceeded,
            Outcome::MemoryExceeded,
            Outcome::ContactLost,
            Outcome::Lost,
            Outcome::NotRun,
            Outcome::Stopped,
            Outcome::StartFailed("no such program".into()),
            Outcome::OutputsFailed("*.root".into()),
        ];
        for expected in outcomes {
            assert_eq!(outcome_in(outcome(&expected)), expected);
        }
    }

    #[test]
    fn an_end_without_an_outcome_is_refused() {
        let rejected = end_in(v1::Ended::default()).expect_err("no outcome");
        assert_eq!(rejected.place(), Some("report.ended.outcome"));
    }
}
