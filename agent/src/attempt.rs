//! One attempt on the node's disk: a directory that outlives agent, shim and
//! host, and from which what happened can always be told.
//!
//! ```text
//! <state_dir>/attempts/<lineage>-<job>-<index>-<attempt>/
//!   lease.json   all that is needed to run it; durable before any shim starts
//!   lock         held (POSIX record lock) by the shim for its whole life
//!   deadline     contact deadline, boottime ms; replaced at renewals, may be absent
//!   started      durable start marker: a second start is impossible
//!   exit.json    how it ended; written once, durably
//!   exit.json.new   room for that, set aside when the attempt is made
//!   scratch/     the job's working directory, fresh for each attempt
//!   tmp/         the job's TMPDIR
//!   stdout.head, stdout.tail, stderr.head, stderr.tail   kept output, bounded
//! ```
//!
//! Rules: a directory that can be listed has a whole `lease.json` (it is built
//! aside and renamed into place). `exit.json` is only ever written under the
//! lock, so agent and shim never both decide how an attempt ended. The lock is
//! a POSIX record lock because its owner's pid can be asked of the kernel and
//! so is never stale; such locks belong to a process, not to a handle, hence
//! all lock use of this process goes through one mutex (`attempt/lock.rs`).
//!
//! It starts, stops and signals nothing, save for [`AttemptDir::record_ended`],
//! which kills what a dead shim left: starting is `shim` and `drivers`,
//! deciding is `state`. Blocking calls throughout; each takes milliseconds.
//! Entry points: [`AttemptDir::create`], [`AttemptDir::open`], [`list`].

pub mod boot;
pub mod durable;
mod leftovers;
mod lock;
pub mod log;
pub mod record;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::shim::tree::{self, Marks};
pub use leftovers::Leftovers;
pub use lock::LockIdentity;
pub(crate) use lock::{Lock, Owner, whole_file};
pub use log::{LogChunk, Stream};
pub use record::{
    Confinement, ExitRecord, InputFile, LeaseId, LeaseRecord, OnLostContact, Outcome, OutputsOf,
    Resources, StartRecord, Usage,
};

const LEASE: &str = "lease.json";
const LOCK: &str = "lock";
const DEADLINE: &str = "deadline";
const STARTED: &str = "started";
const EXIT: &str = "exit.json";
const SCRATCH: &str = "scratch";
const TMP: &str = "tmp";
/// Room for the longest exit record but for one with a very long command in it.
const EXIT_BYTES: i64 = 8 << 10;
/// Before the name of a directory that is still being built.
const UNFINISHED: &str = ".new-";
/// Before the name of one that is being removed.
const REMOVED: &str = ".old-";

/// What went wrong with an attempt's directory.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}{}", path.display(), durable::remedy(source))]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A record is there but is not what this version writes.
    #[error("{} is not a readable record: {source}; it was damaged or written by another version of jero", path.display())]
    Record {
        /// The record's file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The directory of this lease exists already.
    #[error("the attempt {0} has a directory already; a lease is never used twice")]
    Exists(LeaseId),
    /// The lock is held by a process that is not visible from here.
    #[error("the lock {} is held from another PID namespace or host; keep the state directory on a local disk and run one agent on it", .0.display())]
    OwnerHidden(PathBuf),
    /// Processes of a dead attempt would not die.
    #[error("processes {pids:?} of {} cannot be killed; until they are gone the attempt stays open", path.display())]
    Survivors {
        /// The attempt's directory.
        path: PathBuf,
        /// What is left of it.
        pids: Vec<i32>,
    },
}

impl AttemptError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Where an attempt stands, told from its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// No shim holds the lock, nothing was ever started.
    NotStarted,
    /// A shim holds the lock (it may be about to start the job).
    Running {
        /// The shim's process, as the kernel names it now.
        shim_pid: i32,
    },
    /// It was started, its shim is gone and left no exit record:
    /// call [`AttemptDir::record_ended`].
    ShimDied,
    /// It has ended.
    Ended(ExitRecord),
}

/// What became of an attempt to close one that had not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// It had not started and now never will: this record was written.
    Unstarted(ExitRecord),
    /// Too late: a shim holds the lock. Stop it instead.
    Running {
        /// The shim's process.
        shim_pid: i32,
    },
    /// Too late: it started and its shim died; call [`AttemptDir::record_ended`].
    ShimDied,
    /// It had ended before.
    Ended(ExitRecord),
}

/// An attempt's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptDir {
    path: PathBuf,
}

impl AttemptDir {
    /// Makes the directory of a new attempt under `root` (`<state_dir>/attempts`,
    /// which must exist) with its lease record, durably: when this returns, a
    /// shim may be started. Three syncs.
    pub fn create(root: &Path, lease: &LeaseRecord) -> Result<Self, AttemptError> {
        let name = lease.lease.dir_name();
        let path = root.join(&name);
        if path.exists() {
            return Err(AttemptError::Exists(lease.lease));
        }
        let new = root.join(format!("{UNFINISHED}{name}"));
        remove_tree(&new)?;
        for dir in [&new, &new.join(SCRATCH), &new.join(TMP)] {
            fs::create_dir(dir).map_err(AttemptError::io("create", dir))?;
        }
        let lock = new.join(LOCK);
        fs::File::create(&lock).map_err(AttemptError::io("create", &lock))?;
        durable::set_aside(&new.join(EXIT), EXIT_BYTES)?;
        let scratch = inode(&new.join(SCRATCH))?;
        let stored = Stored { lease, scratch };
        durable::write_new(&new.join(LEASE), &encode(&stored))?;
        durable::sync_dir(&new)?;
        fs::rename(&new, &path).map_err(AttemptError::io("move into place", &path))?;
        durable::sync_dir(root)?;
        Ok(Self { path })
    }

    /// The directory at `path`, made earlier by [`AttemptDir::create`].
    pub fn open(path: &Path) -> Result<Self, AttemptError> {
        let dir = Self {
            path: path.to_owned(),
        };
        fs::metadata(dir.path.join(LEASE))
            .map_err(AttemptError::io("find", &dir.path.join(LEASE)))?;
        Ok(dir)
    }

    /// The directory that `lease` has under `root`, whether or not it exists.
    pub fn at(root: &Path, lease: LeaseId) -> Self {
        Self {
            path: root.join(lease.dir_name()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its lease record.
    pub fn lease(&self) -> Result<LeaseRecord, AttemptError> {
        let path = self.path.join(LEASE);
        let text = fs::read(&path).map_err(AttemptError::io("read", &path))?;
        decode(&path, &text)
    }

    /// The job's working directory.
    pub fn scratch(&self) -> PathBuf {
        self.path.join(SCRATCH)
    }

    /// Whether the scratch directory is the one that was made for the attempt:
    /// the job may have put another, or a link, in its place.
    pub(crate) fn has_own_scratch(&self) -> Result<bool, AttemptError> {
        let path = self.scratch();
        let there = match fs::symlink_metadata(&path) {
            Ok(there) => there,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(AttemptError::io("look at", &path)(e)),
        };
        let around = fs::metadata(&self.path).map_err(AttemptError::io("look at", &self.path))?;
        let made: Option<Made> = self.read_optional(LEASE)?;
        // An agent of an earlier version did not write it down.
        let made = made.and_then(|made| made.scratch).unwrap_or(there.ino());
        Ok(there.is_dir() && there.dev() == around.dev() && there.ino() == made)
    }

    /// The job's directory for temporary files, beside the scratch directory
    /// so that no output pattern can reach it.
    pub fn tmp(&self) -> PathBuf {
        self.path.join(TMP)
    }

    /// Replaces the contact deadline (boottime ms) atomically. Not synced: a
    /// reboot voids it. The shim reads it when the one it knows comes due, so
    /// a deadline can be moved later, never earlier. Costs a file creation and
    /// a rename; callers with many attempts move it ahead of need, not at
    /// every renewal.
    pub fn set_deadline(&self, deadline_ms: i64) -> Result<(), AttemptError> {
        durable::replace_unsynced(
            &self.path.join(DEADLINE),
            format!("{deadline_ms}\n").as_bytes(),
        )
    }

    /// The contact deadline in force (boottime ms): the last one set, at first
    /// the lease record's own; `None` for a job that waits without contact.
    /// One that cannot be read counts as passed.
    pub fn deadline_ms(&self, lease: &LeaseRecord) -> Option<i64> {
        if lease.on_lost_contact == OnLostContact::Wait {
            return None;
        }
        match fs::read_to_string(self.path.join(DEADLINE)) {
            Ok(text) => Some(text.trim().parse().unwrap_or(i64::MIN)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Some(lease.deadline_ms),
            Err(_) => Some(i64::MIN),
        }
    }

    /// Where the attempt stands. The marker is read before the lock and the
    /// lock before the exit record: a marker seen with the lock free after it
    /// means that the only shim that could ever start this attempt is gone.
    pub fn phase(&self) -> Result<Phase, AttemptError> {
        let started = self.started_exists()?;
        let owner = Lock::owner(&self.path.join(LOCK));
        if let Some(record) = self.exit()? {
            return Ok(Phase::Ended(record));
        }
        Ok(match owner? {
            Owner::Pid(shim_pid) => Phase::Running { shim_pid },
            Owner::Nobody if started => Phase::ShimDied,
            Owner::Nobody => Phase::NotStarted,
        })
    }

    /// The exit record, if it has ended.
    pub fn exit(&self) -> Result<Option<ExitRecord>, AttemptError> {
        self.read_optional(EXIT)
    }

    /// What the shim wrote when it started the job, if it did. A marker cut
    /// short by a crash is still a marker: then the record is the default.
    pub fn started(&self) -> Result<Option<StartRecord>, AttemptError> {
        match self.read_optional(STARTED) {
            Err(AttemptError::Record { .. }) => Ok(Some(StartRecord::default())),
            other => other,
        }
    }

    /// Closes an attempt that has not started with this outcome, under its
    /// lock: a slow shim that locks later finds the record and refuses. What it answers otherwise changes nothing on disk.
    pub fn close_unstarted(&self, outcome: Outcome) -> Result<Closed, AttemptError> {
        let lock = match Lock::take(&self.path.join(LOCK))? {
            Ok(lock) => lock,
            Err(shim_pid) => return Ok(Closed::Running { shim_pid }),
        };
        if let Some(record) = self.exit()? {
            return Ok(Closed::Ended(record));
        }
        if self.started_exists()? {
            return Ok(Closed::ShimDied);
        }
        let record = ExitRecord::unstarted(outcome);
        self.write_exit(&lock, &record)?;
        Ok(Closed::Unstarted(record))
    }

    /// Settles an attempt whose shim is gone: kills what is left of its
    /// process tree, then records `outcome`, which is `Lost` unless it is known
    /// why the shim is gone (or `NotRun`, had it not started). After a reboot
    /// there is nothing to kill. Returns the record, also when the attempt had
    /// one already; `None` if a shim runs after all.
    ///
    /// `lock` says which directory was meant, if that is known. One that was
    /// removed or replaced since is no place for a record: the one returned
    /// stands nowhere.
    pub fn record_ended(
        &self,
        outcome: Outcome,
        lock: Option<LockIdentity>,
    ) -> Result<Option<ExitRecord>, AttemptError> {
        let there = self.lock_identity()?;
        if there.is_none() || lock.is_some_and(|meant| there != Some(meant)) {
            self.kill_rest()?;
            return Ok(Some(ExitRecord::directory_gone()));
        }
        match self.phase()? {
            Phase::Ended(record) => return Ok(Some(record)),
            Phase::Running { .. } => return Ok(None),
            // Not started, as far as this directory tells.
            Phase::NotStarted => self.kill_rest()?,
            Phase::ShimDied if self.lease()?.boot_id == boot::boot_id() => self.kill_rest()?,
            Phase::ShimDied => {}
        }
        let Ok(lock) = Lock::take(&self.path.join(LOCK))? else {
            return Ok(None);
        };
        if let Some(record) = self.exit()? {
            return Ok(Some(record));
        }
        let record = match self.started()? {
            None => ExitRecord::unstarted(Outcome::NotRun),
            Some(start) => ExitRecord::without_shim(outcome, &start),
        };
        self.write_exit(&lock, &record)?;
        Ok(Some(record))
    }

    /// Kills what is left of its processes.
    fn kill_rest(&self) -> Result<(), AttemptError> {
        let pids = tree::sweep(self.marks());
        if pids.is_empty() {
            return Ok(());
        }
        let path = self.path.clone();
        Err(AttemptError::Survivors { path, pids })
    }

    /// Which lock file its path leads to now; `None`: it is gone.
    pub(crate) fn lock_identity(&self) -> Result<Option<LockIdentity>, AttemptError> {
        LockIdentity::at(&self.path.join(LOCK))
    }

    /// By what its processes are known. The kernel ends those of a PID namespace.
    pub(crate) fn marks(&self) -> Marks<'_> {
        let started = self.started().ok().flatten();
        let without = started.filter(|start| start.confinement == Confinement::Subtree);
        let session = without.map(|start| start.shim_pid).filter(|pid| *pid > 1);
        Marks {
            attempt: &self.path,
            session,
        }
    }

    /// Up to `max_bytes` of what the job wrote to a stream from `offset` on,
    /// while it runs or after. An offset whose bytes were dropped is answered
    /// from the next kept byte on ([`LogChunk::offset`] tells).
    pub fn read_log(
        &self,
        stream: Stream,
        offset: u64,
        max_bytes: usize,
    ) -> Result<LogChunk, AttemptError> {
        log::read(&self.path, stream, offset, max_bytes)
    }

    /// All that was kept of a stream of an ended attempt, at most its bound and
    /// one line: where bytes were dropped, that line says how many.
    pub fn read_log_whole(&self, stream: Stream) -> Result<Vec<u8>, AttemptError> {
        log::read_whole(&self.path, stream)
    }

    /// Removes what nobody will look at of an attempt that has ended so: its
    /// temporary files, and unless it succeeded its scratch directory's
    /// content, since outputs are those of a success.
    pub fn free_disk(&self, outcome: &Outcome) {
        let succeeded = *outcome == (Outcome::Exited { code: 0 });
        let kept = succeeded.then(|| self.scratch());
        for directory in [self.tmp(), self.scratch()] {
            if kept.as_ref() == Some(&directory) {
                continue;
            }
            // What cannot be removed now goes with the directory, or is the operator's.
            if let Err(why) = remove_tree(&directory).and_then(|()| {
                fs::create_dir(&directory).map_err(AttemptError::io("create", &directory))
            }) {
                tracing::debug!("{why}");
            }
        }
    }

    /// Removes the directory and all in it; nothing if it is gone already.
    /// Only for attempts that have ended and are acknowledged. What cannot be
    /// removed stays under another name, which is no attempt's ([`Leftovers`]).
    pub fn remove(&self) -> Result<(), AttemptError> {
        let aside = self.aside();
        match fs::rename(&self.path, &aside) {
            Ok(()) => remove_tree(&aside),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(AttemptError::io("remove", &self.path)(e)),
        }
    }

    /// Where it is while it is being removed.
    fn aside(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!("{REMOVED}{name}"))
    }

    /// Writes the exit record, durably; `_lock` proves that the caller may.
    pub(crate) fn write_exit(&self, _lock: &Lock, record: &ExitRecord) -> Result<(), AttemptError> {
        durable::write(&self.path.join(EXIT), &encode(record))
    }

    /// Leaves the start marker, durably. Fails if there is one.
    pub(crate) fn write_started(
        &self,
        _lock: &Lock,
        record: &StartRecord,
    ) -> Result<(), AttemptError> {
        durable::write_new_unsynced(&self.path.join(STARTED), &encode(record))?;
        durable::sync_dir(&self.path)
    }

    /// Takes the lock for the calling process's life; `Err(pid)` if another holds it.
    pub(crate) fn take_lock(&self) -> Result<Result<Lock, i32>, AttemptError> {
        Lock::take(&self.path.join(LOCK))
    }

    /// Whether the path still leads to the directory whose lock is held.
    pub(crate) fn is_where_locked(&self, lock: &Lock) -> Result<bool, AttemptError> {
        lock.is_at(&self.path.join(LOCK))
    }

    /// Whether there is a start marker, readable or not.
    pub(crate) fn started_exists(&self) -> Result<bool, AttemptError> {
        let path = self.path.join(STARTED);
        path.try_exists()
            .map_err(AttemptError::io("look for", &path))
    }

    fn read_optional<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, AttemptError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(text) => decode(&path, &text).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(AttemptError::io("read", &path)(e)),
        }
    }
}

/// The attempts under `root`, by lease. Other names are left alone: they are
/// the business of [`Leftovers`]. `root` is created if it does not exist.
pub fn list(root: &Path) -> Result<Vec<(LeaseId, AttemptDir)>, AttemptError> {
    fs::create_dir_all(root).map_err(AttemptError::io("create", root))?;
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(AttemptError::io("list", root))? {
        let entry = entry.map_err(AttemptError::io("list", root))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(lease) = LeaseId::from_dir_name(&name) {
            found.push((lease, AttemptDir { path: entry.path() }));
        }
    }
    found.sort_by_key(|(lease, _)| *lease);
    Ok(found)
}

/// Ends the attempts whose directories under `root` are gone while they run:
/// nobody could tell of them any more, so nobody counts with them.
///
/// # Errors
/// Some processes would not die.
pub fn end_strays(root: &Path) -> Result<(), AttemptError> {
    for path in tree::attempts_with_shims(root) {
        let dir = AttemptDir { path };
        if dir.lock_identity()?.is_none() {
            tracing::error!(attempt = %dir.path.display(), "its directory is gone; what runs of it is killed");
            dir.kill_rest()?;
        }
    }
    Ok(())
}

/// Removes a directory, or whatever is there instead; links are not followed.
fn remove_tree(path: &Path) -> Result<(), AttemptError> {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|there| there.is_dir());
    let removed = if is_dir {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(AttemptError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// The lease record on the disk.
#[derive(serde::Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    lease: &'a LeaseRecord,
    /// The inode of the scratch directory.
    scratch: u64,
}

/// What is in it besides the lease.
#[derive(serde::Deserialize)]
struct Made {
    #[serde(default)]
    scratch: Option<u64>,
}

fn inode(path: &Path) -> Result<u64, AttemptError> {
    let there = fs::metadata(path).map_err(AttemptError::io("look at", path))?;
    Ok(there.ino())
}

fn encode<T: serde::Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have string keys only and no failing serializer")
}

fn decode<T: serde::de::DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, AttemptError> {
    serde_json::from_slice(text).map_err(|source| AttemptError::Record {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
pub(crate) mod tests;
