//! Tables of batch files and what is said of them, by behaviour.

#![allow(clippy::unwrap_used)]

mod jobs;
mod telling;
mod values;
mod whole;

use expect_test::Expect;

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
