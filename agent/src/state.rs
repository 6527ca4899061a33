//! The agent's half of the lease protocol, as a pure state machine.
//!
//! The rule it keeps: nothing runs that was not granted in a session whose count
//! it inherited, nothing is started before its lease is durable, and no end is
//! forgotten before the scheduler has acknowledged it. Deadlines count from when
//! something was *sent* that was then answered, never from an arrival.
//!
//! No clock, no files, no network: the time (boottime, so that suspend counts)
//! and what happened come in, and what is to be done comes out in order
//! ([`vocabulary`]). A machine that is built anew from what is on disk goes on
//! where the old one was: that is what a crash does.
//!
//! Entry point: [`State::handle`].

mod attempt;
mod session;
pub mod vocabulary;

use std::collections::BTreeMap;

use crate::attempt::{LeaseId, LeaseRecord, Outcome};
use attempt::{Attempt, Progress};
use session::Session;
use vocabulary::{
    Effect, Ended, Found, FoundPhase, FromScheduler, Input, Stream, ToScheduler, is_fenced,
};

/// What is remembered beyond sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Empty before the first welcome.
    pub federation: String,
    /// Of the last welcome; 0 before the first.
    pub lineage: u64,
}

/// The agent's state.
#[derive(Debug)]
pub struct State {
    identity: Identity,
    session: Option<Session>,
    attempts: BTreeMap<LeaseId, Attempt>,
    effects: Vec<Effect>,
}

impl State {
    /// With no session and, until `Recovered` comes, no attempts.
    pub fn new(identity: Identity) -> Self {
        State {
            identity,
            session: None,
            attempts: BTreeMap::new(),
            effects: Vec::new(),
        }
    }

    /// Takes in what happened at `now_ms`; returns what is to be done, in order.
    pub fn handle(&mut self, now_ms: i64, input: Input) -> Vec<Effect> {
        match input {
            Input::Recovered(found) => found.into_iter().for_each(|found| self.recover(found)),
            Input::Opened(stream) => self.open(stream),
            Input::Broken(stream) => {
                if self.is_current(stream) {
                    self.session = None;
                }
            }
            Input::Said(stream, message) => self.hear(now_ms, stream, message),
            Input::Persisted(lease) => self.persisted(lease),
            Input::Fetched(lease) => self.fetched(lease),
            Input::Spawned(lease) => self.spawned(lease),
            Input::ShimGone(lease) => self.shim_gone(lease),
            Input::Collected(lease, ended) => self.collected(lease, *ended),
            Input::Tick => self.tick(now_ms),
        }
        std::mem::take(&mut self.effects)
    }

    /// When `Tick` is wanted.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.session.as_ref().and_then(Session::next_heartbeat_ms)
    }

    /// Attempts held, whatever their progress.
    pub fn attempts_held(&self) -> usize {
        self.attempts.len()
    }

    /// True if none is held that could still be running.
    pub fn all_ended(&self) -> bool {
        self.attempts.values().all(|attempt| matches!(attempt.progress, Progress::Ended(_)))
    }

    fn recover(&mut self, found: Found) {
        let lease = found.record.lease;
        let (progress, effect) = match found.phase {
            FoundPhase::NotStarted if found.record.needs_files() => {
                (Progress::Fetching, Effect::Fetch(lease))
            }
            FoundPhase::NotStarted => (Progress::Spawning, Effect::Spawn(lease)),
            FoundPhase::Running => (Progress::Running, Effect::Adopt(lease)),
            FoundPhase::Over => (Progress::Collecting, Effect::Collect(lease)),
        };
        let attempt = Attempt {
            progress,
            fenced: is_fenced(&found.record),
            needs_files: found.record.needs_files(),
            deadline_ms: found.deadline_ms,
            kept: false,
            stopping: false,
        };
        self.attempts.insert(lease, attempt);
        self.effects.push(effect);
    }

    fn is_current(&self, stream: Stream) -> bool {
        self.session.as_ref().is_some_and(|session| session.stream == stream)
    }

    /// A hello carries no leases and replaces nothing.
    fn open(&mut self, stream: Stream) {
        self.session = Some(Session::new(stream));
        // Until this session's verdict nothing counts as renewed by it.
        self.attempts.values_mut().for_each(|attempt| attempt.kept = false);
        let Identity { federation, lineage } = self.identity.clone();
        self.send(ToScheduler::Hello { federation, lineage });
    }

    /// What a closed session said is discarded unread.
    fn hear(&mut self, now_ms: i64, stream: Stream, message: FromScheduler) {
        if !self.is_current(stream) {
            return;
        }
        match message {
            FromScheduler::Welcome {
                federation,
                lineage,
                term: _,
                session,
                contact_limit_ms,
                heartbeat_interval_ms,
            } => {
                if !self.identity.federation.is_empty() && self.identity.federation != federation {
                    self.session = None;
                    let why = "the scheduler is of another federation; what runs keeps running";
                    self.effects.push(Effect::Close(stream, why));
                    return;
                }
                self.identity = Identity { federation: federation.clone(), lineage };
                self.effects.push(Effect::SaveIdentity { federation, lineage });
                let current = self.session.as_mut().expect("the stream is current");
                current.welcomed(now_ms, contact_limit_ms, heartbeat_interval_ms);
                let running = |attempt: &Attempt| matches!(attempt.progress, Progress::Running);
                let attempts = self.attempts.iter();
                let leases = attempts.map(|(lease, attempt)| (*lease, running(attempt))).collect();
                self.send(ToScheduler::Inventory { session, leases });
            }
            FromScheduler::Verdict { keep, ended, unknown } => {
                self.verdict(now_ms, &keep, &ended, &unknown);
            }
            FromScheduler::Renewed(number) => self.renewed(number),
            FromScheduler::Grant(record) => self.grant(*record),
            FromScheduler::Stop(lease) => self.stop(lease),
            FromScheduler::Ack(lease) => self.acknowledged(lease),
        }
    }

    fn verdict(&mut self, now_ms: i64, keep: &[LeaseId], ended: &[LeaseId], unknown: &[LeaseId]) {
        let session = self.session.as_mut().expect("the stream is current");
        if !session.pronounced(now_ms) {
            return;
        }
        for lease in keep {
            if let Some(attempt) = self.attempts.get_mut(lease) {
                attempt.kept = true;
            }
        }
        self.write_deadlines();
        ended.iter().for_each(|lease| self.stop_if_held(*lease));
        // What the journal does not know runs on until its deadline.
        for lease in unknown {
            if let Some(attempt) = self.attempts.get_mut(lease) {
                attempt.kept = false;
            }
        }
        self.send(ToScheduler::Capacity);
        let held = self.attempts.iter();
        let over = held.filter_map(|(lease, attempt)| match &attempt.progress {
            Progress::Ended(ended) => Some((*lease, ended.clone())),
            Progress::Persisting
            | Progress::Fetching
            | Progress::Spawning
            | Progress::Running
            | Progress::Collecting => None,
        });
        // An end is reported in every session until it is acknowledged.
        for (lease, ended) in over.collect::<Vec<_>>() {
            self.send(ToScheduler::Ended(lease, ended));
        }
    }

    fn renewed(&mut self, number: u64) {
        let session = self.session.as_mut().expect("the stream is current");
        if session.renewed(number) && session.is_write_due() {
            self.write_deadlines();
        }
    }

    /// Tells the shims of all kept attempts that they may go on. It is done once
    /// in a fraction of the contact limit, not at every renewal: a shim that knows
    /// an older deadline ends too early, never too late.
    fn write_deadlines(&mut self) {
        let session = self.session.as_mut().expect("the stream is current");
        let Some(deadline_ms) = session.deadline_to_write_ms() else {
            return;
        };
        for (lease, attempt) in &mut self.attempts {
            let writes = attempt.kept && attempt.fenced && attempt.has_directory();
            if writes && attempt.deadline_ms < deadline_ms {
                attempt.deadline_ms = deadline_ms;
                self.effects.push(Effect::SetDeadline(*lease, deadline_ms));
            }
        }
    }

    /// A grant inherits the session's count: its deadline runs from the last
    /// renewal's sending. A repeated grant changes nothing.
    fn grant(&mut self, mut record: LeaseRecord) {
        let session = self.session.as_ref().expect("the stream is current");
        let Some(deadline_ms) = session.deadline_ms() else {
            return;
        };
        let lease = record.lease;
        if self.attempts.contains_key(&lease) {
            return;
        }
        record.deadline_ms = deadline_ms;
        let attempt = Attempt {
            progress: Progress::Persisting,
            fenced: is_fenced(&record),
            needs_files: record.needs_files(),
            deadline_ms,
            kept: true,
            stopping: false,
        };
        self.attempts.insert(lease, attempt);
        self.effects.push(Effect::Persist(Box::new(record)));
    }

    /// An unknown lease was never started and, since a stream keeps its order,
    /// never will be.
    fn stop(&mut self, lease: LeaseId) {
        if self.attempts.contains_key(&lease) {
            self.stop_if_held(lease);
            return;
        }
        let ended = Ended {
            outcome: Outcome::NotRun,
            usage: None,
            outputs: Vec::new(),
            stdout: None,
            stderr: None,
        };
        self.send(ToScheduler::Ended(lease, Box::new(ended)));
    }

    fn stop_if_held(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.get_mut(&lease) else {
            return;
        };
        if attempt.stopping {
            return;
        }
        match attempt.progress {
            // Its directory does not exist yet; the stop follows once it does.
            Progress::Persisting => attempt.stopping = true,
            Progress::Fetching | Progress::Spawning | Progress::Running => {
                attempt.stopping = true;
                self.effects.push(Effect::Stop(lease));
            }
            Progress::Collecting | Progress::Ended(_) => {}
        }
    }

    fn persisted(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.get_mut(&lease) else {
            return;
        };
        if !matches!(attempt.progress, Progress::Persisting) {
            return;
        }
        if attempt.stopping {
            attempt.progress = Progress::Spawning;
            self.effects.push(Effect::Stop(lease));
        } else if attempt.needs_files {
            attempt.progress = Progress::Fetching;
            self.effects.push(Effect::Fetch(lease));
            self.report(ToScheduler::Starting(lease));
        } else {
            attempt.progress = Progress::Spawning;
            self.effects.push(Effect::Spawn(lease));
        }
    }

    fn fetched(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.get_mut(&lease) else {
            return;
        };
        if matches!(attempt.progress, Progress::Fetching) && !attempt.stopping {
            attempt.progress = Progress::Spawning;
            self.effects.push(Effect::Spawn(lease));
        }
    }

    fn spawned(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.get_mut(&lease) else {
            return;
        };
        if matches!(attempt.progress, Progress::Spawning) {
            attempt.progress = Progress::Running;
            if attempt.stopping {
                // The stop met the attempt before its shim had the lock.
                self.effects.push(Effect::Stop(lease));
            }
            self.report(ToScheduler::Running(lease));
        }
    }

    fn shim_gone(&mut self, lease: LeaseId) {
        let Some(attempt) = self.attempts.get_mut(&lease) else {
            return;
        };
        match attempt.progress {
            Progress::Persisting | Progress::Fetching | Progress::Spawning | Progress::Running => {
                attempt.progress = Progress::Collecting;
                self.effects.push(Effect::Collect(lease));
            }
            Progress::Collecting | Progress::Ended(_) => {}
        }
    }

    fn collected(&mut self, lease: LeaseId, ended: Ended) {
        let Some(attempt) = self.attempts.get_mut(&lease) else {
            return;
        };
        if matches!(attempt.progress, Progress::Collecting) {
            let ended = Box::new(ended);
            attempt.progress = Progress::Ended(ended.clone());
            self.report(ToScheduler::Ended(lease, ended));
        }
    }

    /// Only what has been reported can be acknowledged and forgotten.
    fn acknowledged(&mut self, lease: LeaseId) {
        let ended = |attempt: &Attempt| matches!(attempt.progress, Progress::Ended(_));
        if self.attempts.get(&lease).is_some_and(ended) {
            self.attempts.remove(&lease);
            self.effects.push(Effect::Remove(lease));
        }
    }

    fn tick(&mut self, now_ms: i64) {
        let number = self.session.as_mut().and_then(|session| session.heartbeat(now_ms));
        if let Some(number) = number {
            self.send(ToScheduler::Heartbeat(number));
        }
    }

    /// Reports wait for the verdict: before it the scheduler does not listen, and
    /// the inventory says all that counts.
    fn report(&mut self, message: ToScheduler) {
        if self.session.as_ref().is_some_and(Session::is_pronounced) {
            self.send(message);
        }
    }

    fn send(&mut self, message: ToScheduler) {
        if let Some(session) = &self.session {
            self.effects.push(Effect::Send(session.stream, message));
        }
    }
}

impl LeaseRecord {
    /// True if something has to be fetched before the start.
    pub fn needs_files(&self) -> bool {
        !self.inputs.is_empty() || !self.outputs_of.is_empty()
    }
}

#[cfg(test)]
mod tests;
