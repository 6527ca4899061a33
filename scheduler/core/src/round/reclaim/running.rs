//! What runs, as the units that preemption takes whole, lined up by what their loss costs,
//! and which of them are beyond the guarantees of their queues.
//!
//! It is made once a round, when the first claim asks; a claim then walks lines from the
//! cheapest on, and looks at few nodes.

use super::Right;
use crate::ids::{JobId, NodeId, QueueId, TaskId};
use crate::ranges::RangeSet;
use crate::resources::{CPU, DIMENSIONS, Resources};
use crate::round::barrier::Work;
use crate::round::order::{Order, is_about};
use crate::round::share::fine;
use crate::spec::PriorityClass;
use crate::time::TimeMs;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// More than all lost work there can be.
const CLASS_BITS: u32 = 100;

/// What runs, as units that are preempted whole.
pub struct Running {
    pub units: Vec<Unit>,
    /// Of each node those that may be preempted, by what their loss costs.
    on_node: BTreeMap<NodeId, Vec<usize>>,
    /// The same of each leaf and class.
    lines: BTreeMap<(QueueId, PriorityClass), Vec<usize>>,
    /// Nodes with tasks that were told to end.
    pub stopping: BTreeSet<NodeId>,
}

/// A task, or a gang.
pub struct Unit {
    pub tasks: Tasks,
    pub each: Resources,
    /// What its tasks take up on their nodes besides; empty where none does.
    overheads: Vec<Resources>,
    pub work: Work,
    pub class: PriorityClass,
    /// It may be preempted, has had its place for long enough, and this round has not
    /// preempted it.
    pub open: bool,
    /// Core-milliseconds that would be lost, in thousandths.
    lost: i128,
    /// A bit for each queue from the leaf up: the unit is beyond its guarantee.
    beyond: u32,
}

/// The tasks of a unit and where they are; of one there is no list to keep.
pub enum Tasks {
    One((TaskId, NodeId)),
    Gang(Vec<(TaskId, NodeId)>),
}

impl Tasks {
    pub fn all(&self) -> &[(TaskId, NodeId)] {
        match self {
            Tasks::One(task) => std::slice::from_ref(task),
            Tasks::Gang(tasks) => tasks,
        }
    }
}

impl Running {
    /// All that runs, in the order in which it started.
    pub fn new(world: &World, order: &Order<'_>, now: TimeMs) -> Self {
        let mut running = Running {
            units: Vec::new(),
            on_node: BTreeMap::new(),
            lines: BTreeMap::new(),
            stopping: BTreeSet::new(),
        };
        let mut starts = running.starts(world);
        starts.sort_unstable();
        let mut sums = vec![Resources::ZERO; world.queues().len()];
        for (granted, id, single) in starts {
            let unit = unit(world, order, now, (granted, id, single), &mut sums);
            running.units.push(unit);
        }
        running.line_up();
        running
    }

    /// Gangs that hold their places (`None`) and all other tasks, by when they started.
    fn starts(&mut self, world: &World) -> Vec<(TimeMs, JobId, Option<u32>)> {
        let mut starts = Vec::new();
        let jobs = world.jobs().values();
        for job in jobs.filter(|job| !job.tasks.active.is_empty()) {
            let mut gang = &RangeSet::default();
            if job.tasks.gang_holds() {
                gang = &*job.tasks.gang;
            }
            if let Some(first) = gang.first() {
                starts.push((job.tasks.active[&first].granted, job.id, None));
            }
            for (index, active) in &job.tasks.active {
                if active.is_stopping() {
                    self.stopping.insert(active.node);
                } else if !gang.contains(*index) {
                    starts.push((active.granted, job.id, Some(*index)));
                }
            }
        }
        starts
    }

    fn line_up(&mut self) {
        for (position, unit) in self.units.iter().enumerate().filter(|(_, unit)| unit.open) {
            let line = self.lines.entry((unit.work.leaf, unit.class));
            line.or_default().push(position);
            for (_, node) in unit.tasks.all() {
                let here = self.on_node.entry(*node).or_default();
                if here.last() != Some(&position) {
                    here.push(position);
                }
            }
        }
        let units = &self.units;
        let lines = self.lines.values_mut().chain(self.on_node.values_mut());
        lines.for_each(|line| {
            line.sort_unstable_by_key(|unit| (units[*unit].lost, std::cmp::Reverse(*unit)));
        });
    }

    /// Leaves and classes with units that may be preempted, and those, the cheapest first.
    pub fn lines(&self) -> impl Iterator<Item = (QueueId, PriorityClass, &[usize])> {
        let lines = self.lines.iter();
        lines.map(|((leaf, class), units)| (*leaf, *class, units.as_slice()))
    }

    /// The units on a node that may be preempted, the cheapest first.
    pub fn on_node(&self, node: NodeId) -> &[usize] {
        self.on_node.get(&node).map_or(&[], Vec::as_slice)
    }

    /// A unit was preempted.
    pub fn leave(&mut self, unit: usize) {
        let unit = &mut self.units[unit];
        unit.open = false;
        self.stopping
            .extend(unit.tasks.all().iter().map(|(_, node)| *node));
    }
}

fn unit(
    world: &World,
    order: &Order<'_>,
    now: TimeMs,
    (granted, id, single): (TimeMs, JobId, Option<u32>),
    sums: &mut [Resources],
) -> Unit {
    let job = &world.jobs()[&id];
    let place = |index: u32| (TaskId { job: id, index }, job.tasks.active[&index].node);
    let tasks = match single {
        Some(index) => Tasks::One(place(index)),
        None => Tasks::Gang(job.tasks.gang.iter().map(place).collect()),
    };
    // A gang's tasks are alike, but for the runtimes that their nodes offer.
    let each = *job.resources_of(tasks.all()[0].0.index);
    let active = |task: &TaskId| &job.tasks.active[&task.index];
    let apart = tasks
        .all()
        .iter()
        .any(|(task, _)| active(task).apart.is_some());
    let overhead = |(task, _): &(TaskId, NodeId)| active(task).takes_up(&Resources::ZERO);
    let overheads = match apart {
        true => tasks.all().iter().map(overhead).collect(),
        false => Vec::new(),
    };
    let cost = each.times(tasks.all().len() as i64);
    let pool = &order.shares().pool;
    let mut beyond = 0;
    for (level, queue) in world.queues().path(job.queue).enumerate() {
        let sum = &mut sums[queue.index()];
        *sum += &cost;
        let (sum, guarantee) = (fine(sum), &order.shares().of(queue).guarantee);
        let over = |d: usize| sum[d] > guarantee[d] && is_about(&cost, pool, d);
        beyond |= u32::from((0..DIMENSIONS).any(over)) << level;
    }
    Unit {
        each,
        overheads,
        work: Work {
            leaf: job.queue,
            cost,
        },
        class: job.spec.priority_class,
        open: job.spec.preemptible && now - granted >= world.policy().preempt_after_ms,
        lost: i128::from(cost[CPU]) * i128::from(now - granted),
        beyond,
        tasks,
    }
}

impl Unit {
    /// What its loss costs: between classes of a leaf the class decides.
    pub fn loss(&self, right: Right) -> i128 {
        match right {
            Right::A | Right::AOrB => self.lost,
            Right::Class(_) => self.lost + ((self.class.index() as i128) << CLASS_BITS),
        }
    }

    /// True if it is beyond the guarantees of so many queues from its leaf up.
    pub fn is_beyond(&self, levels: usize) -> bool {
        self.beyond.trailing_ones() as usize >= levels
    }

    /// What each of its nodes would have more without it.
    pub fn frees(&self) -> impl Iterator<Item = (NodeId, Resources)> {
        let tasks = self.tasks.all().iter().enumerate();
        tasks.map(|(position, (_, node))| match self.overheads.get(position) {
            None => (*node, self.each),
            Some(overhead) => (*node, self.each.plus(overhead)),
        })
    }

    /// What a node would have more without it.
    pub fn on(&self, node: NodeId) -> Resources {
        let here = self.frees().filter(|(at, _)| *at == node);
        here.fold(Resources::ZERO, |sum, (_, amount)| sum.plus(&amount))
    }
}
