//! What is too large, of which nodes, and when that is known.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::event::Event;
use crate::site::{Contract, NodeReport, SiteSpec};
use crate::spec::{Coe, JobSpec};
use expect_test::{Expect, expect};

const NOW: TimeMs = TimeMs(1_000_000);

fn declare(world: &mut World, name: &str, end: Option<i64>) {
    let contract = end.map(|end| Contract {
        start: TimeMs(0),
        end: TimeMs(end),
        price_micro_eur_per_core_hour: 0,
        budget_micro_eur: None,
    });
    let declared = Event::SiteDeclared(SiteSpec {
        name: name.into(),
        region: String::new(),
        contract,
    });
    world.apply(NOW, &declared).unwrap();
}

/// Nodes named `NAME: cores memory gpus`, in one full report.
fn report(world: &mut World, site: &str, nodes: &str) {
    let session = world.find_site(site).unwrap().session;
    if session.is_none() {
        let opened = Event::SessionOpened {
            site: site.into(),
            session: 1,
            incarnation: "i".into(),
            agent_version: String::new(),
            leases: BTreeSet::new(),
        };
        world.apply(NOW, &opened).unwrap();
    }
    let reported = Event::CapacityReported {
        site: site.into(),
        session: 1,
        full: true,
        nodes: nodes.split_terminator(", ").map(node).collect(),
        removed: Vec::new(),
    };
    world.apply(NOW, &reported).unwrap();
}

fn node(text: &str) -> NodeReport {
    let (name, amounts) = text.split_once(": ").unwrap();
    NodeReport {
        name: name.into(),
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: String::new(),
        runtimes: Vec::new(),
        capacity: amounts_of(amounts),
        labels: [("name".to_string(), name.to_string())].into(),
        taints: BTreeSet::new(),
        speed_milli: 10_000,
        schedulable: true,
    }
}

fn amounts_of(text: &str) -> Resources {
    let mut numbers = text.split(' ').map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap_or(0);
    Resources::of(next(), next(), 0, next())
}

fn needs(asked: &str) -> Needs {
    Needs::new(amounts_of(asked), 1)
}

fn batch(jobs: &[&str]) -> BatchSpec {
    let job = |asked: &&str| JobSpec::new("a", needs(asked));
    BatchSpec {
        name: "b".into(),
        queue: "q".into(),
        jobs: jobs.iter().map(job).collect(),
    }
}

fn text(world: &World, shortage: &Shortage) -> String {
    let name = |id: NodeId| world.node(id).report.name.clone();
    let closest = shortage.closest.map(name);
    let lacks = shortage.lacks.iter().map(|lack| {
        let node = lack.node.map_or_else(|| "nobody".into(), name);
        let Lack {
            dimension,
            asked,
            largest,
            ..
        } = lack;
        format!("[{dimension}] {asked} of {largest} at {node}")
    });
    let lacks: Vec<String> = lacks.collect();
    match closest {
        None => lacks.join(", "),
        Some(node) => format!("together: {node}: {}", lacks.join(", ")),
    }
}

/// Two sites: one with many cores, one with much memory.
fn two_sites() -> World {
    let mut world = World::default();
    declare(&mut world, "cores", None);
    declare(&mut world, "memory", None);
    report(&mut world, "cores", "c1: 4 16, c2: 64 128, c3: 8 16");
    report(&mut world, "memory", "m1: 8 512 2, m2: 8 512");
    world
}

#[test]
fn a_job_is_too_large_when_no_node_has_all_of_it() {
    let world = two_sites();
    let check = |jobs: &[&str], expected: Expect| {
        let found = Shapes::default().too_large(&world, NOW, &batch(jobs));
        let found = found.map_or_else(String::new, |found| {
            format!("{}: {}", found.position, text(&world, &found.shortage))
        });
        expected.assert_eq(&found);
    };
    check(&["64 128", "8 512 2", "1"], expect![[""]]);
    check(&["1", "65"], expect!["1: [0] 65 of 64 at c2"]);
    check(&["1 513"], expect!["0: [1] 513 of 512 at m1"]);
    check(&["1 1 3"], expect!["0: [3] 3 of 2 at m1"]);
    check(
        &["65 513"],
        expect!["0: [0] 65 of 64 at c2, [1] 513 of 512 at m1"],
    );
    check(
        &["64 129"],
        expect!["0: together: c2: [1] 129 of 128 at c2"],
    );
    check(&["9 1 1"], expect!["0: together: c2: [3] 1 of 0 at c2"]);
}

#[test]
fn a_resource_that_no_node_has_has_no_largest_node() {
    let mut world = World::default();
    declare(&mut world, "a", None);
    report(&mut world, "a", "n: 4 16");
    let found = Shapes::default().too_large(&world, NOW, &batch(&["1 1 1"]));
    expect!["[3] 1 of 0 at nobody"].assert_eq(&text(&world, &found.unwrap().shortage));
}

#[test]
fn a_site_that_reports_again_is_looked_at_again() {
    let mut world = two_sites();
    let mut shapes = Shapes::default();
    let wide = batch(&["128"]);
    assert!(shapes.too_large(&world, NOW, &wide).is_some());
    report(&mut world, "cores", "c4: 128 16");
    let site = world.find_site("cores").unwrap().id;
    shapes.changed(site);
    assert_eq!(shapes.too_large(&world, NOW, &wide), None);
    let gone = Event::SiteWithdrawn {
        name: "cores".into(),
    };
    world.apply(NOW, &gone).unwrap();
    let found = shapes.too_large(&world, NOW, &wide).unwrap();
    expect!["[0] 128 of 8 at m1"].assert_eq(&text(&world, &found.shortage));
}

#[test]
fn it_is_known_once_every_site_that_may_bring_nodes_has_reported() {
    let mut world = World::default();
    assert!(!world.is_reported(NOW), "nothing is declared");
    declare(&mut world, "a", None);
    declare(&mut world, "b", None);
    report(&mut world, "a", "n: 4 16");
    assert!(!world.is_reported(NOW), "b may bring anything");
    declare(&mut world, "b", Some(NOW.0));
    assert!(world.is_reported(NOW), "b's contract is over");
    declare(&mut world, "b", Some(NOW.0 + 1));
    assert!(!world.is_reported(NOW), "b's contract goes on");
    report(&mut world, "b", "n: 4 16");
    assert!(world.is_reported(NOW));
    report(&mut world, "b", "");
    assert!(!world.is_reported(NOW), "b's nodes are forgotten");
    let gone = Event::SiteWithdrawn { name: "b".into() };
    world.apply(NOW, &gone).unwrap();
    assert!(world.is_reported(NOW), "b is withdrawn");
}

#[test]
fn a_shortage_is_about_the_nodes_that_match() {
    let world = two_sites();
    let mut asked = needs("16 16");
    assert_eq!(world.shortage(NOW, &asked), None, "c2 is large enough");
    asked.labels.insert("name".into(), "c3".into());
    let found = world.shortage(NOW, &asked).unwrap();
    expect!["[0] 16 of 8 at c3"].assert_eq(&text(&world, &found));
    asked.labels.insert("name".into(), "x".into());
    assert_eq!(world.shortage(NOW, &asked), None, "nothing matches");
}

#[test]
fn shapes_that_another_one_exceeds_are_dropped() {
    let mut shapes = Vec::new();
    for (cores, memory) in [(1, 1), (2, 2), (1, 3), (2, 2), (0, 0), (4, 4)] {
        let capacity = Resources::of(cores, memory, 0, 0);
        add(
            &mut shapes,
            Shape {
                capacity,
                node: NodeId(0),
            },
        );
    }
    assert_eq!(shapes.len(), 1);
}
