//! From one crate's words to the other's, as the wire does between them.

use crate::stage;
use jeroboam_agent::attempt as agent;
use jeroboam_agent::state::message::{Down, Up, Welcome};
use jeroboam_core::ids::{JobId, LeaseId, TaskId};
use jeroboam_core::job::{AttemptEnd, Outcome};
use jeroboam_core::world::World;
use jeroboam_scheduler::dispatch::{FromSite, Limits, ToSite};

pub fn to_core(lease: agent::LeaseId) -> LeaseId {
    let (job, index) = (JobId(lease.job), lease.index);
    LeaseId {
        lineage: lease.lineage,
        task: TaskId { job, index },
        attempt: lease.attempt,
    }
}

pub fn to_agent(lease: LeaseId) -> agent::LeaseId {
    agent::LeaseId {
        lineage: lease.lineage,
        job: lease.task.job.0,
        index: lease.task.index,
        attempt: lease.attempt,
    }
}

/// What the scheduler hears; nothing for the hello, which opens a stream.
pub fn up(message: Up) -> Option<FromSite> {
    Some(match message {
        Up::Hello { .. } => return None,
        Up::Inventory { session, leases } => FromSite::Inventory {
            session,
            leases: leases
                .into_iter()
                .map(|(lease, running)| (to_core(lease), running))
                .collect(),
        },
        Up::Capacity => stage::capacity(),
        Up::Heartbeat(number) => FromSite::Heartbeat(number),
        Up::Starting(lease) => FromSite::Starting(to_core(lease)),
        Up::Running { lease, .. } => FromSite::Running(to_core(lease)),
        Up::Ended { lease, report } => {
            let end = AttemptEnd::bare(outcome(&report.exit.outcome));
            FromSite::Ended(to_core(lease), Box::new(end))
        }
        Up::TailChunk(_) => unreachable!("nobody asks for logs here"),
    })
}

fn outcome(outcome: &agent::Outcome) -> Outcome {
    match outcome {
        agent::Outcome::Exited { code } => Outcome::Exit(*code),
        agent::Outcome::Signaled { signal } => Outcome::Signal(*signal),
        agent::Outcome::WalltimeExceeded => Outcome::WalltimeExceeded,
        agent::Outcome::MemoryExceeded => Outcome::MemoryExceeded,
        agent::Outcome::ContactLost => Outcome::ContactLost,
        agent::Outcome::Lost => Outcome::Lost,
        agent::Outcome::NotRun => Outcome::NotRun,
        agent::Outcome::Stopped => Outcome::Stopped,
        agent::Outcome::StartFailed { message } => Outcome::StartFailed(message.clone()),
        agent::Outcome::OutputsFailed { message } => Outcome::OutputsFailed(message.clone()),
    }
}

pub fn down(world: &World, limits: Limits, message: ToSite) -> Down {
    let leases = |leases: Vec<LeaseId>| leases.into_iter().map(to_agent).collect();
    match message {
        ToSite::Welcome { session } => Down::Welcome(Welcome {
            federation: world.federation().into(),
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
        } => Down::Verdict {
            keep: leases(keep),
            ended: leases(ended),
            unknown: leases(unknown),
        },
        ToSite::Renewed(number) => Down::Renewed(number),
        ToSite::Grant(lease) => Down::Grant(Box::new(record(to_agent(lease)))),
        ToSite::Stop(lease) => Down::Stop(to_agent(lease)),
        ToSite::Ack(lease) => Down::Ack(to_agent(lease)),
        ToSite::OverCommitted(_) => Down::Unknown,
    }
}

fn record(lease: agent::LeaseId) -> agent::LeaseRecord {
    agent::LeaseRecord {
        lease,
        boot_id: "boot".into(),
        deadline_ms: i64::MIN,
        site: String::new(),
        node: "n1".into(),
        queue: "hep".into(),
        batch: 1,
        batch_name: "analysis".into(),
        job_name: "select".into(),
        count: 1,
        command: vec!["true".into()],
        env: Default::default(),
        resources: agent::Resources::default(),
        walltime_ms: 600_000,
        grace_ms: 10_000,
        on_lost_contact: agent::OnLostContact::Restart,
        log_bytes_max: 1_000,
        confinement: agent::Confinement::default(),
        runtime: String::new(),
        inputs: Vec::new(),
        outputs_of: Vec::new(),
        outputs: Vec::new(),
        outputs_bytes_max: 0,
        outputs_files_max: 0,
    }
}
