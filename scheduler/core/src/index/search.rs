//! A question of the index: read the log on, then follow the least bound.

use super::block::LANES;
use super::cells::{Cells, block_of, lane_of};
use super::memo::{Admission, Memo, key};
use super::minima::NONE;
use super::{MEMOS_BYTES_MAX, Mark, NodeIndex};
use crate::ids::{ClassId, NodeId};
use crate::round::feasible::{contract_refusal, kind_refusal, site_refusal};
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
            kind_refusal(needs, site, report).is_none()
        })
    }

    fn is_admitted(&self, cells: &Cells, cell: u32, needs: &Needs) -> bool {
        let site = self.world.site(cells.cells[cell as usize].site);
        if site_refusal(self.now, site).is_some() {
            return false;
        }
        if !cells.cells[cell as usize].leased {
            return true;
        }
        // All nodes of a leased cell have one speed.
        cells.any_node(cell).is_some_and(|node| {
            let taken = self.sites[site.id.index()].taken_micro_eur;
            let node = self.world.node(NodeId(node));
            contract_refusal(self.world, self.now, taken, needs, node).is_none()
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
            let node = bound as u32;
            let seat = self.places[node as usize].seat;
            if block_of(seat) == block && self.key(world, &memo, node) == bound {
                break Some(NodeId(node));
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
        let old = |memo: &Box<Memo>| memo.position <= middle;
        self.memos.iter_mut().for_each(|memo| {
            memo.take_if(|memo| old(memo));
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
        let need = &memo.needs.resources;
        let fits = need.fits_in(&place.free) && need.fits_in(&place.capacity);
        if !fits || !block.is_open(lane_of(place.seat)) {
            return NONE;
        }
        if memo.node_by_node {
            let labels = &world.node(NodeId(node)).report.labels;
            let labelled = |(key, value): (&String, &String)| labels.get(key) == Some(value);
            if !memo.needs.labels.iter().all(labelled) {
                return NONE;
            }
        }
        let left = place.free.minus(need);
        let score = score_left(world.policy(), &place.capacity, &left, 0) as u32;
        key(score + self.cells.cells[block.cell as usize].price, node)
    }

    /// The least key of a block's nodes.
    fn least_of(&self, world: &World, memo: &mut Memo, id: usize) -> Option<u64> {
        let block = &self.cells.blocks[id];
        let cell = &self.cells.cells[block.cell as usize];
        let shape = &self.cells.shapes[cell.shape as usize];
        let terms = memo.terms(&self.cells, cell.shape);
        let scores = block.scores(shape, &terms, self.weights);
        let bound = |lane: usize| match scores[lane] {
            i32::MAX => NONE,
            score => key(score as u32 + cell.price, block.nodes[lane]),
        };
        // The lowest bound first: it is mostly exact, and no other need be looked at.
        let lowest = super::block::lowest(&scores);
        let first = scores.iter().position(|score| *score == lowest)?;
        if lowest == i32::MAX {
            return None;
        }
        let mut least = self.key(world, memo, block.nodes[first]);
        for lane in (0..LANES).filter(|lane| *lane != first) {
            if bound(lane) < least {
                least = least.min(self.key(world, memo, block.nodes[lane]));
            }
        }
        (least != NONE).then_some(least)
    }
}
