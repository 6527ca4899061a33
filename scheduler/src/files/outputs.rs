//! The outputs that succeeded tasks of a job brought back, page by page, in the
//! order in which their attempts ended.

use super::FilesApi;
use crate::api::{history_failed, off_thread};
use crate::auth::Caller;
use crate::convert;
use crate::convert::status::{driver as unavailable, refusal, rejected};
use crate::history_record::{AttemptScan, read_job};
use crate::store::history::{AttemptsPosition, History};
use crate::store::journal::Sequence;
use jeroboam_core::ids::JobId;
use jeroboam_core::job::Outcome;
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::rejected::Rejected;
use jeroboam_proto::v1;
use tonic::{Code, Request, Status};

/// Outputs on one page.
const OUTPUTS_MAX: usize = 1_000;
/// Attempts looked at for one page.
const ATTEMPTS_MAX: usize = 20_000;

/// Where a page begins: after a chunk, beyond some of the next one's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PageStart {
    after: AttemptsPosition,
    passed: usize,
}

impl FilesApi {
    pub(super) async fn outputs(
        &self,
        request: Request<v1::ListOutputsRequest>,
    ) -> Result<v1::ListOutputsReply, Status> {
        let caller = Caller::of(&request)?;
        let v1::ListOutputsRequest {
            job,
            ranges,
            page_token,
        } = request.into_inner();
        let wanted = convert::lease::ranges_in(&ranges).map_err(|cause| rejected(&cause))?;
        let start = PageStart::parse(&page_token)?;
        let succeeded = self.succeeded(&caller, job).await?;
        let chosen = match wanted {
            None => succeeded,
            Some(wanted) => succeeded.intersection(&wanted),
        };
        let history = self.driver.history().clone();
        off_thread(move || page(&history, job, &chosen, start)).await?
    }

    /// Which tasks of a job succeeded, for those who may see it.
    async fn succeeded(&self, caller: &Caller, job: u64) -> Result<RangeSet, Status> {
        let (rights, by) = (self.rights.clone(), caller.clone());
        let look = move |world: &jeroboam_core::world::World, _| {
            let found = world.jobs().get(&JobId(job))?;
            let queue = &world.queues().queue(found.queue).spec.name;
            let owner = &world.batches()[&found.batch].by;
            Some(
                rights
                    .check_see(world, &by, queue, owner)
                    .map(|()| found.tasks.succeeded.clone()),
            )
        };
        if let Some(succeeded) = self.driver.read(look).await.map_err(unavailable)? {
            return succeeded;
        }
        let history = self.driver.history().clone();
        let finished = off_thread(move || read_job(&history, job))
            .await?
            .map_err(|error| history_failed(&error))?;
        let finished = finished.ok_or_else(|| rejected(&Rejected::UnknownJob(JobId(job))))?;
        let (rights, by) = (self.rights.clone(), caller.clone());
        let summary = finished.summary.clone();
        let check = move |world: &jeroboam_core::world::World, _| {
            rights.check_see(world, &by, &summary.queue, &summary.by)
        };
        self.driver.read(check).await.map_err(unavailable)??;
        Ok(finished.succeeded())
    }
}

fn page(
    history: &History,
    job: u64,
    chosen: &RangeSet,
    start: PageStart,
) -> Result<v1::ListOutputsReply, Status> {
    let mut outputs = Vec::new();
    let mut here = start;
    let mut chunk = None;
    let scan = AttemptScan::after(history, job, Some(start.after), start.passed);
    for (looked_at, kept) in scan.enumerate() {
        let kept = kept.map_err(|error| history_failed(&error))?;
        if let Some(before) = chunk.filter(|before| *before != kept.chunk) {
            here.after = before;
        }
        chunk = Some(kept.chunk);
        here.passed = kept.place;
        if outputs.len() >= OUTPUTS_MAX || looked_at >= ATTEMPTS_MAX {
            return Ok(v1::ListOutputsReply {
                outputs,
                next_page_token: here.to_string(),
            });
        }
        let task = kept.record.lease.task;
        if kept.record.end.outcome == Outcome::Exit(0) && chosen.contains(task.index) {
            outputs.extend(kept.record.end.outputs.iter().map(|file| v1::TaskOutput {
                task: Some(convert::lease::task(task)),
                file: Some(convert::submission::file(file)),
            }));
        }
    }
    Ok(v1::ListOutputsReply {
        outputs,
        next_page_token: String::new(),
    })
}

impl PageStart {
    const FIRST: PageStart = PageStart {
        after: AttemptsPosition {
            sequence: Sequence::ZERO,
            part: 0,
        },
        passed: 0,
    };

    fn parse(token: &str) -> Result<Self, Status> {
        if token.is_empty() {
            return Ok(Self::FIRST);
        }
        let mut parts = token.split('-');
        let mut next = || parts.next()?.parse::<u64>().ok();
        let mut read = || {
            let (sequence, part, passed) = (next()?, next()?, next()?);
            let after = AttemptsPosition {
                sequence: Sequence(sequence),
                part: u32::try_from(part).ok()?,
            };
            Some(PageStart {
                after,
                passed: usize::try_from(passed).ok()?,
            })
        };
        read().ok_or_else(|| {
            let message = "this is no page token of ListOutputs";
            refusal(
                Code::InvalidArgument,
                "BAD_PAGE_TOKEN",
                message,
                Some("page_token"),
                "hand back the token of the page before",
            )
        })
    }
}

impl std::fmt::Display for PageStart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}-{}-{}",
            self.after.sequence, self.after.part, self.passed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_is_read_as_it_was_written() {
        let start = PageStart {
            after: AttemptsPosition {
                sequence: Sequence(17),
                part: 3,
            },
            passed: 9,
        };
        assert_eq!(PageStart::parse(&start.to_string()).expect("read"), start);
        assert_eq!(PageStart::parse("").expect("read"), PageStart::FIRST);
        for bad in ["1", "1-2", "a-b-c", "1-99999999999-0"] {
            PageStart::parse(bad).expect_err(bad);
        }
    }
}
