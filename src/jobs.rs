//! `jero jobs` and `jero job`: the jobs, and one of them closely.

mod by_hand;
mod describe;

use jeroboam_proto::v1;
use jeroboam_units::{Instant, Span};
use serde::Serialize;

use crate::client::{PAGE, Remote, Scheduler};
use crate::failure::Failure;
use crate::output::{self, Amounts, Counts, Output, Waiting};
use crate::selector::BatchId;

use by_hand::ByHand;
pub use describe::{Attempt, DescribeArgs, describe, first_in};

/// Lists jobs, the latest first, and why they wait
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  jero jobs
  jero jobs batch-3
  jero jobs --state failed --finished
  jero jobs --queue cms --output json | jq '.[].waiting.code'")]
pub struct Args {
    /// Only of this batch
    #[arg(value_name = "BATCH")]
    batch: Option<BatchId>,
    /// List only those that have finished, however long ago
    #[arg(long)]
    finished: bool,
    /// Only of this queue and those below it
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Only with tasks in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// The states that `--state` takes.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum State {
    Held,
    Blocked,
    Queued,
    Leased,
    Starting,
    Running,
    Stopping,
    Succeeded,
    Failed,
    Cancelled,
}

impl State {
    fn wire(self) -> v1::TaskState {
        match self {
            Self::Held => v1::TaskState::Held,
            Self::Blocked => v1::TaskState::Blocked,
            Self::Queued => v1::TaskState::Queued,
            Self::Leased => v1::TaskState::Leased,
            Self::Starting => v1::TaskState::Starting,
            Self::Running => v1::TaskState::Running,
            Self::Stopping => v1::TaskState::Stopping,
            Self::Succeeded => v1::TaskState::Succeeded,
            Self::Failed => v1::TaskState::Failed,
            Self::Cancelled => v1::TaskState::Cancelled,
        }
    }
}

/// A job in JSON.
#[derive(Debug, Serialize)]
pub struct Job {
    job: String,
    batch: String,
    name: String,
    queue: String,
    submitted_by: String,
    count: u32,
    tasks: Counts,
    submitted: Option<Instant>,
    started: Option<Instant>,
    finished: Option<Instant>,
    core_ms: i64,
    cost_micro_eur: i64,
    wait_mean_ms: Option<i64>,
    waiting: Option<Waiting>,
    by_hand: Option<ByHand>,
    resources: Amounts,
    #[serde(skip)]
    submitted_ms: i64,
}

impl Job {
    /// Reads the wire's job.
    pub fn of(job: v1::Job) -> Self {
        Self {
            job: format!("job-{}", job.id),
            batch: format!("batch-{}", job.batch),
            tasks: output::counts(&job.tasks),
            submitted: output::moment(job.submitted_ms),
            started: output::moment(job.started_ms),
            finished: output::moment(job.finished_ms),
            wait_mean_ms: job.wait_sum_ms.checked_div(i64::from(job.started_tasks)),
            waiting: Waiting::of(job.waiting.as_ref()),
            by_hand: job.by_hand.map(ByHand::of),
            resources: Amounts::of(job.resources.as_ref()),
            name: job.name,
            queue: job.queue,
            submitted_by: job.submitted_by,
            count: job.count,
            submitted_ms: job.submitted_ms,
            core_ms: job.core_ms,
            cost_micro_eur: job.cost_micro_eur,
        }
    }

    /// Why it waits, or else who changed it by hand last.
    fn because(&self) -> String {
        let waiting = self.waiting.as_ref().map(|reason| reason.text.clone());
        let by_hand = || self.by_hand.as_ref().map(ByHand::text);
        waiting.or_else(by_hand).unwrap_or_default()
    }

    /// Its own facts, for tables.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let waiting = self.waiting.as_ref();
        let wait = self.wait_mean_ms.map(|wait_ms| Span(wait_ms).humane());
        let told = |moment: Option<Instant>| moment.map(|Instant(ms)| output::ago(ms));
        vec![
            ("job", self.job.clone()),
            ("name", self.name.clone()),
            ("batch", self.batch.clone()),
            ("queue", self.queue.clone()),
            ("submitted by", self.submitted_by.clone()),
            ("submitted", told(self.submitted).unwrap_or_default()),
            ("started", told(self.started).unwrap_or_default()),
            ("finished", told(self.finished).unwrap_or_default()),
            ("tasks", output::counts_text(&self.tasks)),
            ("each needs", self.resources.text()),
            ("mean wait", wait.unwrap_or_default()),
            (
                "by hand",
                self.by_hand.as_ref().map(ByHand::text).unwrap_or_default(),
            ),
            ("core-hours", output::core_hours(self.core_ms)),
            ("euros", output::euros(self.cost_micro_eur)),
            (
                "waits because",
                waiting
                    .map(|reason| reason.text.clone())
                    .unwrap_or_default(),
            ),
            (
                "would run if",
                waiting
                    .map(|reason| reason.remedy.clone())
                    .unwrap_or_default(),
            ),
        ]
    }
}

/// Lists jobs.
///
/// # Errors
/// Unreachable or refused.
pub async fn run(args: Args) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let mut jobs: Vec<Job> = Vec::new();
    let mut request = v1::ListJobsRequest {
        batch: args.batch.map_or(0, |BatchId(batch)| batch),
        queue: args.queue.unwrap_or_default(),
        finished: args.finished,
        state: args
            .state
            .map_or(v1::TaskState::Unspecified, State::wire)
            .into(),
        ..Default::default()
    };
    loop {
        let missing = (args.limit as usize).saturating_sub(jobs.len());
        request.limit = PAGE.min(u32::try_from(missing).unwrap_or(PAGE));
        if request.limit == 0 {
            eprintln!("jero: there may be more; raise --limit to see them");
            break;
        }
        let page = scheduler
            .answer(scheduler.client().list_jobs(request.clone()))
            .await?;
        jobs.extend(page.jobs.into_iter().map(Job::of));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    args.output.print(&jobs, |jobs| table(jobs))
}

/// Jobs as a table.
pub fn table(jobs: &[Job]) -> String {
    let rows = jobs.iter().map(|job| {
        vec![
            job.job.clone(),
            job.batch.clone(),
            job.name.clone(),
            job.queue.clone(),
            output::ago(job.submitted_ms),
            output::counts_text(&job.tasks),
            output::core_hours(job.core_ms),
            job.because(),
        ]
    });
    let headings = [
        "job",
        "batch",
        "name",
        "queue",
        "submitted",
        "tasks",
        ">core-h",
        "waits because",
    ];
    output::table(&headings, rows.collect())
}
