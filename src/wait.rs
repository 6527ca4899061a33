//! `jero wait`: until a batch has finished, whatever happens to the scheduler
//! or the connection meanwhile.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use jeroboam_proto::v1;

use crate::batches::Batch;
use crate::client::{Patience, Remote, Scheduler};
use crate::failure::Failure;
use crate::jobs::{self, Job};
use crate::output::{self, Output};
use crate::selector::BatchId;

/// Waits until a batch has finished; succeeds only if all its tasks did
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all tasks succeeded, 1 some failed or were cancelled,
3 the scheduler was away for more than five minutes, 4 it refused.

Examples:
  jero wait batch-3 && jero get batch-3
  jero wait $(jero submit scan.yaml)"
)]
pub struct Args {
    /// The batch
    #[arg(value_name = "BATCH")]
    batch: BatchId,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// Without a terminal, progress is a line no more often than this.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Waits for the batch that the arguments name.
///
/// # Errors
/// The work failed, or the scheduler is unreachable for too long or refused.
pub async fn run(args: Args) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    until_finished(&scheduler, args.batch, args.output).await
}

/// Waits for a batch and prints how it ended.
///
/// # Errors
/// See [`run`].
pub async fn until_finished(
    scheduler: &Scheduler,
    BatchId(batch): BatchId,
    output: Output,
) -> Result<(), Failure> {
    let mut patience = Patience::through_a_restart();
    let mut progress = Progress::new();
    let ended = loop {
        match watch(scheduler, batch, &mut patience, &mut progress).await {
            Ok(Some(ended)) => break ended,
            Ok(None) => {
                let ended = tonic::Status::unavailable("it ended the stream");
                patience.bear(scheduler, &ended).await?;
            }
            Err(lost) => patience.bear(scheduler, &lost).await?,
        }
    };
    progress.clear();
    let succeeded = sum(&ended, |state| state == v1::TaskState::Succeeded);
    let tasks = sum(&ended, |_| true);
    let counts = output::counts_text(&output::counts(&ended.tasks));
    output.print(&Batch::of(ended), |_| {
        format!("batch-{batch} has finished: {counts}")
    })?;
    if succeeded == tasks {
        return Ok(());
    }
    let failed = failed_jobs(scheduler, batch, &mut patience).await?;
    let remedy = remedy(scheduler, &failed, &mut patience).await?;
    let failed: Vec<Job> = failed.into_iter().map(Job::of).collect();
    let what = format!(
        "{} of {tasks} tasks of batch-{batch} did not succeed",
        tasks - succeeded
    );
    Err(Failure::Work(format!(
        "{what}\n{}\n  do: {remedy}",
        jobs::table(&failed)
    )))
}

/// Follows the batch; none if the stream ended before the batch.
async fn watch(
    scheduler: &Scheduler,
    batch: u64,
    patience: &mut Patience,
    progress: &mut Progress,
) -> Result<Option<v1::Batch>, tonic::Status> {
    let mut client = scheduler.client();
    let mut stream = scheduler
        .status_of(client.watch_batch(v1::WatchBatchRequest { batch }))
        .await?;
    while let Some(seen) = stream.message().await? {
        patience.restore();
        progress.show(&seen);
        if seen.finished_ms != 0 {
            return Ok(Some(seen));
        }
    }
    Ok(None)
}

fn sum(batch: &v1::Batch, counts: impl Fn(v1::TaskState) -> bool) -> u64 {
    let counted = batch.tasks.iter().filter(|count| counts(count.state()));
    counted.map(|count| u64::from(count.count)).sum()
}

async fn failed_jobs(
    scheduler: &Scheduler,
    batch: u64,
    patience: &mut Patience,
) -> Result<Vec<v1::Job>, Failure> {
    const SHOWN_MAX: usize = 20;
    let other_than_succeeded = |job: &v1::Job| {
        job.tasks
            .iter()
            .any(|count| count.state() != v1::TaskState::Succeeded && count.count > 0)
    };
    let jobs = scheduler.jobs_of_batch(batch, patience).await?;
    let failed = jobs.into_iter().filter(other_than_succeeded);
    Ok(failed.take(SHOWN_MAX).collect())
}

/// Points at a task that failed, since most others may only follow from it; at
/// one that was cancelled if none did.
async fn remedy(
    scheduler: &Scheduler,
    jobs: &[v1::Job],
    patience: &mut Patience,
) -> Result<String, Failure> {
    for state in [v1::TaskState::Failed, v1::TaskState::Cancelled] {
        let has = |job: &&v1::Job| job.tasks.iter().any(|count| count.state() == state);
        let Some(job) = jobs.iter().find(has) else {
            continue;
        };
        let reply = scheduler.describe(job.id, patience).await?;
        if let Some(index) = jobs::first_in(&reply.states, state) {
            let task = format!("job-{}[{index}]", job.id);
            return Ok(match state {
                v1::TaskState::Failed => {
                    format!("see `jero explain '{task}'` and `jero logs '{task}' --stderr`")
                }
                _ => format!("see `jero explain '{task}'`"),
            });
        }
    }
    Ok("see `jero jobs` and `jero job ID`".to_owned())
}

/// A bar on a terminal, now and then a line elsewhere; on standard error.
struct Progress {
    bar: Option<ProgressBar>,
    last: Option<(Instant, String)>,
}

impl Progress {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, last: None }
    }

    fn show(&mut self, batch: &v1::Batch) {
        let ended = |state| {
            matches!(
                state,
                v1::TaskState::Succeeded | v1::TaskState::Failed | v1::TaskState::Cancelled
            )
        };
        let counts = output::counts_text(&output::counts(&batch.tasks));
        if let Some(bar) = &self.bar {
            bar.set_length(sum(batch, |_| true));
            bar.set_position(sum(batch, ended));
            bar.set_message(counts);
            return;
        }
        let due = self
            .last
            .as_ref()
            .is_none_or(|(when, text)| when.elapsed() >= LINE_EVERY && *text != counts);
        if due {
            eprintln!("jero: batch-{}: {counts}", batch.id);
            self.last = Some((Instant::now(), counts));
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
