//! Logs of attempts, followed while they are written.
//!
//! Rules: each piece waits until the one before it was taken, so a slow reader
//! costs no memory; the last piece says so, whatever happened. Bytes that the
//! log no longer keeps are passed over, and the offset tells. Asking the file
//! again in intervals, not more often, bounds what many followers cost.
//!
//! Who may follow what, and when a request ends early, is the caller's: it drops
//! the future. Entry point: [`follow`].

use std::time::Duration;

use crate::attempt::{AttemptDir, AttemptError, LogChunk, Phase};
use crate::files::blocking;
use crate::state::message::{TailChunk, TailRequest};

/// Of one piece.
const CHUNK_BYTES: usize = 64 << 10;
/// Between two looks at a log that has not grown.
const INTERVAL: Duration = Duration::from_millis(200);

/// Gives the pieces of a log to `take`, in order; ends with one that is the
/// last, or when `take` says that nobody wants more.
pub async fn follow<F>(dir: AttemptDir, request: TailRequest, mut take: impl FnMut(TailChunk) -> F)
where
    F: Future<Output = bool>,
{
    let mut offset = request.offset;
    loop {
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
            if !take(piece).await || last {
                return;
            }
        } else {
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
