//! A set of array indexes kept as ranges, so that an array of a million tasks
//! in one state costs one entry.
//!
//! Invariant: the ranges are disjoint, not adjacent, and not empty.

use crate::rare::Unset;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A set of `u32`, as first → last (both included).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeSet {
    ranges: Ranges,
}

/// Most sets are one range at most, and there is a handful for every job: those take no
/// memory of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Ranges {
    #[default]
    None,
    One(u32, u32),
    /// Two at least.
    Many(Box<Many>),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Many {
    ranges: BTreeMap<u32, u32>,
    count: u64,
}

impl Unset for RangeSet {
    const UNSET: &'static Self = &RangeSet {
        ranges: Ranges::None,
    };
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
        match &self.ranges {
            Ranges::None => 0,
            Ranges::One(first, last) => span(*first, *last),
            Ranges::Many(many) => many.count,
        }
    }

    /// True if there is no member.
    pub fn is_empty(&self) -> bool {
        self.ranges == Ranges::None
    }

    /// The smallest member.
    pub fn first(&self) -> Option<u32> {
        self.ranges().next().map(|(first, _)| first)
    }

    /// The smallest member that is `from` or larger.
    pub fn first_from(&self, from: u32) -> Option<u32> {
        if self.contains(from) {
            return Some(from);
        }
        let mut behind = self.starting_in(from, u32::MAX);
        behind.next().map(|(first, _)| first)
    }

    /// The smallest index that is `from` or larger and no member.
    pub fn gap_from(&self, from: u32) -> u32 {
        match self.starting_by(from) {
            Some((_, last)) if last >= from => last.saturating_add(1),
            _ => from,
        }
    }

    /// True if `index` is a member.
    pub fn contains(&self, index: u32) -> bool {
        let before = self.starting_by(index);
        before.is_some_and(|(_, last)| last >= index)
    }

    /// The ranges in rising order, as (first, last).
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.starting_in(0, u32::MAX)
    }

    /// The last range that starts at an index or before.
    fn starting_by(&self, index: u32) -> Option<(u32, u32)> {
        match &self.ranges {
            Ranges::None => None,
            Ranges::One(first, last) => (*first <= index).then_some((*first, *last)),
            Ranges::Many(many) => {
                let before = many.ranges.range(..=index).next_back();
                before.map(|(first, last)| (*first, *last))
            }
        }
    }

    /// The ranges that start at `from` to `to`.
    fn starting_in(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let (one, many) = match &self.ranges {
            Ranges::None => (None, None),
            Ranges::One(first, last) => (Some((*first, *last)), None),
            Ranges::Many(many) => (None, Some(many.ranges.range(from..=to))),
        };
        let one = one.filter(|(first, _)| (from..=to).contains(first));
        let many = many.into_iter().flatten();
        one.into_iter()
            .chain(many.map(|(first, last)| (*first, *last)))
    }

    /// All members in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges().flat_map(|(first, last)| first..=last)
    }

    /// Adds one member; false if it was there.
    pub fn insert(&mut self, index: u32) -> bool {
        let before = self.len();
        self.insert_range(index, index);
        self.len() > before
    }

    /// Removes one member; false if it was not there.
    pub fn remove(&mut self, index: u32) -> bool {
        let before = self.len();
        self.remove_range(index, index);
        self.len() < before
    }

    /// Adds `first ..= last`.
    pub fn insert_range(&mut self, first: u32, last: u32) {
        match &mut self.ranges {
            Ranges::None => self.ranges = Ranges::One(first, last),
            Ranges::One(start, end) => {
                let touch = *start <= last.saturating_add(1) && first <= end.saturating_add(1);
                if touch {
                    (*start, *end) = (first.min(*start), last.max(*end));
                    return;
                }
                let mut many = Many::default();
                many.insert_range(*start, *end);
                many.insert_range(first, last);
                self.ranges = Ranges::Many(Box::new(many));
            }
            Ranges::Many(many) => {
                many.insert_range(first, last);
                self.shrink();
            }
        }
    }

    /// Removes `first ..= last`.
    pub fn remove_range(&mut self, first: u32, last: u32) {
        match &mut self.ranges {
            Ranges::None => {}
            Ranges::One(start, end) => {
                let (start, end) = (*start, *end);
                self.ranges = match (start.max(first) <= end.min(last), start < first, end > last) {
                    (false, ..) => return,
                    (true, false, false) => Ranges::None,
                    (true, true, false) => Ranges::One(start, first - 1),
                    (true, false, true) => Ranges::One(last + 1, end),
                    (true, true, true) => {
                        let ranges = BTreeMap::from([(start, first - 1), (last + 1, end)]);
                        let count = span(start, first - 1) + span(last + 1, end);
                        Ranges::Many(Box::new(Many { ranges, count }))
                    }
                };
            }
            Ranges::Many(many) => {
                many.remove_range(first, last);
                self.shrink();
            }
        }
    }

    /// One range or none is not kept as many.
    fn shrink(&mut self) {
        let Ranges::Many(many) = &self.ranges else {
            return;
        };
        match many.ranges.first_key_value() {
            None => self.ranges = Ranges::None,
            Some((first, last)) if many.ranges.len() == 1 => {
                self.ranges = Ranges::One(*first, *last);
            }
            Some(_) => {}
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
            let before = first
                .checked_sub(1)
                .and_then(|index| self.starting_by(index));
            let from_here = self.starting_in(first, last);
            for (start, end) in before.into_iter().chain(from_here) {
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

impl Many {
    fn insert_range(&mut self, first: u32, last: u32) {
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

    fn remove_range(&mut self, first: u32, last: u32) {
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
