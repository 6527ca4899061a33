//! Damaged attempts, set aside so that the agent can look after the others.
//!
//! The rule: what is set aside does not run. It is not touched while a shim
//! holds its lock, and first whatever is left of its processes is killed. Then
//! its lease is missing from the inventory, and the scheduler queues the task
//! again. Nothing of it is removed: what it left is the operator's to look at.
//!
//! Entry points: [`is_damage`], [`set_aside`].

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::libc;

use super::{ATTEMPTS, StateError, failed};
use crate::attempt::{AttemptDir, AttemptError, durable};
use crate::shim::tree;

/// Beside the attempts.
const DAMAGED: &str = "attempts.damaged";

/// Whether this is about what stands on the disk. Descriptors or memory that
/// are short, or a file of another user's, say nothing about the attempt.
pub(super) fn is_damage(why: &AttemptError) -> bool {
    match why {
        AttemptError::Record { .. } => true,
        AttemptError::Io { source, .. } => {
            matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
            ) || matches!(source.raw_os_error(), Some(libc::EIO | libc::EUCLEAN))
        }
        AttemptError::Exists(_) | AttemptError::OwnerHidden(_) | AttemptError::Survivors { .. } => {
            false
        }
    }
}

/// Moves a damaged attempt out of the way, once nothing of it runs.
///
/// # Errors
/// A shim holds its lock, its processes cannot be killed, or it cannot be moved.
pub(super) fn set_aside(
    state_dir: &Path,
    dir: &AttemptDir,
    why: &AttemptError,
) -> Result<(), StateError> {
    // Kept until it is moved: a slow shim then finds that its place is gone.
    let _lock = match dir.take_lock() {
        Ok(Ok(lock)) => Some(lock),
        Ok(Err(shim_pid)) => {
            let why = why.to_string();
            return Err(StateError::DamagedRuns { why, shim_pid });
        }
        // Without its lock file no shim can begin; one that has is swept.
        Err(lost) if is_damage(&lost) => None,
        Err(other) => return Err(other.into()),
    };
    let pids = tree::sweep(dir.marks());
    if !pids.is_empty() {
        let path = dir.path().to_owned();
        return Err(AttemptError::Survivors { path, pids }.into());
    }
    let root = state_dir.join(DAMAGED);
    fs::create_dir_all(&root).map_err(failed("create", &root))?;
    let aside = free_name(&root, dir);
    fs::rename(dir.path(), &aside).map_err(failed("set aside", dir.path()))?;
    durable::sync_dir(&root)?;
    durable::sync_dir(&state_dir.join(ATTEMPTS))?;
    tracing::error!(
        "an attempt is damaged and set aside as {}: {why}; nothing of it runs, the scheduler \
         queues its task again; look at it, then remove it",
        aside.display()
    );
    Ok(())
}

/// A name that nothing has yet: two damaged attempts may be of one lease if
/// somebody put the first one back.
fn free_name(root: &Path, dir: &AttemptDir) -> PathBuf {
    let name = dir.path().file_name().unwrap_or_default();
    let numbered = |number: u32| {
        let mut name = name.to_owned();
        if number > 1 {
            name.push(format!(".{number}"));
        }
        root.join(name)
    };
    let mut names = (1..).map(numbered);
    names
        .find(|path| fs::symlink_metadata(path).is_err())
        .unwrap_or_else(|| root.join(name))
}
