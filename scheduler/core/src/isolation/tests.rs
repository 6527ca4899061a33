//! Which way is chosen, as a table.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::time::HOUR_MS;

const MINE: QueueId = QueueId(1);
const OTHER: QueueId = QueueId(2);

fn runtime(name: &str, isolation: Isolation, memory_mib: i64) -> Runtime {
    Runtime {
        name: name.into(),
        isolation,
        overhead: Resources::of(0, memory_mib, 0, 0),
    }
}

fn told(level: Isolation, runtimes: &[Runtime], tenancy: Tenancy) -> String {
    let mut needs = Needs::new(Resources::of(1_000, 0, 0, 0), HOUR_MS);
    needs.isolation = level;
    needs.tenant = (level > Isolation::Shared).then_some(MINE);
    match choose(&needs, runtimes, tenancy) {
        Err(refusal) => refusal.code().to_string(),
        Ok(choice) => {
            let name = runtimes.get(usize::from(choice.way.runtime));
            let name = name.map_or("plain", |runtime| &runtime.name);
            let alone = if choice.way.alone { " alone" } else { "" };
            format!("{name}{alone}")
        }
    }
}

#[test]
fn the_cheapest_way_that_isolates_enough() {
    use Isolation::{Kernel, Sandbox, Shared};
    use Tenancy::{Alone, One, Several, Unused};
    let all = [
        runtime("kata", Kernel, 160),
        runtime("runc", Shared, 0),
        runtime("runsc", Sandbox, 64),
        runtime("slow", Sandbox, 90),
    ];
    let table = [
        (Shared, &all[..0], Unused, "plain"),
        (Shared, &all[..0], Several, "plain"),
        (Shared, &all[..0], Alone(MINE), "kernel-taken"),
        (Shared, &all, Several, "runc"),
        (Shared, &all[2..], Several, "runsc"),
        (Sandbox, &all, Several, "runsc"),
        (Sandbox, &all, Unused, "runsc"),
        (Sandbox, &all, Alone(MINE), "runc alone"),
        (Sandbox, &all, Alone(OTHER), "kernel-taken"),
        (Sandbox, &all[..0], Unused, "plain alone"),
        (Sandbox, &all[..0], One(OTHER), "kernel-used"),
        (Sandbox, &all[..1], Several, "kata"),
        (Kernel, &all, Several, "kata"),
        (Kernel, &all[1..], Unused, "runc alone"),
        (Kernel, &all[1..], One(MINE), "runc alone"),
        (Kernel, &all[1..], One(OTHER), "kernel-used"),
        (Kernel, &all[1..], Several, "kernel-used"),
    ];
    for (level, runtimes, tenancy, expected) in table {
        let told = told(level, runtimes, tenancy);
        assert_eq!(told, expected, "{level:?} on {tenancy:?}");
    }
}

#[test]
fn a_kernel_is_used_until_it_boots_again() {
    use Tenancy::{Alone, One, Several, Unused};
    assert_eq!(Unused.with(MINE, false), One(MINE));
    assert_eq!(Unused.with(MINE, true), Alone(MINE));
    assert_eq!(One(MINE).with(MINE, true), Alone(MINE));
    assert_eq!(One(MINE).with(OTHER, false), Several);
    assert_eq!(Alone(MINE).with(MINE, false), Alone(MINE));
    assert_eq!(Several.with(MINE, false), Several);
}
