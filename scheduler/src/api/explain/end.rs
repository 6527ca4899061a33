//! How a task ended, in words: from its final state and its last attempt.

use crate::convert;
use crate::convert::work::Counts;
use crate::history_record::{FinishedJob, HistoryError, find_batch, summary};
use crate::store::history::History;
use jeroboam_core::ids::TaskId;
use jeroboam_core::job::{AttemptRecord, Job, Outcome};
use jeroboam_core::spec::By;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use std::collections::BTreeSet;
use v1::TaskState;

/// Dependencies that are listed; of more, the first ones.
const LISTED_MAX: usize = 10;
/// Jobs of a batch among which finished dependencies are looked for.
const LOOKED_AT_MAX: usize = 10_000;

/// How a task ended, as its final state tells it.
#[derive(Debug)]
pub(super) struct End {
    /// Which state.
    pub state: TaskState,
    /// The stable code of its reason.
    pub reason: String,
    /// Who did it by hand, and why in words: `alice: wrong input`.
    pub author: Option<String>,
    /// What it needed and what did not succeed.
    pub dependencies: Vec<v1::DependencyState>,
    /// The batch can be tried again: it is in memory.
    pub batch_in_memory: Option<u64>,
}

impl End {
    /// With the last attempt, on the wire.
    pub fn wire(self, task: TaskId, attempt: Option<&AttemptRecord>) -> v1::TaskEnd {
        let mut text = text(&self.reason, self.state, attempt);
        if let Some(author) = &self.author {
            text = format!("{text}, by {author}");
        }
        v1::TaskEnd {
            text,
            remedy: self.remedy(task),
            attempt: attempt.map(convert::attempt::ended),
            reason: self.reason,
            dependencies: self.dependencies,
        }
    }

    fn remedy(&self, task: TaskId) -> String {
        let (kind, _) = self.reason.split_once(':').unwrap_or((&self.reason, ""));
        let changed = match kind {
            "" => return String::new(),
            "dependency" => return self.remedy_above(),
            "exit" | "signal" => {
                let log = format!("`jero logs '{task}' --stderr` may say why");
                return format!("{log}; {}", self.again(task));
            }
            "walltime" => "if it was only slow, raise `walltime` and submit it anew",
            "memory" => "ask for more `memory` and submit it anew",
            "start" => "correct what could not be started and submit it anew",
            "outputs" => "let it write what `outputs` names, within the bounds, and submit it anew",
            _ => return self.again(task),
        };
        match self.batch_in_memory {
            Some(_) => format!("{changed}; as it is, {}", self.again(task)),
            None => changed.into(),
        }
    }

    fn again(&self, task: TaskId) -> String {
        match self.batch_in_memory {
            Some(_) => format!("`jero retry '{task}'` tries it again"),
            None => "submit it anew: it has left memory for the history".into(),
        }
    }

    /// Of what was cancelled for what it needs.
    fn remedy_above(&self) -> String {
        let first = self.dependencies.first();
        let why = first.map(|needed| {
            format!(
                "`jero explain 'job-{}[INDEX]'` says why that ended",
                needed.job
            )
        });
        let all = self
            .batch_in_memory
            .map(|batch| format!("`jero retry batch-{batch}` tries again what has not succeeded"));
        let said: Vec<String> = why.into_iter().chain(all).collect();
        said.join("; ")
    }
}

fn text(reason: &str, state: TaskState, attempt: Option<&AttemptRecord>) -> String {
    let (kind, number) = reason.split_once(':').unwrap_or((reason, ""));
    let said = attempt.and_then(|record| match &record.end.outcome {
        Outcome::StartFailed(why) | Outcome::OutputsFailed(why) => Some(why.as_str()),
        Outcome::Exit(_)
        | Outcome::Signal(_)
        | Outcome::WalltimeExceeded
        | Outcome::MemoryExceeded
        | Outcome::ContactLost
        | Outcome::Lost
        | Outcome::NotRun
        | Outcome::Stopped
        | Outcome::Preempted(_)
        | Outcome::GangBroken
        | Outcome::PreemptedByHand { .. } => None,
    });
    let with = |text: &str| match said {
        Some(why) => format!("{text}: {why}"),
        None => text.to_string(),
    };
    match kind {
        "" if state == TaskState::Succeeded => "it succeeded".into(),
        "exit" => format!("its command ended with code {number}"),
        "signal" => format!("its command was ended by signal {number}"),
        "walltime" => "it ran into its walltime limit and was stopped".into(),
        "memory" => "it used more memory than it asked for and was stopped".into(),
        "start" => with("it could not be started"),
        "outputs" => with("its command succeeded, but its outputs cannot be taken"),
        "lost" => {
            "its last attempt was lost with its node, shim or site, and no rule grants another"
                .into()
        }
        "preempted" => {
            "its place was taken away (the attempt says for whom or by whom), and it may not be run again"
                .into()
        }
        "gang" => "another task of its gang failed for good".into(),
        "user" => "it was cancelled".into(),
        "dependency" => "a job that it needs did not succeed".into(),
        _ => String::new(),
    }
}

/// What a job in memory needed and what has not succeeded.
pub(super) fn failed_dependencies(
    world: &World,
    job: &Job,
    index: u32,
) -> Vec<v1::DependencyState> {
    let needed = job.links.needs_success();
    let needed = needed.map(|need| (need.by, &world.jobs()[&need.job]));
    let failed = needed.filter(|(by, other)| match by {
        By::Job => other.is_finished() && !other.has_succeeded(),
        By::Element => other.tasks.has_failed(index),
    });
    let failed = failed.map(|(_, other)| other);
    let listed = failed.take(LISTED_MAX).map(|other| {
        let mut counts = Counts::default();
        counts.add(&other.tasks);
        v1::DependencyState {
            job: other.id.0,
            name: other.name.to_string(),
            tasks: counts.wire(),
        }
    });
    listed.collect()
}

/// The same of a job in the history, where they are not too far from it.
pub(super) fn finished_dependencies(
    history: &History,
    job: &FinishedJob,
) -> Result<Vec<v1::DependencyState>, HistoryError> {
    let needed: BTreeSet<&String> = job
        .spec
        .after_ok
        .iter()
        .chain(&job.spec.after_ok_each)
        .chain(&job.spec.outputs_of)
        .collect();
    let Some(batch) = find_batch(history, job.summary.batch)?.filter(|_| !needed.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let ids = batch.first_job..batch.first_job + u64::from(batch.jobs);
    for id in ids.take(LOOKED_AT_MAX) {
        let Some(entry) = history.job(id)? else {
            continue;
        };
        let other = summary(&entry)?;
        if needed.contains(&other.name) && other.succeeded < u64::from(other.count) {
            found.push(v1::DependencyState {
                job: id,
                tasks: other.wire().tasks,
                name: other.name,
            });
        }
        if found.len() == LISTED_MAX {
            break;
        }
    }
    Ok(found)
}
