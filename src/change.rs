//! `jero cancel`, `hold`, `release`, `retry`, `preempt` and `set`.

use jeroboam_proto::v1;
use jeroboam_proto::v1::change_request::Verb;
use serde::Serialize;

use crate::client::{Remote, Scheduler};
use crate::failure::Failure;
use crate::output::Output;
use crate::selector::Selector;

/// What a verb with a selector says after its options: what that is, and examples.
pub fn examples(examples: &str) -> String {
    format!(
        "SELECTOR is a batch (batch-3), a job (job-17), or elements of a job
('job-17[3-7,9]', in quotes for the shell).

Examples:
{examples}"
    )
}

/// What every change takes.
#[derive(Debug, clap::Args)]
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

/// What `jero set` takes.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// Higher goes first inside the queue; of what runs nothing changes
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: i32,
    #[command(flatten)]
    change: Args,
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
    ask(verb, 0, args).await
}

/// Gives jobs another priority.
///
/// # Errors
/// Unreachable or refused.
pub async fn set(args: SetArgs) -> Result<(), Failure> {
    ask(Verb::Prioritise, args.priority, args.change).await
}

async fn ask(verb: Verb, priority: i32, args: Args) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let selector = args.selector.to_string();
    let mut request = v1::ChangeRequest {
        reason: args.reason,
        priority,
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
        Verb::Preempt => "preempted",
        Verb::Prioritise => "given the priority",
    };
    match (verb, stopping) {
        (Verb::Preempt, _) => format!("{selector}: {stopping} tasks are losing their places"),
        (_, 0) => format!("{selector}: {changed} tasks {done}"),
        (_, stopping) => {
            format!("{selector}: {changed} tasks {done}, {stopping} are being stopped")
        }
    }
}
