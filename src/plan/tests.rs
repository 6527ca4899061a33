//! Tables: state in, answer or faults out.

#![allow(clippy::unwrap_used)]

mod apart;
mod faults;

use expect_test::{Expect, expect};

use super::*;

/// Plans a state and compares the table, or what is told instead.
fn check(state: &str, rounds: u32, expected: Expect) {
    let told = match plan(state, Path::new("state.yaml"), rounds) {
        Ok(built) => Answer::of(&built).table(),
        Err(faults) => faults.to_string(),
    };
    expected.assert_eq(&told);
}

fn json(state: &str, rounds: u32) -> serde_json::Value {
    let built = plan(state, Path::new("state.yaml"), rounds).unwrap();
    serde_json::to_value(Answer::of(&built)).unwrap()
}

/// Of one node of two cores and a job of four hours, two at a time.
const FOUR_HOURS: &str = r#"
now: 1000
nodes: [{name: n, resources: {cpu: 2}}]
queues: [{name: q}]
jobs:
  - {name: "j[x]", queue: q, count: 4, resources: {cpu: 1}, walltime: 7200}
  - {name: wide, queue: q, resources: {cpu: 3}}
"#;

fn predicted(task: &str) -> String {
    let built = plan(FOUR_HOURS, Path::new("state.yaml"), 1).unwrap();
    match Predicted::of(&built, task) {
        Ok(found) => {
            let at = serde_json::to_value(&found).unwrap()["at"].clone();
            format!("{} (at {at})", found.told())
        }
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn a_start_is_predicted_on_the_files_clock() {
    expect!["j[x][3] starts after 2h25s873ms on n, if everything takes its whole walltime limit and nothing new comes (at 8225.873)"]
        .assert_eq(&predicted("j[x][3]"));
    // The first that waits is the third.
    expect!["wide[0] never after 4h54s108ms: as things are: nothing runs any more by then, and it still waits (at 15454.108)"].assert_eq(&predicted("wide"));
    expect![[r#"
        `j[x][0]` does not wait
          do: name a task that waits; the answer without --predict says which do"#]]
    .assert_eq(&predicted("j[x][0]"));
    expect![[r#"
        there is no job `k`
          do: name a job of the file: JOB, or JOB[INDEX]"#]]
    .assert_eq(&predicted("k"));
}

#[test]
fn under_the_orders_of_one_line_a_place_without_since_has_all_its_time_left() {
    let state = r#"
policy: {order: easy, grace_ms: 0}
nodes: [{name: n, resources: {cpu: 4}}]
queues: [{name: q}]
jobs:
  - {name: runs, queue: q, resources: {cpu: 3}, running: [n], walltime: 100}
  - {name: wide, queue: q, resources: {cpu: 4}}
  - {name: short, queue: q, resources: {cpu: 1}, walltime: 50}
"#;
    let tasks = &json(state, 1)["tasks"];
    assert_eq!(tasks[1]["predicted_start"], 100);
    assert_eq!(tasks[2]["state"], "placed");
}

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/plan/drf.yaml");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_drf_papers_example() {
    check(
        &example(),
        1,
        expect![[r#"
            JOB  QUEUE  STATE    NODE OR REASON  TASKS  INDEXES
            a    A      placed   n1                  3  0-2
            a    A      waiting  busy                7  3-9
            b    B      placed   n1                  2  0-1
            b    B      waiting  busy                8  2-9

            QUEUE  ENTITLED TO               HOLDS
            A      4.5 cpu, 16376MiB memory  3 cpu, 12GiB memory
            B      4.5 cpu, 2056MiB memory   6 cpu, 2GiB memory"#]],
    );
    let answer = json(&example(), 1);
    let placed = |queue: &str| {
        let tasks = answer["tasks"].as_array().unwrap().iter();
        tasks
            .filter(|task| task["queue"] == queue && task["state"] == "placed")
            .count()
    };
    assert_eq!((placed("A"), placed("B")), (3, 2));
}

#[test]
fn the_answer_in_json() {
    let state = r#"{"now": 100, "policy": {"extended_resources": ["fpga"]}, "nodes": [{"name": "n", "site": "x", "resources": {"cpu": "1500m", "memory": "2GiB", "fpga": 3}}],
        "queues": [{"name": "vo"}, {"name": "leaf", "parent": "vo", "weight": 2}],
        "jobs": [{"name": "j", "queue": "leaf", "count": 3, "resources": {"cpu": 0.5, "fpga": 1}, "running": ["n"]},
                 {"name": "k", "queue": "leaf", "resources": {"cpu": 1, "memory": "3GiB"}, "min": 1, "preemptible": false}]}"#;
    let pretty = serde_json::to_string_pretty(&json(state, 1)).unwrap();
    expect![[r#"
        {
          "queues": [
            {
              "entitlement": {
                "cpu": 1.5,
                "disk": "0B",
                "fpga": 3,
                "gpu": 0,
                "memory": "0B"
              },
              "held": {
                "cpu": 1.5,
                "disk": "0B",
                "fpga": 3,
                "gpu": 0,
                "memory": "0B"
              },
              "name": "vo"
            },
            {
              "entitlement": {
                "cpu": 1.5,
                "disk": "0B",
                "fpga": 3,
                "gpu": 0,
                "memory": "0B"
              },
              "held": {
                "cpu": 1.5,
                "disk": "0B",
                "fpga": 3,
                "gpu": 0,
                "memory": "0B"
              },
              "name": "leaf"
            }
          ],
          "tasks": [
            {
              "alone": false,
              "index": 0,
              "job": "j",
              "node": "n",
              "predicted_start": null,
              "queue": "leaf",
              "reason": null,
              "runtime": null,
              "state": "running"
            },
            {
              "alone": false,
              "index": 1,
              "job": "j",
              "node": "n",
              "predicted_start": null,
              "queue": "leaf",
              "reason": null,
              "runtime": null,
              "state": "placed"
            },
            {
              "alone": false,
              "index": 2,
              "job": "j",
              "node": "n",
              "predicted_start": null,
              "queue": "leaf",
              "reason": null,
              "runtime": null,
              "state": "placed"
            },
            {
              "alone": false,
              "index": 0,
              "job": "k",
              "node": null,
              "predicted_start": null,
              "queue": "leaf",
              "reason": "too-large",
              "runtime": null,
              "state": "waiting"
            }
          ]
        }"#]]
    .assert_eq(&pretty);
}

#[test]
fn what_runs_counts_and_more_rounds_go_on() {
    let state = "
policy: {placements_per_round_max: 2}
nodes:
  - {name: a, site: meyrin, resources: {cpu: 4}, labels: {disk: ssd}, taints: [{key: only, value: higgs}]}
  - {name: b, site: wigner, resources: {cpu: 4}}
queues: [{name: cms}, {name: cms.higgs, weight: 3}, {name: cms.top}]
jobs:
  - name: held
    queue: cms.top
    count: 5
    resources: {cpu: 1}
    running: [b, {node: b, since: -3600}]
    submit: -7200
  - {name: labelled, queue: cms.higgs, resources: {cpu: 1}, count: 2, labels: {disk: ssd}, tolerations: [only=higgs]}
  - {name: elsewhere, queue: cms.higgs, resources: {cpu: 1}, sites: wigner, priority: 5}
";
    check(
        state,
        1,
        expect![[r#"
        JOB        QUEUE      STATE    NODE OR REASON  TASKS  INDEXES
        held       cms.top    running  b                   2  0-1
        held       cms.top    waiting  others-first        3  2-4
        labelled   cms.higgs  placed   a                   1  0
        labelled   cms.higgs  waiting  others-first        1  1
        elsewhere  cms.higgs  placed   b                   1  0

        QUEUE      ENTITLED TO  HOLDS
        cms        8 cpu        4 cpu
        cms.higgs  3 cpu        2 cpu
        cms.top    5 cpu        2 cpu"#]],
    );
    check(
        state,
        2,
        expect![[r#"
        JOB        QUEUE      STATE    NODE OR REASON  TASKS  INDEXES
        held       cms.top    running  b                   2  0-1
        held       cms.top    placed   b                   1  2
        held       cms.top    waiting  busy                2  3-4
        labelled   cms.higgs  placed   a                   2  0-1
        elsewhere  cms.higgs  placed   b                   1  0

        QUEUE      ENTITLED TO  HOLDS
        cms        8 cpu        6 cpu
        cms.higgs  3 cpu        3 cpu
        cms.top    5 cpu        3 cpu"#]],
    );
    check(
        state,
        1_000,
        expect![[r#"
            JOB        QUEUE      STATE    NODE OR REASON  TASKS  INDEXES
            held       cms.top    running  b                   2  0-1
            held       cms.top    placed   b                   1  2
            held       cms.top    waiting  reserved            1  3
            held       cms.top    waiting  busy                1  4
            labelled   cms.higgs  placed   a                   2  0-1
            elsewhere  cms.higgs  placed   b                   1  0

            QUEUE      ENTITLED TO  HOLDS
            cms        8 cpu        6 cpu
            cms.higgs  3 cpu        3 cpu
            cms.top    5 cpu        3 cpu"#]],
    );
}

/// What was held for long weighs against a queue; without memory it does not.
#[test]
fn the_past_is_remembered() {
    let running = |since: u32| format!("{{node: n, since: {since}}}, ").repeat(7);
    let state = |policy: &str| {
        format!(
            "
now: 864000
policy: {policy}
nodes: [{{name: n, resources: {{cpu: 16}}}}]
queues: [{{name: old}}, {{name: new}}]
jobs:
  - {{name: o, queue: old, count: 12, resources: {{cpu: 1}}, running: [{}]}}
  - {{name: n, queue: new, count: 12, resources: {{cpu: 1}}, running: [{}]}}
",
            running(0),
            running(864_000)
        )
    };
    check(
        &state("{}"),
        1,
        expect![[r#"
        JOB  QUEUE  STATE    NODE OR REASON  TASKS  INDEXES
        o    old    running  n                   7  0-6
        o    old    waiting  busy                5  7-11
        n    new    running  n                   7  0-6
        n    new    placed   n                   2  7-8
        n    new    waiting  busy                3  9-11

        QUEUE  ENTITLED TO  HOLDS
        old    8 cpu        7 cpu
        new    8 cpu        9 cpu"#]],
    );
    check(
        &state("{memory_exponent_leaf: 0}"),
        1,
        expect![[r#"
        JOB  QUEUE  STATE    NODE OR REASON  TASKS  INDEXES
        o    old    running  n                   7  0-6
        o    old    placed   n                   1  7
        o    old    waiting  busy                4  8-11
        n    new    running  n                   7  0-6
        n    new    placed   n                   1  7
        n    new    waiting  busy                4  8-11

        QUEUE  ENTITLED TO  HOLDS
        old    8 cpu        8 cpu
        new    8 cpu        8 cpu"#]],
    );
}

/// A past of decades is shortened, not played step by step.
#[test]
fn a_long_past_is_no_work() {
    let state = "
now: 1764000000
nodes: [{name: n, resources: {cpu: 2}}]
queues: [{name: q}]
jobs:
  - {name: later, queue: q, resources: {cpu: 1}, submit: 2}
  - {name: first, queue: q, resources: {cpu: 1}, submit: 1}
  - {name: ever, queue: q, resources: {cpu: 1}, submit: 0, running: [{node: n, since: 0}]}
";
    check(
        state,
        1,
        expect![[r#"
        JOB    QUEUE  STATE    NODE OR REASON  TASKS  INDEXES
        later  q      waiting  busy                1  0
        first  q      placed   n                   1  0
        ever   q      running  n                   1  0

        QUEUE  ENTITLED TO  HOLDS
        q      2 cpu        2 cpu"#]],
    );
}

#[test]
fn why_tasks_wait() {
    let state = "
nodes: [{name: n, site: x, resources: {cpu: 1}, taints: [a]}, {name: m, site: y, resources: {cpu: 2}}]
queues: [{name: q}]
jobs:
  - {name: wide, queue: q, resources: {cpu: 3}}
  - {name: tainted, queue: q, resources: {cpu: 1}, sites: [x]}
  - {name: label, queue: q, resources: {cpu: 1}, labels: {gpu: a100}}
  - {name: many, queue: q, resources: {cpu: 1}, count: 3, sites_excluded: [x]}
";
    check(
        state,
        1,
        expect![[r#"
            JOB      QUEUE  STATE    NODE OR REASON        TASKS  INDEXES
            wide     q      waiting  too-large                 1  0
            tainted  q      waiting  taints-not-tolerated      1  0
            label    q      waiting  labels-unmatched          1  0
            many     q      placed   m                         2  0-1
            many     q      waiting  reserved                  1  2

            QUEUE  ENTITLED TO  HOLDS
            q      3 cpu        2 cpu"#]],
    );
    check(
        "queues: [{name: q}]\njobs: [{name: j, queue: q, resources: {cpu: 1}}]",
        1,
        expect![[r#"
            JOB  QUEUE  STATE    NODE OR REASON  TASKS  INDEXES
            j    q      waiting  no-nodes            1  0

            QUEUE  ENTITLED TO  HOLDS
            q"#]],
    );
    check(
        "{}",
        1,
        expect![[r#"
        none

        none"#]],
    );
}

/// A hundred thousand tasks are planned and told in one go.
#[test]
fn large_counts_are_told_whole() {
    let node = |n: u32| format!("  - {{name: n{n}, resources: {{cpu: 10}}}}\n");
    let nodes: String = (0..100).map(node).collect();
    let state = format!(
        "nodes:\n{nodes}queues: [{{name: q}}]\njobs:\n  - {{name: j, queue: q, count: 100000, resources: {{cpu: 1}}}}\n"
    );
    let answer = json(&state, 3);
    let tasks = answer["tasks"].as_array().unwrap();
    let waiting = tasks.iter().filter(|task| task["reason"] == "busy").count();
    assert_eq!((tasks.len(), waiting), (100_000, 99_000));
}
