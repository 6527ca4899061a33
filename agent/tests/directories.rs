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
