//! `jero queues` and `jero queue`: who shares what, and setting it.

mod bounds;
mod listed;
mod reason;

use jeroboam_proto::v1;

use crate::batch_file::nearest;
use crate::client::{Remote, Scheduler};
use crate::failure::Failure;
use crate::output::{self, Output};
use bounds::Bounds;
use listed::Queue;

pub use reason::Reason;

/// Lists the queues: weight, guarantee, limit, entitlement, what each holds and wants
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Amounts are cores; --wide shows all resources. GUARANTEED, LIMIT and RESERVED are there
only if a queue has any. MAY SUBMIT are those named at the queue or above it; `*` is
everybody. The list is cut to the terminal's width, and whole in `jero queue show` and
in JSON.

Examples:
  jero queues
  jero queues --wide
  jero queues --output json | jq '.[] | {queue, held: .held.cpu_milli}'"
)]
pub struct Args {
    /// Show memory, disk and GPUs as well
    #[arg(long)]
    wide: bool,
    #[command(flatten)]
    common: Common,
}

/// Options of every verb about queues.
#[derive(Debug, clap::Args)]
pub struct Common {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// Shows a queue, creates one or changes one
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Shows one queue, and who may submit to it
    #[command(after_help = "Example:
  jero queue show cms.higgs")]
    Show {
        /// Full name: cms.higgs
        #[arg(value_name = "QUEUE")]
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Creates a queue below an existing one
    #[command(after_help = "Examples:
  jero queue create cms.higgs.alice --weight 2 --submitters alice,bob
  jero queue create cms --guarantee cpu=100,memory=400GiB --limit gpu=8
  jero queue create medical --isolation kernel")]
    Create(Settings),
    /// Changes what is given of a queue
    #[command(
        after_help = "Of a guarantee or limit, only the resources that are named change.

Examples:
  jero queue set cms.higgs --weight 3
  jero queue set cms --guarantee cpu=100,memory=400GiB --limit gpu=8
  jero queue set cms --limit gpu=none     lifts the limit on GPUs
  jero queue set cms --limit none         lifts all of them
  jero queue set cms.students --user-running-max 200 --user-queued-max 10000
  jero queue set cms.students --user-running-max 0     lifts that bound"
    )]
    Set(Settings),
    /// Lets nothing more start from a queue and those below it
    #[command(after_help = "Example:
  jero queue cordon cms.higgs --reason 'wrong release'")]
    Cordon {
        /// Full name: cms.higgs
        #[arg(value_name = "QUEUE")]
        name: String,
        /// Why, for those who see it later
        #[arg(long, value_name = "TEXT")]
        reason: Reason,
        #[command(flatten)]
        common: Common,
    },
    /// Lifts a cordon
    #[command(after_help = "Example:
  jero queue uncordon cms.higgs")]
    Uncordon {
        /// Full name: cms.higgs
        #[arg(value_name = "QUEUE")]
        name: String,
        #[command(flatten)]
        common: Common,
    },
}

/// What can be set of a queue.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Full name: cms.higgs.alice
    #[arg(value_name = "QUEUE")]
    name: String,
    /// Its share beside its siblings'; 0 gets what they leave [default of a new one: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=65_536))]
    weight: Option<u32>,
    /// How many tasks it may hold queued
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    queued_max: Option<u64>,
    /// How many tasks may hold a place, here and below; 0 lifts the bound
    #[arg(long, value_name = "N")]
    running_max: Option<u64>,
    /// How many tasks of one user may hold a place, here and below; 0 lifts the bound
    #[arg(long, value_name = "N")]
    user_running_max: Option<u64>,
    /// How many tasks of one user may wait, here and below; 0 lifts the bound
    #[arg(long, value_name = "N")]
    user_queued_max: Option<u64>,
    /// Who may submit here and below, with commas; `*` is everybody
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    submitters: Option<Vec<String>>,
    /// What is its own whenever it asks for it: cpu=100,memory=400GiB,gpu=8, or none
    #[arg(long, value_name = "AMOUNTS")]
    guarantee: Option<Bounds>,
    /// What it may hold at most, with those below it: gpu=8,cpu=none, or none
    #[arg(long, value_name = "AMOUNTS")]
    limit: Option<Bounds>,
    /// How far jobs that are submitted here and below are kept apart from other tenants, at least
    #[arg(long, value_name = "LEVEL")]
    isolation: Option<Level>,
    /// Its work is kept apart from that of its siblings where isolation is asked for; a queue
    /// at the top is a tenant in any case. Only while no batch of it is in memory
    #[arg(long, value_name = "BOOL")]
    tenant: Option<bool>,
    #[command(flatten)]
    common: Common,
}

impl Settings {
    /// How many tasks at most, if anything is said of that.
    fn bounds(&self) -> Option<v1::TaskBounds> {
        let bounds = v1::TaskBounds {
            running_max: self.running_max,
            user_running_max: self.user_running_max,
            user_queued_max: self.user_queued_max,
        };
        (bounds != v1::TaskBounds::default()).then_some(bounds)
    }
}

/// How far work is kept apart from other tenants.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Level {
    /// One kernel for all
    Shared,
    /// A kernel boundary around each container
    Sandbox,
    /// A kernel that no other tenant uses or has used
    Kernel,
}

impl Level {
    fn wire(self) -> v1::Isolation {
        match self {
            Level::Shared => v1::Isolation::Shared,
            Level::Sandbox => v1::Isolation::Sandbox,
            Level::Kernel => v1::Isolation::Kernel,
        }
    }
}

/// Lists the queues.
///
/// # Errors
/// Unreachable or refused.
pub async fn list(args: Args) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.common.remote)?;
    let queues: Vec<Queue> = fetch(&scheduler)
        .await?
        .into_iter()
        .map(Queue::of)
        .collect();
    let text = |queues: &Vec<Queue>| match args.wide {
        false => listed::table(queues),
        true => listed::wide(queues),
    };
    args.common.output.print(&queues, text)
}

async fn fetch(scheduler: &Scheduler) -> Result<Vec<v1::Queue>, Failure> {
    let request = v1::ListQueuesRequest {};
    let reply = scheduler
        .answer(scheduler.client().list_queues(request))
        .await?;
    Ok(reply.queues)
}

/// The queue of a name.
async fn find(scheduler: &Scheduler, name: &str) -> Result<v1::Queue, Failure> {
    let queues = fetch(scheduler).await?;
    match queues.iter().find(|queue| queue.name == name) {
        Some(queue) => Ok(queue.clone()),
        None => {
            let known = queues.iter().map(|queue| queue.name.as_str());
            let what = format!("there is no queue `{name}`");
            Err(Failure::input(what, nearest::remedy(name, known)))
        }
    }
}

async fn show(name: &str, common: &Common) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&common.remote)?;
    let queue = Queue::of(find(&scheduler, name).await?);
    common.output.print(&queue, listed::facts)
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
        Verb::Set(settings) => set_given(settings).await,
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

/// Sets what was given; a guarantee or limit on top of the one there is.
async fn set_given(settings: Settings) -> Result<(), Failure> {
    let bounds = settings.bounds();
    let mut request = v1::SetQueueRequest {
        bounds,
        weight: settings.weight,
        queued_max: settings.queued_max,
        submitters: settings.submitters.map(|names| v1::Submitters { names }),
        isolation: settings.isolation.map(|level| level.wire().into()),
        tenant: settings.tenant,
        name: settings.name.clone(),
        ..Default::default()
    };
    if settings.guarantee.is_some() || settings.limit.is_some() {
        let scheduler = Scheduler::of(&settings.common.remote)?;
        let before = find(&scheduler, &settings.name).await?;
        let guarantee = settings.guarantee;
        request.guarantee = guarantee.map(|given| given.guarantee(before.guarantee));
        request.limit = settings.limit.map(|given| given.limit(before.limit));
    } else if let (None, None, None, None, None, None) = (
        settings.weight,
        settings.queued_max,
        request.submitters.as_ref(),
        bounds,
        settings.isolation,
        settings.tenant,
    ) {
        let remedy = "give --weight, --guarantee, --limit, --submitters, --isolation or one of the other bounds (`--help`)";
        return Err(Failure::input("nothing was given to set", remedy));
    }
    set(request, &settings.common).await
}

async fn create(settings: Settings) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&settings.common.remote)?;
    let request = v1::CreateQueueRequest {
        bounds: settings.bounds(),
        guarantee: settings.guarantee.map(|given| given.guarantee(None)),
        limit: settings.limit.map(|given| given.limit(None)),
        name: settings.name,
        weight: settings.weight,
        queued_max: settings.queued_max.unwrap_or(0),
        submitters: settings.submitters.unwrap_or_default(),
        isolation: settings
            .isolation
            .map_or(v1::Isolation::Shared, Level::wire)
            .into(),
        tenant: settings.tenant.unwrap_or(false),
    };
    let queue = scheduler
        .answer(scheduler.client().create_queue(request))
        .await?;
    told(queue, &settings.common)
}

/// What a change made of a queue; warnings go to standard error.
fn told(queue: v1::Queue, common: &Common) -> Result<(), Failure> {
    for warning in &queue.warnings {
        eprintln!("jero: warning: {}", output::plain(warning));
    }
    common.output.print(&Queue::of(queue), listed::facts)
}

async fn set(request: v1::SetQueueRequest, common: &Common) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&common.remote)?;
    let queue = scheduler
        .answer(scheduler.client().set_queue(request))
        .await?;
    told(queue, common)
}
