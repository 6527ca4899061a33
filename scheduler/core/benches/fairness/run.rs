//! A federation in virtual time: the core's own `apply` and `plan_round`, and a heap of
//! the moments at which tasks end by themselves.
//!
//! Every user has more waiting than it could ever be given: half of the pool of the resource
//! that it asks most of. A round is made at whole multiples of [`TICK_MS`] after which something
//! ended. What queues hold is integrated exactly, from change to change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use jeroboam_core::effect::Effect;
use jeroboam_core::event::Event;
use jeroboam_core::ids::{BatchId, JobId, LeaseId, QueueId};
use jeroboam_core::job::{AttemptEnd, Outcome};
use jeroboam_core::policy::Policy;
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::Resources;
use jeroboam_core::round::plan_round;
use jeroboam_core::round::share::{FINE_BITS, Shares};
use jeroboam_core::site::{NodeReport, SiteSpec};
use jeroboam_core::spec::{BatchSpec, Coe, JobSpec, Needs};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

use crate::dice::Dice;
use crate::setting::{HOUR_MS, LOOKED_AT, Setting, User};

pub const START: TimeMs = TimeMs(1_767_225_600_000);
const TICK_MS: i64 = 10_000;
/// A submission is about this part of the pool.
const BATCHES_IN_POOL: i64 = 128;

/// Averages over one hour, of every queue by id.
#[derive(Debug, Clone)]
pub struct Hour {
    pub held: Vec<[f64; 3]>,
    /// At its end.
    pub entitled: Vec<[f64; 3]>,
}

pub struct Run<'s> {
    setting: &'s Setting,
    pub world: World,
    now: TimeMs,
    dice: Dice,
    ends: BinaryHeap<Reverse<(TimeMs, LeaseId)>>,
    meter: Meter,
    users: Vec<Waiting>,
    lengths: BTreeMap<JobId, Length>,
    pub hours: Vec<Hour>,
    pub rounds: u64,
    requests: u64,
}

/// What waits of a user.
#[derive(Debug)]
struct Waiting {
    leaf: QueueId,
    amount: Resources,
}

/// Of a job: whose it is, and what its tasks need at most.
#[derive(Debug, Clone, Copy)]
struct Length {
    user: usize,
    cost: Resources,
    longest_ms: i64,
}

impl<'s> Run<'s> {
    pub fn new(setting: &'s Setting, seed: u64) -> Run<'s> {
        let mut run = Run {
            setting,
            world: World::default(),
            now: START,
            dice: Dice::new(seed),
            ends: BinaryHeap::new(),
            meter: Meter::default(),
            users: Vec::new(),
            lengths: BTreeMap::new(),
            hours: Vec::new(),
            rounds: 0,
            requests: 0,
        };
        run.found();
        run.meter = Meter::new(run.world.queues().len());
        run
    }

    fn found(&mut self) {
        let mut policy = Policy {
            placements_per_round_max: 100_000,
            ..Policy::default()
        };
        if !self.setting.reserves {
            policy.reservations_max = 0;
        }
        self.must(Event::PolicyChanged(policy));
        self.must(Event::SiteDeclared(SiteSpec {
            name: "site".into(),
            region: String::new(),
            contract: None,
        }));
        self.must(Event::SessionOpened {
            site: "site".into(),
            session: 1,
            incarnation: "i".into(),
            agent_version: String::new(),
            leases: BTreeSet::new(),
        });
        let nodes = self.setting.nodes.iter().enumerate();
        self.must(Event::CapacityReported {
            site: "site".into(),
            session: 1,
            full: true,
            nodes: nodes.map(|(n, capacity)| node(n, *capacity)).collect(),
            removed: Vec::new(),
        });
        for (name, weight) in &self.setting.queues {
            self.must(Event::QueueCreated(QueueSpec {
                submitters: ["*".to_string()].into(),
                queued_max: Some(u64::MAX),
                ..QueueSpec::new(name.clone(), *weight)
            }));
        }
        for user in &self.setting.users {
            self.users.push(Waiting {
                leaf: self.queue(&user.queue),
                amount: Resources::ZERO,
            });
        }
    }

    pub fn queue(&self, name: &str) -> QueueId {
        self.world.queues().find(name).expect("it was created")
    }

    /// Lives for so many hours.
    pub fn live(&mut self, hours: i64) {
        self.ask();
        self.round();
        for _ in 0..hours {
            self.live_to(self.now + HOUR_MS);
            let held = self.meter.take(self.now);
            let entitled = self.entitled();
            self.hours.push(Hour { held, entitled });
        }
    }

    fn live_to(&mut self, hour_end: TimeMs) {
        loop {
            let next = self.ends.peek().map_or(hour_end, |Reverse((at, _))| *at);
            let tick = TimeMs((next.0 + TICK_MS - 1) / TICK_MS * TICK_MS).min(hour_end);
            self.end_until(tick);
            self.now = tick;
            if tick == hour_end {
                // Somebody may come with the hour.
                self.ask();
                self.round();
                return;
            }
            self.round();
        }
    }

    fn end_until(&mut self, tick: TimeMs) {
        let mut finished = Vec::new();
        while let Some(Reverse((at, lease))) = self.ends.peek().copied()
            && at <= tick
        {
            self.ends.pop();
            self.now = at;
            self.hold(lease.task.job, -1);
            let end = AttemptEnd::bare(Outcome::Exit(0));
            let effects = self.must(Event::AttemptEnded { lease, end });
            finished.extend(effects.into_iter().filter_map(|effect| match effect {
                Effect::BatchFinished(batch) => Some(batch),
                _ => None,
            }));
        }
        for batch in finished {
            self.retire(batch);
        }
    }

    fn retire(&mut self, batch: BatchId) {
        let job = self.world.batches()[&batch].first_job;
        self.lengths.remove(&job);
        self.must(Event::BatchRetired { batch });
    }

    fn round(&mut self) {
        loop {
            self.rounds += 1;
            let plan = plan_round(&mut self.world, self.now);
            if plan.is_empty() {
                return;
            }
            let complete = plan.complete;
            for effect in self.must(plan.into_event()) {
                if let Effect::Grant { lease, .. } = effect {
                    self.start(lease);
                }
            }
            self.ask();
            if complete {
                return;
            }
        }
    }

    /// A task takes from half to all of its longest time.
    fn start(&mut self, lease: LeaseId) {
        let length = self.hold(lease.task.job, 1);
        self.users[length.user].amount -= &length.cost;
        let ms = length.longest_ms * self.dice.between(500, 1_000) / 1_000;
        self.ends.push(Reverse((self.now + ms, lease)));
    }

    fn hold(&mut self, job: JobId, sign: i64) -> Length {
        let length = self.lengths[&job];
        let leaf = self.users[length.user].leaf;
        for queue in self.world.queues().path(leaf) {
            self.meter.change(queue, self.now, &length.cost.times(sign));
        }
        length
    }

    /// Whoever is there submits until it has enough waiting.
    fn ask(&mut self) {
        let pool = self.setting.pool();
        for user in 0..self.users.len() {
            let there = self.now - START >= self.setting.users[user].from_ms;
            while there && part(&self.users[user].amount, &pool) < 0.5 {
                self.submit(user, &pool);
            }
        }
    }

    fn submit(&mut self, user: usize, pool: &Resources) {
        let setting = self.setting;
        let User { queue, kind, .. } = &setting.users[user];
        let drawn = kind.draw(&mut self.dice);
        let batch = 1.0 / BATCHES_IN_POOL as f64;
        let count = (batch / part(&drawn.cost, pool)).clamp(1.0, 1e6) as u32;
        let walltime_ms = drawn.walltime_ms * self.setting.walltimes_too_long;
        self.requests += 1;
        self.must(Event::BatchSubmitted {
            request_id: format!("r{}", self.requests),
            digest: [0; 32],
            by: "a".into(),
            spec: BatchSpec {
                name: "b".into(),
                queue: queue.clone(),
                jobs: vec![JobSpec {
                    count,
                    ..JobSpec::new("j", Needs::new(drawn.cost, walltime_ms))
                }],
            },
        });
        self.users[user].amount += &drawn.cost.times(count.into());
        let job = self.world.jobs().keys().next_back();
        let length = Length {
            user,
            cost: drawn.cost,
            longest_ms: drawn.walltime_ms,
        };
        self.lengths.insert(*job.expect("just submitted"), length);
    }

    fn entitled(&self) -> Vec<[f64; 3]> {
        let shares = Shares::new(&self.world, self.now);
        let one = f64::from(1 << FINE_BITS);
        let of = |queue: QueueId| LOOKED_AT.map(|d| shares.of(queue).fine[d] as f64 / one);
        self.world
            .queues()
            .iter()
            .map(|queue| of(queue.id))
            .collect()
    }

    fn must(&mut self, event: Event) -> Vec<Effect> {
        match self.world.apply(self.now, &event) {
            Ok(effects) => effects,
            Err(rejected) => panic!("{event:?}: {rejected}"),
        }
    }
}

/// The largest part of the pool, of any resource.
fn part(amount: &Resources, pool: &Resources) -> f64 {
    let parts = LOOKED_AT.iter().filter(|d| pool[**d] > 0);
    parts
        .map(|d| amount[*d] as f64 / pool[*d] as f64)
        .fold(0.0, f64::max)
}

fn node(number: usize, capacity: Resources) -> NodeReport {
    NodeReport {
        name: format!("n{number}"),
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: "k".into(),
        runtimes: Vec::new(),
        capacity,
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        speed_milli: 10_000,
        schedulable: true,
    }
}

/// Exact integrals of what queues hold.
#[derive(Debug, Default)]
struct Meter {
    held: Vec<Resources>,
    since: Vec<TimeMs>,
    integral: Vec<[i128; 3]>,
    taken: TimeMs,
}

impl Meter {
    fn new(queues: usize) -> Meter {
        Meter {
            held: vec![Resources::ZERO; queues],
            since: vec![START; queues],
            integral: vec![[0; 3]; queues],
            taken: START,
        }
    }

    fn change(&mut self, queue: QueueId, now: TimeMs, by: &Resources) {
        self.count(queue.index(), now);
        self.held[queue.index()] += by;
    }

    fn count(&mut self, queue: usize, now: TimeMs) {
        let span_ms = i128::from(now - self.since[queue]);
        for (sum, d) in self.integral[queue].iter_mut().zip(LOOKED_AT) {
            *sum += span_ms * i128::from(self.held[queue][d]);
        }
        self.since[queue] = now;
    }

    /// Averages since it was asked last.
    fn take(&mut self, now: TimeMs) -> Vec<[f64; 3]> {
        let span_ms = (now - self.taken) as f64;
        self.taken = now;
        (0..self.held.len())
            .map(|queue| {
                self.count(queue, now);
                std::mem::take(&mut self.integral[queue]).map(|sum| sum as f64 / span_ms)
            })
            .collect()
    }
}
