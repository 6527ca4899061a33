//! The attempts that the agent holds, and their contact deadlines.
//!
//! A deadline on disk may trail what the session's last renewal allows, by a
//! quarter of the contact limit: it is rewritten then, or when it is about to
//! come due, or when the stream is lost. A shim thus fences never later than it
//! must, and earlier only if the agent itself is gone; and a heartbeat costs
//! nothing per attempt.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::message::EndReport;
use super::{Effect, Found, FoundPhase, Notice};
use crate::attempt::{ExitRecord, LeaseId, LeaseRecord, OnLostContact, Outcome};

/// So many acknowledged leases are remembered, so that a grant repeated after
/// the acknowledgement finds its lease closed.
const CLOSED_MAX: usize = 65_536;

/// What a session gives to the leases it covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal {
    pub(super) deadline_ms: i64,
    /// How far a deadline on disk may trail.
    pub(super) slack_ms: i64,
}

#[derive(Debug)]
enum Phase {
    /// Its directory is being made.
    Persisting { inputs: bool },
    /// Its inputs are on their way.
    Fetching,
    /// Its shim is being started.
    Spawning,
    /// A shim has it, as far as known.
    Running,
    /// It is being closed under its lock, unless it is too late.
    Closing,
    /// Its exit record is on disk; outputs and logs are on their way.
    Collecting,
    /// To be reported until acknowledged.
    Ended(Arc<EndReport>),
    /// Never had a directory; reported in this session only.
    Refused,
}

#[derive(Debug)]
struct Attempt {
    phase: Phase,
    /// The deadline on disk; none: it waits without contact.
    deadline_ms: Option<i64>,
    /// The session renews it.
    covered: bool,
    stop: bool,
    /// Its end will be told by the driver.
    watched: bool,
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    held: BTreeMap<LeaseId, Attempt>,
    /// By deadline on disk: renewed by the session, and not.
    covered: BTreeSet<(i64, LeaseId)>,
    uncovered: BTreeSet<(i64, LeaseId)>,
    closed: BTreeSet<LeaseId>,
    closed_order: VecDeque<LeaseId>,
}

impl Attempts {
    pub(super) fn recover(found: Vec<Found>, out: &mut Vec<Effect>) -> Self {
        let mut attempts = Self::default();
        for Found {
            lease,
            phase,
            deadline_ms,
        } in found
        {
            let watched = phase == FoundPhase::Running;
            let attempt = Attempt {
                phase: Phase::Running,
                deadline_ms,
                covered: false,
                stop: false,
                watched,
            };
            attempts.held.insert(lease, attempt);
            match phase {
                // A slow shim of an earlier agent may still come: so not once
                // more, but never.
                FoundPhase::NotStarted => attempts.close(lease, Outcome::NotRun, out),
                FoundPhase::Running => out.push(Effect::AdoptShim(lease)),
                FoundPhase::ShimDied => out.push(Effect::RecordLost(lease)),
                FoundPhase::Ended(exit) => {
                    attempts.ended(lease, exit, out);
                    continue;
                }
            }
            if let Some(deadline_ms) = deadline_ms {
                attempts.uncovered.insert((deadline_ms, lease));
            }
        }
        attempts
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether the lease is held, or was closed not long ago.
    pub(super) fn knows(&self, lease: LeaseId) -> bool {
        self.held.contains_key(&lease) || self.closed.contains(&lease)
    }

    pub(super) fn holds(&self, lease: LeaseId) -> bool {
        self.held.contains_key(&lease)
    }

    pub(super) fn has_directory(&self, lease: LeaseId) -> bool {
        let without = |phase: &Phase| matches!(phase, Phase::Persisting { .. } | Phase::Refused);
        self.held
            .get(&lease)
            .is_some_and(|attempt| !without(&attempt.phase))
    }

    /// Every lease held, and whether its command runs as far as known. Refused
    /// ones are not among them: they went with the stream before.
    pub(super) fn inventory(&self) -> Vec<(LeaseId, bool)> {
        let runs = |attempt: &Attempt| matches!(attempt.phase, Phase::Running);
        let held = self.held.iter();
        held.map(|(lease, attempt)| (*lease, runs(attempt)))
            .collect()
    }

    /// The ends that are not acknowledged.
    pub(super) fn reports(&self) -> Vec<(LeaseId, Arc<EndReport>)> {
        let report = |(lease, attempt): (&LeaseId, &Attempt)| match &attempt.phase {
            Phase::Ended(report) => Some((*lease, Arc::clone(report))),
            _ => None,
        };
        self.held.iter().filter_map(report).collect()
    }

    pub(super) fn granted(&mut self, record: &LeaseRecord) {
        let waits = record.on_lost_contact == OnLostContact::Wait;
        let attempt = Attempt {
            phase: Phase::Persisting {
                inputs: !record.inputs.is_empty() || !record.outputs_of.is_empty(),
            },
            deadline_ms: (!waits).then_some(record.deadline_ms),
            covered: true,
            stop: false,
            watched: false,
        };
        self.held.insert(record.lease, attempt);
    }

    /// A lease that gets no directory; gives its report.
    pub(super) fn refused(&mut self, lease: LeaseId, outcome: Outcome) -> Arc<EndReport> {
        let attempt = Attempt {
            phase: Phase::Refused,
            deadline_ms: None,
            covered: false,
            stop: false,
            watched: false,
        };
        self.held.insert(lease, attempt);
        Arc::new(EndReport::bare(ExitRecord::unstarted(outcome)))
    }

    /// The lease is on disk: go on. True if preparation will take a while.
    pub(super) fn persisted(&mut self, lease: LeaseId, out: &mut Vec<Effect>) -> bool {
        let Some(attempt) = self.held.get_mut(&lease) else {
            return false;
        };
        let Phase::Persisting { inputs } = attempt.phase else {
            return false;
        };
        if let Some(deadline_ms) = attempt.deadline_ms {
            let set = if attempt.covered {
                &mut self.covered
            } else {
                &mut self.uncovered
            };
            set.insert((deadline_ms, lease));
        }
        if attempt.stop {
            self.close(lease, Outcome::NotRun, out);
            return false;
        }
        if inputs {
            attempt.phase = Phase::Fetching;
            out.push(Effect::FetchInputs(lease));
        } else {
            attempt.phase = Phase::Spawning;
            out.push(Effect::SpawnShim(lease));
        }
        inputs
    }

    pub(super) fn inputs_ready(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        if let Some(attempt) = self.held.get_mut(&lease)
            && matches!(attempt.phase, Phase::Fetching)
        {
            attempt.phase = Phase::Spawning;
            out.push(Effect::SpawnShim(lease));
        }
    }

    /// The disk did not take the lease: it ends without having run. It stays
    /// held until that is acknowledged, for its report may have to wait for the
    /// next session, whose inventory lists it. Gives the report, if that is news.
    pub(super) fn not_persisted(&mut self, lease: LeaseId) -> Option<Arc<EndReport>> {
        let attempt = self.held.get_mut(&lease)?;
        if !matches!(attempt.phase, Phase::Persisting { .. }) {
            return None;
        }
        attempt.deadline_ms = None;
        let report = Arc::new(EndReport::bare(ExitRecord::unstarted(Outcome::NotRun)));
        attempt.phase = Phase::Ended(Arc::clone(&report));
        Some(report)
    }

    pub(super) fn start_failed(&mut self, lease: LeaseId, outcome: Outcome, out: &mut Vec<Effect>) {
        let phase = self.held.get(&lease).map(|attempt| &attempt.phase);
        if matches!(phase, Some(Phase::Fetching | Phase::Spawning)) {
            self.close(lease, outcome, out);
        }
    }

    /// The shim was started. True if that is news to the scheduler.
    pub(super) fn started(&mut self, lease: LeaseId) -> bool {
        let Some(attempt) = self.held.get_mut(&lease) else {
            return false;
        };
        attempt.watched = true;
        let news = matches!(attempt.phase, Phase::Spawning);
        if news {
            attempt.phase = Phase::Running;
        }
        news
    }

    /// Ends the attempt, whatever its phase. One that no shim has begun is
    /// closed under its lock, which also tells whether a shim has.
    pub(super) fn stop(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(attempt) = self.held.get_mut(&lease) else {
            return;
        };
        attempt.stop = true;
        match attempt.phase {
            Phase::Fetching | Phase::Spawning | Phase::Running => {
                self.close(lease, Outcome::NotRun, out);
            }
            // Closed as soon as it is on disk, or known not to be; being closed; over.
            Phase::Persisting { .. } | Phase::Closing => {}
            Phase::Collecting | Phase::Ended(_) | Phase::Refused => {}
        }
    }

    fn close(&mut self, lease: LeaseId, outcome: Outcome, out: &mut Vec<Effect>) {
        if let Some(attempt) = self.held.get_mut(&lease) {
            attempt.phase = Phase::Closing;
            out.push(Effect::CloseUnstarted { lease, outcome });
        }
    }

    /// A shim was quicker than the closing.
    pub(super) fn close_too_late(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(attempt) = self.held.get_mut(&lease) else {
            return;
        };
        if !matches!(attempt.phase, Phase::Closing) {
            return;
        }
        attempt.phase = Phase::Running;
        if !attempt.watched {
            attempt.watched = true;
            out.push(Effect::AdoptShim(lease));
        }
        if attempt.stop {
            out.push(Effect::StopShim(lease));
        }
    }

    /// The exit record is on disk. Gives the report if there is nothing to
    /// collect: what never ran left neither outputs nor logs.
    pub(super) fn ended(
        &mut self,
        lease: LeaseId,
        exit: ExitRecord,
        out: &mut Vec<Effect>,
    ) -> Option<Arc<EndReport>> {
        let attempt = self.held.get_mut(&lease)?;
        match attempt.phase {
            Phase::Collecting | Phase::Ended(_) | Phase::Refused => return None,
            Phase::Persisting { .. } | Phase::Fetching | Phase::Spawning => {}
            Phase::Running | Phase::Closing => {}
        }
        if let Some(deadline_ms) = attempt.deadline_ms.take() {
            self.covered.remove(&(deadline_ms, lease));
            self.uncovered.remove(&(deadline_ms, lease));
        }
        if matches!(exit.outcome, Outcome::NotRun | Outcome::StartFailed { .. }) {
            let report = Arc::new(EndReport::bare(exit));
            attempt.phase = Phase::Ended(Arc::clone(&report));
            return Some(report);
        }
        attempt.phase = Phase::Collecting;
        out.push(Effect::CollectOutputs { lease, exit });
        None
    }

    /// Outputs and logs are at the scheduler: gives what is to be reported.
    pub(super) fn stored(&mut self, lease: LeaseId, report: EndReport) -> Option<Arc<EndReport>> {
        let attempt = self.held.get_mut(&lease)?;
        if !matches!(attempt.phase, Phase::Collecting) {
            return None;
        }
        let report = Arc::new(report);
        attempt.phase = Phase::Ended(Arc::clone(&report));
        Some(report)
    }

    /// The report of the end is durable at the scheduler.
    pub(super) fn acknowledged(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        match self.held.get(&lease).map(|attempt| &attempt.phase) {
            Some(Phase::Ended(_)) => out.push(Effect::RemoveAttempt(lease)),
            Some(Phase::Refused) => {}
            _ => return,
        }
        self.held.remove(&lease);
        self.closed.insert(lease);
        self.closed_order.push_back(lease);
        if self.closed_order.len() > CLOSED_MAX
            && let Some(oldest) = self.closed_order.pop_front()
        {
            self.closed.remove(&oldest);
        }
    }

    /// These are renewed by the session from now on.
    pub(super) fn cover(&mut self, keep: &[LeaseId]) {
        for lease in keep {
            if let Some(attempt) = self.held.get_mut(lease) {
                attempt.covered = true;
                if let Some(deadline_ms) = attempt.deadline_ms
                    && !matches!(attempt.phase, Phase::Persisting { .. })
                {
                    self.uncovered.remove(&(deadline_ms, *lease));
                    self.covered.insert((deadline_ms, *lease));
                }
            }
        }
    }

    /// The stream is lost: what it had renewed goes to disk, nothing more will
    /// come. Leases that never had a directory are not held beyond it.
    pub(super) fn uncover(&mut self, renewal: Option<Renewal>, out: &mut Vec<Effect>) {
        let covered = std::mem::take(&mut self.covered);
        for (mut deadline_ms, lease) in covered {
            if let Some(renewal) = renewal
                && renewal.deadline_ms > deadline_ms
            {
                deadline_ms = renewal.deadline_ms;
                self.write_deadline(lease, deadline_ms, out);
            }
            self.uncovered.insert((deadline_ms, lease));
        }
        self.held
            .retain(|_, attempt| !matches!(attempt.phase, Phase::Refused));
        for attempt in self.held.values_mut() {
            attempt.covered = false;
        }
    }

    fn write_deadline(&mut self, lease: LeaseId, deadline_ms: i64, out: &mut Vec<Effect>) {
        if let Some(attempt) = self.held.get_mut(&lease) {
            attempt.deadline_ms = Some(deadline_ms);
            out.push(Effect::SetDeadline { lease, deadline_ms });
        }
    }

    /// Writes the deadlines that trail too far or are about to come due.
    pub(super) fn flush(&mut self, now_ms: i64, renewal: Option<Renewal>, out: &mut Vec<Effect>) {
        let Some(renewal) = renewal else {
            return;
        };
        while let Some((written_ms, lease)) = self.covered.first().copied() {
            let trails = renewal.deadline_ms - written_ms > renewal.slack_ms;
            let soon = written_ms - now_ms <= renewal.slack_ms;
            if written_ms >= renewal.deadline_ms || !(trails || soon) {
                return;
            }
            self.covered.remove(&(written_ms, lease));
            self.covered.insert((renewal.deadline_ms, lease));
            self.write_deadline(lease, renewal.deadline_ms, out);
        }
    }

    /// Closes what was not started before its deadline; what was is fenced by
    /// its shim.
    pub(super) fn expire(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        while let Some(lease) = self.pop_due(now_ms) {
            let phase = self.held.get(&lease).map(|attempt| &attempt.phase);
            if matches!(phase, Some(Phase::Fetching | Phase::Spawning)) {
                out.push(Effect::Notice(Notice::OutOfTime(lease)));
                self.close(lease, Outcome::NotRun, out);
            }
        }
    }

    fn pop_due(&mut self, now_ms: i64) -> Option<LeaseId> {
        for set in [&mut self.covered, &mut self.uncovered] {
            if set.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms) {
                return set.pop_first().map(|(_, lease)| lease);
            }
        }
        None
    }

    /// When the next deadline needs looking at.
    pub(super) fn wake_ms(&self, renewal: Option<Renewal>) -> Option<i64> {
        let uncovered = self.uncovered.first().map(|(due_ms, _)| *due_ms);
        let covered = self.covered.first().map(|(due_ms, _)| match renewal {
            Some(renewal) if renewal.deadline_ms > *due_ms => due_ms - renewal.slack_ms,
            _ => *due_ms,
        });
        [uncovered, covered].into_iter().flatten().min()
    }
}
