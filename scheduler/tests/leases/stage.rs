//! A scheduler on a pretend disk: what is not synced is lost in a crash, and
//! nothing leaves before it is synced, as the driver has it.

#![allow(dead_code, reason = "two test programs use this, each a part of it")]

use jeroboam_core::event::{Event, Selection, Verb};
use jeroboam_core::ids::{JobId, LeaseId, TaskId};
use jeroboam_core::job::{Active, AttemptEnd, Outcome};
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::resources::Resources;
use jeroboam_core::round::plan_round;
use jeroboam_core::site::{NodeReport, SiteSpec};
use jeroboam_core::spec::{BatchSpec, Coe, JobSpec, Needs};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_scheduler::dispatch::{
    Closing, Connection, FromSite, Hello, Leadership, Limits, ToSite,
};
use jeroboam_scheduler::state::State;
use jeroboam_scheduler::step::Step;
use std::collections::{BTreeMap, BTreeSet};

/// The shipped spans: an hour of contact, a minute to kill.
pub const LIMITS: Limits = Limits {
    contact_limit_ms: 3_600_000,
    kill_ms: 60_000,
    heartbeat_interval_ms: 10_000,
};
/// The lineage that the journal begins with.
pub const LINEAGE: u64 = 7;
/// Its federation.
pub const FEDERATION: &str = "lhc";
/// Where the scheduler's clock starts.
pub const START: TimeMs = TimeMs(1_800_000_000_000);
/// The declared sites.
pub const SITES: [&str; 2] = ["meyrin", "wigner"];

/// Something that left the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// To an agent.
    To(Connection, ToSite),
    /// The end of a stream.
    Closed(Connection, Closing),
    /// A reply to a user.
    Told(&'static str),
}

/// State, journal and what has left.
pub struct Scheduler {
    /// The machine under test.
    pub state: State,
    now: TimeMs,
    limits: Limits,
    leadership: Leadership,
    durable: Vec<(TimeMs, Event)>,
    unsynced: Vec<(TimeMs, Event)>,
    held_back: Vec<Said>,
    said: Vec<Said>,
    syncs_held: bool,
    connections: u64,
}

impl Scheduler {
    /// A fresh federation: two sites, one queue, nobody connected.
    pub fn founded(limits: Limits) -> Self {
        let federation = FEDERATION.to_string();
        let queue = QueueSpec {
            submitters: BTreeSet::from(["*".to_string()]),
            ..QueueSpec::new("hep", 1)
        };
        let mut first = vec![
            Event::Founded {
                federation,
                lineage: LINEAGE,
            },
            Event::QueueCreated(queue),
        ];
        first.extend(SITES.map(|name| {
            Event::SiteDeclared(SiteSpec {
                name: name.into(),
                region: String::new(),
                contract: None,
            })
        }));
        let durable: Vec<_> = first.into_iter().map(|event| (START, event)).collect();
        let state = State::recovered(World::default(), START, limits, Leadership::Sole);
        let mut scheduler = Scheduler {
            state,
            now: START,
            limits,
            leadership: Leadership::Sole,
            durable,
            unsynced: Vec::new(),
            held_back: Vec::new(),
            said: Vec::new(),
            syncs_held: false,
            connections: 0,
        };
        scheduler.crash();
        scheduler
    }

    /// The scheduler's clock.
    pub fn now(&self) -> TimeMs {
        self.now
    }

    /// Time goes by.
    pub fn pass(&mut self, span_ms: i64) {
        self.now = self.now + span_ms;
    }

    /// From here on nothing is synced until [`Scheduler::sync`].
    pub fn hold_syncs(&mut self) {
        self.syncs_held = true;
    }

    /// All that was appended is durable, and what waited for that leaves.
    pub fn sync(&mut self) {
        self.syncs_held = false;
        self.durable.append(&mut self.unsynced);
        self.said.append(&mut self.held_back);
    }

    /// The process dies and another takes up the journal, at the same moment.
    pub fn crash(&mut self) {
        self.unsynced.clear();
        self.held_back.clear();
        self.syncs_held = false;
        let mut world = replay(&self.durable);
        let started = Event::Started {
            term: world.term() + 1,
        };
        world
            .apply(self.now, &started)
            .expect("a term can always begin");
        self.durable.push((self.now, started));
        self.state = State::recovered(world, self.now, self.limits, self.leadership);
    }

    /// What a crash would not lose.
    pub fn journal(&self) -> &[(TimeMs, Event)] {
        &self.durable
    }

    /// How much a backup taken now would hold.
    pub fn backup(&self) -> usize {
        self.durable.len()
    }

    /// The journal is replaced by an older copy, and leases of its lineage are void.
    pub fn restore(&mut self, backup: usize, lineage: u64) {
        self.durable.truncate(backup);
        let restored = Event::Restored {
            lineage,
            quarantine_until: self.now + self.limits.silence_ms(),
        };
        self.durable.push((self.now, restored));
        self.crash();
    }

    /// Leads by a lease of its own from here on, also after a crash.
    pub fn lead(&mut self, leadership: Leadership) {
        self.leadership = leadership;
        self.state.dispatch.lead(leadership);
    }

    /// A stream begins with its hello.
    pub fn hello(&mut self, site: &str, incarnation: &str) -> Connection {
        self.hello_of(site, incarnation, "")
    }

    /// As [`Scheduler::hello`], from an agent that belongs to a federation.
    pub fn hello_of(&mut self, site: &str, incarnation: &str, federation: &str) -> Connection {
        self.connections += 1;
        let connection = Connection(self.connections);
        let hello = Hello {
            site: site.into(),
            federation: federation.into(),
            incarnation: incarnation.into(),
            version: "0.1.0".into(),
        };
        let step = self.state.hello(connection, hello);
        self.perform(step);
        connection
    }

    /// An agent says something.
    pub fn say(&mut self, connection: Connection, message: FromSite) {
        let step = self.state.receive(self.now, connection, message);
        self.perform(step);
    }

    /// A welcomed agent lists what it holds; `true` runs.
    pub fn list(&mut self, connection: Connection, leases: &[(LeaseId, bool)]) {
        let welcomed = self
            .heard(connection)
            .into_iter()
            .find_map(|said| match said {
                ToSite::Welcome { session } => Some(session),
                _ => None,
            });
        let session = welcomed.expect("the agent was welcomed");
        let leases: BTreeMap<_, _> = leases.iter().copied().collect();
        self.say(connection, FromSite::Inventory { session, leases });
    }

    /// A whole session up to the capacity: one node of two cores.
    pub fn join(
        &mut self,
        site: &str,
        incarnation: &str,
        leases: &[(LeaseId, bool)],
    ) -> Connection {
        let connection = self.hello(site, incarnation);
        self.list(connection, leases);
        self.say(connection, capacity());
        connection
    }

    /// A stream ends by itself.
    pub fn disconnect(&mut self, connection: Connection) {
        let step = self.state.disconnected(self.now, connection);
        self.perform(step);
    }

    /// Time alone is looked at.
    pub fn tick(&mut self) {
        let step = self.state.tick(self.now);
        self.perform(step);
    }

    /// One round; returns what was leased.
    pub fn round(&mut self) -> Vec<LeaseId> {
        let (step, plan) = self.state.round(self.now);
        self.perform(step);
        let leased = plan.placements.iter();
        leased
            .map(|placement| self.open_lease(placement.task).expect("it was just placed"))
            .collect()
    }

    /// Submits a job of one-core tasks that may be tried again.
    pub fn submit(&mut self, count: u32) -> JobId {
        let request_id = format!("request-{}", self.durable.len() + self.unsynced.len());
        let spec = BatchSpec {
            name: "analysis".into(),
            queue: "hep".into(),
            jobs: vec![job(count)],
        };
        let event = Event::BatchSubmitted {
            request_id: request_id.clone(),
            digest: [1; 32],
            by: "alice".into(),
            spec,
        };
        self.apply(event, "submitted");
        let batch = self.state.world.batch_of_request(&request_id);
        batch.expect("it was accepted").first_job
    }

    /// Cancels one task; the user is told *stopping*.
    pub fn cancel(&mut self, task: TaskId) {
        let mut index = RangeSet::default();
        index.insert(task.index);
        let event = Event::TasksChanged {
            verb: Verb::Cancel,
            selection: Selection::Job(task.job, Some(index)),
            by: "alice".into(),
            reason: String::new(),
        };
        self.apply(event, "stopping");
    }

    /// Applies what somebody asked for, and tells them.
    pub fn apply(&mut self, event: Event, reply: &'static str) {
        let step = self.state.apply(self.now, event);
        let step = step.expect("the World takes it");
        self.take(step, vec![Said::Told(reply)]);
    }

    /// What a step brought about, in the driver's order.
    fn perform(&mut self, step: Step) {
        self.take(step, Vec::new());
    }

    fn take(&mut self, step: Step, replies: Vec<Said>) {
        self.state.world.check();
        let now = self.now;
        self.unsynced
            .extend(step.events.into_iter().map(|event| (now, event)));
        let sends = step.sends.into_iter().map(|(to, said)| Said::To(to, said));
        let closes = step.closes.into_iter();
        let closes = closes.map(|(of, why)| Said::Closed(of, why));
        self.held_back.extend(sends.chain(closes).chain(replies));
        if !self.syncs_held {
            self.sync();
        }
    }

    /// What has left, in order; only once.
    pub fn left(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// What an agent was told over a stream since the last look.
    pub fn heard(&mut self, connection: Connection) -> Vec<ToSite> {
        let (mine, others) = self.said.drain(..).partition(|said: &Said| match said {
            Said::To(to, _) => *to == connection,
            Said::Closed(..) | Said::Told(_) => false,
        });
        self.said = others;
        let mine: Vec<Said> = mine;
        mine.into_iter()
            .map(|said| match said {
                Said::To(_, message) => message,
                Said::Closed(..) | Said::Told(_) => unreachable!("partitioned"),
            })
            .collect()
    }

    /// Why a stream was closed from here, if it was.
    pub fn closed(&self, connection: Connection) -> Option<Closing> {
        self.said.iter().find_map(|said| match said {
            Said::Closed(of, why) if *of == connection => Some(why.clone()),
            Said::Closed(..) | Said::To(..) | Said::Told(_) => None,
        })
    }

    /// The open lease of a task.
    pub fn open_lease(&self, task: TaskId) -> Option<LeaseId> {
        let world = &self.state.world;
        let active = world.jobs().get(&task.job)?.tasks.active.get(&task.index)?;
        Some(LeaseId {
            lineage: world.lineage(),
            task,
            attempt: active.attempt,
        })
    }

    /// The attempt of a lease, while it is open.
    pub fn open(&self, lease: LeaseId) -> Option<&Active> {
        self.state.world.open_attempt(lease).ok()
    }

    /// The one state a task is in.
    pub fn stands(&self, task: TaskId) -> Stands {
        let tasks = &self.state.world.jobs()[&task.job].tasks;
        let among = |set: &RangeSet| set.contains(task.index);
        if tasks.active.contains_key(&task.index) {
            Stands::Active
        } else if among(&tasks.queued) {
            Stands::Queued
        } else if among(&tasks.succeeded) {
            Stands::Succeeded
        } else if tasks.failed.values().any(among) {
            Stands::Failed
        } else if tasks.cancelled.values().any(among) {
            Stands::Cancelled
        } else {
            panic!("{task} is held or blocked, which no test here does")
        }
    }
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    Queued,
    Active,
    Succeeded,
    Failed,
    Cancelled,
}

/// The World that a journal's records give; each plan is made again where it
/// stands and must come out the same.
pub fn replay(records: &[(TimeMs, Event)]) -> World {
    let mut world = World::default();
    for (now, event) in records {
        if matches!(event, Event::PlanCommitted { .. }) {
            assert_eq!(&plan_round(&mut world, *now).into_event(), event);
        }
        world
            .apply(*now, event)
            .expect("what was journalled applies again");
    }
    world
}

/// One node of two cores.
pub fn capacity() -> FromSite {
    let node = NodeReport {
        name: "n1".into(),
        cluster: "hosts".into(),
        coe: Coe::Process,
        kernel: "boot-1".into(),
        runtimes: Vec::new(),
        capacity: Resources::of(2_000, 8_192, 0, 0),
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        speed_milli: 10_000,
        schedulable: true,
    };
    FromSite::Capacity {
        full: true,
        nodes: vec![node],
        removed: Vec::new(),
    }
}

/// A report that an attempt has ended.
pub fn ended(lease: LeaseId, outcome: Outcome) -> FromSite {
    FromSite::Ended(lease, Box::new(AttemptEnd::bare(outcome)))
}

/// A job of one-core tasks.
pub fn job(count: u32) -> JobSpec {
    JobSpec {
        count,
        ..JobSpec::new(
            "select",
            Needs::new(Resources::of(1_000, 1_024, 0, 0), 600_000),
        )
    }
}
