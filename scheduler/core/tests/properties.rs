//! Properties of the core under random sequences of events.
//!
//! `life` drives a World through submissions, rounds, reports in any order (stale and doubled
//! ones too), changes by hand, sessions, inventories, capacity, contracts, policies, restarts
//! and restores, and states what must hold after each. Slow and obvious readings of the orders
//! stand in the test `reference`.

#![allow(clippy::unwrap_used)]

#[path = "properties/act.rs"]
mod act;
#[path = "properties/draw.rs"]
mod draw;
#[path = "properties/finish.rs"]
mod finish;
#[path = "properties/life.rs"]
mod life;
#[path = "properties/make.rs"]
mod make;
#[path = "properties/tenants.rs"]
mod tenants;
#[path = "properties/usage.rs"]
mod usage;

use life::Life;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// Whatever happens: the invariants hold, a rejected event leaves no trace, plans are
    /// taken as they are and fill what can be filled, and in the end every task has ended
    /// exactly once.
    #[test]
    fn any_sequence_of_events_keeps_the_rules(acts in prop::collection::vec(act::act(), 1..90)) {
        let mut life = Life::new();
        acts.iter().for_each(|act| life.act(act));
        life.finish();
    }

    /// The same events give the same bytes, also with a restart from the serialised form
    /// anywhere between, and every plan comes out again where it stands.
    #[test]
    fn the_same_events_give_the_same_bytes(
        acts in prop::collection::vec(act::act(), 1..90),
        restart in 0usize..200,
    ) {
        let mut life = Life::new();
        acts.iter().for_each(|act| life.act(act));
        let bytes = postcard::to_stdvec(life.world()).unwrap();
        prop_assert_eq!(postcard::to_stdvec(&life.replay(None)).unwrap(), bytes.clone());
        prop_assert_eq!(postcard::to_stdvec(&life.replay(Some(restart))).unwrap(), bytes);
    }
}
