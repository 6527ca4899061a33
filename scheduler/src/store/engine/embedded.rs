//! The engine for service: sled in one directory, its file synced by us, and an acknowledged mark beside.
//!
//! What sled is trusted with: atomic batches over trees, ordered keys, recovery of a prefix of its log. What it is
//! not trusted with, and what is done instead:
//! - Its `flush` ends in `sync_file_range`, which neither reaches the disk's write cache nor writes the file's metadata:
//!   after each flush the data file is synced through a handle of our own (`File::sync_data`).
//! - It drops a torn tail without a word: the mark beside it (`mark.rs`) tells when something promised is gone.
//! - It writes a page that is larger than a quarter of its segment size to a file of its own, which no flush syncs. A leaf page
//!   holds up to 17 values, so values of 64 KiB would end there at the default segment of 512 KiB: the segment size here keeps the
//!   largest leaf inside.
//! - It keeps the first I/O error and answers every later call with it, in places it panics: errors come out as
//!   [`StoreError::Io`] with the kind kept, panics are caught around every call (and around its drop) and come out as
//!   [`StoreError::EnginePanicked`]; [`super::super::journal::Journal`] then refuses all later appends.

use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional as _};

use super::mark::MarkFile;
use super::{Engine, Entry, Mark, Scan, Tree, TreeName, Write};
use crate::store::journal::Sequence;
use crate::store::{StoreError, durable_file};

/// sled's segment: a quarter of it must hold a leaf of 17 values of 64 KiB.
const SEGMENT_BYTES: usize = 8 << 20;
/// Recent pages that sled keeps in memory: the journal is only read at start, the history now and then.
const CACHE_BYTES: u64 = 8 << 20;
/// How often sled looks for segments to clean (only its background thread does that).
const CLEANING_PERIOD_MS: u64 = 1000;

const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// sled with what it lacks.
#[derive(Debug)]
pub struct SledEngine {
    path: PathBuf,
    /// Empty only while this is being dropped.
    db: Option<sled::Db>,
    /// By [`TreeName`]; empty only while this is being dropped.
    trees: Vec<sled::Tree>,
    data_file: File,
    mark: MarkFile,
}

impl SledEngine {
    /// Opens or creates the engine in `directory`; the mark is `directory` with the extension `mark`.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        durable_file::create_directory(directory)?;
        let mark = MarkFile::open(directory.with_extension("mark"))?;
        let guarded = Guarded { path: directory };
        let config = sled::Config::new()
            .path(directory)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(CLEANING_PERIOD_MS));
        let db = open_when_free(guarded, &config)?;
        let tree = |name: TreeName| guarded.run("open", || db.open_tree(name.as_str()));
        let trees = TreeName::ALL
            .into_iter()
            .map(tree)
            .collect::<Result<_, _>>()?;
        let data_path = directory.join("db");
        let data_file = File::options()
            .read(true)
            .write(true)
            .open(&data_path)
            .map_err(|source| StoreError::io("open", &data_path, source))?;
        durable_file::sync_directory(directory)?;
        Ok(Self {
            path: directory.to_owned(),
            db: Some(db),
            trees,
            data_file,
            mark,
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        let guarded = Guarded { path: &self.path };
        guarded.run("flush", || self.trees[0].flush())?;
        self.data_file
            .sync_data()
            .map_err(|source| StoreError::io("sync the data file of", &self.path, source))
    }
}

impl Engine for SledEngine {
    fn apply(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        let writes: Vec<_> = writes
            .into_iter()
            .map(|write| {
                (
                    write.tree as usize,
                    sled::IVec::from(write.key),
                    write.value.map(sled::IVec::from),
                )
            })
            .collect();
        let touched: Vec<usize> = (0..TreeName::ALL.len())
            .filter(|tree| writes.iter().any(|(at, ..)| at == tree))
            .collect();
        let guarded = Guarded { path: &self.path };
        if let [only] = touched[..] {
            let mut batch = sled::Batch::default();
            for (_, key, value) in writes {
                match value {
                    Some(value) => batch.insert(key, value),
                    None => batch.remove(key),
                }
            }
            guarded.run("write to", || self.trees[only].apply_batch(batch))?;
        } else {
            guarded.run("write to", || apply_across(&self.trees, &writes))?;
        }
        self.sync()
    }

    fn acknowledge(&mut self, through: Sequence) -> Result<(), StoreError> {
        self.mark.write(through)
    }

    fn acknowledged(&self) -> Result<Mark, StoreError> {
        Ok(self.mark.mark().clone())
    }

    fn tree(&self, name: TreeName) -> Arc<dyn Tree> {
        Arc::new(SledTree {
            path: self.path.clone(),
            tree: self.trees[name as usize].clone(),
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn mark_path(&self) -> &Path {
        self.mark.path()
    }
}

/// Opens sled; waits a little for its lock, which an engine dropped a moment ago in this process still holds until
/// sled's own threads have let go of the file.
fn open_when_free(guarded: Guarded<'_>, config: &sled::Config) -> Result<sled::Db, StoreError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match guarded.run("open", || config.open()) {
            // sled says only in words that its file is locked.
            Err(StoreError::Io { source, .. })
                if source.to_string().contains("could not acquire lock") =>
            {
                if Instant::now() >= deadline {
                    let path = guarded.path.join("db");
                    return Err(StoreError::Locked {
                        path,
                        holder: "another process".to_owned(),
                    });
                }
                std::thread::sleep(LOCK_POLL);
            }
            opened => return opened,
        }
    }
}

/// One atomic step over several trees; sled recovers all of it or nothing.
fn apply_across(
    trees: &[sled::Tree],
    writes: &[(usize, sled::IVec, Option<sled::IVec>)],
) -> sled::Result<()> {
    let done = trees.transaction(|views| {
        for (tree, key, value) in writes {
            match value {
                Some(value) => views[*tree].insert(key.clone(), value.clone())?,
                None => views[*tree].remove(key.clone())?,
            };
        }
        Ok::<(), ConflictableTransactionError<std::convert::Infallible>>(())
    });
    done.map_err(|error| match error {
        TransactionError::Storage(error) => error,
        TransactionError::Abort(never) => match never {},
    })
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        let (db, trees) = (self.db.take(), std::mem::take(&mut self.trees));
        // After an I/O error sled may panic while it is dropped; there is nobody left to tell.
        let _ = catch_unwind(AssertUnwindSafe(move || drop((trees, db))));
    }
}

/// Runs calls into sled and turns its errors and panics into [`StoreError`].
#[derive(Clone, Copy)]
struct Guarded<'a> {
    path: &'a Path,
}

impl Guarded<'_> {
    fn run<T>(
        self,
        operation: &'static str,
        call: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        // Unwind safety: after a panic the journal is poisoned and only reads of committed values go on.
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sled::Error::Io(source))) => Err(StoreError::io(operation, self.path, source)),
            Ok(Err(source)) => Err(StoreError::Engine {
                operation,
                path: self.path.to_owned(),
                source,
            }),
            Err(panic) => Err(StoreError::EnginePanicked {
                operation,
                path: self.path.to_owned(),
                message: message_of(&*panic),
            }),
        }
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

struct SledTree {
    path: PathBuf,
    tree: sled::Tree,
}

impl Tree for SledTree {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = Guarded { path: &self.path }.run("read from", || self.tree.get(key))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, range: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Scan<'_> {
        Box::new(SledScan {
            path: &self.path,
            entries: self.tree.range(range),
        })
    }

    fn remove(&self, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for key in keys {
            batch.remove(key.as_slice());
        }
        Guarded { path: &self.path }.run("remove from", || self.tree.apply_batch(batch))
    }
}

struct SledScan<'a> {
    path: &'a Path,
    entries: sled::Iter,
}

impl SledScan<'_> {
    fn step(
        &mut self,
        take: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Option<Result<Entry, StoreError>> {
        let entry =
            Guarded { path: self.path }.run("read from", || take(&mut self.entries).transpose());
        entry
            .transpose()
            .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
}

impl Iterator for SledScan<'_> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(Iterator::next)
    }
}

impl DoubleEndedIterator for SledScan<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(DoubleEndedIterator::next_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_engine_becomes_an_error() {
        let guarded = Guarded {
            path: Path::new("journal"),
        };
        let error = guarded
            .run("write to", || -> sled::Result<()> {
                panic!("segment {} is odd", 7)
            })
            .expect_err("the panic");
        let StoreError::EnginePanicked { message, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(message, "segment 7 is odd");
        assert!(!error.is_retryable());
    }

    #[test]
    fn the_kind_of_an_io_error_survives_the_engine() {
        let guarded = Guarded {
            path: Path::new("journal"),
        };
        let error = guarded.run("flush", || -> sled::Result<()> {
            Err(sled::Error::Io(std::io::ErrorKind::StorageFull.into()))
        });
        let error = error.expect_err("the error");
        assert!(
            error.is_disk_full() && error.to_string().contains("free room"),
            "{error}"
        );
    }
}
