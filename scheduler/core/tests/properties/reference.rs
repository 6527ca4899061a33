//! The fair-share rules read slowly: everything computed anew at every question, fractions
//! compared by cross-multiplication, no cache, no cursor, no early exit.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use jeroboam_core::ids::{ClassId, QueueId, TaskId};
use jeroboam_core::resources::{DIMENSIONS, Resources};
use jeroboam_core::round::order::Head;
use jeroboam_core::round::share::{FINE_BITS, Share};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

/// A round as far as the order sees it.
pub struct Reference<'w> {
    world: &'w World,
    now: TimeMs,
    placed: BTreeSet<TaskId>,
    failed: BTreeSet<ClassId>,
}

impl<'w> Reference<'w> {
    pub fn new(world: &'w World, now: TimeMs) -> Self {
        Reference {
            world,
            now,
            placed: BTreeSet::new(),
            failed: BTreeSet::new(),
        }
    }

    /// The task that goes next.
    pub fn first(&self) -> Option<Head> {
        self.head(QueueId::ROOT)
    }

    pub fn fail(&mut self, class: ClassId) {
        self.failed.insert(class);
    }

    /// Takes the lowest queued index of the head's job.
    pub fn place(&mut self, head: &Head) -> u32 {
        let queued = &self.world.jobs()[&head.job].tasks.queued;
        let free = |index: &u32| {
            !self.placed.contains(&TaskId {
                job: head.job,
                index: *index,
            })
        };
        let index = queued.iter().find(free).unwrap();
        self.placed.insert(TaskId {
            job: head.job,
            index,
        });
        index
    }

    fn head(&self, id: QueueId) -> Option<Head> {
        let queue = self.world.queues().queue(id);
        if queue.cordoned.is_some() {
            return None;
        }
        if !queue.children.is_empty() {
            let heads = queue
                .children
                .iter()
                .filter_map(|child| Some((*child, self.head(*child)?)));
            return heads
                .min_by(|left, right| self.compare(left, right))
                .map(|(_, head)| head);
        }
        let jobs = self.world.jobs().values().filter(|job| job.queue == id);
        let waiting = jobs.filter(|job| {
            let left = |index: u32| !self.placed.contains(&TaskId { job: job.id, index });
            !self.failed.contains(&job.class) && job.tasks.queued.iter().any(left)
        });
        let first =
            waiting.min_by_key(|job| (Reverse(job.spec.priority), job.submitted, job.id))?;
        Some(Head {
            leaf: id,
            job: first.id,
            class: first.class,
        })
    }

    fn compare(&self, left: &(QueueId, Head), right: &(QueueId, Head)) -> Ordering {
        let (a, b) = (self.measures(left), self.measures(right));
        let keys = fraction(&a.0, &b.0)
            .then_with(|| fraction(&a.1, &b.1))
            .then_with(|| fraction(&a.2, &b.2));
        keys.then(left.0.cmp(&right.0))
    }

    /// Key, load before the task, and size of the task, each a fraction.
    fn measures(
        &self,
        (queue, head): &(QueueId, Head),
    ) -> ((i128, i128), (i128, i128), (i128, i128)) {
        let cost = self.world.classes().needs(head.class).resources;
        let held = self.held(*queue);
        let (share, phi, pool) = (self.share(*queue), self.phi(*queue), self.pool());
        let ratio = |d: usize| (i128::from(cost[d]), i128::from(pool[d]));
        let there: Vec<usize> = (0..DIMENSIONS).filter(|d| pool[*d] > 0).collect();
        // What it asks at least half as much of, relative to the pool, as of any other.
        let about = there.iter().filter(|d| cost[**d] > 0).filter(|d| {
            let (c, p) = ratio(**d);
            there
                .iter()
                .all(|k| fraction(&(2 * c, p), &ratio(*k)) != Ordering::Less)
        });
        let (mut key, mut load) = ((0, 1), (0, 1));
        for d in about {
            let (a, c) = (
                i128::from(held[*d]) << FINE_BITS,
                i128::from(cost[*d]) << FINE_BITS,
            );
            let e = i128::from(share.fine[*d]);
            let level = i128::from(share.level[*d]);
            key = largest(key, (phi[*d] * (a + c).min(a.max(e)), level));
            load = largest(load, (phi[*d] * a, level));
        }
        let size = there.iter().map(|d| ratio(*d)).fold((0, 1), largest);
        (key, load, size)
    }

    fn held(&self, id: QueueId) -> Resources {
        let below = |leaf: QueueId| self.world.queues().path(leaf).any(|queue| queue == id);
        let mut held = Resources::ZERO;
        for job in self.world.jobs().values().filter(|job| below(job.queue)) {
            let placed = self.placed.iter().filter(|task| task.job == job.id).count();
            held += &job
                .resources()
                .times((job.tasks.active.len() + placed) as i64);
        }
        held
    }

    /// What was there at the start of the round decides the shares.
    fn held_before(&self, id: QueueId) -> Resources {
        Reference::new(self.world, self.now).held(id)
    }

    fn pool(&self) -> Resources {
        let mut pool = Resources::ZERO;
        for node in self.world.nodes() {
            let counts = node.present && self.world.site(node.site).counts(self.now);
            pool += if counts {
                &node.report.capacity
            } else {
                &node.held
            };
        }
        pool
    }

    fn demand(&self, id: QueueId) -> Resources {
        let (queue, pool) = (self.world.queues().queue(id), self.pool());
        let mut demand = Resources::ZERO;
        if queue.children.is_empty() {
            demand = self.held_before(id);
            for class in self.world.classes().iter() {
                let jobs = self
                    .world
                    .jobs()
                    .values()
                    .filter(|job| job.queue == id && job.class == class);
                let queued: u64 = jobs.map(|job| job.tasks.queued.len()).sum();
                let each = self.world.classes().needs(class).resources;
                demand += &each.times(each.times_in(&pool).min(queued as i64));
            }
        }
        for child in &queue.children {
            demand += &self.demand(*child);
        }
        demand.smaller(&pool.larger(&self.held_before(id)))
    }

    /// A queue's share, from the root down to it.
    pub fn share(&self, id: QueueId) -> Share {
        self.compute(id)
    }

    fn compute(&self, id: QueueId) -> Share {
        let (demand, pool) = (self.demand(id), self.pool());
        let queue = self.world.queues().queue(id);
        let mut share = Share {
            demand,
            ..Share::default()
        };
        let Some(parent) = queue.parent else {
            share.entitlement = pool.smaller(&demand);
            share.fine = share.entitlement.0.map(|amount| amount << FINE_BITS);
            share.level = pool.0.map(|amount| amount << FINE_BITS);
            return share;
        };
        let above = self.compute(parent);
        let siblings = &self.world.queues().queue(parent).children;
        let me = siblings.iter().position(|sibling| *sibling == id).unwrap();
        for d in 0..DIMENSIONS {
            let vessels: Vec<(i64, i64)> = siblings
                .iter()
                .map(|sibling| {
                    let weight = self.world.queues().queue(*sibling).spec.weight;
                    (i64::from(weight), self.demand(*sibling)[d] << FINE_BITS)
                })
                .collect();
            (share.fine[d], share.level[d]) = pour(&vessels, above.fine[d])[me];
            share.entitlement[d] = share.fine[d] >> FINE_BITS;
        }
        share
    }

    fn phi(&self, id: QueueId) -> [i128; DIMENSIONS] {
        let (queue, policy) = (self.world.queues().queue(id), self.world.policy());
        let exponent = match queue.children.is_empty() {
            true => policy.memory_exponent_leaf,
            false => policy.memory_exponent_inner,
        };
        let one = 1i128 << 16;
        let level = self.share(id).level;
        std::array::from_fn(|d| {
            if !queue.usage.has_past() || level[d] <= 0 {
                return one;
            }
            let used =
                (i128::from(queue.usage.average_fine()[d]) << FINE_BITS) / i128::from(level[d]);
            let clamp = |x: i128| x.clamp(one / 2, one * 2);
            (0..exponent).fold(one, |power, _| clamp(power * clamp(used) / one))
        })
    }
}

/// Entitlement and level of (weight, demand) vessels: the level is where everybody's
/// min(demand, λ · weight) sums up to what there is, found by trying each vessel's brim.
pub fn pour(vessels: &[(i64, i64)], available: i64) -> Vec<(i64, i64)> {
    let weighted: Vec<(i128, i128)> = vessels
        .iter()
        .filter(|(weight, _)| *weight > 0)
        .map(|(weight, demand)| (i128::from(*weight), i128::from(*demand)))
        .collect();
    // Full at λ = n/m: demand · m <= n · weight.
    let full = |(weight, demand): &(i128, i128), (n, m): (i128, i128)| demand * m <= n * weight;
    let poured_times_m = |(n, m): (i128, i128)| -> i128 {
        weighted
            .iter()
            .map(|(weight, demand)| (demand * m).min(n * weight))
            .sum()
    };
    let available = i128::from(available);
    let brims = weighted.iter().map(|(weight, demand)| (*demand, *weight));
    let reached = brims.filter(|brim| poured_times_m(*brim) <= available * brim.1);
    let last = reached.max_by(fraction).unwrap_or((0, 1));
    let satisfied: i128 = weighted.iter().filter(|v| full(v, last)).map(|v| v.1).sum();
    let rest: i128 = weighted
        .iter()
        .filter(|v| !full(v, last))
        .map(|v| v.0)
        .sum();
    let left = available - satisfied;
    let mut over = left;
    let mut shares = Vec::new();
    for (weight, demand) in vessels
        .iter()
        .map(|(w, d)| (i128::from(*w), i128::from(*d)))
    {
        shares.push(match (weight, rest) {
            (0, 0) => {
                let got = demand.min(over);
                over -= got;
                (got as i64, 0)
            }
            (0, _) => (0, 0),
            (_, 0) => (demand as i64, available.max(1) as i64),
            (_, _) => {
                let level = (left * weight / rest).max(1);
                (demand.min(level) as i64, level as i64)
            }
        });
    }
    shares
}

fn largest(left: (i128, i128), right: (i128, i128)) -> (i128, i128) {
    match fraction(&left, &right) {
        Ordering::Greater => left,
        Ordering::Equal | Ordering::Less => right,
    }
}

/// Compares fractions; a denominator of 0 is larger than everything.
fn fraction(left: &(i128, i128), right: &(i128, i128)) -> Ordering {
    match (left.1, right.1) {
        (0, 0) => Ordering::Equal,
        (0, _) => Ordering::Greater,
        (_, 0) => Ordering::Less,
        _ => (left.0 * right.1).cmp(&(right.0 * left.1)),
    }
}
