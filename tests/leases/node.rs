//! One site on one host: the agent's machine, what is on its disk, and shims that
//! outlive the agent. What takes a while is carried out act by act, and lost in
//! a crash of the agent.

use crate::stage::LIMITS;
use jeroboam_agent::attempt::{ExitRecord, LeaseId, Outcome, Usage};
use jeroboam_agent::state::message::EndReport;
use jeroboam_agent::state::{Allegiance, Effect, Found, FoundPhase, Input, Machine, Settings};
use std::collections::BTreeMap;

/// An attempt's directory.
#[derive(Debug)]
struct Directory {
    deadline_ms: i64,
    started: bool,
    exit: Option<ExitRecord>,
}

/// A shim, from its spawn to the death of its last process.
#[derive(Debug)]
struct Shim {
    deadline_ms: i64,
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    /// It has not taken the lock yet.
    Spawned,
    Running,
    /// The kill was begun; until then, at the latest, something is left.
    Dying(i64, Outcome),
}

/// A host.
#[derive(Debug)]
pub struct Node {
    pub site: &'static str,
    pub machine: Option<Machine>,
    pub now_ms: i64,
    incarnation: u32,
    allegiance: Allegiance,
    directories: BTreeMap<LeaseId, Directory>,
    shims: BTreeMap<LeaseId, Shim>,
    under_way: Vec<Effect>,
    /// Sends and closes, for the network to take.
    pub outgoing: Vec<Effect>,
    pub starts: usize,
    pub fenced: usize,
}

impl Node {
    pub fn new(site: &'static str) -> Self {
        let mut node = Node {
            site,
            machine: None,
            now_ms: 0,
            incarnation: 1,
            allegiance: Allegiance::default(),
            directories: BTreeMap::new(),
            shims: BTreeMap::new(),
            under_way: Vec::new(),
            outgoing: Vec::new(),
            starts: 0,
            fenced: 0,
        };
        node.start_agent();
        node
    }

    /// The agent starts, if it is down, from what is on its disk.
    pub fn start_agent(&mut self) {
        if self.machine.is_some() {
            return;
        }
        let settings = Settings {
            site: self.site.into(),
            incarnation: format!("{}-{}", self.site, self.incarnation),
            nodes: ["n1".to_owned()].into(),
        };
        let directories = self.directories.iter();
        let found = directories.map(|(lease, directory)| Found {
            lease: *lease,
            phase: self.phase(*lease, directory),
            deadline_ms: Some(directory.deadline_ms),
        });
        let found = found.collect();
        let (machine, effects) = Machine::recover(settings, self.allegiance.clone(), found);
        self.machine = Some(machine);
        self.take(effects);
    }

    fn phase(&self, lease: LeaseId, directory: &Directory) -> FoundPhase {
        if let Some(exit) = &directory.exit {
            FoundPhase::Ended(exit.clone())
        } else if self.holds_lock(lease) {
            FoundPhase::Running
        } else if directory.started {
            FoundPhase::ShimDied
        } else {
            FoundPhase::NotStarted
        }
    }

    fn holds_lock(&self, lease: LeaseId) -> bool {
        let shim = self.shims.get(&lease);
        shim.is_some_and(|shim| shim.stage != Stage::Spawned)
    }

    /// The agent dies; its disk and its shims stay.
    pub fn crash_agent(&mut self) {
        self.machine = None;
        self.under_way.clear();
    }

    /// The state directory is lost, and the agent with it; the shims run on.
    pub fn lose_state(&mut self) {
        self.crash_agent();
        self.directories.clear();
        self.allegiance = Allegiance::default();
        self.incarnation += 1;
    }

    pub fn tell(&mut self, input: Input) {
        if let Some(machine) = &mut self.machine {
            let effects = machine.handle(self.now_ms, input);
            self.take(effects);
        }
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { .. } | Effect::CloseStream { .. } => self.outgoing.push(effect),
                Effect::Notice(_)
                | Effect::StartTail { .. }
                | Effect::CancelTail(_)
                | Effect::CancelTails => {}
                slow => self.under_way.push(slow),
            }
        }
    }

    /// Carries one of the effects under way out; those of one lease in order.
    pub fn perform(&mut self, nth: u8) -> bool {
        if self.under_way.is_empty() {
            return false;
        }
        let nth = usize::from(nth) % self.under_way.len();
        let lease = about(&self.under_way[nth]);
        let first = self.under_way.iter().position(|it| about(it) == lease);
        let effect = self.under_way.remove(first.expect("itself at least"));
        self.carry_out(effect);
        true
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::PersistAllegiance {
                connection,
                allegiance,
            } => {
                self.allegiance = allegiance;
                self.tell(Input::AllegiancePersisted { connection });
            }
            Effect::PersistLease(record) => {
                let directory = Directory {
                    deadline_ms: record.deadline_ms,
                    started: false,
                    exit: None,
                };
                let other = self.directories.insert(record.lease, directory);
                assert!(other.is_none(), "a lease is never used twice");
                self.tell(Input::LeasePersisted(record.lease));
            }
            Effect::FetchInputs(lease) => self.tell(Input::InputsReady(lease)),
            Effect::SpawnShim(lease) => self.spawn(lease),
            Effect::SetDeadline { lease, deadline_ms } => self.set_deadline(lease, deadline_ms),
            Effect::CloseUnstarted { lease, outcome } => self.close_unstarted(lease, outcome),
            Effect::StopShim(lease) => {
                let until_ms = self.now_ms + LIMITS.kill_ms;
                if let Some(shim) = self.shims.get_mut(&lease)
                    && shim.stage == Stage::Running
                {
                    shim.stage = Stage::Dying(until_ms, Outcome::Stopped);
                }
            }
            Effect::AdoptShim(lease) => {
                if !self.shims.contains_key(&lease) {
                    self.record(lease, Outcome::Lost);
                }
            }
            Effect::RecordLost(lease) => self.record(lease, Outcome::Lost),
            Effect::CollectOutputs { lease, exit } => {
                let report = EndReport::bare(exit);
                self.tell(Input::OutputsStored { lease, report });
            }
            Effect::RemoveAttempt(lease) => {
                self.directories.remove(&lease);
            }
            Effect::Send { .. }
            | Effect::CloseStream { .. }
            | Effect::StartTail { .. }
            | Effect::CancelTail(_)
            | Effect::CancelTails
            | Effect::Notice(_) => unreachable!("not slow"),
        }
    }

    fn spawn(&mut self, lease: LeaseId) {
        let deadline_ms = self.directories[&lease].deadline_ms;
        let stage = Stage::Spawned;
        self.shims.insert(lease, Shim { deadline_ms, stage });
        let started_ms = self.now_ms;
        self.tell(Input::AttemptStarted { lease, started_ms });
    }

    fn set_deadline(&mut self, lease: LeaseId, deadline_ms: i64) {
        if let Some(directory) = self.directories.get_mut(&lease) {
            directory.deadline_ms = deadline_ms;
            if let Some(shim) = self.shims.get_mut(&lease) {
                shim.deadline_ms = deadline_ms;
            }
        }
    }

    /// Under the lock: a shim that has it is too quick, one that comes later
    /// finds the record.
    fn close_unstarted(&mut self, lease: LeaseId, outcome: Outcome) {
        if self.holds_lock(lease) {
            return self.tell(Input::CloseTooLate(lease));
        }
        let started = self.directories.get(&lease).is_some_and(|it| it.started);
        self.record(lease, if started { Outcome::Lost } else { outcome });
    }

    /// Writes how the attempt ended, unless that stands there, and tells the agent.
    fn record(&mut self, lease: LeaseId, outcome: Outcome) {
        let Some(directory) = self.directories.get_mut(&lease) else {
            return;
        };
        let exit = directory.exit.get_or_insert(ExitRecord {
            outcome,
            usage: Usage::default(),
            log_error: None,
            site_fault: None,
        });
        let exit = exit.clone();
        self.tell(Input::AttemptEnded { lease, exit });
    }

    /// A spawned shim takes the lock and looks again, before it starts the job.
    pub fn shim_starts(&mut self, nth: u8) -> bool {
        let spawned = |shim: &Shim| shim.stage == Stage::Spawned;
        let Some(lease) = self.pick(nth, spawned) else {
            return false;
        };
        let now_ms = self.now_ms;
        let directory = self.directories.get_mut(&lease);
        let may_start = directory
            .as_ref()
            .is_some_and(|it| !it.started && it.exit.is_none() && now_ms < it.deadline_ms);
        match directory {
            Some(directory) if may_start => {
                directory.started = true;
                let shim = self.shims.get_mut(&lease).expect("picked");
                shim.deadline_ms = directory.deadline_ms;
                shim.stage = Stage::Running;
                self.starts += 1;
            }
            _ => {
                self.shims.remove(&lease);
                let started = self.directories.get(&lease).is_some_and(|it| it.started);
                assert!(!started, "started twice");
                self.record(lease, Outcome::NotRun);
            }
        }
        true
    }

    /// A job ends by itself.
    pub fn job_ends(&mut self, nth: u8, code: i32) -> bool {
        self.shim_ends(nth, Outcome::Exited { code })
    }

    /// A shim dies, and its job with it; what it did is unknown.
    pub fn kill_shim(&mut self, nth: u8) -> bool {
        self.shim_ends(nth, Outcome::Lost)
    }

    fn shim_ends(&mut self, nth: u8, outcome: Outcome) -> bool {
        let running = |shim: &Shim| shim.stage == Stage::Running;
        let Some(lease) = self.pick(nth, running) else {
            return false;
        };
        self.shims.remove(&lease);
        self.record(lease, outcome);
        true
    }

    fn pick(&self, nth: u8, wanted: impl Fn(&Shim) -> bool) -> Option<LeaseId> {
        let shims = self.shims.iter().filter(|(_, shim)| wanted(shim));
        let leases: Vec<LeaseId> = shims.map(|(lease, _)| *lease).collect();
        let nth = usize::from(nth).checked_rem(leases.len())?;
        Some(leases[nth])
    }

    /// The node's clock moves on; the shims keep their deadlines.
    pub fn pass_to(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        for shim in self.shims.values_mut() {
            if shim.stage == Stage::Running && shim.deadline_ms <= now_ms {
                let until_ms = shim.deadline_ms + LIMITS.kill_ms;
                shim.stage = Stage::Dying(until_ms, Outcome::ContactLost);
                self.fenced += 1;
            }
        }
        let shims = self.shims.iter();
        let dead = shims.filter_map(|(lease, shim)| match &shim.stage {
            Stage::Dying(until_ms, outcome) if *until_ms < now_ms => {
                Some((*lease, outcome.clone()))
            }
            Stage::Dying(..) | Stage::Spawned | Stage::Running => None,
        });
        for (lease, outcome) in dead.collect::<Vec<_>>() {
            self.shims.remove(&lease);
            self.record(lease, outcome);
        }
    }

    /// How many leases the agent knows of, or has on its disk.
    pub fn held(&self) -> usize {
        let known = self.machine.as_ref().map_or(0, Machine::held);
        known.max(self.directories.len())
    }

    /// The leases of which some process is left.
    pub fn alive(&self) -> impl Iterator<Item = LeaseId> + '_ {
        let begun = self
            .shims
            .iter()
            .filter(|(_, shim)| shim.stage != Stage::Spawned);
        begun.map(|(lease, _)| *lease)
    }
}

/// Which lease an effect is about.
fn about(effect: &Effect) -> Option<LeaseId> {
    match effect {
        Effect::PersistLease(record) => Some(record.lease),
        Effect::FetchInputs(lease)
        | Effect::SpawnShim(lease)
        | Effect::SetDeadline { lease, .. }
        | Effect::CloseUnstarted { lease, .. }
        | Effect::StopShim(lease)
        | Effect::AdoptShim(lease)
        | Effect::RecordLost(lease)
        | Effect::CollectOutputs { lease, .. }
        | Effect::RemoveAttempt(lease) => Some(*lease),
        Effect::PersistAllegiance { .. }
        | Effect::Send { .. }
        | Effect::CloseStream { .. }
        | Effect::StartTail { .. }
        | Effect::CancelTail(_)
        | Effect::CancelTails
        | Effect::Notice(_) => None,
    }
}
