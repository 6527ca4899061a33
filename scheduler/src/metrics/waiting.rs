//! Queued tasks by the reason why they wait.

use crate::waiting::{Reasons, UNEXAMINED};
use jeroboam_core::ids::{ClassId, QueueId, TaskId};
use jeroboam_core::queue::Pending;
use jeroboam_core::reason::WaitingReason;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use metrics::gauge;
use std::collections::BTreeMap;

/// Jobs looked at, at most, for tasks that no leaf lists as ready.
const JOBS_LOOKED_AT_MAX: usize = 100_000;

/// Refreshes the gauge; reasons that nobody has are set to zero.
pub(super) fn record(world: &World, now: TimeMs) {
    let all = WaitingReason::all()
        .map(WaitingReason::code)
        .chain([UNEXAMINED]);
    let mut tasks: BTreeMap<&'static str, u64> = all.map(|code| (code, 0)).collect();
    count(world, now, &mut tasks);
    for (code, count) in tasks {
        gauge!("jeroboam_waiting_tasks", "reason" => code).set(count as f64);
    }
}

fn count(world: &World, now: TimeMs, tasks: &mut BTreeMap<&'static str, u64>) {
    let mut reasons = Reasons::new(world, now);
    let mut add = |reason: Option<WaitingReason>, count: u64| {
        let code = reason.map_or(UNEXAMINED, WaitingReason::code);
        *tasks.entry(code).or_default() += count;
    };
    let mut reserved: BTreeMap<(QueueId, ClassId), u64> = BTreeMap::new();
    for reservation in world.reservations() {
        let (Some(job), Some(&index)) = (
            world.jobs().get(&reservation.job),
            reservation.tasks.first(),
        ) else {
            continue;
        };
        let count = reservation.tasks.len() as u64;
        add(Some(reasons.of_task(TaskId { job: job.id, index })), count);
        let class = job.next_class_of(index);
        *reserved.entry((job.queue, class)).or_default() += count;
    }
    let mut listed = 0;
    for queue in world.queues().iter() {
        for (class, pending) in &queue.pending {
            let reserved = reserved.get(&(queue.id, *class)).copied().unwrap_or(0);
            let reason = reasons.of(queue.id, *class);
            let kept = reason.map_or(0, |reason| kept_within(world, &reasons, pending, reason));
            add(Some(WaitingReason::BeyondGuarantee), kept);
            add(reason, pending.tasks.saturating_sub(reserved + kept));
            listed += pending.tasks;
        }
    }
    let queued = world.queues().queue(QueueId::ROOT).queued;
    count_unlisted(world, &mut reasons, queued.saturating_sub(listed), &mut add);
}

/// Tasks that wait since they may not be preempted, while others of their class have
/// another reason.
fn kept_within(
    world: &World,
    reasons: &Reasons<'_>,
    pending: &Pending,
    of_class: WaitingReason,
) -> u64 {
    if !world.policy().non_preemptible_within_guarantee {
        return 0;
    }
    let jobs = pending.jobs.iter().take(JOBS_LOOKED_AT_MAX);
    let jobs = jobs.map(|pending| &world.jobs()[&pending.job]);
    jobs.filter(|job| reasons.of_job_in(job, of_class) == WaitingReason::BeyondGuarantee)
        .map(|job| job.ready().tasks)
        .sum()
}

/// Counts queued tasks that no leaf lists as ready: behind a delay, a gang or `running_max`.
fn count_unlisted(
    world: &World,
    reasons: &mut Reasons<'_>,
    unlisted: u64,
    add: &mut impl FnMut(Option<WaitingReason>, u64),
) {
    let mut left = unlisted;
    for job in world.jobs().values().take(JOBS_LOOKED_AT_MAX) {
        if left == 0 {
            return;
        }
        let (queued, delayed) = (job.tasks.queued.len(), job.tasks.delayed.len());
        let behind = (queued - delayed).saturating_sub(job.ready_in_all());
        if delayed > 0 {
            add(Some(WaitingReason::RetryDelay), delayed);
        }
        if behind > 0 {
            add(reasons.of_job(job), behind);
        }
        left = left.saturating_sub(delayed + behind);
    }
    add(None, left);
}

#[cfg(test)]
mod tests;
