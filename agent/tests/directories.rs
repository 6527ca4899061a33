//! Jobs that meddle with their own directories, and directories that cannot be
//! removed: neither costs the site its agent, nor gets what is not an output.
#![allow(clippy::unwrap_used)]

#[path = "session/peer.rs"]
#[allow(dead_code, reason = "shared with the tests of the session")]
mod peer;
#[path = "session/site.rs"]
#[allow(dead_code, reason = "shared with the tests of the session")]
mod site;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use jeroboam_agent::attempt::Leftovers;
use jeroboam_proto::v1;
use site::{Agent, attempt_dir, begun, lease, outcome, script, until};
use v1::outcome::Kind as Outcome;
use v1::scheduler_message::Kind as Down;

/// A directory in which nothing can be removed until this is dropped.
struct Unremovable(PathBuf);

impl Unremovable {
    /// `None` where this user may forbid it by no means.
    fn make(path: &Path) -> Option<Self> {
        let forbidden = [&["chattr", "+i"][..], &["mount", "-t", "tmpfs", "none"]]
            .iter()
            .any(|words| succeeds(Command::new(words[0]).args(&words[1..]).arg(path)));
        if !forbidden {
            println!("skipped: this user can neither use chattr nor mount");
        }
        forbidden.then(|| Self(path.to_owned()))
    }
}

impl Drop for Unremovable {
    fn drop(&mut self) {
        succeeds(Command::new("chattr").arg("-i").arg(&self.0));
        succeeds(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn succeeds(command: &mut Command) -> bool {
    let output = command.output();
    output.is_ok_and(|output| output.status.success())
}

/// What stands beside the attempts' own directories.
fn foreign(state_dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state_dir.join("attempts")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_foreign =
        |path: &PathBuf| path.to_str().unwrap().contains("/.old-") || path.extension().is_some();
    paths.filter(is_foreign).collect()
}

#[tokio::test]
async fn what_cannot_be_removed_does_not_end_the_agent() {
    let (dir, peer, agent, mut session) = begun().await;
    session.say(Down::Grant(script(1, "true"))).await;
    session.end().await;
    let Some(mut fixed) = Unremovable::make(&attempt_dir(dir.path(), 1).join("scratch")) else {
        return;
    };
    session.ack(lease(1)).await;
    until("it is no attempt any more", || {
        !attempt_dir(dir.path(), 1).exists()
    })
    .await;
    let [left] = &foreign(dir.path())[..] else {
        panic!("one directory is left, not {:?}", foreign(dir.path()));
    };
    fixed.0 = left.join("scratch");
    agent.kill();
    let agent = Agent::start(&peer, dir.path());
    let mut session = peer.session().await;
    assert_eq!(session.begin().await, []);
    session.say(Down::Grant(script(2, "exit 3"))).await;
    assert_eq!(outcome(&session.end().await), Outcome::ExitCode(3));
    assert!(left.exists(), "it is left aside");
    agent.kill();
    drop(fixed);
    let _agent = Agent::start(&peer, dir.path());
    peer.session().await.begin().await;
    assert_eq!(foreign(dir.path()), [""; 0].map(PathBuf::from));
}

#[tokio::test]
async fn what_a_job_renamed_goes_with_an_attempt() {
    let (dir, _peer, _agent, mut session) = begun().await;
    let rename = "d=${JERO_SCRATCH%/scratch}; mv $d $d.evil; sleep 60";
    session.say(Down::Grant(script(1, rename))).await;
    let Outcome::OutputsFailed(message) = outcome(&session.end().await) else {
        panic!("the attempt was to fail");
    };
    assert!(message.contains("removed or replaced"), "{message}");
    assert_eq!(foreign(dir.path()).len(), 1);
    session.ack(lease(1)).await;
    until("what it renamed is gone", || foreign(dir.path()).is_empty()).await;
}

#[tokio::test]
async fn what_a_running_job_renamed_is_not_taken_from_it() {
    let (dir, _peer, agent, mut session) = begun().await;
    session.say(Down::Grant(script(1, "sleep 60"))).await;
    until("it has started", || {
        attempt_dir(dir.path(), 1).join("started").exists()
    })
    .await;
    agent.kill();
    let evil = dir.path().join("attempts/1-1-4-2.evil");
    std::fs::rename(attempt_dir(dir.path(), 1), &evil).unwrap();
    let leftovers = Leftovers::new(&dir.path().join("attempts"));
    leftovers.sweep(Instant::now());
    assert!(evil.join("lease.json").exists(), "its shim holds the lock");
}

#[tokio::test]
async fn a_scratch_directory_that_was_replaced_has_no_outputs() {
    let (dir, peer, _agent, mut session) = begun().await;
    let site = dir.path().join("site");
    std::fs::create_dir(&site).unwrap();
    std::fs::write(site.join("passwd"), "secret\n").unwrap();
    let (to, from) = (site.display(), "$JERO_SCRATCH");
    for (job, how) in [
        (1, format!("rm -rf {from}; ln -s {to} {from}")),
        (
            2,
            format!("rm -rf {from}; cp -r {to} {to}.2; mv {to}.2 {from}"),
        ),
        (
            3,
            format!("mv {from} {from}.away; mkdir {from}; cp {to}/passwd {from}"),
        ),
    ] {
        let mut grant = script(job, &how);
        grant.outputs = vec!["passwd".to_owned()];
        session.say(Down::Grant(grant)).await;
        let ended = outcome(&session.end().await);
        let Outcome::OutputsFailed(message) = ended else {
            panic!("{how}: was to fail, not {ended:?}");
        };
        assert!(message.contains("scratch directory was"), "{message}");
        session.ack(lease(job)).await;
    }
    assert_eq!(peer.store().whole.len(), 0, "nothing was sent");
}

#[tokio::test]
async fn an_output_whose_name_is_no_text_fails_the_attempt() {
    let (_dir, peer, _agent, mut session) = begun().await;
    for (job, path, pattern, named) in [
        (1, r"a\377.root", "*.root", "a\u{fffd}.root"),
        (2, r"d\377/b.root", "**/*.root", "d\u{fffd}/b.root"),
    ] {
        let make = format!("f=$(printf '{path}'); mkdir -p \"$(dirname \"$f\")\"; echo 1 > \"$f\"");
        let mut grant = script(job, &format!("{make}; echo 2 > good.root"));
        grant.outputs = vec![pattern.to_owned()];
        session.say(Down::Grant(grant)).await;
        let ended = outcome(&session.end().await);
        let Outcome::OutputsFailed(message) = ended else {
            panic!("{path}: was to fail, not {ended:?}");
        };
        assert!(message.contains(named), "{message}");
        assert!(message.contains("not UTF-8"), "{message}");
        session.ack(lease(job)).await;
    }
    let mut grant = script(3, "echo 1 > $(printf 'a\\377.tmp'); echo 2 > good.root");
    grant.outputs = vec!["*.root".to_owned()];
    session.say(Down::Grant(grant)).await;
    let ended = session.end().await;
    assert_eq!(
        outcome(&ended),
        Outcome::ExitCode(0),
        "no output, no matter"
    );
    assert_eq!(peer.store().content(&ended.outputs[0]), b"2\n");
}
