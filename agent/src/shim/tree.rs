//! Process trees, as `/proc` tells of them: who descends from whom, how much
//! memory they hold, and the sweep after a shim that was killed.
//!
//! Killing by tree is a repeated pass: a process that forks while it is being
//! looked for leaves children that the nearest subreaper adopts, so the next
//! pass finds them; it is over when the subreaper has no child left. What can
//! escape is said at [`sweep`].

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::environment::{SCRATCH_VARIABLE, SHIM_DIR_VARIABLE};

const SWEEP_MAX: Duration = Duration::from_secs(10);
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
/// A tree that still grows is killed as it is, and again.
const STOP_PASSES_MAX: u32 = 20;

/// A mounted `/proc`, of this PID namespace or of another.
#[derive(Debug, Clone)]
pub(crate) struct Procfs(PathBuf);

impl Procfs {
    /// The one of this process.
    pub(crate) fn own() -> Self {
        Self(PathBuf::from("/proc"))
    }

    /// The one that the process `pid` sees.
    pub(crate) fn of(pid: i32) -> Self {
        Self(PathBuf::from(format!("/proc/{pid}/root/proc")))
    }

    /// Every process.
    pub(crate) fn all(&self) -> Vec<i32> {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Every process that descends from `root`, without `root`; zombies too.
    pub(crate) fn descendants(&self, root: i32) -> Vec<i32> {
        self.kin().descendants(BTreeSet::from([root]))
    }

    /// Who every process descends from.
    fn kin(&self) -> Kin {
        let pids = self.all().into_iter();
        Kin(pids.filter_map(|pid| self.relations(pid)).collect())
    }

    /// Resident memory of these processes together, in MiB. The cheap sum
    /// counts shared pages once for each process; only where that exceeds
    /// `max_mib` are they counted in proportion, which the kernel computes by
    /// walking page tables.
    pub(crate) fn resident_mib(&self, pids: &[i32], max_mib: i64) -> i64 {
        let sum_kib = pids
            .iter()
            .filter_map(|pid| self.rss_kib(*pid))
            .sum::<i64>();
        if max_mib == 0 || to_mib(sum_kib) <= max_mib {
            return to_mib(sum_kib);
        }
        let shared_once = |pid: &i32| self.pss_kib(*pid).or_else(|| self.rss_kib(*pid));
        to_mib(pids.iter().filter_map(shared_once).sum())
    }

    /// Parent and session: the second and the fourth field after the name,
    /// which may hold anything, blanks and brackets too.
    fn relations(&self, pid: i32) -> Option<Relations> {
        let stat = fs::read(self.0.join(format!("{pid}/stat"))).ok()?;
        let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let fields = std::str::from_utf8(&stat[after_name..]).ok()?;
        let mut fields = fields.split_ascii_whitespace();
        let is_zombie = fields.next()? == "Z";
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        Some(Relations {
            pid,
            parent,
            session,
            is_zombie,
        })
    }

    fn rss_kib(&self, pid: i32) -> Option<i64> {
        let statm = fs::read_to_string(self.0.join(format!("{pid}/statm"))).ok()?;
        let pages: i64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok()??;
        Some(pages.saturating_mul(page_bytes) / 1024)
    }

    fn pss_kib(&self, pid: i32) -> Option<i64> {
        let rollup = fs::read_to_string(self.0.join(format!("{pid}/smaps_rollup"))).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }
}

#[derive(Debug, Clone, Copy)]
struct Relations {
    pid: i32,
    parent: i32,
    session: i32,
    is_zombie: bool,
}

/// Every process at one time, nearly.
#[derive(Debug)]
struct Kin(Vec<Relations>);

impl Kin {
    /// What descends from these, without them.
    fn descendants(&self, roots: BTreeSet<i32>) -> Vec<i32> {
        let mut seen = roots.clone();
        let mut found: Vec<i32> = roots.into_iter().collect();
        let (roots, mut next) = (found.len(), 0);
        while next < found.len() {
            let of = found[next];
            let children = self.0.iter().filter(|process| process.parent == of);
            found.extend(
                children
                    .map(|process| process.pid)
                    .filter(|pid| seen.insert(*pid)),
            );
            next += 1;
        }
        found.split_off(roots)
    }

    /// Who is in this session, unless its leader lives: then a later process
    /// may have got the number, and the session is not the one that was meant.
    fn in_session(&self, session: i32) -> Vec<i32> {
        let leads = |process: &&Relations| process.pid == session && !process.is_zombie;
        if self.0.iter().any(|process| leads(&process)) {
            return Vec::new();
        }
        let members = self.0.iter();
        let members = members.filter(|process| process.session == session && !process.is_zombie);
        members.map(|process| process.pid).collect()
    }
}

/// Sends a signal to every descendant of this process.
pub(crate) fn signal_descendants(signal: Signal) {
    for pid in Procfs::own().descendants(own_pid()) {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// By what the processes of an attempt are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks<'a> {
    /// Its directory: in the environment that a process was started with
    /// (`JERO_SHIM_DIR` of shim and guard, `JERO_SCRATCH` of the job).
    pub(crate) attempt: &'a Path,
    /// The session that its shim led, of one without a PID namespace.
    pub(crate) session: Option<i32>,
}

/// Kills what is left of an attempt whose shim is gone, and waits until it is
/// dead: whatever carries its marks, and all that descends from it. Returns the
/// pids of what would not die.
///
/// The kernel (with a PID namespace) or the guard (without) has done this
/// already unless both shim and guard were killed at once. Only then can a
/// process escape: one with a session and an environment of its own whose
/// parent has ended.
pub(crate) fn sweep(marks: Marks<'_>) -> Vec<i32> {
    let give_up = Instant::now() + SWEEP_MAX;
    loop {
        let left = kill_once(marks);
        if left.is_empty() || Instant::now() > give_up {
            return left.into_iter().collect();
        }
        std::thread::sleep(SWEEP_PAUSE);
    }
}

/// Sends SIGKILL to all of an attempt, its shim and guard too if they live, and
/// says to whom. All are stopped first, pass after pass until none is new: who
/// is stopped makes no children, and while shim and guard are only stopped
/// every orphan is still theirs.
pub(crate) fn kill_once(marks: Marks<'_>) -> BTreeSet<i32> {
    let mut stopped = BTreeSet::new();
    for _ in 0..STOP_PASSES_MAX {
        let found = marked(marks);
        let new: Vec<i32> = found.difference(&stopped).copied().collect();
        if new.is_empty() {
            break;
        }
        for pid in &new {
            // It may have ended meanwhile, here and below.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGSTOP);
        }
        stopped.extend(new);
    }
    for pid in &stopped {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    stopped
}

/// The directories, in `root`, of attempts that have a shim or guard, whether
/// or not they are still there.
pub(crate) fn attempts_with_shims(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for pid in Procfs::own().all() {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut entries = environment.split(|byte| *byte == 0);
        let dir = entries.find_map(|entry| value_of(entry, SHIM_DIR_VARIABLE));
        if let Some(dir) = dir.filter(|dir| dir.parent() == Some(root)) {
            found.insert(dir.to_owned());
        }
    }
    found
}

fn marked(marks: Marks<'_>) -> BTreeSet<i32> {
    let kin = Procfs::own().kin();
    let others = kin.0.iter().map(|process| process.pid);
    let others = others.filter(|pid| *pid != own_pid());
    let mut roots: BTreeSet<i32> = others
        .filter(|pid| is_marked(*pid, marks.attempt))
        .collect();
    roots.extend(
        marks
            .session
            .into_iter()
            .flat_map(|session| kin.in_session(session)),
    );
    let descendants = kin.descendants(roots.clone());
    roots.extend(descendants);
    roots.remove(&own_pid());
    roots
}

/// Zombies have no environment and so are not marked.
fn is_marked(pid: i32, attempt: &Path) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    let (scratch, shim) = (attempt.join("scratch"), attempt.to_owned());
    environment.split(|byte| *byte == 0).any(|entry| {
        value_of(entry, SCRATCH_VARIABLE).is_some_and(|value| same_place(value, &scratch))
            || value_of(entry, SHIM_DIR_VARIABLE).is_some_and(|value| same_place(value, &shim))
    })
}

fn value_of<'a>(entry: &'a [u8], name: &str) -> Option<&'a Path> {
    let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
    Some(Path::new(OsStr::from_bytes(value)))
}

/// Compares by the last names first, so that canonical forms, which cost
/// system calls, are only asked for where they matter.
fn same_place(a: &Path, b: &Path) -> bool {
    a.file_name() == b.file_name()
        && (a == b
            || a.canonicalize()
                .ok()
                .is_some_and(|a| b.canonicalize().ok() == Some(a)))
}

fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

fn to_mib(kib: i64) -> i64 {
    kib.div_euclid(1024) + i64::from(kib.rem_euclid(1024) > 0)
}
