//! What is submitted: a batch of jobs, checked before it touches the World.
//!
//! [`BatchSpec::validate`] looks at the specification alone (bounds, names,
//! dependencies); what needs the World (does the queue exist, may this user
//! submit) is checked where the event is applied.

use crate::rejected::Rejected;
use crate::resources::Resources;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Tasks of one batch, at most.
pub const TASKS_PER_BATCH_MAX: u64 = 1_000_000;
/// Jobs (array records) of one batch, at most.
pub const JOBS_PER_BATCH_MAX: usize = 1_000_000;
/// Bytes of one job's command, environment and patterns together, at most.
pub const SPEC_BYTES_MAX: usize = 64 * 1024;
/// Entries of any list in a job (inputs, rules, labels, ...), at most.
pub const LIST_MAX: usize = 1_000;
/// Characters of a name, at most.
pub const NAME_MAX: usize = 128;
/// Seven weeks: no walltime limit is longer.
pub const WALLTIME_MAX_MS: i64 = 49 * 24 * 3_600_000;

/// One submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSpec {
    /// Chosen by the user; need not be unique.
    pub name: String,
    /// Full dotted name of a leaf queue.
    pub queue: String,
    /// In submission order.
    pub jobs: Vec<JobSpec>,
}

/// One job: an array of `count` tasks that differ in their index only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Unique in the batch.
    pub name: String,
    /// Number of tasks, from 1.
    pub count: u32,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables added to the documented minimal environment.
    pub env: BTreeMap<String, String>,
    /// Container image; empty for the `process` engine.
    pub image: String,
    /// Higher goes first inside its queue.
    pub priority: i32,
    /// What a place must offer.
    pub needs: Needs,
    /// Names of jobs of this batch that must have succeeded first.
    pub after_ok: Vec<String>,
    /// Files that travel with the batch.
    pub inputs: Vec<File>,
    /// Globs of files that come back.
    pub outputs: Vec<String>,
    /// Names of jobs of this batch whose outputs this one gets.
    pub outputs_of: Vec<String>,
    /// The first rule that matches a failure applies.
    pub retries: Vec<RetryRule>,
    /// What happens when the site falls silent.
    pub on_lost_contact: OnLostContact,
    /// A lost attempt may be run again.
    pub restartable: bool,
}

/// What a place must offer: the key of a requirement class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Needs {
    /// Per task.
    pub resources: Resources,
    /// Limit of the run time at reference speed, in milliseconds.
    pub walltime_ms: i64,
    /// Engine; `None` takes any.
    pub coe: Option<Coe>,
    /// Labels a node must carry with these values.
    pub labels: BTreeMap<String, String>,
    /// Taints that do not keep the task away.
    pub tolerations: BTreeSet<Taint>,
    /// Names of the only sites wanted; empty takes any.
    pub sites: BTreeSet<String>,
    /// Names of sites not wanted.
    pub sites_excluded: BTreeSet<String>,
}

/// Container orchestration engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Coe {
    /// Pods of a Kubernetes cluster.
    Kubernetes,
    /// Services of a Docker swarm.
    Swarm,
    /// Tasks of a Mesos cluster.
    Mesos,
    /// Processes of a bare host.
    Process,
}

/// Keeps away every task that does not tolerate it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// For example `dedicated`.
    pub key: String,
    /// For example `alice`.
    pub value: String,
}

/// A file addressed by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Relative path in the scratch directory.
    pub path: String,
    /// Lower-case hexadecimal SHA-256.
    pub digest: String,
    /// Length of the content.
    pub size_bytes: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// Grants further attempts to tasks that failed in a certain way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRule {
    /// Exit codes, first ..= last.
    pub exit_codes: Vec<(i32, i32)>,
    /// Failure classes; with no exit codes either, any failure matches.
    pub classes: BTreeSet<FailureClass>,
    /// Further attempts that this rule grants to one task.
    pub times: u32,
}

/// How an attempt failed, as far as rules care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureClass {
    /// Exit code other than 0.
    Exit,
    /// Ended by a signal.
    Signal,
    /// Stopped at its walltime limit.
    Walltime,
    /// Stopped at its memory limit.
    Memory,
    /// Could not be started.
    Start,
    /// A promised output was missing or too large.
    Outputs,
    /// Lost with its node, shim or site.
    Lost,
}

/// What happens to a running task whose site stays silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnLostContact {
    /// Fenced at the contact limit on the node, then queued again.
    Restart,
    /// Left alone until the site is back.
    Wait,
}

impl BatchSpec {
    /// Checks everything that needs no World.
    ///
    /// # Errors
    /// The first thing found wrong, with its place (`jobs[2].after_ok`) and remedy.
    pub fn validate(&self) -> Result<(), Rejected> {
        check_name("name", &self.name)?;
        if self.jobs.is_empty() || self.jobs.len() > JOBS_PER_BATCH_MAX {
            return Err(Rejected::bounds(
                "jobs",
                self.jobs.len() as u64,
                1,
                JOBS_PER_BATCH_MAX as u64,
            ));
        }
        let tasks: u64 = self.jobs.iter().map(|job| u64::from(job.count)).sum();
        if tasks > TASKS_PER_BATCH_MAX {
            return Err(Rejected::bounds(
                "jobs[].count (sum of tasks)",
                tasks,
                1,
                TASKS_PER_BATCH_MAX,
            ));
        }
        let mut names = BTreeMap::new();
        for (position, job) in self.jobs.iter().enumerate() {
            job.validate(position)?;
            if let Some(first) = names.insert(job.name.as_str(), position) {
                return Err(Rejected::invalid(
                    format!("jobs[{position}].name"),
                    format!(
                        "the job name `{}` is already that of jobs[{first}]",
                        job.name
                    ),
                    "give every job of the batch a name of its own",
                ));
            }
        }
        self.check_dependencies(&names)
    }

    /// Every dependency names a job of the batch, and no chain leads back.
    fn check_dependencies(&self, names: &BTreeMap<&str, usize>) -> Result<(), Rejected> {
        for (position, job) in self.jobs.iter().enumerate() {
            let fields = [("after_ok", &job.after_ok), ("outputs_of", &job.outputs_of)];
            for (field, wanted) in fields {
                if let Some(unknown) = wanted
                    .iter()
                    .find(|name| !names.contains_key(name.as_str()))
                {
                    return Err(Rejected::invalid(
                        format!("jobs[{position}].{field}"),
                        format!("there is no job `{unknown}` in this batch"),
                        "name a job of the same batch",
                    ));
                }
            }
        }
        match self.find_cycle(names) {
            None => Ok(()),
            Some(cycle) => Err(Rejected::invalid(
                "jobs[].after_ok".to_string(),
                format!("the dependencies form a cycle: {}", cycle.join(" -> ")),
                "remove one of these dependencies",
            )),
        }
    }

    /// Depth-first search with an explicit stack, since chains may be long.
    fn find_cycle(&self, names: &BTreeMap<&str, usize>) -> Option<Vec<String>> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let needs: Vec<Vec<usize>> = self
            .jobs
            .iter()
            .map(|job| job.dependencies().map(|name| names[name]).collect())
            .collect();
        let mut marks = vec![Mark::New; self.jobs.len()];
        for root in 0..self.jobs.len() {
            let mut path: Vec<(usize, usize)> = Vec::new();
            if marks[root] == Mark::New {
                marks[root] = Mark::Open;
                path.push((root, 0));
            }
            while let Some((job, next)) = path.last_mut() {
                let Some(&needed) = needs[*job].get(*next) else {
                    marks[*job] = Mark::Done;
                    path.pop();
                    continue;
                };
                *next += 1;
                match marks[needed] {
                    Mark::Done => {}
                    Mark::New => {
                        marks[needed] = Mark::Open;
                        path.push((needed, 0));
                    }
                    Mark::Open => {
                        let start = path.iter().position(|(job, _)| *job == needed).unwrap_or(0);
                        let cycle = path[start..].iter().map(|(job, _)| *job).chain([needed]);
                        return Some(cycle.map(|job| self.jobs[job].name.clone()).collect());
                    }
                }
            }
        }
        None
    }
}

impl JobSpec {
    /// Names of the jobs that must have succeeded before this one starts.
    pub fn dependencies(&self) -> impl Iterator<Item = &str> {
        self.after_ok
            .iter()
            .chain(&self.outputs_of)
            .map(String::as_str)
    }

    fn validate(&self, position: usize) -> Result<(), Rejected> {
        let place = |field: &str| format!("jobs[{position}].{field}");
        check_name(&place("name"), &self.name)?;
        if self.count == 0 || u64::from(self.count) > TASKS_PER_BATCH_MAX {
            return Err(Rejected::bounds(
                &place("count"),
                self.count.into(),
                1,
                TASKS_PER_BATCH_MAX,
            ));
        }
        if self
            .command
            .first()
            .is_none_or(|program| program.is_empty())
        {
            return Err(Rejected::invalid(
                place("command"),
                "the command is empty",
                "name a program",
            ));
        }
        self.check_sizes(&place)?;
        let resources = &self.needs.resources;
        if !resources.is_valid() || resources.is_zero() {
            return Err(Rejected::invalid(
                place("resources"),
                "a task must ask for something, and for no negative or absurd amount",
                "ask at least for cpu, for example {cpu: 1, memory: 1GiB}",
            ));
        }
        let walltime_ms = self.needs.walltime_ms;
        if !(1..=WALLTIME_MAX_MS).contains(&walltime_ms) {
            return Err(Rejected::bounds(
                &place("walltime"),
                walltime_ms.max(0) as u64,
                1,
                WALLTIME_MAX_MS as u64,
            ));
        }
        for file in &self.inputs {
            check_path(&place("inputs"), &file.path)?;
        }
        for glob in &self.outputs {
            check_path(&place("outputs"), glob)?;
        }
        Ok(())
    }

    fn check_sizes(&self, place: &dyn Fn(&str) -> String) -> Result<(), Rejected> {
        let env_bytes = self
            .env
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let strings = self
            .command
            .iter()
            .chain(&self.outputs)
            .chain([&self.image]);
        let bytes: usize = strings.map(String::len).chain(env_bytes).sum();
        if bytes > SPEC_BYTES_MAX {
            return Err(Rejected::bounds(
                &place("command"),
                bytes as u64,
                0,
                SPEC_BYTES_MAX as u64,
            ));
        }
        let lists = [
            ("command", self.command.len()),
            ("env", self.env.len()),
            ("labels", self.needs.labels.len()),
            ("tolerations", self.needs.tolerations.len()),
            ("sites", self.needs.sites.len()),
            ("sites_excluded", self.needs.sites_excluded.len()),
            ("after_ok", self.after_ok.len()),
            ("inputs", self.inputs.len()),
            ("outputs", self.outputs.len()),
            ("outputs_of", self.outputs_of.len()),
            ("retries", self.retries.len()),
        ];
        match lists.into_iter().find(|(_, length)| *length > LIST_MAX) {
            None => Ok(()),
            Some((field, length)) => Err(Rejected::bounds(
                &place(field),
                length as u64,
                0,
                LIST_MAX as u64,
            )),
        }
    }
}

impl RetryRule {
    /// True if this rule speaks about such a failure.
    pub fn matches(&self, class: FailureClass, exit_code: Option<i32>) -> bool {
        if self.exit_codes.is_empty() && self.classes.is_empty() {
            return true;
        }
        let by_code = exit_code.is_some_and(|code| {
            self.exit_codes
                .iter()
                .any(|(first, last)| (first..=last).contains(&&code))
        });
        by_code || self.classes.contains(&class)
    }
}

fn check_name(place: &str, name: &str) -> Result<(), Rejected> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(allowed) {
        return Err(Rejected::invalid(
            place.to_string(),
            format!("`{name}` is not a name"),
            "use 1 to 128 letters, digits and the signs - _ . +",
        ));
    }
    Ok(())
}

/// A path or glob that stays inside the scratch directory.
fn check_path(place: &str, path: &str) -> Result<(), Rejected> {
    let inside = !path.is_empty()
        && !path.starts_with('/')
        && !path.contains('\0')
        && path
            .split('/')
            .all(|segment| segment != ".." && !segment.is_empty());
    if inside {
        return Ok(());
    }
    Err(Rejected::invalid(
        place.to_string(),
        format!("`{path}` does not name a place inside the scratch directory"),
        "use a relative path without `..`",
    ))
}

#[cfg(test)]
#[path = "spec/tests.rs"]
mod tests;
