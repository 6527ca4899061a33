#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use expect_test::{Expect, expect};

use super::select::select;
use crate::attempt::{LeaseId, LeaseRecord};

fn promised(outputs: &[&str], files_max: u32, bytes_max: u64) -> LeaseRecord {
    let lease = LeaseId {
        lineage: 1,
        job: 1,
        index: 0,
        attempt: 1,
    };
    serde_json::from_value(serde_json::json!({
        "lease": lease, "boot_id": "b", "deadline_ms": 0, "site": "s", "node": "n", "queue": "q",
        "batch": 1, "batch_name": "b", "job_name": "j", "count": 1, "command": ["true"], "env": {},
        "resources": {"cpu_milli": 1, "memory_mib": 1}, "walltime_ms": 1, "grace_ms": 1,
        "on_lost_contact": "restart", "log_bytes_max": 1,
        "outputs": outputs, "outputs_files_max": files_max, "outputs_bytes_max": bytes_max,
    }))
    .unwrap()
}

/// A scratch directory with something of everything, beside a secret.
fn scratch() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let scratch = root.path().join("scratch");
    fs::create_dir_all(scratch.join("out/deep")).unwrap();
    fs::write(root.path().join("secret"), "s").unwrap();
    fs::write(scratch.join("a.json"), "12345").unwrap();
    fs::write(scratch.join("out/b.json"), "123").unwrap();
    fs::write(scratch.join("out/deep/run"), "#!").unwrap();
    fs::set_permissions(
        scratch.join("out/deep/run"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    symlink("a.json", scratch.join("within")).unwrap();
    symlink("../secret", scratch.join("leak")).unwrap();
    symlink("..", scratch.join("up")).unwrap();
    nix::unistd::mkfifo(&scratch.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    root
}

fn check(scratch: &Path, record: &LeaseRecord, expected: Expect) {
    let text = match select(scratch, record) {
        Ok(selected) => selected
            .iter()
            .map(|file| {
                format!(
                    "{} {}{}\n",
                    file.path,
                    file.size_bytes,
                    if file.executable { " x" } else { "" }
                )
            })
            .collect(),
        Err(fault) => fault,
    };
    expected.assert_eq(&text);
}

#[test]
fn outputs_are_what_the_patterns_say_inside_the_scratch_directory() {
    let root = scratch();
    let scratch = root.path().join("scratch");
    for (patterns, expected) in [
        (
            &["a.json"][..],
            expect![[r#"
            a.json 5
        "#]],
        ),
        (
            &["**/*.json", "a.json", "out/**"],
            expect![[r#"
            a.json 5
            out/b.json 3
            out/deep/run 2 x
        "#]],
        ),
        (
            &["within"],
            expect![[r#"
            within 5
        "#]],
        ),
        (
            &["*.json", "*.root"],
            expect![[r#"no file matches the promised output "*.root""#]],
        ),
        (
            &["missing"],
            expect![[r#"no file matches the promised output "missing""#]],
        ),
        (
            &["leak"],
            expect![[r#"the output "leak" is a link that leads out of the scratch directory"#]],
        ),
        (
            &["le*"],
            expect![[r#"the output "leak" is a link that leads out of the scratch directory"#]],
        ),
        (
            &["up/secret"],
            expect![[
                r#"the output "up/secret" is a link that leads out of the scratch directory"#
            ]],
        ),
        (
            &["up/*"],
            expect![[r#"no file matches the promised output "up/*""#]],
        ),
        (
            &["../secret"],
            expect![[
                r#""../secret" does not stay in the scratch directory; use a relative pattern without `..`"#
            ]],
        ),
        (
            &["out"],
            expect![[r#"the output "out" is a directory; write `out/**` for all that is in it"#]],
        ),
        (
            &["pipe"],
            expect![[r#"the output "pipe" is not a regular file"#]],
        ),
    ] {
        check(&scratch, &promised(patterns, 10, 100), expected);
    }
}

#[test]
fn outputs_have_bounds() {
    let root = scratch();
    let scratch = root.path().join("scratch");
    check(
        &scratch,
        &promised(&["**/*.json"], 2, 8),
        expect![[r#"
        a.json 5
        out/b.json 3
    "#]],
    );
    check(
        &scratch,
        &promised(&["**/*.json"], 1, 8),
        expect!["there are more than 1 outputs; pack them into fewer files"],
    );
    check(
        &scratch,
        &promised(&["**/*.json"], 2, 7),
        expect!["the outputs have 8 bytes, the bound is 7; keep large data in the site's storage"],
    );
}
