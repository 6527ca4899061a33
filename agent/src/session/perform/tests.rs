#![allow(clippy::unwrap_used)]

use tokio::time::Instant;

use super::*;
use crate::attempt::tests::lease;

/// A job in `root` whose shims would be a program that is not there.
fn job(root: &std::path::Path) -> (Job, mpsc::UnboundedReceiver<Feedback>) {
    let (feedback, told) = mpsc::unbounded_channel();
    let (ended, _) = mpsc::unbounded_channel();
    let lease = lease(3).lease;
    let job = Job {
        lease,
        dir: AttemptDir::at(root, lease),
        driver: Arc::new(ProcessDriver::new(root.join("gone"), ended).unwrap()),
        feedback,
        runtime: tokio::runtime::Handle::current(),
    };
    (job, told)
}

async fn next(told: &mut mpsc::UnboundedReceiver<Feedback>) -> Input {
    match told.recv().await {
        Some(Feedback::Happened(input)) => input,
        other => panic!("an input, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_site_could_not_begin_keeps_its_place_for_a_while() {
    let root = tempfile::tempdir().unwrap();
    let (job, mut told) = job(root.path());
    let begun = Instant::now();
    job.persist(&root.path().join("gone"), &lease(3));
    assert_eq!(next(&mut told).await, Input::LeaseNotPersisted(job.lease));
    assert!(begun.elapsed() >= SITE_FAULT_PAUSE);
    let begun = Instant::now();
    job.spawn();
    // What else happens to the attempt is told at once.
    job.persist(root.path(), &lease(3));
    assert_eq!(next(&mut told).await, Input::LeasePersisted(job.lease));
    assert!(begun.elapsed() < SITE_FAULT_PAUSE);
    assert_eq!(next(&mut told).await, Input::SpawnFailed(job.lease));
    assert!(begun.elapsed() >= SITE_FAULT_PAUSE);
}
