//! A value that few of many owners have: a pointer's worth until it is changed.
//!
//! It reads as the unset value where there is none, compares and serialises as what it
//! reads as, and is allocated by the first mutable access.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Something most owners lack.
#[derive(Clone)]
pub struct Rare<T>(Option<Box<T>>);

/// What has a value that costs nothing to have.
pub trait Unset: Sized + Default + PartialEq + 'static {
    /// The same as the default.
    const UNSET: &'static Self;
}

impl<K: Ord + 'static, V: PartialEq + 'static> Unset for BTreeMap<K, V> {
    const UNSET: &'static Self = &BTreeMap::new();
}

impl<T: PartialEq + 'static> Unset for Vec<T> {
    const UNSET: &'static Self = &Vec::new();
}

impl<T: Unset> From<T> for Rare<T> {
    fn from(value: T) -> Self {
        Rare((value != *T::UNSET).then(|| Box::new(value)))
    }
}

impl<T> Rare<T> {
    /// The value, if it was ever changed: to take something from one that was not needs
    /// no memory.
    pub fn if_set(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Rare(None)
    }
}

impl<T: Unset> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::UNSET)
    }
}

impl<T: Unset> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Unset> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Unset + Eq> Eq for Rare<T> {}

impl<T: Unset + Ord> PartialOrd for Rare<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Unset + Ord> Ord for Rare<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: Unset + fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Unset + Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Unset + Deserialize<'de>> Deserialize<'de> for Rare<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Rare::from)
    }
}

impl<'a, K: Ord + 'static, V: PartialEq + 'static> IntoIterator for &'a Rare<BTreeMap<K, V>> {
    type Item = (&'a K, &'a V);
    type IntoIter = std::collections::btree_map::Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
