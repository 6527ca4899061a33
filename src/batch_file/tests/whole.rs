//! What whole files are read as.

use expect_test::expect;

use super::*;

#[test]
fn a_whole_batch() {
    check(
        include_str!("../../../examples/higgs.yaml"),
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
                                delay_ms: 0,
                                backoff: false,
                                memory_permille: 0,
                                memory_max_mib: 0,
                                avoid_node: false,
                                change_site: false,
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
                                delay_ms: 0,
                                backoff: false,
                                memory_permille: 0,
                                memory_max_mib: 0,
                                avoid_node: false,
                                change_site: false,
                            },
                        ],
                        on_lost_contact: Restart,
                        restartable: true,
                        preemptible: None,
                        min: 0,
                        within: None,
                        running_max: 0,
                        after_any: [],
                        after_ok_each: [],
                        after_any_each: [],
                        priority_class: Normal,
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
                        preemptible: None,
                        min: 0,
                        within: None,
                        running_max: 0,
                        after_any: [],
                        after_ok_each: [],
                        after_any_each: [],
                        priority_class: Normal,
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
                        preemptible: None,
                        min: 0,
                        within: None,
                        running_max: 0,
                        after_any: [],
                        after_ok_each: [],
                        after_any_each: [],
                        priority_class: Normal,
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
fn tasks_that_go_together() {
    let text = include_str!("../../../examples/mpi.yaml");
    let batch = read_text(text, Path::new("mpi.yaml"), None).unwrap();
    let seen: Vec<String> = batch
        .spec
        .jobs
        .iter()
        .map(|job| {
            format!(
                "{}: min {} within {:?} running_max {} preemptible {:?}\n",
                job.name, job.min, job.within, job.running_max, job.preemptible
            )
        })
        .collect();
    expect![[r#"
        ranks: min 4 within Some(Within { what: Some(Cluster(true)) }) running_max 0 preemptible Some(false)
        sweep: min 0 within None running_max 50 preemptible None
    "#]].assert_eq(&seen.concat());
}
