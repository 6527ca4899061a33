//! Files stay while a job refers to them, and go when nobody does.

use crate::agent::{Agent, exit};
use crate::files::put;
use crate::service::{BASE, Service, TREE, await_closed, job};
use jeroboam_proto::v1;
use jeroboam_scheduler::config::Config;
use jeroboam_scheduler::driver::Driver;
use jeroboam_scheduler::files::InUse;
use jeroboam_scheduler::files::retention::{Cleaned, Cleaner};
use jeroboam_scheduler::recover::recover;
use jeroboam_scheduler::store::Store;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Makes every file look unused for a while, then cleans up as a service would.
async fn clean(directory: &TempDir, retention: &str) -> Cleaned {
    let spool = directory.path().join("data/spool");
    let long_ago = SystemTime::now() - Duration::from_secs(7_200);
    for entry in std::fs::read_dir(&spool).unwrap() {
        let file = std::fs::File::options()
            .write(true)
            .open(entry.unwrap().path())
            .unwrap();
        file.set_modified(long_ago).unwrap();
    }
    let text = format!("{BASE}[retention]\nunused_files = \"1h\"\n{retention}{TREE}");
    let config = Config::parse(&directory.path().join("scheduler.toml"), &text).unwrap();
    let store = Store::open(&config.data_dir, &config.store_options()).unwrap();
    let (parts, spool, _) = recover(store, config.limits(), |world| config.events(world)).unwrap();
    let (driver, thread) = Driver::start(parts, config.driver_options());
    let cleaner = Cleaner::new(driver.clone(), spool, InUse::default(), config.retention);
    let cleaned = cleaner.pass().await.unwrap();
    driver.shutdown().await;
    tokio::task::spawn_blocking(move || thread.join())
        .await
        .unwrap()
        .unwrap();
    drop((driver, cleaner));
    await_closed(directory).await;
    cleaned
}

fn kept(directory: &TempDir, file: &v1::File) -> bool {
    directory
        .path()
        .join("data/spool")
        .join(&file.digest)
        .exists()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_when_nothing_refers_to_them_any_more() {
    let service = Service::start("[retention]\nmemory = \"0s\"\n").await;
    let stray = put(&service, b"stray").await;
    let waiting = v1::File {
        path: "in".into(),
        ..put(&service, b"input of a job in memory").await
    };
    let input = v1::File {
        path: "in".into(),
        ..put(&service, b"input of a finished job").await
    };
    let [output, stdout, stderr] = [
        put(&service, b"output").await,
        put(&service, b"stdout").await,
        put(&service, b"stderr").await,
    ];
    let mut ended = job("ended", 1);
    ended.inputs.push(input.clone());
    let finished = service.submit(vec![ended]).await;
    let mut agent = Agent::join(&service, "meyrin").await;
    let lease = agent.granted().await.lease;
    let (one, two) = (Some(stdout.clone()), Some(stderr.clone()));
    agent
        .ended(
            lease,
            v1::Ended {
                outputs: vec![output.clone()],
                stdout: one,
                stderr: two,
                ..exit(0)
            },
        )
        .await;
    service.await_retirement(finished.batch).await;
    drop(agent);
    let mut later = job("later", 1);
    later.sites.push("cloud-west".into());
    later.inputs.push(waiting.clone());
    service.submit(vec![later]).await;

    let directory = service.stop().await;
    let cleaned = clean(&directory, "").await;
    assert_eq!(
        (
            cleaned.entries,
            cleaned.files.removed,
            cleaned.files.removed_bytes
        ),
        (0, 1, 5)
    );
    let referred = [&waiting, &input, &output, &stdout, &stderr];
    assert!(!kept(&directory, &stray) && referred.iter().all(|file| kept(&directory, file)));

    // The history's retention ends: what only finished jobs referred to goes along.
    let cleaned = clean(&directory, "history = \"0s\"\n").await;
    assert_eq!(
        (cleaned.entries, cleaned.files.removed),
        (3, 4),
        "a batch, a job and its attempts"
    );
    assert!(kept(&directory, &waiting));
    assert!(referred[1..].iter().all(|file| !kept(&directory, file)));
    assert_eq!(
        clean(&directory, "history = \"0s\"\n").await,
        Cleaned::default()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_keeps_no_more_jobs_than_it_should() {
    let service = Service::start("[retention]\nmemory = \"0s\"\n").await;
    let mut agent = Agent::join(&service, "meyrin").await;
    for _ in 0..3 {
        let reply = service.submit(vec![job("a", 1)]).await;
        let lease = agent.granted().await.lease;
        agent.ended(lease, exit(0)).await;
        service.await_retirement(reply.batch).await;
    }
    drop(agent);
    let directory = service.stop().await;
    let cleaned = clean(&directory, "history_entries_max = 2\n").await;
    assert_eq!(
        cleaned.entries, 3,
        "the oldest job, its attempts and its batch"
    );
    let service = Service::start_in(directory, "").await;
    let request = v1::ListJobsRequest {
        finished: true,
        ..Default::default()
    };
    let left: Vec<u64> = service
        .client()
        .list_jobs(request)
        .await
        .unwrap()
        .into_inner()
        .jobs
        .iter()
        .map(|job| job.id)
        .collect();
    assert_eq!(left, [3, 2]);
}
