//! The logs that somebody watches over the current stream.
//!
//! Bounded: so many at once, and all of them together have so many pieces
//! between the file and the stream; when the stream is behind they wait, and
//! never are more than that ahead of what matters more. Reading is `tails`'.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use super::Feedback;
use crate::attempt::AttemptDir;
use crate::state::Input;
use crate::state::message::{TailChunk, TailRequest};
use crate::tails;

const FOLLOWED_MAX: usize = 64;
/// Pieces read that have not left for the stream.
const PIECES_MAX: usize = 32;

/// The requests of the current stream.
#[derive(Debug)]
pub struct Followers {
    active: BTreeMap<u64, AbortHandle>,
    room: Arc<Semaphore>,
}

impl Default for Followers {
    fn default() -> Self {
        Self {
            active: BTreeMap::new(),
            room: Arc::new(Semaphore::new(PIECES_MAX)),
        }
    }
}

impl Followers {
    /// Begins to read; pieces come back as [`Feedback::Piece`].
    pub fn start(
        &mut self,
        connection: u64,
        request: TailRequest,
        dir: AttemptDir,
        feedback: mpsc::UnboundedSender<Feedback>,
    ) {
        self.active.retain(|_, follower| !follower.is_finished());
        let number = request.request;
        if self.active.len() >= FOLLOWED_MAX {
            tracing::warn!(request = number, "too many logs are followed at once");
            let chunk = TailChunk::nothing(number, request.offset);
            let read = Input::TailRead { connection, chunk };
            let _ = feedback.send(Feedback::Happened(read));
            return;
        }
        let give = move |chunk, room| {
            let read = Input::TailRead { connection, chunk };
            feedback.send(Feedback::Piece { read, room }).is_ok()
        };
        let room = Arc::clone(&self.room);
        let follower = tokio::spawn(tails::follow(dir, request, room, give));
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
