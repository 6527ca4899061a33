//! A World that lives at random beside its index, and the scan that the index is judged by.

use crate::event::{Event, Placement};
use crate::ids::{ClassId, KernelId, LeaseId, NodeId, QueueId, SiteId, TaskId};
use crate::isolation::{Isolation, Runtime};
use crate::job::{AttemptEnd, AttemptUsage, Outcome};
use crate::policy::Policy;
use crate::queue::QueueSpec;
use crate::resources::Resources;
use crate::round::feasible::{Taken, Took, refusal};
use crate::round::score::score;
use crate::site::{Closing, Contract, NodeReport, SiteSpec};
use crate::spec::{BatchSpec, Coe, JobSpec, Needs, Taint};
use crate::time::{HOUR_MS, TimeMs};
use crate::world::World;
use proptest::prelude::*;
use std::collections::BTreeSet;

pub const SITES: [&str; 3] = ["a", "b", "c"];
pub const START: TimeMs = TimeMs(1_000_000_000);
/// The log is cut this short, so that it is truncated all the time.
pub const LOG_MAX: usize = 12;

/// What a random byte stands for, as far as a node goes.
#[derive(Debug, Clone)]
pub struct NodeAct {
    pub site: u8,
    pub name: u8,
    pub cpu: u8,
    pub memory: u8,
    pub disk: u8,
    pub gpu: u8,
    pub extended: u8,
    pub kind: u8,
}

#[derive(Debug, Clone)]
pub enum Act {
    Place { class: u8, times: u8 },
    Give { which: u8 },
    Commit,
    Settle,
    End { which: u8, ran: bool },
    Mask { node: u8 },
    Unmask { which: u8 },
    Report { node: NodeAct, full: bool },
    Remove { site: u8, name: u8 },
    Site { site: u8, what: u8, number: u8 },
    Tick { minutes: u16 },
    Policy { stranded: u8, fill: u8, grace_s: u8 },
    Restore,
    Rebuild { clone: bool },
}

pub fn node_act() -> impl Strategy<Value = NodeAct> {
    let amounts = (0u8..6, 0u8..8, 0u8..3, 0u8..3, 0u8..3);
    (0u8..3, 0u8..40, amounts, any::<u8>()).prop_map(
        |(site, name, (cpu, memory, disk, gpu, extended), kind)| NodeAct {
            site,
            name,
            cpu,
            memory,
            disk,
            gpu,
            extended,
            kind,
        },
    )
}

pub fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (any::<u8>(), 1u8..6).prop_map(|(class, times)| Act::Place { class, times }),
        4 => any::<u8>().prop_map(|which| Act::Give { which }),
        3 => Just(Act::Commit),
        2 => Just(Act::Settle),
        5 => (any::<u8>(), any::<bool>()).prop_map(|(which, ran)| Act::End { which, ran }),
        3 => any::<u8>().prop_map(|node| Act::Mask { node }),
        2 => any::<u8>().prop_map(|which| Act::Unmask { which }),
        5 => (node_act(), prop::bool::weighted(0.05))
            .prop_map(|(node, full)| Act::Report { node, full }),
        2 => (0u8..3, 0u8..40).prop_map(|(site, name)| Act::Remove { site, name }),
        8 => (0u8..3, any::<u8>(), any::<u8>())
            .prop_map(|(site, what, number)| Act::Site { site, what, number }),
        3 => (0u16..90).prop_map(|minutes| Act::Tick { minutes }),
        1 => (0u8..9, 0u8..9, 0u8..90).prop_map(|(stranded, fill, grace_s)| Act::Policy {
            stranded,
            fill,
            grace_s,
        }),
        1 => Just(Act::Restore),
        1 => any::<bool>().prop_map(|clone| Act::Rebuild { clone }),
    ]
}

fn runtime(name: &str, isolation: Isolation, memory_mib: i64) -> Runtime {
    Runtime {
        name: name.into(),
        isolation,
        overhead: Resources::of(0, memory_mib, 0, 0),
    }
}

pub fn report(act: &NodeAct) -> NodeReport {
    let cpu = [0, 1_000, 4_000, 16_000, 48_000, 63_500][usize::from(act.cpu)];
    // Some differ by little: they share a shape.
    let memory = [0, 2_048, 16_384, 16_415, 16_379, 131_072, 131_327, 130_977];
    let mut capacity = Resources::of(
        cpu,
        memory[usize::from(act.memory)],
        i64::from(act.disk) * 7_000,
        [0, 1, 8][usize::from(act.gpu)],
    );
    capacity[4] = i64::from(act.extended) * 5;
    let rack = ["x", "y"][usize::from(act.kind % 2)];
    let name = format!("n{}", act.name);
    let labels = [("rack".into(), rack.into()), ("host".into(), name.clone())];
    let taint = Taint {
        key: "only".into(),
        value: "some".into(),
    };
    NodeReport {
        name,
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: match act.kind % 4 {
            0 => String::new(),
            1 => "host".into(),
            boot => format!("n{}-{boot}", act.name),
        },
        runtimes: match act.kind % 5 {
            0 => vec![
                runtime("runc", Isolation::Shared, 0),
                runtime("runsc", Isolation::Sandbox, 70),
            ],
            1 => vec![runtime("kata", Isolation::Kernel, 160)],
            _ => Vec::new(),
        },
        capacity,
        labels: labels.into(),
        taints: (act.kind.is_multiple_of(7))
            .then_some(taint)
            .into_iter()
            .collect(),
        speed_milli: 5_000 + 5_000 * i64::from(act.kind % 3),
        schedulable: !act.kind.is_multiple_of(11),
    }
}

/// Classes of all sorts: sizes that do and do not divide capacities, kinds, sites.
pub fn needs() -> Vec<Needs> {
    let mut all = Vec::new();
    for (cpu, memory, disk, gpu, extended) in [
        (1_000, 1_024, 0, 0, 0),
        (1_000, 0, 0, 0, 0),
        (0, 700, 0, 0, 0),
        (3_300, 2_049, 0, 0, 0),
        (4_000, 16_380, 0, 0, 0),
        (16_000, 50_000, 0, 0, 0),
        (500, 333, 100, 1, 0),
        (10, 10, 13_999, 0, 0),
        (2_000, 1_500, 0, 0, 3),
        (48_000, 130_990, 0, 0, 0),
        (10, 0, 0, 8, 0),
    ] {
        let mut resources = Resources::of(cpu, memory, disk, gpu);
        resources[4] = extended;
        all.push(Needs::new(resources, HOUR_MS));
    }
    let like = |at: usize, change: &dyn Fn(&mut Needs)| {
        let mut needs = all[at].clone();
        change(&mut needs);
        needs
    };
    let some = [
        like(0, &|needs| {
            needs.labels = [("rack".into(), "x".into())].into()
        }),
        like(0, &|needs| {
            needs.labels = [("host".into(), "n3".into())].into()
        }),
        like(1, &|needs| needs.sites = ["b".to_string()].into()),
        like(3, &|needs| needs.sites_excluded = ["a".to_string()].into()),
        like(3, &|needs| needs.walltime_ms = 5 * HOUR_MS),
        like(1, &|needs| needs.walltime_ms = HOUR_MS / 4),
        like(0, &|needs| {
            let taint = Taint {
                key: "only".into(),
                value: "some".into(),
            };
            needs.tolerations = [taint].into();
        }),
    ];
    all.into_iter().chain(some).collect()
}

/// Classes that ask to be kept apart.
pub fn apart() -> Vec<Needs> {
    let all = needs();
    let levels = [Isolation::Sandbox, Isolation::Kernel];
    let apart = levels.into_iter().flat_map(|isolation| {
        [0, 1, 3, 5, 11].map(|at| Needs {
            isolation,
            ..all[at].clone()
        })
    });
    apart.collect()
}

pub struct Life {
    pub world: World,
    pub now: TimeMs,
    pub session: u64,
    pub taken: Vec<(ClassId, NodeId, Took)>,
    pub masked: BTreeSet<NodeId>,
    pub found: usize,
    pub missed: usize,
}

impl Life {
    pub fn new(nodes: &[NodeAct]) -> Self {
        let mut life = Life {
            world: World::default(),
            now: START,
            session: 1,
            taken: Vec::new(),
            masked: BTreeSet::new(),
            found: 0,
            missed: 0,
        };
        life.apply(Event::PolicyChanged(policy(4, 1, 10)));
        for site in 0..SITES.len() as u8 {
            life.site(site, 4, [3, 3, 200][usize::from(site)]);
            life.site(site, 1, 0);
        }
        for node in nodes {
            life.report(node, false);
        }
        life.submit("q", needs());
        life
    }

    /// A queue with jobs of all these needs.
    pub fn submit(&mut self, queue: &str, needs: Vec<Needs>) {
        self.apply(Event::QueueCreated(QueueSpec {
            submitters: ["*".to_string()].into(),
            ..QueueSpec::new(queue, 1)
        }));
        self.apply(Event::BatchSubmitted {
            request_id: queue.into(),
            digest: [0; 32],
            by: "alice".into(),
            spec: BatchSpec {
                name: "b".into(),
                queue: queue.into(),
                jobs: needs.into_iter().enumerate().map(job).collect(),
            },
        });
    }

    pub fn apply(&mut self, event: Event) {
        // What is refused changes nothing, which is as good here.
        let _ = self.world.apply(self.now, &event);
    }

    pub fn classes(&self) -> Vec<ClassId> {
        self.world.classes().iter().collect()
    }

    pub fn act(&mut self, act: &Act) {
        match act {
            Act::Place { class, times } => {
                let classes = self.classes();
                let class = classes[usize::from(*class) % classes.len()];
                (0..*times).for_each(|_| self.place(class));
            }
            Act::Give { which } if !self.taken.is_empty() => {
                let (_, node, _) = self.taken[usize::from(*which) % self.taken.len()];
                self.give(self.world.node(node).kernel);
            }
            Act::Commit => self.commit(),
            Act::Settle => self.settle(),
            Act::End { which, ran } => self.end(*which, *ran),
            Act::Mask { node } => {
                let node = NodeId(u32::from(*node) % self.world.nodes().len().max(1) as u32);
                if self.masked.len() < 6 && node.index() < self.world.nodes().len() {
                    self.masked.insert(node);
                    self.world
                        .with_index(|world, index| index.mask(world, node));
                }
            }
            Act::Unmask { which } if !self.masked.is_empty() => {
                let at = usize::from(*which) % self.masked.len();
                let node = *self.masked.iter().nth(at).unwrap();
                self.masked.remove(&node);
                self.world
                    .with_index(|world, index| index.unmask(world, node));
            }
            Act::Give { .. } | Act::Unmask { .. } => {}
            Act::Report { node, full } => self.report(node, *full),
            Act::Remove { site, name } => {
                self.settle();
                self.apply(Event::CapacityReported {
                    site: SITES[usize::from(*site)].into(),
                    session: self.session,
                    full: false,
                    nodes: Vec::new(),
                    removed: vec![format!("n{name}")],
                });
            }
            Act::Site { site, what, number } => self.site(*site, *what, *number),
            Act::Tick { minutes } => self.now = self.now + i64::from(*minutes) * 60_000,
            Act::Policy {
                stranded,
                fill,
                grace_s,
            } => {
                self.settle();
                self.apply(Event::PolicyChanged(policy(*stranded, *fill, *grace_s)));
            }
            Act::Restore => {
                // Nobody knows any more who has used the kernels.
                self.settle();
                self.apply(Event::Restored {
                    lineage: self.world.lineage() + 1,
                    quarantine_until: self.now + HOUR_MS / 4,
                });
            }
            Act::Rebuild { clone: false } => self.world.with_index(|_, index| index.clear()),
            Act::Rebuild { clone: true } => {
                self.settle();
                let bytes = postcard::to_stdvec(&self.world).unwrap();
                self.world = postcard::from_bytes(&bytes).unwrap();
                let masked = self.masked.clone();
                self.world.with_index(|world, index| {
                    masked.iter().for_each(|node| index.mask(world, *node));
                });
            }
        }
    }

    pub fn place(&mut self, class: ClassId) {
        let Some(node) = self.ask(class) else {
            return;
        };
        let mut taken = self.all_taken();
        let (needs, tenant) = (self.world.classes().needs(class), self.tenant(class));
        let took = taken.take(&self.world, needs, tenant, self.world.node(node));
        let tenancy = taken.changed_tenancy(self.world.node(node));
        self.taken.push((class, node, took));
        self.world.with_index(|world, index| {
            index.take(world, node, &took.amounts, took.cost_micro_eur);
            index.use_kernel(world, world.node(node).kernel, tenancy);
        });
    }

    /// Gives back what was last taken of a kernel.
    fn give(&mut self, kernel: KernelId) {
        let of_kernel = |taken: &(ClassId, NodeId, Took)| self.world.node(taken.1).kernel == kernel;
        let at = self.taken.iter().rposition(of_kernel).unwrap();
        let (_, node, took) = self.taken.remove(at);
        let tenancy = self.all_taken().changed_tenancy(self.world.node(node));
        self.world.with_index(|world, index| {
            index.give(world, node, &took.amounts, took.cost_micro_eur);
            index.use_kernel(world, kernel, tenancy);
        });
    }

    /// All that is taken, as a scan sees it.
    fn all_taken(&self) -> Taken {
        let mut taken = Taken::default();
        for (class, node, _) in &self.taken {
            let (needs, tenant) = (self.world.classes().needs(*class), self.tenant(*class));
            taken.take(&self.world, needs, tenant, self.world.node(*node));
        }
        taken
    }

    /// Whose the jobs of a class are.
    fn tenant(&self, class: ClassId) -> QueueId {
        let mut jobs = self.world.jobs().values();
        jobs.find(|job| job.class == class).unwrap().queue
    }

    /// Asks the index and holds it against the scan.
    pub fn ask(&mut self, class: ClassId) -> Option<NodeId> {
        let expected = self.scan(class);
        let now = self.now;
        let (known, found) = self.world.with_index(|world, index| {
            if index.log.end() > 0 && index.built {
                index.log.cut(LOG_MAX);
            }
            let known = index.fails(world, now, class);
            (known, index.best(world, now, class))
        });
        assert_eq!(found, expected, "{:?}", self.world.classes().needs(class));
        assert!(!known || found.is_none(), "failed, and found something");
        let again = self
            .world
            .with_index(|world, index| index.fails(world, now, class));
        assert_eq!(again, found.is_none(), "failed, and does not know it");
        match found {
            Some(_) => self.found += 1,
            None => self.missed += 1,
        }
        found
    }

    pub fn scan(&self, class: ClassId) -> Option<NodeId> {
        let (world, now) = (&self.world, self.now);
        let taken = self.all_taken();
        let needs = world.classes().needs(class);
        let shown = world.nodes().iter();
        let shown = shown.filter(|node| !self.masked.contains(&node.id));
        let fitting = shown.filter(|node| refusal(world, now, &taken, needs, node).is_none());
        let keys = fitting.map(|node| (score(world, &taken, needs, node), node.id));
        keys.min().map(|(_, node)| node)
    }

    pub fn settle(&mut self) {
        self.taken.clear();
        self.world.with_index(|_, index| index.settle());
        self.masked.clear();
    }

    pub fn commit(&mut self) {
        let mut placements = Vec::new();
        for job in self.world.jobs().values() {
            let of_job = self.taken.iter().filter(|(class, ..)| *class == job.class);
            let queued = job.tasks.queued.ranges().flat_map(|(from, to)| from..=to);
            placements.extend(of_job.zip(queued).map(|((_, node, _), index)| Placement {
                task: TaskId { job: job.id, index },
                node: *node,
                way: None,
            }));
        }
        self.apply(Event::PlanCommitted {
            placements,
            preemptions: Vec::new(),
            reservations: None,
        });
        self.settle();
    }

    pub fn end(&mut self, which: u8, ran: bool) {
        let open: Vec<LeaseId> = (0..SITES.len() as u32)
            .flat_map(|site| self.world.leases_at(SiteId(site)).collect::<Vec<_>>())
            .collect();
        if open.is_empty() {
            return;
        }
        let lease = open[usize::from(which) % open.len()];
        if self.world.open_attempt(lease).unwrap().is_alone() {
            // What was taken was chosen with regard to it.
            self.settle();
        }
        let mut end = AttemptEnd::bare(Outcome::Exit(0));
        end.usage = ran.then_some(AttemptUsage {
            started: self.now,
            ended: self.now,
            cpu_ms: 1,
            memory_peak_mib: 1,
        });
        self.apply(Event::AttemptEnded { lease, end });
    }

    pub fn report(&mut self, act: &NodeAct, full: bool) {
        let site = SITES[usize::from(act.site) % SITES.len()];
        let mut node = report(act);
        let known = &self.world.find_site(site).unwrap().nodes;
        match known.get(&node.name) {
            Some(id) if !self.taken.is_empty() && !full => {
                // What was taken costs what it cost then.
                let known = &self.world.node(*id).report;
                node.speed_milli = known.speed_milli;
                node.kernel = known.kernel.clone();
                node.runtimes = known.runtimes.clone();
            }
            Some(_) | None => self.settle(),
        }
        self.apply(Event::CapacityReported {
            site: site.into(),
            session: self.session,
            full,
            nodes: vec![node],
            removed: Vec::new(),
        });
    }

    pub fn site(&mut self, site: u8, what: u8, number: u8) {
        let name = SITES[usize::from(site)].to_string();
        let close = |how| Event::SiteClosed {
            name: name.clone(),
            how,
            reason: String::new(),
            by: String::new(),
        };
        let event = match what % 12 {
            0 => close(Some(Closing::Cordon)),
            1 | 2 => {
                self.session += 1;
                let id = self.world.find_site(&name).unwrap().id;
                let session = self.session;
                let leases = self.world.leases_at(id).collect();
                for other in SITES {
                    let closing = Event::SessionClosed {
                        site: other.into(),
                        session: session - 1,
                    };
                    let leases = self.world.find_site(other).map(|site| site.id);
                    let leases = leases.map(|id| self.world.leases_at(id).collect());
                    if other != name {
                        self.apply(closing);
                        let opening = Event::SessionOpened {
                            site: other.into(),
                            session,
                            incarnation: "i".into(),
                            agent_version: String::new(),
                            leases: leases.unwrap_or_default(),
                        };
                        self.apply(opening);
                    }
                }
                Event::SessionOpened {
                    site: name,
                    session,
                    incarnation: "i".into(),
                    agent_version: String::new(),
                    leases,
                }
            }
            3 => Event::SessionClosed {
                site: name,
                session: self.session,
            },
            4 | 8..=10 => {
                self.settle();
                let contract = (!number.is_multiple_of(3)).then(|| Contract {
                    start: self.now + (i64::from(number % 4) - 1) * HOUR_MS / 4,
                    end: self.now + i64::from(number) * HOUR_MS / 8 + 1 + HOUR_MS,
                    price_micro_eur_per_core_hour: i64::from(number / 40) * 30_000,
                    budget_micro_eur: (!number.is_multiple_of(5))
                        .then(|| i64::from(number) * 4_000),
                });
                Event::SiteDeclared(SiteSpec {
                    name,
                    region: String::new(),
                    contract,
                })
            }
            5 => Event::SiteWithdrawn { name },
            _ => close(None),
        };
        self.apply(event);
    }
}

pub fn policy(stranded: u8, fill: u8, grace_s: u8) -> Policy {
    Policy {
        score_stranded: i64::from(stranded),
        score_fill: i64::from(fill),
        grace_ms: i64::from(grace_s) * 1_000,
        extended_resources: vec!["fpga".into()],
        ..Policy::default()
    }
}

pub fn job((position, needs): (usize, Needs)) -> JobSpec {
    JobSpec {
        count: 500,
        ..JobSpec::new(format!("j{position}"), needs)
    }
}
