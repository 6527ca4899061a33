//! When there will be room, by the walltime limits of what runs and of what the round has
//! placed.

use super::Room;
use crate::ids::{NodeId, TaskId};
use crate::isolation::whole;
use crate::reason::Refusal;
use crate::resources::Resources;
use crate::round::feasible::{ends_in_time, latest_end, will_take};
use crate::site::Node;
use crate::spec::Needs;
use crate::time::TimeMs;

impl Room<'_> {
    /// When a node will have room for so many tasks, by the walltime limits of what runs
    /// there; `None` if never.
    pub fn earliest(&self, needs: &Needs, tasks: i64, id: NodeId) -> Option<TimeMs> {
        let node = self.world.node(id);
        if !will_take(self.world, self.now, &self.taken, needs, node) {
            return None;
        }
        let need = whole(needs, &node.report).times(tasks);
        let from = self.taken_until(needs, node);
        let in_time = |at| ends_in_time(self.world, at, needs, node).then_some(at);
        let mut free = self.taken.free(node);
        if need.fits_in(&free) {
            return in_time(from);
        }
        if !need.fits_in(&node.report.capacity) {
            return None;
        }
        for (end, resources) in self.ends(node) {
            free += &resources;
            if need.fits_in(&free) {
                return in_time(end.max(from));
            }
        }
        None
    }

    /// Until when others have the kernel of a node alone, as far as that keeps a task
    /// away from it.
    fn taken_until(&self, needs: &Needs, node: &Node) -> TimeMs {
        if self.taken.choose(self.world, needs, node) != Err(Refusal::KernelTaken) {
            return self.now;
        }
        let grace_ms = self.world.policy().grace_ms;
        let kernel = self.world.kernels().kernel(node.kernel);
        let nodes = kernel.nodes().iter().map(|id| self.world.node(*id));
        let alone = nodes.flat_map(|node| {
            let alone = |task: &&TaskId| {
                let job = &self.world.jobs()[&task.job];
                job.tasks.active[&task.index].is_alone()
            };
            let running = node.tasks.iter().filter(alone);
            let running = running.map(move |task| self.end_of(node, task, grace_ms));
            let placed = self.placed.get(node.id.index()).into_iter().flatten();
            running.chain(
                placed
                    .filter(|placed| placed.alone)
                    .map(|placed| placed.until),
            )
        });
        alone.max().unwrap_or(self.now)
    }

    /// What is free on a node at a time.
    pub fn free_at(&self, id: NodeId, at: TimeMs) -> Resources {
        let node = self.world.node(id);
        let ends = self.ends(node).into_iter().filter(|(end, _)| *end <= at);
        ends.fold(self.taken.free(node), |free, (_, resources)| {
            free.plus(&resources)
        })
    }

    /// What runs on a node, by when it ends at the latest.
    fn ends(&self, node: &Node) -> Vec<(TimeMs, Resources)> {
        self.ends_with(node, self.world.policy().grace_ms)
    }

    /// The same, where what was told to end is taken to be gone after so long.
    pub(in crate::round) fn ends_with(
        &self,
        node: &Node,
        grace_ms: i64,
    ) -> Vec<(TimeMs, Resources)> {
        let of = |task: &TaskId| {
            let end = self.end_of(node, task, grace_ms);
            (end, self.world.takes_up(task))
        };
        let mut ends: Vec<(TimeMs, Resources)> = node.tasks.iter().map(of).collect();
        let placed = self.placed.get(node.id.index()).into_iter().flatten();
        ends.extend(placed.map(|placed| (placed.until, placed.amounts)));
        ends.sort();
        ends
    }

    /// When a task on a node ends at the latest.
    fn end_of(&self, node: &Node, task: &TaskId, grace_ms: i64) -> TimeMs {
        let stays = !self.victims.contains(task);
        let end = latest_end(self.world, node, task).filter(|_| stays);
        end.unwrap_or(self.now + grace_ms).max(self.now + 1)
    }
}
