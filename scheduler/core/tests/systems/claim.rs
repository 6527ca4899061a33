//! Rule 7 read slowly: is there any list of victims, in any order, that a job of a queue
//! below its guarantee, or of a higher class than others of its queue, might have taken
//! and did not?

use jeroboam_core::ids::{JobId, QueueId};
use jeroboam_core::job::Job;
use jeroboam_core::resources::{DIMENSIONS, Resources};
use jeroboam_core::round::share::{FINE_BITS, Shares};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

use crate::verdict::{Unit, units};

pub const FINE: u32 = FINE_BITS;
/// Lists of more victims are not looked for.
const VICTIMS_MAX: usize = 3;

/// By which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    A,
    AOrB,
    Class,
}

/// The state at rest: nobody is on the way out.
pub struct Claims<'w> {
    world: &'w World,
    shares: Shares,
    units: Vec<Unit>,
}

impl<'w> Claims<'w> {
    pub fn new(world: &'w World, now: TimeMs) -> Self {
        let shares = Shares::new(world, now);
        let guarantee = |queue: QueueId, d: usize| shares.of(queue).guarantee[d];
        let about = |cost: &Resources, d: usize| is_about(cost, &shares.pool, d);
        let units = units(world, now, &guarantee, &about);
        Claims {
            world,
            shares,
            units,
        }
    }

    /// A job and its victims, if any list is allowed.
    pub fn missed(&self) -> Option<(JobId, Vec<usize>)> {
        let jobs = self.world.jobs().values();
        let waiting = jobs.filter(|job| {
            let ready = job.ready();
            let reserved = self.world.reservations().iter().any(|r| r.job == job.id);
            // Where free room will do it waits for that, behind a reservation.
            !reserved
                && ready.tasks >= u64::from(ready.size)
                && (self.has_claim(job) || self.world.outranks_running(job))
                && !self.makes_room(job, &[])
        });
        let mut found = waiting.map(|job| (job.id, self.list_for(job)));
        found.find_map(|(job, list)| list.map(|list| (job, list)))
    }

    /// A list as words, for a failure.
    pub fn tell(&self, list: &[usize]) -> String {
        let tell = |unit: &usize| {
            let unit = &self.units[*unit];
            let queue = &self.world.queues().queue(unit.leaf).spec.name;
            format!(
                "{} ({} tasks, {}) of `{queue}`",
                unit.tasks[0].0,
                unit.tasks.len(),
                unit.class.name(),
            )
        };
        list.iter().map(tell).collect::<Vec<_>>().join(", ")
    }

    fn cost(&self, job: &Job) -> Resources {
        job.resources().times(job.ready().size.into())
    }

    fn guarantee(&self, queue: QueueId, d: usize) -> i64 {
        self.shares.of(queue).guarantee[d]
    }

    fn has_claim(&self, job: &Job) -> bool {
        let cost = self.cost(job);
        self.world.queues().path(job.queue).any(|q| {
            let held = self.world.queues().queue(q).held;
            self.below(q, &cost, &held)
        })
    }

    fn below(&self, q: QueueId, cost: &Resources, held: &Resources) -> bool {
        let about = |d: usize| is_about(cost, &self.shares.pool, d);
        (0..DIMENSIONS).any(|d| about(d) && held[d] << FINE < self.guarantee(q, d))
    }

    fn list_for(&self, job: &Job) -> Option<Vec<usize>> {
        let open: Vec<usize> = (0..self.units.len())
            .filter(|unit| self.units[*unit].open)
            .collect();
        // Of a gang the planner tries some nodes first, not all orders: one victim only.
        let most = if job.ready().size == 1 {
            VICTIMS_MAX
        } else {
            1
        };
        for right in [Right::A, Right::AOrB, Right::Class] {
            for most in 1..=most {
                let mut list = Vec::new();
                if self.extend(job, &open, right, most, &mut list) {
                    return Some(list);
                }
            }
        }
        None
    }

    /// Tries every further victim, on the running totals.
    fn extend(
        &self,
        job: &Job,
        open: &[usize],
        right: Right,
        most: usize,
        list: &mut Vec<usize>,
    ) -> bool {
        if list.len() == most {
            return self.makes_room(job, list)
                && self.keeps_all(job, list, right)
                && self.is_needed(job, list)
                && (right == Right::Class || self.leaves_guarantees(job, list));
        }
        for unit in open {
            if list.contains(unit) {
                continue;
            }
            let allowed = match right {
                Right::A => self.allows_a(job, list, *unit),
                Right::AOrB => self.allows_a(job, list, *unit) || self.allows_b(job, list, *unit),
                Right::Class => self.is_outranked(job, *unit),
            };
            if allowed {
                list.push(*unit);
                if self.extend(job, open, right, most, list) {
                    return true;
                }
                list.pop();
            }
        }
        false
    }

    fn is_outranked(&self, job: &Job, unit: usize) -> bool {
        let victim = &self.units[unit];
        let lower = victim.class < job.spec.priority_class;
        self.world.policy().preempt_by_class && victim.leaf == job.queue && lower
    }

    /// Who goes by A leaves its queues their guarantees, whoever goes besides.
    fn leaves_guarantees(&self, job: &Job, list: &[usize]) -> bool {
        list.iter().all(|unit| {
            let others: Vec<usize> = list.iter().copied().filter(|other| other != unit).collect();
            self.allows_a(job, &others, *unit) || self.allows_b(job, &others, *unit)
        })
    }

    /// Nobody goes who need not.
    fn is_needed(&self, job: &Job, list: &[usize]) -> bool {
        list.iter().all(|unit| {
            let others: Vec<usize> = list.iter().copied().filter(|other| other != unit).collect();
            !self.makes_room(job, &others) || self.limited(job, &others)
        })
    }

    /// What a queue holds without those on the list.
    fn rem(&self, queue: QueueId, list: &[usize]) -> Resources {
        let below = |leaf: QueueId| self.world.queues().path(leaf).any(|id| id == queue);
        let victims = list.iter().map(|unit| &self.units[*unit]);
        let held = self.world.queues().queue(queue).held;
        victims
            .filter(|unit| below(unit.leaf))
            .fold(held, |rem, unit| rem.minus(&unit.cost))
    }

    fn allows_a(&self, job: &Job, list: &[usize], unit: usize) -> bool {
        let victim = &self.units[unit];
        let Some((q, y0)) = self.world.queues().fork(job.queue, victim.leaf) else {
            return false;
        };
        self.below(q, &self.cost(job), &self.rem(q, list))
            && self.from(y0, victim.leaf).into_iter().all(|y| {
                let left = self.rem(y, list).minus(&victim.cost);
                (0..DIMENSIONS)
                    .all(|d| victim.cost[d] == 0 || left[d] << FINE >= self.guarantee(y, d))
            })
    }

    fn allows_b(&self, job: &Job, list: &[usize], unit: usize) -> bool {
        let victim = &self.units[unit];
        let Some((q, y0)) = self.world.queues().fork(job.queue, victim.leaf) else {
            return false;
        };
        let cost = self.cost(job);
        let with = self.rem(q, list).plus(&cost);
        (0..DIMENSIONS).all(|d| cost[d] == 0 || with[d] << FINE <= self.guarantee(q, d))
            && self
                .from(y0, victim.leaf)
                .iter()
                .all(|y| victim.beyond.contains(y))
    }

    fn from(&self, top: QueueId, leaf: QueueId) -> Vec<QueueId> {
        let mut path: Vec<QueueId> = self.world.queues().path(leaf).collect();
        path.truncate(path.iter().position(|id| *id == top).map_or(0, |p| p + 1));
        path
    }

    /// With the victims gone every task of the job has room, on nodes where none is kept.
    fn makes_room(&self, job: &Job, list: &[usize]) -> bool {
        let mut places = 0;
        for node in self.world.nodes() {
            let mut kept = self.world.reservations().iter().flat_map(|r| &r.places);
            // It might pass a reservation: then it needs nobody's place.
            let kept = !list.is_empty() && kept.any(|place| place.node == node.id);
            let fits = job.resources().fits_in(&node.report.capacity);
            if kept || !node.present || !node.report.schedulable || !fits {
                continue;
            }
            let mut free = node.free();
            for (task, at) in list.iter().flat_map(|unit| &self.units[*unit].tasks) {
                if *at == node.id {
                    free += self.world.jobs()[&task.job].resources();
                }
            }
            places += job.resources().times_in(&free).clamp(0, 1 << 20);
        }
        places >= i64::from(job.ready().size)
    }

    fn limited(&self, job: &Job, list: &[usize]) -> bool {
        let cost = self.cost(job);
        self.world.queues().path(job.queue).any(|id| {
            let charged = self
                .rem(id, list)
                .plus(&self.world.reserved(id))
                .plus(&cost);
            let limit = &self.world.queues().queue(id).spec.limit;
            limit.exceeded(&charged, &cost)
        })
    }

    /// Limits above the job, and the guarantees of the queues above job and victims.
    fn keeps_all(&self, job: &Job, list: &[usize], right: Right) -> bool {
        let tasks = list.iter().map(|unit| self.units[*unit].tasks.len() as u64);
        if tasks.sum::<u64>() > self.world.preemptions_left(self.world.now()) {
            return false;
        }
        let cost = self.cost(job);
        // Exempt only if the victims all fall under B, one after the other.
        let all_b = (0..list.len()).all(|n| self.allows_b(job, &list[..n], list[n]));
        self.world.queues().path(job.queue).all(|id| {
            let queue = self.world.queues().queue(id);
            let after = self.rem(id, list).plus(&cost);
            let kept = |d: usize| {
                let before = (queue.held[d] << FINE).min(self.guarantee(id, d));
                after[d] << FINE >= before
            };
            right == Right::Class || all_b || (0..DIMENSIONS).all(kept)
        }) && !self.limited(job, list)
    }
}

/// It asks for at least half as much of it, relative to the pool, as of any other.
pub fn is_about(cost: &Resources, pool: &Resources, d: usize) -> bool {
    let at_least_half = |other: usize| {
        2 * i128::from(cost[d]) * i128::from(pool[other])
            >= i128::from(cost[other]) * i128::from(pool[d])
    };
    let mut there = (0..DIMENSIONS).filter(|d| pool[*d] > 0);
    pool[d] > 0 && cost[d] > 0 && there.all(at_least_half)
}
