//! What a class knows of the nodes: for every block a lower bound of its key.
//!
//! The key of a node is its score, then its id; the bound of a block is at most
//! the key of every node in it that would take the class, as of the position up
//! to which the log was read. Cells that the class's site refuses now, for a
//! reason that passes, are *parked*: without bounds until the site is logged.
//! Without any bound left, the class has failed, and stays so until the log says
//! something that it could use.

use super::block::{Weights, score_bound};
use super::cells::Cells;
use super::log::{Entry, Log};
use super::minima::{Minima, NONE};
use super::shape::Terms;
use crate::spec::Needs;
use std::collections::BTreeSet;

/// What is known of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    /// No node of it will ever do.
    Never,
    Open,
    Parked,
}

/// What a cell is to a class, as whoever knows the World says.
pub(super) trait Admission {
    /// True if the nodes of a cell are of a kind that would do.
    fn is_kind(&self, cells: &Cells, cell: u32, needs: &Needs) -> bool;
    /// True if the site of a cell lets the class in now.
    fn is_admitted(&self, cells: &Cells, cell: u32, needs: &Needs) -> bool;
}

/// One class's bounds.
#[derive(Debug)]
pub(super) struct Memo {
    /// Whose: an id of a class may come to stand for other needs.
    pub(super) needs: Needs,
    /// The needs without labels that cells do not know.
    kind: Needs,
    /// There are such labels, or nodes that are avoided: each node is to be looked at.
    pub(super) node_by_node: bool,
    /// The log was read up to here; `u64::MAX` before the first scan.
    pub(super) position: u64,
    known: Vec<Known>,
    parked: Vec<u32>,
    terms: Vec<Option<Terms>>,
    bounds: Minima,
}

/// A key of a score and a node.
#[inline]
pub(super) fn key(score: u32, node: u32) -> u64 {
    u64::from(score) << 32 | u64::from(node)
}

impl Memo {
    /// Nothing known yet: to be scanned. `spread` labels are not of the cells' kinds.
    pub(super) fn new(needs: &Needs, spread: &BTreeSet<String>) -> Self {
        let mut kind = needs.clone();
        kind.labels.retain(|key, _| !spread.contains(key));
        Memo {
            needs: needs.clone(),
            node_by_node: kind.labels.len() < needs.labels.len() || !needs.avoided.nodes.is_empty(),
            kind,
            position: u64::MAX,
            known: Vec::new(),
            parked: Vec::new(),
            terms: Vec::new(),
            bounds: Minima::default(),
        }
    }

    /// The least bound with its block.
    pub(super) fn least(&self) -> Option<(u64, usize)> {
        self.bounds.least()
    }

    /// Puts a block's bound right.
    pub(super) fn set(&mut self, block: usize, key: Option<u64>) {
        self.bounds.set(block, key.unwrap_or(NONE));
    }

    /// Starts over: bounds of all blocks as they are now.
    pub(super) fn scan(
        &mut self,
        cells: &mut Cells,
        log: &Log,
        weights: Weights,
        admission: &impl Admission,
    ) {
        self.bounds = Minima::new(cells.blocks.len());
        self.known.clear();
        self.parked.clear();
        self.position = log.end();
        for cell in 0..cells.cells.len() as u32 {
            if self.known(cells, cell, admission) != Known::Never {
                self.admit(cells, cell, weights, admission);
            }
        }
    }

    /// Reads the log on; false where it does not go back that far, or a scan is cheaper.
    pub(super) fn catch_up(
        &mut self,
        cells: &mut Cells,
        log: &Log,
        weights: Weights,
        admission: &impl Admission,
    ) -> bool {
        let Some(entries) = log.since(self.position) else {
            return false;
        };
        self.bounds.grow(cells.blocks.len());
        for entry in entries {
            match entry {
                Entry::Struck => {}
                Entry::Site(site) => self.unpark(cells, *site, weights, admission),
                Entry::Node {
                    node,
                    block,
                    cell,
                    shape,
                    room,
                } => {
                    if self.known(cells, *cell, admission) != Known::Open {
                        continue;
                    }
                    let terms = self.terms(cells, *shape);
                    if !terms.fits {
                        continue;
                    }
                    let shape = &cells.shapes[*shape as usize];
                    if let Some(score) = score_bound(room, shape, &terms, weights) {
                        let score = score + cells.cells[*cell as usize].price + terms.kernel;
                        self.bounds.lower(*block as usize, key(score, *node));
                    }
                }
            }
        }
        self.position = log.end();
        true
    }

    /// True if nodes of a cell may be found now; if not for a reason that passes, the
    /// cell is parked. A block may have a bound from when it was another cell's.
    pub(super) fn is_open(&mut self, cells: &Cells, cell: u32, admission: &impl Admission) -> bool {
        if self.known(cells, cell, admission) != Known::Open {
            return false;
        }
        let open = admission.is_admitted(cells, cell, &self.needs);
        if !open {
            self.park(cells, cell);
        }
        open
    }

    /// Takes the bounds of a cell away until its site is logged.
    fn park(&mut self, cells: &Cells, cell: u32) {
        self.known[cell as usize] = Known::Parked;
        self.parked.push(cell);
        for block in cells.cells[cell as usize].blocks() {
            self.bounds.set(*block as usize, NONE);
        }
    }

    /// What the class needs of a shape.
    pub(super) fn terms(&mut self, cells: &Cells, shape: u32) -> Terms {
        let at = shape as usize;
        if at >= self.terms.len() {
            self.terms.resize(cells.shapes.len(), None);
        }
        match self.terms[at] {
            Some(terms) if terms.edition == cells.shapes[at].edition => terms,
            _ => {
                let terms = Terms::new(&cells.shapes[at], &self.needs, cells.score_kernel);
                self.terms[at] = Some(terms);
                terms
            }
        }
    }

    /// Bytes held, those of the needs apart.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Memo>()
            + self.known.capacity()
            + self.parked.capacity() * 4
            + self.terms.capacity() * size_of::<Option<Terms>>()
            + self.bounds.size_bytes()
    }

    fn known(&mut self, cells: &Cells, cell: u32, admission: &impl Admission) -> Known {
        let at = cell as usize;
        if at >= self.known.len() {
            self.known.resize(cells.cells.len(), Known::Nothing);
        }
        if self.known[at] == Known::Nothing {
            let kind = admission.is_kind(cells, cell, &self.kind);
            self.known[at] = if kind { Known::Open } else { Known::Never };
        }
        self.known[at]
    }

    /// Computes the bounds of a cell, or parks it.
    fn admit(
        &mut self,
        cells: &mut Cells,
        cell: u32,
        weights: Weights,
        admission: &impl Admission,
    ) {
        if !admission.is_admitted(cells, cell, &self.needs) {
            self.park(cells, cell);
            return;
        }
        self.known[cell as usize] = Known::Open;
        let shape = cells.cells[cell as usize].shape;
        let terms = self.terms(cells, shape);
        if !terms.fits {
            return;
        }
        let (of, blocks) = (&cells.cells[cell as usize], &mut cells.blocks);
        let shape = &cells.shapes[shape as usize];
        for block in of.blocks() {
            let bound = blocks[*block as usize].bound(shape, &terms, weights);
            if let Some((score, node)) = bound {
                self.bounds
                    .set(*block as usize, key(score + of.price + terms.kernel, node));
            }
        }
    }

    fn unpark(
        &mut self,
        cells: &mut Cells,
        site: u32,
        weights: Weights,
        admission: &impl Admission,
    ) {
        let of_site = |cell: &u32| cells.cells[*cell as usize].site.0 == site;
        if !self.parked.iter().any(of_site) {
            return;
        }
        let (again, parked) = self.parked.drain(..).partition(of_site);
        self.parked = parked;
        for cell in again {
            self.admit(cells, cell, weights, admission);
        }
    }
}
