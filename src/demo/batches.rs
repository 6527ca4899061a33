//! What the demo submits, and how: batch files and `jero` commands that a user
//! could type.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::{Patience, Scheduler};
use crate::demo::federation::{Federation, own_exe, place_milli};
use crate::failure::Failure;

/// About half a second of one core each.
pub const EVENTS_DEFAULT: u64 = 36_000;

/// A batch that was submitted.
pub struct Submitted {
    /// Its VO: the first segment of its queue.
    pub vo: &'static str,
    /// Its queue.
    pub queue: &'static str,
    /// In a few words.
    pub what: &'static str,
    /// Its number.
    pub id: u64,
    /// Its tasks.
    pub tasks: u64,
}

struct Plan {
    file: &'static str,
    queue: &'static str,
    what: &'static str,
    name: &'static str,
    tasks: u64,
    seed: u64,
    search: bool,
}

/// The Higgs search first, then those that compete with it.
const PLANS: [Plan; 4] = [
    Plan {
        file: "higgs.yaml",
        queue: "cms.higgs.alice",
        what: "Higgs -> four muons",
        name: "higgs-4mu",
        tasks: 24,
        seed: 1,
        search: true,
    },
    Plan {
        file: "top.yaml",
        queue: "cms.top.erin",
        what: "control sample",
        name: "control",
        tasks: 12,
        seed: 2,
        search: false,
    },
    Plan {
        file: "susy.yaml",
        queue: "atlas.susy.bob",
        what: "background sample",
        name: "background",
        tasks: 24,
        seed: 3,
        search: false,
    },
    Plan {
        file: "charm.yaml",
        queue: "lhcb.charm.carol",
        what: "detector sample",
        name: "detector",
        tasks: 18,
        seed: 4,
        search: false,
    },
];

/// Writes and submits all batches.
///
/// # Errors
/// One is refused.
pub fn submit(federation: &Federation, events: u64) -> Result<Vec<Submitted>, Failure> {
    println!();
    PLANS
        .iter()
        .map(|plan| submit_one(federation, plan, events))
        .collect()
}

fn submit_one(federation: &Federation, plan: &Plan, events: u64) -> Result<Submitted, Failure> {
    let path = federation.write_batch(plan.file, &batch_file(plan, events))?;
    let reply = jero(
        federation,
        &["submit", &path.to_string_lossy(), "--output", "json"],
    )?;
    let reply: serde_json::Value = serde_json::from_str(&reply).map_err(|error| {
        Failure::Here(anyhow::anyhow!("`jero submit` printed no JSON: {error}"))
    })?;
    let id = reply["batch"]
        .as_str()
        .and_then(|id| id.strip_prefix("batch-")?.parse().ok());
    let id = id.or_else(|| reply["batch"].as_u64());
    let id =
        id.ok_or_else(|| Failure::Here(anyhow::anyhow!("`jero submit` named no batch: {reply}")))?;
    let tasks = plan.tasks + u64::from(plan.search);
    println!(
        "batch-{id}   {:<18} {} tasks: {}",
        plan.queue, tasks, plan.what
    );
    let vo = plan.queue.split('.').next().unwrap_or(plan.queue);
    Ok(Submitted {
        vo,
        queue: plan.queue,
        what: plan.what,
        id,
        tasks,
    })
}

fn batch_file(plan: &Plan, events: u64) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as i64;
    let place = place_milli(cores);
    let Plan {
        name,
        queue,
        tasks,
        seed,
        ..
    } = plan;
    let mut text = format!(
        "name: {name}
queue: {queue}
defaults:
  resources: {{cpu: {place}m, memory: 128MiB}}
  walltime: 5m
jobs:
  - name: generate
    count: {tasks}
    run: |
      exec \"$JERO_EXE\" higgs generate --seed {seed} --index \"$JERO_INDEX\" \\
        --events {events} --out histograms.json
    outputs: [histograms.json]
    retries: [{{on: [lost], times: 2}}]
"
    );
    if plan.search {
        text += &format!(
            "
  - name: merge
    needs: outputs-of generate
    command: [jero, higgs, merge, --inputs, inputs/generate, --expect, \"{tasks}\", --out, higgs-4mu.svg]
    outputs: [higgs-4mu.svg]
"
        );
    }
    text
}

/// Fetches a batch's outputs.
///
/// # Errors
/// They cannot be had.
pub fn get(federation: &Federation, batch: &Submitted, to: &Path) -> Result<(), Failure> {
    let batch = format!("batch-{}", batch.id);
    jero(federation, &["get", &batch, "--to", &to.to_string_lossy()])?;
    Ok(())
}

/// What the merging job of the search wrote to its standard output.
///
/// # Errors
/// It cannot be had.
pub async fn logs_of_merge(
    federation: &Federation,
    scheduler: &Scheduler,
    search: &Submitted,
) -> Result<String, Failure> {
    let jobs = scheduler
        .jobs_of_batch(search.id, &mut Patience::short())
        .await?;
    let merge = jobs.iter().find(|job| job.name == "merge");
    let merge = merge.ok_or_else(|| Failure::Work("the merging job is gone".into()))?;
    jero(federation, &["logs", &format!("job-{}", merge.id)])
}

/// The one file of a name below a directory.
///
/// # Errors
/// There is none.
pub fn find(below: &Path, name: &str) -> Result<PathBuf, Failure> {
    let mut open = vec![below.to_path_buf()];
    while let Some(directory) = open.pop() {
        let entries = std::fs::read_dir(&directory).map_err(Failure::local("read", &directory))?;
        for entry in entries {
            let path = entry.map_err(Failure::local("read", &directory))?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|found| found == name) {
                return Ok(path);
            }
        }
    }
    Err(Failure::Work(format!(
        "no `{name}` came back to {}",
        below.display()
    )))
}

/// Runs a verb as a user would, and returns what it printed.
fn jero(federation: &Federation, args: &[&str]) -> Result<String, Failure> {
    let exe = own_exe()?;
    let output = Command::new(&exe)
        .args(args)
        .env("JERO_SERVER", &federation.server)
        .env_remove("JERO_TOKEN_FILE")
        .output()
        .map_err(Failure::local("start", &exe))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::Work(format!(
        "`jero {}` failed ({}):\n{errors}",
        args.join(" "),
        output.status
    )))
}
