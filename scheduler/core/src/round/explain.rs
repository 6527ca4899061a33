//! Why a task waits, computed when somebody asks.

use super::feasible::{Taken, refusal};
use super::order::Order;
use crate::ids::{QueueId, SiteId, TaskId};
use crate::reason::{Refusal, WaitingReason};
use crate::rejected::Rejected;
use crate::resources::Resources;
use crate::spec::Needs;
use crate::time::TimeMs;
use crate::world::World;
use std::collections::BTreeMap;

/// All there is to say about a queued task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The one reason.
    pub reason: WaitingReason,
    /// Nodes refused, per site and cause.
    pub refusals: BTreeMap<(SiteId, Refusal), u32>,
    /// From below the root down to the leaf.
    pub path: Vec<Step>,
    /// Tasks that go before it in its own leaf.
    pub ahead_in_leaf: u64,
}

/// One level of the fair-share order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whose.
    pub queue: QueueId,
    /// What the queue is entitled to.
    pub entitlement: Resources,
    /// What it holds.
    pub held: Resources,
    /// Its key for its own next task, in thousandths; lowest goes first.
    pub key_milli: i64,
}

/// Explains a queued task.
///
/// # Errors
/// An unknown job, or a task that is not queued.
pub fn explain(world: &World, now: TimeMs, task: TaskId) -> Result<Explanation, Rejected> {
    let job = world.find_job(task.job)?;
    if !job.tasks.queued.contains(task.index) {
        return Err(Rejected::invalid(
            "task",
            format!("{task} does not wait for a place"),
            "see its state with `jero job ID`",
        ));
    }
    let needs = &job.spec.needs;
    let order = Order::new(world, now);
    let head = super::order::Head {
        leaf: job.queue,
        job: job.id,
        class: job.class,
    };
    let mut path: Vec<QueueId> = world.queues().path(job.queue).collect();
    path.retain(|id| *id != QueueId::ROOT);
    path.reverse();
    let step = |queue: QueueId| Step {
        queue,
        entitlement: order.shares().of(queue).entitlement,
        held: world.queues().queue(queue).held,
        key_milli: order.key(queue, &head).milli(),
    };
    let leaf = world.queues().queue(job.queue);
    let mine = job.pending();
    let earlier = leaf
        .pending
        .values()
        .flat_map(|pending| &pending.jobs)
        .filter(|other| **other < mine);
    let others: u64 = earlier
        .map(|other| world.jobs()[&other.job].tasks.queued.len())
        .sum();
    let own = job
        .tasks
        .queued
        .ranges()
        .take_while(|(first, _)| *first < task.index);
    let own: u64 = own
        .map(|(first, last)| u64::from(last.min(task.index - 1) - first) + 1)
        .sum();
    Ok(Explanation {
        reason: waiting_reason(world, now, job.queue, needs),
        refusals: refusals(world, now, needs),
        path: path.into_iter().map(step).collect(),
        ahead_in_leaf: others + own,
    })
}

/// The one reason why queued tasks of these needs in this leaf wait.
pub fn waiting_reason(world: &World, now: TimeMs, leaf: QueueId, needs: &Needs) -> WaitingReason {
    if world.queues().cordoned(leaf).is_some() {
        return WaitingReason::QueueCordoned;
    }
    match super::score::best_node(world, now, &Taken::default(), needs) {
        Ok(_) => WaitingReason::OthersFirst,
        Err(reason) => reason,
    }
}

fn refusals(world: &World, now: TimeMs, needs: &Needs) -> BTreeMap<(SiteId, Refusal), u32> {
    let mut counts = BTreeMap::new();
    for node in world.nodes().iter().filter(|node| node.is_known()) {
        if let Some(cause) = refusal(world, now, &Taken::default(), needs, node) {
            *counts.entry((node.site, cause)).or_default() += 1;
        }
    }
    counts
}
