//! A World's life under [`Act`]s, with what must hold after each of them.

use std::collections::{BTreeMap, BTreeSet};

use jeroboam_core::effect::Effect;
use jeroboam_core::event::Event;
use jeroboam_core::ids::{JobId, LeaseId, TaskId};
use jeroboam_core::job::Outcome;
use jeroboam_core::policy::Discipline;
use jeroboam_core::reason::WaitingReason;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::round::explain::Reasons;
use jeroboam_core::round::{Plan, plan_round};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

use crate::act::{Act, Stage};
use crate::make::{SITES, START, end, queue, site};
use crate::tenants::Tenants;
use crate::usage::Shadow;

/// What stands in the journal: an event with its time, or a round's plan to be found again.
enum Entry {
    Event(TimeMs, Box<Event>, bool),
    Round(TimeMs, Plan),
}

/// The World, its journal, and what was seen of its tasks.
pub struct Life {
    pub world: World,
    pub now: TimeMs,
    journal: Vec<Entry>,
    pub granted: Vec<LeaseId>,
    pub session: u64,
    pub request: u64,
    /// Tasks whose success was accepted.
    succeeded: BTreeSet<TaskId>,
    /// Leases whose end was accepted.
    pub ended: BTreeSet<LeaseId>,
    /// Jobs that were acknowledged, with their counts.
    pub acknowledged: BTreeMap<JobId, u32>,
    /// What the decayed usage of the queues must be.
    usage: Shadow,
    /// Who has used which kernel.
    tenants: Tenants,
    /// Jobs that left memory.
    pub retired: BTreeSet<JobId>,
}

impl Life {
    pub fn new() -> Self {
        let mut life = Life {
            world: World::default(),
            now: START,
            journal: Vec::new(),
            granted: Vec::new(),
            session: 0,
            request: 0,
            succeeded: BTreeSet::new(),
            ended: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            retired: BTreeSet::new(),
            usage: Shadow::default(),
            tenants: Tenants::default(),
        };
        life.must(Event::Founded {
            federation: "f".into(),
            lineage: 1,
        });
        for (position, name) in SITES.into_iter().enumerate() {
            life.must(Event::SiteDeclared(site(name, position == 2, 10)));
        }
        for name in ["a", "a.x", "a.y", "b", "b.z", "c"] {
            life.must(Event::QueueCreated(queue(name)));
        }
        for site in 0..3 {
            life.act(&Act::SessionUp {
                site,
                incarnation: 0,
                keep: 0,
                foreign: false,
                stale: false,
            });
            life.act(&Act::Capacity {
                site,
                full: true,
                nodes: vec![(0, 6, 6, 1, 2), (1, 4, 8, 0, 2)],
                removed: vec![],
            });
        }
        life
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    pub fn must(&mut self, event: Event) -> Vec<Effect> {
        let told = format!("{event:?}");
        self.apply(event)
            .unwrap_or_else(|rejected| panic!("{told}: {rejected}"))
    }

    /// Applies an event, with everything that must hold around it.
    pub fn apply(&mut self, event: Event) -> Result<Vec<Effect>, Rejected> {
        let mut before = self.world.clone();
        self.usage.pass(&self.world, self.now);
        let result = self.world.apply(self.now, &event);
        self.world.check();
        self.usage.check(&self.world);
        self.check_session(&event, result.is_ok());
        match &result {
            Ok(effects) => {
                self.tenants.watch(&self.world, &event, effects);
                self.watch(effects);
            }
            Err(_) => {
                before.move_on(self.now);
                assert_eq!(before, self.world, "{event:?} was rejected and left traces");
            }
        }
        self.journal
            .push(Entry::Event(self.now, Box::new(event), result.is_ok()));
        result
    }

    /// An accepted inventory is all that its site holds.
    fn check_session(&self, event: &Event, accepted: bool) {
        let Event::SessionOpened {
            site,
            leases,
            session,
            ..
        } = event
        else {
            return;
        };
        let site = self.world.find_site(site).unwrap();
        if accepted {
            assert_eq!(site.session, Some(*session));
            for lease in self.world.leases_at(site.id) {
                assert!(
                    leases.contains(&lease),
                    "{lease} is open, and its agent has not got it"
                );
            }
        }
    }

    /// Every lease is granted once and ends once; a retired job has ended whole.
    fn watch(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Grant { lease, .. } => {
                    assert!(!self.granted.contains(lease), "{lease} was granted twice");
                    self.granted.push(*lease);
                }
                Effect::AttemptEnded(record) => {
                    assert!(
                        self.granted.contains(&record.lease),
                        "{} never began",
                        record.lease
                    );
                    assert!(
                        self.ended.insert(record.lease),
                        "{} ended twice",
                        record.lease
                    );
                    let job = &self.world.jobs()[&record.lease.task.job];
                    if job.tasks.succeeded.contains(record.lease.task.index) {
                        assert_eq!(record.end.outcome, Outcome::Exit(0));
                        assert!(
                            self.succeeded.insert(record.lease.task),
                            "{} succeeded twice",
                            record.lease
                        );
                    }
                }
                Effect::Retired { jobs, .. } => {
                    for job in jobs {
                        assert!(job.is_finished(), "{} retired unfinished", job.id);
                        assert_eq!(self.acknowledged[&job.id], job.spec.count);
                        assert!(self.retired.insert(job.id), "{} retired twice", job.id);
                    }
                }
                Effect::Stop { lease, .. } => {
                    assert!(
                        self.world.open_attempt(*lease).is_ok(),
                        "{lease} is stopped and not open"
                    );
                }
                Effect::Quarantined { quarantine, .. } => {
                    assert!(
                        quarantine.until > self.now,
                        "{quarantine:?} is over at once"
                    );
                }
                Effect::BatchFinished(batch) => {
                    assert_eq!(self.world.batches()[batch].unfinished, 0);
                }
            }
        }
    }

    /// A round: the same plan from the serialised form, taken as it is, nothing oversubscribed
    /// by it, and if it is complete no task left that would fit.
    pub fn round(&mut self) -> usize {
        let bytes = postcard::to_stdvec(&self.world).unwrap();
        let mut read: World = postcard::from_bytes(&bytes).unwrap();
        self.usage.pass(&self.world, self.now);
        let plan = plan_round(&mut self.world, self.now);
        assert_eq!(
            plan_round(&mut read, self.now),
            plan,
            "the serialised form plans otherwise"
        );
        assert_eq!(read, self.world);
        self.journal.push(Entry::Round(self.now, plan.clone()));
        let effects = self.must(plan.clone().into_event());
        let decided = plan.preemptions.len() + plan.placements.len();
        assert_eq!(effects.len(), decided);
        for placement in &plan.placements {
            let node = self.world.node(placement.node);
            let each = self.world.jobs()[&placement.task.job].resources_of(placement.task.index);
            for (free, need) in node.free().0.iter().zip(&each.0) {
                assert!(
                    *need == 0 || *free >= 0,
                    "{} is oversubscribed",
                    node.report.name
                );
            }
        }
        for site in self.world.sites() {
            let budget = site
                .spec
                .contract
                .and_then(|contract| contract.budget_micro_eur);
            let placed = plan
                .placements
                .iter()
                .any(|p| self.world.node(p.node).site == site.id);
            let committed = site.cost_micro_eur + site.cost_reserved_micro_eur;
            assert!(
                !placed || budget.is_none_or(|budget| committed <= budget),
                "over budget"
            );
        }
        let policy = self.world.policy();
        let reservations = self.world.reservations().len();
        let most = match policy.order {
            Discipline::Fair => usize::MAX,
            Discipline::Fifo => 0,
            Discipline::Easy => 1,
            Discipline::Conservative => policy.conservative_depth as usize,
        };
        assert!(
            !plan.complete || reservations <= most,
            "{reservations} hold one"
        );
        // Under fifo whoever fits may stand behind one who does not.
        if plan.complete && reservations == 0 && policy.order != Discipline::Fifo {
            let mut reasons = Reasons::new(&self.world, self.now);
            for job in self
                .world
                .jobs()
                .values()
                .filter(|job| !job.tasks.queued.is_empty())
            {
                let index = job.tasks.queued.first().unwrap();
                let reason = reasons.of_task(TaskId { job: job.id, index });
                assert_ne!(reason, WaitingReason::OthersFirst, "{} would fit", job.id);
            }
        }
        plan.placements.len()
    }

    /// Applies the journal to a fresh World, with a restart from the serialised form after
    /// some entries; every plan must come out as it stands there.
    pub fn replay(&self, restart: Option<usize>) -> World {
        let mut world = World::default();
        for (position, entry) in self.journal.iter().enumerate() {
            match entry {
                Entry::Event(now, event, accepted) => {
                    assert_eq!(world.apply(*now, event).is_ok(), *accepted);
                }
                Entry::Round(now, plan) => {
                    assert_eq!(&plan_round(&mut world, *now), plan);
                }
            }
            if restart.is_some_and(|restart| position % (restart + 1) == restart) {
                world = postcard::from_bytes(&postcard::to_stdvec(&world).unwrap()).unwrap();
            }
        }
        world
    }

    pub fn act(&mut self, act: &Act) {
        match act {
            Act::Tick { span_ms } => self.now = self.now + *span_ms,
            Act::Round => {
                self.round();
            }
            Act::Report { lease, stage } => self.report(*lease, *stage),
            _ => {
                if let Some(event) = self.event(act) {
                    let submitted = matches!(event, Event::BatchSubmitted { .. });
                    let accepted = self.apply(event).is_ok();
                    if submitted && accepted {
                        self.acknowledge();
                    }
                }
            }
        }
    }

    fn acknowledge(&mut self) {
        let jobs = self.world.jobs().values();
        self.acknowledged
            .extend(jobs.map(|job| (job.id, job.spec.count)));
    }

    fn report(&mut self, lease: u16, stage: Stage) {
        if self.granted.is_empty() {
            return;
        }
        // Recent ones more often, so that many are still open.
        let back = usize::from(lease) % self.granted.len().min(24);
        let mut lease = self.granted[self.granted.len() - 1 - back];
        if let Stage::Ended { outcome: 250.., .. } = stage {
            lease.attempt += 1; // never granted, or not by this name
        }
        let open = self.granted.contains(&lease) && !self.ended.contains(&lease);
        let event = match stage {
            Stage::Starting => Event::AttemptStarting { lease },
            Stage::Running => Event::AttemptRunning { lease },
            Stage::Ended { outcome, ran_s } => Event::AttemptEnded {
                lease,
                end: end(outcome, ran_s, self.now),
            },
        };
        assert_eq!(
            self.apply(event).is_ok(),
            open,
            "a report is taken exactly while its lease is open"
        );
    }
}
