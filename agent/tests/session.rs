//! The agent against a scripted scheduler, with real shims and processes.
#![allow(clippy::unwrap_used)]

#[path = "session/peer.rs"]
mod peer;
#[path = "session/site.rs"]
mod site;

use jeroboam_agent::session::state_dir::{StateDir, StateError};
use jeroboam_proto::v1;
use peer::Session;
use site::{Agent, WAITS, attempt_dir, begun, file, lease, let_go, outcome, script, until};
use v1::outcome::Kind as Outcome;
use v1::scheduler_message::Kind as Down;

#[tokio::test]
async fn a_grant_runs_and_its_outputs_come_back() {
    let (dir, peer, _agent, mut session) = begun().await;
    let mut grant = script(
        1,
        "data/run.sh > out.txt; cat inputs/generate/*/h.json >> out.txt; echo said; echo oops >&2",
    );
    grant.outputs = vec!["*.txt".to_owned()];
    {
        let mut store = peer.store();
        let program = store.add(b"#!/bin/sh\necho ran\n");
        grant.inputs = vec![v1::File {
            executable: true,
            ..file("data/run.sh", program)
        }];
        grant.outputs_of = vec![v1::OutputsOf {
            job: 9,
            name: "generate".to_owned(),
        }];
        let outputs = [(0, "first\n"), (11, "second\n")].map(|(index, text)| v1::TaskOutput {
            task: Some(v1::Task { job: 9, index }),
            file: Some(file("h.json", store.add(text.as_bytes()))),
        });
        store.outputs.insert(9, outputs.to_vec());
    }
    session.say(Down::Grant(grant)).await;
    assert!(matches!(
        session.report().await,
        v1::report::Kind::Starting(_)
    ));
    assert!(matches!(
        session.report().await,
        v1::report::Kind::Running(_)
    ));
    let ended = session.end().await;
    assert_eq!(outcome(&ended), Outcome::ExitCode(0));
    let [output] = ended.outputs.as_slice() else {
        panic!("one output, not {:?}", ended.outputs);
    };
    assert_eq!(output.path, "out.txt");
    assert_eq!(peer.store().content(output), b"ran\nfirst\nsecond\n");
    assert_eq!(peer.store().content(&ended.stdout.unwrap()), b"said\n");
    assert_eq!(peer.store().content(&ended.stderr.unwrap()), b"oops\n");
    assert!(
        attempt_dir(dir.path(), 1).exists(),
        "kept until acknowledged"
    );
    session.ack(lease(1)).await;
    until("its directory is gone", || {
        !attempt_dir(dir.path(), 1).exists()
    })
    .await;
}

#[tokio::test]
async fn an_attempt_that_leaves_nothing_costs_no_call() {
    let (_dir, peer, _agent, mut session) = begun().await;
    session.say(Down::Grant(script(1, "true"))).await;
    let ended = session.end().await;
    assert_eq!(outcome(&ended), Outcome::ExitCode(0));
    assert_eq!((ended.stdout, ended.outputs.len()), (None, 0));
    assert_eq!(peer.store().calls, 0);
}

#[tokio::test]
async fn a_promised_output_that_is_missing_fails_the_attempt_with_its_log() {
    let (_dir, peer, _agent, mut session) = begun().await;
    let mut grant = script(1, "echo nothing");
    grant.outputs = vec!["h.json".to_owned()];
    session.say(Down::Grant(grant)).await;
    let ended = session.end().await;
    let message = "no file matches the promised output \"h.json\"".to_owned();
    assert_eq!(outcome(&ended), Outcome::OutputsFailed(message));
    assert_eq!(peer.store().content(&ended.stdout.unwrap()), b"nothing\n");
}

#[tokio::test]
async fn a_failed_job_keeps_its_own_outcome_and_its_log() {
    let (_dir, peer, _agent, mut session) = begun().await;
    let mut grant = script(1, "echo why >&2; exit 3");
    grant.outputs = vec!["h.json".to_owned()];
    session.say(Down::Grant(grant)).await;
    let ended = session.end().await;
    assert_eq!(outcome(&ended), Outcome::ExitCode(3));
    assert_eq!(peer.store().content(&ended.stderr.unwrap()), b"why\n");
}

#[tokio::test]
async fn an_input_that_is_not_what_its_digest_says_is_never_used() {
    let (_dir, peer, _agent, mut session) = begun().await;
    let mut grant = script(1, "cat a");
    let content = peer.store().add(b"right");
    let wrong = b"wrong".to_vec();
    peer.store().whole.insert(content.digest.clone(), wrong);
    grant.inputs = vec![file("a", content)];
    session.say(Down::Grant(grant)).await;
    let Outcome::StartFailed(message) = outcome(&session.end().await) else {
        panic!("the start was to fail");
    };
    assert!(
        message.contains("what the scheduler sends is not"),
        "{message}"
    );
}

#[tokio::test]
async fn inputs_that_lead_out_or_cannot_be_had_fail_the_start() {
    let (dir, peer, _agent, mut session) = begun().await;
    let content = peer.store().add(b"evil");
    let absolute = dir.path().join("absolute");
    for (job, input) in [
        (1, file("../../../escaped", content.clone())),
        (2, file(absolute.to_str().unwrap(), content)),
        (
            3,
            v1::File {
                path: "a".to_owned(),
                digest: peer::digest(b"unknown"),
                ..Default::default()
            },
        ),
    ] {
        let mut grant = script(job, "true");
        grant.inputs = vec![input];
        session.say(Down::Grant(grant)).await;
        let Outcome::StartFailed(message) = outcome(&session.end().await) else {
            panic!("the start of {job} was to fail");
        };
        assert!(message.starts_with("the input "), "{message}");
        session.ack(lease(job)).await;
    }
    assert!(!dir.path().join("escaped").exists() && !absolute.exists());
}

#[tokio::test]
async fn transfers_that_were_cut_go_on_where_they_stopped() {
    let (_dir, peer, _agent, mut session) = begun().await;
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n * 7 / 3) as u8).collect();
    let mut grant = script(1, "cat big big > out");
    grant.outputs = vec!["out".to_owned()];
    {
        let mut store = peer.store();
        grant.inputs = vec![file("big", store.add(&content))];
        // Two of the download, then its end; two of the upload.
        let cuts = [300_000, 400_000, 0, 600_000, 1_500_000];
        store
            .cuts
            .extend(cuts.map(|bytes| (bytes > 0).then_some(bytes)));
    }
    session.say(Down::Grant(grant)).await;
    let ended = session.end().await;
    assert_eq!(outcome(&ended), Outcome::ExitCode(0));
    let store = peer.store();
    let twice = [content.as_slice(), content.as_slice()].concat();
    assert_eq!(store.content(&ended.outputs[0]), twice);
    let [0, 300_000, 700_000, 0, up_1, up_2] = store.offsets[..] else {
        panic!("each transfer goes on, not {:?}", store.offsets);
    };
    assert!((600_000..1_500_000).contains(&up_1) && up_2 >= 1_500_000);
}

#[tokio::test]
async fn a_small_upload_whose_answer_was_lost_is_settled() {
    let (_dir, peer, _agent, mut session) = begun().await;
    peer.store().cuts.push_back(Some(1));
    session.say(Down::Grant(script(1, "echo small"))).await;
    let ended = session.end().await;
    assert_eq!(peer.store().content(&ended.stdout.unwrap()), b"small\n");
    assert_eq!(peer.store().offsets, [0, 6]);
}

#[tokio::test]
async fn an_agent_that_was_killed_finds_its_shims_again() {
    let (dir, peer, agent, mut session) = begun().await;
    session.say(Down::Grant(script(1, WAITS))).await;
    assert!(matches!(
        session.report().await,
        v1::report::Kind::Running(_)
    ));
    let started = attempt_dir(dir.path(), 1).join("started");
    until("the job has started", || started.exists()).await;
    agent.kill();
    let _agent = Agent::start(&peer, dir.path());
    let mut session = peer.session().await;
    let held = v1::HeldLease {
        lease: Some(lease(1)),
        running: true,
    };
    assert_eq!(session.begin().await, [held]);
    let_go(dir.path(), 1);
    let ended = session.end().await;
    assert_eq!(outcome(&ended), Outcome::ExitCode(7));
    assert_eq!(
        peer.store().content(&ended.stdout.unwrap()),
        b"waiting\ngoing\n"
    );
}

#[tokio::test]
async fn an_end_is_reported_in_every_session_until_acknowledged() {
    let (dir, peer, _agent, mut session) = begun().await;
    session.say(Down::Grant(script(1, WAITS))).await;
    assert!(matches!(
        session.report().await,
        v1::report::Kind::Running(_)
    ));
    drop(session);
    until("the job has its scratch directory", || {
        attempt_dir(dir.path(), 1).join("scratch").exists()
    })
    .await;
    let_go(dir.path(), 1);
    for _ in 0..2 {
        let mut session = peer.session().await;
        let held = session.begin().await;
        assert_eq!(held.len(), 1);
        assert_eq!(outcome(&session.end().await), Outcome::ExitCode(7));
    }
    let mut session = peer.session().await;
    session.begin().await;
    session.end().await;
    session.ack(lease(1)).await;
    until("its directory is gone", || {
        !attempt_dir(dir.path(), 1).exists()
    })
    .await;
    drop(session);
    assert_eq!(peer.session().await.begin().await, []);
}

#[tokio::test]
async fn a_foreign_federation_is_refused_and_what_runs_keeps_running() {
    let (dir, peer, _agent, mut session) = begun().await;
    session.say(Down::Grant(script(1, WAITS))).await;
    assert!(matches!(
        session.report().await,
        v1::report::Kind::Running(_)
    ));
    drop(session);
    let mut foreign = peer.session().await;
    assert_eq!(foreign.hello().await.federation, "lhc");
    foreign.welcome("elsewhere").await;
    assert_eq!(foreign.next().await, None, "it says nothing more");
    drop(foreign);
    let mut session = peer.session().await;
    let held = session.begin().await;
    assert!(held[0].running);
    let_go(dir.path(), 1);
    assert_eq!(outcome(&session.end().await), Outcome::ExitCode(7));
}

#[tokio::test]
async fn a_stop_ends_what_runs_and_an_unknown_one_never_ran() {
    let (_dir, _peer, _agent, mut session) = begun().await;
    session.say(Down::Grant(script(1, WAITS))).await;
    assert!(matches!(
        session.report().await,
        v1::report::Kind::Running(_)
    ));
    for (job, expected) in [
        (1, Outcome::Stopped(v1::Empty {})),
        (2, Outcome::NotRun(v1::Empty {})),
    ] {
        session
            .say(Down::Stop(v1::Stop {
                lease: Some(lease(job)),
                ..Default::default()
            }))
            .await;
        let ended = outcome(&session.end().await);
        // Stopped before its shim had the lock, it never ran.
        let in_time = job == 1 && ended == Outcome::NotRun(v1::Empty {});
        assert!(ended == expected || in_time, "{ended:?}");
    }
}

#[tokio::test]
async fn a_log_is_followed_to_its_end() {
    let (dir, _peer, _agent, mut session) = begun().await;
    session.say(Down::Grant(script(1, WAITS))).await;
    assert!(matches!(
        session.report().await,
        v1::report::Kind::Running(_)
    ));
    let ask = |request, offset, follow, cancel| {
        Down::TailRequest(v1::TailRequest {
            request,
            lease: Some(lease(1)),
            offset,
            follow,
            cancel,
            ..Default::default()
        })
    };
    session.say(ask(5, 0, true, false)).await;
    let first = tail(&mut session).await;
    assert_eq!((first.request, first.offset, first.last), (5, 0, false));
    assert_eq!(&first.data[..], b"waiting\n");
    session.say(ask(6, 4, false, false)).await;
    let piece = tail(&mut session).await;
    assert_eq!(
        (piece.request, piece.offset, &piece.data[..]),
        (6, 4, &b"ing\n"[..])
    );
    assert!(tail(&mut session).await.last, "not followed: it ends there");
    session.say(ask(7, 8, true, false)).await;
    session.say(ask(7, 8, true, true)).await;
    let_go(dir.path(), 1);
    let (mut followed, mut ended) = (None, false);
    while followed.is_none() || !ended {
        match session.next().await.unwrap() {
            v1::agent_message::Kind::TailChunk(chunk) => {
                assert_eq!(chunk.request, 5, "the cancelled one is silent");
                if chunk.last {
                    followed = Some(chunk.offset);
                } else {
                    assert_eq!((chunk.offset, &chunk.data[..]), (8, &b"going\n"[..]));
                }
            }
            _ => ended = true,
        }
    }
    assert_eq!(followed, Some(14));
}

async fn tail(session: &mut Session) -> v1::TailChunk {
    match session.next().await {
        Some(v1::agent_message::Kind::TailChunk(chunk)) => chunk,
        other => panic!("a piece of a log was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn a_damaged_attempt_is_set_aside_once_its_shim_is_gone() {
    let (dir, _peer, agent, mut session) = begun().await;
    session.say(Down::Grant(script(1, WAITS))).await;
    let running = session.report().await;
    assert!(matches!(running, v1::report::Kind::Running(_)));
    let record = attempt_dir(dir.path(), 1).join("lease.json");
    until("the shim has the lock", || {
        attempt_dir(dir.path(), 1).join("started").exists()
    })
    .await;
    agent.kill();
    let mut opened = None;
    until("the agent let go of the directory", || {
        opened = StateDir::open(dir.path(), "meyrin").ok();
        opened.is_some()
    })
    .await;
    let state = opened.unwrap();
    std::fs::write(&record, "{").unwrap();
    let refused = state.found();
    assert!(
        matches!(refused, Err(StateError::DamagedRuns { .. })),
        "{refused:?}"
    );
    assert!(record.exists(), "what runs is not touched");
    let_go(dir.path(), 1);
    until("it is set aside", || state.found().is_ok()).await;
    assert!(!record.exists());
    assert!(dir.path().join("attempts.damaged/1-1-4-2").is_dir());
}

/// Removed, and replaced by one that tells another story.
#[tokio::test]
async fn an_attempt_whose_directory_is_gone_fails_and_gives_its_place_back() {
    let (dir, _peer, _agent, mut session) = begun().await;
    let replace = "d=${JERO_SCRATCH%/scratch}; mv $d $d.away; mkdir $d; cp $d.away/lease.json $d; touch $d/lock";
    for (job, how) in [(1, "rm -rf ${JERO_SCRATCH%/scratch}"), (2, replace)] {
        let mark = format!("310{job}.{}", std::process::id());
        let mut grant = script(job, &format!("{how}; sleep {mark}"));
        // Nothing else ends it within the test's patience.
        grant.walltime_ms = 600_000;
        session.say(Down::Grant(grant)).await;
        let Outcome::OutputsFailed(message) = outcome(&session.end().await) else {
            panic!("the attempt was to fail");
        };
        assert!(message.contains("removed or replaced"), "{message}");
        assert!(!is_alive(&mark), "it has ended");
        session.ack(lease(job)).await;
        until("its directory is gone", || {
            !attempt_dir(dir.path(), job).exists()
        })
        .await;
    }
}

#[tokio::test]
async fn what_lost_its_directory_has_ended_before_an_agent_lists_its_attempts() {
    let (dir, _peer, agent, mut session) = begun().await;
    let mark = format!("3103.{}", std::process::id());
    session
        .say(Down::Grant(script(1, &format!("echo > go; sleep {mark}"))))
        .await;
    until("the job runs", || is_alive(&mark)).await;
    agent.kill();
    let mut opened = None;
    until("the agent let go of the directory", || {
        opened = StateDir::open(dir.path(), "meyrin").ok();
        opened.is_some()
    })
    .await;
    std::fs::rename(attempt_dir(dir.path(), 1), dir.path().join("away")).unwrap();
    assert_eq!(opened.unwrap().found().unwrap(), []);
    assert!(!is_alive(&mark));
}

/// Whether a process has this word on its command line.
fn is_alive(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| {
        line.split(|byte| *byte == 0)
            .any(|argument| argument == word.as_bytes())
    })
}

#[tokio::test]
async fn inputs_that_the_site_cannot_keep_are_not_the_tasks_failure() {
    let (dir, peer, _agent, mut session) = begun().await;
    std::fs::remove_dir_all(dir.path().join("cache")).unwrap();
    let mut grant = script(1, "true");
    grant.inputs = vec![file("a", peer.store().add(b"content"))];
    session.say(Down::Grant(grant)).await;
    let ended = session.end().await;
    assert_eq!(outcome(&ended), Outcome::NotRun(v1::Empty {}));
}
