#![allow(clippy::unwrap_used)]

use super::*;

fn open(path: &Path) -> Result<StateDir, StateError> {
    StateDir::open(path, "meyrin")
}

fn change(path: &Path, edit: impl FnOnce(&mut Identity)) {
    let mut identity = read_identity(path).unwrap().unwrap();
    edit(&mut identity);
    write_identity(path, &identity).unwrap();
}

#[test]
fn one_agent_at_a_time_and_the_same_one_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let incarnation = first.identity().incarnation.clone();
    let allegiance = Allegiance {
        federation: "f".into(),
        lineage: 7,
    };
    first.pledge(&allegiance).unwrap();
    assert!(matches!(open(dir.path()), Err(StateError::Locked(_))));
    drop(first);
    let again = open(dir.path()).unwrap();
    assert_eq!(again.identity().incarnation, incarnation);
    assert_eq!(again.identity().allegiance(), allegiance);
}

#[test]
fn a_copied_directory_is_another_incarnation_without_the_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let original = open(&from).unwrap();
    fs::create_dir(original.attempts().join("7-1-0-1")).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&from, &to])
        .status();
    assert!(copied.unwrap().success());
    let copy = open(&to).unwrap();
    assert_ne!(copy.identity().incarnation, original.identity().incarnation);
    assert!(copy.found().unwrap().is_empty());
    let aside = format!("attempts.{}", original.identity().incarnation);
    assert!(to.join(aside).join("7-1-0-1").is_dir(), "kept, not used");
}

#[test]
fn a_reboot_with_attempts_unfinished_is_another_incarnation_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let incarnation = first.identity().incarnation.clone();
    fs::create_dir(first.attempts().join("7-1-0-1")).unwrap();
    drop(first);
    change(dir.path(), |identity| {
        identity.place.boot_id = "earlier".into()
    });
    let rebooted = open(dir.path()).unwrap();
    assert_ne!(rebooted.identity().incarnation, incarnation);
    let incarnation = rebooted.identity().incarnation.clone();
    assert!(rebooted.attempts().join("7-1-0-1").is_dir());
    fs::remove_dir(rebooted.attempts().join("7-1-0-1")).unwrap();
    drop(rebooted);
    change(dir.path(), |identity| {
        identity.place.boot_id = "earlier".into()
    });
    let idle = open(dir.path()).unwrap();
    assert_eq!(
        idle.identity().incarnation,
        incarnation,
        "nothing was unfinished"
    );
}

#[test]
fn what_is_not_ours_to_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    assert!(matches!(
        StateDir::open(dir.path(), "wigner"),
        Err(StateError::OtherSite { .. })
    ));
    change(dir.path(), |identity| identity.format = 2);
    assert!(matches!(
        open(dir.path()),
        Err(StateError::Newer { format: 2, .. })
    ));
    fs::write(dir.path().join(IDENTITY), "{").unwrap();
    assert!(matches!(open(dir.path()), Err(StateError::Damaged { .. })));
}

#[test]
fn an_unchanged_identity_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let inode = || fs::metadata(dir.path().join(IDENTITY)).unwrap().ino();
    // A hard link keeps the number from being used again.
    fs::hard_link(dir.path().join(IDENTITY), dir.path().join("kept")).unwrap();
    let before = inode();
    drop(open(dir.path()).unwrap());
    assert_eq!(inode(), before);
    change(dir.path(), |identity| {
        identity.place.boot_id = "earlier".into()
    });
    let again = open(dir.path()).unwrap();
    let stored = read_identity(dir.path()).unwrap().unwrap();
    assert_eq!(&stored, again.identity(), "a changed one is");
}

/// Makes the attempts 3, 4 and 5.
fn with_attempts(state: &StateDir) -> [AttemptDir; 3] {
    [3, 4, 5].map(|job| AttemptDir::create(&state.attempts(), &attempt::tests::lease(job)).unwrap())
}

#[test]
fn damaged_attempts_are_set_aside_and_the_others_found() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path()).unwrap();
    let [record, lock, whole] = with_attempts(&state);
    fs::write(record.path().join("lease.json"), "{").unwrap();
    fs::remove_file(lock.path().join("lock")).unwrap();
    let left = std::process::Command::new("sleep")
        .arg("20")
        .env("JERO_SCRATCH", lock.scratch())
        .spawn();
    let found = state.found().unwrap();
    let leases: Vec<_> = found.iter().map(|found| found.lease).collect();
    assert_eq!(leases, [whole.lease().unwrap().lease]);
    for damaged in [&record, &lock] {
        let name = damaged.path().file_name().unwrap();
        assert!(!damaged.path().exists());
        assert!(dir.path().join("attempts.damaged").join(name).is_dir());
    }
    let status = left.unwrap().wait().unwrap();
    assert!(!status.success(), "what was left of it was killed");
    // Put back and damaged again, it has another name.
    fs::create_dir(lock.path()).unwrap();
    assert_eq!(state.found().unwrap().len(), 1);
    assert!(dir.path().join("attempts.damaged/7-4-0-1.2").is_dir());
}
