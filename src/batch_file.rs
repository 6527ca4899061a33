//! The batch file: what a physicist writes (YAML) to submit a batch.
//!
//! The rule: every fault of the file is found in one reading and told with its
//! line and column, what is wrong, and what to do; nothing is guessed and no
//! unknown field is passed over.
//!
//! It looks at the file and at the inputs beside it, never at the scheduler:
//! what needs the federation (does the queue exist, can a node of that size be
//! had) is answered by the submission. Uploading inputs is `submit`'s.
//!
//! Reading goes through three forms: text, a tree that knows where each value
//! stands (`tree`), and the wire's `BatchSpec`, whose jobs are read field by
//! field (`job`, with `fields` for what all fields share) and then looked at
//! together (`dependencies`). What is refused later is shown in the file by
//! [`Source`]. Entry point: [`read`].

mod dependencies;
pub(crate) mod faults;
pub(crate) mod fields;
pub(crate) mod gang;
mod inputs;
mod job;
pub(crate) mod nearest;
mod resources;
mod retries;
mod source;
#[cfg(test)]
mod tests;
pub(crate) mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jeroboam_core::spec::{NAME_MAX, TASKS_PER_BATCH_MAX as TASKS_MAX, is_name};
use jeroboam_proto::v1;

pub use faults::Faults;
use faults::Found;
use fields::Fields;
pub use inputs::LocalFile;
use job::Job;
pub use source::{Source, Spot};
use tree::{At, Node, Value};

/// The longest batch file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

const BATCH_FIELDS: [&str; 4] = ["name", "queue", "defaults", "jobs"];

/// A batch file that was read: what to submit, and which files go with it.
#[derive(Debug)]
pub struct Batch {
    /// Complete but for the jobs' `inputs`, whose digests need their contents.
    pub spec: v1::BatchSpec,
    /// The inputs of all jobs, job by job.
    pub inputs: Vec<LocalFile>,
    /// The file itself.
    pub source: Source,
}

/// Reads the batch file at `path`; a `queue` from the command line wins over
/// the file's.
///
/// # Errors
/// All faults that were found, with their places.
pub fn read(path: &Path, queue: Option<&str>) -> Result<Batch, Faults> {
    let text = text_of(path)?;
    read_text(&text, path, queue)
}

fn text_of(path: &Path) -> Result<String, Faults> {
    let failed = |error: std::io::Error| Faults::of_reading(path, &error);
    let size_bytes = std::fs::metadata(path).map_err(failed)?.len();
    if size_bytes > FILE_BYTES_MAX {
        let max = jeroboam_units::Bytes(FILE_BYTES_MAX);
        let what = format!("it has {size_bytes} bytes, a batch file at most {max}");
        return Err(Faults::of_file(path, what));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn read_text(text: &str, path: &Path, queue: Option<&str>) -> Result<Batch, Faults> {
    let mut found = Found::default();
    match tree::parse(text) {
        Ok(root) => match read_batch(&root, path, queue, &mut found) {
            Some((spec, inputs)) if found.is_empty() => {
                let source = Source {
                    path: path.to_owned(),
                    text: text.to_owned(),
                    root,
                    queue_given: queue.is_some(),
                };
                return Ok(Batch {
                    spec,
                    inputs,
                    source,
                });
            }
            _ => {}
        },
        Err(fault) => found.add(fault),
    }
    Err(found.in_file(path, text))
}

fn read_batch(
    root: &Node,
    path: &Path,
    queue: Option<&str>,
    found: &mut Found,
) -> Option<(v1::BatchSpec, Vec<LocalFile>)> {
    if matches!(root.value, Value::Null) {
        found.say(
            root.at,
            "the file is empty",
            "write a batch: `jobs:` with at least one job",
        );
        return None;
    }
    let fields = Fields::of(root, "a batch", &BATCH_FIELDS, found)?;
    let defaults = fields
        .take("defaults")
        .and_then(|node| job::defaults(node, found));
    let jobs = read_jobs(&fields, defaults.as_ref(), path, found);
    check_together(&jobs, found);
    let name = match fields.take("name") {
        Some(node) => name(node, "a batch", found).unwrap_or_default(),
        None => name_of_file(path),
    };
    let queue = queue
        .map(str::to_owned)
        .or_else(|| read_queue(&fields, found))?;
    let inputs = jobs
        .iter()
        .flat_map(|job| job.inputs.iter().cloned())
        .collect();
    let jobs = jobs.into_iter().map(|job| job.spec).collect();
    Some((v1::BatchSpec { name, queue, jobs }, inputs))
}

fn read_queue(fields: &Fields<'_>, found: &mut Found) -> Option<String> {
    let Some(node) = fields.take("queue") else {
        let remedy = "add `queue: NAME` or give --queue NAME; `jero queues` lists them";
        found.say(fields.at, "the batch names no queue", remedy);
        return None;
    };
    node.text(found)
}

fn read_jobs(
    fields: &Fields<'_>,
    defaults: Option<&Fields<'_>>,
    path: &Path,
    found: &mut Found,
) -> Vec<Job> {
    let Some(node) = fields.take("jobs") else {
        found.say(
            fields.at,
            "the batch has no jobs",
            "add `jobs:` with at least one job",
        );
        return Vec::new();
    };
    let Value::List(nodes) = &node.value else {
        found.say(
            node.at,
            "`jobs` is not a list",
            "start each job with a dash: `- name: ...`",
        );
        return Vec::new();
    };
    if nodes.is_empty() {
        found.say(
            node.at,
            "the batch has no jobs",
            "give `jobs` at least one job",
        );
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    let read = |(position, node)| job::read(node, defaults, position, directory, found);
    nodes.iter().enumerate().filter_map(read).collect()
}

/// What can only be seen by looking at all jobs.
fn check_together(jobs: &[Job], found: &mut Found) {
    let mut first_at: BTreeMap<&str, At> = BTreeMap::new();
    for job in jobs.iter().filter(|job| !job.spec.name.is_empty()) {
        if let Some(first) = first_at.insert(&job.spec.name, job.name_at) {
            let what = format!(
                "the job name `{}` is taken by line {}",
                job.spec.name, first.line
            );
            found.say(
                job.name_at,
                what,
                "give every job of the batch a name of its own",
            );
        }
    }
    let mut tasks = 0;
    for job in jobs {
        let before = tasks;
        tasks += u64::from(job.spec.count);
        if before <= TASKS_MAX && tasks > TASKS_MAX {
            let what = format!("with this job the batch has {tasks} tasks, more than {TASKS_MAX}");
            found.say(job.count_at, what, "submit it as several batches");
        }
    }
    dependencies::check(jobs, found);
}

/// Reads the name of a batch or a job.
fn name(node: &Node, of: &str, found: &mut Found) -> Option<String> {
    let text = node.text(found)?;
    if is_name(&text) {
        return Some(text);
    }
    let remedy = format!(
        "use 1 to {NAME_MAX} letters, digits and the signs - _ . +, other than `.` and `..`"
    );
    found.say(node.at, format!("`{text}` is no name for {of}"), remedy);
    None
}

/// The file's name without its ending, as far as a name may have it.
fn name_of_file(path: &Path) -> String {
    let stem = PathBuf::from(path.file_stem().unwrap_or_default());
    let stem = stem.to_string_lossy();
    if is_name(&stem) {
        stem.into_owned()
    } else {
        "batch".to_owned()
    }
}
