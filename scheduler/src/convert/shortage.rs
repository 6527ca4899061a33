//! What even empty nodes lack for a task, in words.

use jeroboam_core::ids::NodeId;
use jeroboam_core::policy::Policy;
use jeroboam_core::resources::{self, CPU, DISK, MEMORY};
use jeroboam_core::world::World;
use jeroboam_core::world::largest::{Lack, Shortage};
use jeroboam_units::{Bytes, Cores};

/// How a resource is called in a batch file.
pub fn name(policy: &Policy, dimension: usize) -> &str {
    resources::name(dimension, &policy.extended_resources)
}

/// An amount as it stands in a batch file.
pub fn amount(dimension: usize, amount: i64) -> String {
    match dimension {
        CPU => Cores(amount).to_string(),
        MEMORY | DISK => {
            let mib = u64::try_from(amount).unwrap_or(0);
            Bytes(mib.saturating_mul(1 << 20)).to_string()
        }
        _ => amount.to_string(),
    }
}

/// What was asked for, and what there is.
pub fn text(world: &World, shortage: &Shortage) -> String {
    let lacks = shortage.lacks.iter();
    match shortage.closest {
        None => {
            let lacks: Vec<String> = lacks.map(|lack| against_largest(world, lack)).collect();
            lacks.join("; ")
        }
        Some(closest) => {
            let lacks = lacks.map(|lack| {
                let Lack {
                    dimension,
                    asked,
                    largest,
                    ..
                } = *lack;
                let resource = name(world.policy(), dimension);
                let (asked, largest) = (amount(dimension, asked), amount(dimension, largest));
                format!("{largest} of {resource} where {asked} is asked for")
            });
            let lacks: Vec<String> = lacks.collect();
            format!(
                "no node has all that it asks for together; {} comes closest, with {}",
                place(world, closest),
                lacks.join(" and ")
            )
        }
    }
}

fn against_largest(world: &World, lack: &Lack) -> String {
    let Lack {
        dimension,
        asked,
        largest,
        node,
    } = *lack;
    let resource = name(world.policy(), dimension);
    let asked = amount(dimension, asked);
    match node {
        None => format!("it asks for {asked} of {resource}, and no node has any"),
        Some(node) => format!(
            "it asks for {asked} of {resource}, and the largest node, {}, has {}",
            place(world, node),
            amount(dimension, largest)
        ),
    }
}

fn place(world: &World, node: NodeId) -> String {
    let node = world.node(node);
    let site = &world.site(node.site).spec.name;
    format!("`{}` at `{site}`", node.report.name)
}
