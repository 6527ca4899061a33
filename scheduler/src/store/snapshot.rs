//! Snapshots: the World as one opaque stream, in a file beside the journal.
//!
//! A file and not the engine's trees, because sled would write each snapshot more than twice (pages are rewritten as they fill), keep
//! the space of the largest one for ever, and hold it up with the appends that wait behind the same log; a file costs its bytes
//! once, in order, on any thread, gives them back when it is removed, and can be copied as a backup.
//!
//! The rule: a snapshot is there as a whole or not at all. It is written under a temporary name, synced, renamed, and the
//! directory synced; only then are older ones removed, and only then may the caller truncate the journal up to [`Snapshots::newest`].
//! A crash between any two of these steps leaves a state that opens: the previous snapshot and all of its records, or the new one
//! with records that nobody needs.
//!
//! The stream is cut into chunks of 64 KiB, each with its number and crc32, closed by a trailer with the total length and
//! checksum: a reader hands out no byte unchecked and ends only at an intact trailer. Memory is one chunk.

mod reader;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use reader::SnapshotReader;
pub use writer::SnapshotWriter;

use super::journal::Sequence;
use super::lock::DirectoryLock;
use super::{StoreError, durable_file};

/// The bytes of the stream in one chunk.
const CHUNK_BYTES: usize = 64 * 1024;
const MAGIC: &[u8; 8] = b"jerosnap";
/// The format written by this release.
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 24;
const TRAILER_BYTES: usize = 16;
const PREFIX: &str = "through-";
const TEMPORARY: &str = "tmp";

/// The snapshots of one data directory; cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots {
    directory: PathBuf,
    /// Held as long as anything writes here.
    _lock: Arc<DirectoryLock>,
}

impl Snapshots {
    /// Opens the directory; removes what a crash left half-written and all but the newest snapshot.
    pub(super) fn open(directory: PathBuf, lock: Arc<DirectoryLock>) -> Result<Self, StoreError> {
        durable_file::create_directory(&directory)?;
        for path in list(&directory)? {
            if path
                .extension()
                .is_some_and(|extension| extension == TEMPORARY)
            {
                durable_file::remove(&path)?;
            }
        }
        let snapshots = Self {
            directory,
            _lock: lock,
        };
        if let Some(newest) = snapshots.newest()? {
            snapshots.remove_before(newest)?;
        }
        Ok(snapshots)
    }

    /// The last record whose effect the newest snapshot holds.
    pub fn newest(&self) -> Result<Option<Sequence>, StoreError> {
        Ok(list(&self.directory)?
            .iter()
            .filter_map(|path| through_of(path))
            .max())
    }

    /// Starts a snapshot that holds the effect of all records up to `through`, which must be durable already: a snapshot that is
    /// ahead of the journal would bring back what nobody was promised.
    pub fn begin(&self, through: Sequence) -> Result<SnapshotWriter, StoreError> {
        SnapshotWriter::create(self.clone(), through)
    }

    /// The newest snapshot's stream.
    pub fn read(&self) -> Result<Option<SnapshotReader>, StoreError> {
        self.newest()?
            .map(|through| SnapshotReader::open(self.path_of(through), through))
            .transpose()
    }

    fn path_of(&self, through: Sequence) -> PathBuf {
        self.directory.join(format!("{PREFIX}{:020}", through.0))
    }

    fn remove_before(&self, kept: Sequence) -> Result<(), StoreError> {
        for path in list(&self.directory)? {
            if through_of(&path).is_some_and(|through| through < kept) {
                durable_file::remove(&path)?;
            }
        }
        Ok(())
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = || {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()
    };
    read().map_err(|source| StoreError::io("list", directory, source))
}

/// The record that a snapshot's name says it reaches.
fn through_of(path: &Path) -> Option<Sequence> {
    let number = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    number.parse().ok().map(Sequence)
}

/// Over the chunk's number too, so that chunks out of order are noticed.
fn chunk_checksum(number: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}
