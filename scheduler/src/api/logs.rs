//! What a task wrote: from its site while it runs, from the spool once an
//! attempt has ended, from one to the other when followed.
//!
//! A followed log goes on through the task's further attempts and ends when the
//! task has ended. While its site is not reachable it waits; what it missed is
//! taken from what the ended attempt brought back, as far as that was kept. Every
//! piece says where it stands, so that a stream that broke off goes on exactly
//! there, through attempts that ended meanwhile too.

use super::jobs::check_range;
use super::{ClientApi, Sent, Sink, history_failed, off_thread};
use crate::auth::Caller;
use crate::convert;
use crate::convert::status::{driver as unavailable, refusal, rejected, store as refused};
use crate::convert::work::state_of;
use crate::history_record::read_job;
use crate::store::StoreError;
use crate::store::spool::Digest;
use jeroboam_core::ids::{LeaseId, TaskId};
use jeroboam_core::job::{AttemptEnd, AttemptRecord, Job};
use jeroboam_core::rejected::Rejected;
use jeroboam_core::spec::File;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use std::io::Read as _;
use std::ops::Range;
use std::time::Duration;
use tonic::{Code, Status};
use v1::{LogStream, TaskState};

/// Bytes of a stored log in one message.
const CHUNK_BYTES: usize = 64 * 1024;
/// A followed task is looked at no more often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// And no less often, since a site that comes back commits nothing by itself.
const LOOK_LATEST: Duration = Duration::from_secs(2);

/// How a task stands, as far as its log is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// An attempt holds a place.
    Active(LeaseId),
    /// It may have a further attempt.
    Waiting,
    /// It will have no further one, unless tried again by hand.
    Ended,
}

/// Where a log goes on.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// Nothing of earlier ones; 0: the latest there is.
    attempt: u32,
    /// In that attempt's log.
    offset: u64,
}

impl Position {
    /// From where an attempt's log is wanted.
    fn in_attempt(self, attempt: u32) -> u64 {
        if self.attempt == attempt {
            self.offset
        } else {
            0
        }
    }
}

/// How far a live log came.
#[derive(Debug, Clone, Copy)]
struct Live {
    offset: u64,
    /// The agent said that this was all.
    whole: bool,
}

impl ClientApi {
    pub(super) async fn log(
        &self,
        (caller, request): (Caller, v1::LogsRequest),
    ) -> Result<Sent<v1::LogsReply>, Status> {
        let stream = LogStream::try_from(request.stream).map_err(|_| {
            let what = format!("the value {} means nothing to this release", request.stream);
            rejected(&Rejected::invalid("stream", what, "use stdout or stderr"))
        })?;
        let task =
            convert::lease::task_in("task", request.task).map_err(|cause| rejected(&cause))?;
        self.check_log(&caller, task).await?;
        let follow = request.follow;
        let from = position(&request).map_err(|cause| rejected(&cause))?;
        self.stream(|api, sink| async move {
            if follow {
                api.follow_log(task, stream, from, &sink).await
            } else {
                api.print_log(task, stream, from, &sink).await
            }
        })
    }

    /// The task exists, and is one whose log the caller may read.
    async fn check_log(&self, caller: &Caller, task: TaskId) -> Result<(), Status> {
        let (rights, by) = (self.rights.clone(), caller.clone());
        let one = [(task.index, task.index)].into_iter().collect();
        let look = move |world: &World, _: TimeMs| {
            let job = world.jobs().get(&task.job)?;
            let queue = &world.queues().queue(job.queue).spec.name;
            let owner = &world.batches()[&job.batch].by;
            let range =
                check_range(job.id, job.spec.count, Some(&one)).map_err(|cause| rejected(&cause));
            Some(range.and_then(|()| rights.check_see(world, &by, queue, owner)))
        };
        if let Some(checked) = self.driver.read(look).await.map_err(unavailable)? {
            return checked;
        }
        let history = self.driver.history().clone();
        let job = off_thread(move || read_job(&history, task.job.0)).await?;
        let job = job.map_err(|error| history_failed(&error))?;
        let summary = job
            .ok_or_else(|| rejected(&Rejected::UnknownJob(task.job)))?
            .summary;
        let one = [(task.index, task.index)].into_iter().collect();
        check_range(task.job, summary.count, Some(&one)).map_err(|cause| rejected(&cause))?;
        let (rights, by) = (self.rights.clone(), caller.clone());
        let check = move |world: &World, _: TimeMs| {
            rights.check_see(world, &by, &summary.queue, &summary.by)
        };
        self.driver.read(check).await.map_err(unavailable)?
    }

    /// What there is now, of the latest attempt.
    async fn print_log(
        &self,
        task: TaskId,
        stream: LogStream,
        from: Position,
        sink: &Sink<v1::LogsReply>,
    ) -> Result<(), Status> {
        let Standing::Active(lease) = self.standing(task).await? else {
            return self.send_last(task, from, stream, sink).await;
        };
        let live = Live {
            offset: from.in_attempt(lease.attempt),
            whole: false,
        };
        let live = self.send_live(lease, stream, live, false, sink).await?;
        if live.whole {
            return Ok(());
        }
        if self.standing(task).await? == Standing::Active(lease) {
            let message = format!("the site of {lease} is not connected, and its log is there");
            let remedy = "try again when the site is back (`jero sites`)";
            return Err(refusal(
                Code::Unavailable,
                "SITE_DISCONNECTED",
                message,
                None,
                remedy,
            ));
        }
        self.send_rest(lease, stream, live.offset, sink).await
    }

    async fn follow_log(
        &self,
        task: TaskId,
        stream: LogStream,
        mut from: Position,
        sink: &Sink<v1::LogsReply>,
    ) -> Result<(), Status> {
        let mut commits = self.driver.commits();
        loop {
            match self.standing(task).await? {
                Standing::Active(lease) => {
                    let earlier = from.attempt..lease.attempt;
                    self.send_ended(task, earlier, from, stream, sink).await?;
                    let mut live = Live {
                        offset: from.in_attempt(lease.attempt),
                        whole: false,
                    };
                    while self.standing(task).await? == Standing::Active(lease) {
                        if !live.whole {
                            live = self.send_live(lease, stream, live, true, sink).await?;
                        }
                        wait_for_news(&mut commits).await;
                    }
                    self.send_rest(lease, stream, live.offset, sink).await?;
                    from = Position {
                        attempt: lease.attempt + 1,
                        offset: 0,
                    };
                }
                Standing::Waiting => wait_for_news(&mut commits).await,
                Standing::Ended if from.attempt == 0 => {
                    return self.send_last(task, from, stream, sink).await;
                }
                Standing::Ended => {
                    let rest = from.attempt..u32::MAX;
                    return self.send_ended(task, rest, from, stream, sink).await;
                }
            }
        }
    }

    async fn standing(&self, task: TaskId) -> Result<Standing, Status> {
        let look = move |world: &World, _: TimeMs| match world.jobs().get(&task.job) {
            // Only what has ended leaves memory.
            None => Standing::Ended,
            Some(job) => standing_of(world, job, task),
        };
        self.driver.read(look).await.map_err(unavailable)
    }

    /// Sends what an agent sends of a running attempt's log.
    async fn send_live(
        &self,
        lease: LeaseId,
        stream: LogStream,
        from: Live,
        follow: bool,
        sink: &Sink<v1::LogsReply>,
    ) -> Result<Live, Status> {
        let mut live = from;
        let tail = self.driver.tail(lease, stream, live.offset, follow).await;
        let mut pieces = tail.map_err(unavailable)?;
        loop {
            let Ok(piece) = tokio::time::timeout(LOOK_LATEST, pieces.recv()).await else {
                // An agent may have nothing more to say of what has ended.
                if self.standing(lease.task).await? == Standing::Active(lease) {
                    continue;
                }
                return Ok(live);
            };
            let Some(piece) = piece else {
                return Ok(live);
            };
            let known = live.offset.saturating_sub(piece.offset);
            let known = usize::try_from(known).unwrap_or(usize::MAX);
            let end = piece.offset.saturating_add(piece.data.len() as u64);
            if known < piece.data.len() {
                let data = piece.data[known..].to_vec().into();
                let reply = v1::LogsReply {
                    data,
                    attempt: lease.attempt,
                    offset: piece.offset + known as u64,
                };
                sink.send(reply).await?;
            }
            live.offset = live.offset.max(end);
            live.whole |= piece.last;
        }
    }

    /// Sends the last attempt's stored log, if it is not before the position.
    async fn send_last(
        &self,
        task: TaskId,
        from: Position,
        stream: LogStream,
        sink: &Sink<v1::LogsReply>,
    ) -> Result<(), Status> {
        match self.last_attempt(task).await? {
            Some(record) if record.lease.attempt >= from.attempt => {
                let offset = from.in_attempt(record.lease.attempt);
                self.send_stored(&record, stream, offset, sink).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Sends the stored logs of ended attempts in turn, where the position names one.
    async fn send_ended(
        &self,
        task: TaskId,
        attempts: Range<u32>,
        from: Position,
        stream: LogStream,
        sink: &Sink<v1::LogsReply>,
    ) -> Result<(), Status> {
        if from.attempt == 0 || attempts.is_empty() {
            return Ok(());
        }
        for record in self.latest_attempts(task).await?.iter().rev() {
            if attempts.contains(&record.lease.attempt) {
                let offset = from.in_attempt(record.lease.attempt);
                self.send_stored(record, stream, offset, sink).await?;
            }
        }
        Ok(())
    }

    /// Sends what of an ended attempt's log was not sent while it ran.
    async fn send_rest(
        &self,
        lease: LeaseId,
        stream: LogStream,
        offset: u64,
        sink: &Sink<v1::LogsReply>,
    ) -> Result<(), Status> {
        match self.last_attempt(lease.task).await? {
            Some(record) if record.lease == lease => {
                self.send_stored(&record, stream, offset, sink).await
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn send_stored(
        &self,
        record: &AttemptRecord,
        stream: LogStream,
        mut offset: u64,
        sink: &Sink<v1::LogsReply>,
    ) -> Result<(), Status> {
        let attempt = record.lease.attempt;
        let Some(file) = kept(&record.end, stream).filter(|file| offset < file.size_bytes) else {
            return Ok(());
        };
        let digest: Digest = file.digest.parse().map_err(|error| refused(&error))?;
        let opened = {
            let _in_use = self.in_use.read().await;
            let spool = self.spool.clone();
            off_thread(move || spool.open_at(&digest, offset)).await?
        };
        let (mut log, _) = opened.map_err(|error| gone_or(&error))?;
        loop {
            let read = off_thread(move || {
                let mut data = vec![0; CHUNK_BYTES];
                let length = log.read(&mut data)?;
                data.truncate(length);
                Ok::<_, std::io::Error>((log, data))
            });
            let (same, data) = read.await?.map_err(|error| {
                tracing::error!(%error, "a stored log cannot be read");
                Status::internal("the scheduler's disk failed")
            })?;
            log = same;
            if data.is_empty() {
                return Ok(());
            }
            let reply = v1::LogsReply {
                data: data.into(),
                attempt,
                offset,
            };
            offset += reply.data.len() as u64;
            sink.send(reply).await?;
        }
    }
}

fn position(request: &v1::LogsRequest) -> Result<Position, Rejected> {
    let v1::LogsRequest {
        attempt, offset, ..
    } = *request;
    if attempt == 0 && offset != 0 {
        let what = "an offset is in the log of one attempt, and none is named";
        let remedy = "name the attempt that the last piece was of";
        return Err(Rejected::invalid("attempt", what, remedy));
    }
    Ok(Position { attempt, offset })
}

fn standing_of(world: &World, job: &Job, task: TaskId) -> Standing {
    if let Some(active) = job.tasks.active.get(&task.index) {
        return Standing::Active(world.lease(task, active.attempt));
    }
    match state_of(&job.tasks, task.index) {
        Some((TaskState::Held | TaskState::Blocked | TaskState::Queued, _)) => Standing::Waiting,
        Some(_) | None => Standing::Ended,
    }
}

fn kept(end: &AttemptEnd, stream: LogStream) -> Option<File> {
    match stream {
        LogStream::Stdout => end.stdout.clone(),
        LogStream::Stderr => end.stderr.clone(),
    }
}

fn gone_or(error: &StoreError) -> Status {
    match error {
        StoreError::UnknownFile { .. } => {
            let message = "the log is no longer kept";
            refusal(
                Code::NotFound,
                "LOG_GONE",
                message,
                None,
                "`retention` in the scheduler's file says for how long logs stay",
            )
        }
        other => refused(other),
    }
}

/// Waits for a commit, for a while at most, and never spins.
async fn wait_for_news(commits: &mut tokio::sync::watch::Receiver<u64>) {
    let _ = tokio::time::timeout(LOOK_LATEST, commits.changed()).await;
    tokio::time::sleep(LOOK_EVERY).await;
}
