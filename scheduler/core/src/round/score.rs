//! Which of the feasible nodes: the one where what is left stays most useful.
//!
//! Each dimension's room after the placement is measured in 1/1024 of the
//! node's capacity. *Stranded* is how unequal what is left is (memory behind
//! used cores, cores behind used GPUs); *fill* is what is left of cpu and
//! memory, so that fuller nodes go first and whole nodes stay free for wide
//! jobs; a leased place adds its price, and where tenants ask to be kept apart a
//! kernel that is used for the first time, or alone, adds what others lose by that. Lowest
//! wins, ties by node id.

use super::feasible::{Taken, refusal};
use crate::ids::NodeId;
use crate::isolation::{Tenancy, Way};
use crate::policy::Policy;
use crate::reason::{Refusal, WaitingReason};
use crate::resources::{CPU, DIMENSIONS, DISK, MEMORY, Resources};
use crate::site::{Contract, Node, Site};
use crate::spec::Needs;
use crate::time::TimeMs;
use crate::world::World;

/// Parts of a node's capacity in which room is measured.
pub(crate) const SHARES: i64 = 1024;

/// The best node for a task now, of those that are `allowed`.
///
/// # Errors
/// Why there is none: the closest that any node came.
pub fn best_node(
    world: &World,
    now: TimeMs,
    taken: &Taken,
    needs: &Needs,
    allowed: impl Fn(&Node) -> bool,
) -> Result<NodeId, WaitingReason> {
    let mut best: Option<(i64, NodeId)> = None;
    let mut closest: Option<Refusal> = None;
    for node in world
        .nodes()
        .iter()
        .filter(|node| node.is_known() && allowed(node))
    {
        match refusal(world, now, taken, needs, node) {
            Some(cause) => closest = closest.max(Some(cause)),
            None => {
                let candidate = (score(world, taken, needs, node), node.id);
                if best.is_none_or(|best| candidate < best) {
                    best = Some(candidate);
                }
            }
        }
    }
    match (best, closest) {
        (Some((_, node)), _) => Ok(node),
        (None, Some(cause)) => Err(WaitingReason::Refused(cause)),
        (None, None) => Err(WaitingReason::NoNodes),
    }
}

/// How good a node is for a task that it takes; lower is better.
pub(crate) fn score(world: &World, taken: &Taken, needs: &Needs, node: &Node) -> i64 {
    let choice = taken.choose(world, needs, node);
    let choice = choice.expect("only nodes that take a task are scored");
    let amounts = needs.resources.plus(&choice.overhead);
    let left = taken.free(node).minus(&amounts);
    let price = price_milli_eur(world.site(node.site));
    let kernel = if world.is_isolating() {
        kernel_score(
            world.policy().score_kernel,
            choice.way,
            taken.tenancy(world, node),
        )
    } else {
        0
    };
    score_left(world.policy(), &node.report.capacity, &left, price) + kernel
}

/// What the others lose by the use of a kernel: one that nobody has used is good for any
/// tenant, and one that a tenant gets alone is shared by nobody.
pub(crate) fn kernel_score(weight: i64, way: Way, tenancy: Tenancy) -> i64 {
    let steps = match tenancy {
        Tenancy::Unused => 1 + i64::from(way.alone),
        Tenancy::One(_) => i64::from(way.alone),
        Tenancy::Several | Tenancy::Alone(_) => 0,
    };
    weight * SHARES * steps
}

/// Of a leased place, per core-hour; an owned one has none.
pub(crate) fn price_milli_eur(site: &Site) -> i64 {
    let price = |contract: Contract| contract.price_micro_eur_per_core_hour / 1_000;
    site.spec.contract.map_or(0, price)
}

/// The score of what is left, below 2^31; what is overdrawn counts as nothing left.
pub(crate) fn score_left(
    policy: &Policy,
    capacity: &Resources,
    left: &Resources,
    price_milli_eur: i64,
) -> i64 {
    let (mut sum, mut least, mut dimensions, mut fill) = (0, SHARES, 0, 0);
    // Disk is left out: few jobs ask for it, and all room would look stranded.
    for d in (0..DIMENSIONS).filter(|d| *d != DISK && capacity[*d] > 0) {
        let share = left[d].max(0) * SHARES / capacity[d];
        sum += share;
        least = least.min(share);
        dimensions += 1;
        if d == CPU || d == MEMORY {
            fill += share;
        }
    }
    let stranded = sum - dimensions * least;
    policy.score_stranded * stranded
        + policy.score_fill * fill
        + policy.score_price * price_milli_eur
}
