#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::engine::memory::MemoryDisk;
use crate::store::history::HistoryWrite;
use crate::store::journal::{Journal, JournalOptions};
use jeroboam_core::event::Event;
use jeroboam_core::ids::{JobId, LeaseId, TaskId};
use jeroboam_core::job::{AttemptEnd, AttemptRecord, AttemptUsage, FailedReason, Outcome};
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::resources::Resources;
use jeroboam_core::spec::{BatchSpec, File, JobSpec, Needs};
use jeroboam_core::time::TimeMs;

fn spec(count: u32, argument: &str) -> JobSpec {
    JobSpec {
        count,
        command: vec!["true".into(), argument.into()],
        outputs: vec!["*.json".into()],
        ..JobSpec::new("gen", Needs::new(Resources::of(1_000, 64, 0, 0), 1_000))
    }
}

/// A World with one batch of one job, and both as they are there.
fn submitted(job: JobSpec) -> (World, Batch, Job) {
    let mut world = World::default();
    let queue = QueueSpec {
        submitters: ["*".to_string()].into(),
        ..QueueSpec::new("cms", 1)
    };
    world
        .apply(TimeMs(10), &Event::QueueCreated(queue))
        .unwrap();
    let spec = BatchSpec {
        name: "b".into(),
        queue: "cms".into(),
        jobs: vec![job],
    };
    let submitted = Event::BatchSubmitted {
        request_id: "r".into(),
        digest: [7; 32],
        by: "alice".into(),
        spec,
    };
    world.apply(TimeMs(20), &submitted).unwrap();
    let batch = world.batches().values().next().unwrap().clone();
    let job = world.jobs().values().next().unwrap().clone();
    (world, batch, job)
}

fn written(entries: &[(HistorySubject, Vec<u8>)]) -> (Journal, History) {
    let engine = MemoryDisk::default().engine();
    let mut journal = Journal::open(Box::new(engine), JournalOptions::default()).unwrap();
    let writes: Vec<_> = entries
        .iter()
        .map(|(subject, value)| HistoryWrite {
            record: 0,
            subject: *subject,
            value,
        })
        .collect();
    journal.append(&[b"event"], &writes).unwrap();
    let history = journal.history();
    (journal, history)
}

/// Half a million ranges are far beyond one value, and all come back.
#[test]
fn a_job_beyond_the_bound_of_a_value_is_kept_whole() {
    let (world, mut batch, mut job) = submitted(spec(1_000_000, &"x".repeat(60_000)));
    job.tasks = Default::default();
    let (mut even, mut odd) = (RangeSet::default(), RangeSet::default());
    for index in 0..500_000 {
        even.insert(2 * index);
        odd.insert(2 * index + 1);
    }
    job.tasks.succeeded = even.clone();
    job.tasks.failed.insert(FailedReason::Exit(3), odd);
    job.totals.finished = Some(TimeMs(99));
    batch.finished = Some(TimeMs(99));
    let entries = retired(&world, &batch, &[job.clone()]);
    assert!(entries.len() > 10, "{} entries", entries.len());
    for (_, value) in &entries {
        assert!(
            value.len() <= HISTORY_VALUE_BYTES_MAX,
            "{} bytes",
            value.len()
        );
    }
    let (_journal, history) = written(&entries);

    let read = read_job(&history, job.id.0).unwrap().unwrap();
    assert_eq!(
        read.spec,
        crate::convert::submission::job_spec(world.policy(), &job.submitted_spec())
    );
    assert_eq!(
        read.states(None),
        crate::convert::work::states(&job.tasks, None)
    );
    assert_eq!(read.succeeded(), even);
    assert_eq!(
        (read.summary.succeeded, read.summary.failed),
        (500_000, 500_000)
    );
    // The list of jobs sees one entry, not its pieces.
    let listed = history.jobs_before(Some(IDS_END), 10).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(summary(&listed[0]).unwrap(), read.summary);
    let batch = find_batch(&history, batch.id.0).unwrap().unwrap();
    assert_eq!(
        (batch.succeeded, batch.failed, batch.jobs),
        (500_000, 500_000, 1)
    );

    // The pieces expire with the job.
    history.expire(100, 1_000_000).unwrap();
    assert_eq!(history.jobs_before(None, 10).unwrap(), []);
}

#[test]
fn a_missing_piece_is_said() {
    let (world, batch, mut job) = submitted(spec(200_000, ""));
    job.tasks = Default::default();
    job.tasks.succeeded = (0..100_000).map(|index| (2 * index, 2 * index)).collect();
    let mut entries = retired(&world, &batch, &[job.clone()]);
    entries.pop();
    let (_journal, history) = written(&entries);
    let error = read_job(&history, job.id.0).unwrap_err();
    assert!(
        matches!(error, HistoryError::MissingPiece { .. }),
        "{error}"
    );
}

#[test]
fn another_format_is_refused_by_its_first_byte() {
    let value = encode(0x7f, &"later");
    let entry = Finished {
        id: 3,
        finished_ms: 1,
        value,
    };
    let error = read_batch(&entry).unwrap_err().to_string();
    assert!(
        error.contains("batch-3") && error.contains("0x7f"),
        "{error}"
    );
}

fn file(name: String) -> File {
    File {
        path: name,
        digest: "a".repeat(64),
        size_bytes: 5,
        executable: false,
    }
}

fn record(index: u32, outputs: usize) -> AttemptRecord {
    let lease = LeaseId {
        lineage: 9,
        task: TaskId {
            job: JobId(1),
            index,
        },
        attempt: 2,
    };
    AttemptRecord {
        lease,
        site: "meyrin".into(),
        node: "n1".into(),
        granted: TimeMs(1),
        ended: TimeMs(5),
        end: AttemptEnd {
            outcome: Outcome::OutputsFailed("no".repeat(500)),
            usage: Some(AttemptUsage {
                started: TimeMs(2),
                ended: TimeMs(4),
                cpu_ms: 3,
                memory_peak_mib: 6,
            }),
            outputs: (0..outputs)
                .map(|n| file(format!("{n:04}{}", "p".repeat(4_092))))
                .collect(),
            stdout: Some(file("stdout".into())),
            stderr: None,
        },
    }
}

#[test]
fn attempts_with_very_many_outputs_come_back_whole_and_in_order() {
    let records: Vec<_> = (0..40)
        .map(|index| record(index, (index as usize % 3) * 60))
        .collect();
    let chunks = attempts(&records);
    assert!(chunks.len() > 2, "{} chunks", chunks.len());
    for chunk in &chunks {
        assert!(
            chunk.len() <= HISTORY_VALUE_BYTES_MAX,
            "{} bytes",
            chunk.len()
        );
    }
    let subject = HistorySubject::Attempts { job: 1 };
    let entries: Vec<_> = chunks.into_iter().map(|chunk| (subject, chunk)).collect();
    let (_journal, history) = written(&entries);

    let all: Vec<Kept> = AttemptScan::new(&history, 1)
        .collect::<Result<_, _>>()
        .unwrap();
    let mut read: Vec<AttemptRecord> = Vec::new();
    for kept in &all {
        if kept.first {
            read.push(kept.record.clone());
        } else {
            let last = read.last_mut().unwrap();
            assert_eq!(last.lease, kept.record.lease);
            last.end.outputs.extend(kept.record.end.outputs.clone());
        }
    }
    assert_eq!(read, records);

    // A scan that goes on in the middle of a chunk sees the rest of it.
    for (position, from) in all.iter().enumerate() {
        let before = all[..position]
            .iter()
            .rev()
            .find(|kept| kept.chunk != from.chunk);
        let after = before.map(|kept| kept.chunk);
        let rest = AttemptScan::after(&history, 1, after, from.place);
        assert_eq!(rest.count(), all.len() - position);
    }
}

/// The attempts of eight tasks in turn, in many chunks, some with outputs that fill several.
fn many() -> (Vec<AttemptRecord>, Vec<(HistorySubject, Vec<u8>)>) {
    let records: Vec<AttemptRecord> = (0..400)
        .map(|number| {
            let mut record = record(number % 8, if number % 9 == 0 { 40 } else { 0 });
            record.lease.attempt = 1 + number / 8;
            record
        })
        .collect();
    let subject = HistorySubject::Attempts { job: 1 };
    let chunks = records.chunks(3).flat_map(attempts);
    let entries = chunks.map(|chunk| (subject, chunk)).collect();
    (records, entries)
}

#[test]
fn the_latest_attempts_are_the_last_of_all() {
    let (records, entries) = many();
    let (_journal, history) = written(&entries);
    let newest_first: Vec<_> = records.into_iter().rev().collect();
    for max in [0, 1, 2, 20, 399, 400, 1_000] {
        let read = latest(&history, JobId(1), None, max).unwrap();
        assert_eq!(read, newest_first[..max.min(400)], "{max}");
    }
    let wanted: RangeSet = [(2, 3), (7, 7)].into_iter().collect();
    let of_wanted: Vec<_> = newest_first
        .iter()
        .filter(|record| wanted.contains(record.lease.task.index))
        .cloned()
        .collect();
    for max in [1, 2, 50, 1_000] {
        let read = latest(&history, JobId(1), Some(&wanted), max).unwrap();
        assert_eq!(read, of_wanted[..max.min(150)], "{max}");
    }
    assert_eq!(latest(&history, JobId(2), None, 5).unwrap(), []);
}

#[test]
fn the_latest_attempts_are_found_without_reading_the_rest() {
    let (records, mut entries) = many();
    // What stands far before the end would be an error if it was read.
    for (_, value) in &mut entries[..60] {
        value[0] = 0x7f;
    }
    let (_journal, history) = written(&entries);
    let read = latest(&history, JobId(1), None, 20).unwrap();
    assert_eq!(read[0], records[399]);
    assert_eq!(read.len(), 20);
    latest(&history, JobId(1), None, 400).unwrap_err();

    // One task that was tried twice, at the end: nothing before its first attempt is of interest.
    let mut late = [record(9, 0), record(9, 0)];
    late[0].lease.attempt = 1;
    let subject = HistorySubject::Attempts { job: 1 };
    entries.extend(attempts(&late).into_iter().map(|chunk| (subject, chunk)));
    let (_journal, history) = written(&entries);
    let wanted: RangeSet = [(9, 9)].into_iter().collect();
    let read = latest(&history, JobId(1), Some(&wanted), 20).unwrap();
    late.reverse();
    assert_eq!(read, late);
}
