//! What is remembered about kernels.

use super::*;

const NODE: NodeId = NodeId(7);
const TENANT: QueueId = QueueId(1);

fn run_on(kernels: &mut Kernels, id: KernelId, tenant: QueueId) {
    kernels.open(id, tenant, false);
    kernels.close(id, false);
}

#[test]
fn a_used_kernel_is_remembered_while_no_node_reports_it() {
    let mut kernels = Kernels::default();
    let id = kernels.join("boot-1", NODE, Tenancy::Unused);
    run_on(&mut kernels, id, TENANT);
    kernels.leave(id, NODE);
    kernels.check();
    let again = kernels.join("boot-1", NodeId(8), Tenancy::Unused);
    assert_eq!(kernels.kernel(again).tenancy(), Tenancy::One(TENANT));
    kernels.check();
}

#[test]
fn an_unused_kernel_is_forgotten_with_its_node() {
    let mut kernels = Kernels::default();
    let id = kernels.join("boot-1", NODE, Tenancy::Unused);
    kernels.leave(id, NODE);
    assert_eq!(kernels.iter().count(), 0);
    let reused = kernels.join("boot-2", NODE, Tenancy::Unused);
    assert_eq!(reused, id, "ids of forgotten kernels are used again");
    kernels.check();
}

#[test]
fn the_oldest_of_too_many_is_forgotten() {
    let mut kernels = Kernels::default();
    for number in 0..=GONE_MAX {
        let id = kernels.join(&format!("boot-{number}"), NODE, Tenancy::Unused);
        run_on(&mut kernels, id, TENANT);
        kernels.leave(id, NODE);
    }
    assert_eq!(kernels.iter().count(), GONE_MAX);
    kernels.check();
    let second = kernels.join("boot-1", NODE, Tenancy::Unused);
    assert_eq!(kernels.kernel(second).tenancy(), Tenancy::One(TENANT));
    let first = kernels.join("boot-0", NODE, Tenancy::Unused);
    assert_eq!(kernels.kernel(first).tenancy(), Tenancy::Unused);
}

#[test]
fn a_lease_counts_on_the_kernel_it_was_granted_for() {
    let mut kernels = Kernels::default();
    let old = kernels.join("boot-1", NODE, Tenancy::Unused);
    assert!(kernels.open(old, TENANT, true));
    kernels.leave(old, NODE);
    let new = kernels.join("boot-2", NODE, Tenancy::Unused);
    assert_eq!(kernels.kernel(new).tenancy(), Tenancy::Unused);
    assert_eq!(kernels.kernel(old).tenancy(), Tenancy::Alone(TENANT));
    assert!(kernels.close(old, true));
    assert_eq!(kernels.kernel(old).tenancy(), Tenancy::One(TENANT));
    kernels.check();
}

#[test]
fn nodes_that_report_none_can_be_had_alone_by_nobody() {
    let mut kernels = Kernels::default();
    let id = kernels.join("", NODE, Tenancy::Unused);
    assert_eq!(kernels.kernel(id).tenancy(), Tenancy::Several);
    assert!(!kernels.open(id, TENANT, false));
}
