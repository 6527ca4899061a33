//! What runs, as the units that preemption takes whole, and which of them are beyond the
//! guarantees of their queues.

use crate::ids::{JobId, NodeId, TaskId};
use crate::ranges::RangeSet;
use crate::resources::{CPU, DIMENSIONS, Resources};
use crate::round::barrier::Work;
use crate::round::order::{Order, is_about};
use crate::round::share::fine;
use crate::time::TimeMs;
use crate::world::World;
use std::collections::BTreeMap;

/// What runs, as units that are preempted whole.
pub struct Running {
    pub units: Vec<Unit>,
    /// By the nodes that they hold places on.
    pub on_node: BTreeMap<NodeId, Vec<usize>>,
}

/// A task, or a gang.
pub struct Unit {
    pub tasks: Vec<(TaskId, NodeId)>,
    pub each: Resources,
    pub work: Work,
    /// It may be preempted, and has had its place for long enough.
    pub open: bool,
    /// Core-milliseconds that would be lost, in thousandths.
    pub lost: i128,
    /// Per queue from the leaf up: the unit is beyond its guarantee.
    pub beyond: Vec<bool>,
}

impl Running {
    /// All that runs, in the order in which it started.
    pub fn new(world: &World, order: &Order<'_>, now: TimeMs) -> Self {
        let mut starts: Vec<(TimeMs, JobId, Vec<u32>)> = Vec::new();
        for job in world
            .jobs()
            .values()
            .filter(|job| !job.tasks.active.is_empty())
        {
            let mut gang = RangeSet::default();
            if job.tasks.gang_holds() {
                gang = RangeSet::clone(&job.tasks.gang);
            }
            if let Some(first) = gang.first() {
                let granted = job.tasks.active[&first].granted;
                starts.push((granted, job.id, gang.iter().collect()));
            }
            for (index, active) in &job.tasks.active {
                if !active.is_stopping() && !gang.contains(*index) {
                    starts.push((active.granted, job.id, vec![*index]));
                }
            }
        }
        starts.sort();
        let mut running = Running {
            units: Vec::with_capacity(starts.len()),
            on_node: BTreeMap::new(),
        };
        let mut sums = vec![Resources::ZERO; world.queues().len()];
        for (granted, id, indexes) in starts {
            let job = &world.jobs()[&id];
            let tasks: Vec<(TaskId, NodeId)> = indexes
                .iter()
                .map(|index| {
                    (
                        TaskId {
                            job: id,
                            index: *index,
                        },
                        job.tasks.active[index].node,
                    )
                })
                .collect();
            let each = *job.resources_of(indexes[0]);
            let cost = each.times(tasks.len() as i64);
            let beyond = world.queues().path(job.queue).map(|queue| {
                sums[queue.index()] += &cost;
                let (sum, share) = (fine(&sums[queue.index()]), order.shares().of(queue));
                let pool = &order.shares().pool;
                (0..DIMENSIONS).any(|d| is_about(&cost, pool, d) && sum[d] > share.guarantee[d])
            });
            let unit = Unit {
                each,
                work: Work {
                    leaf: job.queue,
                    cost,
                },
                open: job.spec.preemptible && now - granted >= world.policy().preempt_after_ms,
                lost: i128::from(cost[CPU]) * i128::from(now - granted),
                beyond: beyond.collect(),
                tasks,
            };
            for (_, node) in &unit.tasks {
                let units = running.on_node.entry(*node).or_default();
                if units.last() != Some(&running.units.len()) {
                    units.push(running.units.len());
                }
            }
            running.units.push(unit);
        }
        running
    }
}

impl Unit {
    /// What it holds on a node.
    pub fn on(&self, node: NodeId) -> Resources {
        let tasks = self.tasks.iter().filter(|(_, at)| *at == node);
        self.each.times(tasks.count() as i64)
    }
}
