//! A set of array indexes kept as ranges, so that an array of a million tasks
//! in one state costs one entry.
//!
//! Invariant: the ranges are disjoint, not adjacent, and not empty.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A set of `u32`, as first → last (both included).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeSet {
    ranges: BTreeMap<u32, u32>,
    count: u64,
}

impl RangeSet {
    /// The set `0 .. count`.
    pub fn up_to(count: u32) -> Self {
        let mut set = RangeSet::default();
        if count > 0 {
            set.insert_range(0, count - 1);
        }
        set
    }

    /// Number of members.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// True if there is no member.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The smallest member.
    pub fn first(&self) -> Option<u32> {
        self.ranges.keys().next().copied()
    }

    /// The smallest member that is `from` or larger.
    pub fn first_from(&self, from: u32) -> Option<u32> {
        if let Some((_, last)) = self.ranges.range(..=from).next_back()
            && *last >= from
        {
            return Some(from);
        }
        self.ranges.range(from..).next().map(|(first, _)| *first)
    }

    /// True if `index` is a member.
    pub fn contains(&self, index: u32) -> bool {
        self.ranges
            .range(..=index)
            .next_back()
            .is_some_and(|(_, last)| *last >= index)
    }

    /// The ranges in rising order, as (first, last).
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }

    /// All members in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges().flat_map(|(first, last)| first..=last)
    }

    /// Adds one member; false if it was there.
    pub fn insert(&mut self, index: u32) -> bool {
        let before = self.count;
        self.insert_range(index, index);
        self.count > before
    }

    /// Removes one member; false if it was not there.
    pub fn remove(&mut self, index: u32) -> bool {
        let before = self.count;
        self.remove_range(index, index);
        self.count < before
    }

    /// Adds `first ..= last`.
    pub fn insert_range(&mut self, first: u32, last: u32) {
        let (mut first, mut last) = (first, last);
        // Ranges that overlap or touch are merged into the new one.
        let reach = last.saturating_add(1);
        while let Some((&start, &end)) = self.ranges.range(..=reach).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            first = first.min(start);
            last = last.max(end);
            self.ranges.remove(&start);
            self.count -= span(start, end);
        }
        self.ranges.insert(first, last);
        self.count += span(first, last);
    }

    /// Removes `first ..= last`.
    pub fn remove_range(&mut self, first: u32, last: u32) {
        while let Some((&start, &end)) = self.ranges.range(..=last).next_back() {
            if end < first {
                break;
            }
            self.ranges.remove(&start);
            self.count -= span(start, end);
            if start < first {
                self.ranges.insert(start, first - 1);
                self.count += span(start, first - 1);
            }
            if end > last {
                self.ranges.insert(last + 1, end);
                self.count += span(last + 1, end);
            }
        }
    }

    /// Moves what `wanted` and this set share into a new set.
    pub fn take(&mut self, wanted: &RangeSet) -> RangeSet {
        let taken = self.intersection(wanted);
        for (first, last) in taken.ranges() {
            self.remove_range(first, last);
        }
        taken
    }

    /// Members of both sets; costs in proportion to `wanted`'s ranges and the result.
    pub fn intersection(&self, wanted: &RangeSet) -> RangeSet {
        let mut common = RangeSet::default();
        for (first, last) in wanted.ranges() {
            let before = self.ranges.range(..first).next_back();
            let from_here = self.ranges.range(first..=last);
            for (&start, &end) in before.into_iter().chain(from_here) {
                let (low, high) = (start.max(first), end.min(last));
                if low <= high {
                    common.insert_range(low, high);
                }
            }
        }
        common
    }

    /// Adds all members of another set.
    pub fn extend(&mut self, other: &RangeSet) {
        for (first, last) in other.ranges() {
            self.insert_range(first, last);
        }
    }
}

fn span(first: u32, last: u32) -> u64 {
    u64::from(last - first) + 1
}

impl FromIterator<(u32, u32)> for RangeSet {
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(ranges: I) -> Self {
        let mut set = RangeSet::default();
        for (first, last) in ranges {
            if first <= last {
                set.insert_range(first, last);
            }
        }
        set
    }
}

impl fmt::Display for RangeSet {
    /// `0-9,17,23`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.ranges().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn prints_as_ranges() {
        let set: RangeSet = [(3, 7), (9, 9), (8, 8), (20, 21)].into_iter().collect();
        assert_eq!(set.to_string(), "3-9,20-21");
        assert_eq!(RangeSet::up_to(3).to_string(), "0-2");
    }

    proptest! {
        /// Any sequence of operations agrees with a plain set.
        #[test]
        fn agrees_with_a_plain_set(ops in prop::collection::vec((0u8..4, 0u32..40, 0u32..8), 0..60)) {
            let mut set = RangeSet::default();
            let mut plain = BTreeSet::new();
            for (op, first, width) in ops {
                let last = first + width;
                match op {
                    0 => { set.insert_range(first, last); plain.extend(first..=last); }
                    1 => { set.remove_range(first, last); plain.retain(|i| !(first..=last).contains(i)); }
                    2 => { prop_assert_eq!(set.insert(first), plain.insert(first)); }
                    _ => {
                        let wanted: RangeSet = [(first, last), (last + 3, last + 5)].into_iter().collect();
                        let taken = set.take(&wanted);
                        let expected: Vec<u32> = plain.iter().copied().filter(|i| wanted.contains(*i)).collect();
                        plain.retain(|i| !wanted.contains(*i));
                        prop_assert_eq!(taken.iter().collect::<Vec<_>>(), expected);
                    }
                }
                prop_assert_eq!(set.iter().collect::<Vec<_>>(), plain.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(set.len(), plain.len() as u64);
                prop_assert_eq!(set.first_from(first), plain.range(first..).next().copied());
                let ranges: Vec<_> = set.ranges().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            }
        }
    }
}
