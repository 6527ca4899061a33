//! `jero logs`: what a task wrote.
//!
//! The rule: every byte is printed once. Each piece says which attempt wrote it
//! and where in its log it stands, and a stream that broke off is asked for
//! again from the end of the last piece.

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
    loop {
        match print_from(&scheduler, &mut request, &mut patience).await? {
            Ok(()) => return Ok(()),
            Err(lost) => patience.bear(&scheduler, &lost).await?,
        }
    }
}

/// Prints one stream, and moves the request to behind what was printed; gives
/// back why the stream broke off, if it did.
async fn print_from(
    scheduler: &Scheduler,
    request: &mut v1::LogsRequest,
    patience: &mut Patience,
) -> Result<Result<(), tonic::Status>, Failure> {
    let mut client = scheduler.client();
    let mut stream = match scheduler.status_of(client.logs(*request)).await {
        Ok(stream) => stream,
        Err(status) => return Ok(Err(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(reply)) => {
                patience.restore();
                output::write(&reply.data)?;
                request.attempt = reply.attempt;
                request.offset = reply.offset + reply.data.len() as u64;
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
