//! How many kernels nobody has used yet, and how much waits for one: what has to be booted
//! or added for tenants that ask to be kept apart.

use super::{name_of, own_series, record_amounts};
use crate::waiting::Reasons;
use jeroboam_core::ids::QueueId;
use jeroboam_core::isolation::{Isolation, Tenancy};
use jeroboam_core::reason::{Refusal, WaitingReason};
use jeroboam_core::resources::Resources;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use metrics::gauge;
use std::collections::BTreeMap;

/// Refreshes the gauges; those that nothing is to be said of are set to zero.
pub(super) fn record(world: &World, now: TimeMs) {
    let mut kernels: BTreeMap<&'static str, u64> = USES.map(|of_use| (of_use, 0)).into();
    for (_, kernel) in world.kernels().iter() {
        let count = u64::from(!kernel.nodes().is_empty());
        *kernels.entry(name_of_use(kernel.tenancy())).or_default() += count;
    }
    for (of_use, count) in kernels {
        gauge!("jeroboam_kernels", "use" => of_use).set(count as f64);
    }
    let wanted = wanted(world, now);
    for queue in own_series(world).filter(|queue| queue.tenant == queue.id) {
        let (tasks, amounts) = wanted.get(&queue.id).copied().unwrap_or_default();
        let name = name_of(queue);
        gauge!("jeroboam_kernel_wanted_tasks", "queue" => name.clone()).set(tasks as f64);
        record_amounts(world, "jeroboam_kernel_wanted", &name, &amounts);
    }
}

const USES: [&str; 4] = ["unused", "one", "several", "alone"];

fn name_of_use(tenancy: Tenancy) -> &'static str {
    match tenancy {
        Tenancy::Unused => "unused",
        Tenancy::One(_) => "one",
        Tenancy::Several => "several",
        Tenancy::Alone(_) => "alone",
    }
}

/// By tenant: tasks that would fit but for those who have used the kernels, and what they
/// ask for.
fn wanted(world: &World, now: TimeMs) -> BTreeMap<QueueId, (u64, Resources)> {
    let mut wanted: BTreeMap<QueueId, (u64, Resources)> = BTreeMap::new();
    if !world.is_isolating() {
        return wanted;
    }
    let mut reasons = Reasons::new(world, now);
    for queue in world.queues().iter() {
        for (class, pending) in &queue.pending {
            let needs = world.classes().needs(*class);
            let isolated = needs.isolation > Isolation::Shared;
            let used = Some(WaitingReason::Refused(Refusal::KernelUsed));
            if isolated && reasons.of(queue.id, *class) == used {
                let (tasks, amounts) = wanted.entry(queue.tenant).or_default();
                *tasks += pending.tasks;
                *amounts += &needs.resources.times(pending.tasks as i64);
            }
        }
    }
    wanted
}

#[cfg(test)]
mod tests;
