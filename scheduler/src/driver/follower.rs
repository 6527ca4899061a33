//! A second World that follows what was committed, for questions that take long.
//!
//! The rule it keeps: the owner's thread never stands still for it. It is started when the first question
//! comes, on a thread of its own, from the newest snapshot and the journal as a restart would be; after that the
//! sync thread hands it every group that became durable. So whoever asks sees all that was durable when the question
//! was. It ends when nobody has asked for [`IDLE`], or when it falls behind by more than [`BEHIND_BYTES_MAX`]; the next
//! question starts another.
//!
//! It knows nothing of sessions and decides nothing. A question works on a copy of its World, for
//! [`QUESTION_MAX`] at most.

use crate::recover::{RecoverError, rebuild};
use crate::store::Reading;
use jeroboam_core::ids::TaskId;
use jeroboam_core::predict::{Bounds, Forecast, Prediction};
use jeroboam_core::rejected::Rejected;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// It is dropped, with its memory, when nobody has asked for so long.
const IDLE: Duration = Duration::from_secs(300);
/// Records that wait for it, at most.
const BEHIND_BYTES_MAX: usize = 256 << 20;
/// One question takes no longer, and is answered with how far it came.
const QUESTION_MAX: Duration = Duration::from_secs(8);

/// What is asked: when would this task start?
#[derive(Debug)]
pub(crate) struct Question {
    pub(super) task: TaskId,
    pub(super) now: TimeMs,
    pub(super) reply: oneshot::Sender<Result<Predicted, PredictError>>,
}

/// A prediction, with the names of its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicted {
    /// What was found.
    pub prediction: Prediction,
    /// Names of the site and the node, where it starts.
    pub place: Option<(String, String)>,
}

/// Why there is no prediction.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PredictError {
    /// The task does not wait, or is held.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The follower could not be built.
    #[error("the state cannot be read back from the journal: {0}")]
    Unreadable(String),
    /// The follower ended first: it fell behind, or the scheduler ends.
    #[error("the prediction was given up")]
    GivenUp,
}

enum Fed {
    Records(Vec<Vec<u8>>),
    Question(Question),
}

/// The sync thread's end of a follower, if there is one.
#[derive(Default)]
pub(super) struct Followed {
    following: Option<Following>,
    /// Those that were left and may not have noticed yet.
    left: Vec<JoinHandle<()>>,
}

struct Following {
    sender: mpsc::Sender<Fed>,
    behind_bytes: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Followed {
    /// These have become durable.
    pub(super) fn records(&mut self, records: Vec<Vec<u8>>) {
        let Some(following) = &self.following else {
            return;
        };
        let bytes: usize = records.iter().map(Vec::len).sum();
        let behind = following.behind_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if behind > BEHIND_BYTES_MAX || following.sender.send(Fed::Records(records)).is_err() {
            self.leave();
        }
    }

    /// Asks the follower; starts one from what is durable, if there is none.
    pub(super) fn ask(&mut self, question: Question, reading: impl FnOnce() -> Reading) {
        let question = match &self.following {
            None => question,
            Some(following) => match following.sender.send(Fed::Question(question)) {
                Ok(()) => return,
                Err(mpsc::SendError(Fed::Question(question))) => question,
                Err(mpsc::SendError(Fed::Records(_))) => return,
            },
        };
        self.leave();
        let following = Following::start(reading());
        // Whoever asks is told if it has ended already.
        let _ = following.sender.send(Fed::Question(question));
        self.following = Some(following);
    }

    /// It ends by itself when it finds that nothing more comes.
    fn leave(&mut self) {
        self.left.retain(|thread| !thread.is_finished());
        if let Some(Following { thread, .. }) = self.following.take() {
            self.left.push(thread);
        }
    }

    /// Waits until all have ended and let go of the data directory.
    pub(super) fn end(mut self) {
        self.leave();
        for thread in self.left {
            // If it panicked, that was said.
            let _ = thread.join();
        }
    }
}

impl Following {
    fn start(reading: Reading) -> Following {
        let (sender, fed) = mpsc::channel();
        let behind_bytes = Arc::new(AtomicUsize::new(0));
        let behind = behind_bytes.clone();
        let run = move || match build(reading) {
            Ok(world) => {
                let backlog = VecDeque::new();
                Follower {
                    world,
                    fed,
                    behind,
                    backlog,
                }
                .run();
            }
            Err(error) => refuse(&fed, &error),
        };
        let thread = std::thread::Builder::new()
            .name("follower".into())
            .spawn(run)
            .expect("a thread can be started");
        Following {
            sender,
            behind_bytes,
            thread,
        }
    }
}

/// What a restart would begin with, without planning anew what was planned.
fn build(reading: Reading) -> Result<World, RecoverError> {
    rebuild(reading.replay()?, |_, _, _, _| {})
}

fn refuse(fed: &mpsc::Receiver<Fed>, error: &RecoverError) {
    tracing::warn!(%error, "nothing is predicted: the state could not be read back");
    while let Ok(next) = fed.try_recv() {
        if let Fed::Question(question) = next {
            let refused = PredictError::Unreadable(error.to_string());
            let _ = question.reply.send(Err(refused));
        }
    }
}

struct Follower {
    world: World,
    fed: mpsc::Receiver<Fed>,
    behind: Arc<AtomicUsize>,
    /// What came while a question was at work.
    backlog: VecDeque<Fed>,
}

impl Follower {
    fn run(mut self) {
        let mut asked = Instant::now();
        loop {
            let idle = IDLE.saturating_sub(asked.elapsed());
            let next = match self.backlog.pop_front() {
                Some(next) => next,
                None => match self.fed.recv_timeout(idle) {
                    Ok(next) => next,
                    Err(_) => return,
                },
            };
            match next {
                Fed::Records(records) => {
                    if !self.follow(&records) {
                        return;
                    }
                    // Records alone keep it no longer.
                    if asked.elapsed() >= IDLE {
                        return;
                    }
                }
                Fed::Question(question) => {
                    if !self.answer(question) {
                        return;
                    }
                    asked = Instant::now();
                }
            }
        }
    }

    /// False if they do not follow: then this is no World to ask.
    fn follow(&mut self, records: &[Vec<u8>]) -> bool {
        let bytes: usize = records.iter().map(Vec::len).sum();
        self.behind.fetch_sub(bytes, Ordering::Relaxed);
        for record in records {
            let applied = match crate::record::decode(record) {
                Ok((now, event)) => self.world.apply(now, &event).map_err(|why| why.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = applied {
                tracing::error!(%why, "the follower does not understand what was committed, and ends");
                return false;
            }
        }
        true
    }

    /// False if the scheduler ends.
    fn answer(&mut self, question: Question) -> bool {
        let started = Instant::now();
        let Question { task, now, reply } = question;
        let now = now.max(self.world.now());
        let mut forecast = match Forecast::new(self.world.clone(), now, task, Bounds::default()) {
            Ok(forecast) => forecast,
            Err(rejected) => {
                let _ = reply.send(Err(rejected.into()));
                return true;
            }
        };
        let prediction = loop {
            if let Some(found) = forecast.step() {
                break found;
            }
            if started.elapsed() > QUESTION_MAX {
                break forecast.cut_short();
            }
            if reply.is_closed() {
                return true;
            }
            loop {
                match self.fed.try_recv() {
                    Ok(next) => self.backlog.push_back(next),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return false,
                }
            }
        };
        crate::metrics::record_prediction(prediction.code(), started.elapsed());
        let place = match prediction {
            Prediction::Starts { node, .. } => Some(self.names(node)),
            _ => None,
        };
        // Whoever asked may have left.
        let _ = reply.send(Ok(Predicted { prediction, place }));
        true
    }

    fn names(&self, node: jeroboam_core::ids::NodeId) -> (String, String) {
        let node = self.world.node(node);
        let site = &self.world.site(node.site).spec.name;
        (site.clone(), node.report.name.clone())
    }
}
