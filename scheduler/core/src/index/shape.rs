//! Capacities that differ by little are one shape, and what a class needs of a
//! shape is known between two bounds.
//!
//! Only the bounds of scores come from shapes; what fits, and the score that
//! decides, are computed on each node's own amounts.

use super::block::{FULL, WIDTH_MAX};
use crate::isolation::{Runtime, Tenancy, choose};
use crate::resources::{CPU, DIMENSIONS, DISK, MEMORY, Resources};
use crate::round::score::kernel_score;
use crate::spec::Needs;

/// Leading binary digits of a capacity that shapes tell apart: 1 in 512 to 1,024.
const DIGITS: u32 = 10;

/// Nodes with nearly these capacities.
#[derive(Debug)]
pub(super) struct Shape {
    /// Resources that it has any of: first those that scores count, then disk.
    dimensions: [u8; WIDTH_MAX],
    width: u8,
    scored: u8,
    filled: u8,
    /// The least and the most that a node of it has had.
    least: Resources,
    most: Resources,
    /// Counts how often the two moved apart: terms from before are void.
    pub(super) edition: u32,
    runtimes: Vec<Runtime>,
    /// Who uses the kernels, where that matters.
    tenancy: Option<Tenancy>,
}

impl Shape {
    /// Of a capacity, with these runtimes and this use of the kernel.
    pub(super) fn new(
        capacity: &Resources,
        runtimes: Vec<Runtime>,
        tenancy: Option<Tenancy>,
    ) -> Self {
        let there = (0..DIMENSIONS).filter(|d| capacity[*d] > 0);
        let (mut dimensions, mut width) = ([0; WIDTH_MAX], 0);
        let counted = there.filter(|d| *d != DISK);
        let disk = (capacity[DISK] > 0).then_some(DISK);
        for d in counted.chain(disk) {
            dimensions[width] = d as u8;
            width += 1;
        }
        let filled = [CPU, MEMORY]
            .into_iter()
            .filter(|d| capacity[*d] > 0)
            .count();
        Shape {
            dimensions,
            width: width as u8,
            scored: width as u8 - u8::from(disk.is_some()),
            filled: filled as u8,
            least: *capacity,
            most: *capacity,
            edition: 0,
            runtimes,
            tenancy,
        }
    }

    /// What a task takes up on a node of this shape, and what that adds to the score by the
    /// policy's weight of kernels; `None` if it may not run there.
    pub(super) fn amounts(&self, needs: &Needs, score_kernel: i64) -> Option<(Resources, u32)> {
        let tenancy = self.tenancy.unwrap_or(Tenancy::Unused);
        let choice = choose(needs, &self.runtimes, tenancy).ok()?;
        let kernel = match self.tenancy {
            Some(tenancy) => kernel_score(score_kernel, choice.way, tenancy),
            None => 0,
        };
        Some((needs.resources.plus(&choice.overhead), kernel as u32))
    }

    /// What capacities of one shape have in common.
    pub(super) fn key(capacity: &Resources) -> Resources {
        Resources(capacity.0.map(|amount| {
            let digits = i64::BITS - amount.leading_zeros();
            let dropped = digits.saturating_sub(DIGITS);
            amount >> dropped << dropped
        }))
    }

    /// A node with this capacity belongs to it now.
    pub(super) fn widen(&mut self, capacity: &Resources) {
        let (least, most) = (self.least.smaller(capacity), self.most.larger(capacity));
        if (least, most) != (self.least, self.most) {
            (self.least, self.most) = (least, most);
            self.edition += 1;
        }
    }

    /// Columns that a block has.
    #[inline]
    pub(super) fn width(&self) -> usize {
        usize::from(self.width)
    }

    /// Columns that scores count: the first ones.
    #[inline]
    pub(super) fn scored(&self) -> usize {
        usize::from(self.scored)
    }

    /// Columns that are cpu or memory: the first ones.
    #[inline]
    pub(super) fn filled(&self) -> usize {
        usize::from(self.filled)
    }

    /// A node's room in columns; what is overdrawn is nothing.
    pub(super) fn room(&self, capacity: &Resources, free: &Resources) -> [u16; WIDTH_MAX] {
        let mut room = [0; WIDTH_MAX];
        for (room, d) in room.iter_mut().zip(&self.dimensions[..self.width()]) {
            let d = usize::from(*d);
            // At most FULL: what is held is not negative.
            *room = (free[d].max(0) as u64 * FULL as u64 / capacity[d] as u64) as u16;
        }
        room
    }
}

/// What a class needs of a shape, in columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Of the shape, when these were computed.
    pub(super) edition: u32,
    /// False where no node of the shape is large enough, even empty.
    pub(super) fits: bool,
    /// Of the largest node, rounded down.
    pub(super) least: [u16; WIDTH_MAX],
    /// Of the smallest node, rounded up.
    pub(super) most: [u16; WIDTH_MAX],
    /// What the use of the kernel adds to the score.
    pub(super) kernel: u32,
}

impl Terms {
    /// Of these needs.
    pub(super) fn new(shape: &Shape, needs: &Needs, score_kernel: i64) -> Self {
        let Some((needs, kernel)) = shape.amounts(needs, score_kernel) else {
            return Terms {
                edition: shape.edition,
                fits: false,
                least: [u16::MAX; WIDTH_MAX],
                most: [u16::MAX; WIDTH_MAX],
                kernel: 0,
            };
        };
        let (mut least, mut most) = ([0; WIDTH_MAX], [0; WIDTH_MAX]);
        let fits = needs.fits_in(&shape.most);
        for (k, d) in shape.dimensions[..shape.width()].iter().enumerate() {
            let d = usize::from(*d);
            let scaled = needs[d] as u64 * FULL as u64;
            let (large, small) = (shape.most[d] as u64, shape.least[d] as u64);
            least[k] = u16::try_from(scaled / large).unwrap_or(u16::MAX);
            most[k] = u16::try_from(scaled.div_ceil(small)).unwrap_or(u16::MAX);
        }
        Terms {
            edition: shape.edition,
            fits,
            least,
            most,
            kernel,
        }
    }
}
