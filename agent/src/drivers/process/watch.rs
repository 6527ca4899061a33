//! One thread that notices the end of every shim, and the shims that do not
//! end what they should.
//!
//! It sleeps in `epoll_wait` on the shims' pidfds and an eventfd that ends it;
//! whoever adds a shim wakes nobody. Once a second it looks at those whose time
//! is up (`oversight`): its sleep does not count suspend, their time does. Children are reaped here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::sync::mpsc::UnboundedSender;

use super::oversight::{Facts, Oversight, Step};
use super::pidfd::Pidfd;
use super::{AttemptEnded, DriverError};
use crate::attempt::boot::boottime_ms;
use crate::attempt::{AttemptDir, AttemptError, LeaseId, LeaseRecord};
use crate::shim::tree;

/// The key of the eventfd; shims count from 1.
const END: u64 = 0;
const EVENTS_MAX: usize = 256;
/// How often those whose time is up are looked for.
const LOOK_MS: u16 = 1_000;

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
    /// The latest shim of each attempt: earlier ones found its lock taken.
    by_lease: BTreeMap<LeaseId, u64>,
    /// When each is to be looked at, boottime ms.
    due: BTreeSet<(i64, u64)>,
}

#[derive(Debug)]
struct Watched {
    /// Closing it takes it out of the epoll set.
    pidfd: Pidfd,
    /// To be reaped: the pid of a child of this process.
    child: Option<i32>,
    ended: AttemptEnded,
    lease: LeaseRecord,
    oversight: Oversight,
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
        let lease = ended.dir.lease()?;
        let contact_due_ms = ended.dir.deadline_ms(&lease);
        let oversight = Oversight::new(&lease, contact_due_ms, boottime_ms());
        let watched = Watched {
            pidfd,
            child,
            ended,
            lease,
            oversight,
        };
        let mut shims = self.shared.shims();
        shims.last_key += 1;
        let key = shims.last_key;
        self.shared
            .epoll
            .add(
                watched.pidfd.as_fd(),
                EpollEvent::new(EpollFlags::EPOLLIN, key),
            )
            .map_err(DriverError::system("watch a shim"))?;
        shims.by_lease.insert(watched.ended.lease, key);
        shims.put(key, watched);
        Ok(())
    }

    /// The shim of this attempt was asked to stop, and is to do so in time.
    pub(super) fn stop_asked(&self, lease: LeaseId) {
        let mut shims = self.shared.shims();
        let Some(key) = shims.by_lease.get(&lease).copied() else {
            return;
        };
        if let Some(mut watched) = shims.take(key) {
            watched.oversight.stop_asked(boottime_ms());
            shims.put(key, watched);
        }
    }
}

impl Shims {
    fn put(&mut self, key: u64, watched: Watched) {
        if let Some(due_ms) = watched.oversight.due_ms() {
            self.due.insert((due_ms, key));
        }
        self.by_key.insert(key, watched);
    }

    fn take(&mut self, key: u64) -> Option<Watched> {
        let watched = self.by_key.remove(&key)?;
        if let Some(due_ms) = watched.oversight.due_ms() {
            self.due.remove(&(due_ms, key));
        }
        Some(watched)
    }

    /// The same for one that has ended.
    fn forget(&mut self, key: u64) -> Option<Watched> {
        let watched = self.take(key)?;
        if self.by_lease.get(&watched.ended.lease) == Some(&key) {
            self.by_lease.remove(&watched.ended.lease);
        }
        Some(watched)
    }

    fn due_by(&self, now_ms: i64) -> Vec<u64> {
        let due = self.due.range(..=(now_ms, u64::MAX));
        due.map(|(_, key)| *key).collect()
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
            let count = match self.epoll.wait(&mut events, EpollTimeout::from(LOOK_MS)) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(e) => panic!("epoll_wait on valid descriptors failed: {e}"),
            };
            for event in &events[..count] {
                if event.data() == END {
                    return;
                }
                let gone = self.shims().forget(event.data());
                if let Some(gone) = gone {
                    reap(&gone);
                    // Nobody listens any more while the agent shuts down.
                    let _ = ended.send(gone.ended);
                }
            }
            self.look();
        }
    }

    fn look(&self) {
        let now_ms = boottime_ms();
        let mut shims = self.shims();
        for key in shims.due_by(now_ms) {
            if let Some(mut watched) = shims.take(key) {
                watched.look(now_ms);
                shims.put(key, watched);
            }
        }
    }
}

impl Watched {
    fn look(&mut self, now_ms: i64) {
        let (lease, dir) = (self.ended.lease, &self.ended.dir);
        match self.oversight.step(now_ms, facts(dir, &self.lease)) {
            Step::Nothing => {}
            Step::Wake => self.wake(),
            Step::Warn => {
                tracing::warn!(%lease, "its shim should have ended the job by now; if it was stopped, it goes on now");
                self.wake();
            }
            Step::Kill(outcome) => {
                tracing::error!(%lease, "its shim does not end the job; both are killed");
                self.ended.outcome = outcome;
                tree::kill_once(dir.marks());
                let _ = self.pidfd.signal(Signal::SIGKILL);
            }
        }
    }

    fn wake(&self) {
        // It may have ended meanwhile.
        let _ = self.pidfd.signal(Signal::SIGCONT);
    }
}

fn facts(dir: &AttemptDir, lease: &LeaseRecord) -> Facts {
    let started: Result<_, AttemptError> = dir.started();
    let started_boot_ms = started.ok().flatten().map(|start| start.started_boot_ms);
    Facts {
        contact_due_ms: dir.deadline_ms(lease),
        // 0: a marker without a record.
        started_boot_ms: started_boot_ms.filter(|at_ms| *at_ms > 0),
    }
}

fn reap(gone: &Watched) {
    if let Some(pid) = gone.child {
        // ECHILD: the process ignores SIGCHLD and the kernel reaped it.
        let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
    }
    tracing::trace!(lease = %gone.ended.lease, pidfd = ?gone.pidfd, "shim ended");
}
