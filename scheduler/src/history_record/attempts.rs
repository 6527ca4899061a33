//! Ended attempts, several in a chunk; read back in the order they ended.

use super::{ATTEMPTS_1, HISTORY_VALUE_BYTES_MAX, HistoryError, decode, encode};
use crate::store::history::{Attempts, AttemptsPosition, History};
use jeroboam_core::ids::{JobId, LeaseId, TaskId};
use jeroboam_core::job::{AttemptEnd, AttemptRecord, AttemptUsage, Outcome};
use jeroboam_core::spec::File;
use jeroboam_core::time::TimeMs;
use serde::{Deserialize, Serialize};

/// Chunks read from the store at once.
const CHUNKS_AT_ONCE: usize = 64;
/// Outputs of one attempt in one piece: with the longest paths they fit a value.
const OUTPUTS_AT_ONCE: usize = 10;

/// One attempt, or some of its outputs. The first piece of an attempt has no
/// `more`; later ones repeat what tells the attempt and add outputs.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Piece {
    lineage: u64,
    job: u64,
    index: u32,
    attempt: u32,
    site: String,
    node: String,
    granted_ms: i64,
    ended_ms: i64,
    outcome: DiskOutcome,
    usage: Option<[i64; 4]>,
    outputs: Vec<DiskFile>,
    stdout: Option<DiskFile>,
    stderr: Option<DiskFile>,
    more: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct DiskFile {
    path: String,
    digest: String,
    size_bytes: u64,
    executable: bool,
}

/// The order of variants is part of the format: append only.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum DiskOutcome {
    Exit(i32),
    Signal(i32),
    WalltimeExceeded,
    MemoryExceeded,
    ContactLost,
    Lost,
    NotRun,
    Stopped,
    StartFailed(String),
    OutputsFailed(String),
    Preempted(u64),
    GangBroken,
    PreemptedByHand(String, String),
}

/// What is kept of attempts of one job that ended together.
pub fn attempts(records: &[AttemptRecord]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut chunk: Vec<Piece> = Vec::new();
    let mut chunk_bytes = 0;
    for piece in records.iter().flat_map(pieces) {
        let piece_bytes = encode(ATTEMPTS_1, &piece).len();
        // The count before the pieces takes a few bytes more.
        if chunk_bytes + piece_bytes + 16 > HISTORY_VALUE_BYTES_MAX && !chunk.is_empty() {
            chunks.push(encode(ATTEMPTS_1, &std::mem::take(&mut chunk)));
            chunk_bytes = 0;
        }
        chunk_bytes += piece_bytes;
        chunk.push(piece);
    }
    if !chunk.is_empty() {
        chunks.push(encode(ATTEMPTS_1, &chunk));
    }
    chunks
}

/// A record in pieces that each fit a value.
fn pieces(record: &AttemptRecord) -> Vec<Piece> {
    let AttemptRecord {
        lease,
        site,
        node,
        granted,
        ended,
        end,
    } = record;
    let piece = |outputs: &[File], first: bool| Piece {
        lineage: lease.lineage,
        job: lease.task.job.0,
        index: lease.task.index,
        attempt: lease.attempt,
        site: site.clone(),
        node: node.clone(),
        granted_ms: granted.0,
        ended_ms: ended.0,
        outcome: outcome(&end.outcome),
        usage: end.usage.filter(|_| first).map(|usage| {
            [
                usage.started.0,
                usage.ended.0,
                usage.cpu_ms,
                usage.memory_peak_mib,
            ]
        }),
        outputs: outputs.iter().map(disk_file).collect(),
        stdout: end.stdout.as_ref().filter(|_| first).map(disk_file),
        stderr: end.stderr.as_ref().filter(|_| first).map(disk_file),
        more: !first,
    };
    let mut groups = end.outputs.chunks(OUTPUTS_AT_ONCE);
    let mut pieces = vec![piece(groups.next().unwrap_or_default(), true)];
    pieces.extend(groups.map(|outputs| piece(outputs, false)));
    pieces
}

/// An attempt, or more outputs of the one before it, with where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The chunk it stands in.
    pub chunk: AttemptsPosition,
    /// Its place in the chunk.
    pub place: usize,
    /// False: these are further outputs of the attempt before it.
    pub first: bool,
    /// The attempt.
    pub record: AttemptRecord,
}

/// Reads a job's attempts in the order in which they ended, a bounded number of
/// chunks in memory.
#[derive(Debug)]
pub struct AttemptScan<'a> {
    history: &'a History,
    job: u64,
    /// The last chunk read.
    after: Option<AttemptsPosition>,
    /// Places of the first chunk to pass over.
    passed: usize,
    ready: std::collections::VecDeque<Kept>,
    ended: bool,
}

impl<'a> AttemptScan<'a> {
    /// From the start.
    pub fn new(history: &'a History, job: u64) -> Self {
        AttemptScan {
            history,
            job,
            after: None,
            passed: 0,
            ready: Default::default(),
            ended: false,
        }
    }

    /// Goes on in the chunk that follows `after`, beyond its first `passed` places.
    pub fn after(
        history: &'a History,
        job: u64,
        after: Option<AttemptsPosition>,
        passed: usize,
    ) -> Self {
        AttemptScan {
            after,
            passed,
            ..AttemptScan::new(history, job)
        }
    }

    fn read_more(&mut self) -> Result<(), HistoryError> {
        let chunks = self
            .history
            .attempts(self.job, self.after, CHUNKS_AT_ONCE)?;
        self.ended = chunks.len() < CHUNKS_AT_ONCE;
        for chunk in chunks {
            let passed = std::mem::take(&mut self.passed);
            self.ready
                .extend(kept_in(self.job, &chunk)?.into_iter().skip(passed));
            self.after = Some(chunk.position);
        }
        Ok(())
    }
}

impl Iterator for AttemptScan<'_> {
    type Item = Result<Kept, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.ended {
            if let Err(error) = self.read_more() {
                self.ended = true;
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// What one chunk holds, in order.
pub(super) fn kept_in(job: u64, chunk: &Attempts) -> Result<Vec<Kept>, HistoryError> {
    let what = format!("attempts of job-{job}");
    let pieces: Vec<Piece> = decode(ATTEMPTS_1, &what, &chunk.value)?;
    let pieces = pieces.into_iter().enumerate();
    Ok(pieces
        .map(|(place, piece)| kept(chunk.position, place, piece))
        .collect())
}

fn kept(chunk: AttemptsPosition, place: usize, piece: Piece) -> Kept {
    let task = TaskId {
        job: JobId(piece.job),
        index: piece.index,
    };
    let record = AttemptRecord {
        lease: LeaseId {
            lineage: piece.lineage,
            task,
            attempt: piece.attempt,
        },
        site: piece.site,
        node: piece.node,
        granted: TimeMs(piece.granted_ms),
        ended: TimeMs(piece.ended_ms),
        end: AttemptEnd {
            outcome: core_outcome(piece.outcome),
            usage: piece
                .usage
                .map(|[started, ended, cpu_ms, memory_peak_mib]| AttemptUsage {
                    started: TimeMs(started),
                    ended: TimeMs(ended),
                    cpu_ms,
                    memory_peak_mib,
                }),
            outputs: piece.outputs.into_iter().map(core_file).collect(),
            stdout: piece.stdout.map(core_file),
            stderr: piece.stderr.map(core_file),
        },
    };
    Kept {
        chunk,
        place,
        first: !piece.more,
        record,
    }
}

fn disk_file(file: &File) -> DiskFile {
    let File {
        path,
        digest,
        size_bytes,
        executable,
    } = file.clone();
    DiskFile {
        path,
        digest,
        size_bytes,
        executable,
    }
}

fn core_file(file: DiskFile) -> File {
    let DiskFile {
        path,
        digest,
        size_bytes,
        executable,
    } = file;
    File {
        path,
        digest,
        size_bytes,
        executable,
    }
}

fn outcome(outcome: &Outcome) -> DiskOutcome {
    match outcome {
        Outcome::Exit(code) => DiskOutcome::Exit(*code),
        Outcome::Signal(signal) => DiskOutcome::Signal(*signal),
        Outcome::WalltimeExceeded => DiskOutcome::WalltimeExceeded,
        Outcome::MemoryExceeded => DiskOutcome::MemoryExceeded,
        Outcome::ContactLost => DiskOutcome::ContactLost,
        Outcome::Lost => DiskOutcome::Lost,
        Outcome::NotRun => DiskOutcome::NotRun,
        Outcome::Stopped => DiskOutcome::Stopped,
        Outcome::StartFailed(why) => DiskOutcome::StartFailed(why.clone()),
        Outcome::OutputsFailed(why) => DiskOutcome::OutputsFailed(why.clone()),
        Outcome::Preempted(by) => DiskOutcome::Preempted(by.0),
        Outcome::GangBroken => DiskOutcome::GangBroken,
        Outcome::PreemptedByHand { by, reason } => {
            DiskOutcome::PreemptedByHand(by.clone(), reason.clone())
        }
    }
}

fn core_outcome(outcome: DiskOutcome) -> Outcome {
    match outcome {
        DiskOutcome::Exit(code) => Outcome::Exit(code),
        DiskOutcome::Signal(signal) => Outcome::Signal(signal),
        DiskOutcome::WalltimeExceeded => Outcome::WalltimeExceeded,
        DiskOutcome::MemoryExceeded => Outcome::MemoryExceeded,
        DiskOutcome::ContactLost => Outcome::ContactLost,
        DiskOutcome::Lost => Outcome::Lost,
        DiskOutcome::NotRun => Outcome::NotRun,
        DiskOutcome::Stopped => Outcome::Stopped,
        DiskOutcome::StartFailed(why) => Outcome::StartFailed(why),
        DiskOutcome::OutputsFailed(why) => Outcome::OutputsFailed(why),
        DiskOutcome::Preempted(by) => Outcome::Preempted(JobId(by)),
        DiskOutcome::GangBroken => Outcome::GangBroken,
        DiskOutcome::PreemptedByHand(by, reason) => Outcome::PreemptedByHand { by, reason },
    }
}
