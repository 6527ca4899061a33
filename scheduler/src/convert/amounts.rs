//! Resource vectors, both ways. The names of extended resources are the
//! policy's; on the wire they stand by name, in the core by position.

use jeroboam_core::policy::Policy;
use jeroboam_core::queue::Limit;
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
            let remedy = match (policy.resource_near(name), known.is_empty()) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, true) => {
                    "name it under `policy.extended_resources` of the scheduler's file".into()
                }
                (None, false) => format!("use one of cpu, memory, disk, gpu, `{known}`"),
            };
            let place = format!("{place}.{name}");
            Rejected::invalid(place, format!("there is no resource `{name}`"), remedy)
        })?;
        amounts[dimension] = *amount;
    }
    Ok(amounts)
}

/// A limit on the wire; what is not limited is left out.
pub fn limit(policy: &Policy, limit: &Limit) -> v1::Limit {
    let named = policy.extended_resources.iter().zip(&limit.0[EXTENDED..]);
    v1::Limit {
        cpu_milli: limit.0[CPU],
        memory_mib: limit.0[MEMORY],
        disk_mib: limit.0[DISK],
        gpu: limit.0[GPU],
        extended: named
            .filter_map(|(name, amount)| Some((name.clone(), (*amount)?)))
            .collect(),
    }
}

/// A limit from the wire.
///
/// # Errors
/// An extended resource that the policy does not name.
pub fn limit_in(policy: &Policy, place: &str, wire: v1::Limit) -> Result<Limit, Rejected> {
    let named = v1::Resources {
        extended: wire.extended.clone(),
        ..v1::Resources::default()
    };
    let named_amounts = resources_in(policy, place, Some(named))?;
    let mut limit = Limit::default();
    limit.0[CPU] = wire.cpu_milli;
    limit.0[MEMORY] = wire.memory_mib;
    limit.0[DISK] = wire.disk_mib;
    limit.0[GPU] = wire.gpu;
    for dimension in wire
        .extended
        .keys()
        .filter_map(|name| policy.extended_dimension(name))
    {
        limit.0[dimension] = Some(named_amounts[dimension]);
    }
    Ok(limit)
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
