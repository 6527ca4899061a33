//! End to end: the real binaries, killed at random moments under load.
//!
//! The jobs themselves write down when they start and end; what they wrote is
//! compared with what the scheduler says.
#![allow(clippy::unwrap_used, reason = "a test's surprise is its failure")]

#[path = "e2e/audit.rs"]
mod audit;
#[path = "e2e/federation.rs"]
mod federation;
#[path = "e2e/full_disk.rs"]
mod full_disk;

use audit::Audit;
use federation::Federation;
use full_disk::FullDisk;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::{Duration, Instant};

/// Kills of scheduler and agents together.
const KILLS: usize = 36;
const BATCHES: usize = 12;
const TASKS_PER_BATCH: u64 = 30;

/// Every acknowledged task ends exactly once, and none runs twice at a time,
/// however often scheduler and agents are killed. `SEED` repeats a run's choices.
#[test]
fn kills_lose_nothing_and_repeat_nothing() {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut federation = Federation::start(&["meyrin", "wigner", "cloud"]);
    let audit = Audit::new(federation.directory());
    let file = audit.batch_file(TASKS_PER_BATCH);

    let submitter = federation.submitter(file, BATCHES);
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(rng.random_range(100..900)));
        let victim = rng.random_range(0..federation.len());
        federation.kill(victim);
        std::thread::sleep(Duration::from_millis(rng.random_range(0..400)));
        federation.restart(victim);
    }
    let batches = submitter.join().unwrap();
    assert_eq!(
        batches.len(),
        BATCHES,
        "every submission was acknowledged in the end"
    );

    let deadline = Instant::now() + Duration::from_secs(120);
    for batch in &batches {
        federation.wait_for(*batch, deadline);
    }
    let jobs = federation.jobs();
    assert_eq!(
        jobs.len(),
        BATCHES,
        "a submission that was repeated made one batch"
    );
    for job in &jobs {
        assert_eq!(
            job.succeeded, TASKS_PER_BATCH,
            "job-{}: {:?}",
            job.id, job.tasks
        );
        for index in 0..TASKS_PER_BATCH {
            audit.check(job.id, index);
        }
    }
    println!(
        "{KILLS} kills, {} tasks, {} starts",
        audit.tasks(),
        audit.starts()
    );
}

/// A disk that fills under the journal: the submission that does not fit is
/// refused with the reason, no further work is taken, and after a restart with
/// room everything that was acknowledged is there, and nothing else.
#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let mut disk = FullDisk::start();
    let mut acknowledged = 0;
    let refusal = loop {
        match disk.submit(acknowledged) {
            Ok(()) => acknowledged += 1,
            Err(refusal) => break refusal,
        }
        assert!(acknowledged < 50, "the limit is never reached");
    };
    assert!(acknowledged > 0, "nothing was accepted: {refusal}");
    assert!(refusal.contains("takes no work"), "{refusal}");
    let again = disk
        .submit(99)
        .expect_err("a scheduler without a journal takes nothing");
    assert!(again.contains("takes no work"), "{again}");
    disk.restart_with_room();
    assert_eq!(disk.batches(), acknowledged);
    disk.submit(100).expect("there is room");
}
