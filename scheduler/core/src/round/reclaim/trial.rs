//! A list of victims that is being put together, with what would be left.

use super::Right;
use super::running::Unit;
use crate::ids::{NodeId, QueueId};
use crate::queue::QueueTree;
use crate::resources::Resources;
use std::collections::BTreeMap;

/// Victims, and the places that they make room for.
pub struct Trial {
    pub right: Right,
    /// B allows every victim.
    pub all_b: bool,
    pub victims: Vec<usize>,
    /// What queues would no longer hold.
    gone: BTreeMap<QueueId, Resources>,
    /// What nodes would have more.
    freed: BTreeMap<NodeId, Resources>,
    /// Tasks of the claimant, by node.
    pub places: BTreeMap<NodeId, u32>,
    /// Of them, where the first was put.
    pub first: Option<NodeId>,
}

impl Trial {
    /// Nobody goes yet.
    pub fn new(right: Right) -> Self {
        Trial {
            right,
            all_b: true,
            victims: Vec::new(),
            gone: BTreeMap::new(),
            freed: BTreeMap::new(),
            places: BTreeMap::new(),
            first: None,
        }
    }

    /// What a queue would no longer hold.
    pub fn gone(&self, queue: QueueId) -> Resources {
        self.gone.get(&queue).copied().unwrap_or_default()
    }

    /// What a node would have more.
    pub fn freed(&self, node: NodeId) -> Resources {
        self.freed.get(&node).copied().unwrap_or_default()
    }

    /// Nodes that would have more.
    pub fn freed_nodes(&self) -> impl Iterator<Item = NodeId> {
        self.freed.keys().copied()
    }

    /// A unit leaves its queues, or comes back.
    pub fn shift(&mut self, queues: &QueueTree, unit: &Unit, out: bool) {
        for id in queues.path(unit.work.leaf) {
            let gone = self.gone.entry(id).or_default();
            if out {
                *gone += &unit.work.cost;
            } else {
                *gone -= &unit.work.cost;
            }
        }
    }

    /// One more victim.
    pub fn add(&mut self, queues: &QueueTree, position: usize, unit: &Unit) {
        self.shift(queues, unit, true);
        for (node, amount) in unit.frees() {
            *self.freed.entry(node).or_default() += &amount;
        }
        self.victims.push(position);
    }

    /// A task of the claimant goes there.
    pub fn put(&mut self, node: NodeId) {
        self.first.get_or_insert(node);
        *self.places.entry(node).or_default() += 1;
    }
}
