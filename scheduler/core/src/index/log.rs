//! What changed, in order: each class reads on from where it stopped.
//!
//! An entry carries all that a reader needs. A newer entry about the same node
//! strikes the older one out: what it says is no longer so. The log is bounded;
//! a reader whose position was dropped starts over with a scan.

use super::block::WIDTH_MAX;
use std::collections::VecDeque;

/// One change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry {
    /// Superseded.
    Struck,
    /// A node's room is this now.
    Node {
        /// Its id.
        node: u32,
        /// Where it stands.
        block: u32,
        /// Of the block.
        cell: u32,
        /// Of the cell.
        shape: u32,
        /// Its columns.
        room: [u16; WIDTH_MAX],
    },
    /// A site takes what it refused before: opened, or more of its budget left.
    Site(u32),
}

/// The last changes, by position.
#[derive(Debug, Default)]
pub(super) struct Log {
    first: u64,
    entries: VecDeque<Entry>,
    entries_max: usize,
}

impl Log {
    /// An empty log behind `first` that keeps this many entries.
    pub(super) fn new(first: u64, entries_max: usize) -> Self {
        Log {
            first,
            entries: VecDeque::new(),
            entries_max,
        }
    }

    /// The position of the next entry.
    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Appends; returns the entry's position.
    pub(super) fn push(&mut self, entry: Entry) -> u64 {
        if self.entries.len() >= self.entries_max {
            // By a quarter at a time, so that few readers start over for one entry.
            let dropped = self.entries_max.div_ceil(4).min(self.entries.len());
            self.entries.drain(..dropped);
            self.first += dropped as u64;
        }
        self.entries.push_back(entry);
        self.end() - 1
    }

    /// Keeps at most this many entries from now on.
    #[cfg(test)]
    pub(super) fn cut(&mut self, entries_max: usize) {
        self.entries_max = entries_max;
        let dropped = self.entries.len().saturating_sub(entries_max);
        self.entries.drain(..dropped);
        self.first += dropped as u64;
    }

    /// Strikes an entry out, if it is still there.
    pub(super) fn strike(&mut self, position: u64) {
        if let Some(at) = position.checked_sub(self.first)
            && let Some(entry) = self.entries.get_mut(at as usize)
        {
            *entry = Entry::Struck;
        }
    }

    /// Entries from a position on; `None` where some were dropped, or it is none.
    pub(super) fn since(&self, position: u64) -> Option<impl Iterator<Item = &Entry>> {
        let at = position.checked_sub(self.first)? as usize;
        (at <= self.entries.len()).then(|| self.entries.range(at..))
    }

    /// Bytes held.
    pub(super) fn size_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}
