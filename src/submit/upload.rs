//! Inputs on their way to the scheduler: each content once, in chunks, from
//! where the scheduler's copy ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use jeroboam_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::batch_file::LocalFile;
use crate::client::{Patience, Scheduler};
use crate::content::{self, CHUNK_BYTES, Content};
use crate::failure::Failure;

/// Chunks read ahead of what the connection takes.
const CHUNKS_AHEAD: usize = 4;

/// Brings all inputs to the scheduler, on the account of the queue that they are for;
/// their contents come back in order.
pub(super) async fn all(
    inputs: &[LocalFile],
    queue: &str,
    scheduler: &Scheduler,
    patience: &mut Patience,
) -> Result<Vec<Content>, Failure> {
    let mut known: BTreeMap<&PathBuf, Content> = BTreeMap::new();
    let mut contents = Vec::with_capacity(inputs.len());
    for input in inputs {
        let content = match known.get(&input.from) {
            Some(content) => content.clone(),
            None => {
                let file = File::open(&input.from).map_err(Failure::local("read", &input.from))?;
                let content = content::of(file).map_err(Failure::local("read", &input.from))?;
                let first = v1::PutRequest {
                    digest: content.digest.clone(),
                    size_bytes: content.size_bytes,
                    queue: queue.to_owned(),
                    ..Default::default()
                };
                one(&input.from, &first, scheduler, patience).await?;
                known.insert(&input.from, content.clone());
                content
            }
        };
        contents.push(content);
    }
    Ok(contents)
}

/// Brings one content to the scheduler, from where it has it. That the
/// scheduler answers does not restore the patience: only that it holds more
/// than before does.
async fn one(
    path: &Path,
    content: &v1::PutRequest,
    scheduler: &Scheduler,
    patience: &mut Patience,
) -> Result<(), Failure> {
    let mut held_bytes = None;
    loop {
        let lost = match status(content, scheduler).await {
            Ok(status) => {
                if status.complete || held_bytes < Some(status.received_bytes) {
                    patience.restore();
                    held_bytes = Some(status.received_bytes);
                }
                if status.complete {
                    return Ok(());
                }
                match put(path, content, status.received_bytes, scheduler).await? {
                    Ok(reply) if reply.complete => return Ok(()),
                    Ok(_) => Status::unavailable("the upload was cut off"),
                    Err(status) => status,
                }
            }
            Err(status) => status,
        };
        patience.bear(scheduler, &lost).await?;
    }
}

async fn status(
    content: &v1::PutRequest,
    scheduler: &Scheduler,
) -> Result<v1::FileStatusReply, Status> {
    let request = v1::FileStatusRequest {
        digest: content.digest.clone(),
    };
    scheduler.status_of(scheduler.files().status(request)).await
}

/// Sends the content from `offset` on.
async fn put(
    path: &Path,
    content: &v1::PutRequest,
    offset: u64,
    scheduler: &Scheduler,
) -> Result<Result<v1::FileStatusReply, Status>, Failure> {
    let mut file = File::open(path).map_err(Failure::local("read", path))?;
    file.seek(SeekFrom::Start(offset))
        .map_err(Failure::local("read", path))?;
    let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
    let mut files = scheduler.files();
    let sent = async move { files.put(ReceiverStream::new(stream)).await };
    let first = v1::PutRequest {
        offset,
        ..content.clone()
    };
    let reading = read(file, first, chunks);
    let (reply, read) = tokio::join!(sent, reading);
    read.map_err(Failure::local("read", path))?;
    Ok(reply.map(tonic::Response::into_inner))
}

/// Reads chunks until the content's end or until nobody takes them. The first
/// message says what follows, also of an empty content.
async fn read(
    file: File,
    mut next: v1::PutRequest,
    chunks: mpsc::Sender<v1::PutRequest>,
) -> std::io::Result<()> {
    let mut left = file.take(next.size_bytes.saturating_sub(next.offset));
    loop {
        let mut data = Vec::with_capacity(CHUNK_BYTES);
        let length = left
            .by_ref()
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut data)?;
        let first = !next.digest.is_empty();
        if length == 0 && !first {
            return Ok(());
        }
        let message = v1::PutRequest {
            data: data.into(),
            ..std::mem::take(&mut next)
        };
        if chunks.send(message).await.is_err() {
            return Ok(());
        }
    }
}
