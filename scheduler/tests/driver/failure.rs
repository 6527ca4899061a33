//! A disk that fails: every caller is told, nothing acknowledged is missing
//! afterwards, nothing unacknowledged was promised, and no further work is taken.

use crate::gate::PATIENCE;
use crate::service::{Service, core_lease, start, submit, world_on};
use crate::stage::ended;
use jeroboam_core::ids::{JobId, LeaseId};
use jeroboam_core::job::Outcome;
use jeroboam_proto::v1;
use jeroboam_proto::v1::scheduler_message::Kind;
use jeroboam_scheduler::dispatch::FromSite;
use jeroboam_scheduler::driver::{Driver, DriverError};
use jeroboam_scheduler::store::engine::memory::{Fault, MemoryDisk};
use std::io::ErrorKind;
use tokio::sync::mpsc;

/// What somebody outside was told before the end.
#[derive(Debug, Default)]
struct Promised {
    jobs: Vec<JobId>,
    grants: Vec<LeaseId>,
    acknowledged: Vec<LeaseId>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_at_any_operation_breaks_no_promise() {
    let mut worked = 0;
    for operation in (1..=24).chain([60, 61, 120, 121]) {
        for landed in [false, true] {
            let promised = fail_at(operation, landed).await;
            worked += promised.acknowledged.len();
        }
    }
    // The later faults strike after all kinds of promises were given.
    assert!(worked > 0, "no report was ever acknowledged");
}

/// Lets the nth operation after the start fail under load, and checks the end.
async fn fail_at(operation: u64, landed: bool) -> Promised {
    let what = format!("operation {operation}, landed {landed}");
    let disk = MemoryDisk::default();
    let service = start(&disk);
    disk.fail(Fault {
        operation: disk.operations() + operation,
        kind: ErrorKind::StorageFull,
        landed,
    });
    let agent = tokio::spawn(obedient(service.driver.clone()));
    let mut users = Vec::new();
    for user in 0..4 {
        users.push(tokio::spawn(insistent(service.driver.clone(), user)));
    }
    let mut promised = Promised::default();
    for user in users {
        let (jobs, error) = user.await.unwrap();
        promised.jobs.extend(jobs);
        let DriverError::Stopped(why) = error else {
            panic!("{what}: {error:?}");
        };
        assert!(why.contains("no storage space"), "{what}: {why}");
    }
    (promised.grants, promised.acknowledged) = agent.await.unwrap();
    takes_no_work(&service, &what).await;
    service.joined().await;

    let world = world_on(&disk);
    for job in &promised.jobs {
        assert!(world.was_job(*job), "{what}: {job} was acknowledged");
    }
    // Each group is one write of records and one of the mark, in turn.
    if !landed && operation % 2 == 1 {
        assert_eq!(world.jobs().len(), promised.jobs.len(), "{what}");
    }
    for lease in &promised.grants {
        let past = &world.jobs()[&lease.task.job].tasks.past;
        let succeeded = &world.jobs()[&lease.task.job].tasks.succeeded;
        let known = past.get(&lease.task.index).map(|past| past.attempts);
        let known = known == Some(lease.attempt) || succeeded.contains(lease.task.index);
        assert!(known, "{what}: {lease} was granted");
    }
    for lease in &promised.acknowledged {
        let job = &world.jobs()[&lease.task.job];
        let taken = job.tasks.succeeded.contains(lease.task.index);
        assert!(taken, "{what}: the end of {lease} was acknowledged");
    }
    // The same disk, with room again: work goes on.
    let service = start(&disk);
    service.submit("afterwards", 1).await.unwrap();
    service.stop().await;
    promised
}

/// Submits one job after the other until that fails.
async fn insistent(driver: Driver, user: u32) -> (Vec<JobId>, DriverError) {
    let mut jobs = Vec::new();
    loop {
        let request_id = format!("user-{user}-{}", jobs.len());
        match submit(driver.clone(), request_id, 2).await {
            Ok(job) => jobs.push(job),
            Err(error) => return (jobs, error),
        }
    }
}

/// Runs what it is granted to its success, until its stream ends; returns the
/// grants and the acknowledgements.
async fn obedient(driver: Driver) -> (Vec<LeaseId>, Vec<LeaseId>) {
    let (mut grants, mut acknowledged) = (Vec::new(), Vec::new());
    let hello = jeroboam_scheduler::dispatch::Hello {
        site: "meyrin".into(),
        federation: String::new(),
        incarnation: "meyrin-1".into(),
        version: "0.1.0".into(),
    };
    let Ok((connection, mut messages)) = driver.open_site(hello).await else {
        return (grants, acknowledged);
    };
    while let Some(message) = next(&mut messages).await {
        let answers = match message {
            Kind::Welcome(welcome) => vec![FromSite::Inventory {
                session: welcome.session,
                leases: [].into(),
            }],
            Kind::Verdict(_) => vec![crate::stage::capacity()],
            Kind::Grant(grant) => {
                let lease = core_lease(grant.lease);
                grants.push(lease);
                vec![FromSite::Running(lease), ended(lease, Outcome::Exit(0))]
            }
            Kind::Ack(ack) => {
                acknowledged.push(core_lease(ack.lease));
                Vec::new()
            }
            other => panic!("not expected: {other:?}"),
        };
        for answer in answers {
            // Its answers are lost once no work is taken, as on a real stream.
            let _ = driver.from_site(connection, answer).await;
        }
    }
    (grants, acknowledged)
}

/// The next message, until the stream ends, with its reason or without.
async fn next(
    messages: &mut mpsc::Receiver<Result<v1::SchedulerMessage, tonic::Status>>,
) -> Option<Kind> {
    let next = tokio::time::timeout(PATIENCE, messages.recv()).await;
    match next.expect("the stream ends in time")? {
        Ok(message) => message.kind,
        Err(status) => {
            assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
            None
        }
    }
}

async fn takes_no_work(service: &Service, what: &str) {
    let why = service.driver.stopped().expect("it says that it stopped");
    assert!(why.contains("no storage space"), "{what}: {why}");
    let refused = service.submit("further", 1).await;
    assert!(matches!(refused, Err(DriverError::Stopped(_))), "{what}");
    let refused = service.driver.read(|_, _| ()).await;
    assert!(matches!(refused, Err(DriverError::Stopped(_))), "{what}");
}

/// What did not become durable is not counted as such.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_group_is_no_commit() {
    let disk = MemoryDisk::default();
    let service = start(&disk);
    service.submit("one", 1).await.unwrap();
    let commits = service.driver.commits();
    disk.fail(Fault {
        operation: disk.operations() + 1,
        kind: ErrorKind::StorageFull,
        landed: false,
    });
    let before = *commits.borrow();
    service.submit("two", 1).await.unwrap_err();
    service.joined().await;
    assert_eq!(*commits.borrow(), before);
}
