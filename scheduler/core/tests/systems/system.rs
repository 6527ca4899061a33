//! A small federation of one site that is driven round by round, with what must hold
//! after each round.

use jeroboam_core::event::{Event, Placement, QueueChange};
use jeroboam_core::ids::{JobId, LeaseId, NodeId, TaskId};
use jeroboam_core::job::{AttemptEnd, Outcome};
use jeroboam_core::policy::Policy;
use jeroboam_core::queue::Limit;
use jeroboam_core::resources::Resources;
use jeroboam_core::round::plan_round;
use jeroboam_core::site::NodeReport;
use jeroboam_core::spec::{BatchSpec, JobSpec};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

use crate::{make, verdict};

const SITE: &str = "meyrin";

/// The World, and the time in it.
pub struct System {
    pub world: World,
    pub now: TimeMs,
    requests: u64,
    /// Rounds so far.
    pub rounds: u64,
    /// Of them, those with work that would have fitted, held back for a reservation.
    pub rounds_held_back: u64,
    /// Tasks preempted so far.
    pub preempted: u64,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    pub placed: usize,
    pub preempted: usize,
    pub reservations_changed: bool,
}

impl Done {
    /// True if no place changed hands.
    pub fn is_quiet(&self) -> bool {
        self.placed == 0 && self.preempted == 0
    }
}

impl System {
    pub fn new(policy: Policy) -> Self {
        let mut system = System {
            world: World::default(),
            now: make::START,
            requests: 0,
            rounds: 0,
            rounds_held_back: 0,
            preempted: 0,
        };
        system.must(Event::PolicyChanged(policy));
        system.must(Event::SiteDeclared(make::site(SITE)));
        system.must(Event::SessionOpened {
            site: SITE.into(),
            session: 1,
            incarnation: "i".into(),
            agent_version: String::new(),
            leases: Default::default(),
        });
        system
    }

    pub fn must(&mut self, event: Event) {
        if let Err(rejected) = self.world.apply(self.now, &event) {
            panic!("{event:?}: {rejected}");
        }
    }

    pub fn nodes(&mut self, nodes: Vec<NodeReport>, removed: Vec<String>) {
        self.must(Event::CapacityReported {
            site: SITE.into(),
            session: 1,
            full: false,
            nodes,
            removed,
        });
    }

    pub fn queue(&mut self, name: &str, weight: u32) {
        self.must(Event::QueueCreated(make::queue(name, weight)));
    }

    /// Bounds of a queue; false where they contradict those of others.
    pub fn bound(
        &mut self,
        name: &str,
        guarantee: Option<Resources>,
        limit: Option<Limit>,
    ) -> bool {
        let change = QueueChange {
            guarantee,
            limit,
            ..QueueChange::default()
        };
        let name = name.to_string();
        let event = Event::QueueChanged { name, change };
        self.world.apply(self.now, &event).is_ok()
    }

    pub fn submit(&mut self, queue: &str, job: JobSpec) -> JobId {
        self.requests += 1;
        self.must(Event::BatchSubmitted {
            request_id: format!("r{}", self.requests),
            digest: [0; 32],
            by: "a".into(),
            spec: BatchSpec {
                name: "b".into(),
                queue: queue.into(),
                jobs: vec![job],
            },
        });
        *self.world.jobs().keys().next_back().unwrap()
    }

    /// Starts tasks of a job by hand; false if there is no room for them.
    pub fn start(&mut self, job: JobId, tasks: &[(u32, NodeId)]) -> bool {
        let placement = |(index, node): &(u32, NodeId)| Placement {
            task: TaskId { job, index: *index },
            node: *node,
            way: None,
        };
        let event = Event::PlanCommitted {
            placements: tasks.iter().map(placement).collect(),
            preemptions: Vec::new(),
            reservations: None,
        };
        self.world.apply(self.now, &event).is_ok()
    }

    /// Plans and commits a round.
    pub fn round(&mut self) -> Done {
        self.rounds += 1;
        let before = self.world.clone();
        let plan = plan_round(&mut self.world, self.now);
        let done = Done {
            placed: plan.placements.len(),
            preempted: plan.preemptions.len(),
            reservations_changed: plan.reservations.is_some(),
        };
        self.preempted += done.preempted as u64;
        self.must(plan.clone().into_event());
        self.world.check();
        verdict::of_round(&before, &plan, &self.world, self.now);
        if let Some(idle) = verdict::fitting(&self.world, self.now) {
            // What a reservation leaves that falls late in a round is the next one's.
            let fell = done.reservations_changed;
            if self.world.reservations().is_empty() && plan.complete && !fell {
                let state = verdict::tell(&self.world, self.now);
                panic!("{idle} would fit, and no room is kept for anybody\n{plan:?}\n{state}");
            }
            self.rounds_held_back += 1;
        }
        done
    }

    /// Everybody who was told to end does.
    pub fn end_stopping(&mut self) {
        self.end_where(Outcome::Stopped, |_, active| active.is_stopping());
    }

    /// Ends attempts.
    pub fn end_where(
        &mut self,
        outcome: Outcome,
        which: impl Fn(TaskId, &jeroboam_core::job::Active) -> bool,
    ) -> usize {
        let mut leases: Vec<LeaseId> = Vec::new();
        for job in self.world.jobs().values() {
            for (index, active) in &job.tasks.active {
                let task = TaskId {
                    job: job.id,
                    index: *index,
                };
                if which(task, active) {
                    leases.push(self.world.lease(task, active.attempt));
                }
            }
        }
        for lease in &leases {
            let end = AttemptEnd::bare(outcome.clone());
            self.must(Event::AttemptEnded { lease: *lease, end });
        }
        leases.len()
    }
}
