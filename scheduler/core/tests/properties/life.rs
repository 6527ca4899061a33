//! A World's life under [`Act`]s, with what must hold after each of them.

use std::collections::{BTreeMap, BTreeSet};

use jeroboam_core::effect::Effect;
use jeroboam_core::event::{Event, Placement, QueueChange, Selection, Verb};
use jeroboam_core::ids::{BatchId, JobId, LeaseId, NodeId, QueueId, TaskId};
use jeroboam_core::job::{AttemptEnd, AttemptUsage, Outcome};
use jeroboam_core::policy::Policy;
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::reason::WaitingReason;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::resources::Resources;
use jeroboam_core::round::explain::waiting_reason;
use jeroboam_core::round::plan_round;
use jeroboam_core::site::{Closing, Contract, NodeReport, SiteSpec};
use jeroboam_core::spec::{BatchSpec, Coe, FailureClass, JobSpec, Needs, OnLostContact, RetryRule};
use jeroboam_core::time::{HOUR_MS, TimeMs};
use jeroboam_core::world::World;

use crate::act::{Act, JobAct, Stage};

pub const START: TimeMs = TimeMs(1_767_225_600_000);
const SITES: [&str; 3] = ["meyrin", "wigner", "cloud"];

/// What stands in the journal: an event with its time, or a round's plan to be found again.
enum Entry {
    Event(TimeMs, Box<Event>, bool),
    Round(TimeMs, Vec<Placement>),
}

/// The World, its journal, and what was seen of its tasks.
pub struct Life {
    world: World,
    now: TimeMs,
    journal: Vec<Entry>,
    granted: Vec<LeaseId>,
    session: u64,
    request: u64,
    /// Tasks whose success was accepted.
    succeeded: BTreeSet<TaskId>,
    /// Leases whose end was accepted.
    ended: BTreeSet<LeaseId>,
    /// Jobs that were acknowledged, with their counts.
    acknowledged: BTreeMap<JobId, u32>,
    /// Jobs that left memory.
    retired: BTreeSet<JobId>,
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
                nodes: vec![(0, 6, 6, 1), (1, 4, 8, 0)],
                removed: vec![],
            });
        }
        life
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    fn must(&mut self, event: Event) -> Vec<Effect> {
        let told = format!("{event:?}");
        self.apply(event)
            .unwrap_or_else(|rejected| panic!("{told}: {rejected}"))
    }

    /// Applies an event, with everything that must hold around it.
    fn apply(&mut self, event: Event) -> Result<Vec<Effect>, Rejected> {
        let mut before = self.world.clone();
        let result = self.world.apply(self.now, &event);
        self.world.check();
        match &result {
            Ok(effects) => self.watch(effects),
            Err(_) => {
                before.move_on(self.now);
                assert_eq!(before, self.world, "{event:?} was rejected and left traces");
            }
        }
        self.journal
            .push(Entry::Event(self.now, Box::new(event), result.is_ok()));
        result
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
                Effect::BatchFinished(batch) => {
                    assert_eq!(self.world.batches()[batch].unfinished, 0);
                }
            }
        }
    }

    /// A round: the same plan from the serialised form, taken as it is, nothing oversubscribed
    /// by it, and if it is complete no task left that would fit.
    fn round(&mut self) -> usize {
        let bytes = postcard::to_stdvec(&self.world).unwrap();
        let mut read: World = postcard::from_bytes(&bytes).unwrap();
        let plan = plan_round(&mut self.world, self.now);
        assert_eq!(
            plan_round(&mut read, self.now),
            plan,
            "the serialised form plans otherwise"
        );
        assert_eq!(read, self.world);
        self.journal
            .push(Entry::Round(self.now, plan.placements.clone()));
        let effects = self.must(Event::PlanCommitted {
            placements: plan.placements.clone(),
        });
        assert_eq!(effects.len(), plan.placements.len());
        for placement in &plan.placements {
            let node = self.world.node(placement.node);
            let each = self.world.jobs()[&placement.task.job].resources();
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
        if plan.complete {
            for job in self
                .world
                .jobs()
                .values()
                .filter(|job| !job.tasks.queued.is_empty())
            {
                let reason = waiting_reason(&self.world, self.now, job.queue, &job.spec.needs);
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
                Entry::Round(now, placements) => {
                    assert_eq!(&plan_round(&mut world, *now).placements, placements);
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
        let open = self.world.open_attempt(lease).is_ok();
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

    fn event(&mut self, act: &Act) -> Option<Event> {
        Some(match act {
            Act::Submit { queue, jobs, again } => self.submission(*queue, jobs, *again),
            Act::Change {
                verb,
                job,
                first,
                width,
                batch,
            } => {
                let verb =
                    [Verb::Cancel, Verb::Hold, Verb::Release, Verb::Retry][usize::from(*verb) % 4];
                let id = self.job(*job)?;
                let selection = match batch {
                    true => Selection::Batch(self.world.jobs()[&id].batch),
                    false if *width > 200 => Selection::Job(id, None),
                    false => {
                        let first = u32::from(*first) % 8;
                        Selection::Job(
                            id,
                            Some(RangeSet::from_iter([(
                                first,
                                first + u32::from(*width) % 4,
                            )])),
                        )
                    }
                };
                Event::TasksChanged { verb, selection }
            }
            Act::SessionUp {
                site,
                incarnation,
                keep,
                foreign,
                stale,
            } => self.session_up(site_name(*site), *incarnation, *keep, *foreign, *stale),
            Act::SessionDown { site, stale } => {
                let session = self.session_of(site_name(*site)).unwrap_or(0) + u64::from(*stale);
                Event::SessionClosed {
                    site: site_name(*site).into(),
                    session,
                }
            }
            Act::Expire { site } => Event::LeasesExpired {
                site: site_name(*site).into(),
            },
            Act::Capacity {
                site,
                full,
                nodes,
                removed,
            } => {
                let name = |n: u8| format!("{}-{n}", site_name(*site));
                let node =
                    |(n, cpu, memory, gpu): &(u8, u8, u8, u8)| node(name(*n), *cpu, *memory, *gpu);
                Event::CapacityReported {
                    site: site_name(*site).into(),
                    session: self.session_of(site_name(*site)).unwrap_or(7),
                    full: *full,
                    nodes: nodes.iter().map(node).collect(),
                    removed: removed.iter().map(|n| name(*n)).collect(),
                }
            }
            Act::Site { site, what, number } => site_event(site_name(*site), *what, *number),
            Act::Queue {
                queue,
                weight,
                cordon,
                queued_max,
            } => Event::QueueChanged {
                name: self.queue(*queue),
                change: QueueChange {
                    weight: Some(u32::from(*weight)),
                    queued_max: queued_max.map(u64::from),
                    cordon: cordon.map(|on| if on { "stop".into() } else { String::new() }),
                    submitters: None,
                },
            },
            Act::NewQueue { parent, name } => {
                let parent = self.queue(*parent);
                Event::QueueCreated(queue(&format!("{parent}.n{name}")))
            }
            Act::Policy {
                placements,
                exponent,
                half_life_h,
                lost_max,
            } => Event::PolicyChanged(Policy {
                placements_per_round_max: u32::from(*placements),
                memory_exponent_inner: u32::from(*exponent),
                usage_half_life_ms: i64::from(*half_life_h) * HOUR_MS,
                lost_attempts_max: u32::from(*lost_max),
                ..Policy::default()
            }),
            Act::Retire { batch } => Event::BatchRetired {
                batch: self.batch(*batch)?,
            },
            Act::Restart { restored: false } => Event::Started {
                term: self.world.term() + 1,
            },
            Act::Restart { restored: true } => Event::Restored {
                lineage: self.world.lineage() + 1,
                quarantine_until: self.now + HOUR_MS,
            },
            Act::Place { job, index, node } => Event::PlanCommitted {
                placements: vec![Placement {
                    task: TaskId {
                        job: self.job(*job)?,
                        index: u32::from(*index),
                    },
                    node: NodeId(u32::from(*node)),
                }],
            },
            Act::Tick { .. } | Act::Round | Act::Report { .. } => return None,
        })
    }

    fn submission(&mut self, queue: u8, jobs: &[JobAct], again: Option<u8>) -> Event {
        self.request += 1;
        let request = again.map_or(self.request, |n| u64::from(n) % self.request);
        let spec = BatchSpec {
            name: "b".into(),
            queue: self.queue(queue),
            jobs: jobs
                .iter()
                .enumerate()
                .map(|(position, job)| self::job(position, job))
                .collect(),
        };
        Event::BatchSubmitted {
            request_id: format!("r{request}"),
            digest: [jobs.len() as u8; 32],
            by: "alice".into(),
            spec,
        }
    }

    fn session_up(
        &mut self,
        site: &str,
        incarnation: u8,
        keep: u64,
        foreign: bool,
        stale: bool,
    ) -> Event {
        self.session += 1;
        let id = self.world.find_site(site).unwrap().id;
        let kept = |(position, _): &(usize, LeaseId)| keep >> (position % 64) & 1 == 1;
        let open = self.world.leases_at(id).enumerate().filter(kept);
        let mut leases: BTreeSet<LeaseId> = open.map(|(_, lease)| lease).collect();
        if foreign {
            let task = TaskId {
                job: JobId(9_999),
                index: 0,
            };
            leases.insert(LeaseId {
                lineage: self.world.lineage(),
                task,
                attempt: 1,
            });
            leases.extend(self.granted.first());
        }
        Event::SessionOpened {
            site: site.into(),
            session: if stale {
                self.session / 2
            } else {
                self.session
            },
            // Mostly the same agent.
            incarnation: format!("i{}", incarnation / 4),
            agent_version: String::new(),
            leases,
        }
    }

    fn session_of(&self, site: &str) -> Option<u64> {
        self.world.find_site(site).unwrap().session
    }

    fn queue(&self, number: u8) -> String {
        let queues: Vec<_> = self
            .world
            .queues()
            .iter()
            .filter(|queue| queue.id != QueueId::ROOT)
            .collect();
        queues[usize::from(number) % queues.len()].spec.name.clone()
    }

    fn job(&self, number: u8) -> Option<JobId> {
        let jobs: Vec<_> = self.world.jobs().keys().collect();
        jobs.get(usize::from(number) % jobs.len().max(1))
            .map(|id| **id)
    }

    fn batch(&self, number: u8) -> Option<BatchId> {
        let batches: Vec<_> = self.world.batches().keys().collect();
        batches
            .get(usize::from(number) % batches.len().max(1))
            .map(|id| **id)
    }

    /// Opens everything, lets everything end well, cancels what fits nowhere: then every task
    /// that was ever acknowledged has ended exactly once, and nothing is held.
    pub fn finish(&mut self) {
        self.now = self.now + HOUR_MS;
        self.must(Event::PolicyChanged(Policy::default()));
        let queues: Vec<String> = self
            .world
            .queues()
            .iter()
            .skip(1)
            .map(|queue| queue.spec.name.clone())
            .collect();
        for name in queues {
            let change = QueueChange {
                cordon: Some(String::new()),
                ..QueueChange::default()
            };
            self.must(Event::QueueChanged { name, change });
        }
        for name in SITES {
            self.must(Event::SiteDeclared(site(name, false, 0)));
            self.must(Event::SiteClosed {
                name: name.into(),
                how: None,
                reason: String::new(),
                by: String::new(),
            });
            self.must(Event::LeasesExpired { site: name.into() });
            self.session += 1_000;
            let site = self.world.find_site(name).unwrap();
            let (incarnation, leases) = (
                site.incarnation.clone().unwrap(),
                self.world.leases_at(site.id).collect(),
            );
            self.must(Event::SessionOpened {
                site: name.into(),
                session: self.session,
                incarnation,
                agent_version: String::new(),
                leases,
            });
            let nodes = vec![node(format!("{name}-0"), 12, 12, 2)];
            self.must(Event::CapacityReported {
                site: name.into(),
                session: self.session,
                full: true,
                nodes,
                removed: vec![],
            });
        }
        let batches: Vec<BatchId> = self.world.batches().keys().copied().collect();
        for batch in &batches {
            let _ = self.apply(Event::TasksChanged {
                verb: Verb::Release,
                selection: Selection::Batch(*batch),
            });
        }
        let mut rounds = 0;
        while self.end_all() + self.round() > 0 {
            rounds += 1;
            assert!(rounds < 1_000, "it never comes to rest");
        }
        for batch in &batches {
            let _ = self.apply(Event::TasksChanged {
                verb: Verb::Cancel,
                selection: Selection::Batch(*batch),
            });
            assert!(
                self.world.batches()[batch].finished.is_some(),
                "{batch} is not finished"
            );
            self.must(Event::BatchRetired { batch: *batch });
        }
        assert!(
            self.world.jobs().is_empty()
                && self.world.nodes().iter().all(|node| node.held.is_zero())
        );
        let all: BTreeSet<JobId> = self.acknowledged.keys().copied().collect();
        assert_eq!(self.retired, all, "every acknowledged job retires once");
        let granted: BTreeSet<LeaseId> = self.granted.iter().copied().collect();
        assert_eq!(self.ended, granted, "every lease ends once");
    }

    fn end_all(&mut self) -> usize {
        let sites = self.world.sites().iter();
        let open: Vec<LeaseId> = sites
            .flat_map(|site| self.world.leases_at(site.id))
            .collect();
        for lease in &open {
            self.must(Event::AttemptEnded {
                lease: *lease,
                end: AttemptEnd::bare(Outcome::Exit(0)),
            });
        }
        open.len()
    }
}

fn site_name(number: u8) -> &'static str {
    SITES[usize::from(number) % SITES.len()]
}

pub fn site(name: &str, leased: bool, number: u8) -> SiteSpec {
    let contract = leased.then(|| Contract {
        start: START,
        end: START + i64::from(number) * HOUR_MS + 1,
        price_micro_eur_per_core_hour: 50_000,
        budget_micro_eur: number.is_multiple_of(2).then(|| i64::from(number) * 20_000),
    });
    SiteSpec {
        name: name.into(),
        region: String::new(),
        contract,
    }
}

fn site_event(name: &str, what: u8, number: u8) -> Event {
    let close = |how| Event::SiteClosed {
        name: name.into(),
        how,
        reason: "why".into(),
        by: "who".into(),
    };
    match what % 6 {
        0 => close(Some(Closing::Cordon)),
        1 => close(Some(Closing::Drain)),
        2 => Event::SiteWithdrawn { name: name.into() },
        3 => Event::SiteDeclared(site(name, number.is_multiple_of(2), number)),
        _ => close(None),
    }
}

pub fn queue(name: &str) -> QueueSpec {
    QueueSpec {
        name: name.into(),
        weight: 1,
        queued_max: None,
        submitters: ["*".to_string()].into(),
    }
}

pub fn node(name: String, cpu: u8, memory: u8, gpu: u8) -> NodeReport {
    NodeReport {
        name,
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: "k".into(),
        capacity: Resources::of(
            i64::from(cpu) * 1_000,
            i64::from(memory) * 1_024,
            0,
            i64::from(gpu),
        ),
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        speed_milli: 5_000 + i64::from(cpu) * 1_000,
        schedulable: cpu != 3,
    }
}

pub fn job(position: usize, job: &JobAct) -> JobSpec {
    let earlier = (0..position).filter(|other| job.after >> other & 1 == 1);
    let after_ok = earlier.map(|other| format!("j{other}")).collect();
    let sites = if job.site < 40 {
        [site_name(job.site).to_string()].into()
    } else {
        BTreeSet::new()
    };
    let retries = (0..job.retries / 100).map(|n| RetryRule {
        exit_codes: if n == 0 { vec![(1, 3)] } else { vec![] },
        classes: if n == 0 {
            [FailureClass::Lost].into()
        } else {
            BTreeSet::new()
        },
        times: 2,
    });
    JobSpec {
        name: format!("j{position}"),
        count: u32::from(job.count),
        command: vec!["true".into()],
        env: BTreeMap::new(),
        image: String::new(),
        priority: i32::from(job.priority),
        needs: Needs {
            resources: Resources::of(
                i64::from(job.cpu) * 1_000,
                i64::from(job.memory) * 1_024,
                0,
                i64::from(job.gpu),
            ),
            walltime_ms: i64::from(job.walltime_m) * 60_000,
            coe: None,
            labels: BTreeMap::new(),
            tolerations: BTreeSet::new(),
            sites,
            sites_excluded: BTreeSet::new(),
        },
        after_ok,
        inputs: Vec::new(),
        outputs: Vec::new(),
        outputs_of: Vec::new(),
        retries: retries.collect(),
        on_lost_contact: if job.waits {
            OnLostContact::Wait
        } else {
            OnLostContact::Restart
        },
        restartable: job.restartable,
    }
}

fn end(outcome: u8, ran_s: u16, now: TimeMs) -> AttemptEnd {
    let mut end = AttemptEnd::bare(match outcome % 14 {
        0..5 => Outcome::Exit(0),
        5..7 => Outcome::Exit(i32::from(outcome / 14)),
        7 => Outcome::Signal(9),
        8 => Outcome::WalltimeExceeded,
        9 => Outcome::Lost,
        10 => Outcome::NotRun,
        11 => Outcome::Stopped,
        12 => Outcome::StartFailed("no".into()),
        _ => Outcome::OutputsFailed("x".into()),
    });
    // The node's clock may be anywhere.
    let started = now + -i64::from(ran_s) * 1_000;
    let ended = if ran_s.is_multiple_of(7) {
        TimeMs(0)
    } else {
        now
    };
    end.usage = ran_s.is_multiple_of(3).then_some(AttemptUsage {
        started,
        ended,
        cpu_ms: 1,
        memory_peak_mib: 1,
    });
    end
}
