//! `jero batches`: what was submitted, and how far it is.

use jeroboam_proto::v1;
use jeroboam_units::Instant;
use serde::Serialize;

use crate::client::{PAGE, Remote, Scheduler};
use crate::failure::Failure;
use crate::output::{self, Counts, Output};

/// Lists batches, the latest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  jero batches
  jero batches --finished --queue cms --limit 20
  jero batches --output json | jq -r '.[] | select(.tasks.failed) | .batch'")]
pub struct Args {
    /// List only those that have finished, however long ago
    #[arg(long)]
    finished: bool,
    /// Only of this queue and those below it
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// A batch in JSON.
#[derive(Debug, Serialize)]
pub struct Batch {
    batch: String,
    name: String,
    queue: String,
    submitted_by: String,
    submitted: Option<Instant>,
    finished: Option<Instant>,
    jobs: u32,
    tasks: Counts,
    core_ms: i64,
    cost_micro_eur: i64,
    #[serde(skip)]
    submitted_ms: i64,
}

impl Batch {
    /// Reads the wire's batch.
    pub fn of(batch: v1::Batch) -> Self {
        Self {
            batch: format!("batch-{}", batch.id),
            tasks: output::counts(&batch.tasks),
            submitted: output::moment(batch.submitted_ms),
            finished: output::moment(batch.finished_ms),
            submitted_ms: batch.submitted_ms,
            name: batch.name,
            queue: batch.queue,
            submitted_by: batch.submitted_by,
            jobs: batch.jobs,
            core_ms: batch.core_ms,
            cost_micro_eur: batch.cost_micro_eur,
        }
    }
}

/// Lists batches.
///
/// # Errors
/// Unreachable or refused.
pub async fn run(args: Args) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let mut batches: Vec<Batch> = Vec::new();
    let mut request = v1::ListBatchesRequest {
        queue: args.queue.unwrap_or_default(),
        finished: args.finished,
        ..Default::default()
    };
    loop {
        let missing = (args.limit as usize).saturating_sub(batches.len());
        request.limit = PAGE.min(u32::try_from(missing).unwrap_or(PAGE));
        if request.limit == 0 {
            eprintln!("jero: there may be more; raise --limit to see them");
            break;
        }
        let page = scheduler
            .answer(scheduler.client().list_batches(request.clone()))
            .await?;
        batches.extend(page.batches.into_iter().map(Batch::of));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    args.output.print(&batches, |batches| table(batches))
}

fn table(batches: &[Batch]) -> String {
    let rows = batches.iter().map(|batch| {
        vec![
            batch.batch.clone(),
            batch.name.clone(),
            batch.queue.clone(),
            batch.submitted_by.clone(),
            output::ago(batch.submitted_ms),
            batch.jobs.to_string(),
            output::counts_text(&batch.tasks),
            output::core_hours(batch.core_ms),
            output::euros(batch.cost_micro_eur),
        ]
    });
    let headings = [
        "batch",
        "name",
        "queue",
        "by",
        "submitted",
        ">jobs",
        "tasks",
        ">core-h",
        ">euros",
    ];
    output::table(&headings, rows.collect())
}
