//! Live logs of running attempts: asked for by a client, answered by an agent,
//! neither journalled nor synced.

use super::outbox::Outbox;
use crate::convert;
use crate::dispatch::Connection;
use jeroboam_core::ids::LeaseId;
use jeroboam_proto::v1;
use jeroboam_proto::v1::scheduler_message::Kind;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// Live logs at one time, at most.
const TAILS_MAX: usize = 1_000;
/// Pieces that may wait for a slow client; beyond it the log is cut off, and the
/// client asks again from where it is.
const PIECES_MAX: usize = 64;

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailPiece {
    /// Where it starts.
    pub offset: u64,
    /// What stands there.
    pub data: Vec<u8>,
    /// True: the log has ended here.
    pub last: bool,
}

/// All live logs.
#[derive(Debug, Default)]
pub(super) struct Tails {
    next_request: u64,
    open: BTreeMap<u64, Tail>,
}

#[derive(Debug)]
struct Tail {
    connection: Connection,
    lease: LeaseId,
    stream: v1::LogStream,
    outbox: Outbox,
    pieces: mpsc::Sender<TailPiece>,
}

impl Tails {
    /// Asks the agent behind a stream for an attempt's log.
    pub fn open(
        &mut self,
        (connection, outbox): (Connection, Outbox),
        lease: LeaseId,
        stream: v1::LogStream,
        offset: u64,
        follow: bool,
    ) -> mpsc::Receiver<TailPiece> {
        self.drop_abandoned();
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        if self.open.len() < TAILS_MAX {
            self.next_request += 1;
            let tail = Tail {
                connection,
                lease,
                stream,
                outbox,
                pieces,
            };
            tail.ask(self.next_request, offset, follow, false);
            self.open.insert(self.next_request, tail);
        }
        receiver
    }

    /// Passes a piece on. A site speaks for the logs asked of it alone.
    pub fn receive(&mut self, connection: Connection, chunk: v1::TailChunk) {
        let asked = |tail: &&Tail| tail.connection == connection;
        let Some(tail) = self.open.get(&chunk.request).filter(asked) else {
            return;
        };
        let (offset, data, last) = (chunk.offset, chunk.data.to_vec(), chunk.last);
        let gone = tail
            .pieces
            .try_send(TailPiece { offset, data, last })
            .is_err();
        if gone && !last {
            tail.ask(chunk.request, 0, false, true);
        }
        if gone || last {
            self.open.remove(&chunk.request);
        }
    }

    /// A stream has ended, and its logs with it.
    pub fn disconnected(&mut self, connection: Connection) {
        self.open.retain(|_, tail| tail.connection != connection);
    }

    /// Tells agents to stop sending what nobody reads any more.
    pub fn drop_abandoned(&mut self) {
        self.open.retain(|request, tail| {
            let read = !tail.pieces.is_closed();
            if !read {
                tail.ask(*request, 0, false, true);
            }
            read
        });
    }
}

impl Tail {
    fn ask(&self, request: u64, offset: u64, follow: bool, cancel: bool) {
        self.outbox.send(Kind::TailRequest(v1::TailRequest {
            request,
            lease: Some(convert::lease(self.lease)),
            stream: self.stream.into(),
            offset,
            follow,
            cancel,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeroboam_core::ids::{JobId, TaskId};

    #[test]
    fn a_piece_counts_only_from_the_site_that_was_asked() {
        let task = TaskId {
            job: JobId(1),
            index: 0,
        };
        let lease = LeaseId {
            lineage: 1,
            task,
            attempt: 1,
        };
        let (outbox, _messages) = Outbox::new();
        let mut tails = Tails::default();
        let asked = (Connection(1), outbox);
        let mut log = tails.open(asked, lease, v1::LogStream::Stdout, 0, true);
        let piece = |text: &'static str| v1::TailChunk {
            request: 1,
            offset: 0,
            data: text.as_bytes().into(),
            last: false,
        };
        tails.receive(Connection(2), piece("a lie"));
        tails.receive(Connection(1), piece("the truth"));
        let received = log.try_recv().map(|piece| piece.data);
        assert_eq!(received.as_deref(), Ok(b"the truth".as_slice()));
        assert!(log.try_recv().is_err());
    }
}
