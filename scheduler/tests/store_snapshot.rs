//! Snapshots: a restart begins with the newest one, and only with an intact one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use jeroboam_scheduler::store::journal::Sequence;
use jeroboam_scheduler::store::{Replay, Store, StoreError, StoreOptions};

fn open(directory: &Path) -> Store {
    Store::open(directory, &StoreOptions::default()).expect("the store opens")
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
        path_of(directory.path(), 1),
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

fn path_of(directory: &Path, through: u64) -> PathBuf {
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

#[test]
fn a_snapshot_whose_journal_is_gone_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let records: [&[u8]; 2] = [b"before", b"before"];
    store
        .journal
        .append(&records, &[])
        .expect("the append succeeds");
    write_snapshot(&store, 2, b"the World");
    store
        .journal
        .append(&[b"after"], &[])
        .expect("the append succeeds");
    drop(store);
    fs::remove_dir_all(directory.path().join("journal")).expect("the journal is there");
    fs::remove_file(directory.path().join("journal.mark")).expect("the mark is there");
    let refused = Store::open(directory.path(), &StoreOptions::default());
    assert!(
        matches!(refused, Err(StoreError::DamagedMark { .. })),
        "{refused:?}"
    );
}
