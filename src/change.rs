//! `jero cancel`, `hold`, `release` and `retry`.

use jeroboam_proto::v1;
use jeroboam_proto::v1::change_request::Verb;
use serde::Serialize;

use crate::client::{Remote, Scheduler};
use crate::failure::Failure;
use crate::output::Output;
use crate::selector::Selector;

/// What every change takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "SELECTOR is a batch (batch-3), a job (job-17), or elements of a job
('job-17[3-7,9]', in quotes for the shell)."
)]
pub struct Args {
    /// What to change
    #[arg(value_name = "SELECTOR")]
    selector: Selector,
    /// Why, for those who see it later
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Serialize)]
struct Change {
    selector: String,
    changed: u64,
    stopping: u64,
}

/// Changes what was selected.
///
/// # Errors
/// Unreachable or refused.
pub async fn run(verb: Verb, args: Args) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let selector = args.selector.to_string();
    let mut request = v1::ChangeRequest {
        reason: args.reason,
        ..Default::default()
    };
    request.set_verb(verb);
    match args.selector {
        Selector::Batch(batch) => request.batch = batch,
        Selector::Job { job, ranges } => {
            request.job = job;
            request.ranges = ranges;
        }
    }
    let reply = scheduler.answer(scheduler.client().change(request)).await?;
    let change = Change {
        selector,
        changed: reply.changed,
        stopping: reply.stopping,
    };
    args.output.print(&change, |change| table(verb, change))
}

fn table(
    verb: Verb,
    Change {
        selector,
        changed,
        stopping,
    }: &Change,
) -> String {
    let done = match verb {
        Verb::Unspecified => "changed",
        Verb::Cancel => "cancelled",
        Verb::Hold => "held",
        Verb::Release => "released",
        Verb::Retry => "queued again",
    };
    match stopping {
        0 => format!("{selector}: {changed} tasks {done}"),
        _ => format!("{selector}: {changed} tasks {done}, {stopping} are being stopped"),
    }
}
