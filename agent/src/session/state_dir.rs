//! The state directory on disk: its lock, and `agent.json`, which says whose it is.
//!
//! The rule: one agent at a time, on the machine and in the directory that the
//! state names. What a copy brought along is set aside, never run, reported or
//! killed. The judgement itself is `state/identity.rs`. One damaged attempt is
//! set aside (`state_dir/damaged.rs`), not a reason to leave the others alone.

mod damaged;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::fcntl::{Flock, FlockArg};
use rand::RngExt as _;

use crate::attempt::{self, AttemptDir, AttemptError, LeaseId, Leftovers, Phase, boot, durable};
use crate::drivers::process::{StateDirError, check_state_dir};
use crate::state::Allegiance;
use crate::state::identity::{Identity, Judgement, Place, judge};
use crate::state::{Found, FoundPhase};

const FORMAT: u32 = 1;
const IDENTITY: &str = "agent.json";
const LOCK: &str = "lock";
const ATTEMPTS: &str = "attempts";

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another agent has it.
    #[error("the state directory {} is in use by another agent; stop that one, or give this site a state_dir of its own", .0.display())]
    Locked(PathBuf),
    /// It is another site's.
    #[error("the state directory {} belongs to site {theirs}, not to {ours}; give each site a state_dir of its own", path.display())]
    OtherSite {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        theirs: String,
        /// The configured site.
        ours: String,
    },
    /// `agent.json` cannot be read.
    #[error("{} is damaged: {source}; if nothing of this site runs here any more, remove the file: the agent then joins as a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A newer agent wrote it.
    #[error("{} was written by a newer agent (format {format}); start that version", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The file system cannot keep what is promised.
    #[error(transparent)]
    Unfit(#[from] StateDirError),
    /// An attempt's directory cannot be read: it is not guessed what became of it.
    #[error(
        "{0}; if no process of that attempt is left, remove its directory: the scheduler then queues the task again"
    )]
    Attempt(#[from] AttemptError),
    /// It is damaged, and its shim runs.
    #[error(
        "{why}, and its shim (process {shim_pid}) still runs; start the agent again once that has ended, at its contact deadline at the latest, or kill it"
    )]
    DamagedRuns {
        /// The damage.
        why: String,
        /// Holder of its lock.
        shim_pid: i32,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StateError + 'a {
    move |source| StateError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// A locked state directory; another agent may have it when this is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    identity: Identity,
    leftovers: Leftovers,
    _lock: Flock<File>,
}

impl StateDir {
    /// Creates or opens `path`, locks it, and settles which incarnation it is.
    ///
    /// # Errors
    /// It is in use, another site's, damaged, or on a disk that is no use.
    pub fn open(path: &Path, site: &str) -> Result<Self, StateError> {
        fs::create_dir_all(path).map_err(failed("create", path))?;
        let path = fs::canonicalize(path).map_err(failed("find", path))?;
        let lock = lock(&path)?;
        check_state_dir(&path)?;
        let here = place(&path)?;
        let identity = match read_identity(&path)? {
            None => {
                let identity = fresh(site, here);
                write_identity(&path, &identity)?;
                identity
            }
            Some(stored) if stored.site != site => {
                return Err(StateError::OtherSite {
                    path,
                    theirs: stored.site,
                    ours: site.to_owned(),
                });
            }
            Some(stored) => {
                let identity = settle(&path, stored.clone(), here)?;
                // A full disk must not keep an agent from what runs under it.
                if identity != stored {
                    write_identity(&path, &identity)?;
                }
                identity
            }
        };
        let attempts = path.join(ATTEMPTS);
        fs::create_dir_all(&attempts).map_err(failed("create", &attempts))?;
        Ok(Self {
            leftovers: Leftovers::new(&attempts),
            path,
            identity,
            _lock: lock,
        })
    }

    /// Which agent this is, as found when it was opened.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The root of the attempts' directories.
    pub fn attempts(&self) -> PathBuf {
        self.path.join(ATTEMPTS)
    }

    /// Removes an attempt that has ended and is acknowledged, and what else is
    /// not needed. What cannot be removed is warned of and tried again later.
    pub(super) fn remove(&self, dir: &AttemptDir) {
        let now = Instant::now();
        self.leftovers.remove(dir, now);
        self.leftovers.sweep(now);
    }

    /// Where inputs are kept for later attempts.
    pub fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// Writes down, durably, to whom the agent belongs from now on: what the
    /// next one that opens this finds. One call at a time, the latest last.
    ///
    /// # Errors
    /// The disk's.
    pub fn pledge(&self, allegiance: &Allegiance) -> Result<(), StateError> {
        let identity = Identity {
            federation: allegiance.federation.clone(),
            lineage: allegiance.lineage,
            ..self.identity.clone()
        };
        write_identity(&self.path, &identity)
    }

    /// The attempts on disk and how far each had got. Damaged ones are set
    /// aside: see `state_dir/damaged.rs`. What runs without a directory ends
    /// first: the inventory will not have it, and the scheduler then takes it
    /// for dead.
    ///
    /// # Errors
    /// One of them cannot be read, or is damaged and may still run.
    pub fn found(&self) -> Result<Vec<Found>, StateError> {
        attempt::end_strays(&self.attempts())?;
        self.leftovers.sweep_at_start(Instant::now());
        let mut all = Vec::new();
        for (lease, dir) in attempt::list(&self.attempts())? {
            match found(lease, &dir) {
                Ok(found) => all.push(found),
                Err(why) if damaged::is_damage(&why) => {
                    damaged::set_aside(&self.path, &dir, &why)?;
                }
                Err(why) => return Err(why.into()),
            }
        }
        Ok(all)
    }
}

fn found(lease: LeaseId, dir: &AttemptDir) -> Result<Found, AttemptError> {
    let phase = match dir.phase()? {
        Phase::NotStarted => FoundPhase::NotStarted,
        Phase::Running { .. } => FoundPhase::Running,
        Phase::ShimDied => FoundPhase::ShimDied,
        Phase::Ended(record) => FoundPhase::Ended(record),
    };
    let deadline_ms = dir.deadline_ms(&dir.lease()?);
    Ok(Found {
        lease,
        phase,
        deadline_ms,
    })
}

fn lock(path: &Path) -> Result<Flock<File>, StateError> {
    let name = path.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(failed("open", &name))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(StateError::Locked(path.to_owned())),
        Err((_, errno)) => Err(failed("lock", &name)(errno.into())),
    }
}

fn place(path: &Path) -> Result<Place, StateError> {
    let metadata = fs::metadata(path).map_err(failed("look at", path))?;
    let machine_id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    Ok(Place {
        machine_id: machine_id.trim().to_owned(),
        boot_id: boot::boot_id().to_owned(),
        path: path.to_string_lossy().into_owned(),
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

fn fresh(site: &str, place: Place) -> Identity {
    Identity {
        format: FORMAT,
        site: site.to_owned(),
        incarnation: new_incarnation(),
        federation: String::new(),
        lineage: 0,
        place,
    }
}

fn new_incarnation() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// The identity that a stored one has here, with a copy's attempts set aside.
fn settle(path: &Path, mut stored: Identity, here: Place) -> Result<Identity, StateError> {
    match judge(&stored.place, &here, unfinished(path)?) {
        Judgement::Same => {}
        Judgement::Rebooted => {
            tracing::warn!(
                incarnation = stored.incarnation,
                "the host restarted with attempts unfinished: joining as a new incarnation, \
                 once the leases of the older one are out"
            );
            stored.incarnation = new_incarnation();
        }
        Judgement::Elsewhere(why) => {
            let aside = path.join(format!("{ATTEMPTS}.{}", stored.incarnation));
            tracing::warn!(
                why,
                "the state directory is a copy: joining as a new incarnation; attempts that it \
                 brought along are set aside as {}",
                aside.display()
            );
            let attempts = path.join(ATTEMPTS);
            if attempts.exists() {
                fs::rename(&attempts, &aside).map_err(failed("set aside", &attempts))?;
                durable::sync_dir(path)?;
            }
            stored.incarnation = new_incarnation();
        }
    }
    stored.place = here;
    Ok(stored)
}

/// Whether an attempt was granted and has not ended.
fn unfinished(path: &Path) -> Result<bool, StateError> {
    for (_, dir) in attempt::list(&path.join(ATTEMPTS))? {
        // One that cannot be read did not end as far as can be told.
        if !matches!(dir.exit(), Ok(Some(_))) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_identity(path: &Path) -> Result<Option<Identity>, StateError> {
    let path = path.join(IDENTITY);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("read", &path)(e)),
    };
    let damaged = |path: &Path, source| StateError::Damaged {
        path: path.to_owned(),
        source,
    };
    let value: serde_json::Value =
        serde_json::from_slice(&text).map_err(|source| damaged(&path, source))?;
    let format = value["format"].as_u64().unwrap_or_default();
    if format > u64::from(FORMAT) {
        let format = u32::try_from(format).unwrap_or(u32::MAX);
        return Err(StateError::Newer { path, format });
    }
    let identity = serde_json::from_value(value).map_err(|source| damaged(&path, source))?;
    Ok(Some(identity))
}

fn write_identity(path: &Path, identity: &Identity) -> Result<(), StateError> {
    let text = serde_json::to_vec_pretty(identity).expect("plain records always encode");
    durable::write(&path.join(IDENTITY), &text)?;
    Ok(())
}

#[cfg(test)]
mod tests;
