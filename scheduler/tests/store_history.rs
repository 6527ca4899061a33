//! The history: pages, attempts by job, bounded expiry, damage said by name.

use std::path::Path;

use jeroboam_scheduler::store::engine::TreeName;
use jeroboam_scheduler::store::engine::memory::MemoryDisk;
use jeroboam_scheduler::store::history::{Expired, Finished, HistorySubject, HistoryWrite};
use jeroboam_scheduler::store::journal::{Journal, JournalOptions, Sequence};
use jeroboam_scheduler::store::{Store, StoreOptions};

fn open(directory: &Path) -> Store {
    Store::open(directory, &StoreOptions::default()).expect("the store opens")
}

fn job(record: usize, job: u64, finished_ms: u64, value: &[u8]) -> HistoryWrite<'_> {
    HistoryWrite {
        record,
        subject: HistorySubject::Job { job, finished_ms },
        value,
    }
}

fn batch(batch: u64, finished_ms: u64) -> HistoryWrite<'static> {
    HistoryWrite {
        record: 0,
        subject: HistorySubject::Batch { batch, finished_ms },
        value: b"batch",
    }
}

fn attempts(record: usize, job: u64, value: &[u8]) -> HistoryWrite<'_> {
    HistoryWrite {
        record,
        subject: HistorySubject::Attempts { job },
        value,
    }
}

fn memory_journal(disk: &MemoryDisk) -> Journal {
    Journal::open(Box::new(disk.engine()), JournalOptions::default()).expect("the journal opens")
}

#[test]
fn history_pages_by_number_descending_and_attempts_by_position() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    for id in 1..=300u64 {
        let (value, chunk) = (format!("job {id}"), format!("chunk {id}"));
        let group = [
            job(1, id, id, value.as_bytes()),
            batch(id, id),
            attempts(0, 7, chunk.as_bytes()),
            attempts(1, 7, b"second"),
            attempts(1, 7, b"third"),
        ];
        store
            .journal
            .append(&[b"first", b"second"], &group)
            .expect("the append succeeds");
    }
    let history = store.journal.history();
    assert_eq!(
        history
            .job(41)
            .expect("it reads")
            .expect("it is there")
            .value,
        b"job 41"
    );
    assert_eq!(
        history
            .batch(300)
            .expect("it reads")
            .expect("it is there")
            .finished_ms,
        300
    );
    assert_eq!(history.job(301).expect("it reads"), None);
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = history.jobs_before(before, 7).expect("it reads");
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.iter().map(|job| job.id));
    }
    assert_eq!(seen, (1..=300).rev().collect::<Vec<_>>());
    assert_eq!(
        history
            .batches_before(Some(3), 10)
            .expect("it reads")
            .iter()
            .map(|batch| batch.id)
            .collect::<Vec<_>>(),
        [2, 1]
    );
    let (mut after, mut chunks) = (None, Vec::new());
    loop {
        let page = history.attempts(7, after, 11).expect("it reads");
        let Some(last) = page.last() else { break };
        after = Some(last.position);
        chunks.extend(page);
    }
    assert_eq!(chunks.len(), 900);
    assert!(chunks.is_sorted_by_key(|chunk| chunk.position));
    assert_eq!(chunks[3].position.sequence, Sequence(3));
    assert_eq!(chunks[3].value, b"chunk 2");
    assert_eq!(history.attempts(6, None, 10).expect("it reads"), []);
    assert_eq!(history.attempts(8, None, 10).expect("it reads"), []);
}

#[test]
fn what_is_old_expires_in_bounded_steps_and_nothing_else() {
    let disk = MemoryDisk::default();
    let mut journal = memory_journal(&disk);
    for id in 1..=10 {
        let group = [
            job(0, id, id * 100, b"job"),
            attempts(0, id, b"a"),
            attempts(0, id, b"b"),
            batch(id, id * 100 + 50),
        ];
        journal
            .append(&[b"record"], &group)
            .expect("the append succeeds");
    }
    // Job 2 is taken up again and finishes late: its first listing must not take it away.
    journal
        .append(&[b"again"], &[job(0, 2, 5_000, b"late")])
        .expect("the append succeeds");
    let history = journal.history();
    let mut removed = 0;
    loop {
        let Expired { entries, more } = history.expire(501, 2).expect("it expires");
        assert!(entries <= 2, "{entries} entries in one call");
        removed += entries;
        if !more {
            break;
        }
    }
    // Jobs 1, 3, 4, 5 with two chunks each, batches 1 to 4.
    assert_eq!(removed, 4 * 3 + 4);
    let ids = |page: Vec<Finished>| page.iter().map(|found| found.id).collect::<Vec<_>>();
    assert_eq!(
        ids(history.jobs_before(None, 100).expect("it reads")),
        [10, 9, 8, 7, 6, 2]
    );
    assert_eq!(
        ids(history.batches_before(None, 100).expect("it reads")),
        [10, 9, 8, 7, 6, 5]
    );
    assert_eq!(history.attempts(5, None, 10).expect("it reads"), []);
    assert_eq!(history.attempts(2, None, 10).expect("it reads").len(), 2);
    assert_eq!(
        history.job(2).expect("it reads").expect("kept").value,
        b"late"
    );
    while history.expire(u64::MAX, 3).expect("it expires").more {}
    assert_eq!(
        disk.with_tree(TreeName::History, |tree| tree.len()),
        0,
        "nothing is left behind"
    );
}

#[test]
fn a_damaged_history_entry_is_said_by_name() {
    let disk = MemoryDisk::default();
    let mut journal = memory_journal(&disk);
    journal
        .append(
            &[b"record"],
            &[job(0, 17, 1, b"value"), attempts(0, 17, b"attempts")],
        )
        .expect("the append succeeds");
    disk.with_tree(TreeName::History, |tree| {
        tree.values_mut()
            .filter(|value| !value.is_empty())
            .for_each(|value| *value.last_mut().expect("a byte") ^= 1)
    });
    let message = journal
        .history()
        .job(17)
        .expect_err("damage is noticed")
        .to_string();
    assert!(message.contains("job-17"), "{message}");
    journal
        .history()
        .attempts(17, None, 1)
        .expect_err("damage is noticed");
}
