//! A start that is refused for damage leaves the evidence: the journal's files as they were before it.

use std::fs;
use std::path::{Path, PathBuf};

use jeroboam_scheduler::dispatch::Limits;
use jeroboam_scheduler::recover::{RecoverError, recover};
use jeroboam_scheduler::store::journal::Sequence;
use jeroboam_scheduler::store::{Store, StoreError, StoreOptions};

fn open(data_dir: &Path) -> Result<Store, StoreError> {
    Store::open(data_dir, &StoreOptions::default())
}

/// The journal's files and the mark, by name.
fn files(directory: &Path, mark: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    if !paths.iter().any(|path| path.ends_with("journal.mark")) {
        paths.push(mark.to_owned());
    }
    let mut files: Vec<_> = paths
        .into_iter()
        .map(|path| {
            let name = PathBuf::from(path.file_name().expect("a name"));
            (name, fs::read(path).expect("the file"))
        })
        .collect();
    files.sort();
    files
}

fn found(data_dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(&data_dir.join("journal"), &data_dir.join("journal.mark"))
}

fn kept(data_dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let kept = data_dir.join("journal.refused");
    files(&kept, &kept.join("journal.mark"))
}

/// Nine records, and then one bit of the fifth is flipped where it stands in the file.
fn damaged(data_dir: &Path) {
    let mut store = open(data_dir).expect("it opens");
    store.proved_good();
    for number in 1..=9 {
        let record = format!("this is record {number}");
        store
            .journal
            .append(&[record.as_bytes()], &[])
            .expect("the append succeeds");
    }
    drop(store);
    flip(&data_dir.join("journal/db"), b"this is record 5");
}

/// Flips a bit of the text wherever it stands in the file.
fn flip(path: &Path, text: &[u8]) {
    let mut bytes = fs::read(path).expect("the file");
    let places: Vec<usize> = (0..bytes.len() - text.len())
        .filter(|at| bytes[*at..].starts_with(text))
        .collect();
    assert!(!places.is_empty(), "the text stands in the file");
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(path, bytes).expect("the damaged file");
}

#[test]
fn a_refused_start_keeps_the_bytes_that_it_found_and_says_where() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    damaged(directory.path());
    let before = found(directory.path());
    // A start is tried again and again, by a supervisor; the first one's evidence stands.
    for _ in 0..3 {
        let error = open(directory.path()).expect_err("the journal is damaged");
        let StoreError::Refused { kept, source } = &error else {
            panic!("{error}")
        };
        assert_eq!(kept, &directory.path().join("journal.refused"));
        assert!(
            matches!(**source, StoreError::TailLost { .. }),
            "{source:?}"
        );
        let message = error.to_string();
        assert!(
            message.contains("accepting the loss after") && message.contains("journal.refused"),
            "{message}"
        );
        assert!(kept_is(&before, directory.path()));
        assert!(!directory.path().join("journal.found").exists());
    }
    assert!(
        found(directory.path()) != before,
        "the engine has left the files alone: this test shows nothing"
    );
}

fn kept_is(before: &[(PathBuf, Vec<u8>)], data_dir: &Path) -> bool {
    kept(data_dir) == before
}

#[test]
fn what_was_kept_can_be_put_back_and_is_refused_again_in_the_same_words() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    damaged(directory.path());
    let first = open(directory.path()).expect_err("it is damaged");
    let refused = directory.path().join("journal.refused");
    let before = kept(directory.path());
    fs::remove_dir_all(directory.path().join("journal")).expect("the rewritten one goes");
    fs::rename(&refused, directory.path().join("journal")).expect("it is put back");
    fs::rename(
        directory.path().join("journal/journal.mark"),
        directory.path().join("journal.mark"),
    )
    .expect("the mark is put back");
    let second = open(directory.path()).expect_err("it is damaged");
    assert_eq!(first.to_string(), second.to_string());
    assert!(kept_is(&before, directory.path()));
}

#[test]
fn a_loss_can_be_accepted_beside_what_was_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    damaged(directory.path());
    let before = found(directory.path());
    let error = open(directory.path()).expect_err("it is damaged");
    let StoreError::Refused { source, .. } = error else {
        panic!("{error}")
    };
    let StoreError::TailLost { held, .. } = *source else {
        panic!("{source}")
    };
    let options = StoreOptions {
        accept_loss_after: Some(held),
        ..StoreOptions::default()
    };
    let mut store = Store::open(directory.path(), &options).expect("the loss is accepted");
    store.proved_good();
    store
        .journal
        .append(&[b"it goes on"], &[])
        .expect("the append succeeds");
    drop(store);
    assert!(
        kept_is(&before, directory.path()),
        "it stays until it is removed"
    );
}

#[test]
fn a_good_start_leaves_no_copy() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    open(directory.path()).expect("a fresh directory opens");
    let mut store = open(directory.path()).expect("it opens again");
    let copy = directory.path().join("journal.found");
    assert!(
        copy.join("db").is_file(),
        "there is one until it has proved good"
    );
    store.proved_good();
    assert!(!copy.exists());
    drop(store);
    let store = open(directory.path()).expect("it opens again");
    drop(store);
    assert!(!copy.exists(), "nor does one that nobody decided about");
}

#[test]
fn a_copy_that_an_interrupted_start_left_counts_only_for_the_same_journal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    damaged(directory.path());
    let before = found(directory.path());
    // As if the process was killed in the engine's recovery: the copy is there, the files are rewritten.
    let copy = directory.path().join("journal.found");
    fs::create_dir(&copy).expect("a directory");
    for (name, bytes) in &before {
        fs::write(copy.join(name), bytes).expect("a file");
    }
    let path = directory.path().join("journal/db");
    let mut rewritten = fs::read(&path).expect("the file");
    let end = rewritten.len();
    rewritten[end - 1000..].fill(0);
    fs::write(&path, rewritten).expect("the rewritten file");
    open(directory.path()).expect_err("it is damaged");
    assert!(kept_is(&before, directory.path()), "the older bytes stand");

    // One that was left before the journal went on is of another journal.
    let directory = tempfile::tempdir().expect("a temporary directory");
    damaged(directory.path());
    let before = found(directory.path());
    let copy = directory.path().join("journal.found");
    fs::create_dir(&copy).expect("a directory");
    fs::write(copy.join("db"), b"old").expect("a file");
    fs::write(copy.join("journal.mark"), b"old").expect("a file");
    open(directory.path()).expect_err("it is damaged");
    assert!(kept_is(&before, directory.path()));
}

#[test]
fn a_refusal_that_is_no_damage_keeps_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path()).expect("it opens");
    store
        .journal
        .append(&[b"one"], &[])
        .expect("the append succeeds");
    let error = open(directory.path()).expect_err("it is in use");
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert_eq!(store.journal.last(), Sequence(1));
    assert!(!directory.path().join("journal.refused").exists());
    assert!(!directory.path().join("journal.found").exists());
}

/// Starts a service's journal as the service does; each start appends.
fn take_up(data_dir: &Path) -> Result<(), RecoverError> {
    let limits = Limits {
        contact_limit_ms: 60_000,
        kill_ms: 10_000,
        heartbeat_interval_ms: 1_000,
    };
    recover(open(data_dir)?, limits, |_| Vec::new()).map(|_| ())
}

#[test]
fn damage_that_only_the_replay_meets_keeps_them_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for _ in 0..2 {
        take_up(directory.path()).expect("it is taken up");
    }
    assert!(!directory.path().join("journal.found").exists());
    // Opening looks at the last record; this is the first, under a checksum of the engine's that is right.
    let db = sled::Config::new()
        .path(directory.path().join("journal"))
        .segment_size(8 << 20)
        .open()
        .expect("sled opens");
    let records = db.open_tree("journal").expect("the tree");
    let (key, value) = records.first().expect("it reads").expect("a record");
    let mut value = value.to_vec();
    value[30] ^= 1;
    records.insert(key, value).expect("it is written");
    drop((records, db));
    open(directory.path()).expect("opening does not meet it");
    let before = found(directory.path());
    let error = take_up(directory.path()).expect_err("the first record is damaged");
    let message = error.to_string();
    assert!(message.contains("journal.refused"), "{message}");
    assert!(kept_is(&before, directory.path()));
}
