//! What comes over a stream, and when it is given up.

use super::*;

#[test]
fn messages_of_closed_sessions_are_not_read() {
    let mut site = Site::current();
    site.run(lease(1));
    site.end(lease(1));
    site.join(&[lease(1)]);
    let late = [
        Down::Ack(lease(1)),
        Down::Grant(Box::new(record(lease(2)))),
        Down::Stop(lease(1)),
        Down::Renewed(1),
    ];
    for (message, sequence) in late.iter().zip(3..) {
        let effects = site.handle(Input::Received {
            connection: 1,
            sequence,
            message: message.clone(),
        });
        assert_eq!(effects, [], "{message:?}");
    }
    // Nor after a stream is gone with none in its place.
    site.lose();
    for message in late {
        assert_eq!(site.hear(message), []);
    }
}

#[test]
fn sequence_numbers_count_per_session() {
    let mut site = Site::current();
    site.handle(Input::Tick);
    let again = site.join(&[]);
    let numbers = |effects: &[Effect]| -> Vec<u64> {
        let number = |effect: &Effect| match effect {
            Effect::Send { sequence, .. } => Some(*sequence),
            _ => None,
        };
        effects.iter().filter_map(number).collect()
    };
    assert_eq!(numbers(&again), [1, 2, 3]);
}

#[test]
fn a_repeated_message_is_read_once_and_a_missing_one_ends_the_stream() {
    let mut site = Site::current();
    let grant = Down::Grant(Box::new(record(lease(1))));
    assert_eq!(site.hear(grant.clone()).len(), 1);
    site.sequence -= 1;
    assert_eq!(site.hear(grant.clone()), []);
    site.sequence += 1;
    let effects = site.hear(Down::Grant(Box::new(record(lease(2)))));
    let closed = |effect: &Effect| matches!(effect, Effect::CloseStream { .. });
    assert!(effects.iter().any(closed), "{effects:?}");
    assert!(deadlines(&effects).is_empty());
}

#[test]
fn a_silent_scheduler_is_hung_up_on() {
    let mut site = Site::current();
    for beat in 1..=4 {
        let effects = site.at(1_000 + beat * BEAT).handle(Input::Tick);
        assert!(matches!(sent(&effects)[..], [Up::Heartbeat(_)]), "{beat}");
    }
    let effects = site.at(1_000 + 5 * BEAT).handle(Input::Tick);
    let (connection, why) = (1, Closed::Silent { unanswered: 4 });
    assert!(effects.contains(&Effect::CloseStream { connection, why }));
}

#[test]
fn logs_are_read_for_their_stream_only() {
    let mut site = Site::current();
    site.run(lease(1));
    let request = |job| TailRequest {
        request: 5,
        lease: lease(job),
        stream: Log::Stdout,
        offset: 3,
        follow: true,
    };
    let effects = site.hear(Down::Tail(request(2)));
    assert_eq!(sent(&effects), [&Up::TailChunk(TailChunk::nothing(5, 3))]);
    let effects = site.hear(Down::Tail(request(1)));
    assert!(matches!(
        effects[..],
        [Effect::StartTail { connection: 1, .. }]
    ));
    let read = |connection| Input::TailRead {
        connection,
        chunk: TailChunk::nothing(5, 3),
    };
    assert_eq!(sent(&site.handle(read(1))).len(), 1);
    assert!(site.join(&[lease(1)]).contains(&Effect::CancelTails));
    assert_eq!(site.handle(read(1)), []);
}

#[test]
fn what_the_scheduler_wants_known_is_told_to_the_operator() {
    let mut site = Site::current();
    let told = SchedulerNotice {
        code: "over-committed".to_owned(),
        node: "n1".to_owned(),
        text: "more runs than there is".to_owned(),
        remedy: "drain it".to_owned(),
    };
    let effects = site.hear(Down::Notice(told.clone()));
    assert_eq!(effects, [Effect::Notice(Notice::Told(told))]);
}
