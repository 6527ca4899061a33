//! Scenarios of the scheduling core: text in, transcript out.
//!
//! Each `scenarios/*.txt` is a little story, one event or question to a line; the
//! core's answers stand below each line, behind `>`. The runner plays the story
//! again and compares. `UPDATE=1 cargo test --test scenarios` writes the answers
//! of today; read the difference before you commit it.
//!
//! Whatever the story, after every event the World's invariants are checked, a
//! rejected event must have changed nothing but the time, every plan is computed
//! a second time on a copy, and now and then the World goes through its
//! serialised form. The language is described in `scenarios/runner.rs`.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "scenarios/cycle.rs"]
mod cycle;
#[path = "scenarios/describe.rs"]
mod describe;
#[path = "scenarios/events.rs"]
mod events;
#[path = "scenarios/runner.rs"]
mod runner;
#[path = "scenarios/sites.rs"]
mod sites;
#[path = "scenarios/submission.rs"]
mod submission;
#[path = "scenarios/tell.rs"]
mod tell;
#[path = "scenarios/words.rs"]
mod words;

use std::path::{Path, PathBuf};

fn stories() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    paths.sort();
    paths
}

#[test]
fn every_story_goes_as_it_is_told() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for path in stories() {
        let told = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let played = runner::play(&name, &told);
        if played == told {
            continue;
        }
        if update {
            std::fs::write(&path, &played).unwrap();
            continue;
        }
        let differs = told
            .lines()
            .zip(played.lines())
            .position(|(told, played)| told != played);
        let line = differs.unwrap_or(told.lines().count().min(played.lines().count()));
        let at = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_string();
        wrong.push(format!(
            "{name}:{}\n  told   {}\n  played {}",
            line + 1,
            at(&told),
            at(&played)
        ));
    }
    assert!(
        wrong.is_empty(),
        "UPDATE=1 writes what happens now\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_story_told_wrongly_is_noticed() {
    let told = "site a owned\nsession a up\nnode a n1 cpu=1\nqueue q\nsubmit b queue=q\n  job j\nround\n> placed job-1[0] on a/n2\n";
    let played = runner::play("made up", told);
    assert_ne!(played, told);
    assert!(played.contains("> placed job-1[0] on a/n1"), "{played}");
}

#[test]
#[should_panic(expected = "made up:1: unknown word")]
fn an_unknown_word_is_no_story() {
    runner::play("made up", "tock 5s\n");
}
