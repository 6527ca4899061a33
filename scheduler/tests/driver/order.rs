//! Nothing leaves before it is durable, and nobody waits for more than that.

use crate::gate::PATIENCE;
use crate::service::{Agent, Service, core_lease, ready, spy, start, start_in, world_on};
use crate::stage::ended;
use jeroboam_core::event::{Event, Selection, Verb};
use jeroboam_core::ids::{JobId, LeaseId};
use jeroboam_core::job::Outcome;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::world::World;
use jeroboam_proto::v1::scheduler_message::Kind;
use jeroboam_scheduler::dispatch::{FromSite, Hello};
use jeroboam_scheduler::driver::DriverError;
use jeroboam_scheduler::store::engine::memory::MemoryDisk;
use std::pin::pin;

/// Cancels a whole job.
fn cancel(job: JobId) -> Event {
    Event::TasksChanged {
        verb: Verb::Cancel,
        selection: Selection::Job(job, None),
        by: "alice".into(),
        reason: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_waits_for_the_sync() {
    let disk = MemoryDisk::default();
    let service = start(&disk);
    service.gate.close();
    let mut reply = pin!(service.submit("one", 1));
    assert!(ready(reply.as_mut()).await.is_none());
    service.gate.await_write();
    assert!(ready(reply.as_mut()).await.is_none(), "before the sync");
    // Nor is it seen by anybody else: the reader waits for what it saw.
    let driver = service.driver.clone();
    let mut seen = pin!(driver.read(|world, _| world.jobs().len()));
    assert!(ready(seen.as_mut()).await.is_none());
    assert!(world_on(&disk).jobs().is_empty());
    service.gate.open();
    let job = reply.await.unwrap();
    assert!(world_on(&disk).was_job(job));
    assert_eq!(seen.await.unwrap(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_waits_for_the_sync() {
    let disk = MemoryDisk::default();
    let service = start(&disk);
    let mut agent = service.join("meyrin", &[]).await;
    service.driver.read(|_, _| ()).await.unwrap();
    service.gate.close();
    let mut reply = pin!(service.submit("one", 1));
    assert!(ready(reply.as_mut()).await.is_none());
    // The round does not wait for the disk.
    let placed = |world: &World| {
        world
            .jobs()
            .values()
            .any(|job| !job.tasks.active.is_empty())
    };
    let patience = tokio::time::Instant::now() + PATIENCE;
    while !spy(&service.driver, placed).await {
        assert!(tokio::time::Instant::now() < patience, "no round came");
    }
    service.gate.await_write();
    assert!(agent.hears_nothing(), "before the sync");
    assert!(!placed(&world_on(&disk)));
    service.gate.open();
    let lease = agent.granted().await;
    assert!(world_on(&disk).open_attempt(lease).is_ok());
    reply.await.unwrap();
    service.stop().await;
}

/// A service with one attempt running at meyrin.
async fn with_attempt(disk: &MemoryDisk) -> (Service, Agent, LeaseId) {
    let service = start(disk);
    let mut agent = service.join("meyrin", &[]).await;
    service.submit("one", 1).await.unwrap();
    let lease = agent.granted().await;
    agent.say(FromSite::Running(lease)).await;
    service.driver.read(|_, _| ()).await.unwrap();
    (service, agent, lease)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_waits_for_the_sync() {
    let disk = MemoryDisk::default();
    let (service, mut agent, lease) = with_attempt(&disk).await;
    service.gate.close();
    agent.say(ended(lease, Outcome::Exit(0))).await;
    service.gate.await_write();
    assert!(agent.hears_nothing(), "before the sync");
    assert!(world_on(&disk).open_attempt(lease).is_ok());
    service.gate.open();
    let Kind::Ack(ack) = agent.hear().await else {
        panic!("not an acknowledgement");
    };
    assert_eq!(core_lease(ack.lease), lease);
    let world = world_on(&disk);
    let job = &world.jobs()[&lease.task.job];
    assert!(job.tasks.succeeded.contains(lease.task.index));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_sync() {
    let disk = MemoryDisk::default();
    let (service, mut agent, lease) = with_attempt(&disk).await;
    let driver = service.driver.clone();
    service.gate.close();
    let mut reply = pin!(driver.apply(cancel(lease.task.job), |_| ()));
    assert!(ready(reply.as_mut()).await.is_none());
    service.gate.await_write();
    assert!(agent.hears_nothing(), "before the sync");
    assert!(ready(reply.as_mut()).await.is_none(), "before the sync");
    service.gate.open();
    assert!(matches!(agent.hear().await, Kind::Stop(_)));
    reply.await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_and_a_renewal_wait_for_the_sync() {
    let disk = MemoryDisk::default();
    let (service, agent, lease) = with_attempt(&disk).await;
    service.driver.site_gone(agent.connection).await.unwrap();
    let hello = Hello {
        site: "meyrin".into(),
        federation: String::new(),
        incarnation: "meyrin-1".into(),
        version: "0.1.0".into(),
    };
    let (connection, messages) = service.driver.open_site(hello).await.unwrap();
    let driver = service.driver.clone();
    let mut agent = Agent {
        driver,
        connection,
        messages,
    };
    let Kind::Welcome(welcome) = agent.hear().await else {
        panic!("the first word is the welcome");
    };
    service.gate.close();
    let (session, leases) = (welcome.session, [].into());
    agent.say(FromSite::Inventory { session, leases }).await;
    agent.say(FromSite::Heartbeat(1)).await;
    service.gate.await_write();
    assert!(agent.hears_nothing(), "before the sync");
    assert!(world_on(&disk).open_attempt(lease).is_ok());
    service.gate.open();
    assert!(matches!(agent.hear().await, Kind::Verdict(_)));
    assert!(matches!(agent.hear().await, Kind::Renewed(_)));
    assert!(world_on(&disk).open_attempt(lease).is_err());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sync_answers_all_that_wait() {
    let disk = MemoryDisk::default();
    let service = start(&disk);
    service.gate.close();
    let mut first = pin!(service.submit("first", 1));
    assert!(ready(first.as_mut()).await.is_none());
    service.gate.await_write();
    // While its sync is under way, others are taken and applied.
    let mut others: Vec<_> = (0..100)
        .map(|n| Box::pin(service.submit(["other-a-", "other-b-"][n % 2], 1)))
        .collect();
    for other in &mut others {
        assert!(ready(other.as_mut()).await.is_none());
    }
    let jobs = spy(&service.driver, |world| world.jobs().len()).await;
    assert_eq!(jobs, 3, "each request once");
    let before = service.gate.passed();
    service.gate.allow_one();
    first.await.unwrap();
    service.gate.await_write();
    service.gate.allow_one();
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(
        service.gate.passed() - before,
        2,
        "one sync for all of them"
    );
    service.gate.open();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_delays_no_reply() {
    let disk = MemoryDisk::default();
    let service = start_in(&disk, tempfile::tempdir().unwrap(), 1);
    // The journal is truncated up to a previous snapshot: there has to be one.
    service.submit("before", 1).await.unwrap();
    service.gate.close();
    let mut reply = pin!(service.submit("one", 1));
    assert!(ready(reply.as_mut()).await.is_none());
    service.gate.await_write();
    service.gate.allow_one();
    // The journal's truncation after the snapshot is the next write.
    let reply = tokio::time::timeout(PATIENCE, reply).await;
    reply.expect("it does not wait for that").unwrap();
    service.gate.await_write();
    service.gate.open();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_syncs_what_was_sent_before() {
    let disk = MemoryDisk::default();
    let service = start(&disk);
    let mut agent = service.join("meyrin", &[]).await;
    service.gate.close();
    let mut first = pin!(service.submit("first", 1));
    assert!(ready(first.as_mut()).await.is_none());
    service.gate.await_write();
    let mut second = pin!(service.submit("second", 1));
    assert!(ready(second.as_mut()).await.is_none());
    service.driver.shutdown().await;
    let mut late = pin!(service.submit("late", 1));
    assert!(ready(second.as_mut()).await.is_none());
    service.gate.open();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(matches!(late.as_mut().await, Err(DriverError::Ending)));
    // The agents are told, after all that they were to be told before.
    let closing = loop {
        match agent.messages.recv().await.expect("the reason comes first") {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(closing.code(), tonic::Code::Unavailable);
    assert!(agent.messages.recv().await.is_none());
    service.joined().await;
    let world = world_on(&disk);
    assert!(world.was_job(first) && world.was_job(second));
    assert_eq!(world.jobs().len(), 2);
}

/// An agent that does not read is cut off, and never hears anything after a gap.
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_overflows_closes_its_stream() {
    let disk = MemoryDisk::default();
    let service = start(&disk);
    let mut agent = service.join("meyrin", &[]).await;
    let more = jeroboam_scheduler::driver::MESSAGES_MAX as u64 + 100;
    for number in 1..=more {
        agent.say(FromSite::Heartbeat(number)).await;
    }
    // Its session ends without a word from it: nothing is placed there any more.
    let session = |world: &World| world.find_site("meyrin").unwrap().session;
    let patience = tokio::time::Instant::now() + PATIENCE;
    while service
        .driver
        .read(move |world, _| session(world))
        .await
        .unwrap()
        .is_some()
    {
        assert!(
            tokio::time::Instant::now() < patience,
            "it is spoken to still"
        );
        agent.say(FromSite::Heartbeat(0)).await;
    }
    let mut heard = 0;
    while let Some(message) = agent.messages.recv().await {
        let Kind::Renewed(renewed) = message.unwrap().kind.unwrap() else {
            panic!("nothing else was to be said");
        };
        heard += 1;
        assert_eq!(renewed.number, heard, "a gap");
    }
    assert!(heard < more, "it ended early");
    // It comes back and is welcome.
    service.join("meyrin", &[]).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_typed_and_writes_nothing() {
    let disk = MemoryDisk::default();
    let service = start(&disk);
    let before = service.gate.passed();
    let refused = service.driver.apply(cancel(JobId(9)), |_| ());
    assert!(matches!(
        refused.await,
        Err(DriverError::Rejected(Rejected::UnknownJob(_)))
    ));
    assert_eq!(service.gate.passed(), before);
    service.stop().await;
}
