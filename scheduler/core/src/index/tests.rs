//! The index against a scan, whatever happens between two questions.

#![allow(clippy::unwrap_used)]

mod life;

use crate::event::Event;
use crate::ids::ClassId;
use crate::site::{Contract, SiteSpec};
use crate::spec::Needs;
use crate::time::HOUR_MS;
use proptest::prelude::*;

use life::{Act, Life, NodeAct, START, act, apart, node_act};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The index finds what a scan finds, whatever happened before.
    #[test]
    fn finds_what_a_scan_finds(
        nodes in prop::collection::vec(node_act(), 0..90),
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut life = Life::new(&nodes);
        for act in &acts {
            life.act(act);
            life.world.check();
        }
        for class in life.classes() {
            life.ask(class);
        }
    }

    /// The same where two tenants ask to be kept apart.
    #[test]
    fn finds_what_a_scan_finds_for_tenants(
        nodes in prop::collection::vec(node_act(), 0..60),
        acts in prop::collection::vec(act(), 1..120),
        late in 0usize..120,
    ) {
        let mut life = Life::new(&nodes);
        life.submit("mine", apart());
        for (position, act) in acts.iter().enumerate() {
            if position == late {
                life.settle();
                life.submit("others", apart());
            }
            life.act(act);
            life.world.check();
        }
        for class in life.classes() {
            life.ask(class);
        }
    }
}

fn plain(site: u8, name: u8) -> NodeAct {
    NodeAct {
        site,
        name,
        cpu: 3,
        memory: 5,
        disk: 1,
        gpu: 0,
        extended: 0,
        kind: 1,
    }
}

/// The class of these needs.
fn class_of(life: &Life, wanted: impl Fn(&Needs) -> bool) -> ClassId {
    let classes = life.world.classes();
    let found = classes.iter().find(|class| wanted(classes.needs(*class)));
    found.unwrap()
}

/// A block's bound from when it was another cell's does not let a node pass that is
/// not of the kind any more.
#[test]
fn a_block_that_another_cell_took_over_is_not_of_the_old_kind() {
    let mut life = Life::new(&[NodeAct {
        kind: 2,
        ..plain(0, 1)
    }]);
    let class = class_of(&life, |needs| needs.labels.contains_key("rack"));
    assert!(life.ask(class).is_some());
    // The only node changes its rack: its cell dies, and the next takes the block.
    life.report(&plain(0, 1), false);
    assert_eq!(life.ask(class), None);
}

/// Budget that is given back within a round opens the site again.
#[test]
fn a_budget_given_back_is_found() {
    let mut life = Life::new(&[plain(2, 1)]);
    // 30,000 for a core-hour, and about what one hour of one core costs.
    life.site(2, 4, 8);
    let contract = Contract {
        start: START,
        end: START + 100 * HOUR_MS,
        price_micro_eur_per_core_hour: 30_000,
        budget_micro_eur: Some(40_000),
    };
    life.apply(Event::SiteDeclared(SiteSpec {
        name: "c".into(),
        region: String::new(),
        contract: Some(contract),
    }));
    let class = class_of(&life, |needs| {
        needs.resources[0] == 1_000 && needs.walltime_ms == HOUR_MS && needs.labels.is_empty()
    });
    life.place(class);
    assert_eq!(life.taken.len(), 1, "one is paid for");
    assert_eq!(life.ask(class), None);
    life.act(&Act::Give { which: 0 });
    assert!(life.ask(class).is_some());
}

/// A node that is smaller than those of its shape so far makes the needs of the shape
/// larger: what was computed before does not bound its score.
#[test]
fn a_shape_that_widens_is_looked_at_again() {
    let with_memory = |name: u8, memory: u8| NodeAct {
        memory,
        ..plain(0, name)
    };
    let mut life = Life::new(&[with_memory(1, 3)]);
    let class = class_of(&life, |needs| {
        needs.resources[0] == 3_300
            && needs.walltime_ms == HOUR_MS
            && needs.sites_excluded.is_empty()
    });
    let first = life.ask(class).unwrap();
    life.report(&with_memory(2, 2), false);
    life.masked.insert(first);
    life.world
        .with_index(|world, index| index.mask(world, first));
    assert!(life.ask(class).is_some());
}
