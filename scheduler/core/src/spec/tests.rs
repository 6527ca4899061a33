//! Tables: what a submission is refused for, where, and with which remedy.

#![allow(clippy::unwrap_used)]

use super::*;
use expect_test::{Expect, expect};

fn job(name: &str) -> JobSpec {
    JobSpec::new(name, Needs::new(Resources::of(1_000, 1_024, 0, 0), 60_000))
}

fn batch(jobs: Vec<JobSpec>) -> BatchSpec {
    BatchSpec {
        name: "b".into(),
        queue: "q".into(),
        jobs,
    }
}

/// Changes a good job and says what becomes of it.
fn check(change: impl FnOnce(&mut JobSpec), expected: Expect) {
    let mut changed = job("a");
    change(&mut changed);
    check_batch(batch(vec![changed]), expected);
}

fn check_batch(batch: BatchSpec, expected: Expect) {
    let told = match batch.validate() {
        Ok(()) => "fine".to_string(),
        Err(rejected) => format!(
            "{} at {}: {rejected}\ndo: {}",
            rejected.code(),
            rejected.place().unwrap_or("nowhere"),
            rejected.remedy()
        ),
    };
    expected.assert_eq(&told);
}

#[test]
fn a_plain_job_is_fine() {
    check(|_| (), expect!["fine"]);
    check(
        |job| job.outputs = vec!["hist/*.json".into()],
        expect!["fine"],
    );
    check(
        |job| job.needs.walltime_ms = WALLTIME_MAX_MS,
        expect!["fine"],
    );
}

#[test]
fn amounts_have_bounds() {
    check(
        |job| job.needs.resources = Resources::of(-1, 0, 0, 0),
        expect![[r#"
            INVALID at jobs[0].resources: jobs[0].resources: a task must ask for something, and for no negative or absurd amount
            do: ask at least for cpu, for example {cpu: 1, memory: 1GiB}"#]],
    );
    check(
        |job| job.needs.resources = Resources::of(1 << 40, 0, 0, 0),
        expect![[r#"
            INVALID at jobs[0].resources: jobs[0].resources: a task must ask for something, and for no negative or absurd amount
            do: ask at least for cpu, for example {cpu: 1, memory: 1GiB}"#]],
    );
    check(
        |job| job.needs.resources = Resources::ZERO,
        expect![[r#"
        INVALID at jobs[0].resources: jobs[0].resources: a task must ask for something, and for no negative or absurd amount
        do: ask at least for cpu, for example {cpu: 1, memory: 1GiB}"#]],
    );
    check(
        |job| job.needs.walltime_ms = 0,
        expect![[r#"
        OUT_OF_BOUNDS at jobs[0].walltime (ms): jobs[0].walltime (ms): 0 is outside 1 ..= 4233600000
        do: use a value from 1 to 4233600000"#]],
    );
    check(
        |job| job.needs.walltime_ms = -5,
        expect![[r#"
        OUT_OF_BOUNDS at jobs[0].walltime (ms): jobs[0].walltime (ms): 0 is outside 1 ..= 4233600000
        do: use a value from 1 to 4233600000"#]],
    );
    check(
        |job| job.needs.walltime_ms = WALLTIME_MAX_MS + 1,
        expect![[r#"
            OUT_OF_BOUNDS at jobs[0].walltime (ms): jobs[0].walltime (ms): 4233600001 is outside 1 ..= 4233600000
            do: use a value from 1 to 4233600000"#]],
    );
}

#[test]
fn names_commands_and_paths() {
    check(
        |job| job.name = "a b".into(),
        expect![[r#"
            INVALID at jobs[0].name: jobs[0].name: `a b` is not a name
            do: use 1 to 128 letters, digits and the signs - _ . +, other than `.` and `..`"#]],
    );
    check(
        |job| job.name = "x".repeat(NAME_MAX + 1),
        expect![[r#"
            INVALID at jobs[0].name: jobs[0].name: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is not a name
            do: use 1 to 128 letters, digits and the signs - _ . +, other than `.` and `..`"#]],
    );
    check(
        |job| job.command.clear(),
        expect![[r#"
        INVALID at jobs[0].command: jobs[0].command: the command is empty
        do: name a program"#]],
    );
    check(
        |job| job.command = vec![String::new(), "x".into()],
        expect![[r#"
            INVALID at jobs[0].command: jobs[0].command: the command is empty
            do: name a program"#]],
    );
    check(
        |job| job.command.push("a\0b".into()),
        expect![[r#"
        INVALID at jobs[0].command: jobs[0].command: it has a NUL character, which no program can be given
        do: leave it out"#]],
    );
    check(
        |job| job.command.push("x".repeat(SPEC_BYTES_MAX)),
        expect![[r#"
            OUT_OF_BOUNDS at jobs[0] (command, env, labels and paths together): jobs[0] (command, env, labels and paths together): 65540 is outside 0 ..= 65536
            do: use a value from 0 to 65536"#]],
    );
    check(
        |job| job.outputs = vec!["a//b".into()],
        expect![[r#"
            INVALID at jobs[0].outputs: jobs[0].outputs: `a//b` does not name a place inside the scratch directory
            do: use a relative path without `.` and `..`"#]],
    );
    check(
        |job| {
            job.inputs = vec![File {
                path: "../x".into(),
                digest: String::new(),
                size_bytes: 0,
                executable: false,
            }];
        },
        expect![[r#"
            INVALID at jobs[0].inputs: jobs[0].inputs: `../x` does not name a place inside the scratch directory
            do: use a relative path without `.` and `..`"#]],
    );
    check(
        |job| job.needs.sites = (0..=LIST_MAX).map(|n| format!("s{n}")).collect(),
        expect![[r#"
            OUT_OF_BOUNDS at jobs[0].sites: jobs[0].sites: 1001 is outside 0 ..= 1000
            do: use a value from 0 to 1000"#]],
    );
}

#[test]
fn dots_alone_name_nothing() {
    for name in [".", ".."] {
        let mut named = job("a");
        named.name = name.into();
        assert!(batch(vec![named]).validate().is_err(), "{name}");
    }
    for path in [".", "./a", "a/.", "a/./b", "a/.."] {
        let mut with_path = job("a");
        with_path.outputs = vec![path.into()];
        assert!(batch(vec![with_path]).validate().is_err(), "{path}");
    }
    check(|job| job.name = "...".into(), expect!["fine"]);
    check(
        |job| job.outputs = vec![".cache/a.b".into()],
        expect!["fine"],
    );
}

#[test]
fn retry_rules_have_bounds() {
    let rule = |codes: usize, times: u32| RetryRule {
        exit_codes: vec![(1, 1); codes],
        classes: BTreeSet::new(),
        times,
        ..RetryRule::default()
    };
    check(
        |job| job.retries = vec![rule(LIST_MAX, RETRIES_MAX)],
        expect!["fine"],
    );
    check(
        |job| job.retries = vec![rule(0, 1), rule(LIST_MAX + 1, 1)],
        expect![[r#"
            OUT_OF_BOUNDS at jobs[0].retries[1].exit_codes: jobs[0].retries[1].exit_codes: 1001 is outside 0 ..= 1000
            do: use a value from 0 to 1000"#]],
    );
    check(
        |job| job.retries = vec![rule(0, RETRIES_MAX + 1)],
        expect![[r#"
            OUT_OF_BOUNDS at jobs[0].retries[0].times: jobs[0].retries[0].times: 1001 is outside 0 ..= 1000
            do: use a value from 0 to 1000"#]],
    );
}

#[test]
fn a_batch_as_a_whole() {
    check_batch(
        batch(Vec::new()),
        expect![[r#"
        OUT_OF_BOUNDS at jobs: jobs: 0 is outside 1 ..= 1000000
        do: use a value from 1 to 1000000"#]],
    );
    check_batch(
        batch(vec![job("a"), job("b"), job("a")]),
        expect![[r#"
        INVALID at jobs[2].name: jobs[2].name: the job name `a` is already that of jobs[0]
        do: give every job of the batch a name of its own"#]],
    );
    let mut large = job("a");
    large.count = 700_000;
    let mut larger = large.clone();
    larger.name = "b".into();
    check_batch(
        batch(vec![large, larger]),
        expect![[r#"
        OUT_OF_BOUNDS at jobs[].count (sum of tasks): jobs[].count (sum of tasks): 1400000 is outside 1 ..= 1000000
        do: use a value from 1 to 1000000"#]],
    );
    let mut unnamed = batch(vec![job("a")]);
    unnamed.name = String::new();
    check_batch(
        unnamed,
        expect![[r#"
            INVALID at name: name: `` is not a name
            do: use 1 to 128 letters, digits and the signs - _ . +, other than `.` and `..`"#]],
    );
}

#[test]
fn cycles_are_named() {
    let after = |name: &str, needed: &[&str]| {
        let mut job = job(name);
        job.after = needed.iter().copied().map(After::ok).collect();
        job
    };
    check_batch(
        batch(vec![after("a", &["a"])]),
        expect![[r#"
        INVALID at jobs[].after_ok: jobs[].after_ok: the dependencies form a cycle: a -> a
        do: remove one of these dependencies"#]],
    );
    check_batch(
        batch(vec![
            after("a", &["b"]),
            after("b", &["c"]),
            after("c", &["b"]),
        ]),
        expect![[r#"
            INVALID at jobs[].after_ok: jobs[].after_ok: the dependencies form a cycle: b -> c -> b
            do: remove one of these dependencies"#]],
    );
    check_batch(
        batch(vec![after("a", &["zebra"])]),
        expect![[r#"
        INVALID at jobs[0].after_ok: jobs[0].after_ok: there is no job `zebra` in this batch
        do: name a job of the same batch"#]],
    );
    let mut outputs = after("a", &[]);
    outputs.outputs_of = vec!["b".into()];
    check_batch(
        batch(vec![outputs, after("b", &["a"])]),
        expect![[r#"
        INVALID at jobs[].after_ok: jobs[].after_ok: the dependencies form a cycle: a -> b -> a
        do: remove one of these dependencies"#]],
    );
    // Diamonds are no cycles.
    let diamond = vec![
        after("d", &["b", "c"]),
        after("b", &["a"]),
        after("c", &["a"]),
        after("a", &[]),
    ];
    check_batch(batch(diamond), expect!["fine"]);
}

#[test]
fn element_by_element_takes_arrays_of_one_length() {
    let arrays = |there: u32, ends: Ends| {
        let mut skim = job("skim");
        skim.count = 3;
        skim.after = vec![After {
            job: "gen".into(),
            by: By::Element,
            ends,
        }];
        let mut generate = job("gen");
        generate.count = there;
        batch(vec![skim, generate])
    };
    check_batch(arrays(3, Ends::Ok), expect!["fine"]);
    check_batch(
        arrays(2, Ends::Ok),
        expect![[r#"
        INVALID at jobs[0].after_ok_each: jobs[0].after_ok_each: `gen` has 2 tasks and this job 3
        do: give both the same `count`, or wait for the whole job"#]],
    );
    check_batch(
        arrays(2, Ends::Any),
        expect![[r#"
        INVALID at jobs[0].after_any_each: jobs[0].after_any_each: `gen` has 2 tasks and this job 3
        do: give both the same `count`, or wait for the whole job"#]],
    );
    let mut turned = arrays(3, Ends::Any);
    turned.jobs[1].after = vec![After::ok("skim")];
    check_batch(
        turned,
        expect![[r#"
        INVALID at jobs[].after_ok: jobs[].after_ok: the dependencies form a cycle: skim -> gen -> skim
        do: remove one of these dependencies"#]],
    );
}

/// A chain as long as a batch may be is looked through without a deep stack.
#[test]
fn long_chains_do_not_overflow_the_stack() {
    let mut jobs: Vec<JobSpec> = (0..50_000).map(|n| job(&format!("j{n}"))).collect();
    for (position, job) in jobs.iter_mut().enumerate().skip(1) {
        job.after = vec![After::ok(format!("j{}", position - 1))];
    }
    assert_eq!(batch(jobs.clone()).validate(), Ok(()));
    jobs[0].after = vec![After::ok("j49999")];
    assert!(batch(jobs).validate().is_err());
}

#[test]
fn rules_speak_about_codes_and_classes() {
    let rule = |codes: &[(i32, i32)], classes: &[FailureClass]| RetryRule {
        exit_codes: codes.to_vec(),
        classes: classes.iter().copied().collect(),
        times: 1,
        ..RetryRule::default()
    };
    let any = rule(&[], &[]);
    assert!(any.matches(FailureClass::Exit, Some(1)) && any.matches(FailureClass::Walltime, None));
    assert!(
        !any.matches(FailureClass::Lost, None),
        "a loss takes its name"
    );
    let codes = rule(&[(75, 75), (80, 89)], &[]);
    assert!(
        codes.matches(FailureClass::Exit, Some(80)) && !codes.matches(FailureClass::Exit, Some(76))
    );
    assert!(!codes.matches(FailureClass::Signal, None));
    let both = rule(&[(75, 75)], &[FailureClass::Lost]);
    assert!(both.matches(FailureClass::Lost, None) && both.matches(FailureClass::Exit, Some(75)));
    assert!(!both.matches(FailureClass::Exit, Some(1)));
}
