//! The command against a peer that speaks the client API: what it prints, its
//! exit codes, and that a lost connection neither loses nor doubles anything.
//!
//! The peer stands in for the wire's other end only, so that connections can be
//! cut at chosen moments; the real scheduler is behind `jero` in the end-to-end
//! tests.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "cli/answers.rs"]
mod answers;
#[path = "cli/peer.rs"]
mod peer;
#[path = "cli/scheduler.rs"]
mod scheduler;
#[path = "cli/shown.rs"]
mod shown;
#[path = "cli/tls.rs"]
mod tls;

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use expect_test::expect;
use jeroboam_proto::v1;
use peer::{Moment, Peer};

/// `jero` with these arguments, in this directory, talking to that address.
fn start(directory: &Path, server: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jero"));
    command
        .env_clear()
        .env("HOME", directory)
        .env("JERO_SERVER", server);
    command
        .current_dir(directory)
        .args(arguments)
        .stdin(Stdio::null());
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(directory: &Path, server: &str, arguments: &[&str]) -> Output {
    start(directory, server, arguments)
        .wait_with_output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code, standard output and standard error, for a table of expectations.
fn told(output: &Output) -> String {
    let code = output.status.code().unwrap();
    format!(
        "{}{}exit {code}\n",
        text(&output.stdout),
        text(&output.stderr)
    )
}

fn batch_file(directory: &Path) {
    let batch = "queue: cms\njobs:\n  - {name: one, run: 'true', inputs: [big.bin]}\n";
    std::fs::write(directory.join("batch.yaml"), batch).unwrap();
    std::fs::write(directory.join("big.bin"), big()).unwrap();
}

fn token_file(path: &Path, token: &str, mode: u32) {
    std::fs::write(path, token).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A megabyte and a bit in which every piece differs.
fn big() -> Vec<u8> {
    (0..300_000u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_submission_whose_answer_was_lost_makes_no_second_batch() {
    let directory = tempfile::tempdir().unwrap();
    batch_file(directory.path());
    let mut peer = Peer::start();
    peer.hold_at(Moment::Submitted);
    let jero = start(directory.path(), &peer.server(), &["submit", "batch.yaml"]);
    peer.wait_until_held();
    peer.restart();
    let output = jero.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "batch-3\n", "{}", told(&output));
    let seen = peer.seen();
    assert_eq!(seen.submissions.len(), 2);
    assert_eq!(seen.submissions[0], seen.submissions[1]);
    assert_eq!(seen.submissions[0].request_id.len(), 32);
}

#[test]
fn an_upload_that_was_cut_off_is_continued() {
    let directory = tempfile::tempdir().unwrap();
    batch_file(directory.path());
    let mut peer = Peer::start();
    peer.hold_at(Moment::ReceivedBytes(500_000));
    let jero = start(directory.path(), &peer.server(), &["submit", "batch.yaml"]);
    peer.wait_until_held();
    peer.restart();
    let output = jero.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let seen = peer.seen();
    let input = &seen.submissions[0].batch.as_ref().unwrap().jobs[0].inputs[0];
    assert_eq!(
        (input.path.as_str(), input.size_bytes),
        ("big.bin", 1_200_000)
    );
    assert_eq!(seen.contents[&input.digest], big());
    assert_eq!(seen.put_offsets.len(), 2);
    assert_eq!(seen.put_offsets[0], 0);
    assert!(seen.put_offsets[1] >= 500_000, "{:?}", seen.put_offsets);
}

#[test]
fn a_content_that_is_there_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    batch_file(directory.path());
    let peer = Peer::start();
    for _ in 0..2 {
        let output = run(directory.path(), &peer.server(), &["submit", "batch.yaml"]);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    }
    assert_eq!(peer.seen().put_offsets, [0]);
}

#[test]
fn faults_of_a_batch_file_send_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("batch.yaml"), "queue: cms\njob: []\n").unwrap();
    let peer = Peer::start();
    let output = run(directory.path(), &peer.server(), &["submit", "batch.yaml"]);
    expect![[r#"
        jero: batch.yaml:1:1: the batch has no jobs
             1 | queue: cms
               | ^
          do: add `jobs:` with at least one job
        batch.yaml:2:1: unknown field `job` in a batch
             2 | job: []
               | ^
          do: did you mean `jobs`?
        exit 2
    "#]]
    .assert_eq(&told(&output));
    assert_eq!(peer.seen().calls, 0);
}

/// What only the scheduler knows is told by the file's line all the same.
#[test]
fn a_refused_submission_is_shown_in_the_batch_file() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let queue = "[[queue]]\nname = \"cms\"\nsubmitters = [\"*\"]\n";
    let scheduler = scheduler::Scheduler::start(here, "scheduler", queue);
    let batch = "queue: cms\ndefaults: {run: 'true'}\njobs:\n  - name: one\n  - name: two\n    resources: {fpga: 1}\n";
    std::fs::write(here.join("batch.yaml"), batch).unwrap();
    let output = run(here, &scheduler.address, &["submit", "batch.yaml"]);
    expect![[r#"
        jero: refused (INVALID): there is no resource `fpga`
          at: jobs[1].resources.fpga, job `two`
          in: batch.yaml:6:23
             6 |     resources: {fpga: 1}
               |                       ^
          do: name it under `policy.extended_resources` of the scheduler's file
        exit 4
    "#]]
    .assert_eq(&told(&output));
}

#[test]
fn refusals_and_unreachable_schedulers_have_their_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    token_file(&directory.path().join("empty"), "", 0o600);
    token_file(&directory.path().join("open"), "s3cret", 0o644);
    let peer = Peer::start();
    let jero = |arguments: &[&str]| told(&run(directory.path(), &peer.server(), arguments));
    expect![[r#"
        jero: refused (UNKNOWN_BATCH): there is no batch-99
          do: see `jero batches` and `jero batches --finished`
        exit 4
    "#]]
    .assert_eq(&jero(&["cancel", "batch-99", "--reason", "why not"]));
    expect![[r#"
        error: invalid value 'job-0' for '<SELECTOR>': `job-0` points at nothing; write it like batch-3, job-17, job-17[4] or job-17[3-7,9]; batches and jobs are counted from 1

        For more information, try '--help'.
        exit 2
    "#]].assert_eq(&jero(&["cancel", "job-0"]));
    expect![[r#"
        jero: one task is explained at a time
          do: write `job-17[INDEX]`
        exit 2
    "#]]
    .assert_eq(&jero(&["explain", "job-17[3-7]"]));
    expect![[r#"
        jero: empty does not hold a token
          do: put the token alone in the file, on one line
        exit 2
    "#]]
    .assert_eq(&jero(&["queues", "--token-file", "empty"]));
    expect![[r#"
        jero: the token in open can be read by every user of this machine
          do: `chmod 600 open`, and ask for a new token if others may have seen this one
        exit 2
    "#]]
    .assert_eq(&jero(&["queues", "--token-file", "open"]));
    expect![[r#"
        jero: cannot read absent: No such file or directory (os error 2)
        exit 5
    "#]]
    .assert_eq(&jero(&["queues", "--token-file", "absent"]));
    expect![[r#"
        jero: nothing was given to set
          do: give --weight, --guarantee, --limit, --submitters, --isolation or one of the other bounds (`--help`)
        exit 2
    "#]]
    .assert_eq(&jero(&["queue", "set", "cms"]));
    let nobody = told(&run(directory.path(), "http://127.0.0.1:1", &["jobs"]));
    expect![[r#"
        jero: the scheduler at http://127.0.0.1:1 cannot be reached: tcp connect error: transport error: Connection refused (os error 111)
          do: see that `jero serve` runs there, or choose another by --server or JERO_SERVER
        exit 3
    "#]].assert_eq(&nobody);
    let nonsense = told(&run(directory.path(), "not an address", &["jobs"]));
    expect![[r#"
        jero: https://not an address is not the address of a scheduler: invalid URI
          do: write it like http://127.0.0.1:7117 or https://HOST:PORT
        exit 2
    "#]]
    .assert_eq(&nonsense);
}

#[test]
fn the_token_is_on_every_call() {
    let directory = tempfile::tempdir().unwrap();
    token_file(&directory.path().join("token"), "s3cret\n", 0o640);
    let peer = Peer::start();
    let arguments = ["queues", "--token-file", "token"];
    let output = run(directory.path(), &peer.server(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(peer.seen().authorization.as_deref(), Some("Bearer s3cret"));
}

#[test]
fn the_configuration_file_chooses_the_scheduler() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    let configuration = directory.path().join(".config/jero");
    std::fs::create_dir_all(&configuration).unwrap();
    let jero = |text: String| {
        std::fs::write(configuration.join("config.toml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_jero"));
        command
            .env_clear()
            .env("HOME", directory.path())
            .args(["site", "show", "meyrin"]);
        told(&command.output().unwrap()).replace(&directory.path().display().to_string(), "HOME")
    };
    assert!(jero(format!("server = {:?}", peer.server())).ends_with("exit 0\n"));
    expect![[r#"
        jero: HOME/.config/jero/config.toml: TOML parse error at line 1, column 1
          |
        1 | servr = 'x'
          | ^^^^^
        unknown field `servr`, expected one of `server`, `token_file`, `ca_file`
          do: correct the file; it can have server, token_file and ca_file
        exit 2
    "#]]
    .assert_eq(&jero("servr = 'x'\n".into()));
}

#[test]
fn waiting_goes_on_through_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut peer = Peer::start();
    peer.hold_at(Moment::Watched);
    let jero = start(directory.path(), &peer.server(), &["wait", "batch-3"]);
    peer.wait_until_held();
    peer.restart();
    let output = jero.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(text(&output.stdout), "batch-3 has finished: 2 succeeded\n");
}

#[test]
fn waiting_for_what_fails_says_which_and_exits_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    let output = run(directory.path(), &peer.server(), &["wait", "batch-4"]);
    expect![[r#"
        batch-4 has finished: 2 failed
        jero: batch-4: 2 running
        jero: 2 of 2 tasks of batch-4 did not succeed
        JOB     BATCH    NAME  QUEUE      SUBMITTED             TASKS               CORE-H  WAITS BECAUSE
        job-17  batch-4  one   cms.higgs  2026-03-01T08:00:00Z  7 queued, 3 failed   10.00  no node has 64GiB of memory free
          do: see `jero explain 'job-17[0]'` and `jero logs 'job-17[0]' --stderr`
        exit 1
    "#]].assert_eq(&told(&output));
}

#[test]
fn a_followed_log_is_printed_once_through_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut peer = Peer::start();
    peer.hold_at(Moment::LogHalf);
    let mut jero = start(
        directory.path(),
        &peer.server(),
        &["logs", "job-17[0]", "-f"],
    );
    peer.wait_until_held();
    let mut first = [0; "first half, ".len()];
    jero.stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    peer.restart();
    let output = jero.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(
        text(&first) + &text(&output.stdout),
        "first half, second half\n"
    );
}

#[test]
fn a_download_that_was_cut_off_is_continued_and_verified() {
    let directory = tempfile::tempdir().unwrap();
    let mut peer = Peer::start();
    let digest = peer.offer(&big());
    peer.hold_at(Moment::SentBytes(500_000));
    let jero = start(
        directory.path(),
        &peer.server(),
        &["get", "job-17", "--to", "out"],
    );
    peer.wait_until_held();
    peer.restart();
    let output = jero.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(
        text(&output.stdout),
        "1 files (1.1MiB) fetched, 0 were there, in out\n"
    );
    let place = directory.path().join("out/one/0/data/big.bin");
    assert_eq!(std::fs::read(&place).unwrap(), big());
    let offsets = peer.seen().get_offsets.clone();
    assert_eq!(offsets.len(), 2);
    assert!(offsets[1] > 0, "{offsets:?}");

    let arguments = ["get", "job-17", "--to", "out", "--output", "json"];
    let again = run(directory.path(), &peer.server(), &arguments);
    let files: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(files[0]["fetched"], false);
    assert_eq!(files[0]["sha256"], digest);
    assert_eq!(peer.seen().get_offsets.len(), 2);

    std::fs::write(&place, "mine").unwrap();
    let refused = run(directory.path(), &peer.server(), &arguments[..4]);
    expect![[r#"
        jero: out/one/0/data/big.bin is there with another content
          do: choose another --to, or give --overwrite
        exit 2
    "#]]
    .assert_eq(&told(&refused));
    assert_eq!(std::fs::read(&place).unwrap(), b"mine");
}

#[test]
fn a_job_that_lists_no_outputs_will_bring_none() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    expect![[r#"
        no outputs, and none will come: job-17 lists none in `outputs:`
        exit 0
    "#]]
    .assert_eq(&told(&run(
        directory.path(),
        &peer.server(),
        &["get", "job-17"],
    )));
}

#[test]
fn an_output_with_a_wrong_checksum_gets_no_name() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    let digest = peer.offer(&big());
    peer.corrupt(&digest);
    let output = run(
        directory.path(),
        &peer.server(),
        &["get", "job-17", "--to", "out"],
    );
    expect![[r#"
        jero: refused (DataLoss): data/big.bin arrives with a wrong checksum
          do: try again; if it stays so, tell the scheduler's administrator
        exit 4
    "#]]
    .assert_eq(&told(&output));
    let left = std::fs::read_dir(directory.path().join("out/one/0/data")).unwrap();
    assert_eq!(left.count(), 0);
    assert_eq!(peer.seen().get_offsets, [0, 0]);
}

#[test]
fn requests_carry_what_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    run(
        directory.path(),
        &peer.server(),
        &["hold", "job-17[9,3-7]", "--reason", "later"],
    );
    let mut wanted = v1::ChangeRequest {
        job: 17,
        reason: "later".into(),
        ..Default::default()
    };
    wanted.set_verb(v1::change_request::Verb::Hold);
    wanted.ranges = vec![
        v1::Range { first: 3, last: 7 },
        v1::Range { first: 9, last: 9 },
    ];
    assert_eq!(peer.seen().changes, [wanted]);
    run(
        directory.path(),
        &peer.server(),
        &["queue", "uncordon", "cms"],
    );
    let wanted = v1::SetQueueRequest {
        name: "cms".into(),
        cordon: Some(String::new()),
        ..Default::default()
    };
    assert_eq!(peer.seen().queues_set, [wanted]);
    // On top of what there is: a guarantee of 2 cores, limits of 10.5 cores and no GPU.
    let set = ["queue", "set", "cms", "--guarantee", "gpu=8"];
    let arguments = [set.as_slice(), &["--limit", "gpu=none,memory=1GiB"]].concat();
    run(directory.path(), &peer.server(), &arguments);
    let wanted = v1::SetQueueRequest {
        name: "cms".into(),
        guarantee: Some(v1::Resources {
            cpu_milli: 2_000,
            gpu: 8,
            ..Default::default()
        }),
        limit: Some(v1::Limit {
            cpu_milli: Some(10_500),
            memory_mib: Some(1_024),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(peer.seen().queues_set[1], wanted);
    for (reason, wanted) in [
        (["--reason", "rest"].as_slice(), "rest"),
        (&[], "no reason given"),
    ] {
        let arguments = [["site", "drain", "meyrin"].as_slice(), reason].concat();
        run(directory.path(), &peer.server(), &arguments);
        let seen = peer.seen();
        let last = seen.sites_set.last().map(|request| request.reason.as_str());
        assert_eq!(last, Some(wanted));
    }
}
