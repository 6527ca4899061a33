//! The engine under the journal and the history: ordered byte keys in three trees, one atomic durable write.
//!
//! The rule: [`Engine::apply`] returns only when all of its writes will survive a power cut, and never
//! leaves some of them. What bytes mean is the business of [`super::journal`] and [`super::history`], which
//! are written once over this trait; it stays this narrow so that another engine fits. Two exist:
//! [`embedded`] (sled, for service) and [`memory`] (faults on demand, for tests).

pub mod embedded;
mod mark;
pub mod memory;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use super::StoreError;
use super::journal::Sequence;

/// The trees an engine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TreeName {
    /// Format version and floor of the journal.
    Meta,
    /// Records.
    Journal,
    /// Finished work.
    History,
}

impl TreeName {
    /// All of them, in order.
    pub const ALL: [TreeName; 3] = [TreeName::Meta, TreeName::Journal, TreeName::History];

    fn as_str(self) -> &'static str {
        match self {
            TreeName::Meta => "meta",
            TreeName::Journal => "journal",
            TreeName::History => "history",
        }
    }
}

/// One write of an atomic group; without a value it removes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub tree: TreeName,
    /// Under which key.
    pub key: Vec<u8>,
    /// What, or nothing to remove the key.
    pub value: Option<Vec<u8>>,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Entries of a range of keys, read as they are asked for.
pub type Scan<'a> = Box<dyn DoubleEndedIterator<Item = Result<Entry, StoreError>> + Send + 'a>;

/// Reads of one tree, from any thread, beside a writer.
pub trait Tree: Send + Sync {
    /// The value under a key.
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// The entries between two bounds, in key order from the front, in reverse from the back.
    fn scan(&self, range: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Scan<'_>;
    /// Removes keys in one atomic step that need not be durable on return (a crash may bring them back).
    fn remove(&self, keys: &[Vec<u8>]) -> Result<(), StoreError>;
}

/// Durable storage for the journal and the history.
pub trait Engine: Send {
    /// Does all writes in one step: all are durable on return, or (after a crash) none is there.
    /// After an error it is unknown which of the two, until the engine is opened again.
    fn apply(&mut self, writes: Vec<Write>) -> Result<(), StoreError>;
    /// Notes beside the data, by a write path of its own, that records up to here are promised.
    fn acknowledge(&mut self, through: Sequence) -> Result<(), StoreError>;
    /// What was last noted.
    fn acknowledged(&self) -> Result<Mark, StoreError>;
    /// One of the trees.
    fn tree(&self, name: TreeName) -> Arc<dyn Tree>;
    /// The directory, for messages.
    fn path(&self) -> &Path;
    /// The file of the acknowledged mark, for messages.
    fn mark_path(&self) -> &Path;
}

/// What the acknowledged mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Records up to here were promised.
    At(Sequence),
    /// There is none yet.
    Absent,
    /// It cannot be read, and why.
    Unreadable(String),
}
