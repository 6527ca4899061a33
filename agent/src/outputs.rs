//! What an ended attempt leaves at the scheduler: its outputs and its logs.
//!
//! Rules: outputs are collected only after exit code 0, and then every promised
//! one is there or the attempt has failed; logs are stored after any end, unless
//! empty, and never make it fail. All is stored before the end is reported, so
//! a report never names a content that the scheduler does not have. An attempt
//! without outputs and with empty logs costs no call at all.
//!
//! It does not write how the attempt ended (`attempt`), nor does it report
//! (`state`). It can be done again after a crash, with the same result. Entry
//! point: [`collect`].

mod glob;
mod select;

use crate::attempt::{AttemptDir, ExitRecord, InputFile, LeaseRecord, Outcome, Stream};
use crate::files::content::{digest_of, digest_of_file};
use crate::files::{Files, Source, blocking};
use crate::state::message::EndReport;

/// A file that is to be stored, with what it is to be reported as.
#[derive(Debug)]
struct Kept {
    file: InputFile,
    source: Source,
}

/// What was found on disk.
#[derive(Debug, Default)]
struct Left {
    outputs: Vec<Kept>,
    stdout: Option<Kept>,
    stderr: Option<Kept>,
}

/// Stores what an ended attempt of a job left, for as long as that takes, and says
/// what is to be reported.
pub async fn collect(files: &Files, job: u64, dir: &AttemptDir, exit: ExitRecord) -> EndReport {
    if let Some(error) = &exit.log_error {
        tracing::warn!(attempt = %dir.path().display(), "output of the job is missing from its log: {error}");
    }
    let mut report = EndReport::bare(exit);
    let (looked_at, outcome) = (dir.clone(), report.exit.outcome.clone());
    let (left, fault) = blocking(move || look(&looked_at, &outcome)).await;
    let stored = match fault {
        None => store_all(files, job, left.outputs).await,
        Some(fault) => Err(fault),
    };
    match stored {
        Ok(outputs) => report.outputs = outputs,
        Err(message) => report.exit.outcome = Outcome::OutputsFailed { message },
    }
    report.stdout = store_log(files, job, left.stdout).await;
    report.stderr = store_log(files, job, left.stderr).await;
    report
}

async fn store_all(files: &Files, job: u64, kept: Vec<Kept>) -> Result<Vec<InputFile>, String> {
    let mut stored = Vec::with_capacity(kept.len());
    for Kept { file, source } in kept {
        let sent = files
            .store(job, &file.digest, file.size_bytes, source)
            .await;
        sent.map_err(|why| format!("the output {:?} could not be stored: {why}", file.path))?;
        stored.push(file);
    }
    Ok(stored)
}

async fn store_log(files: &Files, job: u64, kept: Option<Kept>) -> Option<InputFile> {
    let Kept { file, source } = kept?;
    match files
        .store(job, &file.digest, file.size_bytes, source)
        .await
    {
        Ok(()) => Some(file),
        Err(why) => {
            tracing::warn!(log = file.path, "a log could not be stored: {why}");
            None
        }
    }
}

/// Reads what is there; also says why the outputs are not as promised. What is
/// not wanted any more makes room first: the rest may take as long as the
/// scheduler is away.
fn look(dir: &AttemptDir, outcome: &Outcome) -> (Left, Option<String>) {
    dir.free_disk(outcome);
    let mut left = Left {
        stdout: log(dir, Stream::Stdout, "stdout"),
        stderr: log(dir, Stream::Stderr, "stderr"),
        ..Left::default()
    };
    if *outcome != (Outcome::Exited { code: 0 }) {
        return (left, None);
    }
    let outputs = dir
        .lease()
        .map_err(|error| error.to_string())
        .and_then(|record| outputs(dir, &record));
    match outputs {
        Ok(outputs) => {
            left.outputs = outputs;
            (left, None)
        }
        Err(fault) => (left, Some(fault)),
    }
}

fn outputs(dir: &AttemptDir, record: &LeaseRecord) -> Result<Vec<Kept>, String> {
    if record.outputs.is_empty() {
        return Ok(Vec::new());
    }
    // Else a link, or another directory in its place, would lead out of it.
    if !dir.has_own_scratch().map_err(|error| error.to_string())? {
        return Err(
            "the scratch directory was removed or replaced while the job ran; a job may change \
             what is in it, not the directory itself"
                .to_owned(),
        );
    }
    let selected = select::select(&dir.scratch(), record)?.into_iter();
    let kept = selected.map(|output| {
        let (digest, size_bytes) = digest_of_file(&output.place)
            .map_err(|error| format!("the output {:?} cannot be read: {error}", output.path))?;
        Ok(Kept {
            file: InputFile {
                path: output.path,
                digest,
                size_bytes,
                executable: output.executable,
            },
            source: Source::File(output.place),
        })
    });
    kept.collect()
}

fn log(dir: &AttemptDir, stream: Stream, name: &str) -> Option<Kept> {
    let bytes = match dir.read_log_whole(stream) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!("a log could not be read: {error}");
            return None;
        }
    };
    (!bytes.is_empty()).then(|| Kept {
        file: InputFile {
            path: name.to_owned(),
            digest: digest_of(&bytes),
            size_bytes: bytes.len() as u64,
            executable: false,
        },
        source: Source::Bytes(bytes.into()),
    })
}

#[cfg(test)]
mod tests;
