//! Contents on their way to the scheduler.
//!
//! A small one goes in a single call of a single message; of a larger one, and
//! after a failure, the scheduler is asked first how much it holds.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use jeroboam_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::content::CHUNK_BYTES;
use super::patience::Patience;
use super::{Files, Source, blocking};

/// Chunks read ahead of what the connection takes.
const CHUNKS_AHEAD: usize = 4;

impl Files {
    /// Brings a content to the scheduler, on the account of a job's queue, however long that takes.
    ///
    /// # Errors
    /// The scheduler refuses it for good, or it cannot be read: in words.
    pub(crate) async fn store(
        &self,
        job: u64,
        digest: &str,
        size_bytes: u64,
        source: Source,
    ) -> Result<(), String> {
        let content = v1::PutRequest {
            digest: digest.to_owned(),
            size_bytes,
            job,
            ..Default::default()
        };
        let mut patience = Patience::new();
        let mut held_bytes = 0;
        let mut at_once = size_bytes <= CHUNK_BYTES as u64;
        loop {
            let sent = if std::mem::take(&mut at_once) {
                self.put_small(&content, &source).await
            } else {
                self.put_the_rest(&content, &source, &mut held_bytes, &mut patience)
                    .await
            };
            let status = match sent {
                Ok(reply) if reply.complete => return Ok(()),
                Ok(_) => Status::unavailable("the upload was cut off"),
                // What was begun has expired: begin again.
                Err(Failed::Call(status)) if status.code() == Code::NotFound => {
                    Status::aborted(status.message())
                }
                Err(Failed::Call(status)) => status,
                Err(Failed::Read(error)) => return Err(format!("it cannot be read: {error}")),
            };
            patience.bear(&status).await?;
        }
    }

    async fn put_small(
        &self,
        content: &v1::PutRequest,
        source: &Source,
    ) -> Result<v1::FileStatusReply, Failed> {
        let data = match source {
            Source::Bytes(bytes) => bytes.clone(),
            Source::File(path) => {
                let path = path.clone();
                blocking(move || std::fs::read(path)).await?.into()
            }
        };
        let request = v1::PutRequest {
            data,
            ..content.clone()
        };
        let _permit = self.call_permit().await;
        let reply = self.client.clone().put(tokio_stream::once(request)).await?;
        Ok(reply.into_inner())
    }

    /// Sends what the scheduler does not hold yet. That it holds more than the
    /// last time counts as success.
    async fn put_the_rest(
        &self,
        content: &v1::PutRequest,
        source: &Source,
        held_bytes: &mut u64,
        patience: &mut Patience,
    ) -> Result<v1::FileStatusReply, Failed> {
        let _permit = self.call_permit().await;
        let request = v1::FileStatusRequest {
            digest: content.digest.clone(),
        };
        let held = self.client.clone().status(request).await?.into_inner();
        if held.complete {
            return Ok(held);
        }
        if held.received_bytes > *held_bytes {
            patience.restore();
        }
        *held_bytes = held.received_bytes;
        let first = v1::PutRequest {
            offset: held.received_bytes.min(content.size_bytes),
            ..content.clone()
        };
        let (chunks, stream) = mpsc::channel(CHUNKS_AHEAD);
        let source = source.clone();
        let reading = tokio::task::spawn_blocking(move || match source {
            Source::File(path) => read_file(&path, first, &chunks),
            Source::Bytes(bytes) => {
                let from = usize::try_from(first.offset).unwrap_or(usize::MAX);
                read(&bytes[from.min(bytes.len())..], first, &chunks)
            }
        });
        let reply = self.client.clone().put(ReceiverStream::new(stream)).await;
        // The reader ends once nobody takes its chunks.
        if let Ok(read) = reading.await {
            read?;
        }
        Ok(reply?.into_inner())
    }
}

/// Why a content did not get through this time.
enum Failed {
    Call(Status),
    Read(io::Error),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

fn read_file(
    path: &Path,
    first: v1::PutRequest,
    chunks: &mpsc::Sender<v1::PutRequest>,
) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(first.offset))?;
    read(file, first, chunks)
}

/// Reads chunks until the end or until nobody takes them. The first message
/// says what follows.
fn read(
    from: impl io::Read,
    first: v1::PutRequest,
    chunks: &mpsc::Sender<v1::PutRequest>,
) -> io::Result<()> {
    let mut left = from.take(first.size_bytes - first.offset);
    let mut next = Some(first);
    loop {
        let mut data = Vec::with_capacity(CHUNK_BYTES);
        let length = left
            .by_ref()
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut data)?;
        if length == 0 && next.is_none() {
            return Ok(());
        }
        let message = v1::PutRequest {
            data: data.into(),
            ..next.take().unwrap_or_default()
        };
        if chunks.blocking_send(message).is_err() {
            return Ok(());
        }
    }
}
