//! Random orders of everything that can happen, crashes of the agent included.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// How far an attempt is on the node's disk, as shims and agent see it.
#[derive(Debug, Clone, PartialEq)]
enum OnDisk {
    /// Its directory is durable.
    Persisted,
    /// Its shim has left the start marker.
    Started,
    Ended(ExitRecord),
}

/// What the shell would have done: disk, processes, and what is under way.
struct Node {
    site: Site,
    disk: BTreeMap<LeaseId, OnDisk>,
    /// Effects not carried out yet; a crash of the agent loses them.
    pending: Vec<Effect>,
    spawned: BTreeSet<LeaseId>,
    acknowledged: BTreeSet<LeaseId>,
    reported: BTreeSet<LeaseId>,
}

#[derive(Debug, Clone)]
enum Happening {
    Grant(u64),
    Stop(u64),
    Ack(u64),
    Join,
    Lose,
    /// The nth effect under way is carried out: they overtake each other, save
    /// those on one attempt's directory.
    Perform(usize),
    ShimStarts(u64),
    ShimEnds(u64),
    Crash,
    Pass(i64),
    Renew,
}

/// Whose directory an effect works on.
fn lane(effect: &Effect) -> Option<LeaseId> {
    match effect {
        Effect::PersistLease(record) => Some(record.lease),
        Effect::SpawnShim(lease)
        | Effect::SetDeadline { lease, .. }
        | Effect::CloseUnstarted { lease, .. }
        | Effect::StopShim(lease)
        | Effect::AdoptShim(lease)
        | Effect::RecordLost(lease)
        | Effect::RemoveAttempt(lease) => Some(*lease),
        Effect::Send { .. }
        | Effect::CloseStream { .. }
        | Effect::PersistAllegiance { .. }
        | Effect::FetchInputs(_)
        | Effect::CollectOutputs { .. }
        | Effect::StartTail { .. }
        | Effect::CancelTail(_)
        | Effect::CancelTails
        | Effect::Notice(_) => None,
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    let job = 1..5_u64;
    prop_oneof![
        4 => job.clone().prop_map(H::Grant),
        2 => job.clone().prop_map(H::Stop),
        2 => job.clone().prop_map(H::Ack),
        2 => Just(H::Join),
        1 => Just(H::Lose),
        10 => (0..8_usize).prop_map(H::Perform),
        4 => job.clone().prop_map(H::ShimStarts),
        3 => job.prop_map(H::ShimEnds),
        1 => Just(H::Crash),
        2 => (1..30_000_i64).prop_map(H::Pass),
        2 => Just(H::Renew),
    ]
}

impl Node {
    fn new() -> Self {
        Self {
            site: Site::current(),
            disk: BTreeMap::new(),
            pending: Vec::new(),
            spawned: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            reported: BTreeSet::new(),
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Grant(job) => {
                // A scheduler never grants again what it knows to have ended.
                if !self.acknowledged.contains(&lease(job)) {
                    self.hear(Down::Grant(Box::new(record(lease(job)))));
                }
            }
            Happening::Stop(job) => self.hear(Down::Stop(lease(job))),
            Happening::Ack(job) => {
                if self.reported.contains(&lease(job)) {
                    self.acknowledged.insert(lease(job));
                    self.hear(Down::Ack(lease(job)));
                }
            }
            Happening::Join => self.join(),
            Happening::Lose => {
                let effects = self.site.lose();
                self.take(effects);
            }
            Happening::Perform(at) => self.perform(at),
            Happening::ShimStarts(job) => self.shim_starts(lease(job)),
            Happening::ShimEnds(job) => self.shim_ends(lease(job)),
            Happening::Crash => self.crash(),
            Happening::Pass(span_ms) => {
                self.site.now_ms += span_ms;
                self.tell(Input::Tick);
            }
            Happening::Renew => self.hear(Down::Renewed(1)),
        }
    }

    fn hear(&mut self, message: Down) {
        let effects = self.site.hear(message);
        self.take(effects);
    }

    fn tell(&mut self, input: Input) {
        let effects = self.site.handle(input);
        self.take(effects);
    }

    /// The scheduler keeps what it has not acknowledged.
    fn join(&mut self) {
        let effects = self.site.open();
        self.take(effects);
        self.hear(welcome(self.site.connection));
        let held = (1..5).map(lease);
        let (ended, keep): (Vec<_>, Vec<_>) =
            held.partition(|lease| self.acknowledged.contains(lease));
        self.hear(verdict(&keep, &ended, &[]));
    }

    /// Checks what the machine says at once, carries it out later.
    fn take(&mut self, effects: Vec<Effect>) {
        for (lease, _) in ends(&effects) {
            self.reported.insert(lease);
        }
        for effect in effects {
            match &effect {
                Effect::SpawnShim(lease) => {
                    let persisted = self.disk.contains_key(lease);
                    assert!(persisted, "{lease} is spawned before it is persisted");
                    assert!(self.spawned.insert(*lease), "{lease} is spawned twice");
                }
                Effect::RemoveAttempt(lease) => {
                    let acknowledged = self.acknowledged.contains(lease);
                    assert!(acknowledged, "the end of {lease} is dropped");
                }
                _ => {}
            }
            self.pending.push(effect);
        }
    }

    fn perform(&mut self, at: usize) {
        if self.pending.is_empty() {
            return;
        }
        let at = at % self.pending.len();
        let lane = lane(&self.pending[at]);
        // What the disk has to do for one attempt keeps its order.
        let first = |effect: &Effect| lane.is_some() && self::lane(effect) == lane;
        let at = self.pending.iter().position(first).unwrap_or(at);
        let effect = self.pending.remove(at);
        match effect {
            Effect::PersistLease(record) => {
                self.disk.insert(record.lease, OnDisk::Persisted);
                self.tell(Input::LeasePersisted(record.lease));
            }
            Effect::SpawnShim(lease) => self.tell(Input::AttemptStarted {
                lease,
                started_ms: 1,
            }),
            Effect::CloseUnstarted { lease, outcome } => match self.disk.get(&lease).cloned() {
                Some(OnDisk::Persisted) => self.ended(lease, outcome),
                Some(OnDisk::Ended(exit)) => self.tell(Input::AttemptEnded { lease, exit }),
                Some(OnDisk::Started) => self.tell(Input::CloseTooLate(lease)),
                None => panic!("{lease} is closed and has no directory"),
            },
            Effect::StopShim(lease) if self.disk.get(&lease) == Some(&OnDisk::Started) => {
                self.ended(lease, Outcome::Stopped);
            }
            Effect::RecordLost(lease) => self.ended(lease, Outcome::Lost),
            Effect::CollectOutputs { lease, exit } => {
                let report = EndReport::bare(exit);
                self.tell(Input::OutputsStored { lease, report });
            }
            Effect::RemoveAttempt(lease) => {
                self.disk.remove(&lease);
            }
            _ => {}
        }
    }

    fn ended(&mut self, lease: LeaseId, outcome: Outcome) {
        let exit = exit(outcome);
        self.disk.insert(lease, OnDisk::Ended(exit.clone()));
        self.tell(Input::AttemptEnded { lease, exit });
    }

    /// A spawned shim takes its lock, at whatever time: it refuses if the
    /// attempt has been closed.
    fn shim_starts(&mut self, lease: LeaseId) {
        let waits = self.disk.get(&lease) == Some(&OnDisk::Persisted);
        if waits && self.spawned.contains(&lease) {
            self.disk.insert(lease, OnDisk::Started);
        }
    }

    fn shim_ends(&mut self, lease: LeaseId) {
        if self.disk.get(&lease) == Some(&OnDisk::Started) {
            self.ended(lease, Outcome::Exited { code: 0 });
        }
    }

    /// The agent is gone with all that was under way; another one begins from
    /// the disk.
    fn crash(&mut self) {
        let found = self.disk.iter().map(|(lease, state)| Found {
            lease: *lease,
            phase: match state {
                OnDisk::Persisted => FoundPhase::NotStarted,
                OnDisk::Started => FoundPhase::Running,
                OnDisk::Ended(exit) => FoundPhase::Ended(exit.clone()),
            },
            deadline_ms: Some(self.site.now_ms + L),
        });
        let (mut site, effects) = Site::with(found.collect());
        site.now_ms = self.site.now_ms;
        self.site = site;
        self.pending.clear();
        self.take(effects);
    }

    /// Lets everything come to rest; then every end on disk has been reported.
    fn settle(&mut self) {
        self.join();
        while !self.pending.is_empty() {
            self.perform(0);
        }
        for lease in (1..5).map(lease) {
            self.shim_starts(lease);
            self.shim_ends(lease);
        }
        while !self.pending.is_empty() {
            self.perform(0);
        }
        self.reported.clear();
        self.join();
        let kept = self.disk.iter().filter_map(|(lease, state)| match state {
            OnDisk::Ended(_) => Some(*lease),
            OnDisk::Persisted | OnDisk::Started => None,
        });
        let kept: BTreeSet<LeaseId> = kept.collect();
        let missing: Vec<_> = kept.difference(&self.reported).collect();
        assert!(
            missing.is_empty(),
            "ended, kept and not reported: {missing:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn never_spawned_twice_nor_unpersisted_and_no_end_is_dropped(
        happenings in prop::collection::vec(happening(), 1..80)
    ) {
        let mut node = Node::new();
        for happening in happenings {
            node.happen(happening);
        }
        node.settle();
    }
}
