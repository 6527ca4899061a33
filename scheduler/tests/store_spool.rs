//! The spool: uploads that go on where they stand, checked files, bounds and retention.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime};

use jeroboam_scheduler::store::spool::{Account, Digest, Spool, SpoolLimits, SpoolStatus};
use jeroboam_scheduler::store::{Store, StoreError, StoreOptions};

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
            account_bytes: 100,
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
fn one_queue_cannot_take_the_room_of_the_others() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let limits = SpoolLimits {
        total_bytes: 100,
        account_bytes: 50,
        file_bytes: 60,
    };
    let store = open_with(directory.path(), limits).expect("it opens");
    let cms = Account::of_queue("cms.higgs.alice");
    let atlas = Account::of_queue("atlas");
    let store_on = |spool: &Spool, account: &Account, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        spool.begin_for(account, &digest, bytes.len() as u64)?;
        spool.append(&digest, 0, bytes)
    };
    store_on(&store.spool, &cms, &[1; 30]).expect("there is room");
    // An upload that has only begun counts as well.
    let begun = Digest::of(&[2; 20]);
    store
        .spool
        .begin_for(&cms, &begun, 20)
        .expect("exactly fits");
    let full = |spool: &Spool| {
        let error = store_on(spool, &cms, &[3; 1]).expect_err("its share is full");
        assert!(
            matches!(
                error,
                StoreError::SpoolShareFull {
                    used_bytes: 50,
                    needed_bytes: 1,
                    limit_bytes: 50,
                    ..
                }
            ) && error.is_retryable()
                && error.to_string().contains("cms.higgs.alice"),
            "{error}"
        );
    };
    full(&store.spool);
    // What is there costs nobody anything.
    store_on(&store.spool, &cms, &[1; 30]).expect("it is there");
    store_on(&store.spool, &atlas, &[4; 40]).expect("others have room");
    store_on(&store.spool, &atlas, &[1; 30]).expect("it is there, on another's account");
    drop(store);

    // All of it is found again from the directory.
    let store = open_with(directory.path(), limits).expect("it opens again");
    full(&store.spool);
    let held = store.spool.accounts();
    assert_eq!((held[&cms], held[&atlas]), (50, 40));
    assert_eq!(read_from(&store.spool, &Digest::of(&[1; 30]), 29), [1]);
    store
        .spool
        .append(&begun, 0, &[2; 20])
        .expect("the upload goes on");
    assert_eq!(store.spool.accounts()[&cms], 50);
    assert!(store.spool.remove(&Digest::of(&[1; 30])).expect("it goes"));
    store_on(&store.spool, &cms, &[3; 30]).expect("there is room again");
    assert!(store.spool.remove(&Digest::of(&[4; 40])).expect("it goes"));
    assert_eq!(store.spool.accounts()[&atlas], 0);
}

#[test]
fn files_without_an_account_share_one_and_strange_names_are_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = open(directory.path());
    upload(&store.spool, b"old").expect("it is stored");
    drop(store);
    let strange = format!("spool/{}@UP and DOWN", Digest::of(b"strange"));
    std::fs::write(directory.path().join(&strange), b"strange").expect("a file");
    let store = open(directory.path());
    assert_eq!(store.spool.accounts()[&Account::NOBODY], 3);
    assert_eq!(store.spool.used_bytes(), 3);
    assert!(directory.path().join(strange).exists());
    // The longest name that a queue can have, and the longest of a file.
    let segments = vec!["a".repeat(32); 8];
    let account = Account::of_queue(&segments.join("."));
    assert_eq!(account.to_string(), segments[..3].join("."));
    let digest = Digest::of(b"long");
    store
        .spool
        .begin_for(&account, &digest, 4)
        .expect("the name is not too long");
    store
        .spool
        .append(&digest, 0, b"long")
        .expect("nor is this");
    assert_eq!(read_from(&store.spool, &digest, 0), b"long");
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
