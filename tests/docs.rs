//! The documents name what is there: every path between back-ticks exists, and
//! what is quoted is quoted as it is.
//!
//! A path may be written from the root or from any directory below it, as
//! `round/order.rs` is where the core is spoken of; a module's directory may be
//! named without its ending.
#![allow(clippy::unwrap_used, reason = "a test's surprise is its failure")]

use jeroboam_core::reason::WaitingReason;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A back-ticked word with one of these endings is a path, also without a slash.
const ENDINGS: [&str; 5] = [".rs", ".md", ".toml", ".yaml", ".txt"];

/// Paths that are somewhere else: below the data directory, in what is built,
/// in a user's directories, or at a source on the web.
const ELSEWHERE: [&str; 11] = [
    "DATA_DIR/address",
    "DIR/JOB-NAME/INDEX/PATH",
    "data/lhc-hxswg/sm",
    "inputs/JOB/INDEX",
    "journal",
    "journal.found",
    "journal.refused",
    "snapshots",
    "snapshots/through-N.damaged",
    "spool",
    "target/release/jero",
];

#[test]
fn every_path_in_the_documents_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeSet::new();
    walk(root, root, &mut there);
    let documents = there.iter().filter(|path| is_document(path));
    let mut looked_at = 0;
    let mut missing = Vec::new();
    for document in documents {
        let text = fs::read_to_string(root.join(document)).unwrap();
        for (number, line) in text.lines().enumerate() {
            for path in paths(line) {
                looked_at += 1;
                if !exists(&there, path) {
                    missing.push(format!("{document}:{}: `{path}`", number + 1));
                }
            }
        }
    }
    assert!(looked_at > 50, "only {looked_at} paths were found at all");
    assert!(
        missing.is_empty(),
        "not there; name what is, or add it to ELSEWHERE:\n{}",
        missing.join("\n")
    );
}

#[test]
fn the_readme_quotes_its_example_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let example = fs::read_to_string(root.join("examples/hello.yaml")).unwrap();
    let quoted = format!("$ cat examples/hello.yaml\n{example}");
    assert!(
        readme.contains(&quoted),
        "README.md does not have:\n{quoted}"
    );
}

#[test]
fn every_waiting_reason_stands_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let commands = fs::read_to_string(root.join("docs/commands.md")).unwrap();
    let row = |reason: WaitingReason| {
        format!(
            "| `{}` | {} | {} |",
            reason.code(),
            reason.text(),
            reason.remedy()
        )
    };
    let rows = WaitingReason::all().map(row);
    let missing: Vec<String> = rows
        .filter(|row| !commands.contains(row.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/commands.md does not have:\n{}",
        missing.join("\n")
    );
}

fn is_document(path: &str) -> bool {
    path.ends_with(".md") && (path.starts_with("docs/") || !path.contains('/'))
}

/// All files and directories below `dir`, relative to `root`.
fn walk(root: &Path, dir: &Path, there: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        if ["target", ".git"].contains(&name) {
            continue;
        }
        there.insert(name.to_owned());
        if entry.file_type().unwrap().is_dir() {
            walk(root, &path, there);
        }
    }
}

/// The back-ticked words of a line that are meant as paths.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let ending = |word: &str| {
        ENDINGS
            .iter()
            .any(|e| word.len() > e.len() && word.ends_with(e))
    };
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter(move |word| word.chars().all(plain) && (word.contains('/') || ending(word)))
        // Absolute paths are those of a machine that runs it.
        .filter(|word| !word.starts_with('/'))
        .map(|word| word.trim_end_matches('/'))
        .filter(|word| !ELSEWHERE.contains(word))
}

fn exists(there: &BTreeSet<String>, path: &str) -> bool {
    let below = format!("/{path}");
    there.contains(path) || there.iter().any(|file| file.ends_with(&below))
}
