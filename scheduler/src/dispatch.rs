//! Site sessions at the scheduler: the pure half of the lease protocol.
//!
//! The rule it keeps: a lease is given to another attempt only when the first
//! one has certainly ended, whatever crashes, is delayed or reordered. So an
//! inventory decides what a site holds, only one session of a site is current,
//! and a site that stays silent for longer than [`Limits::silence_ms`] loses its
//! fenced leases once and for all.
//!
//! It has no clock, no sockets and no journal: time comes in, and what is to be
//! said goes out as values that the driver releases after the sync. What must
//! survive a crash goes into the World as events; what is here does not: after a
//! start every lease counts as renewed at that moment.
//!
//! Entry points: [`Dispatch::hello`], [`Dispatch::receive`],
//! [`Dispatch::disconnected`], [`Dispatch::expire`].

mod message;

use crate::step::Step;
use jeroboam_core::event::Event;
use jeroboam_core::ids::{LeaseId, NodeId};
use jeroboam_core::job::ActiveState;
use jeroboam_core::site::Site;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_core::world::sites::{LeaseStanding, check_claim};
pub use message::{Closing, FromSite, Hello, ToSite};
use std::collections::BTreeMap;

/// One stream from an agent, numbered by whoever accepts streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection(pub u64);

/// The protocol's spans, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// L: an attempt not renewed for this long is stopped by its shim.
    pub contact_limit_ms: i64,
    /// K: the longest from that deadline until its process tree is dead.
    pub kill_ms: i64,
    /// How often an agent asks for renewal.
    pub heartbeat_interval_ms: i64,
}

impl Limits {
    /// W: how long the scheduler waits after its last answer before it counts a
    /// silent site's leases as out. W > L + K + D, strictly, where D is the drift
    /// of two clocks over that interval: two percent, and one second at least.
    pub fn silence_ms(&self) -> i64 {
        let fenced_ms = self.contact_limit_ms + self.kill_ms;
        fenced_ms + (fenced_ms / 50).max(1_000) + 1
    }
}

/// Until when this scheduler may answer renewals and send verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// There is no other scheduler.
    Sole,
    /// By a lease of its own.
    Until(TimeMs),
}

impl Leadership {
    fn holds(self, now: TimeMs) -> bool {
        match self {
            Leadership::Sole => true,
            Leadership::Until(end) => now < end,
        }
    }
}

/// All streams, and when each site was answered last.
#[derive(Debug)]
pub struct Dispatch {
    limits: Limits,
    leadership: Leadership,
    next_session: u64,
    streams: BTreeMap<Connection, Stream>,
    /// By site: the stream whose inventory was accepted and no newer one's.
    current: BTreeMap<String, Connection>,
    answered: BTreeMap<String, TimeMs>,
}

#[derive(Debug)]
struct Stream {
    hello: Hello,
    session: u64,
}

impl Dispatch {
    /// At a start: every lease in the World counts as renewed now.
    pub fn recovered(world: &World, now: TimeMs, limits: Limits, leadership: Leadership) -> Self {
        let with_leases = world.sites().iter().filter(|site| site.running > 0);
        Dispatch {
            limits,
            leadership,
            // Sessions of a later term are numbered above all of an earlier one.
            next_session: (world.term() << 32) + 1,
            streams: BTreeMap::new(),
            current: BTreeMap::new(),
            answered: with_leases
                .map(|site| (site.spec.name.clone(), now))
                .collect(),
        }
    }

    /// The protocol's spans.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// This scheduler's leadership was renewed, or ends.
    pub fn lead(&mut self, leadership: Leadership) {
        self.leadership = leadership;
    }

    /// When a site was answered last, where anybody waits for it.
    pub fn answered(&self, site: &str) -> Option<TimeMs> {
        self.answered.get(site).copied()
    }

    /// The stream over which a site is spoken to.
    pub fn current(&self, site: &str) -> Option<Connection> {
        self.current.get(site).copied()
    }

    /// A stream begins. It replaces nothing yet: only its inventory will.
    pub fn hello(&mut self, world: &World, connection: Connection, hello: Hello) -> Step {
        let mut step = Step::default();
        match self.admit(world, &hello) {
            Err(closing) => step.close(connection, closing),
            Ok(()) => {
                let session = self.next_session;
                self.next_session += 1;
                step.send(connection, ToSite::Welcome { session });
                self.streams.insert(connection, Stream { hello, session });
            }
        }
        step
    }

    fn admit(&self, world: &World, hello: &Hello) -> Result<(), Closing> {
        let ours = world.federation();
        if !hello.federation.is_empty() && hello.federation != ours {
            let (theirs, ours) = (hello.federation.clone(), ours.to_string());
            return Err(Closing::ForeignFederation { theirs, ours });
        }
        let site = world.find_site(&hello.site).map_err(Closing::Refused)?;
        check_claim(site, &hello.incarnation).map_err(Closing::Refused)
    }

    /// An agent says something. What comes over a stream that is not the site's
    /// current one is not heard, its inventory apart.
    pub fn receive(
        &mut self,
        world: &mut World,
        now: TimeMs,
        connection: Connection,
        message: FromSite,
    ) -> Step {
        let mut step = Step::default();
        let Some(stream) = self.streams.get(&connection) else {
            return step;
        };
        let (site, session) = (stream.hello.site.clone(), stream.session);
        let current = self.current(&site) == Some(connection);
        if let FromSite::Inventory {
            session: named,
            leases,
        } = message
        {
            if named == session && !current {
                self.inventory(world, now, connection, &leases, &mut step);
            }
            return step;
        }
        if !current || !speaks_for(world, &site, &message) {
            return step;
        }
        match message {
            FromSite::Inventory { .. } => {}
            FromSite::Capacity {
                full,
                nodes,
                removed,
            } => {
                let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
                let event = Event::CapacityReported {
                    site: site.clone(),
                    session,
                    full,
                    nodes,
                    removed,
                };
                match step.apply(world, now, event) {
                    Ok(()) => tell_over_committed(world, &site, &names, connection, &mut step),
                    Err(rejected) => self.close(
                        world,
                        now,
                        connection,
                        Closing::Refused(rejected),
                        &mut step,
                    ),
                }
            }
            FromSite::Heartbeat(number) => {
                // Asked after the heartbeat was read: a leader that was
                // deposed in between must not renew what its successor gave away.
                if self.leadership.holds(now) {
                    self.answered.insert(site, now);
                    step.send(connection, ToSite::Renewed(number));
                }
            }
            FromSite::Starting(lease) => {
                step.apply_report(world, now, Event::AttemptStarting { lease })
            }
            FromSite::Running(lease) => {
                step.apply_report(world, now, Event::AttemptRunning { lease })
            }
            FromSite::Ended(lease, end) => {
                step.apply_report(world, now, Event::AttemptEnded { lease, end: *end });
                step.send(connection, ToSite::Ack(lease));
            }
        }
        step
    }

    /// Makes the stream its site's current one and pronounces on what it holds.
    fn inventory(
        &mut self,
        world: &mut World,
        now: TimeMs,
        connection: Connection,
        leases: &BTreeMap<LeaseId, bool>,
        step: &mut Step,
    ) {
        if !self.leadership.holds(now) {
            return self.close(world, now, connection, Closing::NotLeading, step);
        }
        let stream = &self.streams[&connection];
        let (hello, session) = (stream.hello.clone(), stream.session);
        let event = Event::SessionOpened {
            site: hello.site.clone(),
            session,
            incarnation: hello.incarnation,
            agent_version: hello.version,
            leases: leases.keys().copied().collect(),
        };
        // Its stops are said after the verdict: they are effects, which the state
        // turns into messages behind those that stand here.
        if let Err(rejected) = step.apply(world, now, event) {
            return self.close(world, now, connection, Closing::Refused(rejected), step);
        }
        let older = |stream: &Stream| stream.hello.site == hello.site && stream.session < session;
        let superseded: Vec<Connection> = self
            .streams
            .iter()
            .filter(|(_, s)| older(s))
            .map(|(c, _)| *c)
            .collect();
        for old in superseded {
            self.streams.remove(&old);
            step.close(old, Closing::Superseded);
        }
        self.current.insert(hello.site.clone(), connection);
        self.answered.insert(hello.site.clone(), now);
        step.send(connection, verdict(world, &hello.site, leases));
        for (lease, running) in leases {
            let behind = world.open_attempt(*lease).is_ok_and(|active| {
                matches!(active.state, ActiveState::Leased | ActiveState::Starting)
            });
            if *running && behind && !is_elsewhere(world, &hello.site, *lease) {
                step.apply_report(world, now, Event::AttemptRunning { lease: *lease });
            }
        }
    }

    /// A stream has ended by itself.
    pub fn disconnected(&mut self, world: &mut World, now: TimeMs, connection: Connection) -> Step {
        let mut step = Step::default();
        self.forget(world, now, connection, &mut step);
        step
    }

    fn close(
        &mut self,
        world: &mut World,
        now: TimeMs,
        connection: Connection,
        closing: Closing,
        step: &mut Step,
    ) {
        self.forget(world, now, connection, step);
        step.close(connection, closing);
    }

    fn forget(&mut self, world: &mut World, now: TimeMs, connection: Connection, step: &mut Step) {
        let Some(stream) = self.streams.remove(&connection) else {
            return;
        };
        let site = stream.hello.site;
        if self.current(&site) == Some(connection) {
            self.current.remove(&site);
            let session = stream.session;
            step.apply_report(world, now, Event::SessionClosed { site, session });
        }
    }

    /// The scheduler itself stood still for a while and heard nobody: every lease
    /// counts as renewed that much later, as after a start. It only waits longer.
    pub fn excuse(&mut self, standstill_ms: i64) {
        for answered in self.answered.values_mut() {
            *answered = *answered + standstill_ms;
        }
    }

    /// Sites that were not answered for W lose their fenced leases.
    pub fn expire(&mut self, world: &mut World, now: TimeMs) -> Step {
        let mut step = Step::default();
        let silence_ms = self.limits.silence_ms();
        let silent = self
            .answered
            .iter()
            .filter(|(_, answered)| now - **answered > silence_ms);
        let silent: Vec<String> = silent.map(|(site, _)| site.clone()).collect();
        for site in silent {
            self.answered.remove(&site);
            self.current.remove(&site);
            let at_site: Vec<Connection> = self
                .streams
                .iter()
                .filter(|(_, stream)| stream.hello.site == site)
                .map(|(connection, _)| *connection)
                .collect();
            for connection in at_site {
                self.streams.remove(&connection);
                step.close(connection, Closing::Silent);
            }
            let holds = |found: &Site| found.running > 0 || found.session.is_some();
            if world.find_site(&site).is_ok_and(holds) {
                step.apply_report(world, now, Event::LeasesExpired { site });
            }
        }
        step
    }
}

/// True if the lease is open at another site than this one.
fn is_elsewhere(world: &World, site: &str, lease: LeaseId) -> bool {
    let open = world.open_attempt(lease);
    open.is_ok_and(|active| world.site(world.node(active.node).site).spec.name != site)
}

/// A report may leave a node with less than runs there. That goes on, since nobody
/// says that it has to end; but somebody should know.
fn tell_over_committed(
    world: &World,
    site: &str,
    reported: &[String],
    connection: Connection,
    step: &mut Step,
) {
    let site = world.find_site(site).expect("it has just reported");
    let nodes = reported.iter().filter_map(|name| site.nodes.get(name));
    let over = nodes.filter(|node| world.node(**node).over_committed().is_some());
    let over: Vec<NodeId> = over.copied().collect();
    if !over.is_empty() {
        step.send(connection, ToSite::OverCommitted(over));
    }
}

/// A site speaks for its own leases alone. What it says about one that is open at
/// another site is not taken, and so not acknowledged either before that ends.
fn speaks_for(world: &World, site: &str, message: &FromSite) -> bool {
    let lease = match message {
        FromSite::Inventory { .. } | FromSite::Capacity { .. } | FromSite::Heartbeat(_) => {
            return true;
        }
        FromSite::Starting(lease) | FromSite::Running(lease) | FromSite::Ended(lease, _) => *lease,
    };
    let elsewhere = is_elsewhere(world, site, lease);
    if elsewhere {
        tracing::warn!(site, %lease, "reports about a lease that was granted to another site");
    }
    !elsewhere
}

/// What becomes of each listed lease. One that is open at another site is not
/// this site's to renew, and nothing proves that it has ended.
fn verdict(world: &World, site: &str, leases: &BTreeMap<LeaseId, bool>) -> ToSite {
    let (mut keep, mut ended, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for lease in leases.keys() {
        match world.standing(*lease) {
            LeaseStanding::Open if is_elsewhere(world, site, *lease) => unknown.push(*lease),
            LeaseStanding::Open => keep.push(*lease),
            LeaseStanding::Ended => ended.push(*lease),
            LeaseStanding::Unknown => unknown.push(*lease),
        }
    }
    ToSite::Verdict {
        keep,
        ended,
        unknown,
    }
}
