//! `jero get`: the outputs of a batch or job, onto this machine.
//!
//! The rule: what stands under an output's name is the whole output, its
//! checksum verified; what is on its way has another name and is continued by
//! the next `get`. A file that is there with another content is never
//! replaced unasked.

mod download;

use std::path::{Path, PathBuf};

use jeroboam_core::spec::{is_name, stays_inside};
use jeroboam_proto::v1;
use jeroboam_units::Bytes;
use serde::Serialize;

use crate::client::{Patience, Remote, Scheduler};
use crate::failure::Failure;
use crate::output::{self, Counts, Output};
use crate::selector::Selector;
use download::Fetched;

/// Downloads the outputs of a batch, a job, or elements of a job
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Outputs are put at DIR/JOB-NAME/INDEX/PATH. What is there already is not
fetched again, and what was cut off is continued.

Examples:
  jero get batch-3
  jero get 'job-17[0-9]' --to results"
)]
pub struct Args {
    /// Whose outputs: batch-3, job-17, job-17[3-7,9]
    #[arg(value_name = "ID")]
    selector: Selector,
    /// Directory to put them in [default: the batch's or job's id]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Replace files that are there with another content
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// An output on this machine, in JSON.
#[derive(Debug, Serialize)]
struct OutputFile {
    task: String,
    path: String,
    file: PathBuf,
    size_bytes: u64,
    sha256: String,
    fetched: bool,
}

/// Downloads outputs.
///
/// # Errors
/// Unreachable for too long, refused, or a file cannot be written.
pub async fn run(args: Args) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let mut patience = Patience::through_a_restart();
    let directory = args.to.unwrap_or_else(|| match &args.selector {
        Selector::Batch(batch) => PathBuf::from(format!("batch-{batch}")),
        Selector::Job { job, .. } => PathBuf::from(format!("job-{job}")),
    });
    let mut files = Vec::new();
    let selected = selected(&scheduler, &args.selector, &mut patience).await?;
    for (job, ranges) in &selected {
        let mut request = v1::ListOutputsRequest {
            job: job.id,
            ranges: ranges.clone(),
            ..Default::default()
        };
        loop {
            let page = scheduler
                .insist(&mut patience, |scheduler| {
                    let request = request.clone();
                    async move { scheduler.files().list_outputs(request).await }
                })
                .await?;
            for output in page.outputs {
                let place = place(&directory, &job.name, &output)?;
                let file = output.file.clone().unwrap_or_default();
                let fetched =
                    download::one(&scheduler, &file, &place, args.overwrite, &mut patience).await?;
                files.push(output_file(output, place, fetched == Fetched::Now));
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
    }
    let text = if files.is_empty() {
        let jobs = selected.iter().map(|(job, _)| job);
        let declared = any_declared(&scheduler, jobs.clone(), &mut patience).await?;
        let counts: Vec<_> = jobs.flat_map(|job| job.tasks.iter().copied()).collect();
        nothing(&args.selector, &output::counts(&counts), declared)
    } else {
        summary(&files, &directory)
    };
    args.output.print(&files, |_| text)
}

/// Whether any of these jobs lists outputs; taken to be so of many jobs, which
/// are not all asked for.
async fn any_declared(
    scheduler: &Scheduler,
    jobs: impl Iterator<Item = &v1::Job>,
    patience: &mut Patience,
) -> Result<bool, Failure> {
    const ASKED_MAX: usize = 20;
    for (position, job) in jobs.enumerate() {
        if position == ASKED_MAX {
            return Ok(true);
        }
        let spec = scheduler.describe(job.id, patience).await?.spec;
        if !spec.unwrap_or_default().outputs.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether outputs may still come, judged by what the jobs list and how their
/// tasks stand.
fn nothing(selector: &Selector, counts: &Counts, declared: bool) -> String {
    const ENDED: [&str; 3] = ["succeeded", "failed", "cancelled"];
    let of = match selector {
        Selector::Batch(batch) => format!("batch-{batch}"),
        Selector::Job { job, .. } => format!("job-{job}"),
    };
    let told = output::counts_text(counts);
    if !declared {
        return format!("no outputs, and none will come: {of} lists none in `outputs:`");
    }
    if !counts.keys().all(|state| ENDED.contains(state)) {
        return format!("no outputs yet: {of} has {told}");
    }
    format!("no outputs, and none will come: {of} has ended with {told}")
}

/// The jobs that are meant, each with the elements that are meant.
async fn selected(
    scheduler: &Scheduler,
    selector: &Selector,
    patience: &mut Patience,
) -> Result<Vec<(v1::Job, Vec<v1::Range>)>, Failure> {
    match selector {
        Selector::Batch(batch) => {
            let jobs = scheduler.jobs_of_batch(*batch, patience).await?;
            if jobs.is_empty() {
                let what = format!("there are no jobs of batch-{batch}");
                return Err(Failure::input(what, "see `jero batches`"));
            }
            Ok(jobs.into_iter().map(|job| (job, Vec::new())).collect())
        }
        Selector::Job { job, ranges } => {
            let reply = scheduler.describe(*job, patience).await?;
            Ok(vec![(reply.job.unwrap_or_default(), ranges.clone())])
        }
    }
}

/// Where an output goes. Names come from the scheduler: one that leads out of
/// the directory is refused.
fn place(directory: &Path, job: &str, output: &v1::TaskOutput) -> Result<PathBuf, Failure> {
    let index = output.task.unwrap_or_default().index.to_string();
    let path = output
        .file
        .as_ref()
        .map(|file| file.path.as_str())
        .unwrap_or_default();
    if is_name(job) && stays_inside(path) {
        return Ok(directory.join(job).join(index).join(path));
    }
    let what = format!("the output {path:?} of {job:?} leads out of the directory");
    Err(Failure::input(
        what,
        "fetch the other jobs one by one, and tell the batch's author",
    ))
}

fn output_file(output: v1::TaskOutput, place: PathBuf, fetched: bool) -> OutputFile {
    let task = output.task.unwrap_or_default();
    let file = output.file.unwrap_or_default();
    OutputFile {
        task: format!("job-{}[{}]", task.job, task.index),
        path: file.path,
        file: place,
        size_bytes: file.size_bytes,
        sha256: file.digest,
        fetched,
    }
}

fn summary(files: &[OutputFile], directory: &Path) -> String {
    let fetched = files.iter().filter(|file| file.fetched);
    let bytes: u64 = fetched.clone().map(|file| file.size_bytes).sum();
    let (fetched, there) = (
        fetched.count(),
        files.iter().filter(|file| !file.fetched).count(),
    );
    let bytes = Bytes(bytes).humane();
    format!(
        "{fetched} files ({bytes}) fetched, {there} were there, in {}",
        directory.display()
    )
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn that_nothing_came_says_whether_anything_will() {
        let told = |selector: &str, counts: &[(&'static str, u64)], declared| {
            let selector = selector.parse().expect("a selector");
            nothing(&selector, &counts.iter().copied().collect(), declared)
        };
        expect![[r#"
            no outputs yet: batch-3 has 1 running, 2 succeeded
            no outputs, and none will come: job-17 lists none in `outputs:`
            no outputs, and none will come: job-17 has ended with 2 succeeded, 1 failed"#]]
        .assert_eq(
            &[
                told("batch-3", &[("running", 1), ("succeeded", 2)], true),
                told("job-17", &[("running", 1)], false),
                told("job-17[2]", &[("succeeded", 2), ("failed", 1)], true),
            ]
            .join("\n"),
        );
    }

    #[test]
    fn outputs_stay_in_the_directory() {
        let placed = |job: &str, path: &str| {
            let file = v1::File {
                path: path.to_owned(),
                ..Default::default()
            };
            let task = v1::Task { job: 17, index: 4 };
            let output = v1::TaskOutput {
                task: Some(task),
                file: Some(file),
            };
            place(Path::new("out"), job, &output).ok()
        };
        assert_eq!(
            placed("gen", "a/b.json"),
            Some(PathBuf::from("out/gen/4/a/b.json"))
        );
        for (job, path) in [
            ("..", "a"),
            ("/etc", "a"),
            ("", "a"),
            ("a/b", "a"),
            ("gen", ""),
            ("gen", "../a"),
            ("gen", "a/../../b"),
            ("gen", "/etc/passwd"),
            ("gen", "a/"),
            ("gen", "."),
        ] {
            assert_eq!(placed(job, path), None, "{job} {path}");
        }
    }
}
