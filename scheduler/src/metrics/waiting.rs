//! Queued tasks by the reason why they wait.

use crate::waiting::{Reasons, UNEXAMINED};
use jeroboam_core::reason::WaitingReason;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use metrics::gauge;
use std::collections::BTreeMap;

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
    for queue in world.queues().iter() {
        for (class, pending) in &queue.pending {
            let reason = reasons.of(queue.id, *class);
            let code = reason.map_or(UNEXAMINED, WaitingReason::code);
            *tasks.entry(code).or_default() += pending.tasks;
        }
    }
}
