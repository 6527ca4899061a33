//! `jero explain`: why a task waits, and what would let it run; or why it ended.

mod end;
mod prediction;
mod reservation;

use jeroboam_proto::v1;
use serde::Serialize;

use crate::client::{Remote, Scheduler};
use crate::failure::Failure;
use crate::jobs;
use crate::output::{self, Amounts, Output, Waiting};
use crate::selector::JobId;
use end::End;
use prediction::Prediction;
use reservation::Reservation;

/// Says why a task waits, where, and what would let it run; or how it ended
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The last table goes from the root down to the task's queue. At each level the queue
with the lowest KEY goes first: what it would hold with this task, as a part of its share
by weight (1.000 is all of it; where there is enough for all, of what its parent could
have), and more for a while after it held much. Under the orders of one line it decides
nothing.

Examples:
  jero explain 'job-17[4]'
  jero explain 'job-17[4]' --predict   and when it would start
  jero explain job-17              its first task that waits, else one that failed
  jero explain job-17 --output json | jq -r .waiting.code"
)]
pub struct Args {
    /// The task: job-17[4]; of job-17 the first that waits, else one that failed
    #[arg(value_name = "ID")]
    task: JobId,
    /// Say when a waiting task would start, if everything takes its whole walltime limit and
    /// nothing new comes; takes some seconds where much waits
    #[arg(long)]
    predict: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Serialize)]
struct Explanation {
    task: String,
    state: &'static str,
    waiting: Option<Waiting>,
    position: Option<u64>,
    refusals: Vec<Refusal>,
    shares: Vec<Share>,
    reservation: Option<Reservation>,
    prediction: Option<Prediction>,
    end: Option<End>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    site: String,
    reason: Option<Waiting>,
    nodes: u32,
}

#[derive(Debug, Serialize)]
struct Share {
    queue: String,
    weight: u32,
    entitlement: Amounts,
    held: Amounts,
    key_milli: i64,
}

/// Explains a task.
///
/// # Errors
/// Unreachable, refused, or no single task was named.
pub async fn run(args: Args) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let index = match (args.task.index(), args.task.ranges.is_empty()) {
        (Some(index), _) => index,
        (None, true) => most_wanted(&scheduler, args.task.job).await?,
        (None, false) => {
            let remedy = format!("write `job-{}[INDEX]`", args.task.job);
            return Err(Failure::input("one task is explained at a time", remedy));
        }
    };
    let task = Some(v1::Task {
        job: args.task.job,
        index,
    });
    let predict = args.predict;
    let reply = scheduler
        .answer(
            scheduler
                .client()
                .explain(v1::ExplainRequest { task, predict }),
        )
        .await?;
    args.output.print(&explanation(reply), table)
}

/// The first element that waits, in the order of how near it is to running; if
/// none waits, the first that failed or was cancelled; else the job's first.
async fn most_wanted(scheduler: &Scheduler, job: u64) -> Result<u32, Failure> {
    const WANTED: [v1::TaskState; 5] = [
        v1::TaskState::Queued,
        v1::TaskState::Blocked,
        v1::TaskState::Held,
        v1::TaskState::Failed,
        v1::TaskState::Cancelled,
    ];
    let request = v1::DescribeJobRequest {
        job,
        ranges: Vec::new(),
        attempts_max: 1,
    };
    let reply = scheduler
        .answer(scheduler.client().describe_job(request))
        .await?;
    let first_in = |state| jobs::first_in(&reply.states, state);
    Ok(WANTED.into_iter().find_map(first_in).unwrap_or(0))
}

fn explanation(reply: v1::ExplainReply) -> Explanation {
    let task = reply.task.unwrap_or_default();
    let refusals = reply.refusals.into_iter().map(|refusal| Refusal {
        reason: Waiting::of(refusal.reason.as_ref()),
        site: refusal.site,
        nodes: refusal.nodes,
    });
    let shares = reply.path.into_iter().map(|step| Share {
        entitlement: Amounts::of(step.entitlement.as_ref()),
        held: Amounts::of(step.held.as_ref()),
        queue: step.queue,
        weight: step.weight,
        key_milli: step.key_milli,
    });
    Explanation {
        task: format!("job-{}[{}]", task.job, task.index),
        state: output::state(reply.state),
        waiting: Waiting::of(reply.waiting.as_ref()),
        position: (reply.position != 0).then_some(reply.position),
        refusals: refusals.collect(),
        shares: shares.collect(),
        reservation: reply.reservation.map(Reservation::of),
        prediction: reply.prediction.map(Prediction::of),
        end: reply.end.map(End::of),
    }
}

fn table(explanation: &Explanation) -> String {
    let waiting = explanation.waiting.as_ref();
    let position = explanation
        .position
        .map(|position| format!("{position} of all that wait"));
    let mut facts = vec![
        ("task", explanation.task.clone()),
        ("state", explanation.state.to_owned()),
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
        ("position", position.unwrap_or_default()),
    ];
    if let Some(reservation) = &explanation.reservation {
        facts.extend(reservation.facts());
    }
    if let Some(prediction) = &explanation.prediction {
        facts.extend(prediction.facts());
    }
    if let Some(end) = &explanation.end {
        facts.extend(end.facts(&explanation.task));
    }
    let mut text = output::facts(&facts);
    if !explanation.refusals.is_empty() {
        let rows = explanation.refusals.iter().map(|refusal| {
            let reason = refusal.reason.as_ref().map(|reason| reason.text.clone());
            vec![
                refusal.site.clone(),
                refusal.nodes.to_string(),
                reason.unwrap_or_default(),
            ]
        });
        text += "\n\n";
        text += &output::table(&["site", ">nodes", "refuse it because"], rows.collect());
    }
    if !explanation.shares.is_empty() {
        let rows = explanation.shares.iter().map(|share| {
            let key = format!(
                "{}.{:03}",
                share.key_milli / 1000,
                (share.key_milli % 1000).abs()
            );
            let queue = if share.queue.is_empty() {
                "(all)"
            } else {
                &share.queue
            };
            let (entitlement, held) = (share.entitlement.text(), share.held.text());
            vec![
                queue.to_owned(),
                share.weight.to_string(),
                entitlement,
                held,
                key,
            ]
        });
        let headings = ["queue", ">weight", "entitlement", "held", ">key"];
        text += "\n\n";
        text += &output::table(&headings, rows.collect());
    }
    text
}
