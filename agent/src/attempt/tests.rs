#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;

pub(crate) fn lease(job: u64) -> LeaseRecord {
    LeaseRecord {
        lease: LeaseId {
            lineage: 7,
            job,
            index: 0,
            attempt: 1,
        },
        boot_id: boot::boot_id().to_owned(),
        deadline_ms: 1000,
        site: "meyrin".to_owned(),
        node: "n1".to_owned(),
        queue: "cms".to_owned(),
        batch: 1,
        batch_name: "b".to_owned(),
        job_name: "j".to_owned(),
        count: 1,
        command: vec!["true".to_owned()],
        env: BTreeMap::new(),
        resources: Resources::default(),
        walltime_ms: 0,
        grace_ms: 0,
        on_lost_contact: OnLostContact::Restart,
        log_bytes_max: 100,
        runtime: String::new(),
        confinement: Confinement::Subtree,
        inputs: Vec::new(),
        outputs_of: Vec::new(),
        outputs: Vec::new(),
        outputs_bytes_max: 0,
        outputs_files_max: 0,
    }
}

pub(crate) fn created(lease: &LeaseRecord) -> (tempfile::TempDir, AttemptDir) {
    let root = tempfile::tempdir().unwrap();
    let dir = AttemptDir::create(root.path(), lease).unwrap();
    (root, dir)
}

/// As a shim would, had it died right after.
fn start_and_die(dir: &AttemptDir) {
    let lock = dir.take_lock().unwrap().unwrap();
    let start = StartRecord {
        started_ms: 5,
        started_boot_ms: 5,
        shim_pid: 1,
        confinement: Confinement::Subtree,
    };
    dir.write_started(&lock, &start).unwrap();
}

#[test]
fn a_created_attempt_is_found_again_whole() {
    let (root, dir) = created(&lease(3));
    assert_eq!(dir.lease().unwrap(), lease(3));
    assert_eq!(dir.phase().unwrap(), Phase::NotStarted);
    assert_eq!(dir.path().file_name().unwrap(), "7-3-0-1");
    assert!(dir.scratch().is_dir() && dir.tmp().is_dir());
    assert_eq!(list(root.path()).unwrap(), [(lease(3).lease, dir)]);
}

#[test]
fn a_lease_is_never_used_twice() {
    let (root, _) = created(&lease(3));
    let again = AttemptDir::create(root.path(), &lease(3)).unwrap_err();
    assert!(matches!(again, AttemptError::Exists(_)), "{again}");
}

#[test]
fn the_deadline_is_the_leases_until_one_is_set() {
    let (_root, dir) = created(&lease(3));
    assert_eq!(dir.deadline_ms(&lease(3)), Some(1000));
    dir.set_deadline(2000).unwrap();
    assert_eq!(dir.deadline_ms(&lease(3)), Some(2000));
    fs::write(dir.path().join(DEADLINE), "damaged").unwrap();
    assert_eq!(
        dir.deadline_ms(&lease(3)),
        Some(i64::MIN),
        "unreadable counts as passed"
    );
    let waits = LeaseRecord {
        on_lost_contact: OnLostContact::Wait,
        ..lease(3)
    };
    assert_eq!(dir.deadline_ms(&waits), None);
}

#[test]
fn closing_an_unstarted_attempt_is_final() {
    let (_root, dir) = created(&lease(3));
    let failed = Outcome::StartFailed {
        message: "no input".to_owned(),
    };
    let Closed::Unstarted(record) = dir.close_unstarted(failed.clone()).unwrap() else {
        panic!("nothing started")
    };
    assert_eq!(record.outcome, failed);
    assert_eq!(dir.phase().unwrap(), Phase::Ended(record.clone()));
    assert_eq!(
        dir.close_unstarted(Outcome::NotRun).unwrap(),
        Closed::Ended(record.clone())
    );
    assert_eq!(dir.record_ended(Outcome::Lost, None).unwrap(), Some(record));
}

#[test]
fn a_started_attempt_whose_shim_died_is_lost_not_unrun() {
    let (_root, dir) = created(&lease(3));
    start_and_die(&dir);
    assert_eq!(dir.phase().unwrap(), Phase::ShimDied);
    assert_eq!(
        dir.close_unstarted(Outcome::NotRun).unwrap(),
        Closed::ShimDied
    );
    let before_ms = boot::wall_ms();
    let record = dir.record_ended(Outcome::Lost, None).unwrap().unwrap();
    assert_eq!(
        (record.outcome.clone(), record.usage.started_ms),
        (Outcome::Lost, 5)
    );
    assert!(
        (before_ms..=boot::wall_ms()).contains(&record.usage.ended_ms),
        "{record:?}"
    );
    assert_eq!(dir.record_ended(Outcome::Lost, None).unwrap(), Some(record));
}

#[test]
fn what_has_ended_stays_so_whatever_becomes_of_its_lock() {
    let (_root, dir) = created(&lease(3));
    let Closed::Unstarted(record) = dir.close_unstarted(Outcome::NotRun).unwrap() else {
        panic!("nothing started")
    };
    fs::remove_file(dir.path().join(LOCK)).unwrap();
    assert_eq!(dir.phase().unwrap(), Phase::Ended(record));
}

#[test]
fn a_marker_cut_short_is_still_a_marker() {
    let (_root, dir) = created(&lease(3));
    fs::write(dir.path().join(STARTED), "").unwrap();
    assert_eq!(dir.phase().unwrap(), Phase::ShimDied);
    assert_eq!(
        dir.record_ended(Outcome::Lost, None)
            .unwrap()
            .unwrap()
            .outcome,
        Outcome::Lost
    );
}

#[test]
fn a_second_marker_is_refused() {
    let (_root, dir) = created(&lease(3));
    start_and_die(&dir);
    let lock = dir.take_lock().unwrap().unwrap();
    assert!(dir.write_started(&lock, &StartRecord::default()).is_err());
}

#[test]
fn after_a_reboot_started_is_lost_and_unstarted_is_not_run() {
    let before = LeaseRecord {
        boot_id: "the boot before".to_owned(),
        ..lease(3)
    };
    let (_root, started) = created(&before);
    start_and_die(&started);
    assert_eq!(
        started
            .record_ended(Outcome::Lost, None)
            .unwrap()
            .unwrap()
            .outcome,
        Outcome::Lost
    );
    let (_root, unstarted) = created(&before);
    assert_eq!(
        unstarted
            .record_ended(Outcome::Lost, None)
            .unwrap()
            .unwrap()
            .outcome,
        Outcome::NotRun
    );
}

#[test]
fn a_lock_of_a_replaced_directory_is_known_as_such() {
    let (root, dir) = created(&lease(3));
    let lock = dir.take_lock().unwrap().unwrap();
    assert!(dir.is_where_locked(&lock).unwrap());
    fs::rename(dir.path(), root.path().join("aside")).unwrap();
    assert!(!dir.is_where_locked(&lock).unwrap());
    let again = AttemptDir::create(root.path(), &lease(3)).unwrap();
    assert!(!again.is_where_locked(&lock).unwrap());
}

#[test]
fn errors_name_the_file_and_the_remedy() {
    let (_root, dir) = created(&lease(3));
    fs::write(dir.path().join(LEASE), "{}").unwrap();
    let text = dir.lease().unwrap_err().to_string();
    assert!(
        text.contains("lease.json is not a readable record: missing field"),
        "{text}"
    );
    let missing = AttemptDir::open(Path::new("/no/such"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("cannot find /no/such/lease.json: "),
        "{missing}"
    );
    let full = AttemptError::io("write", Path::new("/x"))(io::ErrorKind::StorageFull.into());
    assert!(
        full.to_string()
            .ends_with("; free space on the state directory's disk")
    );
}
