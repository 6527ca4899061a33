//! Real processes that die or run out of room in the middle of writing: nothing acknowledged is lost.
//!
//! Each test starts this binary again as a child that works on a directory and prints what it was promised; the parent ends
//! it, opens the directory and compares. SIGKILL loses what the process held, not what the kernel holds: it shows atomicity and
//! the order of steps; that bytes reach the disk is what the sync calls are for, which `strace -e trace=fdatasync` shows.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use jeroboam_scheduler::store::history::{HistorySubject, HistoryWrite};
use jeroboam_scheduler::store::journal::Sequence;
use jeroboam_scheduler::store::spool::{Digest, SpoolStatus};
use jeroboam_scheduler::store::{Store, StoreError, StoreOptions};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const DIRECTORY: &str = "STORE_CRASH_DIRECTORY";
const SEED: &str = "STORE_CRASH_SEED";
const ROUNDS: u64 = 25;
/// Long enough for any child here on a busy machine; reached only when something hangs.
const CHILD_WAIT: Duration = Duration::from_secs(120);

fn open(directory: &Path) -> Store {
    Store::open(directory, &StoreOptions::default()).expect("the store opens")
}

/// What record `sequence` holds, so that everybody can check it: mostly small, sometimes more than one chunk.
fn content(sequence: u64) -> Vec<u8> {
    let size = if sequence.is_multiple_of(61) {
        100_000
    } else {
        20 + sequence as usize % 180
    };
    let mut bytes = sequence.to_le_bytes().repeat(size.div_ceil(8));
    bytes.truncate(size);
    bytes
}

/// Whether a job's history entry comes with this record.
fn finishes_job(sequence: u64) -> bool {
    sequence.is_multiple_of(7)
}

/// The stand-in for the World: a checksum over all records.
fn fold(state: u32, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(state);
    hasher.update(record);
    hasher.finalize()
}

/// Replays and checks every record; returns the state.
fn replay(store: &Store) -> u32 {
    let replay = store.replay().expect("the replay starts");
    let mut state = 0;
    if let Some(mut snapshot) = replay.snapshot {
        let mut stream = Vec::new();
        snapshot
            .read_to_end(&mut stream)
            .expect("the snapshot is intact");
        state = u32::from_le_bytes(*stream.first_chunk().expect("a state"));
    }
    for record in replay.records {
        let record = record.expect("the record is intact");
        assert!(
            record.bytes == content(record.sequence.0),
            "record {} has other bytes",
            record.sequence
        );
        state = fold(state, &record.bytes);
    }
    state
}

fn append(store: &mut Store, count: u64) -> Result<u64, StoreError> {
    let first = store.journal.last().0 + 1;
    let records: Vec<Vec<u8>> = (first..first + count).map(content).collect();
    let group: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let history: Vec<HistoryWrite<'_>> = (first..first + count)
        .zip(0..)
        .filter(|(sequence, _)| finishes_job(*sequence))
        .map(|(job, record)| HistoryWrite {
            record,
            subject: HistorySubject::Job {
                job,
                finished_ms: job,
            },
            value: b"done",
        })
        .collect();
    store.journal.append(&group, &history).map(|last| last.0)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The test harness leaves its own line open before the first one.
    writeln!(out, "\n{line}")
        .and_then(|()| out.flush())
        .expect("the parent listens");
}

/// Starts this binary again for one of the `child_` tests.
fn start(child: &str, directory: &Path, seed: u64) -> (Child, mpsc::Receiver<String>) {
    let mut process = Command::new(std::env::current_exe().expect("this binary"))
        .args([
            "--exact",
            child,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIRECTORY, directory)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let out = BufReader::new(process.stdout.take().expect("a pipe"));
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (process, lines)
}

fn child_directory() -> Option<std::path::PathBuf> {
    std::env::var_os(DIRECTORY).map(Into::into)
}

fn number_after(prefix: &str, line: &str) -> Option<u64> {
    line.strip_prefix(prefix)?.parse().ok()
}

/// Works until it is killed.
#[test]
#[ignore = "the child of another test"]
fn child_appends_snapshots_and_truncates() {
    let Some(directory) = child_directory() else {
        return;
    };
    let mut random = StdRng::seed_from_u64(
        std::env::var(SEED)
            .expect("a seed")
            .parse()
            .expect("a number"),
    );
    let mut store = open(&directory);
    let mut state = replay(&store);
    say(&format!("acked {}", store.journal.last()));
    loop {
        let first = store.journal.last().0 + 1;
        let last = append(&mut store, random.random_range(1..40)).expect("the append succeeds");
        state = (first..=last)
            .map(content)
            .fold(state, |state, record| fold(state, &record));
        say(&format!("acked {last}"));
        if random.random_range(0..12) == 0 {
            let mut snapshot = store
                .snapshots
                .begin(Sequence(last))
                .expect("the snapshot starts");
            let stream = state
                .to_le_bytes()
                .into_iter()
                .chain(std::iter::repeat_n(9, random.random_range(0..300_000)));
            snapshot
                .write_all(&stream.collect::<Vec<u8>>())
                .expect("the snapshot is written");
            let superfluous = snapshot.commit().expect("the snapshot is durable");
            while store
                .journal
                .truncate(superfluous)
                .expect("the truncation succeeds")
            {}
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let seed: u64 = std::env::var(SEED)
        .ok()
        .map_or_else(rand::random, |seed| seed.parse().expect("a number"));
    println!("seed {seed}: repeat with {SEED}={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().expect("a temporary directory");
    for round in 0..ROUNDS {
        let (mut child, lines) = start(
            "child_appends_snapshots_and_truncates",
            directory.path(),
            random.random(),
        );
        let mut acked = None;
        // Killed after a random number of acknowledgements and a random moment more.
        for _ in 0..random.random_range(1..60) {
            let line = loop {
                let line = lines
                    .recv_timeout(CHILD_WAIT)
                    .unwrap_or_else(|_| panic!("round {round}: {}", death(&mut child)));
                if line.starts_with("acked ") {
                    break line;
                }
            };
            acked = number_after("acked ", &line);
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..5_000)));
        child.kill().expect("the child is killed");
        child.wait().expect("the child is gone");
        acked = lines
            .iter()
            .filter_map(|line| number_after("acked ", &line))
            .last()
            .or(acked);
        check(directory.path(), acked.expect("an acknowledgement"), round);
    }
}

/// Why a child ended early, for the message.
fn death(child: &mut Child) -> String {
    let _ = child.kill();
    let mut text = String::new();
    let _ = child
        .stderr
        .take()
        .map(|mut pipe| pipe.read_to_string(&mut text));
    format!("the child said nothing more: {text}")
}

fn check(directory: &Path, acked: u64, round: u64) {
    let store = open(directory);
    let last = store.journal.last().0;
    assert!(
        last >= acked,
        "round {round}: records {}..={acked} were acknowledged and are gone",
        last + 1
    );
    let expected = (1..=last)
        .map(content)
        .fold(0, |state, record| fold(state, &record));
    assert_eq!(
        replay(&store),
        expected,
        "round {round}: the replayed state after {last}"
    );
    let history = store.journal.history();
    for job in (1..=last).filter(|job| finishes_job(*job)) {
        assert!(
            history.job(job).expect("it reads").is_some(),
            "round {round}: the history is behind at {job} of {last}"
        );
    }
    let newest = history
        .jobs_before(None, 1)
        .expect("it reads")
        .first()
        .map_or(0, |job| job.id);
    assert!(
        newest <= last,
        "round {round}: the history is ahead at {newest} of {last}"
    );
}

/// Runs into the limit on file sizes.
#[test]
#[ignore = "the child of another test"]
fn child_fills_the_disk() {
    let Some(directory) = child_directory() else {
        return;
    };
    let limit_bytes: u64 = std::env::var(SEED)
        .expect("a limit")
        .parse()
        .expect("a number");
    // Without this the signal that comes with the error would end the process.
    // SAFETY: ignoring a signal installs no code.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.expect("the signal is ignored");
    let mut store = open(&directory);
    say(&format!("acked {}", store.journal.last()));
    setrlimit(Resource::RLIMIT_FSIZE, limit_bytes, limit_bytes).expect("the limit is set");
    let error = loop {
        match append(&mut store, 200) {
            Ok(last) => say(&format!("acked {last}")),
            Err(error) => break error,
        }
    };
    say(&format!("full {} {error}", error.is_disk_full()));
    let again = append(&mut store, 1).expect_err("the journal takes nothing more");
    say(&format!(
        "again {} {again}",
        again.is_disk_full() && matches!(again, StoreError::Poisoned { .. })
    ));
    let mut snapshot = store
        .snapshots
        .begin(Sequence(1))
        .expect("the snapshot starts");
    let snapshot = snapshot
        .write_all(&vec![1; 64 << 20])
        .expect_err("the snapshot does not fit");
    say(&format!("snapshot {:?}", snapshot.kind()));
    let digest = Digest::of(b"whatever");
    store
        .spool
        .begin(&digest, 64 << 20)
        .expect("the upload begins");
    let upload = store
        .spool
        .append(&digest, limit_bytes, &[])
        .expect_err("a gap is refused");
    say(&format!(
        "gap {}",
        matches!(upload, StoreError::WrongOffset { expected: 0, .. })
    ));
    let upload = store
        .spool
        .append(&digest, 0, &vec![0; limit_bytes as usize + 1])
        .expect_err("the upload does not fit");
    say(&format!(
        "upload {}",
        upload.is_disk_full() && upload.is_retryable()
    ));
    drop(store);
    say("closed");
}

#[test]
fn a_full_disk_is_a_typed_error_and_loses_nothing_acknowledged() {
    // Limits inside a segment of sled, at its end and shortly after.
    for limit_bytes in [
        100_000,
        (8 << 20) - 1,
        8 << 20,
        (8 << 20) + 5_000,
        20_000_000,
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (mut child, lines) = start("child_fills_the_disk", directory.path(), limit_bytes);
        let (mut acked, mut said) = (0, Vec::new());
        loop {
            let line = lines
                .recv_timeout(CHILD_WAIT)
                .unwrap_or_else(|_| panic!("limit {limit_bytes}, {said:?}: {}", death(&mut child)));
            acked = number_after("acked ", &line).unwrap_or(acked);
            let closed = line == "closed";
            said.push(line);
            if closed {
                break;
            }
        }
        assert!(child.wait().expect("the child ends").success());
        let heard = |prefix: &str| {
            said.iter()
                .find(|line| line.starts_with(prefix))
                .unwrap_or_else(|| panic!("no {prefix} in {said:?}"))
        };
        assert!(
            heard("full ").starts_with("full true cannot "),
            "limit {limit_bytes}: {}",
            heard("full ")
        );
        assert!(
            heard("again ").starts_with("again true "),
            "{}",
            heard("again ")
        );
        assert_eq!(heard("snapshot "), "snapshot FileTooLarge");
        assert_eq!(
            (heard("gap ").as_str(), heard("upload ").as_str()),
            ("gap true", "upload true")
        );
        check(directory.path(), acked, limit_bytes);
        let mut store = open(directory.path());
        append(&mut store, 10).expect("with room again it goes on");
    }
}

/// Runs into the limit within one large group.
#[test]
#[ignore = "the child of another test"]
fn child_fills_the_disk_with_one_group() {
    let Some(directory) = child_directory() else {
        return;
    };
    let limit_bytes: u64 = std::env::var(SEED)
        .expect("a limit")
        .parse()
        .expect("a number");
    // SAFETY: ignoring a signal installs no code.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.expect("the signal is ignored");
    let mut store = open(&directory);
    append(&mut store, 1).expect("the append succeeds");
    setrlimit(Resource::RLIMIT_FSIZE, limit_bytes, limit_bytes).expect("the limit is set");
    let record = vec![1; 60_000];
    let group = vec![record.as_slice(); GROUP];
    let history: Vec<HistoryWrite<'_>> = (0..GROUP)
        .map(|record| HistoryWrite {
            record,
            subject: HistorySubject::Attempts { job: 1 },
            value: group[0],
        })
        .collect();
    say(&format!(
        "full {}",
        store
            .journal
            .append(&group, &history)
            .is_err_and(|error| error.is_disk_full())
    ));
}

/// Records of the large group, and their history entries.
const GROUP: usize = 200;

#[test]
fn a_group_that_the_disk_cuts_anywhere_is_not_there_at_all() {
    for limit_bytes in (1..7).map(|step| step * 5_000_000) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (mut child, lines) = start(
            "child_fills_the_disk_with_one_group",
            directory.path(),
            limit_bytes,
        );
        let full = loop {
            let line = lines
                .recv_timeout(CHILD_WAIT)
                .unwrap_or_else(|_| panic!("limit {limit_bytes}: {}", death(&mut child)));
            if line.starts_with("full ") {
                break line;
            }
        };
        assert_eq!(full, "full true", "limit {limit_bytes}");
        child.wait().expect("the child ends");
        let store = open(directory.path());
        let entries = store
            .journal
            .history()
            .attempts(1, None, GROUP)
            .expect("it reads")
            .len();
        assert_eq!(
            (store.journal.last().0, entries),
            (1, 0),
            "limit {limit_bytes}"
        );
    }
}

/// Uploads until it is killed.
#[test]
#[ignore = "the child of another test"]
fn child_uploads() {
    let Some(directory) = child_directory() else {
        return;
    };
    let store = open(&directory);
    for file in 0.. {
        let bytes = content(61 * (file + 1));
        let digest = Digest::of(&bytes);
        let mut status = store
            .spool
            .begin(&digest, bytes.len() as u64)
            .expect("the upload begins");
        while let SpoolStatus::Partial { received_bytes, .. } = status {
            let from = received_bytes as usize;
            let piece = &bytes[from..bytes.len().min(from + 7_000)];
            status = store
                .spool
                .append(&digest, received_bytes, piece)
                .expect("the append succeeds");
        }
        say(&format!("acked {file}"));
    }
}

#[test]
fn complete_uploads_survive_a_kill_and_broken_ones_go_on() {
    let seed: u64 = std::env::var(SEED)
        .ok()
        .map_or_else(rand::random, |seed| seed.parse().expect("a number"));
    println!("seed {seed}: repeat with {SEED}={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().expect("a temporary directory");
    for round in 0..10 {
        let (mut child, lines) = start("child_uploads", directory.path(), 0);
        let files = random.random_range(1..20);
        let mut acked = None;
        while acked.is_none_or(|file| file < files) {
            let line = lines
                .recv_timeout(CHILD_WAIT)
                .unwrap_or_else(|_| panic!("round {round}: {}", death(&mut child)));
            acked = number_after("acked ", &line).or(acked);
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..3_000)));
        child.kill().expect("the child is killed");
        child.wait().expect("the child is gone");
        let acked = lines
            .iter()
            .filter_map(|line| number_after("acked ", &line))
            .last()
            .or(acked)
            .expect("an upload");
        let store = open(directory.path());
        for file in 0..=acked {
            let bytes = content(61 * (file + 1));
            let (mut open, size_bytes) = store
                .spool
                .open_at(&Digest::of(&bytes), 0)
                .expect("it was acknowledged");
            let mut read = Vec::new();
            open.read_to_end(&mut read).expect("it reads");
            assert!(
                read == bytes && size_bytes == bytes.len() as u64,
                "round {round}: file {file} has other bytes"
            );
        }
    }
}
