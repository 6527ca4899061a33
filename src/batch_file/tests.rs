#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};

use super::*;

/// The faults of a batch file that is next to a file `here.txt`.
fn check(text: &str, expected: Expect) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("here.txt"), "x").unwrap();
    let seen = match read_text(text, &directory.path().join("batch.yaml"), None) {
        Ok(batch) => format!("{:#?}", batch.spec),
        Err(faults) => faults.to_string(),
    };
    let root = format!("{}/", directory.path().display());
    expected.assert_eq(&seen.replace(&root, ""));
}

/// The faults of a job with these further fields (indented by four).
fn check_job(fields: &str, expected: Expect) {
    check(
        &format!("queue: cms\njobs:\n  - name: gen\n    command: [true]\n{fields}"),
        expected,
    );
}

#[test]
fn a_whole_batch() {
    check(
        include_str!("../../examples/higgs.yaml"),
        expect![[r#"
            BatchSpec {
                name: "higgs-to-4mu",
                queue: "cms.higgs.alice",
                jobs: [
                    JobSpec {
                        name: "generate",
                        count: 40,
                        command: [
                            "/bin/sh",
                            "-c",
                            "$JERO_EXE higgs generate --index $JERO_INDEX --events 200000 --out histogram.json",
                        ],
                        env: {},
                        image: "",
                        resources: Some(
                            Resources {
                                cpu_milli: 1000,
                                memory_mib: 512,
                                disk_mib: 256,
                                gpu: 0,
                                extended: {},
                            },
                        ),
                        walltime_ms: 600000,
                        priority: 0,
                        coe: Any,
                        isolation: Shared,
                        labels: {},
                        tolerations: [],
                        sites: [],
                        sites_excluded: [],
                        after_ok: [],
                        inputs: [],
                        outputs: [
                            "histogram.json",
                        ],
                        outputs_of: [],
                        retries: [
                            RetryRule {
                                exit_codes: [],
                                classes: [
                                    Lost,
                                    Memory,
                                ],
                                times: 2,
                            },
                            RetryRule {
                                exit_codes: [
                                    ExitCodeRange {
                                        first: 75,
                                        last: 75,
                                    },
                                    ExitCodeRange {
                                        first: 80,
                                        last: 89,
                                    },
                                ],
                                classes: [],
                                times: 1,
                            },
                        ],
                        on_lost_contact: Restart,
                        restartable: true,
                    },
                    JobSpec {
                        name: "merge",
                        count: 1,
                        command: [
                            "/bin/sh",
                            "-c",
                            "$JERO_EXE higgs merge --inputs inputs --out higgs.svg",
                        ],
                        env: {},
                        image: "",
                        resources: Some(
                            Resources {
                                cpu_milli: 1000,
                                memory_mib: 512,
                                disk_mib: 256,
                                gpu: 0,
                                extended: {},
                            },
                        ),
                        walltime_ms: 600000,
                        priority: 0,
                        coe: Any,
                        isolation: Shared,
                        labels: {},
                        tolerations: [],
                        sites: [],
                        sites_excluded: [],
                        after_ok: [],
                        inputs: [],
                        outputs: [
                            "higgs.svg",
                        ],
                        outputs_of: [
                            "generate",
                        ],
                        retries: [],
                        on_lost_contact: Restart,
                        restartable: true,
                    },
                ],
            }"#]],
    );
}

#[test]
fn the_least_batch_has_defaults() {
    check(
        "queue: cms.higgs\njobs:\n  - {name: one, run: echo 1.10}\n",
        expect![[r#"
        BatchSpec {
            name: "batch",
            queue: "cms.higgs",
            jobs: [
                JobSpec {
                    name: "one",
                    count: 1,
                    command: [
                        "/bin/sh",
                        "-c",
                        "echo 1.10",
                    ],
                    env: {},
                    image: "",
                    resources: Some(
                        Resources {
                            cpu_milli: 1000,
                            memory_mib: 1024,
                            disk_mib: 1024,
                            gpu: 0,
                            extended: {},
                        },
                    ),
                    walltime_ms: 3600000,
                    priority: 0,
                    coe: Any,
                    isolation: Shared,
                    labels: {},
                    tolerations: [],
                    sites: [],
                    sites_excluded: [],
                    after_ok: [],
                    inputs: [],
                    outputs: [],
                    outputs_of: [],
                    retries: [],
                    on_lost_contact: Restart,
                    restartable: true,
                },
            ],
        }"#]],
    );
}

#[test]
fn the_queue_of_the_command_line_wins() {
    let text = "queue: cms\njobs: [{name: one, run: x}]";
    let batch = read_text(text, Path::new("dir/a b.yaml"), Some("atlas")).unwrap();
    assert_eq!(
        (batch.spec.queue.as_str(), batch.spec.name.as_str()),
        ("atlas", "batch")
    );
    let batch = read_text(&text[11..], Path::new("dir/scan.yaml"), Some("atlas")).unwrap();
    assert_eq!(
        (batch.spec.queue.as_str(), batch.spec.name.as_str()),
        ("atlas", "scan")
    );
}

#[test]
fn defaults_fill_in_what_a_job_leaves_out() {
    let text = "
queue: cms
defaults:
  command: [jero]
  env: {A: 1, B: 2.50}
  resources: {cpu: 2, memory: 3GiB}
  walltime: 5m
  outputs: [a]
jobs:
  - {name: one}
  - {name: two, run: x, env: {B: yes, C: ~}, resources: {cpu: 500m, fpga: 1}, outputs: []}
";
    let batch = read_text(text, Path::new("batch.yaml"), None).unwrap();
    let told = batch.spec.jobs.iter().map(|job| {
        let resources = job.resources.as_ref().unwrap();
        let (env, outputs) = (&job.env, &job.outputs);
        format!(
            "{:?} {env:?} {outputs:?} {}ms\n{resources:?}\n",
            job.command, job.walltime_ms
        )
    });
    expect![[r#"
        ["jero"] {"A": "1", "B": "2.50"} ["a"] 300000ms
        Resources { cpu_milli: 2000, memory_mib: 3072, disk_mib: 1024, gpu: 0, extended: {} }
        ["/bin/sh", "-c", "x"] {"A": "1", "B": "yes", "C": ""} [] 300000ms
        Resources { cpu_milli: 500, memory_mib: 3072, disk_mib: 1024, gpu: 0, extended: {"fpga": 1} }
    "#]].assert_eq(&told.collect::<String>());
}

#[test]
fn not_yaml() {
    check(
        "queue: [cms\njobs:\n",
        expect![[r#"
        batch.yaml:2:5: this is not YAML: illegal placement of ':' indicator
             2 | jobs:
               |     ^
          do: correct it here or just above"#]],
    );
    check(
        "queue: cms\njobs:\n\t- name: x\n",
        expect![[r#"
        batch.yaml:3:2: this is not YAML: tabs disallowed within this context (block indentation)
             3 |  - name: x
               |  ^
          do: correct it here or just above"#]],
    );
    check(
        "queue: cms\nqueue: atlas\n",
        expect![[r#"
        batch.yaml:2:1: the field `queue` stands here twice
             2 | queue: atlas
               | ^
          do: keep one of the two"#]],
    );
    check(
        "queue: cms\n---\nqueue: cms\n",
        expect![[r#"
        batch.yaml:3:1: a second document starts here
             3 | queue: cms
               | ^
          do: write one batch per file"#]],
    );
    check(
        "",
        expect![[r#"
        batch.yaml:1:1: the file is empty
          do: write a batch: `jobs:` with at least one job"#]],
    );
    check(
        "just a text",
        expect![[r#"
        batch.yaml:1:1: a batch is a map of fields, this is a text
             1 | just a text
               | ^
          do: write fields such as `name: ...`"#]],
    );
    check(
        "queue: *nowhere\n",
        expect![[r#"
        batch.yaml:1:8: this is not YAML: alias references unknown anchor
             1 | queue: *nowhere
               |        ^
          do: correct it here or just above"#]],
    );
}

#[test]
fn unknown_fields() {
    check(
        "queue: cms\nqueues: x\njobs: [{name: a, run: b}]\n",
        expect![[r#"
        batch.yaml:2:1: unknown field `queues` in a batch
             2 | queues: x
               | ^
          do: did you mean `queue`?"#]],
    );
    check_job(
        "    walltme: 30m\n",
        expect![[r#"
        batch.yaml:5:5: unknown field `walltme` in a job
             5 |     walltme: 30m
               |     ^
          do: did you mean `walltime`?"#]],
    );
    check_job(
        "    min: 4\n    preemptible: true\n",
        expect![[r#"
        batch.yaml:5:5: unknown field `min` in a job
             5 |     min: 4
               |     ^
          do: there are: name, count, after_ok, needs, command, run, env, image, resources, walltime, priority, coe, isolation, labels, tolerations, sites, sites_excluded, inputs, outputs, retries, restartable, on_lost_contact
        batch.yaml:6:5: unknown field `preemptible` in a job
             6 |     preemptible: true
               |     ^
          do: there are: name, count, after_ok, needs, command, run, env, image, resources, walltime, priority, coe, isolation, labels, tolerations, sites, sites_excluded, inputs, outputs, retries, restartable, on_lost_contact"#]],
    );
    check(
        "queue: cms\ndefaults: {name: x}\njobs: [{name: a, run: b}]\n",
        expect![[r#"
        batch.yaml:2:12: unknown field `name` in defaults
             2 | defaults: {name: x}
               |            ^
          do: there are: command, run, env, image, resources, walltime, priority, coe, isolation, labels, tolerations, sites, sites_excluded, inputs, outputs, retries, restartable, on_lost_contact"#]],
    );
    check_job(
        "    retries: [{exit: 1, tims: 2}]\n",
        expect![[r#"
        batch.yaml:5:15: this retry rule does not say how often
             5 |     retries: [{exit: 1, tims: 2}]
               |               ^
          do: add `times: 2`
        batch.yaml:5:25: unknown field `tims` in a retry rule
             5 |     retries: [{exit: 1, tims: 2}]
               |                         ^
          do: did you mean `times`?"#]],
    );
}

#[test]
fn wrong_amounts() {
    check_job(
        "    walltime: 30\n",
        expect![[r#"
        batch.yaml:5:15: "30" is not a length of time: a number alone does not say its unit
             5 |     walltime: 30
               |               ^
          do: write it like "30m" or "1h30m""#]],
    );
    check_job(
        "    walltime: 500d\n",
        expect![[r#"
        batch.yaml:5:15: a walltime limit of 500d cannot be
             5 |     walltime: 500d
               |               ^
          do: write one from 1ms to 49d"#]],
    );
    check_job(
        "    resources:\n      cpu: two\n      memory: 4G\n      gpu: 1.5\n",
        expect![[r#"
        batch.yaml:6:12: "two" is not an amount of cores: a decimal number was expected at "two"
             6 |       cpu: two
               |            ^
          do: write it like "8", "0.5" or "500m"
        batch.yaml:7:15: "4G" is not an amount of bytes: unknown unit "G", the units are B, KiB, MiB, GiB, TiB, PiB and kB, MB, GB, TB, PB
             7 |       memory: 4G
               |               ^
          do: write it like "4GiB" or "512MiB"
        batch.yaml:8:12: "1.5" is not a whole number from 0 to 1099511627776
             8 |       gpu: 1.5
               |            ^
          do: write the digits of such a number, without unit and spaces"#]],
    );
    check_job(
        "    resources: {memry: 4GiB, fpga: 1.5}\n",
        expect![[r#"
        batch.yaml:5:24: `memry` would be an extended resource, and `4GiB` is no count
             5 |     resources: {memry: 4GiB, fpga: 1.5}
               |                        ^
          do: did you mean `memory`?
        batch.yaml:5:36: `fpga` would be an extended resource, and `1.5` is no count
             5 |     resources: {memry: 4GiB, fpga: 1.5}
               |                                    ^
          do: there are: cpu, memory, disk, gpu"#]],
    );
    check_job(
        "    count: 0\n",
        expect![[r#"
        batch.yaml:5:12: "0" is not a whole number from 1 to 1000000
             5 |     count: 0
               |            ^
          do: write the digits of such a number, without unit and spaces"#]],
    );
    check_job(
        "    priority: high\n    restartable: yes\n    coe: kubernets\n",
        expect![[r#"
        batch.yaml:5:15: "high" is not a whole number from -2147483648 to 2147483647
             5 |     priority: high
               |               ^
          do: write the digits of such a number, without unit and spaces
        batch.yaml:6:18: `yes` is none of the words that can stand here
             6 |     restartable: yes
               |                  ^
          do: there are: true, false
        batch.yaml:7:10: `kubernets` is none of the words that can stand here
             7 |     coe: kubernets
               |          ^
          do: did you mean `kubernetes`?"#]],
    );
    check_job(
        "    isolation: 5\n    on_lost_contact: waits\n",
        expect![[r#"
        batch.yaml:5:16: `5` is none of the words that can stand here
             5 |     isolation: 5
               |                ^
          do: there are: shared, sandbox, kernel
        batch.yaml:6:22: `waits` is none of the words that can stand here
             6 |     on_lost_contact: waits
               |                      ^
          do: did you mean `wait`?"#]],
    );
}

#[test]
fn names() {
    check(
        "queue: cms\njobs:\n  - {name: gen, run: x}\n  - {name: gen, run: x}\n",
        expect![[r#"
        batch.yaml:4:12: the job name `gen` is taken by line 3
             4 |   - {name: gen, run: x}
               |            ^
          do: give every job of the batch a name of its own"#]],
    );
    check(
        "queue: cms\njobs:\n  - {run: x}\n  - {name: ../up, run: x}\n",
        expect![[r#"
        batch.yaml:3:5: this job has no name
             3 |   - {run: x}
               |     ^
          do: add `name: NAME`, unique in the batch
        batch.yaml:4:12: `../up` is no name for a job
             4 |   - {name: ../up, run: x}
               |            ^
          do: use 1 to 128 letters, digits and the signs - _ . +, not starting with a dot"#]],
    );
    check(
        "jobs: [{name: a, run: b}]\n",
        expect![[r#"
        batch.yaml:1:1: the batch names no queue
             1 | jobs: [{name: a, run: b}]
               | ^
          do: add `queue: NAME` or give --queue NAME; `jero queues` lists them"#]],
    );
    check(
        "queue: cms\njobs: []\n",
        expect![[r#"
        batch.yaml:2:7: the batch has no jobs
             2 | jobs: []
               |       ^
          do: give `jobs` at least one job"#]],
    );
    check(
        "queue: cms\n",
        expect![[r#"
        batch.yaml:1:1: the batch has no jobs
             1 | queue: cms
               | ^
          do: add `jobs:` with at least one job"#]],
    );
}

#[test]
fn commands() {
    check(
        "queue: cms\njobs:\n  - {name: gen}\n",
        expect![[r#"
        batch.yaml:3:5: this job has no command
             3 |   - {name: gen}
               |     ^
          do: add `command: [PROGRAM, ARGUMENT, ...]` or `run: |` with a shell script"#]],
    );
    check(
        "queue: cms\njobs:\n  - {name: gen, command: []}\n",
        expect![[r#"
        batch.yaml:3:26: the command is empty
             3 |   - {name: gen, command: []}
               |                          ^
          do: name a program first"#]],
    );
    check(
        "queue: cms\njobs:\n  - {name: gen, command: ['']}\n",
        expect![[r#"
        batch.yaml:3:26: the command is empty
             3 |   - {name: gen, command: ['']}
               |                          ^
          do: name a program first"#]],
    );
    check(
        "queue: cms\njobs:\n  - {name: gen, run: ' '}\n",
        expect![[r#"
        batch.yaml:3:22: the command is empty
             3 |   - {name: gen, run: ' '}
               |                      ^
          do: write a shell script after `run: |`"#]],
    );
    check(
        "queue: cms\njobs:\n  - {name: gen, command: echo hello}\n",
        expect![[r#"
        batch.yaml:3:26: `command` is a list, this is a text
             3 |   - {name: gen, command: echo hello}
               |                          ^
          do: write `command: [PROGRAM, ARGUMENT, ...]`, or `run: ...` for a shell script"#]],
    );
    check_job(
        "    run: echo\n",
        expect![[r#"
        batch.yaml:5:10: both `command` and `run` are given
             5 |     run: echo
               |          ^
          do: keep one of the two"#]],
    );
}

#[test]
fn dependencies() {
    let batch = |jobs: &str| format!("queue: cms\ndefaults: {{run: x}}\njobs:\n{jobs}");
    check(
        &batch("  - name: gen\n  - name: merge\n    after_ok: [gne]\n"),
        expect![[r#"
        batch.yaml:6:16: there is no job `gne` in this batch
             6 |     after_ok: [gne]
               |                ^
          do: did you mean `gen`?"#]],
    );
    check(
        &batch("  - name: a\n    needs: outputs-of elsewhere\n"),
        expect![[r#"
        batch.yaml:5:12: there is no job `elsewhere` in this batch
             5 |     needs: outputs-of elsewhere
               |            ^
          do: there are: a"#]],
    );
    check(
        &batch("  - count: 2\n  - name: a\n    needs: outputs-of elsewhere\n"),
        expect![[r#"
            batch.yaml:4:5: this job has no name
                 4 |   - count: 2
                   |     ^
              do: add `name: NAME`, unique in the batch
            batch.yaml:6:12: there is no job `elsewhere` in this batch
                 6 |     needs: outputs-of elsewhere
                   |            ^
              do: there are: a"#]],
    );
    check(
        &batch("  - name: a\n    needs: [inputs-of a]\n"),
        expect![[r#"
        batch.yaml:5:13: `inputs-of a` is nothing that a job can need
             5 |     needs: [inputs-of a]
               |             ^
          do: write `outputs-of JOB` with a job of this batch"#]],
    );
    check(
        &batch("  - name: a\n    after_ok: a\n"),
        expect![[r#"
        batch.yaml:5:15: these jobs wait for each other: a -> a
             5 |     after_ok: a
               |               ^
          do: remove one of these dependencies"#]],
    );
    check(
        &batch(
            "  - {name: a, after_ok: [c]}\n  - {name: b, needs: outputs-of a}\n  - name: c\n    after_ok:\n      - b\n",
        ),
        expect![[r#"
            batch.yaml:5:22: these jobs wait for each other: a -> c -> b -> a
                 5 |   - {name: b, needs: outputs-of a}
                   |                      ^
              do: remove one of these dependencies"#]],
    );
}

#[test]
fn too_many_tasks() {
    check(
        "queue: cms\ndefaults: {run: x}\njobs:\n  - {name: a, count: 999_999}\n  - {name: b, count: 999999}\n  - name: c\n    count: 2\n",
        expect![[r#"
            batch.yaml:4:22: "999_999" is not a whole number from 1 to 1000000
                 4 |   - {name: a, count: 999_999}
                   |                      ^
              do: write the digits of such a number, without unit and spaces
            batch.yaml:7:12: with this job the batch has 1000002 tasks, more than 1000000
                 7 |     count: 2
                   |            ^
              do: submit it as several batches"#]],
    );
    check_job(
        "    count: 1000001\n",
        expect![[r#"
        batch.yaml:5:12: "1000001" is not a whole number from 1 to 1000000
             5 |     count: 1000001
               |            ^
          do: write the digits of such a number, without unit and spaces"#]],
    );
    check_job(
        "    count: 1000000\n    walltime: 0s\n",
        expect![[r#"
        batch.yaml:6:15: a walltime limit of 0s cannot be
             6 |     walltime: 0s
               |               ^
          do: write one from 1ms to 49d"#]],
    );
}

#[test]
fn inputs() {
    check_job(
        "    inputs: [here.txt, gone.txt]\n",
        expect![[r#"
        batch.yaml:5:24: the input `gone.txt` cannot be read: No such file or directory (os error 2)
             5 |     inputs: [here.txt, gone.txt]
               |                        ^
          do: give its path relative to the batch file"#]],
    );
    check_job(
        "    inputs: [../x, {from: here.txt, to: /etc/passwd}, {from: here.txt}, .]\n",
        expect![[r#"
        batch.yaml:5:14: `../x` is not a place in the scratch directory
             5 |     inputs: [../x, {from: here.txt, to: /etc/passwd}, {from: here.txt}, .]
               |              ^
          do: write {from: ../x, to: NAME} with a relative path without `..`
        batch.yaml:5:14: the input `../x` cannot be read: No such file or directory (os error 2)
             5 |     inputs: [../x, {from: here.txt, to: /etc/passwd}, {from: here.txt}, .]
               |              ^
          do: give its path relative to the batch file
        batch.yaml:5:20: `/etc/passwd` is not a place in the scratch directory
             5 |     inputs: [../x, {from: here.txt, to: /etc/passwd}, {from: here.txt}, .]
               |                    ^
          do: write {from: here.txt, to: NAME} with a relative path without `..`
        batch.yaml:5:55: this input is not complete
             5 |     inputs: [../x, {from: here.txt, to: /etc/passwd}, {from: here.txt}, .]
               |                                                       ^
          do: write {from: PATH, to: NAME}
        batch.yaml:5:73: `.` is not a place in the scratch directory
             5 |     inputs: [../x, {from: here.txt, to: /etc/passwd}, {from: here.txt}, .]
               |                                                                         ^
          do: write {from: ., to: NAME} with a relative path without `..`
        batch.yaml:5:73: the input `.` is not a file
             5 |     inputs: [../x, {from: here.txt, to: /etc/passwd}, {from: here.txt}, .]
               |                                                                         ^
          do: name the files themselves, or an archive of them"#]],
    );
    check_job(
        "    inputs: [here.txt, ./here.txt]\n",
        expect![[r#"
        batch.yaml:5:24: two inputs of this job are to be at `here.txt`
             5 |     inputs: [here.txt, ./here.txt]
               |                        ^
          do: write {from: PATH, to: NAME} with another name"#]],
    );
    check_job(
        "    outputs: [../*, /tmp/x, 'ok/*.json']\n",
        expect![[r#"
        batch.yaml:5:15: the output `../*` is outside the scratch directory
             5 |     outputs: [../*, /tmp/x, 'ok/*.json']
               |               ^
          do: write a relative path or glob without `..`
        batch.yaml:5:21: the output `/tmp/x` is outside the scratch directory
             5 |     outputs: [../*, /tmp/x, 'ok/*.json']
               |                     ^
          do: write a relative path or glob without `..`"#]],
    );
}

#[test]
fn inputs_are_found_beside_the_file() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("here.txt"), "x").unwrap();
    let text = "queue: a\njobs: [{name: a, run: b}, {name: b, run: b, inputs: [{from: ./here.txt, to: in/x}]}]";
    let batch = read_text(text, &directory.path().join("batch.yaml"), None).unwrap();
    let from = directory.path().join("./here.txt");
    assert_eq!(
        batch.inputs,
        [LocalFile {
            job: 1,
            from,
            to: "in/x".into(),
            executable: false
        }]
    );
}

#[test]
fn retry_rules() {
    check_job(
        "    retries: [{exit: [75, 80-89, 9-3, 300], on: [wall, lost], times: 2}]\n",
        expect![[r#"
        batch.yaml:5:34: `9-3` is no exit code of a failure and no range of them
             5 |     retries: [{exit: [75, 80-89, 9-3, 300], on: [wall, lost], times: 2}]
               |                                  ^
          do: write a code from 1 to 255, or a range like "80-89"
        batch.yaml:5:39: `300` is no exit code of a failure and no range of them
             5 |     retries: [{exit: [75, 80-89, 9-3, 300], on: [wall, lost], times: 2}]
               |                                       ^
          do: write a code from 1 to 255, or a range like "80-89"
        batch.yaml:5:50: `wall` is none of the words that can stand here
             5 |     retries: [{exit: [75, 80-89, 9-3, 300], on: [wall, lost], times: 2}]
               |                                                  ^
          do: did you mean `walltime`?"#]],
    );
    check_job(
        "    retries: [{exit: 75}, {times: 0}]\n",
        expect![[r#"
        batch.yaml:5:15: this retry rule does not say how often
             5 |     retries: [{exit: 75}, {times: 0}]
               |               ^
          do: add `times: 2`
        batch.yaml:5:35: "0" is not a whole number from 1 to 100
             5 |     retries: [{exit: 75}, {times: 0}]
               |                                   ^
          do: write the digits of such a number, without unit and spaces"#]],
    );
}

#[test]
fn many_faults_are_counted() {
    let jobs = (0..30).map(|job| format!("  - {{name: j{job}, run: x, after_ok: nowhere}}\n"));
    let text = format!("queue: cms\njobs:\n{}", jobs.collect::<String>());
    let faults = read_text(&text, Path::new("batch.yaml"), None)
        .unwrap_err()
        .to_string();
    assert_eq!(faults.matches("there is no job").count(), 20);
    assert!(faults.ends_with("and 10 more"), "{faults}");
}

#[test]
fn a_fault_of_the_defaults_is_told_once() {
    let text =
        "queue: cms\ndefaults: {walltime: 5}\njobs: [{name: a, run: b}, {name: b, run: b}]\n";
    check(
        text,
        expect![[r#"
        batch.yaml:2:22: "5" is not a length of time: a number alone does not say its unit
             2 | defaults: {walltime: 5}
               |                      ^
          do: write it like "30m" or "1h30m""#]],
    );
}

#[test]
fn a_file_that_cannot_be_read() {
    let faults = read(Path::new("/nowhere/batch.yaml"), None).unwrap_err();
    expect![[r#"
        /nowhere/batch.yaml: cannot be read: No such file or directory (os error 2)
          do: give the path of a batch file"#]]
    .assert_eq(&faults.to_string());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "(queue: a\njobs:\n)?[-{}\\[\\]:,&*|>'\"a-z0-9 \n]{0,80}") {
        let _ = read_text(&text, Path::new("batch.yaml"), None);
    }
}
