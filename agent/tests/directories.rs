//! Jobs that meddle with their own directories: what is not an output does not
//! come back.
#![allow(clippy::unwrap_used)]

#[path = "session/peer.rs"]
#[allow(dead_code, reason = "shared with the tests of the session")]
mod peer;
#[path = "session/site.rs"]
#[allow(dead_code, reason = "shared with the tests of the session")]
mod site;

use jeroboam_proto::v1;
use site::{begun, lease, outcome, script};
use v1::outcome::Kind as Outcome;
use v1::scheduler_message::Kind as Down;

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
