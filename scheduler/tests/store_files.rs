//! History, snapshots and spool: what they hold, what they refuse, what they notice.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime};

use jeroboam_scheduler::store::engine::TreeName;
use jeroboam_scheduler::store::engine::memory::MemoryDisk;
use jeroboam_scheduler::store::history::{AttemptsPosition, Expired, HistorySubject, HistoryWrite};
use jeroboam_scheduler::store::journal::{Journal, JournalOptions, Sequence};
use jeroboam_scheduler::store::spool::{Digest, Spool, SpoolLimits, SpoolStatus};
use jeroboam_scheduler::store::{Replay, Store, StoreError, StoreOptions};

fn open(directory: &Path) -> Store {
    open_with(directory, SpoolLimits::default()).expect("the store opens")
}

fn open_with(directory: &Path, spool: SpoolLimits) -> Result<Store, StoreError> {
    Store::open(
        directory,
        &StoreOptions {
            spool,
            ..StoreOptions::default()
        },
    )
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
    let ids = |page: Vec<jeroboam_scheduler::store::history::Finished>| {
        page.iter().map(|found| found.id).collect::<Vec<_>>()
    };
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
    let position: Option<AttemptsPosition> = None;
    journal
        .history()
        .attempts(17, position, 1)
        .expect_err("damage is noticed");
}

fn write_snapshot(store: &Store, through: u64, stream: &[u8]) {
    let mut snapshot = store
        .snapshots
        .begin(Sequence(through))
        .expect("the snapshot starts");
    snapshot.write_all(stream).expect("the snapshot is written");
    assert_eq!(
        snapshot.commit().expect("the snapshot is durable"),
        Sequence(through)
    );
}

fn only_snapshot(directory: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(directory.join("snapshots"))
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn a_restart_begins_with_the_newest_snapshot_and_the_records_after_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    assert!(
        store
            .replay()
            .expect("the replay starts")
            .snapshot
            .is_none()
    );
    for length in [0, 1, 65_536, 65_537, 1_000_000] {
        store
            .journal
            .append(&[b"before", b"before"], &[])
            .expect("the append succeeds");
        let stream: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let through = store.journal.last().0;
        write_snapshot(&store, through, &stream);
        // Records that the snapshot holds, not yet truncated, are not replayed.
        store
            .journal
            .append(&[b"after"], &[])
            .expect("the append succeeds");
        drop(store);
        only_snapshot(directory.path());
        store = open(directory.path());
        let Replay { snapshot, records } = store.replay().expect("the replay starts");
        let mut read = Vec::new();
        snapshot
            .expect("a snapshot")
            .read_to_end(&mut read)
            .expect("it is intact");
        assert!(read == stream, "{length} bytes");
        let records: Vec<_> = records.map(|record| record.expect("it reads")).collect();
        assert_eq!((records.len(), records[0].sequence.0), (1, through + 1));
        while store
            .journal
            .truncate(Sequence(through))
            .expect("the truncation succeeds")
        {}
    }
}

#[test]
fn a_snapshot_that_is_not_committed_leaves_the_previous_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    store
        .journal
        .append(&[b"one", b"two"], &[])
        .expect("the append succeeds");
    write_snapshot(&store, 1, b"first");
    let mut abandoned = store
        .snapshots
        .begin(Sequence(2))
        .expect("the snapshot starts");
    abandoned.write_all(&[5; 200_000]).expect("it is written");
    drop(abandoned);
    only_snapshot(directory.path());
    // As after a crash before the rename, and after a crash between the rename and the removal of the older one.
    fs::write(
        directory
            .path()
            .join("snapshots/through-00000000000000000002.tmp"),
        b"half",
    )
    .expect("a half-written file");
    fs::copy(
        only_newest(directory.path(), 1),
        directory
            .path()
            .join("snapshots/through-00000000000000000000"),
    )
    .expect("an older one");
    drop(store);
    let store = open(directory.path());
    assert_eq!(
        store.snapshots.newest().expect("it lists"),
        Some(Sequence(1))
    );
    only_snapshot(directory.path());
}

fn only_newest(directory: &Path, through: u64) -> PathBuf {
    directory.join(format!("snapshots/through-{through:020}"))
}

#[test]
fn every_flipped_or_missing_byte_of_a_snapshot_is_noticed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    store
        .journal
        .append(&[b"one"], &[])
        .expect("the append succeeds");
    write_snapshot(&store, 1, &[3; 70_000]);
    let path = only_snapshot(directory.path());
    let intact = fs::read(&path).expect("the file");
    let read = || -> Result<usize, StoreError> {
        let mut reader = store.snapshots.read()?.expect("a snapshot");
        let mut length = 0;
        while let Some(chunk) = reader.next_chunk()? {
            length += chunk.len();
        }
        Ok(length)
    };
    assert_eq!(read().expect("intact"), 70_000);
    let places = (0..intact.len()).filter(|at| {
        *at < 60 || intact.len() - at < 60 || (65_550..65_600).contains(at) || at % 5_003 == 0
    });
    for at in places {
        let mut damaged = intact.clone();
        damaged[at] ^= 4;
        fs::write(&path, &damaged).expect("a damaged file");
        let error = read().expect_err("the flip is noticed");
        assert!(
            matches!(
                error,
                StoreError::DamagedSnapshot { .. } | StoreError::NewerFormat { .. }
            ),
            "byte {at}: {error}"
        );
        fs::write(&path, &intact[..at]).expect("a cut file");
        assert!(
            matches!(read(), Err(StoreError::DamagedSnapshot { .. })),
            "cut to {at}"
        );
    }
    fs::write(&path, [&intact[..], &[0]].concat()).expect("a longer file");
    assert!(matches!(read(), Err(StoreError::DamagedSnapshot { .. })));
    fs::remove_file(&path).expect("it goes");
    while store
        .journal
        .truncate(Sequence(1))
        .expect("the truncation succeeds")
    {}
    drop(store);
    let store = open(directory.path());
    let error = store
        .replay()
        .expect("it starts")
        .records
        .next()
        .expect("not the end")
        .expect_err("it is noticed");
    assert!(error.to_string().contains("no snapshot"), "{error}");
}

fn upload(spool: &Spool, bytes: &[u8]) -> Result<SpoolStatus, StoreError> {
    let digest = Digest::of(bytes);
    spool.begin(&digest, bytes.len() as u64)?;
    spool.append(&digest, 0, bytes)
}

fn read_from(spool: &Spool, digest: &Digest, offset: u64) -> Vec<u8> {
    let (mut file, _) = spool.open_at(digest, offset).expect("it is complete");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("it reads");
    bytes
}

#[test]
fn digests_are_sha256_in_lower_case_hexadecimal() {
    let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Digest::of(b"abc").to_string(), text);
    assert_eq!(
        text.parse::<Digest>().expect("it parses"),
        Digest::of(b"abc")
    );
    for bad in [
        "",
        "abc",
        &text[1..],
        &text.to_uppercase(),
        &format!("{text}0"),
        &text.replace('b', "/"),
    ] {
        assert!(
            matches!(bad.parse::<Digest>(), Err(StoreError::BadDigest { .. })),
            "{bad}"
        );
    }
}

#[test]
fn an_upload_goes_on_where_it_stands_also_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bytes: Vec<u8> = (0..100_000u32).map(|at| (at % 253) as u8).collect();
    let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
    let store = open(directory.path());
    assert_eq!(store.spool.status(&digest), SpoolStatus::Absent);
    assert!(matches!(
        store.spool.append(&digest, 0, &bytes),
        Err(StoreError::UnknownFile { .. })
    ));
    store.spool.begin(&digest, size_bytes).expect("it begins");
    store
        .spool
        .append(&digest, 0, &bytes[..40_000])
        .expect("it goes on");
    assert!(matches!(
        store.spool.append(&digest, 40_001, b"x"),
        Err(StoreError::WrongOffset {
            expected: 40_000,
            ..
        })
    ));
    assert!(matches!(
        store.spool.begin(&digest, 5),
        Err(StoreError::SizeMismatch { .. })
    ));
    assert!(matches!(
        store.spool.append(&digest, 0, &[0; 100_001]),
        Err(StoreError::TooLarge { .. })
    ));
    assert!(
        matches!(
            store.spool.open_at(&digest, 0),
            Err(StoreError::UnknownFile { .. })
        ),
        "a part is not readable"
    );
    drop(store);
    let store = open(directory.path());
    assert_eq!(
        store.spool.status(&digest),
        SpoolStatus::Partial {
            received_bytes: 40_000,
            size_bytes
        }
    );
    assert_eq!(store.spool.used_bytes(), size_bytes);
    // Overlapping with what has arrived is harmless.
    let status = store
        .spool
        .append(&digest, 30_000, &bytes[30_000..])
        .expect("it completes");
    assert_eq!(status, SpoolStatus::Complete { size_bytes });
    assert_eq!(
        store
            .spool
            .append(&digest, 0, b"ignored")
            .expect("it is complete"),
        SpoolStatus::Complete { size_bytes }
    );
    assert!(read_from(&store.spool, &digest, 99_000) == bytes[99_000..]);
    drop(store);
    assert_eq!(
        open(directory.path()).spool.status(&digest),
        SpoolStatus::Complete { size_bytes }
    );
}

#[test]
fn an_upload_that_was_whole_when_the_process_died_completes_when_it_is_announced_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spool = directory.path().join("spool");
    fs::create_dir_all(&spool).expect("a directory");
    let (good, bad) = (Digest::of(b"good"), Digest::of(b"other"));
    fs::write(spool.join(format!("{good}.4.1.part")), b"good").expect("a part");
    fs::write(spool.join(format!("{bad}.4.2.part")), b"good").expect("a part");
    fs::write(spool.join(format!("{good}.4.3.part")), b"go").expect("a second part of the same");
    let store = open(directory.path());
    let mut status = store.spool.begin(&good, 4).expect("it is announced");
    if let SpoolStatus::Partial { received_bytes, .. } = status {
        status = store
            .spool
            .append(&good, received_bytes, &b"good"[received_bytes as usize..])
            .expect("it goes on");
    }
    assert_eq!(status, SpoolStatus::Complete { size_bytes: 4 });
    assert!(matches!(
        store.spool.begin(&bad, 4),
        Err(StoreError::DigestMismatch { .. })
    ));
    assert_eq!(store.spool.status(&bad), SpoolStatus::Absent);
    assert_eq!(
        fs::read_dir(&spool).expect("the directory").count(),
        1,
        "only the complete file is left"
    );
}

#[test]
fn wrong_bytes_are_discarded_and_the_right_ones_accepted_afterwards() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let digest = Digest::of(b"right");
    store.spool.begin(&digest, 5).expect("it begins");
    let error = store
        .spool
        .append(&digest, 0, b"wrong")
        .expect_err("the digest differs");
    assert!(
        matches!(error, StoreError::DigestMismatch { .. }) && error.is_retryable(),
        "{error}"
    );
    assert_eq!(
        (store.spool.status(&digest), store.spool.used_bytes()),
        (SpoolStatus::Absent, 0)
    );
    upload(&store.spool, b"right").expect("it is accepted");
    assert_eq!(read_from(&store.spool, &digest, 0), b"right");
    assert_eq!(
        upload(&store.spool, b"").expect("an empty file is a file"),
        SpoolStatus::Complete { size_bytes: 0 }
    );
}

#[test]
fn the_bounds_hold_for_one_file_and_for_all() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open_with(
        directory.path(),
        SpoolLimits {
            total_bytes: 100,
            file_bytes: 60,
        },
    )
    .expect("it opens");
    let begin = |bytes: &[u8]| store.spool.begin(&Digest::of(bytes), bytes.len() as u64);
    assert!(matches!(
        begin(&[1; 61]),
        Err(StoreError::TooLarge {
            limit_bytes: 60,
            ..
        })
    ));
    begin(&[1; 60]).expect("it is reserved");
    let error = begin(&[2; 41]).expect_err("there is no room");
    assert!(
        matches!(
            error,
            StoreError::SpoolFull {
                used_bytes: 60,
                needed_bytes: 41,
                ..
            }
        ) && error.is_retryable(),
        "{error}"
    );
    begin(&[2; 40]).expect("exactly fits");
    assert!(store.spool.remove(&Digest::of(&[1; 60])).expect("it goes"));
    assert!(
        !store
            .spool
            .remove(&Digest::of(&[1; 60]))
            .expect("it is gone")
    );
    begin(&[3; 60]).expect("there is room again");
}

#[test]
fn retention_sees_last_use_and_removes_what_is_not_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let (old, used, referenced) = (
        Digest::of(b"old"),
        Digest::of(b"used"),
        Digest::of(b"referenced"),
    );
    for bytes in [&b"old"[..], b"used", b"referenced"] {
        upload(&store.spool, bytes).expect("it completes");
    }
    let long_ago = SystemTime::now() - Duration::from_secs(100_000);
    for digest in [old, used, referenced] {
        let path = directory.path().join("spool").join(digest.to_string());
        File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_modified(long_ago))
            .expect("an old file");
    }
    drop(store);
    let store = open(directory.path());
    let partial = Digest::of(b"partial");
    store.spool.begin(&partial, 7).expect("it begins");
    read_from(&store.spool, &used, 0);
    let threshold = SystemTime::now() - Duration::from_secs(1_000);
    let retained = store
        .spool
        .retain(|file| file.digest == referenced || file.last_used > threshold)
        .expect("it retains");
    assert_eq!((retained.removed, retained.removed_bytes), (1, 3));
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.spool.status(&old), SpoolStatus::Absent);
    assert!(matches!(
        store.spool.status(&partial),
        SpoolStatus::Partial {
            received_bytes: 0,
            ..
        }
    ));
    let mut seen = Vec::new();
    store
        .spool
        .retain(|file| {
            seen.push((file.digest, file.last_used > threshold));
            file.complete
        })
        .expect("it retains");
    assert!(
        seen.contains(&(used, true)) && seen.contains(&(referenced, false)),
        "{seen:?}"
    );
    assert_eq!(store.spool.status(&partial), SpoolStatus::Absent);
}

#[test]
fn uploads_of_one_digest_at_once_help_each_other() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    let bytes: Arc<Vec<u8>> = Arc::new((0..300_000u32).map(|at| (at % 241) as u8).collect());
    let digest = Digest::of(&bytes);
    let barrier = Arc::new(Barrier::new(4));
    let uploads: Vec<_> = (0..4)
        .map(|uploader| {
            let (spool, bytes, barrier) = (
                store.spool.clone(),
                Arc::clone(&bytes),
                Arc::clone(&barrier),
            );
            std::thread::spawn(move || {
                barrier.wait();
                let mut status = spool.begin(&digest, bytes.len() as u64).expect("it begins");
                while let SpoolStatus::Partial { received_bytes, .. } = status {
                    let from = received_bytes as usize;
                    let piece = &bytes[from..bytes.len().min(from + 1_000 + 777 * uploader)];
                    status = spool
                        .append(&digest, received_bytes, piece)
                        .expect("it goes on");
                }
                status
            })
        })
        .collect();
    for upload in uploads {
        assert_eq!(
            upload.join().expect("no panic"),
            SpoolStatus::Complete {
                size_bytes: 300_000
            }
        );
    }
    assert!(read_from(&store.spool, &digest, 0) == *bytes);
    assert_eq!(store.spool.used_bytes(), 300_000);
}
