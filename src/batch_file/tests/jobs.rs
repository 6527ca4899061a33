//! Faults of jobs and of what is between them.

use expect_test::expect;

use super::*;

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
fn element_by_element() {
    let batch = |jobs: &str| format!("queue: cms\ndefaults: {{run: x}}\njobs:\n{jobs}");
    check(
        &batch(
            "  - {name: gen, count: 3}\n  - {name: skim, count: 2, after_ok_each: gen}\n  - {name: tidy, after_any_each: [skim, gne]}\n",
        ),
        expect![[r#"
            batch.yaml:5:43: `gen` has 3 tasks and this job 2
                 5 |   - {name: skim, count: 2, after_ok_each: gen}
                   |                                           ^
              do: give both the same `count`, or wait for the whole job with `after_ok`
            batch.yaml:6:35: `skim` has 2 tasks and this job 1
                 6 |   - {name: tidy, after_any_each: [skim, gne]}
                   |                                   ^
              do: give both the same `count`, or wait for the whole job with `after_ok`
            batch.yaml:6:41: there is no job `gne` in this batch
                 6 |   - {name: tidy, after_any_each: [skim, gne]}
                   |                                         ^
              do: did you mean `gen`?"#]],
    );
    check(
        &batch(
            "  - {name: a, count: 2, after_any_each: b}\n  - {name: b, count: 2, after_any: a}\n",
        ),
        expect![[r#"
            batch.yaml:5:36: these jobs wait for each other: a -> b -> a
                 5 |   - {name: b, count: 2, after_any: a}
                   |                                    ^
              do: remove one of these dependencies"#]],
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
          do: there is none to name here"#]],
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
              do: there is none to name here"#]],
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
