//! What is left beside the attempts' own directories, and getting rid of it.
//!
//! The rule: nothing here ends or holds up the agent. What it is done with,
//! what was never whole, and what no attempt is called, is removed; where the disk refuses (a file that may not
//! be changed, a mount, another user's) that is said, and it is left aside and
//! tried again, at the next start or after some minutes. What a shim holds the
//! lock of is not touched. Each sweep looks at and tries a bounded number.
//!
//! Which attempts are done with is not decided here (`state`), damaged ones are
//! not touched (`session/state_dir/damaged.rs`). Entry points:
//! [`Leftovers::remove`], [`Leftovers::sweep_at_start`], [`Leftovers::sweep`].

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{AttemptDir, AttemptError, LOCK, LeaseId, Lock, Owner, UNFINISHED, remove_tree};

/// How long something that could not be removed is left alone.
const AGAIN: Duration = Duration::from_secs(600);
const LOOKED_AT_MAX: usize = 10_000;
const TRIES_AT_START_MAX: usize = 1_000;
const TRIES_MAX: usize = 8;

/// What is left under one root.
#[derive(Debug)]
pub struct Leftovers {
    root: PathBuf,
    /// Names that are being removed or could not be, and until when nobody
    /// else tries. A root's entries at most.
    claims: Mutex<BTreeMap<OsString, Instant>>,
}

impl Leftovers {
    /// Those beside the attempts under `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            claims: Mutex::default(),
        }
    }

    /// Removes an attempt that has ended and is acknowledged.
    pub fn remove(&self, dir: &AttemptDir, now: Instant) {
        let aside = dir.aside();
        let aside = aside.file_name().unwrap_or_default();
        self.claim(aside, now);
        let removed = dir.remove();
        // Had it not even moved, it is left under its own name.
        match dir.path().file_name() {
            Some(own) if fs::symlink_metadata(dir.path()).is_ok() => {
                self.claims().remove(aside);
                self.claim(own, now);
                self.settle(own, removed);
            }
            _ => self.settle(aside, removed),
        }
    }

    /// Removes what an earlier agent left, before this one has made any attempt.
    pub fn sweep_at_start(&self, now: Instant) {
        self.remove_those(TRIES_AT_START_MAX, now, is_foreign);
    }

    /// Removes what was left meanwhile, but nothing that may still be built.
    pub fn sweep(&self, now: Instant) {
        self.remove_those(TRIES_MAX, now, |name| {
            let built = name.strip_prefix(UNFINISHED);
            is_foreign(name) && built.is_none_or(is_foreign)
        });
    }

    fn remove_those(&self, tries_max: usize, now: Instant, wanted: impl Fn(&str) -> bool) {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(why) => {
                let why = AttemptError::io("list", &self.root)(why);
                return tracing::warn!("{why}");
            }
        };
        let names = entries.take(LOOKED_AT_MAX).flatten();
        let mut names: Vec<_> = names
            .map(|entry| entry.file_name())
            .filter(|name| wanted(&name.to_string_lossy()))
            .collect();
        // An attempt that could not be moved is among these only.
        names.extend(self.due(now));
        let free = names
            .into_iter()
            .filter(|name| !is_held(&self.root.join(name)) && self.claim(name, now));
        for name in free.take(tries_max) {
            let removed = remove_tree(&self.root.join(&name));
            self.settle(&name, removed);
        }
    }

    /// What may be tried again.
    fn due(&self, now: Instant) -> Vec<OsString> {
        let claims = self.claims();
        let due = claims.iter().filter(|(_, until)| **until <= now);
        due.map(|(name, _)| name.clone()).collect()
    }

    /// Whether it is the caller's to try.
    fn claim(&self, name: &OsStr, now: Instant) -> bool {
        let mut claims = self.claims();
        let is_free = claims.get(name).is_none_or(|until| *until <= now);
        if is_free {
            claims.insert(name.to_owned(), now + AGAIN);
        }
        is_free
    }

    fn settle(&self, name: &OsStr, removed: Result<(), AttemptError>) {
        match removed {
            Ok(()) => {
                self.claims().remove(name);
            }
            Err(why) => tracing::warn!(
                "{why}; nothing of {} is needed any more: it is left aside and tried again \
                 later, or remove it yourself",
                self.root.join(name).display()
            ),
        }
    }

    fn claims(&self) -> MutexGuard<'_, BTreeMap<OsString, Instant>> {
        // A panic while holding it leaves the map whole.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether no attempt is called that: it is being built or removed, or a job
/// renamed its directory or made one up.
fn is_foreign(name: &str) -> bool {
    LeaseId::from_dir_name(name).is_none()
}

/// Whether a shim is at work there, whatever the directory is called by now.
fn is_held(path: &Path) -> bool {
    let lock = path.join(LOCK);
    let is_file = fs::symlink_metadata(&lock).is_ok_and(|there| there.is_file());
    is_file
        && matches!(
            Lock::owner(&lock),
            Ok(Owner::Pid(_)) | Err(AttemptError::OwnerHidden(_))
        )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;
    use crate::attempt::tests::created;
    use crate::attempt::{list, tests::lease};

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_crash_left_half_built_goes_at_the_start_only() {
        let (root, _dir) = created(&lease(3));
        for name in [".new-7-4-0-1", ".old-7-5-0-1", ".new-evil", "7-03-0-1"] {
            fs::create_dir_all(root.path().join(name).join("scratch/a")).unwrap();
        }
        // A link is removed, not what it leads to.
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("kept"), "").unwrap();
        symlink(elsewhere.path(), root.path().join("link")).unwrap();
        fs::write(root.path().join("notes"), "").unwrap();
        assert_eq!(list(root.path()).unwrap().len(), 1);
        let leftovers = Leftovers::new(root.path());
        leftovers.sweep(Instant::now());
        assert_eq!(names(root.path()), [".new-7-4-0-1", "7-3-0-1"]);
        leftovers.sweep_at_start(Instant::now());
        assert_eq!(names(root.path()), ["7-3-0-1"]);
        assert_eq!(names(elsewhere.path()), ["kept"]);
    }

    #[test]
    fn one_sweep_tries_a_bounded_number() {
        let (root, _dir) = created(&lease(3));
        for number in 0..2 * TRIES_MAX {
            fs::create_dir(root.path().join(format!("{number}.evil"))).unwrap();
        }
        let leftovers = Leftovers::new(root.path());
        leftovers.sweep(Instant::now());
        assert_eq!(names(root.path()).len(), 1 + TRIES_MAX);
        leftovers.sweep(Instant::now());
        assert_eq!(names(root.path()), ["7-3-0-1"]);
    }

    #[test]
    fn what_could_not_be_removed_is_tried_again_but_not_at_once() {
        let (root, _dir) = created(&lease(3));
        let (leftovers, now) = (Leftovers::new(root.path()), Instant::now());
        let left = root.path().join(".old-7-4-0-1");
        fs::create_dir(&left).unwrap();
        let name = left.file_name().unwrap();
        assert!(leftovers.claim(name, now), "as one that failed");
        leftovers.sweep(now + AGAIN / 2);
        assert!(left.exists());
        leftovers.sweep(now + AGAIN);
        assert!(!left.exists());
        assert!(leftovers.claims().is_empty());
    }

    #[test]
    fn an_attempt_that_cannot_be_moved_is_tried_again_under_its_own_name() {
        let (root, dir) = created(&lease(3));
        let (leftovers, now) = (Leftovers::new(root.path()), Instant::now());
        // A directory that is not empty is in the way.
        fs::create_dir_all(dir.aside().join("full")).unwrap();
        leftovers.remove(&dir, now);
        assert!(dir.path().exists());
        leftovers.sweep(now + AGAIN);
        assert_eq!(names(root.path()), [""; 0]);
    }
}
