//! When nodes will have room, by the walltime limits of what runs there: lower bounds
//! that spare a reservation the look at every node.
//!
//! For each node the earliest time at which 1, 2, 4, … cores are free is kept, and one gpu,
//! and for each [`BLOCK`] nodes the least of those. What asks for `c` cores cannot have
//! them before the time of the largest power of two that is no more than `c`; the exact
//! answer is the caller's. Bounds hold whatever a round gives away meanwhile, since that
//! only delays; what it takes away from others may make a node free sooner than its bound,
//! and is then found a round later.
//!
//! It is a cache of the World, not a part of it: left out when the World is written,
//! equal to every other, and built when first asked. What changed on a node is read
//! again at the next question.

use crate::ids::{NodeId, TaskId};
use crate::resources::{CPU, GPU, Resources};
use crate::round::feasible::latest_end;
use crate::site::Node;
use crate::time::TimeMs;
use crate::world::World;

/// Powers of two of cores, from 1 to 128, and one gpu.
const COLUMNS: usize = 9;
/// The column of one gpu.
const ONE_GPU: usize = 8;
/// Nodes in one block.
pub const BLOCK: usize = 64;
/// It is free now.
const NOW: TimeMs = TimeMs(i64::MIN);
/// It never will be.
const NEVER: TimeMs = TimeMs(i64::MAX);

type Row = [TimeMs; COLUMNS];

/// See the module.
#[derive(Debug, Default)]
pub struct Soonest {
    built: bool,
    rows: Vec<Row>,
    blocks: Vec<Row>,
    touched: Vec<NodeId>,
}

impl Soonest {
    /// What runs on a node, or the node itself, has changed.
    pub fn touch(&mut self, node: NodeId) {
        if self.touched.len() > self.rows.len() {
            // Nobody asks: it is built anew when somebody does.
            *self = Soonest::default();
        }
        if self.built {
            self.touched.push(node);
        }
    }

    /// Blocks of nodes by when one of them can have `need` at the earliest.
    pub fn blocks(&mut self, world: &World, need: &Resources) -> Vec<(TimeMs, usize)> {
        self.refresh(world);
        let bound = |(block, row): (usize, &Row)| (least(row, need), block);
        let mut blocks: Vec<(TimeMs, usize)> = self.blocks.iter().enumerate().map(bound).collect();
        blocks.retain(|(at, _)| *at != NEVER);
        blocks.sort_unstable();
        blocks
    }

    /// When a node can have `need` at the earliest.
    pub fn node(&self, node: NodeId, need: &Resources) -> TimeMs {
        least(&self.rows[node.index()], need)
    }

    fn refresh(&mut self, world: &World) {
        let nodes = world.nodes();
        if !self.built || nodes.len() < self.rows.len() {
            self.built = true;
            self.rows = nodes.iter().map(|node| row(world, node)).collect();
            self.touched.clear();
            self.blocks = self.rows.chunks(BLOCK).map(least_of).collect();
            return;
        }
        let mut touched = std::mem::take(&mut self.touched);
        touched.extend((self.rows.len()..nodes.len()).map(|id| NodeId(id as u32)));
        touched.sort_unstable();
        touched.dedup();
        self.rows.resize(nodes.len(), [NEVER; COLUMNS]);
        self.blocks
            .resize(nodes.len().div_ceil(BLOCK), [NEVER; COLUMNS]);
        for id in &touched {
            self.rows[id.index()] = row(world, world.node(*id));
        }
        touched.dedup_by_key(|id| id.index() / BLOCK);
        for id in touched {
            let block = id.index() / BLOCK;
            let end = self.rows.len().min((block + 1) * BLOCK);
            self.blocks[block] = least_of(&self.rows[block * BLOCK..end]);
        }
    }
}

fn least(row: &Row, need: &Resources) -> TimeMs {
    let cores = need[CPU] / 1_000;
    let cpu = match cores {
        ..1 => NOW,
        cores => row[(cores.ilog2() as usize).min(ONE_GPU - 1)],
    };
    if need[GPU] > 0 {
        cpu.max(row[ONE_GPU])
    } else {
        cpu
    }
}

fn least_of(rows: &[Row]) -> Row {
    let least = |column: usize| rows.iter().map(|row| row[column]).min();
    std::array::from_fn(|column| least(column).unwrap_or(NEVER))
}

fn row(world: &World, node: &Node) -> Row {
    let mut row = [NEVER; COLUMNS];
    if !node.is_known() {
        return row;
    }
    let mut free = node.free();
    raise(&mut row, &free, NOW);
    for (end, resources) in ends(world, node) {
        free += &resources;
        raise(&mut row, &free, end);
    }
    row
}

fn raise(row: &mut Row, free: &Resources, at: TimeMs) {
    let cores = free[CPU] / 1_000;
    for (column, time) in row.iter_mut().enumerate() {
        let there = if column == ONE_GPU {
            free[GPU] > 0
        } else {
            cores >= 1 << column
        };
        if there && *time == NEVER {
            *time = at;
        }
    }
}

/// What runs on a node, by when it ends at the latest; what was told to end may be gone
/// at once.
fn ends(world: &World, node: &Node) -> Vec<(TimeMs, Resources)> {
    let end = |task: &TaskId| {
        let end = latest_end(world, node, task).unwrap_or(NOW);
        (end, world.takes_up(task))
    };
    let mut ends: Vec<(TimeMs, Resources)> = node.tasks.iter().map(end).collect();
    ends.sort_unstable_by_key(|(end, _)| *end);
    ends
}

/// A clone builds its own when it is asked.
impl Clone for Soonest {
    fn clone(&self) -> Self {
        Soonest::default()
    }
}

/// A cache says nothing of its own.
impl PartialEq for Soonest {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Soonest {}
