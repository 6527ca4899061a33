//! Whose task goes next: hierarchical dominant-resource fair share (rules 5 and 6).
//!
//! At each level of the queue tree the child with the lowest key goes, where
//! the key is that of the child's own next task or gang. First those below their
//! guarantee in a resource that the work is about, by how well it is served:
//!
//! `max over the unmet r of (a + c)_r / g'_r`
//!
//! then the others, by
//!
//! `max over r of φ_r · min(a + c, max(a, e))_r / (λ_r · w)`
//!
//! with `a` held or reserved, `c` the cost, `e` the entitlement, `λ·w` the water level
//! ([`super::share`]), and `r` the resources that the work is about: those of
//! which it asks at least half as much, relative to the pool, as of its
//! dominant one. `φ` in [½, 2] remembers decayed usage. The cost is capped by
//! the entitlement, so a task wider than its queue's share still starts.
//! Ties: the lower load before the task, then the smaller task, then the id.
//! Inside a leaf: class, priority, then submission, then id.
//!
//! Who may go at all is decided by [`super::barrier`] (room kept for others), the limits
//! of the queues, and by what was found not to fit.
//!
//! Heads are kept by rank at every queue, so that a placement costs what its path costs.

mod key;
mod line;
mod rights;

pub use key::{Key, Rank, dominant, is_about};

use super::barrier::{Barrier, Work};
use super::counts::Counts;
use super::share::{Shares, fine};
use crate::ids::{ClassId, JobId, QueueId};
use crate::job::Job;
use crate::queue::Queue;
use crate::ranges::RangeSet;
use crate::resources::{DIMENSIONS, Resources};
use crate::time::TimeMs;
use crate::world::World;
use key::{Band, memory};
use line::Line;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// So many are near the best at most: the first that come down the tree.
const NEAR_MAX: usize = 64;

/// The next task or gang of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Of this leaf.
    pub leaf: QueueId,
    /// The job that it belongs to.
    pub job: JobId,
    /// Its requirement class.
    pub class: ClassId,
}

/// The order in which waiting work goes, while a round takes places.
pub struct Order<'a> {
    world: &'a World,
    shares: Shares,
    /// Held or reserved.
    charged: Vec<Resources>,
    phi: Vec<[u128; DIMENSIONS]>,
    heads: Vec<Option<(Head, Rank)>>,
    /// Of inner queues: the children that have a head, by rank.
    ranked: Vec<BTreeSet<(Rank, QueueId)>>,
    /// Classes that nothing takes any more in this round.
    blocked: Vec<bool>,
    /// Classes that would take a leaf over a limit, or that were passed over there.
    shut: BTreeSet<(QueueId, ClassId)>,
    barrier: Barrier,
    closed: [bool; DIMENSIONS],
    /// Closed, whatever work need not respect.
    closed_to_all: [bool; DIMENSIONS],
    /// Held, less what is on its way out, plus what room is being freed for: what
    /// guarantees go by.
    net: Vec<Resources>,
    /// On its way out.
    leaving: Vec<Resources>,
    guarantees: bool,
    short_passes: bool,
    now: TimeMs,
    /// Heads beyond a limit count: reclaiming may keep them inside.
    beyond_limits: bool,
    /// All heads are to be found anew before the next question.
    stale: bool,
    /// Of each job, the tasks that are placed or for which room is kept.
    taken: BTreeMap<JobId, RangeSet>,
    /// Of leaves: who may still go.
    lines: Vec<Line>,
    /// Tasks that are placed or for which room is kept.
    counts: Counts,
    /// Of classes: what they ask for, worked out when first needed.
    asks: Vec<OnceCell<Box<Ask>>>,
}

/// What work of a class asks for, as far as its order goes by that.
struct Ask {
    /// In all.
    cost: Resources,
    /// What it is about.
    about: [bool; DIMENSIONS],
    /// Its dominant share of the pool.
    size: Key,
}

impl<'a> Order<'a> {
    /// The order at the start of a round, in which nothing is reserved.
    pub fn new(world: &'a World, now: TimeMs) -> Self {
        let queues = world.queues().len();
        let shares = Shares::new(world, now);
        let mut order = Order {
            world,
            charged: world.queues().iter().map(|queue| queue.held).collect(),
            phi: world
                .queues()
                .iter()
                .map(|queue| memory(world, &shares, queue))
                .collect(),
            shares,
            heads: vec![None; queues],
            ranked: vec![BTreeSet::new(); queues],
            blocked: vec![false; world.classes().ids_end()],
            shut: BTreeSet::new(),
            barrier: Barrier::default(),
            closed: [false; DIMENSIONS],
            closed_to_all: [false; DIMENSIONS],
            net: Vec::new(),
            leaving: leaving(world),
            beyond_limits: false,
            stale: true,
            short_passes: false,
            now,
            guarantees: world
                .queues()
                .iter()
                .any(|queue| !queue.spec.guarantee.is_zero()),
            taken: BTreeMap::new(),
            lines: (0..queues).map(|_| Line::default()).collect(),
            counts: Counts::new(world),
            asks: (0..world.classes().ids_end())
                .map(|_| OnceCell::new())
                .collect(),
        };
        let held = order.charged.iter().zip(&order.leaving);
        order.net = held.map(|(held, leaving)| held.minus(leaving)).collect();
        order
    }

    /// The shares that the order goes by.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// What a queue holds or has reserved.
    pub fn charged(&self, queue: QueueId) -> &Resources {
        &self.charged[queue.index()]
    }

    /// What a queue holds, less what is on its way out.
    pub fn net(&self, queue: QueueId) -> &Resources {
        &self.net[queue.index()]
    }

    /// A victim is on its way out of a leaf.
    pub fn leave(&mut self, leaf: QueueId, amount: &Resources) {
        for queue in self.world.queues().path(leaf) {
            self.net[queue.index()] -= amount;
            self.leaving[queue.index()] += amount;
        }
    }

    /// Room is being freed for work that is reserved already.
    pub fn free_for(&mut self, work: &Work) {
        for queue in self.world.queues().path(work.leaf) {
            self.net[queue.index()] += &work.cost;
        }
    }

    /// Undoes [`Order::free_for`].
    pub fn free_no_more_for(&mut self, work: &Work) {
        for queue in self.world.queues().path(work.leaf) {
            self.net[queue.index()] -= &work.cost;
        }
    }

    /// The work that goes next; `None` when nothing is left to try.
    pub fn first(&mut self) -> Option<Head> {
        self.settle();
        self.heads[QueueId::ROOT.index()].map(|(head, _)| head)
    }

    /// The work that may go next: of every queue whose key is within `permille` of the
    /// best at each level of its path, [`NEAR_MAX`] at most, the widest first.
    pub fn near(&mut self, permille: u32) -> Vec<Head> {
        self.settle();
        let mut near = Vec::new();
        self.gather_near(QueueId::ROOT, permille, &mut near);
        if near.len() > 1 {
            near.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        }
        near.into_iter().map(|(head, _)| head).collect()
    }

    fn gather_near(&self, id: QueueId, permille: u32, near: &mut Vec<(Head, Key)>) {
        let queue = self.world.queues().queue(id);
        let Some((head, rank)) = self.heads[id.index()] else {
            return;
        };
        if near.len() >= NEAR_MAX {
            return;
        }
        if queue.children.is_empty() {
            near.push((head, rank.size));
            return;
        }
        let ranked = &self.ranked[id.index()];
        let Some((best, _)) = ranked.first() else {
            return;
        };
        let most = best.key.plus_permille(permille);
        let passes = |(rank, _): &&(Rank, QueueId)| rank.band == best.band && rank.key <= most;
        for (_, child) in ranked.iter().take_while(passes) {
            self.gather_near(*child, permille, near);
        }
    }

    /// A queue's head, if there is one.
    pub fn head_of(&mut self, queue: QueueId) -> Option<Head> {
        self.settle();
        self.heads[queue.index()].map(|(head, _)| head)
    }

    /// What a head asks for in all.
    pub fn cost(&self, head: &Head) -> Resources {
        self.ask(head).cost
    }

    fn ask(&self, head: &Head) -> &Ask {
        self.asks[head.class.index()].get_or_init(|| {
            let cost = self.world.classes().cost(head.class);
            let pool = &self.shares.pool;
            Box::new(Ask {
                cost,
                about: std::array::from_fn(|d| is_about(&cost, pool, d)),
                size: dominant(&cost, pool).map_or(Key::ZERO, |d| Key {
                    numerator: cost[d] as u128,
                    denominator: pool[d] as u128,
                }),
            })
        })
    }

    /// The tasks that a head stands for.
    ///
    /// # Panics
    /// If the head is not one of this order as it is.
    pub fn tasks(&self, head: &Head) -> Vec<u32> {
        let tasks = self.unit(&self.world.jobs()[&head.job], head.class);
        tasks.expect("a head has tasks that wait")
    }

    /// No node takes the class any more in this round: every queue whose head it
    /// was gets another, since a head that cannot go must not decide the order.
    pub fn block(&mut self, class: ClassId) {
        self.blocked[class.index()] = true;
        let stale = |queue: &QueueId| {
            self.heads[queue.index()].is_some_and(|(head, _)| head.class == class)
                && self.world.queues().queue(*queue).children.is_empty()
        };
        let leaves: Vec<QueueId> = (0..self.heads.len() as u32)
            .map(QueueId)
            .filter(stale)
            .collect();
        leaves.into_iter().for_each(|leaf| self.refresh_path(leaf));
    }

    /// Passes over the class of a head in its leaf.
    pub fn shut(&mut self, head: &Head) {
        self.shut.insert((head.leaf, head.class));
        self.refresh_path(head.leaf);
    }

    /// Looks again at what was found not to fit or passed over: there is room again.
    pub fn reopen(&mut self) {
        if self.shut.is_empty() && !self.blocked.contains(&true) {
            return;
        }
        self.blocked.fill(false);
        self.shut.clear();
        self.stale = true;
    }

    /// From here on every claim counts, whatever is closed or limited.
    pub fn open_to_claims(&mut self) {
        self.beyond_limits = true;
        self.shut.clear();
        self.barrier = Barrier::default();
        self.closed = [false; DIMENSIONS];
        self.stale = true;
    }

    /// Who may pass has changed.
    pub fn set_barrier(&mut self, barrier: Barrier) {
        if self.beyond_limits {
            return;
        }
        let closed = barrier.closed(|_, _| true);
        // Claims count only what they have to respect: between this and all.
        let least = barrier.closed(|_, _| false);
        let some_count_less = self.guarantees || self.short_passes;
        let changed = closed != self.closed || least != self.closed_to_all;
        self.stale |= changed || (some_count_less && closed != least);
        self.barrier = barrier;
        self.closed = closed;
        self.closed_to_all = least;
    }

    /// So much less is free in the pool.
    pub fn take_free(&mut self, amount: &Resources) {
        self.barrier.free -= amount;
        let barrier = std::mem::take(&mut self.barrier);
        self.set_barrier(barrier);
    }

    /// Takes a head's tasks out of the order; they are placed, and its queues charged.
    pub fn place(&mut self, head: &Head, tasks: &[u32]) {
        self.mark_taken(head.job, tasks);
        let cost = self.cost(head);
        self.charge(head.leaf, &cost);
        for queue in self.world.queues().path(head.leaf) {
            self.net[queue.index()] += &cost;
        }
        let job = &self.world.jobs()[&head.job];
        if tasks.len() > 1 {
            // The others of its job may follow the gang.
            self.line_up(head.leaf, job.alone, job);
        }
        self.refresh_path(head.leaf);
    }

    /// Takes tasks out of the order for which room is kept, and charges their queues.
    pub fn reserve(&mut self, leaf: QueueId, job: JobId, tasks: &[u32], cost: &Resources) {
        self.mark_taken(job, tasks);
        self.charge(leaf, cost);
        self.refresh_path(leaf);
    }

    /// Tasks for which room was kept are placed.
    pub fn start_reserved(&mut self, leaf: QueueId, job: JobId, tasks: &[u32]) {
        let job = &self.world.jobs()[&job];
        if tasks.len() > 1 {
            self.line_up(leaf, job.alone, job);
        }
        self.refresh_path(leaf);
    }

    /// Gives up what [`Order::reserve`] did; the tasks of the class are in the order
    /// again.
    pub fn unreserve(&mut self, work: &Work, job: JobId, tasks: &[u32], class: ClassId) {
        let taken = self.taken.entry(job).or_default();
        tasks.iter().for_each(|task| {
            taken.remove(*task);
        });
        for queue in self.world.queues().path(work.leaf) {
            self.charged[queue.index()] -= &work.cost;
        }
        if let Some(job) = self.world.jobs().get(&job) {
            let count = tasks.len() as u64;
            self.counts.take(self.world, job.queue, job.alone, count);
            self.line_up(work.leaf, class, job);
        }
        self.shut.clear();
        self.stale = true;
    }

    fn mark_taken(&mut self, job: JobId, tasks: &[u32]) {
        let taken = self.taken.entry(job).or_default();
        tasks.iter().for_each(|task| {
            taken.insert(*task);
        });
        let job = &self.world.jobs()[&job];
        let count = tasks.len() as u64;
        self.counts.add(self.world, job.queue, job.alone, count);
    }

    fn charge(&mut self, leaf: QueueId, cost: &Resources) {
        for queue in self.world.queues().path(leaf) {
            self.charged[queue.index()] += cost;
        }
    }

    /// Where a queue stands with a head below it.
    pub fn rank(&self, queue: QueueId, head: &Head) -> Rank {
        let (share, ask) = (self.shares.of(queue), self.ask(head));
        let (charged, cost) = (fine(&self.charged[queue.index()]), fine(&ask.cost));
        let load = self.largest(queue, &ask.about, |d| charged[d]);
        let unmet = |d: &usize| charged[*d] < share.guarantee[*d] && ask.about[*d];
        let served = (0..DIMENSIONS).filter(unmet).map(|d| Key {
            numerator: (charged[d] + cost[d]).max(0) as u128,
            denominator: share.guarantee[d].max(0) as u128,
        });
        let (band, key) = match served.max() {
            Some(key) => (Band::BelowGuarantee, key),
            None => (
                Band::ByShare,
                self.largest(queue, &ask.about, |d| {
                    (charged[d] + cost[d]).min(charged[d].max(share.fine[d]))
                }),
            ),
        };
        Rank {
            band,
            key,
            load,
            size: ask.size,
        }
    }

    /// The largest of φ · amount / level over the resources a task is about; amounts
    /// with [`FINE_BITS`] fractional bits, as the levels are.
    fn largest(
        &self,
        queue: QueueId,
        about: &[bool; DIMENSIONS],
        amount: impl Fn(usize) -> i64,
    ) -> Key {
        let share = self.shares.of(queue);
        let phi = &self.phi[queue.index()];
        let about = (0..DIMENSIONS).filter(|d| about[*d]);
        let keys = about.map(|d| Key {
            numerator: phi[d] * amount(d).max(0) as u128,
            denominator: share.level[d].max(0) as u128,
        });
        keys.max().unwrap_or(Key::ZERO)
    }

    fn refresh_path(&mut self, leaf: QueueId) {
        if self.stale {
            return;
        }
        let queues = self.world.queues();
        queues.path(leaf).for_each(|id| self.refresh(id));
    }

    fn settle(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        // Parents come before their children in order of creation.
        let queues = self.world.queues().len() as u32;
        for id in (0..queues).rev().map(QueueId) {
            let queue = self.world.queues().queue(id);
            if queue.children.is_empty() {
                self.lines[id.index()].form(queue);
            }
            self.refresh(id);
        }
    }

    /// A job of a leaf has something for this round that the World does not list so.
    fn line_up(&mut self, leaf: QueueId, class: ClassId, job: &Job) {
        let queue = self.world.queues().queue(leaf);
        self.lines[leaf.index()].add(queue, class, job.pending());
    }

    /// Finds a queue's head anew, from its line or from its children's ranks.
    fn refresh(&mut self, id: QueueId) {
        let queue = self.world.queues().queue(id);
        let head = if queue.cordoned.is_some() {
            None
        } else if queue.children.is_empty() {
            self.leaf_head(queue)
        } else {
            let first = self.ranked[id.index()].first();
            first.and_then(|(_, child)| self.heads[child.index()].map(|(head, _)| head))
        };
        let now = head.map(|head| (head, self.rank(id, &head)));
        let before = std::mem::replace(&mut self.heads[id.index()], now);
        let Some(parent) = queue.parent else {
            return;
        };
        let ranked = &mut self.ranked[parent.index()];
        if let Some((_, rank)) = before {
            ranked.remove(&(rank, id));
        }
        if let Some((_, rank)) = now {
            ranked.insert((rank, id));
        }
    }

    fn leaf_head(&mut self, queue: &Queue) -> Option<Head> {
        loop {
            let (first, class) = self.lines[queue.id.index()].first()?;
            let head = Head {
                leaf: queue.id,
                job: first.job,
                class,
            };
            let line = &mut self.lines[queue.id.index()];
            if self.blocked[class.index()] || self.shut.contains(&(queue.id, class)) {
                line.pass_over();
                continue;
            }
            let job = &self.world.jobs()[&first.job];
            let work = Work {
                leaf: queue.id,
                cost: self.cost(&head),
            };
            if !self.has_unit(job, class) || !self.may_start(&head, job) {
                self.lines[queue.id.index()].spend(queue);
            } else if self.is_kept_out(&work, class) {
                self.lines[queue.id.index()].pass_over();
            } else if !self.within_bounds(&head)
                || (!self.beyond_limits && !self.within_limits(queue.id, &work.cost))
            {
                self.shut.insert((queue.id, class));
            } else {
                return Some(head);
            }
        }
    }

    /// True if tasks of a job may go, at once as many as its class says.
    fn has_unit(&self, job: &Job, class: ClassId) -> bool {
        match self.taken.get(&job.id) {
            None => job.ready_in(class) >= self.world.classes().gang(class).size.into(),
            Some(_) => self.unit(job, class).is_some(),
        }
    }

    /// The tasks of a job that go next at once.
    pub(super) fn unit(&self, job: &Job, class: ClassId) -> Option<Vec<u32>> {
        let size = self.world.classes().gang(class).size;
        let nothing = RangeSet::default();
        let taken = self.taken.get(&job.id).unwrap_or(&nothing);
        let ready = match job.tasks.altered.is_empty() {
            true => job.ready().tasks,
            false if job.ready_in(class) == 0 => 0,
            false => job.room(),
        };
        if ready < taken.len() + u64::from(size) {
            return None;
        }
        job.next_tasks(class, size, taken)
    }
}

/// What each queue holds and was preempted.
fn leaving(world: &World) -> Vec<Resources> {
    let mut leaving = vec![Resources::ZERO; world.queues().len()];
    for task in world.leaving() {
        let job = &world.jobs()[&task.job];
        for queue in world.queues().path(job.queue) {
            leaving[queue.index()] += job.resources_of(task.index);
        }
    }
    leaving
}
