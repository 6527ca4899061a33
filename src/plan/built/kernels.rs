//! Who has used which kernel before anything that the file tells of: a task of each, which
//! takes nothing and has ended.

use jeroboam_core::event::{Event, Placement};
use jeroboam_core::ids::{LeaseId, NodeId, QueueId, TaskId};
use jeroboam_core::job::{AttemptEnd, Outcome};
use jeroboam_core::resources::{CPU, Resources};
use jeroboam_core::spec::{BatchSpec, JobSpec, Needs};
use jeroboam_core::time::TimeMs;

use super::Built;
use crate::batch_file::faults::Found;
use crate::batch_file::tree::At;

impl Built {
    /// Lets every queue use the kernels that the file says it has used.
    pub(super) fn use_kernels(&mut self, now: TimeMs, found: &mut Found) -> Option<()> {
        for position in 0..self.state.nodes.len() {
            for (at, queue) in self.state.nodes[position].used_by.clone() {
                let leaf = self.leaf_of(at, queue, found)?;
                self.use_kernel(now, at, position, leaf, found)?;
            }
        }
        Some(())
    }

    /// A leaf whose tenant a queue is.
    fn leaf_of(&self, at: At, queue: usize, found: &mut Found) -> Option<QueueId> {
        let id = self.queues[queue];
        let mut queues = self.world.queues().iter();
        let leaf = queues.find(|queue| queue.is_leaf() && queue.tenant == id);
        if leaf.is_none() {
            let what = format!("the queue `{}` is no tenant", self.state.queues[queue].name);
            let remedy =
                "name a queue at the top, or one with `tenant: true`, with work of its own";
            found.say(at, what, remedy);
        }
        leaf.map(|queue| queue.id)
    }

    fn use_kernel(
        &mut self,
        now: TimeMs,
        at: At,
        node: usize,
        leaf: QueueId,
        found: &mut Found,
    ) -> Option<()> {
        let mut needs = Needs::new(Resources::ZERO, 1);
        needs.resources[CPU] = self.state.nodes[node].capacity[CPU].min(1);
        needs.tolerations = self.state.nodes[node].taints.clone();
        let request_id = "kernels".to_owned();
        let submitted = Event::BatchSubmitted {
            request_id: request_id.clone(),
            digest: [0; 32],
            by: "plan".to_owned(),
            spec: BatchSpec {
                name: "plan".to_owned(),
                queue: self.world.queues().queue(leaf).spec.name.clone(),
                jobs: vec![JobSpec::new("plan", needs)],
            },
        };
        self.apply(now, &submitted, at, found)?;
        let batch = self.world.batch_of_request(&request_id)?;
        let (batch, job) = (batch.id, batch.first_job);
        let task = TaskId { job, index: 0 };
        let placed = Event::PlanCommitted {
            placements: vec![Placement {
                task,
                node: NodeId(node as u32),
                way: None,
            }],
            preemptions: Vec::new(),
            reservations: None,
        };
        self.apply(now, &placed, at, found)?;
        let lease = LeaseId {
            lineage: 1,
            task,
            attempt: 1,
        };
        let end = AttemptEnd::bare(Outcome::Exit(0));
        self.apply(now, &Event::AttemptEnded { lease, end }, at, found)?;
        self.apply(now, &Event::BatchRetired { batch }, at, found)
    }
}
