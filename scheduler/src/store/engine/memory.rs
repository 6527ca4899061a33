//! An engine in memory whose disk outlives it and fails on demand, for tests of everything above the engine.
//!
//! The rule: what [`Engine::apply`] returned `Ok` for is on the [`MemoryDisk`] and is found by the next engine opened on it, as
//! after a crash. A fault strikes the nth operation counted from the start, before its writes or after them (a sync that failed
//! when the bytes had landed), and like a real engine this one answers everything after a fault with the same error.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Engine, Entry, Mark, Scan, Tree, TreeName, Write};
use crate::store::StoreError;
use crate::store::journal::Sequence;

/// A fault to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The operation that fails; the first one on a disk is 1. Each `apply` and each `acknowledge` counts.
    pub operation: u64,
    /// What the operating system is to say.
    pub kind: io::ErrorKind,
    /// Whether the writes have landed although the call fails.
    pub landed: bool,
}

/// What would be on a disk; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    trees: BTreeMap<TreeName, BTreeMap<Vec<u8>, Vec<u8>>>,
    acknowledged: Option<Sequence>,
    operations: u64,
    fault: Option<Fault>,
}

impl MemoryDisk {
    /// An engine on this disk, as a process would open it after the last one died.
    pub fn engine(&self) -> MemoryEngine {
        MemoryEngine {
            disk: self.clone(),
            path: PathBuf::from("memory"),
            broken: None,
        }
    }

    /// Lets an operation fail; replaces a fault that has not struck.
    pub fn fail(&self, fault: Fault) {
        self.contents().fault = Some(fault);
    }

    /// How many operations there have been.
    pub fn operations(&self) -> u64 {
        self.contents().operations
    }

    /// The bytes of a tree, to be damaged.
    pub fn with_tree<T>(
        &self,
        name: TreeName,
        change: impl FnOnce(&mut BTreeMap<Vec<u8>, Vec<u8>>) -> T,
    ) -> T {
        change(self.contents().trees.entry(name).or_default())
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// An engine on a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryEngine {
    disk: MemoryDisk,
    path: PathBuf,
    broken: Option<io::ErrorKind>,
}

impl MemoryEngine {
    /// Counts an operation, does it unless a fault strikes before, and reports the fault.
    fn operate(
        &mut self,
        operation: &'static str,
        change: impl FnOnce(&mut Contents),
    ) -> Result<(), StoreError> {
        if let Some(kind) = self.broken {
            return Err(StoreError::io(operation, &self.path, kind.into()));
        }
        let mut contents = self.disk.contents();
        contents.operations += 1;
        let at = contents.operations;
        let fault = contents.fault.take_if(|fault| fault.operation == at);
        if fault.is_none_or(|fault| fault.landed) {
            change(&mut contents);
        }
        self.broken = fault.map(|fault| fault.kind);
        self.broken.map_or(Ok(()), |kind| {
            Err(StoreError::io(operation, &self.path, kind.into()))
        })
    }
}

impl Engine for MemoryEngine {
    fn apply(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.operate("write to", |contents| {
            for write in writes {
                let tree = contents.trees.entry(write.tree).or_default();
                match write.value {
                    Some(value) => tree.insert(write.key, value),
                    None => tree.remove(&write.key),
                };
            }
        })
    }

    fn acknowledge(&mut self, through: Sequence) -> Result<(), StoreError> {
        self.operate("write the acknowledged mark", |contents| {
            contents.acknowledged = Some(through)
        })
    }

    fn acknowledged(&self) -> Result<Mark, StoreError> {
        Ok(self
            .disk
            .contents()
            .acknowledged
            .map_or(Mark::Absent, Mark::At))
    }

    fn tree(&self, name: TreeName) -> Arc<dyn Tree> {
        Arc::new(MemoryTree {
            disk: self.disk.clone(),
            name,
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn mark_path(&self) -> &Path {
        &self.path
    }
}

struct MemoryTree {
    disk: MemoryDisk,
    name: TreeName,
}

impl Tree for MemoryTree {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .disk
            .with_tree(self.name, |tree| tree.get(key).cloned()))
    }

    fn scan(&self, range: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Scan<'_> {
        Box::new(MemoryScan {
            tree: self,
            from: range.0,
            to: range.1,
        })
    }

    fn remove(&self, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        self.disk
            .with_tree(self.name, |tree| tree.retain(|key, _| !keys.contains(key)));
        Ok(())
    }
}

/// Reads one entry per step, so that writes between the steps are seen as they are in sled.
struct MemoryScan<'a> {
    tree: &'a MemoryTree,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
}

impl MemoryScan<'_> {
    fn step(&self, last: bool) -> Option<Entry> {
        if is_empty(&self.from, &self.to) {
            return None;
        }
        self.tree.disk.with_tree(self.tree.name, |tree| {
            let mut entries = tree.range((self.from.clone(), self.to.clone()));
            let entry = if last {
                entries.next_back()
            } else {
                entries.next()
            };
            entry.map(|(key, value)| (key.clone(), value.clone()))
        })
    }
}

/// Whether a range is one that `BTreeMap::range` refuses with a panic.
fn is_empty(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Included(to) | Bound::Excluded(to),
        ) => from >= to,
    }
}

impl Iterator for MemoryScan<'_> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.step(false)?;
        self.from = Bound::Excluded(entry.0.clone());
        Some(Ok(entry))
    }
}

impl DoubleEndedIterator for MemoryScan<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let entry = self.step(true)?;
        self.to = Bound::Excluded(entry.0.clone());
        Some(Ok(entry))
    }
}
