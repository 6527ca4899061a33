//! The demo's directory: files, tokens, logs and state of one federation.
//!
//! The rule: it is its owner's alone, and none is left for long. A demo that
//! ends removes its own; one that was killed cannot, so the next one removes
//! what it finds, if it belongs to the same user and its demo is gone, which
//! the lock in it says: the system releases it with the process.
//!
//! Entry point: [`Directory::create`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::failure::Failure;

/// What the names of these directories begin with; the demo's process id follows.
const NAME: &str = "jero-demo-";
const LOCK: &str = "lock";

/// A directory and the lock that says that its demo lives.
#[derive(Debug)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    _lock: Flock<File>,
}

impl Directory {
    /// Removes what demos that were killed left, and makes a new one, below the
    /// system's directory for temporary files.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create() -> Result<Self, Failure> {
        let parent = std::env::temp_dir();
        for path in left_below(&parent) {
            // What cannot be removed stays, as it was before.
            if fs::remove_dir_all(&path).is_ok() {
                println!("removed what a killed demo left: {}", path.display());
            }
        }
        let path = parent.join(format!("{NAME}{}", std::process::id()));
        Self::create_at(path.clone()).map_err(Failure::local("create", path))
    }

    fn create_at(path: PathBuf) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).create(&path)?;
        // The lock gets its name once it is held: nobody finds it free meanwhile.
        let unnamed = path.join("lock.new");
        let file = File::create_new(&unnamed)?;
        let lock =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
        fs::rename(&unnamed, path.join(LOCK))?;
        Ok(Self { path, _lock: lock })
    }
}

/// The directories of demos that are gone.
fn left_below(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| is_left(path).unwrap_or(false))
        .collect()
}

/// Anything that is not as a demo of this user makes it is none.
fn is_left(path: &Path) -> io::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = name.strip_prefix(NAME).unwrap_or_default();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(false);
    }
    let directory = fs::symlink_metadata(path)?;
    let ours = |owner: u32| owner == nix::unistd::geteuid().as_raw();
    if !directory.is_dir() || !ours(directory.uid()) {
        return Ok(false);
    }
    let lock = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path.join(LOCK))?;
    if !ours(lock.metadata()?.uid()) {
        return Ok(false);
    }
    Ok(Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_killed_demos_of_this_user_left_is_removed() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let at = |name: &str| parent.path().join(name);
        let living = Directory::create_at(at("jero-demo-1"))?;
        drop(Directory::create_at(at("jero-demo-2"))?);
        // Made by something else, or just being made.
        fs::create_dir(at("jero-demo-3"))?;
        fs::create_dir(at("jero-demo-mine"))?;
        File::create(at("jero-demo-mine").join(LOCK))?;
        fs::write(at("jero-demo-4"), "a file")?;
        std::os::unix::fs::symlink(at("jero-demo-2"), at("jero-demo-5"))?;
        fs::create_dir(at("jero-demo-6"))?;
        std::os::unix::fs::symlink(at("jero-demo-2").join(LOCK), at("jero-demo-6").join(LOCK))?;
        assert_eq!(left_below(parent.path()), [at("jero-demo-2")]);
        drop(living);
        let mut left = left_below(parent.path());
        left.sort();
        assert_eq!(left, [at("jero-demo-1"), at("jero-demo-2")]);
        Ok(())
    }

    #[test]
    fn it_is_its_owners_alone_and_never_another_ones() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let made = Directory::create_at(parent.path().join("jero-demo-1"))?;
        assert_eq!(fs::metadata(&made.path)?.mode() & 0o777, 0o700);
        let again = Directory::create_at(made.path.clone());
        let kind = again.err().map(|error| error.kind());
        assert_eq!(kind, Some(io::ErrorKind::AlreadyExists));
        Ok(())
    }
}
