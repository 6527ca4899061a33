//! The journal's files as a start found them: copied before the engine may write to them, kept only if the start is refused.
//!
//! It exists because the engine's recovery writes: it cuts what it takes for a torn tail and clears what it cannot read, before
//! anybody has compared the journal with what was acknowledged. The rule: whoever refuses a start for damage can point at
//! the bytes that were there before it, however often the start is tried again.
//!
//! The copy shares its blocks with the journal where the file system can do that, and costs reading and writing the file where it
//! cannot. It is gone once everything has been replayed, and when there is not twice the room for it, none is taken: a start on a nearly
//! full disk is worth more. The mark of what was acknowledged is copied along and tells whether a copy that an interrupted
//! or refused start left is of this very journal: then it stands, since it is the older one.
//!
//! ```text
//! data_dir/journal.found/    while a start is under way
//! data_dir/journal.refused/  after one that was refused: the files of journal/, and journal.mark
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{StoreError, durable_file};

const MARK: &str = "journal.mark";

/// The copy of a start that is under way; dropped undecided, it goes.
#[derive(Debug)]
pub(super) struct Original {
    data_dir: PathBuf,
    copy: Copy,
}

/// Where the bytes are that this start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    /// There was nothing to copy, or no room.
    None,
    /// In `journal.found`.
    Found,
    /// In `journal.refused`, by an earlier start.
    Refused,
}

impl Original {
    /// For a journal that is not in files.
    pub(super) fn none(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            copy: Copy::None,
        }
    }

    /// Takes a copy, or finds the one that is there. That none could be taken is no reason not to start.
    pub(super) fn take(data_dir: &Path) -> Self {
        let mut original = Self::none(data_dir);
        original.copy = original.find_or_copy().unwrap_or_else(|why| {
            tracing::warn!(%why, "the journal is opened without a copy beside it: should it be damaged, its files will be rewritten");
            // What was copied of it is of no use.
            let _ = remove(&original.unfinished());
            Copy::None
        });
        original
    }

    /// The start is good: the copy is not needed.
    pub(super) fn discard(&mut self) {
        if std::mem::replace(&mut self.copy, Copy::None) == Copy::Found
            && let Err(why) = remove(&self.found())
        {
            tracing::warn!(%why, path = %self.found().display(), "a copy of the journal stays until the next start");
        }
        if self.refused().is_dir() {
            tracing::warn!(path = %self.refused().display(), "what an earlier start refused is still kept; remove it when it has been looked at");
        }
    }

    /// The start is refused: where the error is damage, the copy is kept and the error says where.
    pub(super) fn refuse(&mut self, error: StoreError) -> StoreError {
        if !error.is_damage() {
            return error;
        }
        let kept = match std::mem::replace(&mut self.copy, Copy::None) {
            Copy::None => return error,
            Copy::Refused => self.refused(),
            Copy::Found => self.keep().unwrap_or_else(|why| {
                tracing::warn!(%why, "the copy of the journal keeps its name");
                self.found()
            }),
        };
        StoreError::Refused {
            kept,
            source: Box::new(error),
        }
    }

    fn find_or_copy(&self) -> io::Result<Copy> {
        remove(&self.unfinished())?;
        if !self.journal().join("db").is_file() {
            return Ok(Copy::None);
        }
        for (copy, directory) in [(Copy::Refused, self.refused()), (Copy::Found, self.found())] {
            if directory.is_dir() && self.is_of_this_journal(&directory)? {
                return Ok(copy);
            }
        }
        remove(&self.found())?;
        self.copy_files()?;
        Ok(Copy::Found)
    }

    /// Whether nothing was acknowledged since a copy was taken.
    fn is_of_this_journal(&self, directory: &Path) -> io::Result<bool> {
        Ok(read_if_there(&directory.join(MARK))? == read_if_there(&self.data_dir.join(MARK))?)
    }

    /// Whole under its name, or not there.
    fn copy_files(&self) -> io::Result<()> {
        let started = Instant::now();
        let files = self.files()?;
        let size_bytes = files.iter().try_fold(0, |sum, file| {
            Ok::<_, io::Error>(sum + fs::metadata(file)?.len())
        })?;
        self.check_room(size_bytes)?;
        let unfinished = self.unfinished();
        fs::create_dir(&unfinished)?;
        for file in &files {
            let name = file.file_name().unwrap_or_default();
            fs::copy(file, unfinished.join(name))?;
        }
        fs::rename(&unfinished, self.found())?;
        tracing::info!(size_bytes, took = ?started.elapsed(), "the journal's files are copied until this start has proved good");
        Ok(())
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.journal())? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
        files.extend(Some(self.data_dir.join(MARK)).filter(|mark| mark.is_file()));
        Ok(files)
    }

    fn check_room(&self, size_bytes: u64) -> io::Result<()> {
        let room = nix::sys::statvfs::statvfs(&self.data_dir)?;
        let free_bytes = room.blocks_available().saturating_mul(room.fragment_size());
        if free_bytes / 2 >= size_bytes {
            return Ok(());
        }
        let what =
            format!("{free_bytes} bytes are free, less than twice the {size_bytes} of a copy");
        Err(io::Error::new(io::ErrorKind::StorageFull, what))
    }

    /// Makes the copy durable under the name of a refused one; an earlier one of another journal goes.
    fn keep(&self) -> io::Result<PathBuf> {
        let (found, refused) = (self.found(), self.refused());
        for entry in fs::read_dir(&found)? {
            File::open(entry?.path())?.sync_all()?;
        }
        File::open(&found)?.sync_all()?;
        remove(&refused)?;
        fs::rename(&found, &refused)?;
        durable_file::sync_directory(&self.data_dir).map_err(io::Error::other)?;
        Ok(refused)
    }

    fn journal(&self) -> PathBuf {
        self.data_dir.join("journal")
    }

    fn found(&self) -> PathBuf {
        self.data_dir.join("journal.found")
    }

    fn unfinished(&self) -> PathBuf {
        self.data_dir.join("journal.found.tmp")
    }

    fn refused(&self) -> PathBuf {
        self.data_dir.join("journal.refused")
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        if self.copy == Copy::Found {
            self.discard();
        }
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
