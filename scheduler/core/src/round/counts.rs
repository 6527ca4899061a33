//! How many tasks hold a place, in queues that bound that, for all or for each user: what
//! the World has, and what has been given or kept meanwhile.
//!
//! Bounds are hard: no guarantee and no reservation goes beyond them.

use crate::ids::{ClassId, QueueId};
use crate::reason::WaitingReason;
use crate::world::World;
use std::collections::BTreeMap;

/// Tasks that were given places, or have room kept for them, since the World was as it is.
#[derive(Debug, Default)]
pub struct Counts {
    /// Some queue bounds what holds a place.
    bounded: bool,
    of_queue: BTreeMap<QueueId, u64>,
    of_user: BTreeMap<(QueueId, String), u64>,
}

impl Counts {
    /// Nothing yet.
    pub fn new(world: &World) -> Self {
        let mut queues = world.queues().iter();
        Counts {
            bounded: queues.any(|queue| queue.spec.bounds.bound_running()),
            ..Counts::default()
        }
    }

    /// False: no queue bounds what holds a place, and nothing is counted.
    pub fn are_bounded(&self) -> bool {
        self.bounded
    }

    /// Which queue's bound so many more tasks of a class would exceed, and which bound.
    pub fn reached(
        &self,
        world: &World,
        leaf: QueueId,
        class: ClassId,
        more: u64,
    ) -> Option<(QueueId, WaitingReason)> {
        if !self.bounded {
            return None;
        }
        let user = world.classes().user(class);
        let queues = world.queues();
        queues.path(leaf).find_map(|id| {
            let queue = queues.queue(id);
            let bounds = &queue.spec.bounds;
            let given = self.of_queue.get(&id).copied().unwrap_or(0);
            if bounds
                .running_max
                .is_some_and(|max| queue.running + given + more > max)
            {
                return Some((id, WaitingReason::QueueRunningMax));
            }
            let (max, user) = (bounds.user_running_max?, user?);
            let running = queue.users.get(user).map_or(0, |tasks| tasks.running);
            let given = self.of_user.get(&(id, user.to_string()));
            let with = running + given.copied().unwrap_or(0) + more;
            (with > max).then_some((id, WaitingReason::UserLimit))
        })
    }

    /// So many tasks of a class are given places, or room is kept for them.
    pub fn add(&mut self, world: &World, leaf: QueueId, class: ClassId, tasks: u64) {
        self.change(world, leaf, class, |count| *count += tasks);
    }

    /// Undoes [`Counts::add`].
    pub fn take(&mut self, world: &World, leaf: QueueId, class: ClassId, tasks: u64) {
        self.change(world, leaf, class, |count| *count -= tasks);
    }

    fn change(&mut self, world: &World, leaf: QueueId, class: ClassId, change: impl Fn(&mut u64)) {
        if !self.bounded {
            return;
        }
        let user = world.classes().user(class);
        for id in world.queues().path(leaf) {
            change(self.of_queue.entry(id).or_default());
            if let Some(user) = user {
                change(self.of_user.entry((id, user.to_string())).or_default());
            }
        }
    }
}
