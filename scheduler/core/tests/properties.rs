//! Properties of the core under random sequences of events.
//!
//! `life` drives a World through submissions, rounds, reports in any order (stale and doubled
//! ones too), changes by hand, sessions, inventories, capacity, contracts, policies, restarts
//! and restores, and states what must hold after each. `reference` is a slow and obvious
//! reading of the fair-share rules, against which the real order and water-filling are held.

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
#[path = "properties/reference.rs"]
mod reference;
#[path = "properties/states.rs"]
mod states;
#[path = "properties/usage.rs"]
mod usage;

use jeroboam_core::round::order::Order;
use jeroboam_core::round::share::{Shares, Water, pour};
use life::Life;
use proptest::prelude::*;
use reference::Reference;

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whose task goes next, step by step through a round in which some fit and some do not.
    #[test]
    fn the_order_is_the_obvious_one(state in states::state(), fits in prop::collection::vec(prop::bool::weighted(0.8), 24)) {
        let (world, now) = states::build(&state);
        let mut order = Order::new(&world, now);
        let mut reference = Reference::new(&world, now);
        for fits in fits {
            let expected = reference.first();
            prop_assert_eq!(order.first(), expected);
            let Some(head) = expected else { break };
            if fits {
                prop_assert_eq!(order.place(&head), reference.place(&head));
            } else {
                order.fail(head.class);
                reference.fail(head.class);
            }
        }
    }

    /// Entitlements and levels of whole trees.
    #[test]
    fn the_shares_are_the_obvious_ones(state in states::state()) {
        let (world, now) = states::build(&state);
        let shares = Shares::new(&world, now);
        let reference = Reference::new(&world, now);
        for queue in world.queues().iter() {
            prop_assert_eq!(*shares.of(queue.id), reference.share(queue.id), "{}", queue.spec.name);
        }
    }

    /// Water-filling: as the obvious one says, nobody gets more than it asks for, nothing is
    /// left while somebody of weight wants more, and the levels follow the weights.
    #[test]
    fn water_finds_its_level(
        vessels in prop::collection::vec((prop_oneof![Just(0i64), 1i64..5, 1i64..65_537], 0i64..5_000), 0..8),
        available in 0i64..10_000,
    ) {
        let mut waters: Vec<Water> = vessels
            .iter()
            .map(|(weight, demand)| Water { weight: *weight, demand: *demand, ..Water::default() })
            .collect();
        let expected = reference::pour(&vessels, available);
        pour(&mut waters, available);
        let got: Vec<(i64, i64)> = waters.iter().map(|w| (w.entitlement, w.level)).collect();
        prop_assert_eq!(&got, &expected);
        let total: i64 = waters.iter().map(|water| water.entitlement).sum();
        // A share is at least the smallest fraction there is, which may go beyond by as many.
        prop_assert!(total <= available + waters.len() as i64);
        let unmet = waters.iter().any(|water| water.weight > 0 && water.entitlement < water.demand);
        prop_assert!(!unmet || total + waters.len() as i64 >= available);
    }
}
