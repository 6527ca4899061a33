//! Batches, jobs and the states of their tasks, on their way out.

use super::amounts::resources;
use super::lease::ranges;
use jeroboam_core::ids::LeaseId;
use jeroboam_core::job::{
    ActiveState, Altered, Batch, CancelledWhy, FailedReason, Job, StopWhy, Tasks,
};
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::reason::WaitingReason;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use std::collections::BTreeMap;
use v1::TaskState;

/// A state of tasks, with the stable code of its reason where it has one.
pub type StateKey = (TaskState, String);

/// How far an attempt is.
pub fn active_state(state: ActiveState) -> TaskState {
    match state {
        ActiveState::Leased => TaskState::Leased,
        ActiveState::Starting => TaskState::Starting,
        ActiveState::Running { .. } => TaskState::Running,
        ActiveState::Stopping { .. } => TaskState::Stopping,
    }
}

/// Stable code of a failure.
pub fn failed_code(reason: FailedReason) -> String {
    match reason {
        FailedReason::Exit(code) => format!("exit:{code}"),
        FailedReason::Signal(signal) => format!("signal:{signal}"),
        FailedReason::Walltime => "walltime".into(),
        FailedReason::Memory => "memory".into(),
        FailedReason::Start => "start".into(),
        FailedReason::Outputs => "outputs".into(),
        FailedReason::Lost => "lost".into(),
        FailedReason::Preempted => "preempted".into(),
    }
}

/// Stable code of a cancellation.
pub fn cancelled_code(why: CancelledWhy) -> &'static str {
    match why {
        CancelledWhy::User => "user",
        CancelledWhy::Dependency => "dependency",
        CancelledWhy::Gang => "gang",
    }
}

/// The state of one task; `None` beyond the job's count.
pub fn state_of(tasks: &Tasks, index: u32) -> Option<StateKey> {
    if let Some(active) = tasks.active.get(&index) {
        return Some((
            active_state(active.state),
            active_reason(active.state).into(),
        ));
    }
    let plain: [(TaskState, &RangeSet); 4] = [
        (TaskState::Held, &tasks.held),
        (TaskState::Blocked, &tasks.blocked),
        (TaskState::Queued, &tasks.queued),
        (TaskState::Succeeded, &tasks.succeeded),
    ];
    if let Some((state, _)) = plain.into_iter().find(|(_, set)| set.contains(index)) {
        return Some((state, String::new()));
    }
    if let Some((reason, _)) = tasks.failed.iter().find(|(_, set)| set.contains(index)) {
        return Some((TaskState::Failed, failed_code(*reason)));
    }
    let cancelled = tasks.cancelled.iter().find(|(_, set)| set.contains(index));
    cancelled.map(|(why, _)| (TaskState::Cancelled, cancelled_code(*why).into()))
}

fn active_reason(state: ActiveState) -> &'static str {
    match state {
        ActiveState::Leased | ActiveState::Starting | ActiveState::Running { .. } => "",
        ActiveState::Stopping { why } => match why {
            StopWhy::Cancelled(why) => cancelled_code(why),
            StopWhy::Preempted { .. } => "preempted",
            StopWhy::GangBroken => "gang-broken",
            StopWhy::PreemptedByHand => preempted_by_hand_code(),
        },
    }
}

/// Stable code of why an open attempt is to end; empty where it is not.
pub fn stop_reason(world: &World, lease: LeaseId) -> &'static str {
    let active = world.open_attempt(lease);
    active.map_or("", |active| active_reason(active.state))
}

/// Stable code of a place that somebody took away.
pub fn preempted_by_hand_code() -> &'static str {
    "preempted-by-hand"
}

/// Which of the wanted tasks are in which state; `None` wants all.
pub fn states(tasks: &Tasks, wanted: Option<&RangeSet>) -> Vec<v1::StateRanges> {
    let chosen = |set: &RangeSet| match wanted {
        None => set.clone(),
        Some(wanted) => set.intersection(wanted),
    };
    let mut found: BTreeMap<StateKey, RangeSet> = BTreeMap::new();
    let plain: [(TaskState, &RangeSet); 4] = [
        (TaskState::Held, &tasks.held),
        (TaskState::Blocked, &tasks.blocked),
        (TaskState::Queued, &tasks.queued),
        (TaskState::Succeeded, &tasks.succeeded),
    ];
    for (state, set) in plain {
        found.insert((state, String::new()), chosen(set));
    }
    for (reason, set) in &tasks.failed {
        found.insert((TaskState::Failed, failed_code(*reason)), chosen(set));
    }
    for (why, set) in &tasks.cancelled {
        found.insert(
            (TaskState::Cancelled, cancelled_code(*why).into()),
            chosen(set),
        );
    }
    for (index, active) in &tasks.active {
        if wanted.is_none_or(|wanted| wanted.contains(*index)) {
            let key = (
                active_state(active.state),
                active_reason(active.state).to_string(),
            );
            found.entry(key).or_default().insert(*index);
        }
    }
    let found = found.into_iter().filter(|(_, set)| !set.is_empty());
    found
        .map(|((state, reason), set)| state_ranges(state, reason, &set))
        .collect()
}

/// One state's tasks on the wire.
pub fn state_ranges(state: TaskState, reason: String, set: &RangeSet) -> v1::StateRanges {
    v1::StateRanges {
        state: state.into(),
        reason,
        ranges: ranges(set),
        by: String::new(),
        why: String::new(),
    }
}

/// Tasks counted by state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<TaskState, u64>);

impl Counts {
    /// Counts a job's tasks; costs in proportion to those that hold a place.
    pub fn add(&mut self, tasks: &Tasks) {
        let sum = |sets: &mut dyn Iterator<Item = &RangeSet>| sets.map(RangeSet::len).sum::<u64>();
        self.add_to(TaskState::Held, tasks.held.len());
        self.add_to(TaskState::Blocked, tasks.blocked.len());
        self.add_to(TaskState::Queued, tasks.queued.len());
        self.add_to(TaskState::Succeeded, tasks.succeeded.len());
        self.add_to(TaskState::Failed, sum(&mut tasks.failed.values()));
        self.add_to(TaskState::Cancelled, sum(&mut tasks.cancelled.values()));
        for active in tasks.active.values() {
            self.add_to(active_state(active.state), 1);
        }
    }

    /// Counts more tasks of one state.
    pub fn add_to(&mut self, state: TaskState, count: u64) {
        if count > 0 {
            *self.0.entry(state).or_default() += count;
        }
    }

    /// How many are in a state.
    pub fn of(&self, state: TaskState) -> u64 {
        self.0.get(&state).copied().unwrap_or(0)
    }

    /// On the wire.
    pub fn wire(&self) -> Vec<v1::StateCount> {
        let counted = self.0.iter();
        // A batch has at most a million tasks.
        counted
            .map(|(state, count)| v1::StateCount {
                state: (*state).into(),
                count: *count as u32,
            })
            .collect()
    }
}

/// A batch in memory, on the wire. Costs in proportion to its jobs.
pub fn batch(world: &World, batch: &Batch) -> v1::Batch {
    let (mut counts, mut core_ms, mut cost_micro_eur) = (Counts::default(), 0, 0);
    let last = batch.first_job.0 + u64::from(batch.jobs);
    let jobs = world
        .jobs()
        .range(batch.first_job..jeroboam_core::ids::JobId(last));
    for (_, job) in jobs {
        counts.add(&job.tasks);
        core_ms += job.totals.core_ms;
        cost_micro_eur += job.totals.cost_micro_eur;
    }
    v1::Batch {
        id: batch.id.0,
        name: batch.name.clone(),
        queue: world.queues().queue(batch.queue).spec.name.clone(),
        submitted_by: batch.by.clone(),
        submitted_ms: batch.submitted.0,
        jobs: batch.jobs,
        tasks: counts.wire(),
        finished_ms: batch.finished.map_or(0, |finished| finished.0),
        core_ms,
        cost_micro_eur,
    }
}

/// A job in memory, on the wire; why its queued tasks wait is the caller's to say.
pub fn job(world: &World, job: &Job, waiting: Option<v1::WaitingReason>) -> v1::Job {
    let mut counts = Counts::default();
    counts.add(&job.tasks);
    let (totals, batch) = (&job.totals, &world.batches()[&job.batch]);
    v1::Job {
        id: job.id.0,
        batch: job.batch.0,
        name: job.name.to_string(),
        queue: world.queues().queue(job.queue).spec.name.clone(),
        count: job.spec.count,
        tasks: counts.wire(),
        submitted_ms: job.submitted.0,
        started_ms: totals.first_started.map_or(0, |started| started.0),
        finished_ms: totals.finished.map_or(0, |finished| finished.0),
        core_ms: totals.core_ms,
        cost_micro_eur: totals.cost_micro_eur,
        waiting,
        resources: Some(resources(world.policy(), job.resources())),
        submitted_by: batch.by.clone(),
        wait_sum_ms: totals.wait_sum_ms,
        started_tasks: totals.started_tasks,
        by_hand: super::by_hand::last(batch, job),
    }
}

/// Tasks of a job that ask for something else than it does, of the wanted ones.
pub fn altered(world: &World, job: &Job, wanted: Option<&RangeSet>) -> Vec<v1::Altered> {
    let tasks = |altered: &Altered| match wanted {
        None => altered.tasks.clone(),
        Some(wanted) => altered.tasks.intersection(wanted),
    };
    let altered = job.tasks.altered.values();
    let altered = altered.map(|altered| (altered, tasks(altered)));
    let altered = altered.filter(|(_, tasks)| !tasks.is_empty());
    altered
        .map(|(altered, tasks)| {
            let avoided = &altered.needs.avoided;
            let nodes = avoided.nodes.iter();
            let nodes = nodes.map(|(site, node)| format!("{site}/{node}"));
            v1::Altered {
                ranges: ranges(&tasks),
                resources: Some(resources(world.policy(), &altered.needs.resources)),
                avoided: nodes.chain(avoided.sites.iter().cloned()).collect(),
            }
        })
        .collect()
}

/// A waiting reason on the wire.
pub fn waiting(reason: WaitingReason) -> v1::WaitingReason {
    v1::WaitingReason {
        code: reason.code().into(),
        text: reason.text().into(),
        remedy: reason.remedy().into(),
    }
}

/// A job's specification in the wire's encoding, for the history.
pub fn spec_bytes(world: &World, job: &Job) -> Vec<u8> {
    use prost::Message as _;
    super::submission::job_spec(world.policy(), &job.submitted_spec()).encode_to_vec()
}
