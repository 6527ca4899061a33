//! How faults are told.

use expect_test::expect;

use super::*;

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
