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
    let batch = "queue: cms\ndefaults: {run: 'true'}\njobs:\n  - name: one\n  - name: two\n    isolation: kernel\n";
    std::fs::write(here.join("batch.yaml"), batch).unwrap();
    let output = run(here, &scheduler.address, &["submit", "batch.yaml"]);
    expect![[r#"
        jero: refused (INVALID): the isolation `kernel` is not there yet
          at: jobs[1].isolation, job `two`
          in: batch.yaml:6:16
             6 |     isolation: kernel
               |                ^
          do: leave it at `shared` and trust the queue's other users, or wait for a later release
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
          do: give --weight, --guarantee, --limit, --queued-max or --submitters
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

/// Every verb that prints JSON.
const PRINTING: [&[&str]; 23] = [
    &["submit", "batch.yaml"],
    &["batches"],
    &["batches", "--finished"],
    &["jobs"],
    &["jobs", "batch-3", "--state", "failed"],
    &["job", "job-17"],
    &["wait", "batch-3"],
    &["get", "job-17"],
    &["explain", "job-17"],
    &["explain", "job-17[1]"],
    &["explain", "job-18[0]"],
    &["cancel", "job-17[3-7,9]"],
    &["queues"],
    &["queue", "show", "cms"],
    &["queue", "create", "cms.new", "--guarantee", "cpu=2"],
    &["queue", "set", "cms", "--weight", "2"],
    &["queue", "cordon", "cms", "--reason", "rest"],
    &["queue", "uncordon", "cms"],
    &["sites"],
    &["site", "show", "meyrin"],
    &["site", "drain", "meyrin", "--reason", "new switches"],
    &["nodes"],
    &["nodes", "--site", "meyrin"],
];

#[test]
fn every_json_field_is_documented() {
    let directory = tempfile::tempdir().unwrap();
    batch_file(directory.path());
    let peer = Peer::start();
    peer.offer(&big());
    let documentation = include_str!("../docs/commands.md");
    for arguments in PRINTING {
        let arguments = [arguments, &["--output", "json"]].concat();
        let output = run(directory.path(), &peer.server(), &arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            told(&output)
        );
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut fields = Vec::new();
        fields_of(&result, &mut fields);
        assert!(!fields.is_empty(), "{arguments:?} prints {result}");
        for field in fields {
            assert!(
                documentation.contains(&format!("`{field}`")),
                "{arguments:?}: {field}"
            );
        }
    }
}

/// All field names, except those of maps whose keys are data.
fn fields_of(value: &serde_json::Value, fields: &mut Vec<String>) {
    match value {
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| fields_of(value, fields));
        }
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                fields.push(name.clone());
                if !["extended", "labels"].contains(&name.as_str()) {
                    fields_of(value, fields);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn tables() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::start();
    let jero = |arguments: &[&str]| told(&run(directory.path(), &peer.server(), arguments));
    expect![[r#"
        BATCH    NAME   QUEUE      BY     SUBMITTED             JOBS  TASKS        CORE-H     EUROS
        batch-3  higgs  cms.higgs  alice  2026-03-01T08:00:00Z     1  2 succeeded    1.50  0.067875
        exit 0
    "#]]
    .assert_eq(&jero(&["batches", "--finished"]));
    expect![[r#"
        JOB     BATCH    NAME  QUEUE      SUBMITTED             TASKS               CORE-H  WAITS BECAUSE
        job-17  batch-3  one   cms.higgs  2026-03-01T08:00:00Z  7 queued, 3 failed   10.00  no node has 64GiB of memory free
        exit 0
    "#]].assert_eq(&jero(&["jobs"]));
    expect![[r#"
        job              job-17
        name             one
        batch            batch-3
        queue            cms.higgs
        submitted by     alice
        submitted        2026-03-01T08:00:00Z
        started          2026-03-01T08:00:01Z
        tasks            7 queued, 3 failed
        each needs       1.5 cpu, 64GiB memory
        mean wait        3s
        core-hours       10.00
        waits because    no node has 64GiB of memory free
        would run if     ask for at most 32GiB, or wait
        command          /bin/sh -c echo a\necho b
        walltime limit   1h30m
        together         4, on nodes of one `rack`
        at most at once  8
        preemptible      no

        STATE   ELEMENTS  REASON
        queued  3-9
        failed  0-2       exit:3

        ATTEMPT      SITE    NODE  STATE  GRANTED                RAN   CPU  MEMORY  OUTCOME
        job-17[0]#2  meyrin  n1    ended  2026-03-01T08:00:00Z  1m5s  1m4s  300MiB  exit 3
        job-17[1]#2  meyrin  n1    ended  2026-03-01T08:00:00Z  1m5s  1m4s  300MiB  start failed: the program `jro` is not there
        job-17[2]#2  meyrin  n1    ended  2026-03-01T08:00:00Z  1m5s  1m4s  300MiB  preempted: for job-21
        exit 0
    "#]].assert_eq(&jero(&["job", "job-17"]));
    expect![[r#"
        task            job-17[3]
        state           queued
        waits because   no node has 64GiB of memory free
        would run if    ask for at most 32GiB, or wait
        position        12 of all that wait
        room kept on    n1 at meyrin (2 tasks)
        starts by       2026-03-01T08:00:00Z
        leaving for it  job-21[3]

        SITE    NODES  REFUSE IT BECAUSE
        meyrin     40  no node has 64GiB of memory free

        QUEUE  WEIGHT  ENTITLEMENT  HELD     KEY
        (all)       2  8 cpu        4 cpu  0.500
        cms         2  8 cpu        4 cpu  1.250
        exit 0
    "#]]
    .assert_eq(&jero(&["explain", "job-17"]));
    expect![[r#"
        task           job-17[1]
        state          failed
        because        it ended with exit code 3
        do             see its standard error, then `jero retry`
        last attempt   job-17[1]#2 on n1 at meyrin: exit 3
        what it wrote  jero logs 'job-17[1]' --stderr
        exit 0
    "#]]
    .assert_eq(&jero(&["explain", "job-17[1]"]));
    expect![[r#"
        task           job-18[2]
        state          cancelled
        because        a job that it needs did not succeed
        do             retry that job, then this one
        needed         one (job-17): 3 failed
        exit 0
    "#]]
    .assert_eq(&jero(&["explain", "job-18[2]"]));
    expect![[r#"
        job-17[3-7,9]: 4 tasks cancelled, 2 are being stopped
        exit 0
    "#]]
    .assert_eq(&jero(&["cancel", "job-17[9,3-7]"]));
    expect![[r#"
        QUEUE      WEIGHT  GUARANTEED CPU  LIMIT CPU  ENTITLED CPU  HELD CPU  RESERVED CPU  USAGE CPU  DEMAND CPU  QUEUED  RUNNING  CORE-H  EUROS  MAY SUBMIT       CORDONED
        cms.higgs       3               2       10.5             8       4.5             1          4          12    1000        4   10.00         alice,bob,carol
        atlas           3               2       10.5             8       4.5             1          4          12    1000        4   10.00         alice,bob,carol
        cms             3               2       10.5             8       4.5             1          4          12    1000        4   10.00         alice,bob,carol
        cms-old         3               2       10.5             8       4.5             1          4          12    1000        4   10.00         alice,bob,carol
        exit 0
    "#]].assert_eq(&jero(&["queues"]));
    expect![[r#"
        QUEUE      WEIGHT  GUARANTEE  LIMIT            DEMAND               ENTITLEMENT         HELD                    RESERVED             USAGE                 QUEUED  RUNNING
        cms.higgs       3  2 cpu      10.5 cpu, 0 gpu  12 cpu, 1GiB memory  8 cpu, 1GiB memory  4.5 cpu, 512MiB memory  1 cpu, 64MiB memory  4 cpu, 512MiB memory    1000        4
        atlas           3  2 cpu      10.5 cpu, 0 gpu  12 cpu, 1GiB memory  8 cpu, 1GiB memory  4.5 cpu, 512MiB memory  1 cpu, 64MiB memory  4 cpu, 512MiB memory    1000        4
        cms             3  2 cpu      10.5 cpu, 0 gpu  12 cpu, 1GiB memory  8 cpu, 1GiB memory  4.5 cpu, 512MiB memory  1 cpu, 64MiB memory  4 cpu, 512MiB memory    1000        4
        cms-old         3  2 cpu      10.5 cpu, 0 gpu  12 cpu, 1GiB memory  8 cpu, 1GiB memory  4.5 cpu, 512MiB memory  1 cpu, 64MiB memory  4 cpu, 512MiB memory    1000        4
        exit 0
    "#]].assert_eq(&jero(&["queues", "--wide"]));
    let mut queues = String::new();
    for arguments in [
        ["queue", "show", "cms"].as_slice(),
        &["queue", "show", "cmss"],
        &["queue", "create", "cms.new"],
        &["queue", "cordon", "cms", "--reason", " "],
    ] {
        queues += &jero(arguments);
    }
    expect![[r#"
        queue           cms
        weight          3
        queued at most  1000000
        may submit      alice,bob,carol
        guarantee       2 cpu
        limit           10.5 cpu, 0 gpu
        entitlement     8 cpu, 1GiB memory
        held            4.5 cpu, 512MiB memory
        reserved        1 cpu, 64MiB memory
        usage           4 cpu, 512MiB memory
        demand          12 cpu, 1GiB memory
        queued          1000
        running         4
        core-hours      10.00
        exit 0
        jero: there is no queue `cmss`
          do: did you mean `cms`?
        exit 2
        queue           cms.new
        weight          3
        queued at most  1000000
        may submit      nobody
        guarantee       2 cpu
        limit           10.5 cpu, 0 gpu
        entitlement     8 cpu, 1GiB memory
        held            4.5 cpu, 512MiB memory
        reserved        1 cpu, 64MiB memory
        usage           4 cpu, 512MiB memory
        demand          12 cpu, 1GiB memory
        queued          1000
        running         4
        core-hours      10.00
        jero: warning: nobody may submit to it�
        exit 0
        error: invalid value ' ' for '--reason <TEXT>': a reason has words; `uncordon` and `resume` open it again

        For more information, try '--help'.
        exit 2
    "#]].assert_eq(&queues);
    expect![[r#"
        SITE        KIND    STATE                            NODES      CPU         MEMORY  RUNNING  RENEWED               CORE-H  EUROS
        meyrin      owned   up                                  40  4.5/320  1.5GiB/640GiB        4  2026-03-01T08:00:00Z    0.00
        cloud-west  leased  draining: the contract ends�[2J      0      0/0          0B/0B        0                          0.00
        exit 0
    "#]].assert_eq(&jero(&["sites"]));
    expect![[r#"
        site                 cloud-west
        kind                 leased
        state                draining: the contract ends�[2J
        nodes                0
        over-committed       1 of the nodes, with less than what runs there holds; see `jero nodes`
        running              0
        unknown leases       2, held there but unknown to the scheduler's journal
        contract             2026-03-01T08:00:00Z to 2026-03-02T08:00:00Z
        euros per core-hour  0.045
        budget in euros      12.50
        core-hours           0.00
        exit 0
    "#]]
    .assert_eq(&jero(&["site", "show", "cloud-west"]));
    expect![[r#"
        NODE  SITE    CLUSTER  COE      STATE             CPU         MEMORY     DISK  GPU  RUNNING  LABELS                        TAINTS
        n1    meyrin  batch    process  up              1.5/8   512MiB/16GiB        -    -        1  disk=ssd                      dedicated=alice
        n2    meyrin  batch    process  over-committed  1.5/8  512MiB/256MiB  0B/1TiB  0/2        1  disk=ssd,rack=r1-in-hall-513  -
        exit 0
    "#]]
    .assert_eq(&jero(&["nodes"]));
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
