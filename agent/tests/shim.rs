//! The shim and its driver with real processes, with and without PID namespace
//! (where the host refuses namespaces, both runs go without).
#![allow(clippy::unwrap_used)]

#[path = "shim/attempt.rs"]
mod attempt;

use std::time::{Duration, Instant};

use attempt::{BOTH, Site, alive, exited, lease, lines, script, shim_pid, stdout, until};
use jeroboam_agent::attempt::boot::{boottime_ms, wall_ms};
use jeroboam_agent::attempt::{
    AttemptDir, Closed, Confinement, LeaseRecord, OnLostContact, Outcome, Phase, Stream,
};
use jeroboam_agent::drivers::process::ProcessDriver;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const NOBODY: [i32; 0] = [];

#[test]
fn a_command_runs_and_its_exit_code_is_recorded() {
    for confinement in BOTH {
        let mut site = Site::new();
        let before_ms = wall_ms();
        let (dir, record) = site.run(&script(1, confinement, "echo hello; echo oops >&2; exit 7"));
        assert_eq!(record.outcome, exited(7));
        assert_eq!(stdout(&dir), "hello\n");
        assert_eq!(dir.read_log_whole(Stream::Stderr).unwrap(), b"oops\n");
        assert!(record.usage.started_ms >= before_ms && record.usage.ended_ms <= wall_ms());
        assert_eq!(dir.phase().unwrap(), Phase::Ended(record));
        dir.remove().unwrap();
        assert!(!dir.path().exists());
    }
}

#[test]
fn the_hosts_namespace_is_used_where_it_can_be() {
    let mut site = Site::new();
    let (dir, _) = site.run(&script(
        1,
        Confinement::Namespace,
        "echo $$; ls -d /proc/[0-9]*",
    ));
    if dir.started().unwrap().unwrap().confinement == Confinement::Subtree {
        println!("skipped: this host gives no PID namespaces to this user");
        return;
    }
    let text = stdout(&dir);
    assert_eq!(text.lines().next(), Some("2"), "{text}");
    assert!(
        text.lines().count() < 6,
        "the job sees other processes: {text}"
    );
}

#[test]
fn the_environment_is_what_is_documented_and_no_more() {
    let mut site = Site::new();
    let mut lease = lease(17, Confinement::Namespace, &["env"]);
    lease
        .env
        .insert("LANG".to_owned(), "de_CH.UTF-8".to_owned());
    lease.env.insert("JERO_INDEX".to_owned(), "99".to_owned());
    lease.env.insert("MY_OWN".to_owned(), "yes".to_owned());
    let (dir, record) = site.run(&lease);
    assert_eq!(record.outcome, exited(0));
    let scratch = dir.scratch().canonicalize().unwrap();
    let exe = attempt::shim_program().canonicalize().unwrap();
    let user = nix::unistd::User::from_uid(nix::unistd::getuid())
        .unwrap()
        .unwrap()
        .name;
    let text = stdout(&dir)
        .replace(scratch.to_str().unwrap(), "SCRATCH")
        .replace(dir.tmp().canonicalize().unwrap().to_str().unwrap(), "TMP")
        .replace(exe.to_str().unwrap(), "EXE")
        .replace(&format!("={user}\n"), "=USER\n");
    let mut variables: Vec<&str> = text.lines().collect();
    variables.sort_unstable();
    expect_test::expect![[r#"
        HOME=SCRATCH
        JERO_ATTEMPT=2
        JERO_BATCH=batch-3
        JERO_BATCH_NAME=search
        JERO_COUNT=10
        JERO_CPUS=2
        JERO_EXE=EXE
        JERO_INDEX=4
        JERO_JOB=job-17
        JERO_JOB_NAME=select
        JERO_MEMORY_MIB=0
        JERO_NODE=n1
        JERO_QUEUE=cms.higgs.alice
        JERO_SCRATCH=SCRATCH
        JERO_SITE=meyrin
        LANG=de_CH.UTF-8
        LOGNAME=USER
        MY_OWN=yes
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        TMPDIR=TMP
        USER=USER"#]]
    .assert_eq(&variables.join("\n"));
}

#[test]
fn the_job_gets_clean_descriptors_signals_and_limits() {
    for confinement in BOTH {
        let mut site = Site::new();
        let show = "readlink /proc/self/fd/0; ls /proc/self/fd | wc -l; ulimit -c; umask; \
                    grep -E 'Sig(Blk|Ign)' /proc/self/status; pwd; [ $(ps -o pgid= $$) = $$ ] && echo own group";
        let (dir, _) = site.run(&script(1, confinement, show));
        let text = stdout(&dir).replace(
            dir.scratch().canonicalize().unwrap().to_str().unwrap(),
            "SCRATCH",
        );
        // Three and the one with which ls reads the directory.
        let expected = "/dev/null\n4\n0\n0022\nSigBlk:\t0000000000000000\n\
                        SigIgn:\t0000000000000000\nSCRATCH\nown group\n";
        assert_eq!(text, expected);
    }
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut site = Site::new();
    let mut check = |job: u64, command: &[&str], expected: &str| {
        let lease = lease(job, Confinement::Namespace, command);
        let dir = site.create(&lease);
        std::fs::write(dir.scratch().join("bad"), "#!/no/such/interpreter\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.scratch().join("bad"), mode).unwrap();
        site.driver.start(lease.lease, &dir).unwrap();
        let Outcome::StartFailed { message } = site.end_of(&dir).outcome else {
            panic!("{command:?} started");
        };
        assert!(message.contains(expected), "{message}");
    };
    check(
        1,
        &["no-such-program"],
        "\"no-such-program\" not found on PATH (/usr/local/sbin:",
    );
    check(2, &["./missing"], "must be named in inputs");
    check(
        3,
        &["./bad"],
        "interpreter that its first line names is missing",
    );
    check(4, &["echo", "a\0b"], "contains a NUL byte");
    check(5, &[], "the command is empty");
}

#[test]
fn the_word_jero_runs_this_program() {
    let mut site = Site::new();
    let (dir, record) = site.run(&lease(1, Confinement::Namespace, &["jero"]));
    assert_eq!(record.outcome, exited(2));
    assert_eq!(
        dir.read_log_whole(Stream::Stderr).unwrap(),
        b"usage: attempt-shim DIR\n"
    );
}

#[test]
fn a_signal_from_elsewhere_is_the_jobs_own_end() {
    for confinement in BOTH {
        let mut site = Site::new();
        let (_, record) = site.run(&script(1, confinement, "kill -USR1 $$"));
        assert_eq!(
            record.outcome,
            Outcome::Signaled {
                signal: Signal::SIGUSR1 as i32
            }
        );
    }
}

/// A number of seconds to sleep by which the processes of one test in one run
/// are known, and not those that an earlier, broken run left behind.
fn mark(test: u32) -> String {
    format!("{test}.{}", std::process::id())
}

/// Processes that leave session, group and parent, and ignore SIGTERM.
fn escaping(mark: &str) -> String {
    format!(
        "trap '' TERM; (setsid sh -c 'sleep {mark} & sleep {mark} & wait' &) ; \
         (setsid setsid sleep {mark} >/dev/null 2>&1 </dev/null &) ; sleep {mark} & \
         while [ $(ps -e -o args= | grep -c '^sleep {mark}$') -lt 4 ]; do :; done; echo ready > ready"
    )
}

#[test]
fn nothing_of_a_tree_survives_the_end_of_its_command() {
    for (confinement, mark) in BOTH.into_iter().zip([mark(3001), mark(3002)]) {
        let mut site = Site::new();
        let (dir, record) = site.run(&script(1, confinement, &escaping(&mark)));
        assert_eq!(lines(&dir, "ready"), ["ready"]);
        assert_eq!(record.outcome, exited(0));
        assert_eq!(alive(&mark), NOBODY);
    }
}

#[test]
fn a_stop_ends_a_tree_that_ignores_sigterm_after_the_grace() {
    for (confinement, mark) in BOTH.into_iter().zip([mark(3003), mark(3004)]) {
        let mut site = Site::new();
        let dir = site.start(&script(
            1,
            confinement,
            &format!("{}; wait", escaping(&mark)),
        ));
        lines(&dir, "ready");
        let asked = Instant::now();
        assert!(site.stop(&dir));
        assert_eq!(site.end_of(&dir).outcome, Outcome::Stopped);
        assert!(asked.elapsed() >= Duration::from_millis(300));
        assert_eq!(alive(&mark), NOBODY);
        assert!(!site.stop(&dir));
    }
}

#[test]
fn a_stop_reaches_every_process_and_waits_for_those_that_end_in_time() {
    for confinement in BOTH {
        let mut site = Site::new();
        let text =
            "trap 'echo bye > bye; exit 0' TERM; echo ready > ready; while :; do sleep 0.01; done";
        let mut lease = script(1, confinement, text);
        lease.grace_ms = 30_000;
        let dir = site.start(&lease);
        lines(&dir, "ready");
        assert!(site.stop(&dir));
        assert_eq!(site.end_of(&dir).outcome, Outcome::Stopped);
        assert_eq!(lines(&dir, "bye"), ["bye"]);
    }
}

#[test]
fn a_killed_shim_takes_the_whole_tree_with_it() {
    for (confinement, mark) in BOTH.into_iter().zip([mark(3005), mark(3006)]) {
        let mut site = Site::new();
        let dir = site.start(&script(
            1,
            confinement,
            &format!("{}; wait", escaping(&mark)),
        ));
        lines(&dir, "ready");
        kill(Pid::from_raw(shim_pid(&dir)), Signal::SIGKILL).unwrap();
        // Without any sweep of the agent's.
        until("the tree has died with its shim", || {
            alive(&mark).is_empty().then_some(())
        });
        assert_eq!(dir.phase().unwrap(), Phase::ShimDied);
        let record = site.end_of(&dir);
        assert_eq!(record.outcome, Outcome::Lost);
        assert!(record.usage.started_ms > 0);
    }
}

/// Stopping the guard saves nothing: in a namespace the kernel kills it with
/// the shim; elsewhere the sweep kills it with all that it kept.
#[test]
fn a_stopped_guard_saves_no_tree_from_its_shims_death() {
    for (confinement, mark) in BOTH.into_iter().zip([mark(3012), mark(3013)]) {
        let mut site = Site::new();
        let text = format!("{}; wait", escaping(&mark));
        let dir = site.start(&script(1, confinement, &text));
        lines(&dir, "ready");
        let shim = shim_pid(&dir);
        let namespace = dir.started().unwrap().unwrap().confinement == Confinement::Namespace;
        kill(Pid::from_raw(child_of(shim)), Signal::SIGSTOP).unwrap();
        kill(Pid::from_raw(shim), Signal::SIGKILL).unwrap();
        if namespace {
            until("the tree has died with its shim", || {
                alive(&mark).is_empty().then_some(())
            });
        }
        assert_eq!(site.end_of(&dir).outcome, Outcome::Lost);
        assert_eq!(alive(&mark), NOBODY);
    }
}

/// Shim and guard killed at once, without a namespace: only the agent's sweep is left.
#[test]
fn the_sweep_kills_what_shim_and_guard_left() {
    let mut site = Site::new();
    let dir = site.start(&script(
        1,
        Confinement::Subtree,
        &format!("{}; wait", escaping(&mark(3007))),
    ));
    lines(&dir, "ready");
    let shim = shim_pid(&dir);
    // The guard is the shim's only child; a stopped shim cannot take its place.
    let guard = child_of(shim);
    for (pid, signal) in [
        (shim, Signal::SIGSTOP),
        (guard, Signal::SIGKILL),
        (shim, Signal::SIGKILL),
    ] {
        kill(Pid::from_raw(pid), signal).unwrap();
    }
    until("the shim is gone", || {
        (dir.phase().unwrap() == Phase::ShimDied).then_some(())
    });
    assert_ne!(alive(&mark(3007)), NOBODY);
    assert_eq!(site.end_of(&dir).outcome, Outcome::Lost);
    assert_eq!(alive(&mark(3007)), NOBODY);
}

/// A job may kill its guard when nothing but the user keeps them apart.
#[test]
fn a_killed_guard_ends_the_attempt() {
    let mut site = Site::new();
    let text = format!("{}; kill -9 $PPID; wait", escaping(&mark(3008)));
    let (_, record) = site.run(&script(1, Confinement::Subtree, &text));
    assert_eq!(record.outcome, Outcome::Lost);
    assert_eq!(alive(&mark(3008)), NOBODY);
}

fn child_of(parent: i32) -> i32 {
    let line = format!("PPid:\t{parent}\n");
    let is_child = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&line)
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(is_child).unwrap()
}

#[test]
fn walltime_and_contact_deadline_are_kept_by_the_shim() {
    let limited = |limit: fn(&mut LeaseRecord), outcome: &Outcome| {
        for confinement in BOTH {
            let mut site = Site::new();
            let mut lease = script(1, confinement, "sleep 3009");
            limit(&mut lease);
            let (_, record) = site.run(&lease);
            assert_eq!(record.outcome, *outcome);
        }
    };
    limited(|lease| lease.walltime_ms = 50, &Outcome::WalltimeExceeded);
    limited(
        |lease| lease.deadline_ms = boottime_ms() + 200,
        &Outcome::ContactLost,
    );
}

#[test]
fn a_renewed_deadline_is_read_again_when_it_comes_due() {
    let mut site = Site::new();
    let mut lease = script(
        1,
        Confinement::Namespace,
        "while [ ! -e go ]; do sleep 0.01; done",
    );
    let first_ms = boottime_ms() + 400;
    lease.deadline_ms = first_ms;
    let dir = site.start(&lease);
    shim_pid(&dir);
    dir.set_deadline(first_ms + 60_000).unwrap();
    until("the first deadline has passed", || {
        (boottime_ms() > first_ms + 100).then_some(())
    });
    std::fs::write(dir.scratch().join("go"), "").unwrap();
    assert_eq!(site.end_of(&dir).outcome, exited(0));
}

/// Runs a shim, to its end, on a host that was suspended for `hours` since it
/// started: a time namespace whose boottime clock is ahead of its monotonic
/// one. `None` where the host refuses that.
fn shim_after_suspend(dir: &AttemptDir, hours: i64) -> Option<std::process::ExitStatus> {
    let unshare = |program: &[&std::ffi::OsStr]| {
        std::process::Command::new("unshare")
            .args([
                "--time",
                "--boottime",
                &(hours * 3600).to_string(),
                "--fork",
                "--",
            ])
            .args(program)
            .status()
    };
    if !unshare(&["true".as_ref()]).is_ok_and(|status| status.success()) {
        println!("skipped: this host gives no time namespaces to this user");
        return None;
    }
    let shim = attempt::shim_program();
    Some(unshare(&[shim.as_os_str(), dir.path().as_os_str()]).unwrap())
}

#[test]
fn the_clock_runs_on_in_suspend() {
    const HOUR_MS: i64 = 3_600_000;
    let site = Site::new();
    // Granted with two hours; the host slept for three before the shim came.
    let mut slept_before = script(1, Confinement::Namespace, "true");
    slept_before.deadline_ms = boottime_ms() + 2 * HOUR_MS;
    let dir = site.create(&slept_before);
    let Some(status) = shim_after_suspend(&dir, 3) else {
        return;
    };
    assert_eq!(status.code(), Some(3));
    assert_eq!(dir.exit().unwrap().unwrap().outcome, Outcome::NotRun);
    // The timer counts the same hours: due soon, not in three hours.
    let mut soon = script(2, Confinement::Namespace, "sleep 60");
    soon.deadline_ms = boottime_ms() + 3 * HOUR_MS + 500;
    let dir = site.create(&soon);
    shim_after_suspend(&dir, 3).unwrap();
    assert_eq!(dir.exit().unwrap().unwrap().outcome, Outcome::ContactLost);
}

#[test]
fn a_job_that_waits_is_not_fenced() {
    let mut site = Site::new();
    let mut lease = script(1, Confinement::Namespace, "true");
    lease.on_lost_contact = OnLostContact::Wait;
    lease.deadline_ms = boottime_ms() - 1;
    assert_eq!(site.run(&lease).1.outcome, exited(0));
}

#[test]
fn a_tree_beyond_its_memory_is_killed() {
    for confinement in BOTH {
        let mut site = Site::new();
        // Two shells that each hold about 60 MB in a variable.
        let hold = "x=$(head -c 60000000 /dev/zero | tr '\\0' x); sleep 3010";
        let mut lease = script(1, confinement, "sh -c \"$HOLD\" & sh -c \"$HOLD\" & wait");
        lease.env.insert("HOLD".to_owned(), hold.to_owned());
        lease.resources.memory_mib = 100;
        let (_, record) = site.run(&lease);
        assert_eq!(record.outcome, Outcome::MemoryExceeded);
        assert!(record.usage.memory_peak_mib > 100, "{record:?}");
    }
}

#[test]
fn a_flood_of_output_neither_blocks_nor_fills_the_disk() {
    for confinement in BOTH {
        let mut site = Site::new();
        let (dir, record) = site.run(&script(
            1,
            confinement,
            "head -c 50000000 /dev/zero; echo end",
        ));
        assert_eq!(record.outcome, exited(0));
        let whole = dir.read_log_whole(Stream::Stdout).unwrap();
        let line = "\n[jero: 49995908 bytes dropped here]\n";
        assert_eq!(whole.len(), 4096 + line.len());
        assert_eq!(&whole[2048..2048 + line.len()], line.as_bytes());
        assert!(whole.ends_with(b"\0end\n"));
    }
}

#[test]
fn a_log_is_followed_while_the_job_runs() {
    let mut site = Site::new();
    let text = "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two";
    let dir = site.start(&script(1, Confinement::Namespace, text));
    let mut offset = 0;
    let mut next = |expected: &str| {
        until("the log goes on", || {
            let chunk = dir.read_log(Stream::Stdout, offset, 100).unwrap();
            (!chunk.data.is_empty()).then(|| {
                assert_eq!(String::from_utf8_lossy(&chunk.data), expected);
                offset = chunk.next_offset();
            })
        });
    };
    next("one\n");
    std::fs::write(dir.scratch().join("go"), "").unwrap();
    next("two\n");
    assert_eq!(site.end_of(&dir).outcome, exited(0));
}

#[test]
fn an_attempt_starts_once_whoever_asks() {
    let mut site = Site::new();
    let lease = script(1, Confinement::Namespace, "echo x >> runs; sleep 0.2");
    let dir = site.create(&lease);
    for _ in 0..5 {
        site.driver.start(lease.lease, &dir).unwrap();
    }
    for _ in 0..5 {
        until("every shim has ended", || site.ended.try_recv().ok());
    }
    assert_eq!(lines(&dir, "runs"), ["x"]);
    site.driver.start(lease.lease, &dir).unwrap();
    assert_eq!(site.end_of(&dir).outcome, exited(0));
    assert_eq!(lines(&dir, "runs"), ["x"]);
}

#[test]
fn an_attempt_closed_before_its_shim_came_never_starts() {
    let mut site = Site::new();
    let lease = script(1, Confinement::Namespace, "echo x > runs");
    let dir = site.create(&lease);
    let Closed::Unstarted(record) = dir.close_unstarted(Outcome::NotRun).unwrap() else {
        panic!("nothing runs")
    };
    assert_eq!(record.outcome, Outcome::NotRun);
    site.driver.start(lease.lease, &dir).unwrap();
    assert_eq!(site.end_of(&dir), record);
    assert!(!dir.scratch().join("runs").exists());
}

#[test]
fn closing_comes_too_late_once_the_shim_is_there() {
    let mut site = Site::new();
    let dir = site.start(&script(1, Confinement::Namespace, "sleep 3011"));
    let shim_pid = shim_pid(&dir);
    assert_eq!(
        dir.close_unstarted(Outcome::NotRun).unwrap(),
        Closed::Running { shim_pid }
    );
    let shim = nix::unistd::Pid::from_raw(shim_pid);
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(site.end_of(&dir).outcome, Outcome::Lost);
}

#[test]
fn past_deadline_and_other_boot_start_nothing() {
    let mut site = Site::new();
    let mut late = script(1, Confinement::Namespace, "true");
    late.deadline_ms = boottime_ms() - 1;
    assert_eq!(site.run(&late).1.outcome, Outcome::NotRun);
    let mut old = script(2, Confinement::Namespace, "true");
    old.boot_id = "another".to_owned();
    assert_eq!(site.run(&old).1.outcome, Outcome::NotRun);
}

/// The agent that started it is gone; the next one finds and watches it.
#[test]
fn a_shim_outlives_its_agent_and_is_adopted() {
    let first = Site::new();
    let lease = script(
        1,
        Confinement::Namespace,
        "while [ ! -e go ]; do sleep 0.01; done; exit 5",
    );
    let dir = first.start(&lease);
    shim_pid(&dir);
    drop(first.driver);
    let mut second = Site::new();
    let found = jeroboam_agent::attempt::list(first.root.path()).unwrap();
    assert_eq!(found, [(lease.lease, dir.clone())]);
    assert!(second.driver.adopt(lease.lease, &dir).unwrap());
    std::fs::write(dir.scratch().join("go"), "").unwrap();
    assert_eq!(second.end_of(&dir).outcome, exited(5));
    assert!(!second.driver.adopt(lease.lease, &dir).unwrap());
}

#[test]
fn a_missing_shim_program_is_an_error_with_its_path() {
    let (sender, _ended) = tokio::sync::mpsc::unbounded_channel();
    let driver = ProcessDriver::new("/no/such/jero".into(), sender).unwrap();
    let site = Site::new();
    let lease = script(1, Confinement::Namespace, "true");
    let dir = site.create(&lease);
    let error = driver.start(lease.lease, &dir).unwrap_err().to_string();
    let expected = "cannot start the shim of job-1[4]#2 as /no/such/jero: ";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(dir.phase().unwrap(), Phase::NotStarted);
}

#[test]
fn a_driver_leaves_no_zombie() {
    let mut site = Site::new();
    let dir = site.start(&script(1, Confinement::Namespace, "sleep 0.05"));
    let pid = shim_pid(&dir);
    site.end_of(&dir);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_removed_directory_stays_gone() {
    let mut site = Site::new();
    let (dir, _) = site.run(&script(1, Confinement::Namespace, "true"));
    dir.remove().unwrap();
    dir.remove().unwrap();
    assert_eq!(jeroboam_agent::attempt::list(site.root.path()).unwrap(), []);
    assert!(AttemptDir::open(dir.path()).is_err());
}

/// A host on which nothing more can be started: the task may run elsewhere.
#[test]
fn what_the_host_refuses_at_the_start_is_not_the_tasks_failure() {
    let mut site = Site::of_an_ordinary_user("prlimit --nproc=1");
    let (_, record) = site.run(&script(1, Confinement::Namespace, "true"));
    assert_eq!(record.outcome, Outcome::NotRun);
    let why = record.site_fault.unwrap();
    assert!(why.contains("out of processes"), "{why}");
}
