//! Snapshots: the World as one opaque stream, in a file beside the journal.
//!
//! A file and not the engine's trees, because sled would write each snapshot more than twice (pages are rewritten as they fill), keep
//! the space of the largest one for ever, and hold it up with the appends that wait behind the same log; a file costs its bytes
//! once, in order, on any thread, gives them back when it is removed, and can be copied as a backup.
//!
//! The rule: a snapshot is there as a whole or not at all. It is written under a temporary name, synced, renamed, and the
//! directory synced; only then are ones older than the previous removed, and only then may the caller truncate the journal up to
//! what [`SnapshotWriter::commit`] returns. A crash between any two of these steps leaves a state that opens.
//!
//! Two are kept, and the journal from the older one on: a newest one that is damaged costs a longer replay and nothing else. It is then
//! set aside under a name of its own, so that it can be looked at and is never counted as one of the two.
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
/// The extension of the newest snapshot that was found damaged and passed over.
const DAMAGED: &str = "damaged";
/// Snapshots kept: the newest, and the one before in case the newest is damaged.
const KEPT: usize = 2;

/// The snapshots of one data directory; cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots {
    directory: PathBuf,
    /// Held as long as anything writes here.
    _lock: Arc<DirectoryLock>,
}

impl Snapshots {
    /// Opens the directory; removes what a crash left half-written or had not yet removed.
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
        snapshots.remove_older()?;
        Ok(snapshots)
    }

    /// The last record whose effect the newest snapshot holds, intact or not.
    pub fn newest(&self) -> Result<Option<Sequence>, StoreError> {
        Ok(self.newest_first()?.first().copied())
    }

    /// Looks for the snapshot to start from: the newest that can be read to its end. Nothing is changed.
    pub(super) fn find(&self) -> Result<Found, StoreError> {
        let mut found = Found::default();
        for through in self.newest_first()? {
            match self.check(through) {
                Ok(()) => {
                    found.intact = Some(through);
                    break;
                }
                Err(error @ StoreError::DamagedSnapshot { .. }) => {
                    found.damaged.push((through, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Renames damaged snapshots that are passed over; the newest of them stays until the next one is set aside.
    pub(super) fn set_aside(&self, damaged: &[(Sequence, StoreError)]) -> Result<(), StoreError> {
        let Some((newest, _)) = damaged.first() else {
            return Ok(());
        };
        for path in list(&self.directory)? {
            if path
                .extension()
                .is_some_and(|extension| extension == DAMAGED)
            {
                durable_file::remove(&path)?;
            }
        }
        for (through, error) in damaged {
            let path = self.path_of(*through);
            if through != newest {
                durable_file::remove(&path)?;
                continue;
            }
            let aside = path.with_extension(DAMAGED);
            fs::rename(&path, &aside)
                .map_err(|source| StoreError::io("set aside snapshot", &path, source))?;
            tracing::error!(%error, aside = %aside.display(), "the newest snapshot is damaged and set aside; the start goes on from an older state and replays more records; look after this disk");
        }
        durable_file::sync_directory(&self.directory)
    }

    /// Starts a snapshot that holds the effect of all records up to `through`, which must be durable already: a snapshot that is
    /// ahead of the journal would bring back what nobody was promised.
    pub fn begin(&self, through: Sequence) -> Result<SnapshotWriter, StoreError> {
        SnapshotWriter::create(self.clone(), through)
    }

    /// The stream of the snapshot that reaches this record.
    pub fn read(&self, through: Sequence) -> Result<SnapshotReader, StoreError> {
        SnapshotReader::open(self.path_of(through), through)
    }

    fn check(&self, through: Sequence) -> Result<(), StoreError> {
        let mut reader = self.read(through)?;
        while reader.next_chunk()?.is_some() {}
        Ok(())
    }

    fn newest_first(&self) -> Result<Vec<Sequence>, StoreError> {
        let mut found: Vec<_> = list(&self.directory)?
            .iter()
            .filter_map(|path| through_of(path))
            .collect();
        found.sort_unstable_by(|one, other| other.cmp(one));
        Ok(found)
    }

    fn path_of(&self, through: Sequence) -> PathBuf {
        self.directory.join(format!("{PREFIX}{:020}", through.0))
    }

    /// Removes all but the newest ones; returns up to where those that stay make the journal's records superfluous.
    fn remove_older(&self) -> Result<Sequence, StoreError> {
        let found = self.newest_first()?;
        for through in found.iter().skip(KEPT) {
            durable_file::remove(&self.path_of(*through))?;
        }
        Ok(found.get(KEPT - 1).copied().unwrap_or_default())
    }
}

/// What a start has to begin with.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The newest snapshot that can be read to its end.
    pub(super) intact: Option<Sequence>,
    /// Newer ones, newest first, and what is wrong with each.
    pub(super) damaged: Vec<(Sequence, StoreError)>,
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
