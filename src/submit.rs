//! `jero submit`: a batch file and its inputs to the scheduler.
//!
//! The rule: one submission makes one batch, however often the connection is
//! lost on the way. Inputs go first, addressed by content; the submission
//! carries a request id and is repeated with the same one until answered.

mod upload;

use std::path::PathBuf;

use jeroboam_proto::v1;
use serde::Serialize;

use crate::batch_file::{self, LocalFile};
use crate::client::{Patience, Remote, Scheduler};
use crate::failure::Failure;
use crate::output::{self, Form, Output};
use crate::selector::BatchId;
use crate::wait;

/// Submits a batch file and prints the batch's id
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The batch file is described in docs/batch-file.md. Faults of the file are all
told at once, with line and column, and nothing is submitted.

Examples:
  jero submit examples/higgs.yaml
  jero submit scan.yaml --queue cms.higgs.alice --wait
  jero submit scan.yaml --request-id night-of-03-01   # safe to repeat"
)]
pub struct Args {
    /// The batch file (YAML)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Submit to this queue instead of the file's
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Name of this submission: repeated, it makes no second batch [default: random]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Wait until it has finished, as `jero wait` does
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Serialize)]
struct Submitted {
    batch: String,
    request_id: String,
    name: String,
    queue: String,
    jobs: Vec<SubmittedJob>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SubmittedJob {
    job: String,
    name: String,
    count: u32,
}

/// Submits a batch.
///
/// # Errors
/// Faults of the file, unreachable or refused; with `--wait` also failed work.
pub async fn run(args: Args) -> Result<(), Failure> {
    let batch = batch_file::read(&args.file, args.queue.as_deref()).map_err(Failure::BatchFile)?;
    let scheduler = Scheduler::of(&args.remote)?;
    let request_id = args
        .request_id
        .unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    // Nothing is uploaded before the scheduler has answered once; one that was
    // started just now is waited for.
    let call =
        |scheduler: Scheduler| async move { scheduler.client().server(v1::ServerRequest {}).await };
    let mut patience = Patience::short();
    scheduler.insist(&mut patience, call).await?;
    let source = batch.source;
    let spec = with_inputs(batch.spec, batch.inputs, &scheduler, &mut patience).await?;
    let reply = submit(&scheduler, &spec, &request_id, &mut patience)
        .await
        .map_err(|failure| failure.in_batch_file(&source))?;
    for warning in &reply.warnings {
        eprintln!("jero: warning: {}", output::plain(warning));
    }
    let batch = BatchId(reply.batch);
    report(args.output, submitted(reply, spec, request_id), args.wait)?;
    if args.wait {
        wait::until_finished(&scheduler, batch, args.output).await
    } else {
        Ok(())
    }
}

/// Repeats the submission with the same request id until it is answered.
async fn submit(
    scheduler: &Scheduler,
    spec: &v1::BatchSpec,
    request_id: &str,
    patience: &mut Patience,
) -> Result<v1::SubmitReply, Failure> {
    let request = v1::SubmitRequest {
        request_id: request_id.to_owned(),
        batch: Some(spec.clone()),
    };
    let call = |scheduler: Scheduler| {
        let request = request.clone();
        async move { scheduler.client().submit(request).await }
    };
    let reply = scheduler.insist(patience, call).await;
    if let Err(Failure::Unreachable { .. }) = reply {
        eprintln!("jero: it is not known whether the batch was submitted; repeating it with");
        eprintln!("jero: --request-id {request_id} makes no second one");
    }
    reply
}

/// Standard output gets the batch's id alone, so that a shell can take it;
/// what else there is to say goes to standard error.
fn report(output: Output, submitted: Submitted, waits: bool) -> Result<(), Failure> {
    if output.output == Form::Table {
        let tasks: u64 = submitted.jobs.iter().map(|job| u64::from(job.count)).sum();
        let (batch, queue) = (&submitted.batch, &submitted.queue);
        let jobs = submitted.jobs.len();
        eprintln!("jero: {batch}: {jobs} jobs with {tasks} tasks submitted to {queue}");
    }
    // With `--wait`, JSON is one document: the batch as it ended.
    if waits && output.output == Form::Json {
        return Ok(());
    }
    output.print(&submitted, |submitted| submitted.batch.clone())
}

fn submitted(reply: v1::SubmitReply, spec: v1::BatchSpec, request_id: String) -> Submitted {
    let jobs = reply
        .jobs
        .iter()
        .zip(spec.jobs)
        .map(|(id, spec)| SubmittedJob {
            job: format!("job-{id}"),
            name: spec.name,
            count: spec.count,
        });
    Submitted {
        batch: format!("batch-{}", reply.batch),
        request_id,
        name: spec.name,
        queue: spec.queue,
        jobs: jobs.collect(),
        warnings: reply.warnings,
    }
}

/// Uploads the inputs and puts them into the jobs.
async fn with_inputs(
    mut spec: v1::BatchSpec,
    inputs: Vec<LocalFile>,
    scheduler: &Scheduler,
    patience: &mut Patience,
) -> Result<v1::BatchSpec, Failure> {
    let contents = upload::all(&inputs, &spec.queue, scheduler, patience).await?;
    for (input, content) in inputs.into_iter().zip(contents) {
        spec.jobs[input.job].inputs.push(v1::File {
            path: input.to,
            digest: content.digest,
            size_bytes: content.size_bytes,
            executable: input.executable,
        });
    }
    Ok(spec)
}
