//! The shell around the protocol's state machine: one task that owns it, does
//! what it says, and feeds back what came of it.
//!
//! Rules: nobody else touches the machine; effects are performed in their
//! order, those of one attempt strictly so (`lanes`); the task itself never
//! waits for a disk, a process or the network, so that heartbeats go out
//! whatever hangs. What an effect costs is bounded: nine lanes for the disk, a
//! bounded number of transfers (`files`), a bounded number of log tails.
//!
//! It decides nothing about leases (`state`) and nothing about processes
//! (`shim`). When it stops, jobs run on under their shims, until their contact
//! deadline at the latest; the next agent finds them.
//!
//! Entry point: [`Session::run`].

pub mod dial;
mod followers;
mod lanes;
mod perform;
pub mod state_dir;
mod stream;
mod tls;
pub mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jeroboam_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;

use crate::AgentError;
use crate::attempt::{LeaseId, boot};
use crate::config::Config;
use crate::drivers::process::{AttemptEnded, ProcessDriver, node_reports, overcommitment};
use crate::files::Files;
use crate::state::{Effect, Input, Machine, Settings};
use followers::Followers;
use lanes::Lanes;
use state_dir::StateDir;
use stream::{Event, Line};

/// So many inputs are taken in before what they cause is sent.
const BATCH: usize = 256;

/// The machine looks at the clock at least this often: timers of this process
/// stand still while the host is suspended, deadlines do not.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// What comes back from an effect.
#[derive(Debug)]
enum Feedback {
    /// Something happened.
    Happened(Input),
    /// A piece of a log was read; its room is kept until it leaves the outbox.
    Piece {
        read: Input,
        room: OwnedSemaphorePermit,
    },
    /// The disk did not take the allegiance for this stream.
    NotPledged { connection: u64 },
    /// The disk or the host did not let it happen: try again.
    Again(LeaseId, Effect),
}

/// A message on its way into the stream, with the room that it takes until then.
struct Waiting {
    message: v1::AgentMessage,
    room: Option<OwnedSemaphorePermit>,
}

/// The agent's one task and all that it owns.
pub struct Session {
    machine: Machine,
    state_dir: Arc<StateDir>,
    attempts: PathBuf,
    nodes: Vec<v1::NodeReport>,
    driver: Arc<ProcessDriver>,
    lanes: Lanes,
    files: Arc<Files>,
    followers: Followers,
    fetches: BTreeMap<LeaseId, AbortHandle>,
    feedback: mpsc::UnboundedSender<Feedback>,
    line: Option<Line>,
    outbox: VecDeque<Waiting>,
    channel: dial::Authorized,
    site: String,
}

/// What the task listens to.
struct Sources {
    feedback: mpsc::UnboundedReceiver<Feedback>,
    ended: mpsc::UnboundedReceiver<AttemptEnded>,
    events: mpsc::Receiver<Event>,
}

impl Session {
    /// Locks the state directory, looks at what an earlier agent left, and
    /// serves until `shutdown`. `program` is the executable that runs shims.
    ///
    /// # Errors
    /// The agent cannot start: see [`AgentError`].
    pub async fn run(
        config: Config,
        program: PathBuf,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), AgentError> {
        let (feedback, feedback_in) = mpsc::unbounded_channel();
        let (ended, ended_in) = mpsc::unbounded_channel();
        let (events, events_in) = mpsc::channel(BATCH);
        let (mut session, first) = Self::start(&config, program, feedback, ended)?;
        session.perform_all(first);
        let keeper = stream::keep(session.channel.clone(), session.site.clone(), events);
        let keeper = tokio::spawn(keeper);
        let sources = Sources {
            feedback: feedback_in,
            ended: ended_in,
            events: events_in,
        };
        session.serve(sources, shutdown).await;
        keeper.abort();
        tracing::info!(
            site = session.site,
            held = session.machine.held(),
            "the agent stops; what runs here runs on, until its contact deadline at the latest"
        );
        Ok(())
    }

    fn start(
        config: &Config,
        program: PathBuf,
        feedback: mpsc::UnboundedSender<Feedback>,
        ended: mpsc::UnboundedSender<AttemptEnded>,
    ) -> Result<(Self, Vec<Effect>), AgentError> {
        let state_dir = StateDir::open(&config.state_dir, &config.site)?;
        let found = state_dir.found()?;
        tracing::info!(site = config.site, attempts = found.len(), "{config}");
        let mut nodes = Vec::new();
        for cluster in &config.clusters {
            if let Some(more) = overcommitment(&cluster.nodes) {
                tracing::warn!(site = config.site, cluster = cluster.name, "{more}");
            }
            nodes.extend(node_reports(&cluster.name, &cluster.nodes));
        }
        let settings = Settings {
            site: config.site.clone(),
            incarnation: state_dir.identity().incarnation.clone(),
            nodes: nodes.iter().map(|node| node.name.clone()).collect(),
        };
        let (machine, effects) =
            Machine::recover(settings, state_dir.identity().allegiance(), found);
        let channel = dial::channel(config)?;
        let files = Files::open(
            dial::files(&channel),
            state_dir.cache(),
            config.cache_bytes_max,
        )?;
        let session = Self {
            machine,
            attempts: state_dir.attempts(),
            state_dir: Arc::new(state_dir),
            nodes,
            driver: Arc::new(ProcessDriver::new(program, ended)?),
            lanes: Lanes::start().map_err(AgentError::Threads)?,
            files: Arc::new(files),
            followers: Followers::default(),
            fetches: BTreeMap::new(),
            feedback,
            line: None,
            outbox: VecDeque::new(),
            channel,
            site: config.site.clone(),
        };
        Ok((session, effects))
    }

    async fn serve(&mut self, mut from: Sources, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.pump();
            tokio::select! {
                () = &mut shutdown => return,
                event = from.events.recv() => match event {
                    Some(event) => self.event(event),
                    None => return,
                },
                _ = from.feedback.recv_many(&mut batch, BATCH) => {
                    for feedback in batch.drain(..) {
                        match feedback {
                            Feedback::Happened(input) => self.take(input),
                            Feedback::Piece { read, room } => self.take_piece(read, room),
                            Feedback::NotPledged { connection } => self.drop_line(connection),
                            Feedback::Again(lease, effect) if self.machine.holds(lease) => {
                                self.perform(effect);
                            }
                            // It is gone, acknowledged: nothing is left to be done.
                            Feedback::Again(..) => {}
                        }
                    }
                }
                Some(ended) = from.ended.recv() => self.conclude(ended.lease, ended.outcome, ended.lock),
                permit = self.room() => if let (Some(permit), Some(waiting)) = (permit, self.outbox.pop_front()) {
                    permit.send(waiting.message);
                },
                () = tokio::time::sleep(self.until_wake()) => self.take(Input::Tick),
            }
        }
    }

    /// Feeds the machine and does what it says.
    fn take(&mut self, input: Input) {
        match &input {
            Input::InputsReady(lease)
            | Input::InputsFailed { lease, .. }
            | Input::FetchFailed(lease) => {
                self.fetches.remove(lease);
            }
            _ => {}
        }
        let effects = self.machine.handle(boot::boottime_ms(), input);
        self.perform_all(effects);
    }

    /// The room goes with the message that the piece becomes. A piece for a
    /// stream that is gone becomes none.
    fn take_piece(&mut self, read: Input, room: OwnedSemaphorePermit) {
        let before = self.outbox.len();
        self.take(read);
        if let Some(waiting) = self.outbox.get_mut(before) {
            waiting.room = Some(room);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Opened(line) => {
                let connection = line.connection;
                self.outbox.clear();
                self.line = Some(line);
                self.take(Input::StreamOpened { connection });
            }
            Event::Received {
                connection,
                sequence,
                message,
            } => self.take(Input::Received {
                connection,
                sequence,
                message,
            }),
            Event::Broken { connection } => {
                self.drop_line(connection);
                self.take(Input::StreamBroken { connection });
            }
        }
    }

    /// Sends what there is room for.
    fn pump(&mut self) {
        let Some(line) = &self.line else {
            return;
        };
        while !self.outbox.is_empty() {
            let Ok(permit) = line.sender.try_reserve() else {
                break;
            };
            if let Some(waiting) = self.outbox.pop_front() {
                permit.send(waiting.message);
            }
        }
    }

    /// Waits for room in the stream, for ever if there is nothing to send.
    fn room(&self) -> impl Future<Output = Option<mpsc::OwnedPermit<v1::AgentMessage>>> + use<> {
        let sender = self.line.as_ref().map(|line| line.sender.clone());
        let wanted = !self.outbox.is_empty();
        async move {
            match sender {
                // A closed stream is noticed by its keeper.
                Some(sender) if wanted && !sender.is_closed() => sender.reserve_owned().await.ok(),
                _ => std::future::pending().await,
            }
        }
    }

    fn until_wake(&self) -> Duration {
        let now_ms = boot::boottime_ms();
        let wait_ms = self
            .machine
            .wake_ms()
            .map_or(i64::MAX, |at_ms| at_ms - now_ms);
        let wait_ms = u64::try_from(wait_ms.max(1)).unwrap_or(1);
        Duration::from_millis(wait_ms).min(LOOK_MAX)
    }
}
