//! What a state file is refused for: place, fault, remedy.

use expect_test::expect;

use super::check;

#[test]
fn faults_have_places_and_remedies() {
    let q = "queues: [{name: cms}]\nnodes: [{name: n, resources: {cpu: 2}}]\n";
    let job = |fields: &str| {
        format!("{q}jobs: [{{name: j, queue: cms, resources: {{cpu: 1}}, {fields}}}]")
    };
    check(
        "nodes: [{name: n, resources: {cpus: 2}}]",
        1,
        expect![[r#"
            state.yaml:1:31: there is no resource `cpus`
                 1 | nodes: [{name: n, resources: {cpus: 2}}]
                   |                               ^
              do: did you mean `cpu`? (others are named by `policy: {extended_resources: [NAME]}`)"#]],
    );
    check(
        "noodles: []",
        1,
        expect![[r#"
        state.yaml:1:1: unknown field `noodles` in a state
             1 | noodles: []
               | ^
          do: did you mean `nodes`?"#]],
    );
    check(
        "now: soon",
        1,
        expect![[r#"
        state.yaml:1:6: `soon` is not a number of seconds
             1 | now: soon
               |      ^
          do: write seconds, such as 90 or 0.5, without a unit"#]],
    );
    check(
        "now: 0.0001",
        1,
        expect![[r#"
        state.yaml:1:6: `0.0001` is not a number of seconds
             1 | now: 0.0001
               |      ^
          do: write seconds, such as 90 or 0.5, without a unit"#]],
    );
    check(
        "nodes: [{name: n, resources: {memory: 32}}]",
        1,
        expect![[r#"
            state.yaml:1:39: "32" is not an amount of bytes: a number alone does not say its unit
                 1 | nodes: [{name: n, resources: {memory: 32}}]
                   |                                       ^
              do: write it like "4GiB" or "512MiB""#]],
    );
    check(
        "nodes: [{name: n}]",
        1,
        expect![[r#"
        state.yaml:1:9: this node has no resources
             1 | nodes: [{name: n}]
               |         ^
          do: add `resources: {cpu: 8, memory: 32GiB}`"#]],
    );
    check(
        "nodes: [{name: n, resources: {cpu: 1}}, {name: n, resources: {cpu: 1}}]",
        1,
        expect![[r#"
            state.yaml:1:41: there is a node `n` already
                 1 | nodes: [{name: n, resources: {cpu: 1}}, {name: n, resources: {cpu: 1}}]
                   |                                         ^
              do: give every node a name of its own"#]],
    );
    check(
        "nodes: {n: 1}",
        1,
        expect![[r#"
        state.yaml:1:8: `nodes` is a list, this is a map
             1 | nodes: {n: 1}
               |        ^
          do: start each entry with a dash: `- name: ...`"#]],
    );
    check(
        "queues: [{name: a, weight: 70000}]",
        1,
        expect![[r#"
        state.yaml:1:28: "70000" is not a whole number from 0 to 65536
             1 | queues: [{name: a, weight: 70000}]
               |                            ^
          do: write the digits of such a number, without unit and spaces"#]],
    );
    check(
        "queues: [{name: a, parent: b}, {name: b, parent: a}]",
        1,
        expect![[r#"
            state.yaml:1:10: the queue `a` lies below itself
                 1 | queues: [{name: a, parent: b}, {name: b, parent: a}]
                   |          ^
              do: name another parent, or none
            state.yaml:1:32: the queue `b` lies below itself
                 1 | queues: [{name: a, parent: b}, {name: b, parent: a}]
                   |                                ^
              do: name another parent, or none"#]],
    );
    check(
        "queues: [{name: cms}, {name: x, parent: cmss}]",
        1,
        expect![[r#"
            state.yaml:1:41: there is no queue `cmss`
                 1 | queues: [{name: cms}, {name: x, parent: cmss}]
                   |                                         ^
              do: did you mean `cms`?"#]],
    );
    check(
        "queues: [{name: a, guarantee: {cpu: 1}, limit: {cpu: 2}}]",
        1,
        expect![[r#"
            none

            QUEUE  ENTITLED TO  HOLDS
            a"#]],
    );
    check(
        "policy: {placements: 3}",
        1,
        expect![[r#"
        state.yaml:1:10: unknown field `placements` in the policy
             1 | policy: {placements: 3}
               |          ^
          do: did you mean `placements_per_round_max`?"#]],
    );
    check(
        "policy: {placements_per_round_max: 0, grace_ms: long}",
        1,
        expect![[r#"
            state.yaml:1:36: policy.placements_per_round_max: 0 is outside 1 ..= 1000000
                 1 | policy: {placements_per_round_max: 0, grace_ms: long}
                   |                                    ^
              do: use a value from 1 to 1000000
            state.yaml:1:49: this is no value for `grace_ms`: invalid type: string "long", expected i64
                 1 | policy: {placements_per_round_max: 0, grace_ms: long}
                   |                                                 ^
              do: the shipped value is 10000"#]],
    );
    check(
        &job("preemptible: true"),
        1,
        expect![[r#"
            JOB  QUEUE  STATE   NODE OR REASON  TASKS  INDEXES
            j    cms    placed  n                   1  0

            QUEUE  ENTITLED TO  HOLDS
            cms    1 cpu        1 cpu"#]],
    );
    check(
        &job("min: 2"),
        1,
        expect![[r#"
            state.yaml:3:56: 2 tasks go together, and the job has 1
                 3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, min: 2}]
                   |                                                        ^
              do: raise `count`, or lower `min`"#]],
    );
    check(
        &job("count: 0"),
        1,
        expect![[r#"
        state.yaml:3:58: "0" is not a whole number from 1 to 1000000
             3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, count: 0}]
               |                                                          ^
          do: write the digits of such a number, without unit and spaces"#]],
    );
    check(
        &job("walltime: 1h"),
        1,
        expect![[r#"
        state.yaml:3:61: `1h` is not a number of seconds
             3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, walltime: 1h}]
               |                                                             ^
          do: write seconds, such as 90 or 0.5, without a unit"#]],
    );
    check(
        &job("walltime: 0"),
        1,
        expect![[r#"
            state.yaml:3:61: that is no walltime limit
                 3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, walltime: 0}]
                   |                                                             ^
              do: write more than 0 and up to 4233600 seconds"#]],
    );
    check(
        &job("submit: 1"),
        1,
        expect![[r#"
        state.yaml:3:59: this is later than `now`
             3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, submit: 1}]
               |                                                           ^
          do: describe what is there at `now`"#]],
    );
    check(
        &job("sites: [meyrin]"),
        1,
        expect![[r#"
        state.yaml:3:59: no node is at a site `meyrin`
             3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, sites: [meyrin]}]
               |                                                           ^
          do: there are: site"#]],
    );
    check(
        &job("running: [m]"),
        1,
        expect![[r#"
        state.yaml:3:61: there is no node `m`
             3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, running: [m]}]
               |                                                             ^
          do: did you mean `n`?"#]],
    );
    check(
        &job("running: [n, n]"),
        1,
        expect![[r#"
        state.yaml:3:64: 2 places are taken by 1 tasks
             3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, running: [n, n]}]
               |                                                                ^
          do: raise `count`, or take places away"#]],
    );
    check(
        &job("count: 3, running: [n, n, n]"),
        1,
        expect![[r#"
        state.yaml:3:77: this task cannot be running on `n`: busy
             3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, count: 3, running: [n, n, n]}]
               |                                                                             ^
          do: correct the place, or what else runs there, or the node"#]],
    );
    check(
        &job("labels: {a: b}, running: [n]"),
        1,
        expect![[r#"
        state.yaml:3:77: this task cannot be running on `n`: labels-unmatched
             3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, labels: {a: b}, running: [n]}]
               |                                                                             ^
          do: correct the place, or what else runs there, or the node"#]],
    );
    check(
        &job("submit: -5, running: [{node: n, since: -9}]"),
        1,
        expect![[r#"
            state.yaml:3:80: this place was taken before the job was submitted
                 3 | jobs: [{name: j, queue: cms, resources: {cpu: 1}, submit: -5, running: [{node: n, since: -9}]}]
                   |                                                                                ^
              do: make `submit` earlier, or `since` later"#]],
    );
    check(
        &format!("{q}jobs: [{{name: j, queue: cmss, resources: {{cpu: 1}}}}]"),
        1,
        expect![[r#"
            state.yaml:3:25: there is no queue `cmss`
                 3 | jobs: [{name: j, queue: cmss, resources: {cpu: 1}}]
                   |                         ^
              do: did you mean `cms`?"#]],
    );
    check(
        &format!("{q}jobs: [{{name: j, queue: cms, resources: {{}}}}]"),
        1,
        expect![[r#"
            state.yaml:3:41: a task must ask for something
                 3 | jobs: [{name: j, queue: cms, resources: {}}]
                   |                                         ^
              do: ask at least for cpu, for example {cpu: 1}"#]],
    );
    check(
        "queues: [{name: cms}, {name: cms.a}]\njobs: [{name: j, queue: cms, resources: {cpu: 1}}]",
        1,
        expect![[r#"
            state.yaml:2:25: the queue `cms` has queues below it
                 2 | jobs: [{name: j, queue: cms, resources: {cpu: 1}}]
                   |                         ^
              do: work is submitted to a leaf: name one of those"#]],
    );
    check(
        "jobs: [",
        1,
        expect![[r#"
        state.yaml:1:7: this is not YAML: unclosed bracket '['
             1 | jobs: [
               |       ^
          do: correct it here or just above"#]],
    );
}

#[test]
fn queues_go_by_the_names_of_the_file() {
    check(
        "queues: [{name: VO}, {name: Team, parent: VO, guarantee: {cpu: 2}, limit: {cpu: 1}}]",
        1,
        expect![[r#"
            state.yaml:1:22: `Team` would be guaranteed 2 of cpu, more than its limit of 1
                 1 | queues: [{name: VO}, {name: Team, parent: VO, guarantee: {cpu: 2}, limit: {cpu: 1}}]
                   |                      ^
              do: lower the guarantee, or raise the limit"#]],
    );
}

#[test]
fn moments_beyond_all_numbers_are_no_seconds() {
    check(
        "now: -9223372036854775808",
        1,
        expect![[r#"
            state.yaml:1:6: `-9223372036854775808` is not a number of seconds
                 1 | now: -9223372036854775808
                   |      ^
              do: write seconds, such as 90 or 0.5, without a unit"#]],
    );
}
