//! Jobs that take the disk: their own limit, and a disk that is full.
#![allow(clippy::unwrap_used)]

#[path = "shim/attempt.rs"]
#[allow(dead_code, reason = "shared with the tests of the shim")]
mod attempt;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use attempt::{BOTH, Site, exited, script};
use jeroboam_agent::attempt::{AttemptDir, Confinement, Outcome};

#[test]
fn a_job_beyond_its_disk_is_killed() {
    for confinement in BOTH {
        let mut site = Site::new();
        let text = "mkdir -p a/b; head -c 6M /dev/zero > a/b/c; \
                    head -c 6M /dev/zero > $TMPDIR/d; sleep 50";
        let mut lease = script(1, confinement, text);
        lease.resources.disk_mib = 10;
        let begun = Instant::now();
        let (_, record) = site.run(&lease);
        let Outcome::OutputsFailed { message } = record.outcome else {
            panic!("it was to fail, not {:?}", record.outcome);
        };
        let expected = "MiB of disk, more than the 10 MiB that it asked for; ask for more";
        assert!(message.contains(expected), "{message}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn a_job_within_its_disk_is_left_alone() {
    let mut site = Site::new();
    let text = "head -c 6M /dev/zero > a; ln a b; head -c 200M /dev/zero > /dev/null; sleep 1.5";
    let mut lease = script(1, Confinement::Subtree, text);
    lease.resources.disk_mib = 10;
    assert_eq!(site.run(&lease).1.outcome, exited(0));
}

/// A file system of 8 MiB for a site; `None` where this user may mount none.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "jeroboam-test"]);
        let mounted = mount.arg(at).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("skipped: this user may not mount a file system");
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl SmallDisk {
    fn is_full(&self) -> bool {
        let said = nix::sys::statvfs::statvfs(&self.0).unwrap();
        said.blocks_available() < 8
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Whatever becomes of the job, its end is on the disk at once, and what it
/// cannot tell any more makes room for the next.
#[test]
fn a_job_that_fills_the_disk_ends_at_once_and_blocks_nobody() {
    let mut site = Site::new();
    let Some(disk) = SmallDisk::mount(site.root.path()) else {
        return;
    };
    let fill = "cat /dev/zero > big 2>/dev/null; cat /dev/zero > more 2>/dev/null; ";
    let begun = Instant::now();
    for (job, code) in [(1, 0), (2, 5)] {
        let (dir, record) = site.run(&script(
            job,
            Confinement::Namespace,
            &format!("{fill} exit {code}"),
        ));
        assert_eq!(record.outcome, exited(code));
        assert_eq!(dir.exit().unwrap(), Some(record));
        assert!(disk.is_full());
        // As the agent does before all else.
        dir.free_disk(&exited(code));
        let left = std::fs::read_dir(dir.scratch()).unwrap().count();
        assert_eq!(left > 0, code == 0, "outputs are of those that succeeded");
        if code == 0 {
            // Collected and acknowledged.
            dir.remove().unwrap();
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
    let other = AttemptDir::create(site.root.path(), &script(3, Confinement::Namespace, "true"));
    assert!(other.is_ok(), "there is room again: {other:?}");
}
