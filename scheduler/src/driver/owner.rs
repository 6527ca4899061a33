//! The owner's loop: commands in order, rounds in between, one group at a time
//! to the sync thread.

use super::follower::{PredictError, Predicted, Question};
use super::outbox::{Outbox, encode};
use super::sync::{Group, HistoryEntry, Synced};
use super::tails::{TailPiece, Tails};
use super::{Command, Options, Release, SinceSnapshot, Stopped};
use crate::clock::Clock;
use crate::convert;
use crate::dispatch::{Connection, Hello, ToSite};
use crate::history_record;
use crate::state::State;
use crate::step::Step;
use crate::store::history::HistorySubject;
use jeroboam_core::effect::Effect;
use jeroboam_core::event::Event;
use jeroboam_core::health::Quarantine;
use jeroboam_core::ids::{LeaseId, TaskId};
use jeroboam_core::job::AttemptRecord;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::spec::BatchSpec;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_core::world::largest::TooLarge;
use jeroboam_proto::v1;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Commands applied before the loop looks at rounds and groups again.
const COMMANDS_PER_TURN_MAX: usize = 1_024;
/// While this much waits for a sync, no further command is taken.
const UNSYNCED_BYTES_MAX: usize = 64 << 20;
/// How often time alone is looked at: silent sites, retirement, contract windows.
const TICK: Duration = Duration::from_secs(1);
/// A tick that is so late says that the process was stopped or its machine was.
const STANDSTILL: Duration = Duration::from_secs(5);

/// What the loop wakes up for.
enum Next {
    Command(Command),
    Synced(Result<(), String>),
    Due,
}

/// Owns the state.
pub(crate) struct Owner {
    state: State,
    clock: Clock,
    options: Options,
    outboxes: BTreeMap<Connection, Outbox>,
    tails: Tails,
    group: Group,
    to_sync: std::sync::mpsc::Sender<Group>,
    syncing: bool,
    /// Something changed since the last round that reached the end of the order.
    changed: bool,
    next_round: Instant,
    next_tick: Instant,
    since_snapshot: SinceSnapshot,
    stopped: Stopped,
}

impl Owner {
    pub(super) fn new(
        state: State,
        clock: Clock,
        options: Options,
        to_sync: std::sync::mpsc::Sender<Group>,
        stopped: Stopped,
    ) -> Self {
        let now = Instant::now();
        Owner {
            state,
            clock,
            options,
            outboxes: BTreeMap::new(),
            tails: Tails::default(),
            group: Group::default(),
            to_sync,
            syncing: false,
            changed: true,
            next_round: now,
            next_tick: now + TICK,
            since_snapshot: SinceSnapshot::default(),
            stopped,
        }
    }

    /// What was replayed counts towards the next snapshot: or restarts in a row would each replay more.
    pub(super) fn counting_from(self, since_snapshot: SinceSnapshot) -> Self {
        Owner {
            since_snapshot,
            ..self
        }
    }

    /// What there is.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The first job of a batch that fits on no known node, whatever it waits for.
    pub(crate) fn too_large(&mut self, spec: &BatchSpec) -> Option<TooLarge> {
        let now = self.now();
        self.state.too_large(now, spec)
    }

    /// The time of what is applied now.
    pub(crate) fn now(&self) -> TimeMs {
        self.clock.now()
    }

    /// Runs until shutdown, or until the journal fails and the last caller left.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut synced: Synced) {
        loop {
            match self.next(&mut commands, &mut synced).await {
                Next::Due => {}
                Next::Synced(Ok(())) => self.syncing = false,
                Next::Synced(Err(why)) => return self.fail(why, commands).await,
                Next::Command(Command::Shutdown) => return self.finish(&mut synced).await,
                Next::Command(command) => self.obey(command),
            }
            for _ in 0..COMMANDS_PER_TURN_MAX {
                if self.is_full() {
                    break;
                }
                match commands.try_recv() {
                    Ok(Command::Shutdown) => return self.finish(&mut synced).await,
                    Ok(command) => self.obey(command),
                    Err(_) => break,
                }
            }
            self.tick_if_due(commands.len());
            self.round_if_due();
            self.hand_over();
        }
    }

    /// Waits for a command, for the end of a sync, or until a round or tick is due.
    async fn next(&self, commands: &mut mpsc::Receiver<Command>, synced: &mut Synced) -> Next {
        let mut due = self.next_tick;
        if self.changed && !self.is_full() {
            due = due.min(self.next_round);
        }
        tokio::select! {
            biased;
            done = synced.recv() => Next::Synced(done.unwrap_or_else(|| Err("the sync thread ended".into()))),
            command = commands.recv(), if !self.is_full() => command.map_or(Next::Command(Command::Shutdown), Next::Command),
            () = tokio::time::sleep_until(due.into()) => Next::Due,
        }
    }

    /// Too much waits for the sync; only its end is of interest now.
    fn is_full(&self) -> bool {
        self.syncing && self.group.bytes > UNSYNCED_BYTES_MAX
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Run(job, _) => {
                let release = job(self);
                self.release(release);
            }
            Command::Site(connection, said) => {
                let now = self.now();
                let step = self.state.receive(now, connection, said);
                self.take(now, step);
            }
            Command::Gone(connection) => {
                let now = self.now();
                let step = self.state.disconnected(now, connection);
                self.outboxes.remove(&connection);
                self.tails.disconnected(connection);
                self.take(now, step);
            }
            Command::Tail(connection, chunk) => self.tails.receive(connection, chunk),
            Command::Shutdown => unreachable!("the loop ends before it obeys this"),
        }
    }

    /// Applies an event on somebody's behalf.
    pub(crate) fn apply(&mut self, event: Event) -> Result<(), Rejected> {
        let now = self.now();
        let step = self.state.apply(now, event)?;
        self.take(now, step);
        Ok(())
    }

    /// Asks the follower, once all that was applied before is durable.
    pub(super) fn ask(
        &mut self,
        task: TaskId,
        reply: oneshot::Sender<Result<Predicted, PredictError>>,
    ) {
        let now = self.now();
        self.group.questions.push(Question { task, now, reply });
    }

    pub(super) fn open_site(&mut self, connection: Connection, hello: Hello, outbox: Outbox) {
        self.outboxes.insert(connection, outbox);
        let now = self.now();
        let step = self.state.hello(connection, hello);
        self.take(now, step);
    }

    pub(super) fn open_tail(
        &mut self,
        lease: LeaseId,
        stream: v1::LogStream,
        offset: u64,
        follow: bool,
    ) -> mpsc::Receiver<TailPiece> {
        let world = &self.state.world;
        let at = world
            .open_attempt(lease)
            .ok()
            .map(|active| world.node(active.node).site);
        let name = at.map(|site| world.site(site).spec.name.as_str());
        let connection = name.and_then(|name| self.state.dispatch.current(name));
        match connection.and_then(|found| Some((found, self.outboxes.get(&found)?.clone()))) {
            Some(agent) => self.tails.open(agent, lease, stream, offset, follow),
            None => mpsc::channel(1).1,
        }
    }

    /// Puts a step into the group: its events as records, the rest behind the sync.
    fn take(&mut self, now: TimeMs, step: Step) {
        self.changed |= !step.events.is_empty();
        for event in &step.events {
            let record = crate::record::encode(now, event);
            self.group.bytes += record.len();
            self.since_snapshot.records += 1;
            self.since_snapshot.bytes += record.len() as u64;
            self.group.records.push(record);
        }
        self.keep_history(step.effects);
        for (connection, message) in step.sends {
            if let Some(outbox) = self.outboxes.get(&connection).cloned() {
                let limits = self.state.dispatch.limits();
                let world = &self.state.world;
                log(world, &message);
                let kind = encode(world, limits, &self.options.grant_limits, message);
                self.release(Box::new(move |durable| {
                    if durable.is_ok() {
                        outbox.send(kind);
                    }
                }));
            }
        }
        for (connection, closing) in step.closes {
            if let Some(outbox) = self.outboxes.remove(&connection) {
                self.tails.disconnected(connection);
                let status = convert::closing(&closing);
                self.release(Box::new(move |_| outbox.close(status)));
            }
        }
    }

    fn keep_history(&mut self, effects: Vec<Effect>) {
        let mut attempts: BTreeMap<u64, Vec<AttemptRecord>> = BTreeMap::new();
        let mut entries = Vec::new();
        for effect in effects {
            match effect {
                Effect::AttemptEnded(record) => {
                    attempts
                        .entry(record.lease.task.job.0)
                        .or_default()
                        .push(record);
                }
                Effect::Retired { batch, jobs } => {
                    let world = &self.state.world;
                    entries.extend(history_record::retired(world, &batch, &jobs));
                }
                Effect::BatchFinished(batch) => tracing::info!(%batch, "finished"),
                Effect::Quarantined {
                    site,
                    node,
                    quarantine,
                } => log_quarantine(&site, node.as_deref(), &quarantine),
                Effect::Grant { .. } | Effect::Stop { .. } => {
                    unreachable!("the state turns these into messages")
                }
            }
        }
        for (job, records) in attempts {
            let subject = HistorySubject::Attempts { job };
            let values = history_record::attempts(&records).into_iter();
            entries.extend(values.map(|value| (subject, value)));
        }
        if entries.is_empty() {
            return;
        }
        let record = self.group.records.len().checked_sub(1);
        let record = record.expect("effects come with the event that brought them");
        let entries = entries.into_iter();
        self.group
            .history
            .extend(entries.map(|(subject, value)| HistoryEntry {
                record,
                subject,
                value,
            }));
    }

    /// Releases at once if nothing is unsynced, else after the sync.
    fn release(&mut self, release: Release) {
        if self.group.is_empty() && !self.syncing {
            release(Ok(()));
        } else {
            self.group.releases.push(release);
        }
    }

    /// What cannot be spoken to any more has no session: whoever reads its stream
    /// may notice only much later, and until then places there would be granted.
    fn end_deaf_sessions(&mut self) {
        let outboxes = self.outboxes.iter();
        let deaf: Vec<Connection> = outboxes
            .filter(|(_, outbox)| outbox.is_closed())
            .map(|(connection, _)| *connection)
            .collect();
        for connection in deaf {
            self.obey(Command::Gone(connection));
        }
    }

    fn tick_if_due(&mut self, commands_waiting: usize) {
        let late = Instant::now().saturating_duration_since(self.next_tick);
        if late.is_zero() {
            return;
        }
        if late > STANDSTILL {
            tracing::warn!(
                seconds = late.as_secs(),
                "the scheduler stood still; all leases wait so much longer"
            );
            self.state.dispatch.excuse(late.as_millis() as i64);
        }
        let now = self.now();
        let step = self.state.tick(now);
        self.take(now, step);
        self.end_deaf_sessions();
        self.tails.drop_abandoned();
        // Windows open and close with time alone.
        self.changed |= self
            .state
            .world
            .queues()
            .iter()
            .any(|queue| queue.queued > 0);
        crate::metrics::record_state(&self.state, now);
        crate::metrics::record_commands(commands_waiting);
        self.next_tick = Instant::now() + TICK;
    }

    /// Plans one bounded round. The pause after it is at least as long as it took,
    /// so that submissions get half of the thread's time whatever the size.
    fn round_if_due(&mut self) {
        if !self.changed || Instant::now() < self.next_round || self.is_full() {
            return;
        }
        let started = Instant::now();
        let now = self.now();
        let plan = self.state.plan(now);
        let planned = started.elapsed();
        let step = self.state.commit(now, &plan);
        self.take(now, step);
        // What was decided may make room for more.
        self.changed = !plan.complete || !plan.is_empty();
        let took = started.elapsed();
        crate::metrics::record_round(planned, took - planned, &plan, &self.state.world);
        self.next_round = Instant::now() + self.options.round_interval.max(took);
    }

    /// Gives the group to the sync thread if that is free.
    fn hand_over(&mut self) {
        if self.syncing || self.group.is_empty() {
            return;
        }
        if self.since_snapshot.records >= self.options.snapshot_records
            || self.since_snapshot.bytes >= self.options.snapshot_bytes
        {
            self.group.snapshot = Some(crate::record::encode_world(&self.state.world));
            self.since_snapshot = SinceSnapshot::default();
        }
        let group = std::mem::take(&mut self.group);
        // The sync thread ends only after it has sent `Synced(Err)`.
        self.syncing = self.to_sync.send(group).is_ok();
    }

    /// Syncs what is left and ends.
    async fn finish(mut self, synced: &mut Synced) {
        while !self.group.is_empty() || self.syncing {
            self.hand_over();
            match synced.recv().await {
                Some(Ok(())) => self.syncing = false,
                Some(Err(_)) | None => break,
            }
        }
        self.close_all("the scheduler is shutting down");
    }

    /// The journal failed: the state holds what it does not, so it goes.
    async fn fail(self, why: String, mut commands: mpsc::Receiver<Command>) {
        // The sync thread said so before, unless it ended by a panic.
        let _ = self.stopped.set(why.clone());
        crate::metrics::record_stopped();
        self.close_all(&why);
        for release in self.group.releases {
            release(Err(&why));
        }
        while let Some(command) = commands.recv().await {
            if matches!(command, Command::Shutdown) {
                return;
            }
            refuse(command, &why);
        }
    }

    fn close_all(&self, why: &str) {
        for outbox in self.outboxes.values() {
            outbox.close(tonic::Status::unavailable(why));
        }
    }
}

/// What a site is told for its log concerns the operator here as well.
fn log(world: &World, message: &ToSite) {
    if let ToSite::OverCommitted(nodes) = message {
        let site = nodes.first().map(|node| world.node(*node).site);
        let site = site.map(|site| world.site(site).spec.name.as_str());
        let notice = convert::notice::over_committed(world, nodes);
        tracing::warn!(site, remedy = notice.remedy, "{}", notice.text);
    }
}

fn log_quarantine(site: &str, node: Option<&str>, quarantine: &Quarantine) {
    let until = jeroboam_units::Instant(quarantine.until.0);
    let remedy = "mend it and resume it by hand, or wait";
    match node {
        Some(node) => {
            tracing::warn!(site, node, %until, remedy, "a node is in quarantine: {quarantine}");
        }
        None => tracing::warn!(site, %until, remedy, "a site is in quarantine: {quarantine}"),
    }
    crate::metrics::record_quarantine(if node.is_some() { "node" } else { "site" });
}

fn refuse(command: Command, why: &str) {
    if let Command::Run(_, refuse) = command {
        refuse(why.to_string());
    }
}
