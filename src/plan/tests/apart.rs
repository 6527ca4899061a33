//! States in which tenants are kept apart.

use super::*;

const STATE: &str = r"
nodes:
  - {name: new, resources: {cpu: 4}}
  - {name: old, resources: {cpu: 8}, used_by: [cms, atlas]}
  - {name: boxes, resources: {cpu: 2, memory: 1GiB}, used_by: cms, runtimes: [{name: runc}, {name: runsc, isolation: sandbox, overhead: {memory: 64MiB}}]}
queues:
  - {name: cms}
  - {name: atlas}
  - {name: medical, isolation: kernel}
jobs:
  - {name: scan, queue: medical, count: 6, resources: {cpu: 1}, running: [new]}
  - {name: box, queue: atlas, isolation: sandbox, resources: {cpu: 1, memory: 900MiB}}
  - {name: any, queue: cms, count: 2, resources: {cpu: 4}}
";

#[test]
fn a_kernel_of_its_own() {
    check(
        STATE,
        2,
        expect![[r#"
        JOB   QUEUE    STATE    NODE OR REASON  TASKS  INDEXES
        scan  medical  running  new                 1  0
        scan  medical  placed   new                 3  1-3
        scan  medical  waiting  reserved            1  4
        scan  medical  waiting  busy                1  5
        box   atlas    placed   boxes               1  0
        any   cms      placed   old                 2  0-1

        QUEUE    ENTITLED TO           HOLDS
        cms      7 cpu                 8 cpu
        atlas    1 cpu, 900MiB memory  1 cpu, 900MiB memory
        medical  6 cpu                 4 cpu"#]],
    );
    let answer = json(STATE, 1);
    let tasks = answer["tasks"].as_array().unwrap();
    let told = |name: &str| {
        let task = tasks.iter().find(|task| task["job"] == name).unwrap();
        (task["runtime"].clone(), task["alone"].clone())
    };
    assert_eq!(told("scan"), (serde_json::Value::Null, true.into()));
    assert_eq!(told("box"), ("runsc".into(), false.into()));
}

#[test]
fn faults_of_what_keeps_tenants_apart() {
    check(
        r"
nodes:
  - {name: n, resources: {cpu: 4}, used_by: cmz, runtimes: [runsc]}
queues:
  - {name: cms, isolation: box}
",
        1,
        expect![[r#"
            state.yaml:3:45: there is no queue `cmz`
                 3 |   - {name: n, resources: {cpu: 4}, used_by: cmz, runtimes: [runsc]}
                   |                                             ^
              do: did you mean `cms`?
            state.yaml:3:61: a runtime is a map, this is a text
                 3 |   - {name: n, resources: {cpu: 4}, used_by: cmz, runtimes: [runsc]}
                   |                                                             ^
              do: write {name: runsc, isolation: sandbox}
            state.yaml:5:28: `box` is none of the words that can stand here
                 5 |   - {name: cms, isolation: box}
                   |                            ^
              do: there are: shared, sandbox, kernel"#]],
    );
    check(
        r"
nodes:
  - {name: n, resources: {cpu: 4}, used_by: cms.higgs}
  - {name: m, resources: {cpu: 4}, kernel: one, used_by: cms}
  - {name: o, resources: {cpu: 4}, kernel: one}
queues: [{name: cms}, {name: cms.higgs}]
",
        1,
        expect![[r#"
            state.yaml:3:45: the queue `cms.higgs` is no tenant
                 3 |   - {name: n, resources: {cpu: 4}, used_by: cms.higgs}
                   |                                             ^
              do: name a queue at the top, or one with `tenant: true`, with work of its own"#]],
    );
}
