//! Logs of attempts, followed while they are written.
//!
//! Rules: nothing is read before there is room for it, and a piece keeps its
//! room until whoever took it lets go, so a slow reader costs no memory; the
//! last piece says so, whatever happened. Bytes that the log no longer keeps are
//! passed over, and the offset tells. Asking the file again in intervals, not
//! more often, bounds what many followers cost.
//!
//! Who may follow what, and when a request ends early, is the caller's: it drops
//! the future. Entry point: [`follow`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::attempt::{AttemptDir, AttemptError, LogChunk, Phase};
use crate::files::blocking;
use crate::state::message::{TailChunk, TailRequest};

/// Of one piece.
const CHUNK_BYTES: usize = 64 << 10;
/// Between two looks at a log that has not grown.
const INTERVAL: Duration = Duration::from_millis(200);

/// Gives the pieces of a log to `give`, in order, each with the room that it
/// takes; ends with one that is the last, or when `give` says that nobody wants
/// more. `room` has one permit for each piece that may be under way, of all
/// who share it.
pub async fn follow(
    dir: AttemptDir,
    request: TailRequest,
    room: Arc<Semaphore>,
    mut give: impl FnMut(TailChunk, OwnedSemaphorePermit) -> bool,
) {
    let mut offset = request.offset;
    loop {
        let Ok(taken) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (asked, stream, from) = (dir.clone(), request.stream, offset);
        let read = blocking(move || look(&asked, stream, from)).await;
        let (chunk, over) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(lease = %request.lease, %error, "a log can be followed no further");
                let nothing = LogChunk {
                    offset,
                    data: Vec::new(),
                    length: offset,
                };
                (nothing, true)
            }
        };
        let grown = !chunk.data.is_empty();
        let last = !grown && (over || !request.follow);
        if grown {
            offset = chunk.next_offset();
        }
        if grown || last {
            let piece = TailChunk {
                request: request.request,
                offset: if grown { chunk.offset } else { offset },
                data: chunk.data,
                last,
            };
            if !give(piece, taken) || last {
                return;
            }
        } else {
            drop(taken);
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// A piece, and whether nothing more will be written. The phase is taken first:
/// what was written before the end is then in the piece.
fn look(
    dir: &AttemptDir,
    stream: crate::attempt::Stream,
    offset: u64,
) -> Result<(LogChunk, bool), AttemptError> {
    let over = matches!(dir.phase()?, Phase::Ended(_) | Phase::ShimDied);
    Ok((dir.read_log(stream, offset, CHUNK_BYTES)?, over))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::sync::mpsc;

    use super::*;
    use crate::attempt::log::LogWriter;
    use crate::attempt::tests::{created, lease};
    use crate::attempt::{LeaseId, Stream};

    const LENGTH: usize = 4 * CHUNK_BYTES;

    fn whole_log(lease: LeaseId) -> TailRequest {
        TailRequest {
            request: 1,
            lease,
            stream: Stream::Stdout,
            offset: 0,
            follow: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_ahead_of_a_slow_reader() {
        let lease = lease(3);
        let (_root, dir) = created(&lease);
        let mut log = LogWriter::new(dir.path(), Stream::Stdout, 2 * LENGTH as u64);
        log.write(&[b'x'; LENGTH]);
        let room = Arc::new(Semaphore::new(2));
        let (sender, mut pieces) = mpsc::unbounded_channel();
        let give = move |piece, taken| sender.send((piece, taken)).is_ok();
        tokio::spawn(follow(dir, whole_log(lease.lease), Arc::clone(&room), give));
        let mut held = vec![pieces.recv().await.unwrap(), pieces.recv().await.unwrap()];
        // The clock moves on only when nothing else does.
        let more = tokio::time::timeout(INTERVAL, pieces.recv()).await;
        assert!(more.is_err(), "a third piece where there is room for two");
        let mut read_bytes = 0;
        while let Some((piece, taken)) = held.pop() {
            read_bytes += piece.data.len();
            drop(taken);
            if let Some(next) = pieces.recv().await {
                held.push(next);
            }
        }
        assert_eq!(read_bytes, LENGTH);
        assert_eq!(room.available_permits(), 2);
    }
}
