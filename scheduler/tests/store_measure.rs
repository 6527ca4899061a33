//! Measures the journal on the embedded engine: `cargo test -p jeroboam-scheduler --test store_measure -- --ignored --nocapture`.
//!
//! It prints figures and asserts nothing about time; the conclusions are in the docs of `store::journal`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jeroboam_scheduler::store::engine::embedded::SledEngine;
use jeroboam_scheduler::store::journal::{Journal, JournalOptions, Sequence};

const RECORD: [u8; 100] = [7; 100];

fn open(directory: &Path) -> Journal {
    let engine = SledEngine::open(&directory.join("journal")).expect("the engine opens");
    Journal::open(Box::new(engine), JournalOptions::default()).expect("the journal opens")
}

fn disk_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("a readable directory");
    entries
        .map(|entry| {
            let entry = entry.expect("a readable entry");
            let metadata = entry.metadata().expect("readable metadata");
            if metadata.is_dir() {
                disk_bytes(&entry.path())
            } else {
                std::os::unix::fs::MetadataExt::blocks(&metadata) * 512
            }
        })
        .sum()
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("a VmRSS line");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse::<u64>()
        .expect("kB")
        / 1024
}

#[test]
#[ignore = "a measurement"]
fn appends_per_second_by_group() {
    for group in [1, 10, 100, 1000] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut journal = open(directory.path());
        let records = vec![&RECORD[..]; group];
        let (start, mut took) = (Instant::now(), Vec::new());
        while start.elapsed() < Duration::from_secs(3) {
            let began = Instant::now();
            journal.append(&records, &[]).expect("the append succeeds");
            took.push(began.elapsed());
        }
        let appended = took.len() * group;
        took.sort();
        println!(
            "groups of {group:>4}: {:>9.0} records/s, a group takes {:?} in the median, {:?} at p99, {:.0} disk bytes per record",
            appended as f64 / start.elapsed().as_secs_f64(),
            took[took.len() / 2],
            took[took.len() * 99 / 100],
            disk_bytes(directory.path()) as f64 / appended as f64
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn disk_and_memory_after_a_million_records_and_truncation() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let report = |what: &str| {
        println!(
            "{what:<52} {:>6} MiB on disk, {:>5} MiB resident",
            disk_bytes(directory.path()) >> 20,
            resident_mib()
        );
    };
    let mut journal = open(directory.path());
    report("empty");
    let group: usize =
        std::env::var("GROUP").map_or(100, |text| text.parse().expect("GROUP is a number"));
    let records = vec![&RECORD[..]; group];
    for round in 1..=3 {
        for _ in 0..1_000_000 / group {
            journal.append(&records, &[]).expect("the append succeeds");
        }
        report(&format!(
            "round {round}: a million records of 100 B appended"
        ));
        let start = Instant::now();
        while journal
            .truncate(journal.last())
            .expect("the truncation succeeds")
        {}
        report(&format!(
            "round {round}: truncated in {:?}",
            start.elapsed()
        ));
    }
    drop(journal);
    report("closed");
    let start = Instant::now();
    let mut journal = open(directory.path());
    report(&format!("opened again in {:?}", start.elapsed()));
    assert_eq!(journal.read_after(journal.floor()).count(), 0);
    journal
        .append(&[&RECORD], &[])
        .expect("the append succeeds");
    assert_eq!(
        journal.last(),
        Sequence(3_000_000 / group as u64 * group as u64 + 1)
    );
}
