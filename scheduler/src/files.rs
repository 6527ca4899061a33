//! The Files service: contents on their way to tasks and back, by digest.
//!
//! The rule it keeps: every transfer can be resumed, nothing is held that does
//! not match its digest, and everything is bounded: one content by who sends it
//! (inputs by users, outputs and logs by sites), those of one queue and all together
//! by the spool.
//!
//! Knowing a digest is the right to fetch its content; which digests a job has
//! is told only to those who may see the job ([`crate::api::rights`]). The bytes
//! are [`crate::store::spool`]'s, what stays is decided in [`retention`].

mod outputs;
pub mod retention;

use crate::api::rights::Rights;
use crate::api::{off_thread, recorded};
use crate::auth::Caller;
use crate::config::Retention;
use crate::convert::status::{driver as unavailable, refusal, store as refused};
use crate::driver::Driver;
use crate::store::spool::{Account, Digest, Spool, SpoolStatus};
use jeroboam_core::ids::JobId;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use jeroboam_proto::v1::files_server::{Files, FilesServer};
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use tokio::sync::{RwLock, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// The largest message of an upload that is taken.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes in one message of a download.
const CHUNK_BYTES: usize = 256 * 1024;
/// Messages of one download that may wait for a slow receiver.
const CHUNKS_AHEAD: usize = 4;
/// Transfers at one time, at most; more are asked to come back.
const TRANSFERS_MAX: usize = 512;

/// Held for reading while the use of a file is recorded, for writing while
/// unused ones are removed: what was used a moment ago is never removed.
pub type InUse = Arc<RwLock<()>>;

/// The service.
#[derive(Debug, Clone)]
pub struct FilesApi {
    driver: Driver,
    spool: Spool,
    in_use: InUse,
    retention: Retention,
    rights: Rights,
    transfers: Arc<Semaphore>,
}

impl FilesApi {
    /// The service over a spool.
    pub fn new(
        driver: Driver,
        spool: Spool,
        in_use: InUse,
        retention: Retention,
        rights: Rights,
    ) -> Self {
        let transfers = Arc::new(Semaphore::new(TRANSFERS_MAX));
        FilesApi {
            driver,
            spool,
            in_use,
            retention,
            rights,
            transfers,
        }
    }

    /// For the server, with the bound on messages.
    pub fn into_server(self) -> FilesServer<Self> {
        FilesServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn transfer(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Status> {
        self.transfers.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{TRANSFERS_MAX} transfers are under way");
            refusal(
                Code::Unavailable,
                "TOO_MANY_TRANSFERS",
                message,
                None,
                "try again in a moment",
            )
        })
    }

    /// Looks a file up; one that is there counts as used now.
    async fn status_of(&self, digest: Digest) -> Result<SpoolStatus, Status> {
        let _in_use = self.in_use.read().await;
        let spool = self.spool.clone();
        let used = move || match spool.status(&digest) {
            SpoolStatus::Complete { size_bytes } => spool.begin(&digest, size_bytes),
            other => Ok(other),
        };
        off_thread(used).await?.map_err(|error| refused(&error))
    }

    /// What one upload may hold, by who sends it.
    fn check_size(&self, caller: &Caller, size_bytes: u64) -> Result<(), Status> {
        let (max, key) = match caller {
            Caller::User(_) => (self.retention.input_bytes_max, "input_bytes_max"),
            Caller::Site(_) => (
                self.retention
                    .outputs_bytes_max
                    .max(self.retention.log_bytes_max),
                "outputs_bytes_max",
            ),
            // A local caller may be either.
            Caller::Local => (
                self.retention
                    .input_bytes_max
                    .max(self.retention.outputs_bytes_max)
                    .max(self.retention.log_bytes_max),
                "input_bytes_max",
            ),
        };
        if size_bytes <= max {
            return Ok(());
        }
        let message = format!("{size_bytes} bytes are over the bound of {max} bytes");
        let remedy =
            format!("keep large data in the sites' storage, or have `retention.{key}` raised");
        Err(refusal(
            Code::InvalidArgument,
            "TOO_LARGE",
            message,
            Some("size_bytes"),
            &remedy,
        ))
    }

    /// On whose account an upload is: a queue that the caller may use, or nobody's.
    async fn account(
        &self,
        caller: &Caller,
        digest: Digest,
        first: &v1::PutRequest,
    ) -> Result<Account, Status> {
        let said = first.job != 0 || !first.queue.is_empty();
        // What is there, or on its way, has its account.
        if !said || self.spool.status(&digest) != SpoolStatus::Absent {
            return Ok(Account::NOBODY);
        }
        let (caller, job, queue) = (caller.clone(), JobId(first.job), first.queue.clone());
        let rights = self.rights.clone();
        let look = move |world: &World, _| match caller {
            Caller::User(_) => rights.may_submit(world, &caller, &queue).then_some(queue),
            Caller::Site(_) | Caller::Local if job.0 != 0 => {
                let job = world.jobs().get(&job)?;
                Some(world.queues().queue(job.queue).spec.name.clone())
            }
            Caller::Local => world.queues().find(&queue).is_ok().then_some(queue),
            Caller::Site(_) => None,
        };
        let queue = self.driver.read(look).await.map_err(unavailable)?;
        Ok(queue.map_or(Account::NOBODY, |queue| Account::of_queue(&queue)))
    }

    async fn receive(
        &self,
        request: Request<Streaming<v1::PutRequest>>,
    ) -> Result<v1::FileStatusReply, Status> {
        let caller = Caller::of(&request)?;
        let _transfer = self.transfer()?;
        let mut messages = request.into_inner();
        let Some(first) = messages.message().await? else {
            let remedy = "send digest, size and offset first";
            return Err(refusal(
                Code::InvalidArgument,
                "EMPTY",
                "the upload says nothing",
                Some("digest"),
                remedy,
            ));
        };
        let digest = parse(&first.digest)?;
        self.check_size(&caller, first.size_bytes)?;
        let account = self.account(&caller, digest, &first).await?;
        let mut status = {
            let _in_use = self.in_use.read().await;
            let spool = self.spool.clone();
            let size_bytes = first.size_bytes;
            off_thread(move || spool.begin_for(&account, &digest, size_bytes))
                .await?
                .map_err(|error| refused(&error))?
        };
        let mut offset = first.offset;
        let mut data = first.data;
        loop {
            if !data.is_empty() && !matches!(status, SpoolStatus::Complete { .. }) {
                let (spool, length) = (self.spool.clone(), data.len() as u64);
                let append = move || spool.append(&digest, offset, &data);
                status = off_thread(append).await?.map_err(|error| refused(&error))?;
                offset += length;
            }
            // What is there needs no more bytes, whoever brought them.
            if matches!(status, SpoolStatus::Complete { .. }) {
                return Ok(reply(status));
            }
            match messages.message().await? {
                Some(next) => data = next.data,
                None => return Ok(reply(status)),
            }
        }
    }

    async fn send(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<ReceiverStream<Result<v1::GetReply, Status>>, Status> {
        Caller::of(&request)?;
        let transfer = self.transfer()?;
        let v1::GetRequest { digest, offset } = request.into_inner();
        let digest = parse(&digest)?;
        let spool = self.spool.clone();
        let opened = {
            let _in_use = self.in_use.read().await;
            off_thread(move || spool.open_at(&digest, offset)).await?
        };
        let (file, size_bytes) = opened.map_err(|error| refused(&error))?;
        if offset > size_bytes {
            let message = format!("the content has {size_bytes} bytes; there is none at {offset}");
            return Err(refusal(
                Code::OutOfRange,
                "BEYOND_THE_END",
                message,
                Some("offset"),
                "start again from 0",
            ));
        }
        let (sender, messages) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(async move {
            let _transfer = transfer;
            send_chunks(file, size_bytes, sender).await;
        });
        Ok(ReceiverStream::new(messages))
    }
}

/// Sends the rest of a file; an empty one in one message, so that its size is said.
async fn send_chunks(
    mut file: File,
    size_bytes: u64,
    sender: mpsc::Sender<Result<v1::GetReply, Status>>,
) {
    let mut first = true;
    loop {
        let read = off_thread(move || {
            let mut data = vec![0; CHUNK_BYTES];
            let length = file.read(&mut data)?;
            data.truncate(length);
            Ok::<_, std::io::Error>((file, data))
        });
        let message = match read.await {
            Ok(Ok((same, data))) => {
                file = same;
                if data.is_empty() && !first {
                    return;
                }
                v1::GetReply {
                    size_bytes,
                    data: data.into(),
                }
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "a spooled file cannot be read");
                let _ = sender
                    .send(Err(Status::internal("the scheduler's disk failed")))
                    .await;
                return;
            }
            Err(status) => {
                let _ = sender.send(Err(status)).await;
                return;
            }
        };
        let last = message.data.is_empty();
        if sender.send(Ok(message)).await.is_err() || last {
            return;
        }
        first = false;
    }
}

fn parse(digest: &str) -> Result<Digest, Status> {
    digest.parse().map_err(|error| refused(&error))
}

fn reply(status: SpoolStatus) -> v1::FileStatusReply {
    let (received_bytes, complete) = match status {
        SpoolStatus::Absent => (0, false),
        SpoolStatus::Partial { received_bytes, .. } => (received_bytes, false),
        SpoolStatus::Complete { size_bytes } => (size_bytes, true),
    };
    v1::FileStatusReply {
        received_bytes,
        complete,
    }
}

#[tonic::async_trait]
impl Files for FilesApi {
    type GetStream = ReceiverStream<Result<v1::GetReply, Status>>;

    async fn status(
        &self,
        request: Request<v1::FileStatusRequest>,
    ) -> Result<Response<v1::FileStatusReply>, Status> {
        let answer = async {
            Caller::of(&request)?;
            let digest = parse(&request.get_ref().digest)?;
            self.status_of(digest).await.map(reply)
        };
        recorded("Status", answer).await
    }

    async fn put(
        &self,
        request: Request<Streaming<v1::PutRequest>>,
    ) -> Result<Response<v1::FileStatusReply>, Status> {
        recorded("Put", self.receive(request)).await
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        recorded("Get", self.send(request)).await
    }

    async fn list_outputs(
        &self,
        request: Request<v1::ListOutputsRequest>,
    ) -> Result<Response<v1::ListOutputsReply>, Status> {
        recorded("ListOutputs", self.outputs(request)).await
    }
}
