//! Who has used which kernel, read off the events alone: what tenants that ask to be kept
//! apart must be able to rely on.

use std::collections::{BTreeMap, BTreeSet};

use jeroboam_core::effect::Effect;
use jeroboam_core::event::{Event, Placement};
use jeroboam_core::ids::{LeaseId, QueueId};
use jeroboam_core::isolation::Isolation;
use jeroboam_core::world::World;

/// Stands for whoever used a kernel while nobody looked.
const STRANGER: QueueId = QueueId::ROOT;

/// A lease that is open.
struct Open {
    kernel: String,
    tenant: QueueId,
    alone: bool,
}

/// What was seen so far.
#[derive(Default)]
pub struct Tenants {
    used: BTreeMap<String, BTreeSet<QueueId>>,
    open: BTreeMap<LeaseId, Open>,
    /// Sites that have not reported since a restore.
    doubted: BTreeSet<String>,
    /// Leases that had a kernel alone, ever.
    pub alone: usize,
}

impl Tenants {
    /// An event was accepted, and this came of it.
    pub fn watch(&mut self, world: &World, event: &Event, effects: &[Effect]) {
        match event {
            Event::PlanCommitted { placements, .. } => {
                placements.iter().for_each(|p| self.placed(world, p));
            }
            Event::Restored { .. } => self.restored(world),
            Event::CapacityReported {
                site, nodes, full, ..
            } => {
                for kernel in nodes.iter().map(|node| &node.kernel) {
                    if self.doubted.contains(site) && !self.used.contains_key(kernel) {
                        self.used.insert(kernel.clone(), [STRANGER].into());
                    }
                    self.used.entry(kernel.clone()).or_default();
                }
                if *full {
                    self.doubted.remove(site);
                }
            }
            _ => {}
        }
        for effect in effects {
            if let Effect::AttemptEnded(record) = effect {
                self.open.remove(&record.lease);
            }
        }
    }

    fn placed(&mut self, world: &World, placement: &Placement) {
        let job = &world.jobs()[&placement.task.job];
        let active = &job.tasks.active[&placement.task.index];
        let report = &world.node(placement.node).report;
        let tenant = tenant(world, job.queue);
        let mut runtimes = report.runtimes.iter();
        let runtime = runtimes.find(|runtime| runtime.name == active.runtime());
        let by_itself = runtime.map_or(Isolation::Shared, |runtime| runtime.isolation);
        let alone = job.spec.needs.isolation > by_itself;
        let kernel = report.kernel.clone();
        let used = self.used.entry(kernel.clone()).or_default();
        used.insert(tenant);
        if alone {
            assert!(!kernel.is_empty(), "{} alone on nobody knows what", job.id);
            assert_eq!(used.len(), 1, "{} shares {kernel} with {used:?}", job.id);
            self.alone += 1;
        }
        let others = self.open.values().filter(|open| open.kernel == kernel);
        for open in others.filter(|open| open.tenant != tenant) {
            assert!(!open.alone && !alone, "{} shares {kernel}", job.id);
        }
        let lease = world.lease(placement.task, active.attempt);
        let opened = Open {
            kernel,
            tenant,
            alone,
        };
        self.open.insert(lease, opened);
    }

    fn restored(&mut self, world: &World) {
        let known = world.nodes().iter().filter(|node| node.is_known());
        for node in known {
            let used = self.used.entry(node.report.kernel.clone());
            used.or_default().insert(STRANGER);
        }
        let sites = world.sites().iter();
        self.doubted = sites.map(|site| site.spec.name.clone()).collect();
    }
}

/// The nearest queue above that is marked, or the one right below the root.
fn tenant(world: &World, leaf: QueueId) -> QueueId {
    let queues = world.queues();
    let is_tenant = |id: &QueueId| {
        let queue = queues.queue(*id);
        queue.spec.tenant || queue.parent == Some(QueueId::ROOT)
    };
    queues.path(leaf).find(is_tenant).unwrap()
}
