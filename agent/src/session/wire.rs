//! Between the wire and the state machine's own messages.
//!
//! A message without the lease that it is about is refused as a [`Malformed`];
//! the shell then closes the stream. A kind that this version does not know is
//! passed over.

use jeroboam_proto::v1;
use v1::{agent_message, outcome, report, scheduler_message};

use crate::attempt::{
    Confinement, ExitRecord, InputFile, LeaseId, LeaseRecord, OnLostContact, Outcome, OutputsOf,
    Resources, Stream, boot,
};
use crate::state::message::{Down, EndReport, SchedulerNotice, TailRequest, Up, Welcome};

/// A message that lacks what it needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {message} without {missing}")]
pub struct Malformed {
    message: &'static str,
    missing: &'static str,
}

fn missing(message: &'static str, missing: &'static str) -> Malformed {
    Malformed { message, missing }
}

/// Reads a scheduler's message; `site` becomes part of a granted record.
///
/// # Errors
/// It lacks something.
pub fn down(message: v1::SchedulerMessage, site: &str) -> Result<(u64, Down), Malformed> {
    use scheduler_message::Kind;
    let Some(kind) = message.kind else {
        return Ok((message.sequence, Down::Unknown));
    };
    let down = match kind {
        Kind::Welcome(it) => Down::Welcome(Welcome {
            federation: it.federation,
            lineage: it.lineage,
            term: it.term,
            session: it.session,
            contact_limit_ms: it.contact_limit_ms,
            heartbeat_interval_ms: it.heartbeat_interval_ms,
        }),
        Kind::Verdict(it) => Down::Verdict {
            keep: leases(it.keep)?,
            ended: leases(it.ended)?,
            unknown: leases(it.unknown)?,
        },
        Kind::Renewed(it) => Down::Renewed(it.number),
        Kind::Grant(it) => Down::Grant(Box::new(grant(it, site)?)),
        Kind::Stop(it) => Down::Stop(lease(it.lease, "stop")?),
        Kind::Ack(it) if it.ended => Down::Ack(lease(it.lease, "acknowledgement")?),
        Kind::Ack(it) => Down::Noted(lease(it.lease, "acknowledgement")?),
        Kind::Notice(it) => Down::Notice(SchedulerNotice {
            code: it.code,
            node: it.node,
            text: it.text,
            remedy: it.remedy,
        }),
        Kind::TailRequest(it) if it.cancel => Down::TailCancel(it.request),
        Kind::TailRequest(it) => Down::Tail(TailRequest {
            request: it.request,
            stream: match it.stream() {
                v1::LogStream::Stdout => Stream::Stdout,
                v1::LogStream::Stderr => Stream::Stderr,
            },
            lease: lease(it.lease, "log request")?,
            offset: it.offset,
            follow: it.follow,
        }),
    };
    Ok((message.sequence, down))
}

fn leases(leases: Vec<v1::Lease>) -> Result<Vec<LeaseId>, Malformed> {
    leases
        .into_iter()
        .map(|it| lease(Some(it), "verdict"))
        .collect()
}

fn lease(it: Option<v1::Lease>, message: &'static str) -> Result<LeaseId, Malformed> {
    let it = it.ok_or(missing(message, "a lease"))?;
    let task = it.task.ok_or(missing(message, "a task"))?;
    Ok(LeaseId {
        lineage: it.lineage,
        job: task.job,
        index: task.index,
        attempt: it.attempt,
    })
}

fn grant(it: v1::Grant, site: &str) -> Result<LeaseRecord, Malformed> {
    let on_lost_contact = match it.on_lost_contact() {
        v1::OnLostContact::Restart => OnLostContact::Restart,
        v1::OnLostContact::Wait => OnLostContact::Wait,
    };
    let resources = it.resources.unwrap_or_default();
    Ok(LeaseRecord {
        lease: lease(it.lease, "grant")?,
        boot_id: boot::boot_id().to_owned(),
        deadline_ms: i64::MIN,
        site: site.to_owned(),
        node: it.node,
        queue: it.queue,
        batch: it.batch,
        batch_name: it.batch_name,
        job_name: it.job_name,
        count: it.count,
        command: it.command,
        env: it.env,
        resources: Resources {
            cpu_milli: resources.cpu_milli,
            memory_mib: resources.memory_mib,
            disk_mib: resources.disk_mib,
            gpu: resources.gpu,
            extended: resources.extended,
        },
        walltime_ms: it.walltime_ms,
        grace_ms: it.grace_ms,
        on_lost_contact,
        log_bytes_max: it.log_bytes_max,
        confinement: Confinement::default(),
        runtime: it.runtime,
        inputs: it.inputs.into_iter().map(input).collect(),
        outputs_of: it
            .outputs_of
            .into_iter()
            .map(|it| OutputsOf {
                job: it.job,
                name: it.name,
            })
            .collect(),
        outputs: it.outputs,
        outputs_bytes_max: it.outputs_bytes_max,
        outputs_files_max: it.outputs_files_max,
    })
}

/// A file of the wire as it stands in records.
pub fn input(it: v1::File) -> InputFile {
    InputFile {
        path: it.path,
        digest: it.digest,
        size_bytes: it.size_bytes,
        executable: it.executable,
    }
}

fn file(it: &InputFile) -> v1::File {
    v1::File {
        path: it.path.clone(),
        digest: it.digest.clone(),
        size_bytes: it.size_bytes,
        executable: it.executable,
    }
}

/// Writes an agent's message; `nodes` are what a capacity message tells.
pub fn up(sequence: u64, message: Up, nodes: &[v1::NodeReport]) -> v1::AgentMessage {
    use agent_message::Kind;
    let kind = match message {
        Up::Hello {
            site,
            federation,
            lineage,
            incarnation,
        } => Kind::Hello(v1::Hello {
            site,
            federation,
            lineage,
            incarnation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }),
        Up::Inventory { session, leases } => Kind::Inventory(v1::Inventory {
            session,
            leases: leases
                .into_iter()
                .map(|(lease, running)| v1::HeldLease {
                    lease: Some(wire_lease(lease)),
                    running,
                })
                .collect(),
        }),
        Up::Capacity => Kind::Capacity(v1::Capacity {
            full: true,
            nodes: nodes.to_vec(),
            removed: Vec::new(),
        }),
        Up::Heartbeat(number) => Kind::Heartbeat(v1::Heartbeat { number }),
        Up::Starting(lease) => about(lease, report::Kind::Starting(v1::Empty {})),
        Up::Running { lease, started_ms } => {
            about(lease, report::Kind::Running(v1::Running { started_ms }))
        }
        Up::Ended { lease, report } => about(lease, report::Kind::Ended(ended(&report))),
        Up::TailChunk(chunk) => Kind::TailChunk(v1::TailChunk {
            request: chunk.request,
            offset: chunk.offset,
            data: chunk.data.into(),
            last: chunk.last,
        }),
    };
    v1::AgentMessage {
        sequence,
        kind: Some(kind),
    }
}

fn about(lease: LeaseId, kind: report::Kind) -> agent_message::Kind {
    agent_message::Kind::Report(v1::Report {
        lease: Some(wire_lease(lease)),
        kind: Some(kind),
    })
}

fn wire_lease(lease: LeaseId) -> v1::Lease {
    v1::Lease {
        lineage: lease.lineage,
        task: Some(v1::Task {
            job: lease.job,
            index: lease.index,
        }),
        attempt: lease.attempt,
    }
}

fn ended(report: &EndReport) -> v1::Ended {
    let ExitRecord { outcome, usage, .. } = &report.exit;
    v1::Ended {
        outcome: Some(v1::Outcome {
            kind: Some(outcome_kind(outcome)),
        }),
        usage: Some(v1::Usage {
            started_ms: usage.started_ms,
            ended_ms: usage.ended_ms,
            cpu_ms: usage.cpu_ms,
            memory_peak_mib: usage.memory_peak_mib,
        }),
        outputs: report.outputs.iter().map(file).collect(),
        stdout: report.stdout.as_ref().map(file),
        stderr: report.stderr.as_ref().map(file),
    }
}

fn outcome_kind(outcome: &Outcome) -> outcome::Kind {
    use outcome::Kind;
    match outcome {
        Outcome::Exited { code } => Kind::ExitCode(*code),
        Outcome::Signaled { signal } => Kind::Signal(*signal),
        Outcome::WalltimeExceeded => Kind::WalltimeExceeded(v1::Empty {}),
        Outcome::MemoryExceeded => Kind::MemoryExceeded(v1::Empty {}),
        Outcome::ContactLost => Kind::ContactLost(v1::Empty {}),
        Outcome::Lost => Kind::Lost(v1::Empty {}),
        Outcome::NotRun => Kind::NotRun(v1::Empty {}),
        Outcome::Stopped => Kind::Stopped(v1::Empty {}),
        Outcome::StartFailed { message } => Kind::StartFailed(message.clone()),
        Outcome::OutputsFailed { message } => Kind::OutputsFailed(message.clone()),
    }
}
