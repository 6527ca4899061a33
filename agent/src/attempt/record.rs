//! The records of an attempt, as they stand on disk (JSON).
//!
//! Own types, apart from wire and core: old directories stay readable when the
//! wire changes. Conversion from and to the wire is in `session`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::boot;

/// The lease of one attempt; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId {
    /// Of the scheduler's journal; a restored one has another.
    pub lineage: u64,
    /// The job.
    pub job: u64,
    /// The element of the job's array; 0 for a single job.
    pub index: u32,
    /// The attempt, from 1.
    pub attempt: u32,
}

impl LeaseId {
    /// Its directory's name, `<lineage>-<job>-<index>-<attempt>`.
    pub fn dir_name(&self) -> String {
        format!(
            "{}-{}-{}-{}",
            self.lineage, self.job, self.index, self.attempt
        )
    }

    /// The reverse of [`LeaseId::dir_name`]; `None` for any other name.
    pub fn from_dir_name(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let lease = Self {
            lineage: parts.next()?.parse().ok()?,
            job: parts.next()?.parse().ok()?,
            index: parts.next()?.parse().ok()?,
            attempt: parts.next()?.parse().ok()?,
        };
        (lease.dir_name() == name).then_some(lease)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-{}[{}]#{}", self.job, self.index, self.attempt)
    }
}

/// What happens to a job whose site has lost contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLostContact {
    /// Stopped by its shim at the contact deadline.
    #[default]
    Restart,
    /// Left alone.
    Wait,
}

/// How the shim makes sure that nothing of the job survives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confinement {
    /// A PID namespace of its own where the host lets the agent make one,
    /// else as `Subtree`. In [`StartRecord`]: a PID namespace.
    #[default]
    Namespace,
    /// No namespace: a guard process adopts every orphan and kills by subtree.
    Subtree,
}

/// What an attempt may use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Milli-cores. Told to the job, not enforced.
    pub cpu_milli: i64,
    /// MiB; enforced by sampling. 0 means no limit.
    pub memory_mib: i64,
    /// MiB; enforced by sampling. 0 means no limit.
    #[serde(default)]
    pub disk_mib: i64,
    /// Count. Told to the job.
    #[serde(default)]
    pub gpu: i64,
    /// Named extended resources.
    #[serde(default)]
    pub extended: BTreeMap<String, i64>,
}

/// A file that is put into the scratch directory before the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Relative path in the scratch directory.
    pub path: String,
    /// Lower-case hexadecimal SHA-256.
    pub digest: String,
    /// Its size.
    pub size_bytes: u64,
    /// Whether it gets the executable bits.
    #[serde(default)]
    pub executable: bool,
}

/// Another job whose outputs are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputsOf {
    /// The job.
    pub job: u64,
    /// Its name in the batch.
    pub name: String,
}

/// The lease with all that is needed to run it and to report about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Which attempt this is.
    pub lease: LeaseId,
    /// The boot of the host it was granted on: a reboot voids the lease.
    pub boot_id: String,
    /// The first contact deadline, boottime ms.
    pub deadline_ms: i64,
    /// The site.
    pub site: String,
    /// The node.
    pub node: String,
    /// The queue's dotted path.
    pub queue: String,
    /// The batch.
    pub batch: u64,
    /// Its name.
    pub batch_name: String,
    /// The job's name in the batch.
    pub job_name: String,
    /// Elements of the job's array.
    pub count: u32,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The job's own environment.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub resources: Resources,
    /// Walltime limit; 0 means none.
    pub walltime_ms: i64,
    /// From SIGTERM to SIGKILL.
    pub grace_ms: i64,
    /// What happens at the contact deadline.
    pub on_lost_contact: OnLostContact,
    /// Kept of stdout and of stderr each: the first and the last half.
    pub log_bytes_max: u64,
    /// How the job is kept from outliving its shim.
    #[serde(default)]
    pub confinement: Confinement,
    /// The engine's runtime to run it in; empty is its own.
    #[serde(default)]
    pub runtime: String,
    /// Files to fetch before the start.
    #[serde(default)]
    pub inputs: Vec<InputFile>,
    /// Jobs whose outputs are to be fetched before the start.
    #[serde(default)]
    pub outputs_of: Vec<OutputsOf>,
    /// Globs of what is to be sent back, relative to the scratch directory.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Bound of the outputs together.
    #[serde(default)]
    pub outputs_bytes_max: u64,
    /// Bound of their number.
    #[serde(default)]
    pub outputs_files_max: u32,
}

/// What the shim leaves when it starts the job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StartRecord {
    /// When, by the node's wall clock, ms.
    pub started_ms: i64,
    /// When, boottime ms: from then on the walltime counts.
    #[serde(default)]
    pub started_boot_ms: i64,
    /// The shim, for people to read; the lock tells for certain.
    pub shim_pid: i32,
    /// How the tree is held together.
    pub confinement: Confinement,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The command ended by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal that neither shim nor agent sent ended the command.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// Stopped: it ran past its walltime limit.
    WalltimeExceeded,
    /// Stopped: it used more memory than it asked for.
    MemoryExceeded,
    /// Stopped by the fence: the contact deadline passed.
    ContactLost,
    /// Its shim or host died under it; what it did is unknown.
    Lost,
    /// It never started.
    NotRun,
    /// Stopped because the agent asked for it.
    Stopped,
    /// It could not be started.
    StartFailed {
        /// Why, and what to do.
        message: String,
    },
    /// It ended with code 0, but a promised output is missing or too large;
    /// or its directory is gone, or it used more disk than it asked for.
    OutputsFailed {
        /// Which, and why.
        message: String,
    },
}

impl Outcome {
    /// Of a job that was killed for the disk that it used.
    pub(crate) fn disk_exceeded(used_mib: i64, max_mib: i64) -> Self {
        let message = format!(
            "the job uses {used_mib} MiB of disk, more than the {max_mib} MiB that it asked for; ask \
             for more, or write less into its scratch directory and TMPDIR"
        );
        Self::OutputsFailed { message }
    }

    /// Of an attempt whose directory was removed or replaced while it ran.
    pub(crate) fn directory_gone() -> Self {
        let message = "the attempt's directory was removed or replaced while the job ran: how it \
                       ended, its logs and its outputs are gone with it; a job must leave alone \
                       what is outside its scratch directory";
        Self::OutputsFailed {
            message: message.to_owned(),
        }
    }
}

/// What an ended attempt used, as its shim measured it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// When the command started, by the node's wall clock, ms; 0 if it never did.
    pub started_ms: i64,
    /// When it had ended, or was found to be lost; 0 if not known.
    pub ended_ms: i64,
    /// CPU time of the tree.
    pub cpu_ms: i64,
    /// Highest resident memory seen.
    pub memory_peak_mib: i64,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// Why output of the job could not be kept, had that happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_error: Option<String>,
    /// Of one that did not run: what the host refused, had that been the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_fault: Option<String>,
}

impl ExitRecord {
    pub(crate) fn unstarted(outcome: Outcome) -> Self {
        Self {
            outcome,
            usage: Usage::default(),
            log_error: None,
            site_fault: None,
        }
    }

    /// Nothing is known of one whose directory is gone, but when that was found.
    pub(crate) fn directory_gone() -> Self {
        Self::without_shim(Outcome::directory_gone(), &StartRecord::default())
    }

    /// When it ended is not known: it is found out now, and not before it began.
    pub(crate) fn without_shim(outcome: Outcome, start: &StartRecord) -> Self {
        let usage = Usage {
            started_ms: start.started_ms,
            ended_ms: boot::wall_ms().max(start.started_ms),
            ..Usage::default()
        };
        Self {
            outcome,
            usage,
            log_error: None,
            site_fault: None,
        }
    }
}
