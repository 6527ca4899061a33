//! Snapshots: a restart begins with the newest intact one, and says so when that is not the newest.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use jeroboam_scheduler::store::journal::Sequence;
use jeroboam_scheduler::store::{Replay, Store, StoreError, StoreOptions};

fn open(directory: &Path) -> Store {
    Store::open(directory, &StoreOptions::default()).expect("the store opens")
}

/// Returns up to where the journal may be truncated now.
fn write_snapshot(store: &Store, through: u64, stream: &[u8]) -> Sequence {
    let mut snapshot = store
        .snapshots
        .begin(Sequence(through))
        .expect("the snapshot starts");
    snapshot.write_all(stream).expect("the snapshot is written");
    snapshot.commit().expect("the snapshot is durable")
}

fn truncate(store: &mut Store, through: Sequence) {
    while store
        .journal
        .truncate(through)
        .expect("the truncation succeeds")
    {}
}

/// The names in the directory, in order.
fn files(directory: &Path) -> Vec<String> {
    let mut files: Vec<_> = fs::read_dir(directory.join("snapshots"))
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("a name of ours"))
        .collect();
    files.sort();
    files
}

fn name_of(through: u64) -> String {
    format!("through-{through:020}")
}

fn path_of(directory: &Path, through: u64) -> PathBuf {
    directory.join("snapshots").join(name_of(through))
}

/// Flips one bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("the file");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("the damaged file");
}

/// Appends `records`, one group each; every record is its own number.
fn append(store: &mut Store, records: u64) -> u64 {
    for _ in 0..records {
        let number = (store.journal.last().0 + 1).to_le_bytes();
        store
            .journal
            .append(&[&number], &[])
            .expect("the append succeeds");
    }
    store.journal.last().0
}

/// What a replay starts from, and the records that it then reads.
fn replayed(store: &Store) -> (Option<u64>, Vec<u64>) {
    let Replay { snapshot, records } = store.replay().expect("the replay starts");
    let from = snapshot.map(|mut snapshot| {
        let mut stream = Vec::new();
        snapshot.read_to_end(&mut stream).expect("it is intact");
        let through = snapshot.through().0;
        assert_eq!(stream, through.to_le_bytes().repeat(20_000));
        through
    });
    let numbers = records
        .map(|record| record.expect("it reads").sequence.0)
        .collect();
    (from, numbers)
}

/// Snapshots at 10 and 20, the journal truncated after each as the service does, and records up to 25.
fn two_snapshots(directory: &Path) {
    let mut store = open(directory);
    for _ in 0..2 {
        let through = append(&mut store, 10);
        let superfluous = write_snapshot(&store, through, &through.to_le_bytes().repeat(20_000));
        truncate(&mut store, superfluous);
    }
    append(&mut store, 5);
}

#[test]
fn the_journal_is_kept_from_the_older_of_two_snapshots_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    two_snapshots(directory.path());
    let mut store = open(directory.path());
    assert_eq!(files(directory.path()), [name_of(10), name_of(20)]);
    assert_eq!(store.journal.floor(), Sequence(10));
    assert_eq!(replayed(&store), (Some(20), (21..=25).collect()));
    let superfluous = write_snapshot(&store, 25, &25_u64.to_le_bytes().repeat(20_000));
    truncate(&mut store, superfluous);
    assert_eq!(files(directory.path()), [name_of(20), name_of(25)]);
    assert_eq!(store.journal.floor(), Sequence(20));
}

#[test]
fn a_damaged_newest_snapshot_is_set_aside_and_costs_only_a_longer_replay() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    two_snapshots(directory.path());
    flip(&path_of(directory.path(), 20));
    // The second start finds it set aside already.
    for _ in 0..2 {
        let store = open(directory.path());
        assert_eq!(replayed(&store), (Some(10), (11..=25).collect()));
        assert_eq!(
            files(directory.path()),
            [name_of(10), format!("{}.damaged", name_of(20))]
        );
    }
    // It is not counted as one of the two.
    let mut store = open(directory.path());
    let superfluous = write_snapshot(&store, 25, &25_u64.to_le_bytes().repeat(20_000));
    truncate(&mut store, superfluous);
    assert_eq!(store.journal.floor(), Sequence(10));
    drop(store);
    // A damaged one later takes its place.
    flip(&path_of(directory.path(), 25));
    let store = open(directory.path());
    assert_eq!(replayed(&store), (Some(10), (11..=25).collect()));
    assert_eq!(
        files(directory.path()),
        [name_of(10), format!("{}.damaged", name_of(25))]
    );
}

#[test]
fn a_damaged_older_snapshot_is_not_needed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    two_snapshots(directory.path());
    flip(&path_of(directory.path(), 10));
    let store = open(directory.path());
    assert_eq!(replayed(&store), (Some(20), (21..=25).collect()));
}

#[test]
fn two_damaged_snapshots_are_refused_and_left_as_they_are() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    two_snapshots(directory.path());
    flip(&path_of(directory.path(), 10));
    flip(&path_of(directory.path(), 20));
    for _ in 0..2 {
        let refused = Store::open(directory.path(), &StoreOptions::default());
        let error = refused.expect_err("there is nothing to start from");
        assert!(
            matches!(
                error,
                StoreError::NoIntactSnapshot {
                    floor: Sequence(10),
                    ..
                }
            ),
            "{error}"
        );
        let message = error.to_string();
        let newest = message.find(&name_of(20)).expect("it names the newest");
        assert!(message[newest..].contains(&name_of(10)), "{message}");
        assert!(message.contains("restore a backup"), "{message}");
        assert_eq!(files(directory.path()), [name_of(10), name_of(20)]);
    }
}

#[test]
fn the_only_snapshot_may_be_damaged_since_the_journal_is_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    append(&mut store, 10);
    let superfluous = write_snapshot(&store, 10, &[1; 100_000]);
    truncate(&mut store, superfluous);
    append(&mut store, 1);
    drop(store);
    flip(&path_of(directory.path(), 10));
    let store = open(directory.path());
    assert_eq!(replayed(&store), (None, (1..=11).collect()));
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
        let superfluous = write_snapshot(&store, through, &stream);
        // Records that the snapshot holds, not yet truncated, are not replayed.
        store
            .journal
            .append(&[b"after"], &[])
            .expect("the append succeeds");
        drop(store);
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
        truncate(&mut store, superfluous);
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
    assert_eq!(files(directory.path()), [name_of(1)]);
    write_snapshot(&store, 2, b"second");
    // As after a crash before the rename, and after a crash between the rename and the removal of the oldest one.
    fs::write(
        directory
            .path()
            .join("snapshots/through-00000000000000000003.tmp"),
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
        Some(Sequence(2))
    );
    assert_eq!(files(directory.path()), [name_of(1), name_of(2)]);
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
    let path = path_of(directory.path(), 1);
    let intact = fs::read(&path).expect("the file");
    let read = || -> Result<usize, StoreError> {
        let mut reader = store.snapshots.read(Sequence(1))?;
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
    truncate(&mut store, Sequence(1));
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
