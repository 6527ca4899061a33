//! One thread that notices the end of every shim.
//!
//! It sleeps in `epoll_wait` on the shims' pidfds and an eventfd that ends it;
//! whoever adds a shim wakes nobody. Children are reaped here and nowhere else.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::sync::mpsc::UnboundedSender;

use super::pidfd::Pidfd;
use super::{AttemptEnded, DriverError};

/// The key of the eventfd; shims count from 1.
const END: u64 = 0;
const EVENTS_MAX: usize = 256;

/// The thread and what it watches.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    epoll: Epoll,
    end: EventFd,
    shims: Mutex<Shims>,
}

#[derive(Debug, Default)]
struct Shims {
    last_key: u64,
    by_key: BTreeMap<u64, Watched>,
}

#[derive(Debug)]
struct Watched {
    /// Closing it takes it out of the epoll set.
    pidfd: Pidfd,
    /// To be reaped: the pid of a child of this process.
    child: Option<i32>,
    ended: AttemptEnded,
}

impl Watch {
    pub(super) fn new(ended: UnboundedSender<AttemptEnded>) -> Result<Self, DriverError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(DriverError::system("create an epoll set"))?;
        let end = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)
            .map_err(DriverError::system("create an eventfd"))?;
        epoll
            .add(&end, EpollEvent::new(EpollFlags::EPOLLIN, END))
            .map_err(DriverError::system("watch an eventfd"))?;
        let shared = Arc::new(Shared {
            epoll,
            end,
            shims: Mutex::default(),
        });
        let watching = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("shim-watch".to_owned())
            .spawn(move || watching.run(&ended))
            .map_err(|source| DriverError::System {
                action: "start a thread",
                source,
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Watches a process; its end is told once.
    pub(super) fn add(
        &self,
        pidfd: Pidfd,
        child: Option<i32>,
        ended: AttemptEnded,
    ) -> Result<(), DriverError> {
        let mut shims = self.shared.shims();
        shims.last_key += 1;
        let key = shims.last_key;
        self.shared
            .epoll
            .add(pidfd.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, key))
            .map_err(DriverError::system("watch a shim"))?;
        shims.by_key.insert(
            key,
            Watched {
                pidfd,
                child,
                ended,
            },
        );
        Ok(())
    }
}

impl Drop for Watch {
    /// Ends the thread; shims run on.
    fn drop(&mut self) {
        // Fails only when the counter is full, and then the thread wakes anyway.
        let _ = self.shared.end.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn shims(&self) -> MutexGuard<'_, Shims> {
        // A panic while holding it leaves the map whole.
        self.shims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, ended: &UnboundedSender<AttemptEnded>) {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(e) => panic!("epoll_wait on valid descriptors failed: {e}"),
            };
            for event in &events[..count] {
                if event.data() == END {
                    return;
                }
                let gone = self.shims().by_key.remove(&event.data());
                if let Some(gone) = gone {
                    reap(&gone);
                    // Nobody listens any more while the agent shuts down.
                    let _ = ended.send(gone.ended);
                }
            }
        }
    }
}

fn reap(gone: &Watched) {
    if let Some(pid) = gone.child {
        // ECHILD: the process ignores SIGCHLD and the kernel reaped it.
        let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
    }
    tracing::trace!(lease = %gone.ended.lease, pidfd = ?gone.pidfd, "shim ended");
}
