//! How far work is kept apart from other tenants' work, and how a node can do that.
//!
//! The rule it keeps: [`choose`] is the only place that says how a task may run on a
//! node. A runtime that isolates as asked is preferred, since the node stays open to
//! others; else the tenant gets the node's kernel alone, if nobody else has used that since
//! it booted. Of runtimes that would do, the one with the least overhead is taken.
//!
//! A tenant is a queue that is marked so ([`crate::queue::Queue::tenant`]). Who has used
//! which kernel is kept in [`crate::kernel`].

use crate::ids::QueueId;
use crate::reason::Refusal;
use crate::resources::Resources;
use crate::site::NodeReport;
use crate::spec::Needs;
use serde::{Deserialize, Serialize};

/// Runtimes of one node, at most.
pub const RUNTIMES_MAX: usize = 16;

/// How far a task is kept apart from what other tenants run; later ones are stronger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Isolation {
    /// As containers are: one kernel for all.
    #[default]
    Shared,
    /// A kernel boundary around the container, on a kernel that others use as well.
    Sandbox,
    /// A kernel that no other tenant uses or has used.
    Kernel,
}

impl Isolation {
    /// All levels, the weakest first.
    pub const ALL: [Isolation; 3] = [Isolation::Shared, Isolation::Sandbox, Isolation::Kernel];

    /// Stable name in files and outputs.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::Shared => "shared",
            Isolation::Sandbox => "sandbox",
            Isolation::Kernel => "kernel",
        }
    }

    /// The level of a name.
    pub fn of_name(name: &str) -> Option<Isolation> {
        Isolation::ALL
            .into_iter()
            .find(|level| level.name() == name)
    }
}

/// How a node's engine can run a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Runtime {
    /// As the engine calls it; empty is the engine's own.
    pub name: String,
    /// What it gives by itself.
    pub isolation: Isolation,
    /// What each task takes up on the node besides what it asks for.
    pub overhead: Resources,
}

/// What a node offers that reports no runtimes.
const PLAIN: Runtime = Runtime {
    name: String::new(),
    isolation: Isolation::Shared,
    overhead: Resources::ZERO,
};

/// Who has used a kernel since it booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tenancy {
    /// Nobody.
    Unused,
    /// One tenant.
    One(QueueId),
    /// Several, or nobody knows.
    Several,
    /// One tenant, and work of it runs there that must have the kernel alone.
    Alone(QueueId),
}

impl Tenancy {
    /// What it is once a task of a tenant has run there as well.
    #[must_use]
    pub fn with(self, tenant: QueueId, alone: bool) -> Tenancy {
        match self {
            Tenancy::Unused if alone => Tenancy::Alone(tenant),
            Tenancy::One(other) if other == tenant && alone => Tenancy::Alone(tenant),
            Tenancy::Unused => Tenancy::One(tenant),
            Tenancy::One(other) | Tenancy::Alone(other) if other == tenant => self,
            Tenancy::One(_) | Tenancy::Alone(_) | Tenancy::Several => Tenancy::Several,
        }
    }
}

/// How a task runs on its node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Way {
    /// Position among the node's runtimes.
    pub runtime: u8,
    /// No other tenant's work may run on the same kernel meanwhile.
    pub alone: bool,
}

/// What [`choose`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// How the task runs.
    pub way: Way,
    /// What it takes up besides what it asks for.
    pub overhead: Resources,
}

impl Choice {
    const PLAIN: Choice = Choice {
        way: Way {
            runtime: 0,
            alone: false,
        },
        overhead: Resources::ZERO,
    };

    fn new((runtime, overhead): (u8, Resources), alone: bool) -> Self {
        let way = Way { runtime, alone };
        Choice { way, overhead }
    }
}

/// How a task may run on a node whose kernel is used so.
///
/// # Errors
/// Why it may not.
pub fn choose(needs: &Needs, runtimes: &[Runtime], tenancy: Tenancy) -> Result<Choice, Refusal> {
    let mine = |tenant: QueueId| needs.tenant == Some(tenant);
    if matches!(tenancy, Tenancy::Alone(tenant) if !mine(tenant)) {
        return Err(Refusal::KernelTaken);
    }
    if needs.isolation == Isolation::Shared && runtimes.is_empty() {
        return Ok(Choice::PLAIN);
    }
    let by_runtime = cheapest(runtimes, needs.isolation);
    let alone = match tenancy {
        _ if needs.isolation == Isolation::Shared => None,
        Tenancy::Several => None,
        Tenancy::One(tenant) if !mine(tenant) => None,
        Tenancy::Unused | Tenancy::One(_) | Tenancy::Alone(_) => {
            cheapest(runtimes, Isolation::Shared)
        }
    };
    match (by_runtime, alone) {
        // The tenant has the kernel already: no boundary is needed.
        (_, Some(alone)) if matches!(tenancy, Tenancy::Alone(_)) => Ok(Choice::new(alone, true)),
        (Some(by_runtime), _) => Ok(Choice::new(by_runtime, false)),
        (None, Some(alone)) => Ok(Choice::new(alone, true)),
        (None, None) => Err(Refusal::KernelUsed),
    }
}

/// What a task takes up on a node at most, whoever uses its kernel.
pub fn whole(needs: &Needs, report: &NodeReport) -> Resources {
    let runtimes = &report.runtimes;
    let runtime = cheapest(runtimes, needs.isolation);
    let runtime = runtime.or_else(|| cheapest(runtimes, Isolation::Shared));
    let overhead = runtime.map_or(Resources::ZERO, |(_, overhead)| overhead);
    needs.resources.plus(&overhead)
}

/// True if a node can never isolate as asked: no runtime does, and its kernel is not
/// known, so that nobody can have it alone.
pub fn is_missing(needs: &Needs, report: &NodeReport) -> bool {
    needs.isolation > Isolation::Shared
        && report.kernel.is_empty()
        && cheapest(&report.runtimes, needs.isolation).is_none()
}

/// The runtime with the least overhead that gives a level by itself, and that overhead.
fn cheapest(runtimes: &[Runtime], level: Isolation) -> Option<(u8, Resources)> {
    let plain = [PLAIN];
    let offered = if runtimes.is_empty() {
        &plain[..]
    } else {
        runtimes
    };
    let enough = offered
        .iter()
        .zip(0..)
        .filter(|(runtime, _)| runtime.isolation >= level);
    let best = enough.min_by_key(|(runtime, at)| (runtime.overhead, runtime.isolation, *at));
    best.map(|(runtime, at)| (at, runtime.overhead))
}

#[cfg(test)]
mod tests;
