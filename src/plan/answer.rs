//! The answer of `jero plan`: every task with its state, every queue with its share.

use std::collections::BTreeMap;

use jeroboam_core::ids::{QueueId, TaskId};
use jeroboam_core::job::Active;
use jeroboam_core::policy::Policy;
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::resources::{CPU, DISK, EXTENDED, GPU, MEMORY, Resources};
use jeroboam_core::round::explain::{Reasons, predicted_start, reservation_of};
use jeroboam_core::round::share::Shares;
use jeroboam_units::Bytes;
use serde::Serialize;

use super::built::Built;
use super::predicted::Predicted;
use crate::output;

/// What would happen.
#[derive(Debug, Serialize)]
pub struct Answer<'b> {
    /// In the file's order, element by element.
    tasks: Vec<Task<'b>>,
    /// In the file's order.
    queues: Vec<Queue<'b>>,
    /// Of the task that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Predicted<'b>>,
}

#[derive(Debug, Serialize)]
struct Task<'b> {
    job: &'b str,
    index: u32,
    queue: &'b str,
    state: State,
    node: Option<&'b str>,
    /// Null: the engine's own, or none.
    runtime: Option<&'b str>,
    /// No other tenant gets a place on the same kernel.
    alone: bool,
    reason: Option<&'static str>,
    /// Seconds on the file's clock.
    predicted_start: Option<serde_json::Number>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Running,
    Placed,
    Waiting,
    Preempted,
}

#[derive(Debug, Serialize)]
struct Queue<'b> {
    name: &'b str,
    entitlement: Amounts<'b>,
    held: Amounts<'b>,
}

/// Amounts as a state file has them.
#[derive(Debug, Serialize)]
struct Amounts<'b> {
    cpu: serde_json::Number,
    memory: Bytes,
    disk: Bytes,
    gpu: i64,
    #[serde(flatten)]
    extended: BTreeMap<&'b str, i64>,
}

impl Task<'_> {
    fn place_or_reason(&self) -> &str {
        self.node.or(self.reason).unwrap_or_default()
    }
}

impl<'b> Amounts<'b> {
    fn of(resources: &Resources, policy: &'b Policy) -> Self {
        let milli = resources[CPU];
        let cores = serde_json::Number::from_f64(milli as f64 / 1_000.0);
        let named = policy.extended_resources.iter().enumerate();
        Amounts {
            cpu: match cores {
                Some(cores) if milli % 1_000 != 0 => cores,
                _ => (milli / 1_000).into(),
            },
            memory: Bytes::from_mib(resources[MEMORY]),
            disk: Bytes::from_mib(resources[DISK]),
            gpu: resources[GPU],
            extended: named
                .map(|(position, name)| (name.as_str(), resources[EXTENDED + position]))
                .collect(),
        }
    }

    fn text(&self) -> String {
        let mut parts = Vec::new();
        let mut part = |there: bool, text: String| parts.extend(there.then_some(text));
        part(self.cpu.as_f64() != Some(0.0), format!("{} cpu", self.cpu));
        part(self.memory.0 != 0, format!("{} memory", self.memory));
        part(self.disk.0 != 0, format!("{} disk", self.disk));
        part(self.gpu != 0, format!("{} gpu", self.gpu));
        for (name, count) in &self.extended {
            part(*count != 0, format!("{count} {name}"));
        }
        parts.join(", ")
    }
}

impl<'b> Answer<'b> {
    /// Reads the answer off the World after its rounds.
    pub fn of(built: &'b Built) -> Self {
        let shares = Shares::new(&built.world, built.now);
        let queue = |(queue, id): (&'b super::state::Queue, &QueueId)| Queue {
            name: &queue.name,
            entitlement: Amounts::of(&shares.of(*id).entitlement, built.world.policy()),
            held: Amounts::of(&built.world.queues().queue(*id).held, built.world.policy()),
        };
        Answer {
            tasks: tasks(built),
            queues: built
                .state
                .queues
                .iter()
                .zip(&built.queues)
                .map(queue)
                .collect(),
            prediction: None,
        }
    }

    /// For people: tasks of one job in one state on one node together.
    pub fn table(&self) -> String {
        let mut groups: Vec<(&Task<'_>, RangeSet)> = Vec::new();
        let mut seen: BTreeMap<(&str, State, &str), usize> = BTreeMap::new();
        for task in &self.tasks {
            let key = (task.job, task.state, task.place_or_reason());
            let group = *seen.entry(key).or_insert_with(|| {
                groups.push((task, RangeSet::default()));
                groups.len() - 1
            });
            groups[group].1.insert(task.index);
        }
        let row = |(task, indexes): &(&Task<'_>, RangeSet)| {
            let state = match task.state {
                State::Running => "running",
                State::Placed => "placed",
                State::Waiting => "waiting",
                State::Preempted => "preempted",
            };
            let tasks = indexes.len().to_string();
            let where_or_why = task.place_or_reason();
            [
                task.job,
                task.queue,
                state,
                where_or_why,
                &tasks,
                &indexes.to_string(),
            ]
            .map(str::to_owned)
            .to_vec()
        };
        let headings = [
            "job",
            "queue",
            "state",
            "node or reason",
            ">tasks",
            "indexes",
        ];
        let tasks = output::table(&headings, groups.iter().map(row).collect());
        let row = |queue: &Queue<'_>| {
            vec![
                queue.name.to_owned(),
                queue.entitlement.text(),
                queue.held.text(),
            ]
        };
        let queues = self.queues.iter().map(row).collect();
        let queues = output::table(&["queue", "entitled to", "holds"], queues);
        let mut text = format!("{tasks}\n\n{queues}");
        if let Some(prediction) = &self.prediction {
            text += &format!("\n\n{}", prediction.told());
        }
        text
    }
}

fn tasks(built: &Built) -> Vec<Task<'_>> {
    let mut reasons = Reasons::new(&built.world, built.now);
    let mut tasks = Vec::new();
    for (stated, id) in built.state.jobs.iter().zip(&built.jobs) {
        let job = &built.world.jobs()[id];
        for index in 0..stated.count {
            let active = job.tasks.active.get(&index);
            let place = active.map(|active| built.world.node(active.node));
            let node = place.map(|node| node.report.name.as_str());
            let past = job.tasks.past.get(&index);
            let state = match active {
                Some(active) if active.is_stopping() => State::Preempted,
                Some(active) if active.attempt > 1 => State::Placed,
                Some(_) if (index as usize) < stated.running.len() => State::Running,
                Some(_) => State::Placed,
                None if past.is_some_and(|past| past.preempted > 0) => State::Preempted,
                None => State::Waiting,
            };
            let waits = job.tasks.queued.contains(index);
            let reason = waits.then(|| {
                let job = *id;
                reasons.of_task(TaskId { job, index }).code()
            });
            let task = TaskId { job: *id, index };
            let kept = reservation_of(&built.world, task).filter(|_| waits);
            let start = kept.and_then(|kept| predicted_start(&built.world, built.now, kept));
            tasks.push(Task {
                job: &stated.name,
                index,
                queue: &built.state.queues[stated.queue].name,
                state,
                node,
                runtime: active.map(Active::runtime).filter(|name| !name.is_empty()),
                alone: active.is_some_and(Active::is_alone),
                reason,
                predicted_start: start.map(|at| built.seconds(at)),
            });
        }
    }
    tasks
}
