//! Whether a state directory can keep its promises: local disk, working locks.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::statfs::statfs;

use crate::attempt::whole_file;

/// File systems shared between hosts, by their magic numbers (`statfs(2)`).
/// FUSE is among them since it may be one and cannot be told.
const SHARED: [(i64, &str); 9] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x517b, "SMB"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x6573_5546, "FUSE"),
];

/// Why a directory cannot hold an agent's state.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// It is on a file system that several hosts may share.
    #[error("the state directory {} is on {kind}, whose locks cannot be relied on; put state_dir on a local disk", path.display())]
    Shared {
        /// The directory.
        path: PathBuf,
        /// The file system.
        kind: &'static str,
    },
    /// A lock taken there does not exclude.
    #[error("locks do not work in the state directory {}; put state_dir on a local disk", .0.display())]
    NoLocks(PathBuf),
    /// It cannot be used at all.
    #[error("cannot {action} in the state directory {}: {source}", path.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Checks, once at the agent's start, that `path` (an existing directory) is on
/// a local file system and that a lock taken in it is seen by others.
pub fn check_state_dir(path: &Path) -> Result<(), StateDirError> {
    let failed = |action| {
        move |source: io::Error| StateDirError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    let magic = statfs(path)
        .map_err(|e| failed("look")(e.into()))?
        .filesystem_type()
        .0;
    if let Some(kind) = shared_kind(magic as i64) {
        return Err(StateDirError::Shared {
            path: path.to_owned(),
            kind,
        });
    }
    let probe = path.join(format!(".lock-probe-{}", std::process::id()));
    let works = locks_work(&probe).map_err(failed("lock a file"))?;
    std::fs::remove_file(&probe).map_err(failed("remove a file"))?;
    if works {
        Ok(())
    } else {
        Err(StateDirError::NoLocks(path.to_owned()))
    }
}

fn shared_kind(magic: i64) -> Option<&'static str> {
    SHARED
        .iter()
        .find(|(known, _)| *known == magic & 0xffff_ffff)
        .map(|(_, kind)| *kind)
}

/// A lock of one open file (not of the process) is in the way of a lock of
/// this process, so one process suffices to see it work.
fn locks_work(probe: &Path) -> io::Result<bool> {
    let open = || {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(probe)
    };
    let (holder, asker) = (open()?, open()?);
    fcntl(&holder, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK)))?;
    let mut asked = whole_file(libc::F_WRLCK);
    fcntl(&asker, FcntlArg::F_GETLK(&mut asked))?;
    Ok(asked.l_type != libc::F_UNLCK as libc::c_short)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_local_directory_passes_and_stays_empty() {
        let dir = tempfile::tempdir().unwrap();
        check_state_dir(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn shared_file_systems_are_known_by_number() {
        assert_eq!(shared_kind(0x6969), Some("NFS"));
        assert_eq!(shared_kind(0xff53_4d42_u32 as i32 as i64), Some("CIFS"));
        assert_eq!(shared_kind(0xef53), None);
    }

    #[test]
    fn a_missing_directory_is_an_error_with_its_path() {
        let text = check_state_dir(Path::new("/no/such/place"))
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with("cannot look in the state directory /no/such/place: "),
            "{text}"
        );
    }
}
