//! `jero plan`: what a round would do with a state described in a file.
//!
//! The rule: it is the scheduler's own core that decides. The file becomes a
//! World by events alone, as a journal would, and [`plan_round`] is asked; no
//! scheduling rule is written here. File and answer are a stable interface,
//! described in `docs/plan-state.md`.
//!
//! Nothing here talks to a scheduler, reads a clock or writes a file.
//!
//! `predicted` runs the same core forward, to when a waiting task would start; `state` (with `job`, `apart` and `amounts`) reads the file, `built` makes the World and keeps its answers,
//! `answer` prints them. Entry point: [`run`].

mod amounts;
mod answer;
mod apart;
mod built;
mod job;
mod predicted;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use jeroboam_core::round::plan_round;

use crate::batch_file::Faults;
use crate::batch_file::faults::Found;
use crate::batch_file::tree;
use crate::failure::Failure;
use crate::output::Output;
use answer::Answer;
use built::Built;
use predicted::Predicted;

/// The longest state file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Says what a round would do with a state described in a file
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  jero plan --state examples/plan/drf.yaml
  jero plan --state cluster.json --rounds 100 --output json
  jero plan --state cluster.json --predict 'analysis[7]'

The file and the answer are described in docs/plan-state.md. No scheduler is asked.")]
pub struct Args {
    /// The state: YAML or JSON
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// How many rounds to plan and carry out, one after the other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rounds: u32,
    /// Say when this task would start, by the walltime limits of all that runs and goes before it;
    /// of a job without an index, the first that waits
    #[arg(long, value_name = "JOB[INDEX]")]
    predict: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Runs the verb.
///
/// # Errors
/// A file that cannot be read or has faults.
pub fn run(args: Args) -> Result<(), Failure> {
    let path = &args.state;
    let size_bytes = std::fs::metadata(path)
        .map_err(Failure::local("read", path))?
        .len();
    if size_bytes > FILE_BYTES_MAX {
        let what = format!("{} has {size_bytes} bytes", path.display());
        let max = jeroboam_units::Bytes(FILE_BYTES_MAX);
        return Err(Failure::input(
            what,
            format!("describe it in at most {max}"),
        ));
    }
    let text = std::fs::read_to_string(path).map_err(Failure::local("read", path))?;
    let built = plan(&text, path, args.rounds).map_err(Failure::BatchFile)?;
    let mut answer = Answer::of(&built);
    if let Some(task) = &args.predict {
        answer.prediction = Some(Predicted::of(&built, task)?);
    }
    args.output.print(&answer, Answer::table)
}

/// Reads a state and carries out this many rounds, or as many as change something.
fn plan(text: &str, path: &Path, rounds: u32) -> Result<Built, Faults> {
    let mut found = Found::default();
    let state = match tree::parse(text) {
        Ok(root) => state::read(&root, &mut found),
        Err(fault) => {
            found.add(fault);
            None
        }
    };
    let built = state
        .filter(|_| found.is_empty())
        .and_then(|state| Built::of(state, &mut found));
    let Some(mut built) = built.filter(|_| found.is_empty()) else {
        return Err(found.in_file(path, text));
    };
    for _ in 0..rounds {
        built.end_preempted();
        let plan = plan_round(&mut built.world, built.now);
        if plan.is_empty() && plan.complete {
            break;
        }
        let committed = built.world.apply(built.now, &plan.into_event());
        committed.expect("a plan of this World fits it");
    }
    Ok(built)
}
