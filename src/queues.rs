//! `jero queues` and `jero queue`: who shares what, and setting it.

mod reason;

use std::collections::BTreeSet;

use jeroboam_proto::v1;
use serde::Serialize;

use crate::batch_file::nearest;
use crate::client::{Remote, Scheduler};
use crate::failure::Failure;
use crate::output::{self, Amounts, Output};

pub use reason::Reason;

/// Lists the queues: weight, entitlement, what each holds and wants
#[derive(Debug, clap::Args)]
#[command(
    after_help = "MAY SUBMIT are those named at the queue or above it; `*` is everybody. The list is
cut to the terminal's width, and whole in `jero queue show` and in JSON.

Examples:
  jero queues
  jero queues --output json | jq '.[] | {queue, held: .held.cpu_milli}'"
)]
pub struct Args {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// Shows a queue, creates one or changes one
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Shows one queue, and who may submit to it
    Show {
        /// Full name: cms.higgs
        #[arg(value_name = "QUEUE")]
        name: String,
        #[command(flatten)]
        common: Args,
    },
    /// Creates a queue below an existing one
    #[command(after_help = "Example:
  jero queue create cms.higgs.alice --weight 2 --submitters alice,bob")]
    Create(Settings),
    /// Changes what is given of a queue
    #[command(after_help = "Example:
  jero queue set cms.higgs --weight 3")]
    Set(Settings),
    /// Lets nothing more start from a queue and those below it
    Cordon {
        /// Full name: cms.higgs
        #[arg(value_name = "QUEUE")]
        name: String,
        /// Why, for those who see it later
        #[arg(long, value_name = "TEXT")]
        reason: Reason,
        #[command(flatten)]
        common: Args,
    },
    /// Lifts a cordon
    Uncordon {
        /// Full name: cms.higgs
        #[arg(value_name = "QUEUE")]
        name: String,
        #[command(flatten)]
        common: Args,
    },
}

/// What can be set of a queue.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Full name: cms.higgs.alice
    #[arg(value_name = "QUEUE")]
    name: String,
    /// Its share beside its siblings'
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    weight: Option<u32>,
    /// How many tasks it may hold queued
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    queued_max: Option<u64>,
    /// Who may submit here and below, with commas; `*` is everybody
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    submitters: Option<Vec<String>>,
    #[command(flatten)]
    common: Args,
}

#[derive(Debug, Serialize)]
struct Queue {
    queue: String,
    weight: u32,
    cordoned: String,
    queued_max: u64,
    submitters: Vec<String>,
    submitters_above: Vec<String>,
    queued: u64,
    running: u64,
    demand: Amounts,
    entitlement: Amounts,
    held: Amounts,
    usage: Amounts,
    core_ms: i64,
    cost_micro_eur: i64,
}

impl Queue {
    fn of(queue: v1::Queue) -> Self {
        Self {
            demand: Amounts::of(queue.demand.as_ref()),
            entitlement: Amounts::of(queue.entitlement.as_ref()),
            held: Amounts::of(queue.held.as_ref()),
            usage: Amounts::of(queue.usage.as_ref()),
            queue: queue.name,
            weight: queue.weight,
            cordoned: queue.cordoned,
            queued_max: queue.queued_max,
            submitters: queue.submitters,
            submitters_above: queue.submitters_above,
            queued: queue.queued,
            running: queue.running,
            core_ms: queue.core_ms,
            cost_micro_eur: queue.cost_micro_eur,
        }
    }

    /// All who may submit here, by name.
    fn may_submit(&self) -> String {
        let named: BTreeSet<&str> = self
            .submitters
            .iter()
            .chain(&self.submitters_above)
            .map(String::as_str)
            .collect();
        match named {
            named if named.is_empty() => "nobody".to_owned(),
            named if named.contains("*") => "*".to_owned(),
            named => named.into_iter().collect::<Vec<_>>().join(","),
        }
    }
}

/// Lists the queues.
///
/// # Errors
/// Unreachable or refused.
pub async fn list(args: Args) -> Result<(), Failure> {
    let queues = fetch(&args).await?;
    args.output.print(&queues, |queues| table(queues))
}

async fn fetch(args: &Args) -> Result<Vec<Queue>, Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let request = v1::ListQueuesRequest {};
    let reply = scheduler
        .answer(scheduler.client().list_queues(request))
        .await?;
    Ok(reply.queues.into_iter().map(Queue::of).collect())
}

async fn show(name: &str, common: &Args) -> Result<(), Failure> {
    let queues = fetch(common).await?;
    match queues.iter().find(|queue| queue.queue == name) {
        Some(queue) => common.output.print(queue, facts),
        None => {
            let known = queues.iter().map(|queue| queue.queue.as_str());
            let what = format!("there is no queue `{name}`");
            Err(Failure::input(what, nearest::remedy(name, known)))
        }
    }
}

/// Shows, creates or changes a queue.
///
/// # Errors
/// Unreachable or refused.
pub async fn change(verb: Verb) -> Result<(), Failure> {
    let request = |name| v1::SetQueueRequest {
        name,
        ..Default::default()
    };
    match verb {
        Verb::Show { name, common } => show(&name, &common).await,
        Verb::Create(settings) => create(settings).await,
        Verb::Set(settings) => {
            let given = (&settings.weight, &settings.queued_max, &settings.submitters);
            if let (None, None, None) = given {
                let remedy = "give --weight, --queued-max or --submitters";
                return Err(Failure::input("nothing was given to set", remedy));
            }
            let request = v1::SetQueueRequest {
                weight: settings.weight,
                queued_max: settings.queued_max,
                submitters: settings.submitters.map(|names| v1::Submitters { names }),
                ..request(settings.name)
            };
            set(request, &settings.common).await
        }
        Verb::Cordon {
            name,
            reason,
            common,
        } => {
            set(
                v1::SetQueueRequest {
                    cordon: Some(reason.into()),
                    ..request(name)
                },
                &common,
            )
            .await
        }
        Verb::Uncordon { name, common } => {
            set(
                v1::SetQueueRequest {
                    cordon: Some(String::new()),
                    ..request(name)
                },
                &common,
            )
            .await
        }
    }
}

async fn create(settings: Settings) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&settings.common.remote)?;
    let request = v1::CreateQueueRequest {
        guarantee: None,
        limit: None,
        name: settings.name,
        weight: settings.weight.unwrap_or(0),
        queued_max: settings.queued_max.unwrap_or(0),
        submitters: settings.submitters.unwrap_or_default(),
    };
    let queue = scheduler
        .answer(scheduler.client().create_queue(request))
        .await?;
    told(queue, &settings.common)
}

/// What a change made of a queue; warnings go to standard error.
fn told(queue: v1::Queue, common: &Args) -> Result<(), Failure> {
    for warning in &queue.warnings {
        eprintln!("jero: warning: {}", output::plain(warning));
    }
    common.output.print(&Queue::of(queue), facts)
}

async fn set(request: v1::SetQueueRequest, common: &Args) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&common.remote)?;
    let queue = scheduler
        .answer(scheduler.client().set_queue(request))
        .await?;
    told(queue, common)
}

const HEADINGS: [&str; 12] = [
    "queue",
    ">weight",
    ">entitled cpu",
    ">held cpu",
    ">usage cpu",
    ">demand cpu",
    ">queued",
    ">running",
    ">core-h",
    ">euros",
    "may submit",
    "cordoned",
];

/// Who may submit, and why it is cordoned, may have any length.
const CUT: [usize; 2] = [10, 11];

fn table(queues: &[Queue]) -> String {
    let rows = queues.iter().map(|queue| {
        vec![
            queue.queue.clone(),
            queue.weight.to_string(),
            queue.entitlement.cpu(),
            queue.held.cpu(),
            queue.usage.cpu(),
            queue.demand.cpu(),
            queue.queued.to_string(),
            queue.running.to_string(),
            output::core_hours(queue.core_ms),
            output::euros(queue.cost_micro_eur),
            queue.may_submit(),
            queue.cordoned.clone(),
        ]
    });
    let mut rows: Vec<_> = rows.collect();
    output::fit(&HEADINGS, &mut rows, &CUT, output::terminal_columns());
    output::table(&HEADINGS, rows)
}

fn facts(queue: &Queue) -> String {
    output::facts(&[
        ("queue", queue.queue.clone()),
        ("weight", queue.weight.to_string()),
        ("queued at most", queue.queued_max.to_string()),
        ("may submit", queue.may_submit()),
        ("cordoned", queue.cordoned.clone()),
        ("entitlement", queue.entitlement.text()),
        ("held", queue.held.text()),
        ("usage", queue.usage.text()),
        ("demand", queue.demand.text()),
        ("queued", queue.queued.to_string()),
        ("running", queue.running.to_string()),
        ("core-hours", output::core_hours(queue.core_ms)),
        ("euros", output::euros(queue.cost_micro_eur)),
    ])
}
