//! A start gives back the very World that was, and makes every plan again.

use crate::gate::PATIENCE;
use crate::service::{Service, core_lease, spy, start, start_in, start_with, world_in};
use crate::stage::{self, ended};
use jeroboam_core::event::{Event, Placement};
use jeroboam_core::job::Outcome;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1::scheduler_message::Kind;
use jeroboam_scheduler::clock::Clock;
use jeroboam_scheduler::dispatch::FromSite;
use jeroboam_scheduler::record;
use jeroboam_scheduler::recover::{RecoverError, Replayed, replay};
use jeroboam_scheduler::store::engine::memory::MemoryDisk;
use jeroboam_scheduler::store::{Store, StoreOptions};
use tempfile::TempDir;

/// Rounds, reports of all kinds and a lost stream; in the end nothing can change
/// any more, for all places are taken.
async fn work(service: &Service) {
    let mut agent = service.join("meyrin", &[]).await;
    let other = service.join("wigner", &[]).await;
    service.submit("many", 40).await.unwrap();
    let mut turn = 0;
    while turn < 12 {
        if let Kind::Grant(grant) = agent.hear().await {
            let lease = core_lease(grant.lease);
            agent.say(FromSite::Running(lease)).await;
            let outcomes = [Outcome::Exit(0), Outcome::Lost, Outcome::Exit(3)];
            agent.say(ended(lease, outcomes[turn % 3].clone())).await;
            turn += 1;
        }
    }
    service.driver.site_gone(other.connection).await.unwrap();
    let full = |world: &World| world.sites().iter().all(|site| site.running == 2);
    let patience = tokio::time::Instant::now() + PATIENCE;
    while !spy(&service.driver, full).await {
        assert!(tokio::time::Instant::now() < patience, "places stay free");
    }
}

/// The World moved on to now: time alone leaves no record.
async fn live(service: &Service) -> (TimeMs, Vec<u8>) {
    let look = |world: &World, now| {
        let mut world = world.clone();
        world.move_on(now);
        (now, record::encode_world(&world))
    };
    service.driver.read(look).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_gives_the_same_bytes() {
    let disk = MemoryDisk::default();
    let data_dir = tempfile::tempdir().unwrap();
    let service = start_in(&disk, data_dir, 1_000_000);
    work(&service).await;
    let (now, before) = live(&service).await;
    let data_dir = service.stop().await;
    let (mut world, replayed) = world_in(&disk, &data_dir);
    assert!(replayed.records > 12, "{replayed:?}");
    assert_eq!(replayed.plans_changed, 0);
    world.move_on(now);
    assert_eq!(record::encode_world(&world), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_a_snapshot_with_the_records_after_it() {
    let disk = MemoryDisk::default();
    let data_dir = tempfile::tempdir().unwrap();
    let service = start_in(&disk, data_dir, 7);
    work(&service).await;
    let (now, before) = live(&service).await;
    let data_dir = service.stop().await;
    let (mut world, replayed) = world_in(&disk, &data_dir);
    assert!(replayed.records < 12, "{replayed:?}: no snapshot was used");
    world.move_on(now);
    assert_eq!(record::encode_world(&world), before);
    // And the next start goes on from there, one term later.
    let term = world.term();
    let service = start_in(&disk, data_dir, 7);
    assert_eq!(spy(&service.driver, World::term).await, term + 1);
    service.submit("afterwards", 1).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn few_large_records_bring_a_snapshot_too() {
    let disk = MemoryDisk::default();
    let service = start_with(&disk, tempfile::tempdir().unwrap(), 1_000_000, 1_000);
    for number in 0..100 {
        service.submit(&number.to_string(), 1).await.unwrap();
    }
    let data_dir = service.stop().await;
    let (_, replayed) = world_in(&disk, &data_dir);
    assert!(replayed.bytes < 2_000, "{replayed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_replayed_counts_towards_the_next_snapshot() {
    let disk = MemoryDisk::default();
    let mut data_dir = tempfile::tempdir().unwrap();
    // Each life is shorter than the interval.
    let mut most = 0;
    for life in 0..8 {
        let service = start_in(&disk, data_dir, 12);
        most = most.max(service.replayed.records);
        for number in 0..3 {
            let request = format!("{life} {number}");
            service.submit(&request, 1).await.unwrap();
        }
        data_dir = service.stop().await;
    }
    assert!((4..24).contains(&most), "{most} records were replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_goes_on_where_the_journal_ends() {
    let disk = MemoryDisk::default();
    let service = start(&disk);
    service.stop().await;
    // The wall clock was set back by a year since.
    let year_ms = 365 * 24 * 3_600_000;
    let ahead = Clock::after(TimeMs(0)).now() + year_ms;
    append(&disk, &[record::encode(ahead, &Event::Started { term: 2 })]);
    let service = start(&disk);
    assert_eq!(service.replayed.last, ahead);
    service.submit("one", 1).await.unwrap();
    assert!(service.driver.read(|_, now| now).await.unwrap() >= ahead);
    service.stop().await;
}

/// What a disk holds after an operator's founding, two nodes and one job.
fn planned_by_hand(node: usize) -> MemoryDisk {
    let at = stage::START;
    let mut scheduler = stage::Scheduler::founded(stage::LIMITS);
    scheduler.join("meyrin", "m-1", &[]);
    scheduler.join("wigner", "w-1", &[]);
    let job = scheduler.submit(1);
    let node = scheduler.state.world.nodes()[node].id;
    let task = jeroboam_core::ids::TaskId { job, index: 0 };
    let placements = vec![Placement {
        task,
        node,
        way: None,
    }];
    scheduler.apply(
        Event::PlanCommitted {
            placements,
            preemptions: Vec::new(),
            reservations: None,
        },
        "planned",
    );
    let disk = MemoryDisk::default();
    let records = scheduler.journal().iter();
    let records: Vec<_> = records
        .map(|(at, event)| record::encode(*at, event))
        .collect();
    assert!(scheduler.now() == at);
    append(&disk, &records);
    disk
}

fn append(disk: &MemoryDisk, records: &[Vec<u8>]) {
    let data_dir = tempfile::tempdir().unwrap();
    let mut store = open(disk, &data_dir);
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    store.journal.append(&records, &[]).unwrap();
}

fn open(disk: &MemoryDisk, data_dir: &TempDir) -> Store {
    let engine = Box::new(disk.engine());
    Store::over(engine, data_dir.path(), &StoreOptions::default()).unwrap()
}

fn replayed(disk: &MemoryDisk) -> Result<Replayed, RecoverError> {
    let data_dir = tempfile::tempdir().unwrap();
    replay(&open(disk, &data_dir)).map(|(_, replayed)| replayed)
}

#[test]
fn a_plan_that_would_come_out_otherwise_is_noticed_and_kept() {
    let plans = [0, 1].map(|node| replayed(&planned_by_hand(node)).unwrap());
    let changed = plans.map(|replayed| replayed.plans_changed);
    assert_eq!(changed.iter().sum::<u64>(), 1, "one of them is not ours");
}

#[test]
fn a_record_that_cannot_be_understood_or_applied_is_said() {
    let disk = planned_by_hand(0);
    let last = replayed(&disk).unwrap().records;
    append(&disk, &[b"\xff\xff\xff".to_vec()]);
    let error = replayed(&disk).unwrap_err();
    assert!(matches!(error, RecoverError::Format { .. }), "{error:?}");
    let place = format!("record {}", last + 1);
    assert!(error.to_string().contains(&place), "{error}");

    let disk = planned_by_hand(0);
    let refused = Event::SiteWithdrawn {
        name: "nowhere".into(),
    };
    append(&disk, &[record::encode(stage::START, &refused)]);
    let error = replayed(&disk).unwrap_err();
    assert!(matches!(error, RecoverError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains(&place), "{error}");
}
