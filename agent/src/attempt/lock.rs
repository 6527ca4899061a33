//! The lock of an attempt's directory: a POSIX record lock on its `lock` file.
//!
//! Such a lock dies with its owner, whose pid the kernel tells: a pid asked
//! here is never stale. Its price: it belongs to the process, and closing *any*
//! handle of the file drops it. Hence all of this process's use of attempt
//! locks goes one after the other through `GATE`; a shim takes its own
//! directory's lock once, keeps the handle for its life, and never opens the
//! file again.

use std::fs::{File, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::AttemptError;

static GATE: Mutex<()> = Mutex::new(());

fn gate() -> MutexGuard<'static, ()> {
    // The mutex guards no data; a panic elsewhere leaves nothing half done.
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Nobody,
    Pid(i32),
}

/// Which lock file it is, whatever its path leads to later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockIdentity {
    device: u64,
    inode: u64,
}

impl LockIdentity {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
        }
    }

    /// Of the file at `path`; `None` if there is none.
    pub(crate) fn at(path: &Path) -> Result<Option<Self>, AttemptError> {
        match std::fs::metadata(path) {
            Ok(there) => Ok(Some(Self::of(&there))),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(e) => Err(AttemptError::io("look at", path)(e)),
        }
    }
}

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    _gate: MutexGuard<'static, ()>,
}

impl Lock {
    /// Takes the lock without waiting; `Ok(Err(pid))` if a process holds it.
    pub(crate) fn take(path: &Path) -> Result<Result<Self, i32>, AttemptError> {
        let gate = gate();
        let file = open(path)?;
        match fcntl(&file, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK))) {
            Ok(_) => Ok(Ok(Self { file, _gate: gate })),
            Err(Errno::EAGAIN | Errno::EACCES) => match owner(path, &file)? {
                Owner::Pid(pid) => Ok(Err(pid)),
                // Let go between the two calls: as good as still held.
                Owner::Nobody => Ok(Err(0)),
            },
            Err(e) => Err(AttemptError::io("lock", path)(e.into())),
        }
    }

    /// Who holds the lock now; never this process itself.
    pub(crate) fn owner(path: &Path) -> Result<Owner, AttemptError> {
        let _gate = gate();
        owner(path, &open(path)?)
    }

    /// Whether `path` still names the file that is locked.
    pub(crate) fn is_at(&self, path: &Path) -> Result<bool, AttemptError> {
        let held = self
            .file
            .metadata()
            .map_err(AttemptError::io("look at", path))?;
        Ok(LockIdentity::at(path)? == Some(LockIdentity::of(&held)))
    }
}

fn open(path: &Path) -> Result<File, AttemptError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(AttemptError::io("open", path))
}

fn owner(path: &Path, file: &File) -> Result<Owner, AttemptError> {
    let mut asked = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut asked))
        .map_err(|e| AttemptError::io("ask for the owner of", path)(e.into()))?;
    if asked.l_type == libc::F_UNLCK as libc::c_short {
        Ok(Owner::Nobody)
    } else if asked.l_pid > 0 {
        Ok(Owner::Pid(asked.l_pid))
    } else {
        Err(AttemptError::OwnerHidden(path.to_owned()))
    }
}

/// A request about the whole file, whatever its length.
pub(crate) fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
