//! Small systems by chance: work of all widths arrives, ends at its limit or early, is held
//! and released, has priorities, limits, gangs and racks; nodes close and open.

use std::collections::BTreeMap;

use jeroboam_core::event::{Event, Selection, Verb};
use jeroboam_core::ids::{JobId, LeaseId, TaskId};
use jeroboam_core::job::{AttemptEnd, Job, Outcome};
use jeroboam_core::policy::{Discipline, Policy};
use jeroboam_core::queue::{Limit, QueueSpec};
use jeroboam_core::resources::CPU;
use jeroboam_core::round::plan_round;
use jeroboam_core::site::NodeReport;
use jeroboam_core::spec::{BatchSpec, JobSpec, Within};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

use crate::dice::Dice;
use crate::line::Reading;
use crate::make::{self, MINUTE_MS, START};

const SITE: &str = "meyrin";
/// Rounds of a life.
const ROUNDS: u64 = 14;

/// What was met.
#[derive(Debug, Default, Clone, Copy)]
pub struct Met {
    pub rounds: u64,
    /// Tasks and gangs.
    pub started: u64,
    /// Of them, before others for whom room is kept.
    pub passed: u64,
    pub reserved: u64,
    pub gangs_reserved: u64,
    /// Reservations that became earlier.
    pub brought_forward: u64,
    /// Rounds in which somebody stopped the line.
    pub stopped: u64,
}

impl Met {
    pub fn add(&mut self, other: &Met) {
        for (mine, theirs) in self.counts_mut().into_iter().zip(other.counts()) {
            *mine += theirs;
        }
    }

    pub fn is_at_least(&self, other: &Met) -> bool {
        self.counts()
            .iter()
            .zip(other.counts())
            .all(|(mine, theirs)| *mine >= theirs)
    }

    fn counts(mut self) -> [u64; 7] {
        self.counts_mut().map(|count| *count)
    }

    fn counts_mut(&mut self) -> [&mut u64; 7] {
        [
            &mut self.rounds,
            &mut self.started,
            &mut self.passed,
            &mut self.reserved,
            &mut self.gangs_reserved,
            &mut self.brought_forward,
            &mut self.stopped,
        ]
    }
}

struct Life<'d> {
    dice: &'d mut Dice,
    world: World,
    now: TimeMs,
    nodes: Vec<NodeReport>,
    requests: u64,
    /// When each task that runs will end.
    ends: BTreeMap<LeaseId, TimeMs>,
}

/// A whole life; panics where the core and the reference differ.
pub fn live(dice: &mut Dice, discipline: Discipline) -> Met {
    let mut life = Life::new(dice, discipline);
    let mut met = Met::default();
    for _ in 0..ROUNDS {
        life.happen();
        met.add(&life.rounds());
    }
    met
}

impl<'d> Life<'d> {
    fn new(dice: &'d mut Dice, discipline: Discipline) -> Self {
        let mut life = Life {
            dice,
            world: World::default(),
            now: START,
            nodes: Vec::new(),
            requests: 0,
            ends: BTreeMap::new(),
        };
        let conservative_depth = life.dice.pick(&[1, 2, 3, 100, 100]);
        life.must(Event::PolicyChanged(Policy {
            order: discipline,
            conservative_depth,
            grace_ms: 0,
            ..Policy::default()
        }));
        life.must(Event::SiteDeclared(make::site(SITE)));
        life.must(Event::SessionOpened {
            site: SITE.into(),
            session: 1,
            incarnation: "i".into(),
            agent_version: String::new(),
            leases: Default::default(),
        });
        for n in 0..life.dice.between(1, 4) {
            let gpu = life.dice.pick(&[0, 0, 1]);
            let mut node = make::node(format!("n{n}"), life.dice.between(1, 8), 8, gpu);
            node.labels
                .insert("rack".into(), life.dice.pick(&["a", "b"]).into());
            life.nodes.push(node);
        }
        life.report();
        for name in ["a", "b", "b.x", "b.y"] {
            let mut limit = Limit::default();
            if life.dice.percent(25) {
                limit.0[CPU] = Some(life.dice.between(2, 12) * 1_000);
            }
            life.must(Event::QueueCreated(QueueSpec {
                limit,
                ..make::queue(name, 1)
            }));
        }
        life
    }

    fn must(&mut self, event: Event) {
        if let Err(rejected) = self.world.apply(self.now, &event) {
            panic!("{event:?}: {rejected}");
        }
    }

    fn report(&mut self) {
        self.must(Event::CapacityReported {
            site: SITE.into(),
            session: 1,
            full: true,
            nodes: self.nodes.clone(),
            removed: Vec::new(),
        });
    }

    /// Time passes, tasks end, work comes.
    fn happen(&mut self) {
        // When a reservation is due there is a round.
        let promised = self.world.reservations().iter().map(|kept| kept.promised);
        let due = promised.filter(|at| *at > self.now).min();
        let then = self.now + self.dice.between(0, 3) * MINUTE_MS;
        self.now = due.map_or(then, |due| due.min(then));
        let due = self.ends.iter().filter(|(_, at)| **at <= self.now);
        let due: Vec<LeaseId> = due.map(|(lease, _)| *lease).collect();
        for lease in due {
            self.ends.remove(&lease);
            let end = AttemptEnd::bare(Outcome::Exit(0));
            self.must(Event::AttemptEnded { lease, end });
        }
        for _ in 0..self.dice.between(0, 3) {
            if self.world.queues().iter().next().unwrap().queued < 14 {
                self.submit();
            }
        }
        if self.dice.percent(10) {
            self.hold_or_release();
        }
        if self.dice.percent(6) {
            let node = self.dice.between(0, self.nodes.len() as i64 - 1) as usize;
            self.nodes[node].schedulable ^= true;
            self.report();
        }
    }

    fn submit(&mut self) {
        self.requests += 1;
        let queue = self.dice.pick(&["a", "b.x", "b.y"]);
        let jobs = vec![self.job()];
        self.must(Event::BatchSubmitted {
            request_id: format!("r{}", self.requests),
            digest: [0; 32],
            by: "a".into(),
            spec: BatchSpec {
                name: "b".into(),
                queue: queue.into(),
                jobs,
            },
        });
    }

    fn job(&mut self) -> JobSpec {
        let dice = &mut self.dice;
        let count = dice.pick(&[1, 1, 1, 2, 3, 4]);
        let gpu = dice.pick(&[0, 0, 0, 0, 1]);
        let mut job = make::job(
            count,
            dice.pick(&[1, 1, 2, 2, 3, 4, 6, 8]),
            dice.between(0, 5),
            gpu,
        );
        job.needs.walltime_ms = dice.pick(&[1, 2, 3, 4, 6, 9]) * MINUTE_MS;
        job.priority = dice.pick(&[0, 0, 0, 0, 0, 1]);
        if count > 1 && dice.percent(60) {
            job.min = dice.between(2, count) as u32;
            job.within = dice.percent(40).then(|| Within::Label("rack".into()));
        }
        if count > 1 && dice.percent(20) {
            job.running_max = Some(job.min.max(2));
        }
        job
    }

    fn hold_or_release(&mut self) {
        let waits = |job: &&Job| !(job.tasks.queued.is_empty() && job.tasks.held.is_empty());
        let jobs: Vec<JobId> = self
            .world
            .jobs()
            .values()
            .filter(waits)
            .map(|job| job.id)
            .collect();
        if jobs.is_empty() {
            return;
        }
        let job = self.dice.pick(&jobs);
        let verb = if self.world.jobs()[&job].tasks.held.is_empty() {
            Verb::Hold
        } else {
            Verb::Release
        };
        let selection = Selection::Job(job, None);
        self.must(Event::TasksChanged {
            verb,
            selection,
            by: "a".into(),
            reason: String::new(),
        });
    }

    /// Rounds until nothing changes: a reservation that comes forward may make way for
    /// another that was looked at before it.
    fn rounds(&mut self) -> Met {
        let mut met = self.round().0;
        for again in 1.. {
            let (more, rests) = self.round();
            let one_is_enough = self.world.policy().order != Discipline::Conservative;
            assert!(rests || !one_is_enough, "the next round decides more");
            met.add(&more);
            if rests {
                break;
            }
            assert!(again < 10, "reservations do not come to rest");
        }
        met
    }

    /// A round is planned, read, and carried out; true if it changed nothing.
    fn round(&mut self) -> (Met, bool) {
        let before = self.world.clone();
        let plan = plan_round(&mut self.world, self.now);
        let met = match std::panic::catch_unwind(|| Reading::new(&before, self.now, &plan).check())
        {
            Ok(met) => met,
            Err(payload) => {
                let said = crate::said(&*payload);
                panic!("{said}\n{}\n{plan:#?}", tell(&before, self.now));
            }
        };
        self.must(plan.clone().into_event());
        self.world.check();
        for placement in &plan.placements {
            let TaskId { job, index } = placement.task;
            let job = &self.world.jobs()[&job];
            let lease = self
                .world
                .lease(placement.task, job.tasks.active[&index].attempt);
            let most = job.spec.needs.walltime_ms / MINUTE_MS;
            let ran = if self.dice.percent(60) {
                self.dice.between(1, most)
            } else {
                most
            };
            self.ends.insert(lease, self.now + ran * MINUTE_MS);
        }
        (met, plan.is_empty())
    }
}

/// A state in words.
fn tell(world: &World, now: TimeMs) -> String {
    let mut told = vec![format!(
        "{:?}, depth {}",
        world.policy().order,
        world.policy().conservative_depth
    )];
    for queue in world.queues().iter() {
        told.push(format!(
            "queue `{}` holds {:?} of {:?}",
            queue.spec.name, queue.held.0, queue.spec.limit.0[CPU]
        ));
    }
    for node in world.nodes() {
        let open = node.report.schedulable;
        told.push(format!(
            "{} {:?} open {open} {:?}",
            node.report.name, node.report.capacity.0, node.report.labels
        ));
    }
    for job in world.jobs().values().filter(|job| !job.is_finished()) {
        let active: Vec<String> = job
            .tasks
            .active
            .iter()
            .map(|(index, active)| {
                let end = active.granted + job.spec.needs.walltime_ms;
                format!(
                    "{index} on {} for {}",
                    world.node(active.node).report.name,
                    (end - now) / MINUTE_MS
                )
            })
            .collect();
        told.push(format!(
            "{} priority {} min {} {:?} each {:?} for {} max {:?}: queued {}, active {active:?}",
            job.id,
            job.spec.priority,
            job.spec.min,
            job.spec.within,
            job.resources().0,
            job.spec.needs.walltime_ms / MINUTE_MS,
            job.spec.running_max,
            job.tasks.queued
        ));
    }
    for kept in world.reservations() {
        told.push(format!(
            "{} {:?} in {} on {:?}",
            kept.job,
            kept.tasks,
            (kept.promised - now) / MINUTE_MS,
            kept.places
        ));
    }
    told.join("\n")
}
