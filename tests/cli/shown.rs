//! What is printed: every field of the JSON is documented, and every table is as it was.

use expect_test::expect;

use crate::peer::Peer;
use crate::{batch_file, big, run, told};

/// Every verb that prints JSON.
const PRINTING: [&[&str]; 24] = [
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
    &["site", "downtime", "list", "meyrin"],
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
    let documentation = include_str!("../../docs/commands.md");
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
        by hand          cancel by bob: wrong input
        core-hours       10.00
        waits because    no node has 64GiB of memory free
        would run if     ask for at most 32GiB, or wait
        command          /bin/sh -c echo a\necho b
        walltime limit   1h30m
        together         4, on nodes of one `rack`
        at most at once  8
        preemptible      no

        STATE      ELEMENTS  REASON
        queued     3-9
        failed     0-2       exit:3
        cancelled  10-11     user, by bob: wrong input

        TRIED AGAIN  MEMORY  NOT AT
        4-5            3GiB  meyrin/n3 wigner

        ATTEMPT      SITE    NODE  STATE  GRANTED                RAN   CPU  MEMORY  OUTCOME
        job-17[0]#2  meyrin  n1    ended  2026-03-01T08:00:00Z  1m5s  1m4s  300MiB  exit 3
        job-17[1]#2  meyrin  n1    ended  2026-03-01T08:00:00Z  1m5s  1m4s  300MiB  start failed: the program `jro` is not there
        job-17[2]#2  meyrin  n1    ended  2026-03-01T08:00:00Z  1m5s  1m4s  300MiB  preempted: for job-21
        job-17[3]#2  meyrin  n1    ended  2026-03-01T08:00:00Z  1m5s  1m4s  300MiB  preempted: by alice: the kernel
        exit 0
    "#]].assert_eq(&jero(&["job", "job-17"]));
    expect![[r#"
        task             job-17[3]
        state            queued
        waits because    no node has 64GiB of memory free
        would run if     ask for at most 32GiB, or wait
        position         12 of all that wait
        room kept on     n1 at meyrin (2 tasks)
        predicted start  2026-03-01T07:50:00Z
        starts by        2026-03-01T08:00:00Z
        leaving for it   job-21[3]

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
        queue             cms
        weight            3
        queued at most    1000000
        running at most   500
        a user's running  20
        may submit        alice,bob,carol
        guarantee         2 cpu
        limit             10.5 cpu, 0 gpu
        entitlement       8 cpu, 1GiB memory
        held              4.5 cpu, 512MiB memory
        reserved          1 cpu, 64MiB memory
        usage             4 cpu, 512MiB memory
        demand            12 cpu, 1GiB memory
        queued            1000
        running           4
        core-hours        10.00

        USER   RUNNING  WAITING
        alice        4     1000
        exit 0
        jero: there is no queue `cmss`
          do: did you mean `cms`?
        exit 2
        queue             cms.new
        weight            3
        queued at most    1000000
        running at most   500
        a user's running  20
        may submit        nobody
        guarantee         2 cpu
        limit             10.5 cpu, 0 gpu
        entitlement       8 cpu, 1GiB memory
        held              4.5 cpu, 512MiB memory
        reserved          1 cpu, 64MiB memory
        usage             4 cpu, 512MiB memory
        demand            12 cpu, 1GiB memory
        queued            1000
        running           4
        core-hours        10.00

        USER   RUNNING  WAITING
        alice        4     1000
        jero: warning: nobody may submit to it�
        exit 0
        error: invalid value ' ' for '--reason <TEXT>': a reason has words; `uncordon` and `resume` open it again

        For more information, try '--help'.
        exit 2
    "#]].assert_eq(&queues);
    expect![[r#"
        SITE        KIND    STATE                            NODES      CPU         MEMORY  RUNNING  RENEWED               DOWNTIME              CORE-H  EUROS
        meyrin      owned   up                                  40  4.5/320  1.5GiB/640GiB        4  2026-03-01T08:00:00Z  2026-03-01T08:00:00Z    0.00
        cloud-west  leased  draining: the contract ends�[2J      0      0/0          0B/0B        0                                                0.00
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
