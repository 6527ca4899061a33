//! `jero logs`: what a task wrote.
//!
//! The stream begins anew when the connection was lost, so what was printed
//! before is passed over by its length. A log that meanwhile grew beyond its
//! bound, or belongs to another attempt, may then show a gap.

use jeroboam_proto::v1;

use crate::client::{Patience, Remote, Scheduler};
use crate::failure::Failure;
use crate::output;
use crate::selector::JobId;

/// Prints what a task wrote to its standard output or error
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  jero logs 'job-17[4]'
  jero logs job-18 -f              a job of one task needs no index
  jero logs 'job-17[4]' --stderr | less")]
pub struct Args {
    /// The task: job-17[4], or job-17 if it has one task only
    #[arg(value_name = "ID")]
    task: JobId,
    /// Go on printing what it writes until it ends
    #[arg(short, long)]
    follow: bool,
    /// Print standard error instead of standard output
    #[arg(long)]
    stderr: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Prints a log.
///
/// # Errors
/// Unreachable for too long, refused, or no single task was named.
pub async fn run(args: Args) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let task = task(&scheduler, &args.task).await?;
    let mut request = v1::LogsRequest {
        task: Some(task),
        follow: args.follow,
        ..Default::default()
    };
    if args.stderr {
        request.set_stream(v1::LogStream::Stderr);
    }
    let mut patience = Patience::through_a_restart();
    let mut printed: u64 = 0;
    loop {
        match print_from(&scheduler, &request, &mut printed, &mut patience).await? {
            Ok(()) => return Ok(()),
            Err(lost) => patience.bear(&scheduler, &lost).await?,
        }
    }
}

/// Prints one stream's data beyond what was printed before; gives back why
/// the stream broke off, if it did.
async fn print_from(
    scheduler: &Scheduler,
    request: &v1::LogsRequest,
    printed: &mut u64,
    patience: &mut Patience,
) -> Result<Result<(), tonic::Status>, Failure> {
    let mut client = scheduler.client();
    let mut stream = match scheduler.status_of(client.logs(*request)).await {
        Ok(stream) => stream,
        Err(status) => return Ok(Err(status)),
    };
    let mut known = *printed;
    loop {
        match stream.message().await {
            Ok(Some(reply)) => {
                patience.restore();
                let length = reply.data.len() as u64;
                let passed_over = known.min(length);
                known -= passed_over;
                let start = usize::try_from(passed_over).unwrap_or(reply.data.len());
                output::write(&reply.data[start..])?;
                *printed += length - passed_over;
            }
            Ok(None) => return Ok(Ok(())),
            Err(status) => return Ok(Err(status)),
        }
    }
}

/// The one task that is meant.
async fn task(scheduler: &Scheduler, id: &JobId) -> Result<v1::Task, Failure> {
    if let Some(index) = id.index() {
        return Ok(v1::Task { job: id.job, index });
    }
    let JobId { job, ranges } = id;
    let which = format!("write `job-{job}[INDEX]`");
    if !ranges.is_empty() {
        return Err(Failure::input(
            "logs are printed of one task at a time",
            which,
        ));
    }
    let request = v1::DescribeJobRequest {
        job: *job,
        ranges: Vec::new(),
        attempts_max: 1,
    };
    let reply = scheduler
        .answer(scheduler.client().describe_job(request))
        .await?;
    match reply.job.unwrap_or_default().count {
        0 | 1 => Ok(v1::Task {
            job: *job,
            index: 0,
        }),
        count => Err(Failure::input(
            format!("job-{job} has {count} tasks"),
            which,
        )),
    }
}
