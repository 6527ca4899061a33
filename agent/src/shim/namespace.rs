//! A PID namespace for the job: what puts shim and guard out of its reach, and
//! lets the kernel end all of it at once.
//!
//! Root makes one directly. Others make it inside a user namespace in which
//! they are nobody but themselves, where the host lets them (`man 7
//! user_namespaces`; some hosts forbid it by `user.max_user_namespaces`, by
//! AppArmor or in a container). In there set-user-ID programs have no effect:
//! the only user that exists is the job's own.
//!
//! What happens without one is `guard`'s and the driver's. Entry point:
//! [`for_children`].

use std::fs;
use std::panic::catch_unwind;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, getegid, geteuid};

/// Whether the children that this process makes from now on are in a PID
/// namespace of their own. Must be called with one thread.
pub(super) fn for_children() -> bool {
    unshare(CloneFlags::CLONE_NEWPID).is_ok() || (tried() && as_oneself().is_ok())
}

/// Whether it works, found out by a child: a half made user namespace has no
/// way back, and nobody in it may create a file.
fn tried() -> bool {
    // SAFETY: the shim has one thread, so the child may do anything.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => {
            waitpid(child, None) == Ok(WaitStatus::Exited(child, 0))
        }
        Ok(ForkResult::Child) => {
            let made = catch_unwind(as_oneself).is_ok_and(|made| made.is_ok());
            // SAFETY: ends the process without the shim's clean-up.
            unsafe { nix::libc::_exit(i32::from(!made)) }
        }
        Err(_) => false,
    }
}

fn as_oneself() -> Result<(), Errno> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID)?;
    let write = |file: &str, text: String| {
        let written = fs::write(format!("/proc/self/{file}"), text);
        written.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    };
    // Without it the kernel takes no map of groups from an ordinary user.
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{uid} {uid} 1\n"))?;
    write("gid_map", format!("{gid} {gid} 1\n"))
}
