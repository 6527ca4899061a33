//! Nodes of one cell in blocks of 64, their room in columns, and the bounds of their scores.
//!
//! Room is kept in 1/32768 of a node's capacity, rounded down. A class's need is
//! known in the same unit between two bounds, since capacities in a cell differ a
//! little; so a node's score is known from below, mostly exactly. What the
//! columns let pass is checked on the true amounts by whoever asks.

use super::shape::{Shape, Terms};

/// Nodes of a block.
pub(super) const LANES: usize = 64;
/// Columns that a shape can have.
pub(super) const WIDTH_MAX: usize = 8;
/// The whole capacity in a column.
pub(super) const FULL: i64 = 1 << 15;
/// From a column's unit to the score's 1/1024.
const SHIFT: u32 = 5;
/// A lane's node takes nothing, or there is none.
const SHUT: u16 = u16::MAX;
/// No node in a lane.
pub(super) const NOBODY: u32 = u32::MAX;

pub(super) type Column = [u16; LANES];

/// What the parts of a score weigh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weights {
    /// Of room stranded.
    pub(super) stranded: i32,
    /// Of cpu and memory left.
    pub(super) fill: i32,
}

/// Up to 64 nodes of a cell.
#[derive(Debug)]
pub(super) struct Block {
    /// Whose.
    pub(super) cell: u32,
    /// Ids by lane.
    pub(super) nodes: [u32; LANES],
    /// No node has a lower id.
    lowest: u32,
    /// No node has more in any column.
    most: [u16; WIDTH_MAX],
    /// A node had `most` and has less now.
    most_stale: bool,
    shut: Column,
    columns: Vec<Column>,
}

impl Block {
    /// An empty block with this many columns.
    pub(super) fn new(cell: u32, width: usize) -> Self {
        Block {
            cell,
            nodes: [NOBODY; LANES],
            lowest: NOBODY,
            most: [0; WIDTH_MAX],
            most_stale: false,
            shut: [SHUT; LANES],
            columns: vec![[0; LANES]; width],
        }
    }

    /// Puts a node into a lane; it takes nothing before it is opened.
    pub(super) fn seat(&mut self, lane: usize, node: u32) {
        self.nodes[lane] = node;
        self.lowest = self.lowest.min(node);
    }

    /// Empties a lane.
    pub(super) fn vacate(&mut self, lane: usize) {
        self.nodes[lane] = NOBODY;
        self.shut[lane] = SHUT;
        self.most_stale = true;
        self.columns.iter_mut().for_each(|column| column[lane] = 0);
        let lowest = self.nodes.iter().copied().min();
        self.lowest = lowest.unwrap_or(NOBODY);
    }

    /// A lane's room.
    pub(super) fn room(&self, lane: usize) -> [u16; WIDTH_MAX] {
        let mut room = [0; WIDTH_MAX];
        for (room, column) in room.iter_mut().zip(&self.columns) {
            *room = column[lane];
        }
        room
    }

    /// Lets a lane be found, or not.
    pub(super) fn set_open(&mut self, lane: usize, open: bool) {
        self.shut[lane] = if open { 0 } else { SHUT };
    }

    /// True if a lane can be found.
    pub(super) fn is_open(&self, lane: usize) -> bool {
        self.shut[lane] == 0
    }

    /// Sets a lane's room.
    pub(super) fn set_room(&mut self, lane: usize, room: &[u16; WIDTH_MAX]) {
        for ((column, most), room) in self.columns.iter_mut().zip(&mut self.most).zip(room) {
            self.most_stale |= column[lane] == *most && *room < *most;
            *most = (*most).max(*room);
            column[lane] = *room;
        }
    }

    /// A lower bound of the block's key for a class: its score, then the node's id.
    pub(super) fn bound(
        &mut self,
        shape: &Shape,
        terms: &Terms,
        weights: Weights,
    ) -> Option<(u32, u32)> {
        if self.most_stale {
            for (most, column) in self.most.iter_mut().zip(&self.columns) {
                *most = column.iter().fold(0, |most, room| most.max(*room));
            }
            self.most_stale = false;
        }
        if (0..shape.width()).any(|k| self.most[k] < terms.least[k]) {
            return None;
        }
        let score = lowest(&self.scores(shape, terms, weights));
        (score != i32::MAX).then_some((score as u32, self.lowest))
    }

    /// Lower bounds of the scores by lane; `i32::MAX` where nothing fits.
    pub(super) fn scores(&self, shape: &Shape, terms: &Terms, weights: Weights) -> [i32; LANES] {
        match shape.scored() {
            0 => self.scores_of::<0>(shape, terms, weights),
            1 => self.scores_of::<1>(shape, terms, weights),
            2 => self.scores_of::<2>(shape, terms, weights),
            3 => self.scores_of::<3>(shape, terms, weights),
            4 => self.scores_of::<4>(shape, terms, weights),
            5 => self.scores_of::<5>(shape, terms, weights),
            6 => self.scores_of::<6>(shape, terms, weights),
            _ => self.scores_of::<7>(shape, terms, weights),
        }
    }

    /// Plain arithmetic over arrays, which the compiler turns into vectors.
    fn scores_of<const S: usize>(
        &self,
        shape: &Shape,
        terms: &Terms,
        weights: Weights,
    ) -> [i32; LANES] {
        let scored: [&Column; S] = std::array::from_fn(|k| &self.columns[k]);
        let least: [u16; S] = std::array::from_fn(|k| terms.least[k]);
        let most: [u16; S] = std::array::from_fn(|k| terms.most[k]);
        let fills: [u16; S] =
            std::array::from_fn(|k| if k < shape.filled() { u16::MAX } else { 0 });
        // Disk fits or not, and does not count.
        let (disk, disk_least) = match self.columns.get(S) {
            Some(disk) => (disk, terms.least[S]),
            None => (&self.shut, 0),
        };
        let mut scores = [0; LANES];
        for lane in 0..LANES {
            let mut over = self.shut[lane] | disk_least.saturating_sub(disk[lane]);
            let (mut sum, mut lowest, mut fill) = (0u16, 1024i16, 0u16);
            for k in 0..S {
                let room = scored[k][lane];
                over |= least[k].saturating_sub(room);
                let low = room.saturating_sub(most[k]) >> SHIFT;
                let high = (room.saturating_sub(least[k]) >> SHIFT) as i16;
                sum += low;
                lowest = lowest.min(high);
                fill += low & fills[k];
            }
            let stranded = (sum as i16 - S as i16 * lowest).max(0);
            let score =
                weights.stranded * i32::from(stranded) + weights.fill * i32::from(fill as i16);
            scores[lane] = if over == 0 { score } else { i32::MAX };
        }
        scores
    }

    /// Bytes held.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Block>() + self.columns.capacity() * size_of::<Column>()
    }
}

/// The same for one node, from its columns.
#[inline]
pub(super) fn score_bound(
    room: &[u16; WIDTH_MAX],
    shape: &Shape,
    terms: &Terms,
    weights: Weights,
) -> Option<u32> {
    let width = shape.width();
    if room[..width]
        .iter()
        .zip(&terms.least)
        .any(|(room, least)| room < least)
    {
        return None;
    }
    let (mut sum, mut lowest, mut fill) = (0, 1024, 0);
    let scored = shape.scored();
    for (k, room) in room[..scored].iter().enumerate() {
        let low = i32::from(room.saturating_sub(terms.most[k]) >> SHIFT);
        let high = i32::from(room.saturating_sub(terms.least[k]) >> SHIFT);
        sum += low;
        lowest = lowest.min(high);
        if k < shape.filled() {
            fill += low;
        }
    }
    let stranded = (sum - scored as i32 * lowest).max(0);
    Some((weights.stranded * stranded + weights.fill * fill) as u32)
}

/// The lowest of some scores.
#[inline]
pub(super) fn lowest<const N: usize>(scores: &[i32; N]) -> i32 {
    scores
        .iter()
        .fold(i32::MAX, |lowest, score| lowest.min(*score))
}
