//! Room that is kept on nodes, for reservations or while it is being freed: who may go
//! there nonetheless, and what is left beside it.

use super::Room;
use crate::ids::{ClassId, NodeId, TaskId};
use crate::isolation::{Tenancy, choose};
use crate::reason::Refusal;
use crate::resources::Resources;
use crate::round::barrier::Work;
use crate::round::feasible::longest_ms;
use crate::round::order::Order;
use crate::site::Node;
use crate::spec::Needs;
use crate::time::TimeMs;

/// Room that is kept on a node.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// For whom.
    pub owner: Work,
    /// Of what class.
    pub class: ClassId,
    /// How much.
    pub need: Resources,
    /// From when on it is needed.
    pub until: TimeMs,
    /// What is free then beside it; others may have that for longer.
    pub spare: Resources,
    /// It is being freed by preemption.
    pub freed: bool,
}

/// Whether work keeps those away from a kernel for whom room is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoils {
    Never,
    WhileItRuns,
    /// Until the kernel boots again.
    Always,
}

impl Room<'_> {
    /// True if a task that fits on a node does not delay what room is kept for there.
    pub(super) fn passes(
        &self,
        order: &Order<'_>,
        work: &Work,
        needs: &Needs,
        node: &Node,
        kept: &Kept,
    ) -> bool {
        let amounts = self.taken.amounts(self.world, needs, node);
        let until = self.now + longest_ms(self.world, needs, node);
        let (ends, spoils) = (until <= kept.until, self.spoils(work, needs, node, kept));
        if kept.freed {
            return spoils == Spoils::Never && amounts.fits_in(&self.beside_freed(node, kept));
        }
        order.ignores(work, &kept.owner)
            || (ends && spoils != Spoils::Always)
            || (spoils == Spoils::Never && amounts.fits_in(&kept.spare))
    }

    /// Whether work on a node's kernel would keep those away for whom room is kept there.
    fn spoils(&self, work: &Work, needs: &Needs, node: &Node, kept: &Kept) -> Spoils {
        if !self.world.is_isolating() {
            return Spoils::Never;
        }
        let before = self.taken.tenancy(self.world, node);
        let Ok(choice) = choose(needs, &node.report.runtimes, before) else {
            return Spoils::Never;
        };
        let tenant = self.world.queues().queue(work.leaf).tenant;
        let after = before.with(tenant, choice.way.alone);
        let theirs = self.world.classes().needs(kept.class);
        match choose(theirs, &node.report.runtimes, after) {
            Ok(_) => Spoils::Never,
            Err(Refusal::KernelTaken) => {
                // Once nobody has it alone any more, it is one tenant's.
                let then = Tenancy::One(tenant);
                match choose(theirs, &node.report.runtimes, then) {
                    Ok(_) => Spoils::WhileItRuns,
                    Err(_) => Spoils::Always,
                }
            }
            Err(_) => Spoils::Always,
        }
    }

    /// What of a node's free room is left over once those who are on their way out
    /// have made room for whom it is freed.
    pub fn beside_freed(&self, node: &Node, kept: &Kept) -> Resources {
        let free = self.taken.free(node);
        let then = free.plus(&self.leaving(node)).minus(&kept.need);
        free.smaller(&then).larger(&Resources::ZERO)
    }

    /// What those hold on a node who were told to end.
    pub fn leaving(&self, node: &Node) -> Resources {
        match self.preempted.get(&node.id) {
            None => node.leaving,
            Some(preempted) => node.leaving.plus(preempted),
        }
    }

    /// A task loses its place.
    pub fn preempt(&mut self, task: TaskId, node: NodeId) {
        if self.victims.insert(task) {
            *self.preempted.entry(node).or_default() += &self.world.takes_up(&task);
        }
    }

    /// Keeps room on a node; what is being freed there for others stays kept as well.
    pub fn keep(&mut self, node: NodeId, kept: Kept) {
        if let Some(index) = &mut self.index {
            index.mask(self.world, node);
        }
        let entry = self.kept.entry(node);
        let entry = entry.or_insert(Kept {
            need: Resources::ZERO,
            ..kept
        });
        *entry = Kept {
            need: if kept.freed {
                entry.need.plus(&kept.need)
            } else {
                kept.need
            },
            ..kept
        };
    }

    /// Keeps so much less room on a node.
    pub fn open(&mut self, node: NodeId, need: &Resources) {
        if let Some(kept) = self.kept.get_mut(&node) {
            kept.need -= need;
            if !kept.freed || kept.need.is_zero() {
                self.kept.remove(&node);
                if let Some(index) = &mut self.index {
                    index.unmask(self.world, node);
                }
            }
        }
    }

    /// What will be free on a node for a claimant once those who were told to end are
    /// gone, and those are served for whom they were.
    pub fn soon_free(&self, node: &Node) -> Resources {
        let free = self.taken.free(node).plus(&self.leaving(node));
        match self.kept.get(&node.id) {
            Some(kept) if kept.freed => free.minus(&kept.need),
            _ => free,
        }
    }
}
