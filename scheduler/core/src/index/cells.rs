//! Which nodes are alike: cells, their shapes and their blocks.
//!
//! A cell is the nodes of one site with the same engine, labels, taints, runtimes and nearly
//! the same capacity, where work asks to be kept apart also the same use of their kernels;
//! at a leased site, or where there are declared downtimes, also of the same speed, which
//! says when a task ends, and with the same downtimes. Labels that tell most nodes apart (a host name) would
//! make a cell of every node: such keys are *spread*, left out of the cells and
//! looked up node by node for the few classes that ask for them.
//!
//! A cell's id is not used again; whoever owns the cells builds them anew when
//! many have died. Blocks are used again: every node that is seated is logged, so a
//! bound from a block's earlier life is at worst too low.

use super::block::{Block, LANES, NOBODY, WIDTH_MAX};
use super::shape::Shape;
use crate::ids::SiteId;
use crate::isolation::{Runtime, Tenancy};
use crate::resources::Resources;
use crate::site::NodeReport;
use crate::spec::{Coe, Taint};
use crate::time::TimeMs;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that are alike.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) site: SiteId,
    pub(super) shape: u32,
    /// The site has a contract, or its nodes have downtimes: it matters when a task ends.
    pub(super) timed: bool,
    /// What the site's price adds to a score.
    pub(super) price: u32,
    key: Key,
    blocks: Vec<u32>,
    /// Seats nobody has, the next one last.
    vacant: Vec<u32>,
    nodes: u32,
}

impl Cell {
    /// Ids of its blocks; none once it is dead.
    pub(super) fn blocks(&self) -> &[u32] {
        &self.blocks
    }
}

/// What makes nodes alike, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    site: SiteId,
    /// Counts how often the site's price changed.
    edition: u32,
    speed_milli: i64,
    /// Number of the downtimes of its nodes.
    windows: u32,
    kind: u32,
    shape: u32,
}

/// What a node's site is to its cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) site: SiteId,
    pub(super) edition: u32,
    pub(super) timed: bool,
    /// As [`Cells::windows`] says.
    pub(super) windows: u32,
    pub(super) price: u32,
}

/// Capacity, runtimes, who uses the kernel, and whether it is known which that is.
type ShapeKey = (Resources, Vec<Runtime>, Option<Tenancy>, bool);

type Kinds = BTreeMap<Coe, BTreeMap<BTreeMap<String, String>, BTreeMap<BTreeSet<Taint>, u32>>>;

/// All cells.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub(super) cells: Vec<Cell>,
    pub(super) shapes: Vec<Shape>,
    pub(super) blocks: Vec<Block>,
    by_key: BTreeMap<Key, u32>,
    shape_by_key: BTreeMap<ShapeKey, u32>,
    kinds: Kinds,
    kinds_count: u32,
    free_blocks: Vec<u32>,
    windows: BTreeMap<Vec<(TimeMs, TimeMs)>, u32>,
    /// Keys of labels that tell most nodes apart.
    pub(super) spread: BTreeSet<String>,
    /// The policy's weight of kernels.
    pub(super) score_kernel: i64,
    /// Cells that had no node any more.
    pub(super) dead: usize,
}

impl Cells {
    /// No cells; these labels are looked up node by node, and kernels weigh so much.
    pub(super) fn new(spread: BTreeSet<String>, score_kernel: i64) -> Self {
        Cells {
            spread,
            score_kernel,
            ..Default::default()
        }
    }

    /// The cell of a node, made if there is none.
    /// `tenancy` says who uses the node's kernel, where that matters.
    pub(super) fn find(
        &mut self,
        standing: Standing,
        report: &NodeReport,
        tenancy: Option<Tenancy>,
    ) -> u32 {
        let shape = self.shape(report, tenancy);
        let key = Key {
            site: standing.site,
            edition: standing.edition,
            windows: standing.windows,
            speed_milli: if standing.timed {
                report.speed_milli
            } else {
                0
            },
            kind: self.kind(report),
            shape,
        };
        if let Some(cell) = self.by_key.get(&key) {
            return *cell;
        }
        let cell = self.cells.len() as u32;
        self.by_key.insert(key, cell);
        self.cells.push(Cell {
            site: standing.site,
            shape,
            timed: standing.timed,
            price: standing.price,
            key,
            blocks: Vec::new(),
            vacant: Vec::new(),
            nodes: 0,
        });
        cell
    }

    /// The number of these downtimes; 0 for none.
    pub(super) fn windows(&mut self, windows: Vec<(TimeMs, TimeMs)>) -> u32 {
        if windows.is_empty() {
            return 0;
        }
        let next = self.windows.len() as u32 + 1;
        *self.windows.entry(windows).or_insert(next)
    }

    /// Gives a node a seat: its place among all lanes.
    pub(super) fn seat(&mut self, cell: u32, node: u32) -> u32 {
        let (at, shape) = (cell as usize, self.cells[cell as usize].shape as usize);
        if self.cells[at].vacant.is_empty() {
            let block = Block::new(cell, self.shapes[shape].width());
            let id = match self.free_blocks.pop() {
                Some(id) => {
                    self.blocks[id as usize] = block;
                    id
                }
                None => {
                    self.blocks.push(block);
                    self.blocks.len() as u32 - 1
                }
            };
            let first = id * LANES as u32;
            self.cells[at].blocks.push(id);
            self.cells[at].vacant = (first..first + LANES as u32).rev().collect();
        }
        let cell = &mut self.cells[at];
        let seat = cell
            .vacant
            .pop()
            .expect("a block of vacant seats was added");
        cell.nodes += 1;
        self.blocks[block_of(seat)].seat(lane_of(seat), node);
        seat
    }

    /// Empties a seat.
    pub(super) fn vacate(&mut self, seat: u32) {
        let block = &mut self.blocks[block_of(seat)];
        block.vacate(lane_of(seat));
        let cell = &mut self.cells[block.cell as usize];
        cell.vacant.push(seat);
        cell.nodes -= 1;
        if cell.nodes == 0 {
            self.dead += 1;
            self.by_key.remove(&cell.key);
            self.free_blocks.append(&mut cell.blocks);
            cell.vacant = Vec::new();
        }
    }

    /// A node of a cell that is not dead.
    pub(super) fn any_node(&self, cell: u32) -> Option<u32> {
        let nodes = self.cells[cell as usize].blocks.iter();
        let mut nodes = nodes.flat_map(|block| self.blocks[*block as usize].nodes);
        nodes.find(|node| *node != NOBODY)
    }

    /// A node's room in the columns of its block.
    pub(super) fn room(
        &self,
        cell: u32,
        capacity: &Resources,
        free: &Resources,
    ) -> [u16; WIDTH_MAX] {
        self.shapes[self.cells[cell as usize].shape as usize].room(capacity, free)
    }

    /// How many kinds of nodes there are, by engine, labels and taints.
    pub(super) fn kinds(&self) -> usize {
        self.kinds_count as usize
    }

    /// Bytes held, those of labels apart.
    pub(super) fn size_bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(Block::size_bytes).sum();
        let seats = |cell: &Cell| 4 * (cell.blocks.capacity() + cell.vacant.capacity());
        let cells: usize = self.cells.iter().map(seats).sum();
        blocks + cells + self.cells.capacity() * size_of::<Cell>()
    }

    fn shape(&mut self, report: &NodeReport, tenancy: Option<Tenancy>) -> u32 {
        let capacity = &report.capacity;
        let known = !report.kernel.is_empty();
        let key = (
            Shape::key(capacity),
            report.runtimes.clone(),
            tenancy,
            known,
        );
        if let Some(id) = self.shape_by_key.get(&key) {
            self.shapes[*id as usize].widen(capacity);
            return *id;
        }
        let id = self.shapes.len() as u32;
        let runtimes = report.runtimes.clone();
        self.shapes.push(Shape::new(capacity, runtimes, tenancy));
        self.shape_by_key.insert(key, id);
        id
    }

    fn kind(&mut self, report: &NodeReport) -> u32 {
        if self.spread.is_empty() {
            return self.kind_of(report.coe, &report.labels, &report.taints);
        }
        let shared = |(key, _): &(&String, &String)| !self.spread.contains(*key);
        let labels = report.labels.iter().filter(shared);
        let labels = labels.map(|(key, value)| (key.clone(), value.clone()));
        let labels: BTreeMap<String, String> = labels.collect();
        self.kind_of(report.coe, &labels, &report.taints)
    }

    fn kind_of(
        &mut self,
        coe: Coe,
        labels: &BTreeMap<String, String>,
        taints: &BTreeSet<Taint>,
    ) -> u32 {
        let by_labels = self.kinds.get(&coe);
        let by_taints = by_labels.and_then(|by_labels| by_labels.get(labels));
        if let Some(kind) = by_taints.and_then(|by_taints| by_taints.get(taints)) {
            return *kind;
        }
        let by_labels = self.kinds.entry(coe).or_default();
        let by_taints = by_labels.entry(labels.clone()).or_default();
        by_taints.insert(taints.clone(), self.kinds_count);
        self.kinds_count += 1;
        self.kinds_count - 1
    }
}

/// The block of a seat.
#[inline]
pub(super) fn block_of(seat: u32) -> usize {
    seat as usize / LANES
}

/// The lane of a seat in its block.
#[inline]
pub(super) fn lane_of(seat: u32) -> usize {
    seat as usize % LANES
}
