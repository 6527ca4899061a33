//! The logs that somebody watches over the current stream.
//!
//! Bounded: so many at once, and none goes on while the stream is behind with
//! what matters more. Reading them is `tails`'.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Feedback;
use crate::attempt::AttemptDir;
use crate::state::Input;
use crate::state::message::{TailChunk, TailRequest};
use crate::tails;

const FOLLOWED_MAX: usize = 64;
/// Messages waiting in the stream beyond which logs wait too.
const BACKLOG_MAX: usize = 64;
/// Between two looks at that.
const LOOK: Duration = Duration::from_millis(50);

/// The requests of the current stream.
#[derive(Debug, Default)]
pub struct Followers {
    active: BTreeMap<u64, AbortHandle>,
    backlog: Arc<AtomicUsize>,
}

impl Followers {
    /// How many messages wait to be sent.
    pub fn backlog(&self, messages: usize) {
        self.backlog.store(messages, Ordering::Relaxed);
    }

    /// Begins to read; pieces come back as [`Input::TailRead`].
    pub fn start(
        &mut self,
        connection: u64,
        request: TailRequest,
        dir: AttemptDir,
        feedback: mpsc::UnboundedSender<Feedback>,
    ) {
        self.active.retain(|_, follower| !follower.is_finished());
        let number = request.request;
        let tell = move |chunk: TailChunk| {
            let read = Input::TailRead { connection, chunk };
            feedback.send(Feedback::Happened(read)).is_ok()
        };
        if self.active.len() >= FOLLOWED_MAX {
            tracing::warn!(request = number, "too many logs are followed at once");
            tell(TailChunk::nothing(number, request.offset));
            return;
        }
        let backlog = Arc::clone(&self.backlog);
        let take = move |chunk| {
            let listened_to = tell(chunk);
            let backlog = Arc::clone(&backlog);
            async move {
                // Lets the piece get into the stream before it is looked at.
                tokio::task::yield_now().await;
                while backlog.load(Ordering::Relaxed) > BACKLOG_MAX {
                    tokio::time::sleep(LOOK).await;
                }
                listened_to
            }
        };
        let follower = tokio::spawn(tails::follow(dir, request, take));
        if let Some(older) = self.active.insert(number, follower.abort_handle()) {
            older.abort();
        }
    }

    /// Nobody watches this one any longer.
    pub fn cancel(&mut self, request: u64) {
        if let Some(follower) = self.active.remove(&request) {
            follower.abort();
        }
    }

    /// The stream is gone.
    pub fn cancel_all(&mut self) {
        let active = std::mem::take(&mut self.active);
        active.into_values().for_each(|follower| follower.abort());
    }
}
