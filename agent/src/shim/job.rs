//! The last steps before the command runs, in the process that becomes it.
//!
//! It gets: its scratch directory as working directory, `/dev/null` as standard
//! input, two pipes as output, no other open file, a process group of its own
//! (so that `kill 0` reaches the job and nobody else), default signals, nothing
//! blocked, umask 022, no core files.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, chdir, execve, setpgid};

use super::command::Command;

const STDIN: RawFd = 0;
const STDOUT: RawFd = 1;
const STDERR: RawFd = 2;
const FIRST_OTHER: RawFd = 3;

/// Becomes the command; returns only why it could not.
pub(super) fn execute(command: &Command, stdout: RawFd, stderr: RawFd) -> Errno {
    match prepare(command, stdout, stderr) {
        Err(errno) => errno,
        Ok(()) => match execve(&command.program, &command.arguments, &command.environment) {
            Err(errno) => errno,
        },
    }
}

fn prepare(command: &Command, stdout: RawFd, stderr: RawFd) -> Result<(), Errno> {
    // Should its guard be killed; in a PID namespace the kernel sees to it.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    umask(Mode::from_bits_truncate(0o022));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    chdir(&command.directory)?;
    // SAFETY: plain system calls on descriptors of this process.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        for (from, to) in [(null, STDIN), (stdout, STDOUT), (stderr, STDERR)] {
            Errno::result(libc::dup2(from, to))?;
        }
    }
    close_on_exec();
    default_signals();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Marks every descriptor but the first three; the word pipe must last until
/// `execve`.
fn close_on_exec() {
    let flags = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
    // SAFETY: marks descriptors, closes none.
    let marked = unsafe { libc::close_range(FIRST_OTHER as u32, u32::MAX, flags) };
    if marked == 0 {
        return;
    }
    // Before Linux 5.11.
    for_each_open(|fd| {
        // SAFETY: marks a descriptor.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    });
}

/// Closes every descriptor but the first three. For the shim's very start,
/// before it owns any: what it inherited is not its business.
pub(super) fn close_inherited() {
    // SAFETY: nothing in this process owns a descriptor yet.
    if unsafe { libc::close_range(FIRST_OTHER as u32, u32::MAX, 0) } == 0 {
        return;
    }
    // Before Linux 5.9.
    for_each_open(|fd| {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    });
}

fn for_each_open(act: impl Fn(RawFd)) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<RawFd> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    open.into_iter()
        .filter(|fd| *fd >= FIRST_OTHER)
        .for_each(act);
}

/// An ignored signal stays ignored across `execve`; Rust ignores SIGPIPE, and
/// whoever started the agent may have ignored others. Asked of the kernel
/// itself, since libc keeps two real-time signals from its callers.
fn default_signals() {
    const LAST: libc::c_int = 64;
    const SET_BYTES: usize = 8;
    // Handler 0 is the default; flags, restorer and mask are empty. No
    // architecture's structure is longer.
    let default = [0u64; 8];
    let nothing = std::ptr::null_mut::<libc::c_void>();
    for signal in 1..=LAST {
        // SAFETY: the default disposition runs no code of this process;
        // SIGKILL and SIGSTOP are refused, and are never ignored.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                nothing,
                SET_BYTES,
            )
        };
    }
}
