//! The driver: the single owner of the state, and the order of things.
//!
//! The rule it keeps: *apply, append, sync, release*. Commands are applied on one
//! thread in the order in which they come; what they brought about is appended
//! and synced on another, as one group for all that waits; and only then do
//! replies, grants, stops and acknowledgements leave. So nobody ever hears of
//! something that a crash could undo, and neither the disk nor a round blocks a
//! submission.
//!
//! If an append fails, the state is thrown away (it holds what the journal does
//! not), every waiting caller is told, and no further work is taken.
//!
//! [`owner`] is the loop, [`sync`] the other thread, [`outbox`] the way to the
//! agents, [`tails`] the live logs, which are neither journalled nor synced, [`follower`] a
//! second World for questions that take long.

mod follower;
mod outbox;
mod owner;
mod sync;
mod tails;

use crate::clock::Clock;
use crate::dispatch::{Connection, FromSite, Hello};
use crate::state::State;
use crate::store::history::History;
use crate::store::journal::Journal;
use crate::store::snapshot::Snapshots;
pub use follower::{PredictError, Predicted};
use jeroboam_core::event::Event;
use jeroboam_core::ids::{LeaseId, TaskId};
use jeroboam_core::rejected::Rejected;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
pub use outbox::{GrantLimits, MESSAGES_MAX};
pub(crate) use owner::Owner;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
pub use tails::TailPiece;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that may wait; beyond it callers wait before they can send one.
const COMMANDS_MAX: usize = 4_096;

/// Why a call brought nothing about.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DriverError {
    /// The World refused.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The scheduler takes no work, and why.
    #[error("the scheduler takes no work: {0}")]
    Stopped(String),
    /// The scheduler is ending; another will take its place.
    #[error("the scheduler is shutting down")]
    Ending,
}

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Rounds are at least this far apart.
    pub round_interval: Duration,
    /// A snapshot is written after this many records.
    pub snapshot_records: u64,
    /// Or after records of so many bytes, whichever comes first.
    pub snapshot_bytes: u64,
    /// What grants say about files and logs.
    pub grant_limits: GrantLimits,
}

/// What is handed over at the start.
#[derive(Debug)]
pub struct Parts {
    /// As recovered.
    pub state: State,
    /// Where it ends.
    pub clock: Clock,
    /// Open for appending.
    pub journal: Journal,
    /// Beside the journal.
    pub snapshots: Snapshots,
    /// What the start replayed: it counts towards the next snapshot.
    pub since_snapshot: SinceSnapshot,
}

/// How much the journal holds beyond the newest snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinceSnapshot {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Runs once its group is durable, or with the reason why it never will be.
type Release = Box<dyn FnOnce(Result<(), &str>) + Send>;
/// Applies to the state, and says what to release.
type Job = Box<dyn FnOnce(&mut Owner) -> Release + Send>;

/// Why no work is taken, if so: the first cause stands.
type Stopped = Arc<OnceLock<String>>;

enum Command {
    /// Somebody waits for a reply.
    Run(Job, Box<dyn FnOnce(String) + Send>),
    /// A site speaks.
    Site(Connection, FromSite),
    /// A site's stream has ended.
    Gone(Connection),
    /// A piece of a live log, over the stream that it came by.
    Tail(Connection, v1::TailChunk),
    /// End after what was sent before.
    Shutdown,
}

/// A handle to the driver; clones speak to the same one.
#[derive(Debug, Clone)]
pub struct Driver {
    commands: mpsc::Sender<Command>,
    commits: watch::Receiver<u64>,
    history: History,
    next_connection: Arc<AtomicU64>,
    stopped: Stopped,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl Driver {
    /// Starts the two threads. The returned handle's `join` ends with both, and
    /// another process can then open the directory.
    pub fn start(parts: Parts, options: Options) -> (Driver, std::thread::JoinHandle<()>) {
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (committed, commits) = watch::channel(0);
        let stopped = Stopped::default();
        let history = parts.journal.history();
        let driver = Driver {
            commands,
            commits,
            history,
            next_connection: Arc::new(AtomicU64::new(1)),
            stopped: stopped.clone(),
        };
        let Parts {
            state,
            clock,
            journal,
            snapshots,
            since_snapshot,
        } = parts;
        let said = sync::Said {
            committed,
            stopped: stopped.clone(),
        };
        let (to_sync, synced, sync_thread) = sync::start(journal, snapshots, said);
        let owner =
            Owner::new(state, clock, options, to_sync, stopped).counting_from(since_snapshot);
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::Builder::new()
            .name("driver".into())
            .spawn(move || {
                runtime.block_on(owner.run(queue, synced));
                // It holds the directory's lock. If it panicked, that was said.
                let _ = sync_thread.join();
            })
            .expect("a thread can be started");
        (driver, thread)
    }

    /// Applies an event; `seen` looks at the World right after. Returns once the
    /// event is durable.
    ///
    /// # Errors
    /// What the World refused, or that no work is taken.
    pub async fn apply<T: Send + 'static>(
        &self,
        event: Event,
        seen: impl FnOnce(&World) -> T + Send + 'static,
    ) -> Result<T, DriverError> {
        self.run(move |owner| {
            owner.apply(event)?;
            Ok(seen(&owner.state().world))
        })
        .await
    }

    /// Looks at the World; returns once all that was seen is durable.
    ///
    /// # Errors
    /// That no work is taken.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&World, TimeMs) -> T + Send + 'static,
    ) -> Result<T, DriverError> {
        self.run(move |owner| {
            let now = owner.now();
            Ok(look(&owner.state().world, now))
        })
        .await
    }

    /// As [`Driver::read`], with the site sessions beside the World.
    ///
    /// # Errors
    /// That no work is taken.
    pub async fn read_state<T: Send + 'static>(
        &self,
        look: impl FnOnce(&State, TimeMs) -> T + Send + 'static,
    ) -> Result<T, DriverError> {
        self.run(move |owner| {
            let now = owner.now();
            Ok(look(owner.state(), now))
        })
        .await
    }

    /// An agent's stream begins; what it is told comes out of the receiver, which
    /// ends when the stream is to be closed.
    ///
    /// # Errors
    /// That no work is taken. A refused agent gets the reason over the receiver.
    pub async fn open_site(
        &self,
        hello: Hello,
    ) -> Result<(Connection, outbox::Messages), DriverError> {
        let connection = Connection(self.next_connection.fetch_add(1, Ordering::Relaxed));
        let (outbox, messages) = outbox::Outbox::new();
        self.run(move |owner| {
            owner.open_site(connection, hello, outbox);
            Ok((connection, messages))
        })
        .await
    }

    /// An agent says something over its stream.
    ///
    /// # Errors
    /// That no work is taken.
    pub async fn from_site(
        &self,
        connection: Connection,
        said: FromSite,
    ) -> Result<(), DriverError> {
        self.send(Command::Site(connection, said)).await
    }

    /// An agent's stream has ended.
    ///
    /// # Errors
    /// That no work is taken.
    pub async fn site_gone(&self, connection: Connection) -> Result<(), DriverError> {
        self.send(Command::Gone(connection)).await
    }

    /// An agent sends a piece of a live log.
    ///
    /// # Errors
    /// That no work is taken.
    pub async fn tail_chunk(
        &self,
        connection: Connection,
        chunk: v1::TailChunk,
    ) -> Result<(), DriverError> {
        self.send(Command::Tail(connection, chunk)).await
    }

    /// The live log of an attempt that is under way, from an offset on. The
    /// receiver ends with the log, or at once where the site is not connected.
    ///
    /// # Errors
    /// That no work is taken.
    pub async fn tail(
        &self,
        lease: LeaseId,
        stream: v1::LogStream,
        offset: u64,
        follow: bool,
    ) -> Result<mpsc::Receiver<TailPiece>, DriverError> {
        self.run(move |owner| Ok(owner.open_tail(lease, stream, offset, follow)))
            .await
    }

    /// When a waiting task would start, by running a second World forward, on a thread
    /// of its own.
    ///
    /// # Errors
    /// That no work is taken. Why there is no prediction comes inside.
    pub async fn predict(
        &self,
        task: TaskId,
    ) -> Result<Result<Predicted, PredictError>, DriverError> {
        let (reply, answer) = oneshot::channel();
        self.run(move |owner| {
            owner.ask(task, reply);
            Ok(())
        })
        .await?;
        Ok(answer.await.unwrap_or(Err(PredictError::GivenUp)))
    }

    /// Rises with every group that became durable.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// Finished work.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Why no work is taken, if so.
    pub fn stopped(&self) -> Option<String> {
        self.stopped.get().cloned()
    }

    /// Ends the driver after everything that was sent before is durable.
    pub async fn shutdown(&self) {
        // Already ended is as good.
        let _ = self.commands.send(Command::Shutdown).await;
    }

    async fn send(&self, command: Command) -> Result<(), DriverError> {
        self.commands.send(command).await.map_err(|_| self.ended())
    }

    /// Looks at the state and applies what it comes to, with nothing in between.
    /// Returns once both are durable.
    ///
    /// # Errors
    /// What the World refused, or that no work is taken.
    pub(crate) async fn decide<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Owner) -> Result<T, Rejected> + Send + 'static,
    ) -> Result<T, DriverError> {
        self.run(decide).await
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Owner) -> Result<T, Rejected> + Send + 'static,
    ) -> Result<T, DriverError> {
        let (reply, answer) = oneshot::channel();
        let reply = Arc::new(Mutex::new(Some(reply)));
        let refuse = reply.clone();
        let job: Job = Box::new(move |owner| {
            let result = job(owner);
            Box::new(move |durable| {
                let result = match durable {
                    Ok(()) => result.map_err(DriverError::Rejected),
                    Err(why) => Err(DriverError::Stopped(why.to_string())),
                };
                respond(&reply, result);
            })
        });
        let refuse = Box::new(move |why| respond(&refuse, Err(DriverError::Stopped(why))));
        self.send(Command::Run(job, refuse)).await?;
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    fn ended(&self) -> DriverError {
        self.stopped()
            .map_or(DriverError::Ending, DriverError::Stopped)
    }
}

type Reply<T> = Arc<Mutex<Option<oneshot::Sender<Result<T, DriverError>>>>>;

/// A caller that went away is no reason to stop.
fn respond<T>(reply: &Reply<T>, result: Result<T, DriverError>) {
    let sender = reply
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take();
    if let Some(sender) = sender {
        let _ = sender.send(result);
    }
}
