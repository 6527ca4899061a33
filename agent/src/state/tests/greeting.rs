//! How a session comes about: hello, welcome, inventory, and whose scheduler it is.

use super::*;

#[test]
fn a_hello_carries_no_leases_and_the_inventory_waits_for_the_welcome() {
    let (mut site, _) = Site::with(vec![running(lease(1), 9_000)]);
    let effects = site.open();
    assert!(
        matches!(sent(&effects)[..], [Up::Hello { .. }]),
        "{effects:?}"
    );
    let effects = site.hear(welcome(4));
    let leases = vec![(lease(1), true)];
    assert_eq!(sent(&effects), [&Up::Inventory { session: 4, leases }]);
}

#[test]
fn an_inventory_lists_every_lease_whatever_its_state() {
    let mut site = Site::current();
    site.hear(Down::Grant(Box::new(record(lease(1)))));
    site.run(lease(2));
    site.run(lease(3));
    site.end(lease(3));
    let effects = site.open();
    assert_eq!(sent(&effects).len(), 1);
    let effects = site.hear(welcome(2));
    let leases = vec![(lease(1), false), (lease(2), true), (lease(3), false)];
    assert_eq!(sent(&effects), [&Up::Inventory { session: 2, leases }]);
}

#[test]
fn another_federation_is_refused_and_what_runs_keeps_running() {
    let (mut site, _) = Site::with(vec![running(lease(1), 20_000)]);
    site.open();
    let mut foreign = welcome(1);
    if let Down::Welcome(welcome) = &mut foreign {
        welcome.federation = "other".into();
    }
    let effects = site.hear(foreign);
    let why = Closed::ForeignFederation {
        ours: "fed".into(),
        theirs: "other".into(),
    };
    let connection = 1;
    let close = Effect::CloseStream { connection, why };
    assert_eq!(effects, [Effect::CancelTails, close]);
    assert_eq!(site.machine.held(), 1);
    assert_eq!(site.hear(verdict(&[], &[lease(1)], &[])), []);
}

#[test]
fn a_deposed_scheduler_is_not_listened_to() {
    let mut site = Site::current();
    site.open();
    let mut older = welcome(2);
    if let Down::Welcome(welcome) = &mut older {
        welcome.term = 0;
    }
    let effects = site.hear(older);
    assert_eq!(sent(&effects), Vec::<&Up>::new());
    let why = Closed::OlderTerm { term: 0, seen: 1 };
    let connection = 2;
    assert!(effects.contains(&Effect::CloseStream { connection, why }));
}

#[test]
fn a_new_allegiance_is_on_disk_before_anything_is_listed() {
    let (mut machine, _) = Machine::recover(settings(), Allegiance::default(), Vec::new());
    machine.handle(1, Input::StreamOpened { connection: 1 });
    let (connection, sequence, message) = (1, 1, welcome(1));
    let welcome = Input::Received {
        connection,
        sequence,
        message,
    };
    let effects = machine.handle(2, welcome);
    let allegiance = Allegiance {
        federation: "fed".into(),
        lineage: LINEAGE,
    };
    let persist = Effect::PersistAllegiance {
        connection,
        allegiance,
    };
    assert_eq!(effects, [persist]);
    let effects = machine.handle(3, Input::AllegiancePersisted { connection });
    assert!(matches!(sent(&effects)[..], [Up::Inventory { .. }]));
}

#[test]
fn an_allegiance_that_could_not_be_written_is_written_in_the_next_session() {
    let (mut machine, _) = Machine::recover(settings(), Allegiance::default(), Vec::new());
    for connection in 1..3 {
        machine.handle(1, Input::StreamOpened { connection });
        let (sequence, message) = (1, welcome(connection));
        let effects = machine.handle(
            2,
            Input::Received {
                connection,
                sequence,
                message,
            },
        );
        let persisted = |effect: &Effect| matches!(effect, Effect::PersistAllegiance { .. });
        assert!(effects.iter().any(persisted), "{connection}: {effects:?}");
        machine.handle(3, Input::StreamBroken { connection });
    }
}

#[test]
fn a_session_that_does_not_come_about_is_given_up() {
    let (mut site, _) = Site::with(Vec::new());
    site.open();
    site.hear(welcome(1));
    assert_eq!(site.machine.wake_ms(), Some(61_000));
    assert_eq!(site.at(60_999).handle(Input::Tick), []);
    let effects = site.at(61_000).handle(Input::Tick);
    let (connection, why) = (1, Closed::NoVerdict(60_000));
    assert!(effects.contains(&Effect::CloseStream { connection, why }));
}
