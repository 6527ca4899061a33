//! Which of the feasible nodes: the one where what is left stays most useful.
//!
//! Each dimension's room after the placement is measured in 1/1024 of the
//! node's capacity. *Stranded* is how unequal what is left is (memory behind
//! used cores, cores behind used GPUs); *fill* is what is left of cpu and
//! memory, so that fuller nodes go first and whole nodes stay free for wide
//! jobs; a leased place adds its price. Lowest wins, ties by node id.

use super::feasible::{Taken, refusal};
use crate::ids::NodeId;
use crate::reason::{Refusal, WaitingReason};
use crate::resources::{CPU, DIMENSIONS, DISK, MEMORY};
use crate::site::Node;
use crate::spec::Needs;
use crate::time::TimeMs;
use crate::world::World;

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
    for node in world.nodes().iter().filter(|node| allowed(node)) {
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
pub fn score(world: &World, taken: &Taken, needs: &Needs, node: &Node) -> i64 {
    let policy = world.policy();
    let capacity = &node.report.capacity;
    let left = taken.free(node).minus(&needs.resources);
    let (mut sum, mut least, mut dimensions) = (0, 1024, 0);
    // Disk is left out: few jobs ask for it, and all room would look stranded.
    for d in (0..DIMENSIONS).filter(|d| *d != DISK && capacity[*d] > 0) {
        let share = left[d] * 1024 / capacity[d];
        sum += share;
        least = least.min(share);
        dimensions += 1;
    }
    let stranded = sum - dimensions * least;
    let fill: i64 = [CPU, MEMORY]
        .into_iter()
        .filter(|d| capacity[*d] > 0)
        .map(|d| left[d] * 1024 / capacity[d])
        .sum();
    let contract = world.site(node.site).spec.contract;
    let price = contract.map_or(0, |contract| contract.price_micro_eur_per_core_hour / 1_000);
    policy.score_stranded * stranded + policy.score_fill * fill + policy.score_price * price
}
