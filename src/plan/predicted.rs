//! `jero plan --predict`: when a waiting task of the described state would start.

use jeroboam_core::ids::TaskId;
use jeroboam_core::predict::{Bounds, Prediction, predict};
use jeroboam_units::Span;
use serde::Serialize;

use super::built::Built;
use crate::failure::Failure;

/// What was found, in the file's names and on its clock.
#[derive(Debug, Serialize)]
pub struct Predicted<'b> {
    job: &'b str,
    index: u32,
    /// Stable.
    code: &'static str,
    /// Seconds on the file's clock: when it starts, or until when was looked.
    at: f64,
    node: Option<&'b str>,
    #[serde(skip)]
    wait: Span,
    #[serde(skip)]
    text: &'static str,
}

impl<'b> Predicted<'b> {
    /// Predicts for `JOB` or `JOB[INDEX]`: of a job the first task that waits.
    pub fn of(built: &'b Built, name: &str) -> Result<Self, Failure> {
        let (job, index) = task(built, name)?;
        let stated = &built.state.jobs[job];
        let task = TaskId {
            job: built.jobs[job],
            index,
        };
        let found = predict(built.world.clone(), built.now, task, Bounds::default());
        let found = found.map_err(|_| not_waiting(&stated.name, index))?;
        let node = match found {
            Prediction::Starts { node, .. } => Some(built.world.node(node).report.name.as_str()),
            _ => None,
        };
        let wait_ms = found.at() - built.now;
        Ok(Predicted {
            job: &stated.name,
            index,
            code: found.code(),
            at: (built.state.now_ms + wait_ms) as f64 / 1_000.0,
            node,
            wait: Span(wait_ms),
            text: found.text(),
        })
    }

    /// In words.
    pub fn told(&self) -> String {
        let task = format!("{}[{}]", self.job, self.index);
        let (wait, text) = (self.wait, self.text);
        match self.node {
            Some(node) => format!("{task} starts after {wait} on {node}, {text}"),
            None => format!("{task} {} after {wait}: {text}", self.code),
        }
    }
}

/// The position of the job, and the index of the task.
fn task(built: &Built, name: &str) -> Result<(usize, u32), Failure> {
    let (job, index) = match name
        .strip_suffix(']')
        .and_then(|name| name.rsplit_once('['))
    {
        Some((job, index)) => (job, index.parse().ok()),
        None => (name, None),
    };
    let mut jobs = built.state.jobs.iter();
    let Some(position) = jobs.position(|stated| stated.name == job) else {
        let remedy = "name a job of the file: JOB, or JOB[INDEX]";
        return Err(Failure::input(format!("there is no job `{job}`"), remedy));
    };
    let tasks = &built.world.jobs()[&built.jobs[position]].tasks;
    let index = index.or_else(|| tasks.queued.first());
    let index = index.ok_or_else(|| not_waiting(job, 0))?;
    Ok((position, index))
}

fn not_waiting(job: &str, index: u32) -> Failure {
    Failure::input(
        format!("`{job}[{index}]` does not wait"),
        "name a task that waits; the answer without --predict says which do",
    )
}
