//! What a site is told for its log, and the scheduler's own log says too.

use super::shortage::{amount, name};
use jeroboam_core::ids::NodeId;
use jeroboam_core::resources::DIMENSIONS;
use jeroboam_core::world::World;
use jeroboam_proto::v1;

/// Nodes that one notice names; of more it says how many.
const NODES_NAMED_MAX: usize = 10;

/// More is held on nodes of one site than they have.
pub fn over_committed(world: &World, nodes: &[NodeId]) -> v1::Notice {
    let mut texts: Vec<String> = nodes
        .iter()
        .take(NODES_NAMED_MAX)
        .map(|node| against_capacity(world, *node))
        .collect();
    if nodes.len() > NODES_NAMED_MAX {
        texts.push(format!("and {} more nodes", nodes.len() - NODES_NAMED_MAX));
    }
    let node = match nodes {
        [one] => world.node(*one).report.name.clone(),
        _ => String::new(),
    };
    let remedy = "what runs goes on, and nothing that needs these is placed there; give the node \
                  back what it had, or let its tasks end";
    v1::Notice {
        code: "over-committed".into(),
        node,
        text: format!("more is held than is there: {}", texts.join("; ")),
        remedy: remedy.into(),
    }
}

fn against_capacity(world: &World, id: NodeId) -> String {
    let node = world.node(id);
    let (held, capacity) = (&node.held, &node.report.capacity);
    let over = (0..DIMENSIONS).filter(|d| held[*d] > capacity[*d]);
    let over = over.map(|d| {
        let resource = name(world.policy(), d);
        let (held, capacity) = (amount(d, held[d]), amount(d, capacity[d]));
        format!("{held} of {resource} where it has {capacity}")
    });
    let over: Vec<String> = over.collect();
    format!("node `{}` holds {}", node.report.name, over.join(" and "))
}
