//! Jobs: in pages, and one in full, from memory and from the history alike.

use super::batches::is_below;
use super::paging::{Page, limit, merged, newest_first, start};
use super::{ClientApi, history_failed, off_thread};
use crate::auth::Caller;
use crate::convert;
use crate::convert::status::{driver as unavailable, rejected};
use crate::convert::work::Counts;
use crate::history_record::{HistoryError, IDS_END, find_batch, latest, read_job, summary};
use crate::store::history::History;
use crate::waiting::{Reasons, UNEXAMINED};
use jeroboam_core::ids::{JobId, TaskId};
use jeroboam_core::job::{AttemptRecord, Job};
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use tonic::Status;
use v1::TaskState;

/// Ended attempts listed where the request does not say.
const ATTEMPTS_DEFAULT: usize = 20;
/// Attempts listed, at most.
const ATTEMPTS_MAX: usize = 1_000;

impl ClientApi {
    pub(super) async fn jobs(
        &self,
        request: v1::ListJobsRequest,
    ) -> Result<v1::ListJobsReply, Status> {
        let before = start(&request.page_token)?;
        let asked = request.clone();
        let look = move |world: &World, now: TimeMs| in_memory(world, now, &asked, before);
        let live = self.driver.read(look).await.map_err(unavailable)??;
        let page = if request.finished {
            let history = self.driver.history().clone();
            off_thread(move || with_finished(live, &history, &request, before)).await??
        } else {
            live.map(|(_, job)| job)
        };
        let next_page_token = page.next_token();
        Ok(v1::ListJobsReply {
            jobs: page.entries,
            next_page_token,
        })
    }

    pub(super) async fn describe(
        &self,
        (_, request): (Caller, v1::DescribeJobRequest),
    ) -> Result<v1::DescribeJobReply, Status> {
        let wanted =
            convert::lease::ranges_in(&request.ranges).map_err(|cause| rejected(&cause))?;
        let max = match request.attempts_max as usize {
            0 => ATTEMPTS_DEFAULT,
            asked => asked.min(ATTEMPTS_MAX),
        };
        let (id, chosen) = (JobId(request.job), wanted.clone());
        let look = move |world: &World, now: TimeMs| {
            let job = world.jobs().get(&id)?;
            Some(
                check_range(job.id, job.spec.count, chosen.as_ref())
                    .map(|()| describe(world, now, job, chosen.as_ref())),
            )
        };
        let in_memory = self.driver.read(look).await.map_err(unavailable)?;
        let in_memory = in_memory.transpose().map_err(|cause| rejected(&cause))?;
        let history = self.driver.history().clone();
        off_thread(move || with_history(&history, in_memory, id, wanted.as_ref(), max)).await?
    }

    /// The task's attempt that ended last.
    pub(super) async fn last_attempt(&self, task: TaskId) -> Result<Option<AttemptRecord>, Status> {
        Ok(self.attempts_of(task, 1).await?.into_iter().next())
    }

    /// The task's ended attempts, the last one first, within bounds.
    pub(super) async fn latest_attempts(&self, task: TaskId) -> Result<Vec<AttemptRecord>, Status> {
        self.attempts_of(task, ATTEMPTS_MAX).await
    }

    async fn attempts_of(&self, task: TaskId, max: usize) -> Result<Vec<AttemptRecord>, Status> {
        let history = self.driver.history().clone();
        let wanted: RangeSet = [(task.index, task.index)].into_iter().collect();
        let read = move || latest(&history, task.job, Some(&wanted), max);
        off_thread(read)
            .await?
            .map_err(|error| history_failed(&error))
    }
}

/// What is in memory, of what has finished if that alone is asked for.
fn in_memory(
    world: &World,
    now: TimeMs,
    request: &v1::ListJobsRequest,
    before: Option<u64>,
) -> Result<Page<(u64, v1::Job)>, Status> {
    if !request.queue.is_empty() {
        world
            .queues()
            .find(&request.queue)
            .map_err(|cause| rejected(&cause))?;
    }
    let state = state_asked(request.state);
    let mut page = Page::new(limit(request.limit));
    let mut reasons = Reasons::new(world, now);
    let (from, to) = bounds(world, request.batch, before);
    if from < to {
        for (id, job) in world.jobs().range(JobId(from)..JobId(to)).rev() {
            let wanted = || {
                let queue = &world.queues().queue(job.queue).spec.name;
                let matches = is_below(queue, &request.queue)
                    && (!request.finished || job.is_finished())
                    && state.is_none_or(|state| has(job, state));
                let mut listed = || convert::work::job(world, job, waiting(&mut reasons, job));
                matches.then(|| (id.0, listed()))
            };
            if !page.look(id.0, wanted) {
                break;
            }
        }
    }
    Ok(page)
}

/// The ids to look through, the newest first: those of the batch, before where
/// the last page ended.
fn bounds(world: &World, batch: u64, before: Option<u64>) -> (u64, u64) {
    let end = before.unwrap_or(u64::MAX);
    if batch == 0 {
        return (0, end);
    }
    match world.batches().get(&jeroboam_core::ids::BatchId(batch)) {
        Some(batch) => (
            batch.first_job.0,
            end.min(batch.first_job.0 + u64::from(batch.jobs)),
        ),
        None => (0, 0),
    }
}

fn state_asked(wire: i32) -> Option<TaskState> {
    TaskState::try_from(wire)
        .ok()
        .filter(|state| *state != TaskState::Unspecified)
}

fn has(job: &Job, state: TaskState) -> bool {
    let mut counts = Counts::default();
    counts.add(&job.tasks);
    counts.of(state) > 0
}

/// Why the job's queued tasks wait, if it has any.
fn waiting(reasons: &mut Reasons, job: &Job) -> Option<v1::WaitingReason> {
    if job.tasks.queued.is_empty() {
        return None;
    }
    Some(match reasons.of_job(job) {
        Some(reason) => convert::work::waiting(reason),
        None => v1::WaitingReason {
            code: UNEXAMINED.into(),
            text: "not looked for in a list this long".into(),
            remedy: format!("`jero explain {}` looks for it", job.id),
        },
    })
}

/// One page of what has finished, in memory and in the history.
fn with_finished(
    live: Page<(u64, v1::Job)>,
    history: &History,
    request: &v1::ListJobsRequest,
    before: Option<u64>,
) -> Result<Page<v1::Job>, Status> {
    let failed = |error: HistoryError| history_failed(&error);
    let state = state_asked(request.state);
    let (lowest, end) = match request.batch {
        0 => (0, IDS_END),
        id => match find_batch(history, id).map_err(failed)? {
            Some(batch) => (batch.first_job, batch.first_job + u64::from(batch.jobs)),
            None => (0, 0),
        },
    };
    let before = before.unwrap_or(end).min(end);
    let read = |before, max| history.jobs_before(before, max);
    let entries = newest_first(Some(before), read).map(|entry| {
        let entry = entry.map_err(|error| failed(error.into()))?;
        let job = summary(&entry).map_err(failed)?;
        let matches = is_below(&job.queue, &request.queue)
            && state.is_none_or(|state| job.count_of(state) > 0);
        Ok((entry.id, matches.then(|| job.wire())))
    });
    let entries = entries.take_while(|entry| {
        let id = entry.as_ref().map_or(u64::MAX, |(id, _)| *id);
        id >= lowest
    });
    merged(limit(request.limit), live, entries)
}

/// What memory says of a job; its ended attempts are in the history.
fn describe(
    world: &World,
    now: TimeMs,
    job: &Job,
    wanted: Option<&RangeSet>,
) -> v1::DescribeJobReply {
    let chosen = job.tasks.active.iter();
    let chosen = chosen.filter(|(index, _)| wanted.is_none_or(|wanted| wanted.contains(**index)));
    let attempts = chosen.take(ATTEMPTS_MAX).map(|(index, active)| {
        let task = TaskId {
            job: job.id,
            index: *index,
        };
        let lease = world.lease(task, active.attempt);
        convert::attempt::active(world, lease, active)
    });
    v1::DescribeJobReply {
        job: Some(convert::work::job(
            world,
            job,
            waiting(&mut Reasons::new(world, now), job),
        )),
        spec: Some(convert::submission::job_spec(
            world.policy(),
            &job.submitted_spec(),
        )),
        states: convert::by_hand::with_authors(
            &world.batches()[&job.batch],
            job,
            convert::work::states(&job.tasks, wanted),
        ),
        attempts: attempts.collect(),
        altered: convert::work::altered(world, job, wanted),
    }
}

/// Adds what the history knows: all of it, if the job is not in memory.
fn with_history(
    history: &History,
    in_memory: Option<v1::DescribeJobReply>,
    id: JobId,
    wanted: Option<&RangeSet>,
    max: usize,
) -> Result<v1::DescribeJobReply, Status> {
    let failed = |error: HistoryError| history_failed(&error);
    let mut reply = match in_memory {
        Some(reply) => reply,
        None => {
            let job = read_job(history, id.0).map_err(failed)?;
            let job = job.ok_or_else(|| rejected(&Rejected::UnknownJob(id)))?;
            check_range(id, job.summary.count, wanted).map_err(|cause| rejected(&cause))?;
            v1::DescribeJobReply {
                job: Some(job.summary.wire()),
                states: job.states(wanted),
                spec: Some(job.spec),
                attempts: Vec::new(),
                altered: Vec::new(),
            }
        }
    };
    let ended = latest(history, id, wanted, max).map_err(failed)?;
    reply
        .attempts
        .extend(ended.iter().map(convert::attempt::ended));
    Ok(reply)
}

pub(super) fn check_range(
    job: JobId,
    count: u32,
    wanted: Option<&RangeSet>,
) -> Result<(), Rejected> {
    match wanted.and_then(|wanted| wanted.first_from(count)) {
        None => Ok(()),
        Some(_) => {
            let ranges = wanted.cloned().unwrap_or_default();
            Err(Rejected::IndexOutOfRange { job, count, ranges })
        }
    }
}
