//! The journal on both engines: what was appended is read back, and what is damaged or missing is said with its position.

use std::io::ErrorKind;
use std::path::Path;

use jeroboam_scheduler::store::engine::TreeName;
use jeroboam_scheduler::store::engine::embedded::SledEngine;
use jeroboam_scheduler::store::engine::memory::{Fault, MemoryDisk};
use jeroboam_scheduler::store::history::{HistorySubject, HistoryWrite};
use jeroboam_scheduler::store::journal::{
    CHUNK_BYTES_MAX, Journal, JournalOptions, RECORD_BYTES_MAX, Sequence,
};
use jeroboam_scheduler::store::{Store, StoreError, StoreOptions};
use proptest::prelude::*;

fn memory(disk: &MemoryDisk) -> Result<Journal, StoreError> {
    Journal::open(Box::new(disk.engine()), JournalOptions::default())
}

fn accepting(disk: &MemoryDisk, after: u64) -> Result<Journal, StoreError> {
    let options = JournalOptions {
        accept_loss_after: Some(Sequence(after)),
        ..JournalOptions::default()
    };
    Journal::open(Box::new(disk.engine()), options)
}

fn embedded(directory: &Path) -> Result<Journal, StoreError> {
    Journal::open(
        Box::new(SledEngine::open(&directory.join("journal"))?),
        JournalOptions::default(),
    )
}

fn read_all(journal: &Journal) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    journal
        .read_after(journal.floor())
        .map(|record| record.map(|record| (record.sequence.0, record.bytes)))
        .collect()
}

/// Three groups: records 1 and 2, record 3 in five chunks, records 4 to 6.
fn filled(disk: &MemoryDisk) -> Vec<Vec<u8>> {
    let records = vec![
        b"one".to_vec(),
        vec![],
        vec![3; 4 * CHUNK_BYTES_MAX + 1],
        b"four".to_vec(),
        b"five".to_vec(),
        b"six".to_vec(),
    ];
    let mut journal = memory(disk).expect("a fresh journal opens");
    for group in [&records[..2], &records[2..3], &records[3..]] {
        let group: Vec<&[u8]> = group.iter().map(Vec::as_slice).collect();
        journal.append(&group, &[]).expect("the append succeeds");
    }
    records
}

fn message_of(result: Result<Journal, StoreError>) -> String {
    result.expect_err("the journal must not open").to_string()
}

#[test]
fn records_come_back_whole_and_in_order() {
    let disk = MemoryDisk::default();
    let records = filled(&disk);
    let journal = memory(&disk).expect("it opens again");
    let expected: Vec<_> = (1..).zip(records).collect();
    assert_eq!(read_all(&journal).expect("it reads"), expected);
    for after in 0..=6 {
        let read: Vec<_> = journal
            .read_after(Sequence(after))
            .map(|record| record.expect("it reads").sequence.0)
            .collect();
        assert_eq!(read, (after + 1..=6).collect::<Vec<_>>(), "after {after}");
    }
}

#[test]
fn a_record_over_the_bound_is_refused_and_the_journal_goes_on() {
    let mut journal = memory(&MemoryDisk::default()).expect("it opens");
    let large = vec![0; RECORD_BYTES_MAX + 1];
    assert!(matches!(
        journal.append(&[&large], &[]),
        Err(StoreError::TooLarge { .. })
    ));
    let entry = HistoryWrite {
        record: 0,
        subject: HistorySubject::Attempts { job: 1 },
        value: &large,
    };
    assert!(matches!(
        journal.append(&[b"small"], &[entry]),
        Err(StoreError::TooLarge { .. })
    ));
    assert_eq!(
        journal.append(&[b"small"], &[]).expect("it goes on"),
        Sequence(1)
    );
}

#[test]
fn every_flipped_byte_is_noticed_at_its_record() {
    let disk = MemoryDisk::default();
    filled(&disk);
    let values = disk.with_tree(TreeName::Journal, |tree| tree.clone());
    for (key, value) in &values {
        // The large chunks: their header and a few places inside.
        let places =
            (0..value.len()).filter(|at| *at < 40 || at % 9_973 == 0 || at + 1 == value.len());
        for at in places {
            disk.with_tree(TreeName::Journal, |tree| {
                tree.get_mut(key).expect("the value")[at] ^= 0x10
            });
            let error = memory(&disk)
                .and_then(|journal| read_all(&journal))
                .expect_err("the flip must be noticed");
            let StoreError::DamagedRecord { sequence, .. } = error else {
                panic!("byte {at} of {key:?}: {error}")
            };
            let first = u64::from_be_bytes(*key.first_chunk().expect("a key"));
            assert!(
                (first..=6).contains(&sequence.0),
                "byte {at} of {key:?} noticed at {sequence}"
            );
            disk.with_tree(TreeName::Journal, |tree| {
                tree.insert(key.clone(), value.clone())
            });
        }
    }
    read_all(&memory(&disk).expect("intact again")).expect("it reads");
}

#[test]
fn every_missing_or_cut_value_is_noticed() {
    let disk = MemoryDisk::default();
    filled(&disk);
    let values = disk.with_tree(TreeName::Journal, |tree| tree.clone());
    for (key, value) in &values {
        let first = u64::from_be_bytes(*key.first_chunk().expect("a key"));
        for kept in [None, Some(0), Some(value.len() / 2), Some(value.len() - 1)] {
            disk.with_tree(TreeName::Journal, |tree| match kept {
                None => tree.remove(key),
                Some(length) => tree.insert(key.clone(), value[..length].to_vec()),
            });
            let error = memory(&disk)
                .and_then(|journal| read_all(&journal))
                .expect_err("the loss must be noticed");
            match error {
                StoreError::DamagedRecord { sequence, .. } => {
                    assert!(sequence.0 >= first, "{key:?} cut to {kept:?}: {sequence}")
                }
                StoreError::TailLost { acknowledged, .. } => assert_eq!(acknowledged, Sequence(6)),
                other => panic!("{key:?} cut to {kept:?}: {other}"),
            }
            disk.with_tree(TreeName::Journal, |tree| {
                tree.insert(key.clone(), value.clone())
            });
        }
    }
}

#[test]
fn a_lost_tail_is_an_error_until_it_is_accepted_by_number() {
    let disk = MemoryDisk::default();
    let records = filled(&disk);
    disk.with_tree(TreeName::Journal, |tree| tree.pop_last());
    let message = message_of(memory(&disk));
    assert!(
        message.contains("ends at record 3")
            && message.contains("4..=6")
            && message.contains("accepting the loss after 3"),
        "{message}"
    );
    assert!(matches!(
        accepting(&disk, 2),
        Err(StoreError::LossNotAsAccepted {
            readable: Sequence(3),
            ..
        })
    ));
    let mut journal = accepting(&disk, 3).expect("the loss is accepted");
    assert_eq!(read_all(&journal).expect("it reads").len(), 3);
    assert_eq!(
        journal.append(&[b"new four"], &[]).expect("it goes on"),
        Sequence(4)
    );
    drop(journal);
    // The option left in place loses nothing more.
    let journal = accepting(&disk, 3).expect("it opens");
    let expected: Vec<_> = (1..)
        .zip(records.into_iter().take(3).chain([b"new four".to_vec()]))
        .collect();
    assert_eq!(read_all(&journal).expect("it reads"), expected);
}

#[test]
fn damage_in_the_middle_of_a_value_can_be_cut_off_there_and_takes_its_history_along() {
    let disk = MemoryDisk::default();
    let mut journal = memory(&disk).expect("it opens");
    let entry = |record, job| HistoryWrite {
        record,
        subject: HistorySubject::Job {
            job,
            finished_ms: 5,
        },
        value: b"done",
    };
    journal
        .append(&[b"one", b"two", b"three"], &[entry(0, 10), entry(2, 30)])
        .expect("the append succeeds");
    drop(journal);
    disk.with_tree(TreeName::Journal, |tree| {
        let value = tree.values_mut().next().expect("one value");
        let at = value
            .windows(5)
            .position(|window| window == b"three")
            .expect("the third record");
        value[at] ^= 1;
    });
    let message = message_of(memory(&disk));
    assert!(
        message.contains("record 3") && message.contains("accepting the loss after 2"),
        "{message}"
    );
    let journal = accepting(&disk, 2).expect("the loss is accepted");
    assert_eq!(read_all(&journal).expect("it reads").len(), 2);
    assert!(journal.history().job(10).expect("it reads").is_some());
    assert_eq!(journal.history().job(30).expect("it reads"), None);
    assert_eq!(
        journal
            .history()
            .expire(u64::MAX, 100)
            .expect("it expires")
            .entries,
        1,
        "nothing of job 30 is listed"
    );
    drop(journal);
    memory(&disk).expect("it opens without the option");
}

#[test]
fn a_newer_format_is_refused() {
    let disk = MemoryDisk::default();
    filled(&disk);
    disk.with_tree(TreeName::Meta, |tree| {
        tree.insert(b"format".to_vec(), 2u32.to_le_bytes().to_vec())
    });
    assert!(matches!(
        memory(&disk),
        Err(StoreError::NewerFormat {
            found: 2,
            supported: 1,
            ..
        })
    ));
    disk.with_tree(TreeName::Meta, |tree| tree.remove(&b"format"[..]));
    assert!(message_of(memory(&disk)).contains("no format version"));
}

#[test]
fn truncation_is_bounded_and_reading_before_the_floor_is_an_error() {
    let disk = MemoryDisk::default();
    let mut journal = memory(&disk).expect("it opens");
    for number in 0..1000u32 {
        journal
            .append(&[&number.to_le_bytes()], &[])
            .expect("the append succeeds");
    }
    let mut calls = 1;
    while journal
        .truncate(Sequence(700))
        .expect("the truncation succeeds")
    {
        calls += 1;
    }
    assert!(calls > 700 / 20, "{calls} calls removed 700 values");
    assert_eq!(disk.with_tree(TreeName::Journal, |tree| tree.len()), 300);
    drop(journal);
    let mut journal = memory(&disk).expect("it opens again");
    assert_eq!(
        (journal.floor(), journal.last()),
        (Sequence(700), Sequence(1000))
    );
    assert_eq!(read_all(&journal).expect("it reads").len(), 300);
    let error = journal
        .read_after(Sequence(699))
        .next()
        .expect("one item")
        .expect_err("an error");
    assert!(error.to_string().contains("truncated"), "{error}");
    while journal
        .truncate(Sequence(1000))
        .expect("the truncation succeeds")
    {}
    drop(journal);
    let mut journal = memory(&disk).expect("an empty journal opens");
    assert_eq!(
        journal.append(&[b"next"], &[]).expect("it goes on"),
        Sequence(1001)
    );
}

#[test]
fn a_fault_at_any_operation_loses_nothing_acknowledged_and_poisons() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for landed in [false, true] {
            for operation in 1..=20 {
                let disk = MemoryDisk::default();
                disk.fail(Fault {
                    operation,
                    kind,
                    landed,
                });
                let mut acknowledged = 0;
                let failed = memory(&disk).and_then(|mut journal| {
                    for _ in 0..20 {
                        if let Err(error) = journal.append(&[b"record", b"another"], &[]) {
                            let again = journal.append(&[b"more"], &[]).expect_err("poisoned");
                            assert!(matches!(again, StoreError::Poisoned { .. }), "{again}");
                            assert_eq!(again.is_disk_full(), kind == ErrorKind::StorageFull);
                            return Err(error);
                        }
                        acknowledged = journal.last().0;
                    }
                    Ok(())
                });
                let error = failed.expect_err("the fault comes out");
                assert_eq!(
                    error.is_disk_full(),
                    kind == ErrorKind::StorageFull,
                    "{error}"
                );
                let journal = memory(&disk).expect("it opens again");
                let read = read_all(&journal).expect("it reads");
                assert!(
                    (acknowledged..=acknowledged + 2).contains(&(read.len() as u64)),
                    "fault at {operation}: {}",
                    read.len()
                );
            }
        }
    }
}

#[test]
fn the_embedded_engine_tells_a_shortened_journal_and_a_missing_or_torn_mark() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mark = directory.path().join("journal.mark");
    let mut journal = embedded(directory.path()).expect("it opens");
    for _ in 0..9 {
        journal
            .append(&[b"record"], &[])
            .expect("the append succeeds");
    }
    drop(journal);
    // One torn slot is made good by the other: the newest (generation 9, slot 1) is lost, the one before it holds 8.
    let intact = std::fs::read(&mark).expect("the mark");
    for slot in 0..2 {
        let mut torn = intact.clone();
        torn[slot * 4096 + 17] ^= 1;
        std::fs::write(&mark, &torn).expect("a torn mark");
        embedded(directory.path()).expect("it opens on the other slot");
    }
    std::fs::write(&mark, &intact[..16]).expect("a ruined mark");
    assert!(matches!(
        embedded(directory.path()),
        Err(StoreError::DamagedMark {
            held: Sequence(9),
            ..
        })
    ));
    std::fs::remove_file(&mark).expect("the mark goes");
    assert!(message_of(embedded(directory.path())).contains("it is missing"));
    std::fs::write(&mark, &intact).expect("the mark is restored");
    let db = sled::Config::new()
        .path(directory.path().join("journal"))
        .segment_size(8 << 20)
        .open()
        .expect("sled opens");
    db.open_tree("journal")
        .expect("the tree")
        .pop_max()
        .expect("sled removes")
        .expect("a value");
    drop(db);
    let error = embedded(directory.path()).expect_err("the tail is lost");
    assert!(
        matches!(
            error,
            StoreError::TailLost {
                held: Sequence(8),
                acknowledged: Sequence(9),
                ..
            }
        ),
        "{error}"
    );
    std::fs::remove_file(&mark).expect("the mark goes too");
    let engine = SledEngine::open(&directory.path().join("journal")).expect("it opens");
    let options = JournalOptions {
        accept_loss_after: Some(Sequence(8)),
        ..JournalOptions::default()
    };
    let journal = Journal::open(Box::new(engine), options).expect("the loss is accepted");
    drop(journal);
    let journal = embedded(directory.path()).expect("the mark is there again");
    assert_eq!(read_all(&journal).expect("it reads").len(), 8);
    drop(journal);
    std::fs::remove_dir_all(directory.path().join("journal")).expect("all of the engine goes");
    for _ in 0..2 {
        let error = embedded(directory.path()).expect_err("everything is lost");
        assert!(
            matches!(
                error,
                StoreError::TailLost {
                    held: Sequence(0),
                    acknowledged: Sequence(8),
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn an_older_copy_of_the_engine_under_a_newer_mark_is_noticed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (journal_dir, copy) = (
        directory.path().join("journal"),
        directory.path().join("copy"),
    );
    let mut journal = embedded(directory.path()).expect("it opens");
    journal.append(&[b"one"], &[]).expect("the append succeeds");
    std::fs::create_dir(&copy).expect("a directory");
    for name in ["db", "conf"] {
        std::fs::copy(journal_dir.join(name), copy.join(name)).expect("a copy");
    }
    journal.append(&[b"two"], &[]).expect("the append succeeds");
    drop(journal);
    std::fs::remove_dir_all(&journal_dir).expect("the newer one goes");
    std::fs::rename(&copy, &journal_dir).expect("the older one comes");
    assert!(matches!(
        embedded(directory.path()),
        Err(StoreError::TailLost {
            held: Sequence(1),
            ..
        })
    ));
}

#[test]
fn large_values_stay_in_the_file_that_is_synced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut journal = embedded(directory.path()).expect("it opens");
    let record = vec![7; CHUNK_BYTES_MAX];
    for job in 0..100 {
        let entry = HistoryWrite {
            record: 0,
            subject: HistorySubject::Attempts { job },
            value: &record[..60_000],
        };
        journal
            .append(&[&record], &[entry])
            .expect("the append succeeds");
    }
    let outside = std::fs::read_dir(directory.path().join("journal/blobs"))
        .expect("sled's directory")
        .count();
    assert_eq!(
        outside, 0,
        "sled wrote pages to files that its flush does not sync"
    );
}

#[test]
fn a_directory_in_use_is_refused_with_its_holder() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(directory.path(), &StoreOptions::default()).expect("it opens");
    let message = Store::open(directory.path(), &StoreOptions::default())
        .expect_err("it is in use")
        .to_string();
    assert!(
        message.contains(&format!("process {}", std::process::id())),
        "{message}"
    );
    assert!(matches!(
        embedded(directory.path()),
        Err(StoreError::Locked { .. })
    ));
    drop(store);
    Store::open(directory.path(), &StoreOptions::default()).expect("it is free");
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<usize>),
    Truncate(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let size =
        prop_oneof![8 => 0usize..200, 1 => 60_000usize..70_000, 1 => Just(2 * CHUNK_BYTES_MAX)];
    prop_oneof![
        6 => prop::collection::vec(size, 0..8).prop_map(Step::Append),
        2 => (0u64..100).prop_map(Step::Truncate),
        2 => Just(Step::Reopen),
    ]
}

/// Does the steps on a journal and on a vector, and compares what both hold after each.
fn agree_with_a_vector(steps: &[Step], open: &dyn Fn() -> Journal) {
    let mut journal = open();
    let (mut model, mut floor): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
    for step in steps {
        match step {
            Step::Append(sizes) => {
                let records: Vec<Vec<u8>> = sizes
                    .iter()
                    .map(|size| vec![model.len() as u8; *size])
                    .collect();
                let group: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
                journal.append(&group, &[]).expect("the append succeeds");
                model.extend(records);
            }
            Step::Truncate(percent) => {
                let through = model.len() as u64 * percent / 100;
                while journal
                    .truncate(Sequence(through))
                    .expect("the truncation succeeds")
                {}
                floor = floor.max(through as usize);
            }
            Step::Reopen => {
                drop(journal);
                journal = open();
            }
        }
        let expected: Vec<_> = (1..).zip(model.iter().cloned()).skip(floor).collect();
        assert_eq!(
            (journal.floor().0, journal.last().0),
            (floor as u64, model.len() as u64)
        );
        assert!(
            read_all(&journal).expect("it reads") == expected,
            "the journal differs from the model after {step:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]
    #[test]
    fn any_steps_in_memory_equal_a_vector(steps in prop::collection::vec(step(), 1..30)) {
        let disk = MemoryDisk::default();
        agree_with_a_vector(&steps, &|| memory(&disk).expect("it opens"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]
    #[test]
    fn any_steps_on_sled_equal_a_vector(steps in prop::collection::vec(step(), 1..20)) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        agree_with_a_vector(&steps, &|| embedded(directory.path()).expect("it opens"));
    }
}
