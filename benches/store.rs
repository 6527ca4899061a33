//! Durability: appends by size of group, what of a file truncation leaves, and restarts with a million queued tasks.
//!
//! `cargo bench --bench store` prints figures; `-- --quick` runs small sizes once, to see that the bench works. The directory
//! is in `TMPDIR`: appends are only worth something on a real disk. Nothing is asserted about time.
//!
//! A restart is measured in its parts: opening (the copy of the journal's files included), reading records, decoding them, and
//! applying them; then the same from a snapshot. The sum of what a job costs is told once in memory (of this process, by
//! difference) and once on disk.

use jeroboam_core::event::Event;
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::Resources;
use jeroboam_core::spec::{BatchSpec, JobSpec, Needs};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_scheduler::record;
use jeroboam_scheduler::recover::replay;
use jeroboam_scheduler::store::{Store, StoreOptions};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

const NOW: TimeMs = TimeMs(1_000_000_000_000);
const RECORD: [u8; 100] = [7; 100];
const MIB: u64 = 1 << 20;

/// Queued work: `batches` of `jobs` jobs of `count` tasks each, with so many different needs.
struct Shape {
    name: &'static str,
    batches: u32,
    jobs: u32,
    count: u32,
    classes: u32,
}

impl Shape {
    fn tasks(&self) -> u64 {
        u64::from(self.batches) * u64::from(self.jobs) * u64::from(self.count)
    }
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    let (append_for, scale) = if quick {
        (Duration::from_millis(50), 100)
    } else {
        (Duration::from_secs(3), 1)
    };
    for group in [1, 10, 100, 1_000] {
        appends(group, append_for);
    }
    let shapes = [
        Shape {
            name: "one array",
            batches: 1,
            jobs: 1,
            count: 1_000_000 / scale,
            classes: 1,
        },
        Shape {
            name: "arrays of 1,000",
            batches: 10,
            jobs: 100 / scale,
            count: 1_000,
            classes: 100,
        },
        Shape {
            name: "single jobs",
            batches: 1_000 / scale,
            jobs: 1_000,
            count: 1,
            classes: 1_000,
        },
    ];
    plateau(1_000_000 / scale as usize);
    for shape in &shapes {
        restart(shape);
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory can be made")
}

fn open(data_dir: &Path) -> Store {
    Store::open(data_dir, &StoreOptions::default()).expect("the data directory opens")
}

fn appends(group: usize, append_for: Duration) {
    let directory = directory();
    let mut journal = open(directory.path()).journal;
    let records = vec![&RECORD[..]; group];
    let mut took = Vec::new();
    let started = Instant::now();
    while started.elapsed() < append_for {
        let began = Instant::now();
        journal.append(&records, &[]).expect("the append succeeds");
        took.push(began.elapsed());
    }
    let elapsed = started.elapsed();
    took.sort();
    println!(
        "append: groups of {group} records of {} bytes: {:.0} records/s durable, a group in {:?} (median), {:?} (99 %)",
        RECORD.len(),
        (took.len() * group) as f64 / elapsed.as_secs_f64(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
    );
}

/// What of the file stays when what was appended is truncated, three times over.
fn plateau(records_max: usize) {
    let directory = directory();
    let mut journal = open(directory.path()).journal;
    let records = vec![&RECORD[..]; 1_000.min(records_max)];
    for round in 1..=3 {
        for _ in 0..records_max / records.len() {
            journal.append(&records, &[]).expect("the append succeeds");
        }
        let appended = disk_bytes(&directory.path().join("journal")) / MIB;
        let started = Instant::now();
        while journal
            .truncate(journal.last())
            .expect("the truncation succeeds")
        {}
        println!(
            "plateau: {records_max} records appended for the {round}. time: {appended} MiB on disk; truncated in {:?}",
            started.elapsed()
        );
    }
}

fn restart(shape: &Shape) {
    let directory = directory();
    let before_mib = resident_bytes();
    let (world, append) = submit(shape, directory.path());
    let in_memory = resident_bytes().saturating_sub(before_mib);
    let name = format!("{} ({} tasks)", shape.name, shape.tasks());
    let per_job = |bytes: u64| bytes / (u64::from(shape.batches) * u64::from(shape.jobs));
    println!("{name}: submitted, applied and durable in {append:?}");
    println!(
        "{name}: World in memory about {} MiB, {} bytes a job; journal {} MiB",
        in_memory / MIB,
        per_job(in_memory),
        disk_bytes(&directory.path().join("journal")) / MIB
    );
    from_journal(&name, directory.path());

    let started = Instant::now();
    let bytes = record::encode_world(&world);
    let encoded = started.elapsed();
    drop(world);
    let mut store = open(directory.path());
    let started = Instant::now();
    let through = store.journal.last();
    let mut writer = store.snapshots.begin(through).expect("the snapshot starts");
    writer.write_all(&bytes).expect("it is written");
    writer.commit().expect("it is durable");
    println!(
        "{name}: snapshot of {} MiB ({} bytes a job): encoded in {encoded:?} (the owner's thread stands still), durable in {:?}",
        bytes.len() as u64 / MIB,
        per_job(bytes.len() as u64),
        started.elapsed()
    );
    store.proved_good();
    drop((store, bytes));
    from_snapshot(&name, directory.path());
}

/// A restart that replays everything, and where its time goes.
fn from_journal(name: &str, data_dir: &Path) {
    let started = Instant::now();
    let mut store = open(data_dir);
    let opened = started.elapsed();
    let started = Instant::now();
    let records = store.replay().expect("the replay starts").records;
    let records: Vec<Vec<u8>> = records
        .map(|record| record.expect("it reads").bytes)
        .collect();
    let read = started.elapsed();
    let started = Instant::now();
    let events: Vec<(TimeMs, Event)> = records
        .iter()
        .map(|bytes| record::decode(bytes).expect("it is one of ours"))
        .collect();
    let decoded = started.elapsed();
    drop((records, events));
    let started = Instant::now();
    let (world, _) = replay(&store).expect("it is replayed");
    let replayed = started.elapsed();
    println!(
        "{name}: restart from the journal {:?}: opened in {opened:?}, replayed in {replayed:?} (read {read:?}, decode {decoded:?}, apply and free {:?})",
        opened + replayed,
        replayed.saturating_sub(read + decoded)
    );
    drop(world);
    store.proved_good();
}

fn from_snapshot(name: &str, data_dir: &Path) {
    let started = Instant::now();
    let store = open(data_dir);
    let opened = started.elapsed();
    let started = Instant::now();
    let (world, replayed) = replay(&store).expect("it is read");
    let read = started.elapsed();
    assert_eq!(replayed.records, 0, "the snapshot holds everything");
    println!(
        "{name}: restart from the snapshot {:?}: opened and checked in {opened:?}, read and decoded in {read:?}",
        opened + read
    );
    drop(world);
}

/// Submits all of it as the service does, in groups of ten; says how long that took.
fn submit(shape: &Shape, data_dir: &Path) -> (World, Duration) {
    let mut store = open(data_dir);
    store.proved_good();
    let mut world = World::default();
    let founded = Event::Founded {
        federation: "bench".into(),
        lineage: 1,
    };
    let queue = Event::QueueCreated(QueueSpec {
        submitters: BTreeSet::from(["*".to_string()]),
        ..QueueSpec::new("q", 1)
    });
    let started = Instant::now();
    let mut group = Vec::new();
    let batches = (0..shape.batches).map(|batch| submitted(shape, batch));
    for event in [founded, queue].into_iter().chain(batches) {
        world
            .apply(NOW, &event)
            .expect("the bench's events are accepted");
        group.push(record::encode(NOW, &event));
        if group.len() == 10 {
            append(&mut store, &mut group);
        }
    }
    append(&mut store, &mut group);
    (world, started.elapsed())
}

fn append(store: &mut Store, group: &mut Vec<Vec<u8>>) {
    let records: Vec<&[u8]> = group.iter().map(Vec::as_slice).collect();
    store
        .journal
        .append(&records, &[])
        .expect("the append succeeds");
    group.clear();
}

fn submitted(shape: &Shape, batch: u32) -> Event {
    let jobs = (0..shape.jobs).map(|job| job_of(shape, batch * shape.jobs + job));
    Event::BatchSubmitted {
        request_id: format!("request-{batch}"),
        digest: [0; 32],
        by: "bench".into(),
        spec: BatchSpec {
            name: format!("batch-{batch}"),
            queue: "q".into(),
            jobs: jobs.collect(),
        },
    }
}

fn job_of(shape: &Shape, number: u32) -> JobSpec {
    let memory_mib = 1_024 + i64::from(number % shape.classes);
    let needs = Needs::new(Resources::of(1_000, memory_mib, 0, 0), 3_600_000);
    JobSpec {
        count: shape.count,
        command: vec!["simulate".into(), "--seed".into(), number.to_string()],
        ..JobSpec::new(format!("job-{number}"), needs)
    }
}

fn disk_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("the directory can be listed");
    let sizes = entries.map(|entry| entry.and_then(|entry| entry.metadata()));
    sizes.map(|found| found.expect("its size").len()).sum()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("VmRSS in kB") * 1_024
}
