//! A question of the index: read the log on, then follow the least bound.

use super::block::{NOBODY, lowest, score_bound};
use super::cells::{Cells, block_of, lane_of};
use super::memo::{Admission, Memo, key};
use super::minima::NONE;
use super::{MEMOS_BYTES_MAX, Mark, NodeIndex};
use crate::ids::{ClassId, NodeId};
use crate::round::feasible::{contract_refusal, downtime_refusal, kind_refusal, site_refusal};
use crate::round::score::score_left;
use crate::spec::Needs;
use crate::time::TimeMs;
use crate::world::World;

/// What the World says of cells, at a time.
struct Gate<'a> {
    world: &'a World,
    now: TimeMs,
    sites: &'a [Mark],
}

impl Admission for Gate<'_> {
    fn is_kind(&self, cells: &Cells, cell: u32, needs: &Needs) -> bool {
        let site = self.world.site(cells.cells[cell as usize].site);
        cells.any_node(cell).is_some_and(|node| {
            let report = &self.world.node(NodeId(node)).report;
            kind_refusal(needs, site, report).is_none() && !needs.avoided.site(&site.spec.name)
        })
    }

    fn is_admitted(&self, cells: &Cells, cell: u32, needs: &Needs) -> bool {
        let site = self.world.site(cells.cells[cell as usize].site);
        if site_refusal(self.now, site).is_some() {
            return false;
        }
        if !cells.cells[cell as usize].timed {
            return true;
        }
        // All nodes of such a cell have one speed and the same downtimes.
        cells.any_node(cell).is_some_and(|node| {
            let taken = self.sites[site.id.index()].taken_micro_eur;
            let node = self.world.node(NodeId(node));
            contract_refusal(self.world, self.now, taken, needs, node).is_none()
                && downtime_refusal(self.world, self.now, needs, node).is_none()
        })
    }
}

impl NodeIndex {
    pub(super) fn search(&mut self, world: &World, now: TimeMs, class: ClassId) -> Option<NodeId> {
        let mut memo = self.take_memo(world, class);
        let gate = Gate {
            world,
            now,
            sites: &self.sites,
        };
        let (cells, log) = (&mut self.cells, &self.log);
        if !memo.catch_up(cells, log, self.weights, &gate) {
            memo.scan(cells, log, self.weights, &gate);
        }
        let found = loop {
            let Some((bound, block)) = memo.least() else {
                break None;
            };
            let cell = self.cells.blocks[block].cell;
            if !memo.is_open(&self.cells, cell, &gate) {
                memo.set(block, None);
                continue;
            }
            // The true amounts are far away in memory: they are looked at only where
            // the columns do not raise the bound.
            if self.may_be(&mut memo, bound, block) {
                let node = bound as u32;
                if self.key(world, &memo, node) == bound {
                    break Some(NodeId(node));
                }
            } else {
                let fresh = self.bound_of(&mut memo, block);
                if fresh.is_none_or(|fresh| fresh > bound) {
                    memo.set(block, fresh);
                    continue;
                }
            }
            let least = self.least_of(world, &mut memo, block);
            memo.set(block, least);
        };
        self.memos_bytes += memo.size_bytes();
        self.memos[class.index()] = Some(memo);
        found
    }

    /// A class's memo, to be put back; made if it has none for these needs.
    fn take_memo(&mut self, world: &World, class: ClassId) -> Box<Memo> {
        let needs = world.classes().needs(class);
        if class.index() >= self.memos.len() {
            self.memos.resize_with(class.index() + 1, || None);
        }
        if let Some(memo) = self.memos[class.index()].take() {
            self.memos_bytes -= memo.size_bytes();
            if memo.needs == *needs {
                return memo;
            }
        }
        if self.memos_bytes > MEMOS_BYTES_MAX {
            self.forget_half();
        }
        Box::new(Memo::new(needs, &self.cells.spread))
    }

    /// Forgets the half of the memos that was asked longest ago.
    fn forget_half(&mut self) {
        let memos = self.memos.iter().flatten();
        let mut positions: Vec<u64> = memos.map(|memo| memo.position).collect();
        positions.sort_unstable();
        let Some(middle) = positions.get(positions.len() / 2).copied() else {
            return;
        };
        self.memos.iter_mut().for_each(|memo| {
            memo.take_if(|memo| memo.position <= middle);
        });
        self.memos_bytes = self
            .memos
            .iter()
            .flatten()
            .map(|memo| memo.size_bytes())
            .sum();
    }

    /// The key of a node on its true amounts; [`NONE`] if it does not take the class.
    fn key(&self, world: &World, memo: &Memo, node: u32) -> u64 {
        let place = &self.places[node as usize];
        let block = &self.cells.blocks[block_of(place.seat)];
        let cell = &self.cells.cells[block.cell as usize];
        let shape = &self.cells.shapes[cell.shape as usize];
        let Some((need, kernel)) = shape.amounts(&memo.needs, self.cells.score_kernel) else {
            return NONE;
        };
        let fits = need.fits_in(&place.free) && need.fits_in(&place.capacity);
        if !fits || !block.is_open(lane_of(place.seat)) {
            return NONE;
        }
        if memo.node_by_node {
            let node = world.node(NodeId(node));
            let labels = &node.report.labels;
            let labelled = |(key, value): (&String, &String)| labels.get(key) == Some(value);
            let site = || world.site(node.site).spec.name.as_str();
            let avoided = &memo.needs.avoided;
            let failed = !avoided.nodes.is_empty() && avoided.node(site(), &node.report.name);
            if failed || !memo.needs.labels.iter().all(labelled) {
                return NONE;
            }
        }
        let left = place.free.minus(&need);
        let score = score_left(world.policy(), &place.capacity, &left, 0) as u32;
        key(score + cell.price + kernel, node)
    }

    /// True if by its columns a node's key may still be as low as a bound.
    fn may_be(&self, memo: &mut Memo, bound: u64, id: usize) -> bool {
        let seat = self.places[bound as u32 as usize].seat;
        if block_of(seat) != id {
            return false;
        }
        let block = &self.cells.blocks[id];
        let cell = &self.cells.cells[block.cell as usize];
        let terms = memo.terms(&self.cells, cell.shape);
        let shape = &self.cells.shapes[cell.shape as usize];
        let score = score_bound(&block.room(lane_of(seat)), shape, &terms, self.weights);
        score.is_some_and(|score| u64::from(score + cell.price + terms.kernel) <= bound >> 32)
    }

    /// The least bound of a block's nodes by its columns.
    fn bound_of(&self, memo: &mut Memo, id: usize) -> Option<u64> {
        let block = &self.cells.blocks[id];
        let cell = &self.cells.cells[block.cell as usize];
        let terms = memo.terms(&self.cells, cell.shape);
        let shape = &self.cells.shapes[cell.shape as usize];
        let scores = block.scores(shape, &terms, self.weights);
        let low = lowest(&scores);
        let mut node = u32::MAX;
        for (score, other) in scores.iter().zip(&block.nodes) {
            node = node.min(if *score == low { *other } else { u32::MAX });
        }
        (low != i32::MAX).then(|| key(low as u32 + cell.price + terms.kernel, node))
    }

    /// The least key of a block's nodes.
    fn least_of(&self, world: &World, memo: &mut Memo, id: usize) -> Option<u64> {
        let block = &self.cells.blocks[id];
        let cell = &self.cells.cells[block.cell as usize];
        let shape = &self.cells.shapes[cell.shape as usize];
        let terms = memo.terms(&self.cells, cell.shape);
        let scores = block.scores(shape, &terms, self.weights);
        let low = lowest(&scores);
        if low == i32::MAX {
            return None;
        }
        let extra = cell.price + terms.kernel;
        debug_assert!(
            block.nodes.iter().zip(&scores).all(|(node, score)| {
                let exact = (*node != NOBODY).then(|| self.key(world, memo, *node));
                exact.is_none_or(|exact| {
                    exact == NONE || exact >> 32 >= u64::from(*score as u32 + extra)
                })
            }),
            "a score below its bound"
        );
        // The lowest bound first: it is mostly exact, and no other need be looked at.
        let first = scores.iter().position(|score| *score == low)?;
        let mut least = self.key(world, memo, block.nodes[first]);
        for (lane, (score, node)) in scores.iter().zip(&block.nodes).enumerate() {
            let may = *score != i32::MAX && key(*score as u32 + extra, *node) < least;
            if may && lane != first {
                least = least.min(self.key(world, memo, *node));
            }
        }
        (least != NONE).then_some(least)
    }
}
