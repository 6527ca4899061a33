//! Jobs that turn against their shim: without a PID namespace one may stop or
//! kill it, and is ended on time all the same.
#![allow(clippy::unwrap_used)]

#[path = "shim/attempt.rs"]
#[allow(dead_code, reason = "shared with the tests of the shim")]
mod attempt;

use std::sync::{Arc, Mutex, OnceLock};

use attempt::{Site, alive, exited, lines, script, shim_pid, stdout, until};
use jeroboam_agent::attempt::boot::boottime_ms;
use jeroboam_agent::attempt::{AttemptDir, Confinement, Outcome, Phase};

const NOBODY: [i32; 0] = [];

/// Sets `guard` and `shim`, stops the shim, and goes on without it.
const STOP_SHIM: &str = "guard=$PPID; shim=$(ps -o ppid= $guard | tr -d ' '); kill -STOP $shim; \
                         echo ready > ready";

/// A number of seconds to sleep, by which the processes of one test are known.
fn mark(test: u32) -> String {
    format!("{test}.{}", std::process::id())
}

#[test]
fn a_job_that_stops_its_shim_keeps_to_its_walltime() {
    let (mut site, mark) = (Site::new(), mark(3101));
    let text = format!("{STOP_SHIM}; sleep {mark}");
    let mut lease = script(1, Confinement::Subtree, &text);
    lease.walltime_ms = 500;
    let (dir, record) = site.run(&lease);
    assert_eq!(lines(&dir, "ready"), ["ready"]);
    assert_eq!(record.outcome, Outcome::WalltimeExceeded);
    assert_eq!(alive(&mark), NOBODY);
}

#[test]
fn a_job_that_stops_its_shim_can_be_stopped() {
    let (mut site, mark) = (Site::new(), mark(3102));
    let text = format!("{STOP_SHIM}; sleep {mark}");
    let dir = site.start(&script(1, Confinement::Subtree, &text));
    lines(&dir, "ready");
    assert!(site.stop(&dir));
    assert_eq!(site.end_of(&dir).outcome, Outcome::Stopped);
    assert_eq!(alive(&mark), NOBODY);
}

/// It stops shim and guard again as soon as they go on, and leaves children
/// everywhere that nothing marks as its own.
#[test]
fn a_job_that_keeps_shim_and_guard_stopped_is_killed() {
    let (mut site, mark) = (Site::new(), mark(3103));
    let text = format!(
        "{STOP_SHIM}; (env -i setsid sleep {mark} &); \
         trap '' TERM; while :; do kill -STOP $shim $guard; done"
    );
    let mut lease = script(1, Confinement::Subtree, &text);
    lease.walltime_ms = 500;
    let (dir, record) = site.run(&lease);
    assert_eq!(lines(&dir, "ready"), ["ready"]);
    assert_eq!(record.outcome, Outcome::WalltimeExceeded);
    assert_eq!(alive(&mark), NOBODY);
}

/// Both are gone at once, and what it leaves has neither its environment nor a
/// parent; an agent that comes back tells no end before that is dead.
#[test]
fn a_job_that_kills_shim_and_guard_has_not_ended_before_it_is_dead() {
    let (site, mark) = (Site::new(), mark(3105));
    let text = format!(
        "{STOP_SHIM}; (env -i sleep {mark} &); kill -STOP $guard; kill -9 $shim; kill -9 $guard"
    );
    let dir = site.start(&script(1, Confinement::Subtree, &text));
    until("the shim is gone", || {
        (dir.phase().unwrap() == Phase::ShimDied).then_some(())
    });
    until("its child is nobody's", || {
        (alive(&mark).len() == 1).then_some(())
    });
    let record = dir.record_ended(Outcome::Lost, None).unwrap().unwrap();
    assert_eq!(record.outcome, Outcome::Lost);
    assert_eq!(alive(&mark), NOBODY);
}

/// Without an agent, and without its shim, the guard is what is left.
#[test]
fn the_guard_keeps_the_contact_deadline_while_shim_and_agent_are_away() {
    let (site, mark) = (Site::new(), mark(3104));
    let text = format!("trap '' TERM; {STOP_SHIM}; sleep {mark}; sleep {mark}");
    let mut lease = script(1, Confinement::Subtree, &text);
    lease.deadline_ms = boottime_ms() + 1_000;
    let dir = site.start(&lease);
    lines(&dir, "ready");
    let Site {
        root: _root,
        driver,
        ..
    } = site;
    drop(driver);
    until("the guard has killed the tree", || {
        alive(&mark).is_empty().then_some(())
    });
    // The shim is stopped to this day; the next agent wakes it.
    let shim_pid = shim_pid(&dir);
    assert_eq!(dir.phase().unwrap(), Phase::Running { shim_pid });
    let mut next = Site::new();
    assert!(next.driver.adopt(lease.lease, &dir).unwrap());
    assert_eq!(next.end_of(&dir).outcome, Outcome::ContactLost);
}

#[test]
fn a_shim_that_does_its_duty_is_left_alone() {
    let mut site = Site::new();
    let text = "trap 'sleep 1; echo bye > bye; exit 0' TERM; while :; do sleep 0.01; done";
    let mut lease = script(1, Confinement::Subtree, text);
    (lease.walltime_ms, lease.grace_ms) = (300, 20_000);
    let (dir, record) = site.run(&lease);
    assert_eq!(record.outcome, Outcome::WalltimeExceeded);
    assert_eq!(lines(&dir, "bye"), ["bye"]);
}

/// What the driver has logged since this was first asked.
fn logged() -> String {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&log);
        let writer = move || Kept(Arc::clone(&kept));
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(writer)
            .init();
        log
    });
    String::from_utf8(log.lock().unwrap().clone()).unwrap()
}

struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn only_a_shim_that_is_late_is_warned_of() {
    logged();
    let mut site = Site::new();
    let text = "trap '' TERM; while :; do sleep 0.01; done";
    let mut lease = script(41, Confinement::Subtree, text);
    // The shim is at work for longer than the driver's margin.
    (lease.walltime_ms, lease.grace_ms) = (300, 3_000);
    assert_eq!(site.run(&lease).1.outcome, Outcome::WalltimeExceeded);
    let text = format!("{STOP_SHIM}; trap '' TERM; while :; do kill -STOP $shim; done");
    let mut late = script(42, Confinement::Subtree, &text);
    (late.walltime_ms, late.grace_ms) = (300, 300);
    assert_eq!(site.run(&late).1.outcome, Outcome::WalltimeExceeded);
    let log = logged();
    assert!(!log.contains("job-41["), "{log}");
    assert!(log.contains("job-42["), "{log}");
}

fn confined(dir: &AttemptDir) -> bool {
    let started = dir.started().unwrap().unwrap();
    started.confinement == Confinement::Namespace
}

/// Whether the host gives namespaces to who runs the shims of [`Site::of_an_ordinary_user`].
fn namespaces_for_all() -> bool {
    let mut command = std::process::Command::new("setpriv");
    if nix::unistd::getuid().is_root() {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    let status = command
        .args(["unshare", "--user", "--pid", "--fork", "true"])
        .status();
    status.is_ok_and(|status| status.success())
}

/// Where the host has user namespaces for everybody, shim and guard are out of
/// the job's reach also under an agent that is not root.
#[test]
fn an_ordinary_users_job_cannot_reach_its_shim() {
    let mut site = Site::of_an_ordinary_user("");
    let text = "echo $$; id -u; touch mine; kill -STOP -1 2>/dev/null; \
                ls -d /proc/[0-9]* | wc -l; exit 4";
    let (dir, record) = site.run(&script(1, Confinement::Namespace, text));
    if !namespaces_for_all() {
        println!("skipped: this host gives no user namespaces to ordinary users");
        return;
    }
    assert!(confined(&dir));
    assert_eq!(record.outcome, exited(4));
    let text = stdout(&dir);
    let [pid, uid, seen] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("three lines, not {text}");
    };
    let owner = std::os::unix::fs::MetadataExt::uid(&dir.scratch().metadata().unwrap());
    assert_eq!((pid, uid), ("2", owner.to_string().as_str()));
    assert!(seen.parse::<u32>().unwrap() < 6, "sees others: {text}");
    assert!(dir.scratch().join("mine").exists());
}
