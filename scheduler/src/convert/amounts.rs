//! Resource vectors, both ways. The names of extended resources are the
//! policy's; on the wire they stand by name, in the core by position.

use jeroboam_core::policy::Policy;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::resources::{CPU, DISK, EXTENDED, GPU, MEMORY, Resources};
use jeroboam_proto::v1;

/// A vector on the wire; what there is none of is left out.
pub fn resources(policy: &Policy, amounts: &Resources) -> v1::Resources {
    let named = policy.extended_resources.iter().zip(&amounts.0[EXTENDED..]);
    v1::Resources {
        cpu_milli: amounts[CPU],
        memory_mib: amounts[MEMORY],
        disk_mib: amounts[DISK],
        gpu: amounts[GPU],
        extended: named
            .filter(|(_, amount)| **amount != 0)
            .map(|(name, amount)| (name.clone(), *amount))
            .collect(),
    }
}

/// A vector from the wire.
///
/// # Errors
/// An extended resource that the policy does not name.
pub fn resources_in(
    policy: &Policy,
    place: &str,
    wire: Option<v1::Resources>,
) -> Result<Resources, Rejected> {
    let wire = wire.unwrap_or_default();
    let mut amounts = Resources::of(wire.cpu_milli, wire.memory_mib, wire.disk_mib, wire.gpu);
    for (name, amount) in &wire.extended {
        let dimension = policy.extended_dimension(name).ok_or_else(|| {
            let known = policy.extended_resources.join("`, `");
            let remedy = match known.is_empty() {
                true => "name it under `policy.extended_resources` of the scheduler's file".into(),
                false => format!("use one of cpu, memory, disk, gpu, `{known}`"),
            };
            Rejected::invalid(place, format!("there is no resource `{name}`"), remedy)
        })?;
        amounts[dimension] = *amount;
    }
    Ok(amounts)
}

/// A vector from an agent: amounts of resources that this federation does not
/// name are no concern of it, and are left out.
pub fn known_resources(policy: &Policy, wire: Option<v1::Resources>) -> Resources {
    let wire = wire.unwrap_or_default();
    let mut amounts = Resources::of(wire.cpu_milli, wire.memory_mib, wire.disk_mib, wire.gpu);
    for (name, amount) in &wire.extended {
        if let Some(dimension) = policy.extended_dimension(name) {
            amounts[dimension] = *amount;
        }
    }
    amounts
}
