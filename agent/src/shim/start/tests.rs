//! The faulty orders of events around a start, on a model of the disk: one
//! directory, its lock, and any number of shims and agents that take turns.

use super::*;

/// The directory at the path, if any, and who holds which lock.
#[derive(Debug, Clone, Default)]
struct Disk {
    /// Which directory is at the path; 0 for none.
    directory: u32,
    lock_owner: Option<usize>,
    started: bool,
    ended: bool,
    starts: u32,
}

#[derive(Debug)]
struct Shim {
    number: usize,
    machine: Start,
    next: Effect,
    /// The directory whose lock file it opened when it came up.
    opened: u32,
    deadline_ms: Option<i64>,
    now_ms: i64,
}

impl Shim {
    fn new(number: usize, disk: &Disk) -> Self {
        let mut machine = Start::New;
        let next = machine.step(Event::Begun);
        Self {
            number,
            machine,
            next,
            opened: disk.directory,
            deadline_ms: Some(100),
            now_ms: 0,
        }
    }

    /// Performs the next effect.
    fn turn(&mut self, disk: &mut Disk) {
        let event = match self.next {
            Effect::TakeLock => {
                // The lock of a directory no longer at the path is free to take.
                let taken = self.opened != disk.directory || disk.lock_owner.is_none();
                if taken && self.opened == disk.directory {
                    disk.lock_owner = Some(self.number);
                }
                Event::Lock { taken }
            }
            Effect::Look => Event::Seen(Facts {
                is_where_locked: self.opened == disk.directory,
                started: disk.started && self.opened == disk.directory,
                ended: disk.ended && self.opened == disk.directory,
                same_boot: true,
                stop_asked: false,
                deadline_ms: self.deadline_ms,
                now_ms: self.now_ms,
            }),
            Effect::LeaveMarker => {
                disk.started = true;
                Event::Marker { durable: true }
            }
            Effect::RunJob => {
                disk.starts += 1;
                return;
            }
            Effect::CloseNotRun(_) => {
                disk.ended = true;
                return;
            }
            Effect::End(_) => return,
        };
        self.next = self.machine.step(event);
    }

    fn finish(&mut self, disk: &mut Disk) -> Effect {
        for _ in 0..4 {
            if matches!(
                self.next,
                Effect::RunJob | Effect::CloseNotRun(_) | Effect::End(_)
            ) {
                break;
            }
            self.turn(disk);
        }
        self.turn(disk);
        self.next
    }
}

fn disk() -> Disk {
    Disk {
        directory: 1,
        ..Disk::default()
    }
}

/// The agent closes an attempt: under the lock, if it is free and nothing started.
fn agent_closes(disk: &mut Disk) -> bool {
    let closed = disk.lock_owner.is_none() && !disk.started && !disk.ended;
    disk.ended |= closed;
    closed
}

/// Every shim of every order of turns of two shims.
fn interleavings() -> impl Iterator<Item = Vec<usize>> {
    (0..1u32 << 8).map(|bits| (0..8).map(|turn| (bits >> turn & 1) as usize).collect())
}

#[test]
fn no_lock_two_shims_at_once() {
    for order in interleavings() {
        let mut disk = disk();
        let mut shims = [Shim::new(0, &disk), Shim::new(1, &disk)];
        for turn in &order {
            if shims[*turn].next != Effect::RunJob {
                shims[*turn].turn(&mut disk);
            }
        }
        shims.iter_mut().for_each(|shim| _ = shim.finish(&mut disk));
        assert_eq!(disk.starts, 1, "order {order:?}");
    }
}

#[test]
fn directory_not_looked_up_again() {
    let mut disk = disk();
    let mut slow = Shim::new(0, &disk);
    assert!(agent_closes(&mut disk));
    // Reported, acknowledged, removed: the record that would have stopped it is gone.
    disk = Disk::default();
    assert_eq!(slow.finish(&mut disk), Effect::End(Refusal::DirectoryGone));
    assert_eq!(disk.starts, 0);
}

#[test]
fn deadline_not_checked_before_the_start() {
    let mut disk = disk();
    let mut slow = Shim::new(0, &disk);
    slow.now_ms = 100;
    assert_eq!(
        slow.finish(&mut disk),
        Effect::CloseNotRun(Refusal::DeadlinePassed)
    );
    assert_eq!(disk.starts, 0);
}

#[test]
fn a_job_that_waits_without_contact_has_no_deadline() {
    let mut disk = disk();
    let mut shim = Shim::new(0, &disk);
    shim.deadline_ms = None;
    shim.now_ms = i64::MAX;
    assert_eq!(shim.finish(&mut disk), Effect::RunJob);
}

/// The first shim ran, died, and its lock went with it: only the marker is left.
#[test]
fn start_marker_and_lock_both_gone() {
    let mut disk = disk();
    assert_eq!(Shim::new(0, &disk).finish(&mut disk), Effect::RunJob);
    disk.lock_owner = None;
    assert_eq!(
        Shim::new(1, &disk).finish(&mut disk),
        Effect::End(Refusal::Started)
    );
    assert_eq!(disk.starts, 1);
}

/// Whenever between two turns of a slow shim the agent comes to close the
/// attempt, either it is closed or it runs, never both, never neither.
#[test]
fn notrun_not_under_the_lock() {
    for turns_before in 0..=4 {
        let mut disk = disk();
        let mut shim = Shim::new(0, &disk);
        (0..turns_before).for_each(|_| shim.turn(&mut disk));
        let closed = agent_closes(&mut disk);
        if turns_before < 4 {
            shim.finish(&mut disk);
        }
        assert_eq!(
            disk.starts,
            u32::from(!closed),
            "after {turns_before} turns"
        );
        assert_eq!(closed, turns_before == 0, "after {turns_before} turns");
    }
}

#[test]
fn each_fact_alone_refuses() {
    let good = Facts {
        is_where_locked: true,
        started: false,
        ended: false,
        same_boot: true,
        stop_asked: false,
        deadline_ms: Some(1),
        now_ms: 0,
    };
    let check = |facts: Facts, expected: Effect| {
        let mut machine = Start::Looking;
        assert_eq!(machine.step(Event::Seen(facts)), expected);
    };
    check(good, Effect::LeaveMarker);
    check(
        Facts {
            is_where_locked: false,
            ..good
        },
        Effect::End(Refusal::DirectoryGone),
    );
    check(
        Facts {
            started: true,
            ..good
        },
        Effect::End(Refusal::Started),
    );
    check(
        Facts {
            ended: true,
            ..good
        },
        Effect::End(Refusal::Ended),
    );
    check(
        Facts {
            same_boot: false,
            ..good
        },
        Effect::CloseNotRun(Refusal::OtherBoot),
    );
    check(
        Facts {
            stop_asked: true,
            ..good
        },
        Effect::CloseNotRun(Refusal::StopAsked),
    );
    check(
        Facts { now_ms: 1, ..good },
        Effect::CloseNotRun(Refusal::DeadlinePassed),
    );
}

#[test]
fn a_marker_that_cannot_be_left_starts_nothing() {
    let mut machine = Start::Marking;
    let effect = machine.step(Event::Marker { durable: false });
    assert_eq!(effect, Effect::End(Refusal::NoMarker));
}
