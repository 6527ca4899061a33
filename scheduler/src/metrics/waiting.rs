//! Queued tasks by the reason why they wait.

use crate::waiting::{Reasons, UNEXAMINED};
use jeroboam_core::ids::{ClassId, QueueId, TaskId};
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
        *reserved.entry((job.queue, job.class)).or_default() += count;
    }
    let mut listed = 0;
    for queue in world.queues().iter() {
        for (class, pending) in &queue.pending {
            let reserved = reserved.get(&(queue.id, *class)).copied().unwrap_or(0);
            add(
                reasons.of(queue.id, *class),
                pending.tasks.saturating_sub(reserved),
            );
            listed += pending.tasks;
        }
    }
    let queued = world.queues().queue(QueueId::ROOT).queued;
    count_unlisted(world, &mut reasons, queued - listed, &mut add);
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
        let behind = (queued - delayed).saturating_sub(job.ready().tasks);
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
