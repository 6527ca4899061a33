//! Faults of form: what is not YAML, no field, no amount, no name.

use expect_test::expect;

use super::*;

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
    check(
        "queue: cms\ndefaults: {name: x}\njobs: [{name: a, run: b}]\n",
        expect![[r#"
            batch.yaml:2:12: unknown field `name` in defaults
                 2 | defaults: {name: x}
                   |            ^
              do: there are: command, run, env, image, resources, walltime, class, priority, coe, isolation, labels, tolerations, sites, sites_excluded, inputs, outputs, retries, restartable, on_lost_contact, preemptible, running_max"#]],
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
              do: use 1 to 128 letters, digits and the signs - _ . +, other than `.` and `..`"#]],
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
fn what_retry_rules_change() {
    check_job(
        "    retries: [{on: memory, times: 2, memory: 2, memory_max: 4GiB}, {times: 1, memory: x20, avoid_node: maybe}]\n",
        expect![[r#"
            batch.yaml:5:46: `2` does not say how much more memory the next attempt gets
                 5 |     retries: [{on: memory, times: 2, memory: 2, memory_max: 4GiB}, {times: 1, memory: x20, avoid_node: maybe}]
                   |                                              ^
              do: write a factor above 1 and up to 16, like x2 or x1.5
            batch.yaml:5:87: `x20` does not say how much more memory the next attempt gets
                 5 |     retries: [{on: memory, times: 2, memory: 2, memory_max: 4GiB}, {times: 1, memory: x20, avoid_node: maybe}]
                   |                                                                                       ^
              do: write a factor above 1 and up to 16, like x2 or x1.5
            batch.yaml:5:104: `maybe` is none of the words that can stand here
                 5 |     retries: [{on: memory, times: 2, memory: 2, memory_max: 4GiB}, {times: 1, memory: x20, avoid_node: maybe}]
                   |                                                                                                        ^
              do: there are: true, false"#]],
    );
}

#[test]
fn gangs() {
    check_job(
        "    count: 4\n    min: 5\n    within: rack\n",
        expect![[r#"
            batch.yaml:6:10: 5 tasks go together, and the job has 4
                 6 |     min: 5
                   |          ^
              do: raise `count`, or lower `min`
            batch.yaml:7:13: a gang cannot stay within `rack`
                 7 |     within: rack
                   |             ^
              do: write `site`, `cluster` or `label:KEY`"#]],
    );
    check_job(
        "    count: 4\n    within: site\n",
        expect![[r#"
        batch.yaml:6:13: only tasks that go together can stay within something
             6 |     within: site
               |             ^
          do: set `min` to 2 or more, or leave it out"#]],
    );
    check_job(
        "    count: 8\n    min: 4\n    running_max: 3\n    preemptible: sometimes\n",
        expect![[r#"
            batch.yaml:7:18: only 3 may run, and 4 tasks go together
                 7 |     running_max: 3
                   |                  ^
              do: raise `running_max`, or lower `min`
            batch.yaml:8:18: `sometimes` is none of the words that can stand here
                 8 |     preemptible: sometimes
                   |                  ^
              do: there are: true, false"#]],
    );
    check(
        "queue: cms\ndefaults: {min: 2}\njobs: [{name: a, run: b}]\n",
        expect![[r#"
            batch.yaml:2:12: unknown field `min` in defaults
                 2 | defaults: {min: 2}
                   |            ^
              do: there are: command, run, env, image, resources, walltime, class, priority, coe, isolation, labels, tolerations, sites, sites_excluded, inputs, outputs, retries, restartable, on_lost_contact, preemptible, running_max"#]],
    );
}
