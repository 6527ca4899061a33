//! A scheduler, two sites and the streams between them; what can happen, and what
//! must hold whatever happens.

use crate::node::Node;
use crate::stage::{LIMITS, SITES, START, Said, Scheduler, Stands};
use crate::translate::{self, to_core};
use jeroboam_agent::state::message::{Down, Up};
use jeroboam_agent::state::{Effect, Input};
use jeroboam_core::event::Event;
use jeroboam_core::ids::{LeaseId, TaskId};
use jeroboam_core::job::{ActiveState, Outcome};
use jeroboam_core::policy::Policy;
use jeroboam_core::time::HOUR_MS;
use jeroboam_core::world::sites::LeaseStanding;
use jeroboam_scheduler::dispatch::{Closing, Connection, FromSite};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Tasks that are submitted at the beginning; the sites hold four at a time.
const TASKS: u32 = 5;
/// Of a clock's parts per 10,000.
const RATE: i64 = 10_000;

/// One thing that happens; numbers choose among what is there.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// For a while nothing goes wrong at a site.
    Flow(u8),
    /// A message arrives at the scheduler.
    Up(u8),
    /// A message arrives at an agent.
    Down(u8),
    /// A node carries out an effect.
    Perform(u8),
    /// An agent starts, or connects.
    Connect(u8),
    Round,
    ShimStarts(u8),
    JobEnds(u8),
    /// Time passes to an agent's next heartbeat.
    Beat(u8),
    Pass(i64),
    /// Time passes to the moment at which a site's silence is long enough.
    ToExpiry(u8),
    /// A stream breaks at both ends and loses what was under way.
    Break(u8, u8),
    /// A stream breaks for the agent, which opens another one; the scheduler
    /// knows of neither yet, and part of what was said still arrives.
    Hang(u8, u8),
    Cancel(u8),
    HoldSyncs,
    Sync,
    CrashScheduler,
    CrashAgent(u8),
    KillShim(u8),
    /// A state directory is lost.
    LoseState(u8),
}

/// A stream. What one end said before it closed may still arrive at the other.
#[derive(Debug)]
struct Link {
    site: usize,
    /// As the agent numbers it.
    number: u64,
    /// As the scheduler does, once it has heard the hello.
    connection: Option<Connection>,
    up: VecDeque<Up>,
    down: VecDeque<(u64, Down)>,
    said: u64,
    agent_open: bool,
    scheduler_open: bool,
}

/// What has happened, over all cases.
#[derive(Debug, Default)]
pub struct Seen {
    starts: usize,
    successes: usize,
    fenced: usize,
    expired: usize,
    superseded: usize,
    refused: usize,
    acknowledged: usize,
    cancelled: usize,
    second_attempts: usize,
}

impl Seen {
    pub fn add(&mut self, other: &Seen) {
        self.starts += other.starts;
        self.successes += other.successes;
        self.fenced += other.fenced;
        self.expired += other.expired;
        self.superseded += other.superseded;
        self.refused += other.refused;
        self.acknowledged += other.acknowledged;
        self.cancelled += other.cancelled;
        self.second_attempts += other.second_attempts;
    }

    /// # Panics
    /// If something that the test is about never happened.
    pub fn assert_all(&self) {
        let all = [
            self.starts,
            self.successes,
            self.fenced,
            self.expired,
            self.superseded,
            self.refused,
            self.acknowledged,
            self.cancelled,
            self.second_attempts,
        ];
        assert!(all.iter().all(|count| *count > 0), "{self:?}");
    }
}

pub struct Federation {
    scheduler: Scheduler,
    nodes: Vec<Node>,
    links: Vec<Link>,
    /// Real time since the start.
    elapsed_ms: i64,
    /// Each node's clock and the scheduler's, in parts per 10,000 of real time.
    rates: (i64, i64),
    tasks: Vec<TaskId>,
    /// Cancels whose reply has not left, and those that the user was told of.
    cancelling: VecDeque<TaskId>,
    cancelled: BTreeSet<TaskId>,
    /// Ends that were open when they arrived, until they are acknowledged.
    arrived: BTreeMap<LeaseId, Outcome>,
    /// Told to an agent as durable.
    acknowledged: BTreeMap<LeaseId, Option<Outcome>>,
    pub seen: Seen,
}

impl Federation {
    /// With clocks that drift apart by twice this, in parts per 10,000.
    pub fn founded(drift: i64) -> Self {
        let mut scheduler = Scheduler::founded(LIMITS);
        // What has ended is looked at to the end.
        let policy = Policy {
            finished_in_memory_ms: 10_000 * HOUR_MS,
            ..Policy::default()
        };
        scheduler.apply(Event::PolicyChanged(policy), "changed");
        let job = scheduler.submit(TASKS);
        scheduler.left();
        Federation {
            scheduler,
            nodes: SITES.map(Node::new).into(),
            links: Vec::new(),
            elapsed_ms: 0,
            rates: (RATE - drift, RATE + drift),
            tasks: (0..TASKS).map(|index| TaskId { job, index }).collect(),
            cancelling: VecDeque::new(),
            cancelled: BTreeSet::new(),
            arrived: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    pub fn act(&mut self, act: Act) {
        match act {
            Act::Flow(n) => self.flow(n),
            Act::Up(n) => self.up(n),
            Act::Down(n) => self.down(n),
            Act::Perform(n) => {
                self.node(n).perform(n / 2);
            }
            Act::Connect(n) => self.connect(usize::from(n) % SITES.len()),
            Act::Round => self.round(),
            Act::ShimStarts(n) => {
                self.node(n).shim_starts(n / 2);
            }
            // Most end well.
            Act::JobEnds(n) => {
                self.node(n).job_ends(n / 2, i32::from(n % 7 == 6));
            }
            Act::Beat(n) => self.beat(usize::from(n) % SITES.len()),
            Act::Pass(span_ms) => self.pass(span_ms),
            Act::ToExpiry(n) => self.pass_to_expiry(usize::from(n) % SITES.len()),
            Act::Break(n, up) => {
                self.cut(n, up, true);
            }
            Act::Hang(n, up) => {
                if let Some(site) = self.cut(n, up, false) {
                    self.carry();
                    self.connect(site);
                }
            }
            Act::Cancel(n) => self.cancel(n),
            Act::HoldSyncs => self.scheduler.hold_syncs(),
            Act::Sync => self.scheduler.sync(),
            Act::CrashScheduler => self.crash_scheduler(),
            Act::CrashAgent(n) => {
                self.node(n).crash_agent();
                self.hang_up(usize::from(n) % SITES.len(), usize::from(n / 2));
            }
            Act::KillShim(n) => {
                self.node(n).kill_shim(n / 2);
            }
            Act::LoseState(n) => {
                self.node(n).lose_state();
                self.hang_up(usize::from(n) % SITES.len(), usize::from(n / 2));
            }
        }
        self.carry();
    }

    fn flow(&mut self, n: u8) {
        self.act(Act::Connect(n));
        for turn in 0..10 {
            self.act(Act::Up(turn));
            self.act(Act::Down(turn));
            self.act(Act::Perform(n % 2));
        }
        self.act(Act::ShimStarts(n));
    }

    fn node(&mut self, n: u8) -> &mut Node {
        &mut self.nodes[usize::from(n) % SITES.len()]
    }

    fn open_link(&mut self, site: usize) -> Option<&mut Link> {
        let mut links = self.links.iter_mut();
        links.find(|link| link.site == site && link.agent_open)
    }

    /// The agent's end closes; all but the first few of its words are lost.
    fn hang_up(&mut self, site: usize, arriving: usize) {
        if let Some(link) = self.open_link(site) {
            link.agent_open = false;
            link.up.truncate(arriving % (link.up.len() + 1));
        }
    }

    fn connect(&mut self, site: usize) {
        self.nodes[site].start_agent();
        if self.open_link(site).is_some() {
            return;
        }
        let number = self.links.len() as u64 + 1;
        self.links.push(Link {
            site,
            number,
            connection: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            said: 0,
            agent_open: true,
            scheduler_open: true,
        });
        self.nodes[site].tell(Input::StreamOpened { connection: number });
    }

    /// Breaks a stream for its agent, which is told, and perhaps for the scheduler.
    fn cut(&mut self, n: u8, arriving: u8, both: bool) -> Option<usize> {
        let open: Vec<usize> = (0..self.links.len())
            .filter(|at| self.links[*at].agent_open)
            .collect();
        let at = open[usize::from(n).checked_rem(open.len())?];
        let (site, connection) = (self.links[at].site, self.links[at].number);
        self.hang_up(site, usize::from(arriving));
        self.nodes[site].tell(Input::StreamBroken { connection });
        if both {
            self.links[at].up.clear();
            self.links[at].scheduler_open = false;
            if let Some(connection) = self.links[at].connection {
                self.scheduler.disconnect(connection);
            }
        }
        Some(site)
    }

    /// A message arrives at the scheduler, or the end of a stream.
    fn up(&mut self, n: u8) {
        let heard = |link: &Link| link.scheduler_open && !(link.up.is_empty() && link.agent_open);
        let open: Vec<usize> = (0..self.links.len())
            .filter(|at| heard(&self.links[*at]))
            .collect();
        let Some(at) = usize::from(n).checked_rem(open.len()).map(|n| open[n]) else {
            return;
        };
        let link = &mut self.links[at];
        match (link.up.pop_front(), link.connection) {
            (None, connection) => {
                link.scheduler_open = false;
                if let Some(connection) = connection {
                    self.scheduler.disconnect(connection);
                }
            }
            (
                Some(Up::Hello {
                    site,
                    federation,
                    incarnation,
                    ..
                }),
                _,
            ) => {
                let connection = self.scheduler.hello_of(&site, &incarnation, &federation);
                self.links[at].connection = Some(connection);
            }
            (Some(message), connection) => {
                let message = translate::up(message).expect("only the first is a hello");
                self.note(&message);
                let connection = connection.expect("the hello came first");
                self.scheduler.say(connection, message);
            }
        }
    }

    /// Remembers the end of an open attempt, if it is heard.
    fn note(&mut self, message: &FromSite) {
        if let FromSite::Ended(lease, end) = message {
            let open = self.scheduler.open(*lease);
            let stopping =
                open.is_some_and(|active| matches!(active.state, ActiveState::Stopping { .. }));
            if open.is_some() && !stopping {
                self.arrived.insert(*lease, end.outcome.clone());
            }
        }
    }

    /// A message arrives at an agent, or the end of its stream.
    fn down(&mut self, n: u8) {
        let hears = |link: &Link| link.agent_open && !(link.down.is_empty() && link.scheduler_open);
        let open: Vec<usize> = (0..self.links.len())
            .filter(|at| hears(&self.links[*at]))
            .collect();
        let Some(at) = usize::from(n).checked_rem(open.len()).map(|n| open[n]) else {
            return;
        };
        let link = &mut self.links[at];
        let (site, connection) = (link.site, link.number);
        match link.down.pop_front() {
            None => {
                link.agent_open = false;
                self.nodes[site].tell(Input::StreamBroken { connection });
            }
            Some((sequence, message)) => {
                if let Down::Ack(lease) = message {
                    let lease = to_core(lease);
                    self.seen.acknowledged += 1;
                    let outcome = self.arrived.remove(&lease);
                    self.acknowledged.entry(lease).or_insert(outcome);
                }
                self.nodes[site].tell(Input::Received {
                    connection,
                    sequence,
                    message,
                });
            }
        }
    }

    fn round(&mut self) {
        let leased = self.scheduler.round();
        let again = leased.iter().filter(|lease| lease.attempt > 1);
        self.seen.second_attempts += again.count();
    }

    fn cancel(&mut self, n: u8) {
        let task = self.tasks[usize::from(n) % self.tasks.len()];
        let stands = self.scheduler.stands(task);
        let stopping = self.scheduler.open_lease(task).is_some_and(|lease| {
            let active = self.scheduler.open(lease).expect("it is open");
            matches!(active.state, ActiveState::Stopping { .. })
        });
        // Rarely, or nothing would be left to run.
        if n < 64 && !stopping && matches!(stands, Stands::Queued | Stands::Active) {
            self.cancelling.push_back(task);
            self.scheduler.cancel(task);
        }
    }

    fn crash_scheduler(&mut self) {
        self.scheduler.crash();
        self.cancelling.clear();
        // Of reports that were lost nobody has heard.
        self.arrived.clear();
        for link in &mut self.links {
            link.scheduler_open = false;
            link.up.clear();
        }
    }

    fn pass(&mut self, span_ms: i64) {
        let end_ms = self.elapsed_ms + span_ms.max(0);
        // Shims look at their deadlines; coarse steps would keep them alive.
        while self.elapsed_ms < end_ms {
            self.elapsed_ms = end_ms.min(self.elapsed_ms + 500_000);
            for node in &mut self.nodes {
                node.pass_to(self.elapsed_ms * self.rates.0 / RATE);
            }
        }
        let now = START + self.elapsed_ms * self.rates.1 / RATE;
        self.scheduler.pass(now - self.scheduler.now());
    }

    /// Time passes until an agent's machine wants to be woken.
    fn beat(&mut self, site: usize) {
        let wake_ms = self.nodes[site]
            .machine
            .as_ref()
            .and_then(|it| it.wake_ms());
        if let Some(wake_ms) = wake_ms {
            let span_ms = (wake_ms - self.nodes[site].now_ms) * RATE / self.rates.0;
            self.pass((span_ms + 1).clamp(0, LIMITS.heartbeat_interval_ms * 2));
            self.nodes[site].tell(Input::Tick);
        }
    }

    fn pass_to_expiry(&mut self, site: usize) {
        let Some(answered) = self.scheduler.state.dispatch.answered(SITES[site]) else {
            return;
        };
        let due = answered + LIMITS.silence_ms() + 1;
        let real_ms = (due - START) * RATE / self.rates.1;
        // The first moment at which the scheduler's clock says so.
        self.pass(real_ms - self.elapsed_ms);
        while self.scheduler.now() < due {
            self.pass(1);
        }
        self.tick();
    }

    fn tick(&mut self) {
        let held = |scheduler: &Scheduler| {
            let sites = scheduler.state.world.sites().iter();
            sites.map(|site| site.running).sum::<u32>()
        };
        let before = held(&self.scheduler);
        self.scheduler.tick();
        self.seen.expired += (before - held(&self.scheduler)) as usize;
    }

    /// What was said goes onto the streams.
    fn carry(&mut self) {
        for site in 0..self.nodes.len() {
            for effect in std::mem::take(&mut self.nodes[site].outgoing) {
                let (connection, message) = match effect {
                    Effect::Send {
                        connection,
                        message,
                        ..
                    } => (connection, Some(message)),
                    Effect::CloseStream { connection, .. } => (connection, None),
                    other => unreachable!("not for the network: {other:?}"),
                };
                let link = &mut self.links[connection as usize - 1];
                match message {
                    Some(message) if link.agent_open => link.up.push_back(message),
                    Some(_) => {}
                    None => link.agent_open = false,
                }
            }
        }
        for said in self.scheduler.left() {
            match said {
                Said::Told(_) => {
                    let told = self.cancelling.pop_front();
                    self.cancelled.insert(told.expect("somebody asked"));
                    self.seen.cancelled += 1;
                }
                Said::Closed(connection, why) => {
                    match why {
                        Closing::Superseded => self.seen.superseded += 1,
                        Closing::Refused(_) => self.seen.refused += 1,
                        _ => {}
                    }
                    if let Some(link) = self.link_of(connection) {
                        link.scheduler_open = false;
                    }
                }
                Said::To(connection, message) => {
                    let world = &self.scheduler.state.world;
                    let message = translate::down(world, LIMITS, message);
                    if let Some(link) = self.link_of(connection) {
                        link.said += 1;
                        link.down.push_back((link.said, message));
                    }
                }
            }
        }
    }

    fn link_of(&mut self, connection: Connection) -> Option<&mut Link> {
        let mut links = self.links.iter_mut();
        links.find(|link| link.connection == Some(connection))
    }

    /// # Panics
    /// If a promise is broken.
    pub fn check(&self) {
        let mut running: BTreeMap<TaskId, LeaseId> = BTreeMap::new();
        for lease in self.nodes.iter().flat_map(Node::alive).map(to_core) {
            if let Some(other) = running.insert(lease.task, lease) {
                panic!("two run at once: {other} and {lease}");
            }
            let given_up = self.scheduler.open(lease).is_none();
            assert!(!given_up, "{lease} was given up while it runs");
        }
        for (lease, outcome) in &self.acknowledged {
            let standing = self.scheduler.state.world.standing(*lease);
            assert_eq!(standing, LeaseStanding::Ended, "{lease} was acknowledged");
            if *outcome == Some(Outcome::Exit(0)) {
                let stands = self.scheduler.stands(lease.task);
                assert_eq!(stands, Stands::Succeeded, "{lease}: its success was");
            }
        }
        for task in &self.cancelled {
            let stands = self.scheduler.stands(*task);
            let kept = matches!(stands, Stands::Active | Stands::Cancelled);
            assert!(kept, "{task} was cancelled and is {stands:?}");
        }
    }

    /// The faults stop: everything works, and every task ends.
    pub fn settle(&mut self) {
        self.scheduler.sync();
        self.carry();
        // What was lost without a trace is out after W.
        self.pass(LIMITS.silence_ms() + LIMITS.kill_ms);
        self.carry();
        for _ in 0..400 {
            if self.has_ended() {
                break;
            }
            self.work();
            self.check();
        }
        let stands: Vec<_> = self
            .tasks
            .iter()
            .map(|it| self.scheduler.stands(*it))
            .collect();
        let held: Vec<_> = self.nodes.iter().map(Node::held).collect();
        assert!(
            self.has_ended(),
            "some never end: {stands:?}, held {held:?}"
        );
        let won = stands.iter().filter(|it| **it == Stands::Succeeded);
        self.seen.successes += won.count();
        for node in &self.nodes {
            self.seen.starts += node.starts;
            self.seen.fenced += node.fenced;
        }
    }

    fn has_ended(&self) -> bool {
        let ended = |task: &TaskId| {
            let stands = self.scheduler.stands(*task);
            !matches!(stands, Stands::Queued | Stands::Active)
        };
        // An agent forgets nothing before it is acknowledged, and then all.
        let idle = |node: &Node| node.alive().next().is_none() && node.held() == 0;
        self.tasks.iter().all(ended) && self.nodes.iter().all(idle)
    }

    /// A turn in which everything makes progress.
    fn work(&mut self) {
        for site in 0..SITES.len() {
            self.connect(site);
            self.carry();
        }
        for n in 0..40 {
            self.act(Act::Up(n));
            self.act(Act::Down(n));
            self.act(Act::Perform(n % 2));
            self.act(Act::ShimStarts(n % 2));
        }
        self.act(Act::Round);
        self.act(Act::JobEnds(0));
        self.act(Act::JobEnds(1));
        for site in 0..SITES.len() {
            self.beat(site);
            self.carry();
        }
        self.tick();
        self.carry();
    }
}
