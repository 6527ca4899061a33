//! Doing what the machine says, one arm per effect.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::stream::Redial;
use super::{Feedback, Session, Waiting, wire};
use crate::attempt::{
    AttemptDir, Closed, ExitRecord, LeaseId, LeaseRecord, LockIdentity, Outcome, boot,
};
use crate::drivers::process::ProcessDriver;
use crate::files::FetchError;
use crate::outputs;
use crate::state::{self, Allegiance, Effect, Input, Notice};

/// How long until a disk or host that refused is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// How long an attempt that the site could not begin keeps its place before
/// that is reported. The scheduler grants the place anew at once, so a host
/// whose disk is full or whose `jero` is gone must be slower than a healthy one:
/// else all that waits is drawn to it, and each task has its tries used up
/// within seconds.
const SITE_FAULT_PAUSE: Duration = Duration::from_secs(10);

/// What an effect on an attempt needs; goes into its lane.
struct Job {
    lease: LeaseId,
    dir: AttemptDir,
    driver: Arc<ProcessDriver>,
    feedback: mpsc::UnboundedSender<Feedback>,
    runtime: tokio::runtime::Handle,
}

impl Job {
    fn tell(&self, input: Input) {
        // The agent is stopping when nobody listens; the next one looks at the disk.
        let _ = self.feedback.send(Feedback::Happened(input));
    }

    /// Something that must happen did not: say so and try again later.
    fn again(&self, effect: Effect, why: &dyn std::fmt::Display) {
        tracing::error!(lease = %self.lease, "{why}; it is tried again");
        let (lease, feedback) = (self.lease, self.feedback.clone());
        self.runtime.spawn(async move {
            tokio::time::sleep(AGAIN).await;
            let _ = feedback.send(Feedback::Again(lease, effect));
        });
    }

    /// The site could not begin the attempt: say so now, but deliver it later.
    /// What comes meanwhile, such as a stop, is not held up.
    fn site_fault(&self, input: Input, why: &dyn std::fmt::Display) {
        tracing::error!(
            lease = %self.lease,
            "{why}; until that is mended nothing can start here, and the scheduler runs the task \
             elsewhere"
        );
        let feedback = self.feedback.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(SITE_FAULT_PAUSE).await;
            let _ = feedback.send(Feedback::Happened(input));
        });
    }

    fn ended(&self, exit: ExitRecord) {
        let (lease, fault) = (self.lease, exit.site_fault.clone());
        let input = Input::AttemptEnded { lease, exit };
        match fault {
            None => self.tell(input),
            Some(why) => self.site_fault(input, &why),
        }
    }

    /// The shim is gone, or seems to be: settle and tell how it ended.
    fn settle(&self, outcome: Outcome, lock: Option<LockIdentity>) {
        match self.dir.record_ended(outcome, lock) {
            Ok(Some(exit)) => self.ended(exit),
            Ok(None) => self.again(
                Effect::AdoptShim(self.lease),
                &"a shim still holds the lock",
            ),
            Err(why) => self.again(Effect::RecordLost(self.lease), &why),
        }
    }

    fn settle_lost(&self) {
        self.settle(Outcome::Lost, None);
    }

    /// Without its directory nothing can be done about an attempt but to end it.
    fn failed(&self, effect: Effect, why: &dyn std::fmt::Display) {
        match self.dir.lock_identity() {
            Ok(None) => self.settle_lost(),
            Ok(Some(_)) | Err(_) => self.again(effect, why),
        }
    }

    fn persist(&self, root: &std::path::Path, record: &LeaseRecord) {
        let lease = self.lease;
        match AttemptDir::create(root, record) {
            Ok(_) => self.tell(Input::LeasePersisted(lease)),
            Err(why) => self.site_fault(Input::LeaseNotPersisted(lease), &why),
        }
    }

    fn spawn(&self) {
        let lease = self.lease;
        match self.driver.start(lease, &self.dir) {
            Ok(()) => self.tell(Input::AttemptStarted {
                lease,
                started_ms: boot::wall_ms(),
            }),
            Err(why) => self.site_fault(Input::SpawnFailed(lease), &why),
        }
    }

    fn close_unstarted(&self, outcome: Outcome) {
        let lease = self.lease;
        match self.dir.close_unstarted(outcome.clone()) {
            Ok(Closed::Unstarted(exit) | Closed::Ended(exit)) => self.ended(exit),
            Ok(Closed::Running { .. }) => self.tell(Input::CloseTooLate(lease)),
            Ok(Closed::ShimDied) => self.settle_lost(),
            Err(why) => self.failed(Effect::CloseUnstarted { lease, outcome }, &why),
        }
    }

    fn stop(&self) {
        match self.driver.stop(self.lease, &self.dir) {
            Ok(true) => {}
            Ok(false) => self.settle_lost(),
            Err(why) => self.failed(Effect::StopShim(self.lease), &why),
        }
    }

    fn adopt(&self) {
        match self.driver.adopt(self.lease, &self.dir) {
            Ok(true) => {}
            Ok(false) => self.settle_lost(),
            Err(why) => self.failed(Effect::AdoptShim(self.lease), &why),
        }
    }

    fn set_deadline(&self, deadline_ms: i64) {
        // Without it the shim fences at the older one: early, not late.
        if let Err(why) = self.dir.set_deadline(deadline_ms) {
            tracing::warn!(lease = %self.lease, "cannot move its deadline: {why}");
        }
    }
}

impl Session {
    pub(super) fn perform_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.perform(effect);
        }
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send {
                connection,
                sequence,
                message,
            } => {
                if self.speaks_on(connection) {
                    let message = wire::up(sequence, message, &self.nodes);
                    self.outbox.push_back(Waiting {
                        message,
                        room: None,
                    });
                }
            }
            Effect::CloseStream { connection, why } => self.close_stream(connection, &why),
            Effect::PersistAllegiance {
                connection,
                allegiance,
            } => self.pledge(connection, allegiance),
            Effect::PersistLease(record) => {
                let root = self.attempts.clone();
                self.in_lane(record.lease, move |job| job.persist(&root, &record));
            }
            Effect::FetchInputs(lease) => self.fetch(lease),
            Effect::SpawnShim(lease) => self.in_lane(lease, |job| job.spawn()),
            Effect::SetDeadline { lease, deadline_ms } => {
                self.in_lane(lease, move |job| job.set_deadline(deadline_ms));
            }
            Effect::CloseUnstarted { lease, outcome } => {
                if let Some(fetch) = self.fetches.remove(&lease) {
                    fetch.abort();
                }
                self.in_lane(lease, |job| job.close_unstarted(outcome));
            }
            Effect::StopShim(lease) => self.in_lane(lease, |job| job.stop()),
            Effect::AdoptShim(lease) => self.in_lane(lease, |job| job.adopt()),
            Effect::RecordLost(lease) => self.conclude(lease, Outcome::Lost, None),
            Effect::CollectOutputs { lease, exit } => self.collect(lease, exit),
            Effect::RemoveAttempt(lease) => {
                let state_dir = Arc::clone(&self.state_dir);
                self.in_lane(lease, move |job| state_dir.remove(&job.dir));
            }
            Effect::StartTail {
                connection,
                request,
            } => {
                let dir = AttemptDir::at(&self.attempts, request.lease);
                self.followers
                    .start(connection, request, dir, self.feedback.clone());
            }
            Effect::CancelTail(request) => self.followers.cancel(request),
            Effect::CancelTails => self.followers.cancel_all(),
            Effect::Notice(notice) => self.notice(&notice),
        }
    }

    /// Does something about an attempt in its lane.
    fn in_lane(&self, lease: LeaseId, work: impl FnOnce(&Job) + Send + 'static) {
        let job = Job {
            lease,
            dir: AttemptDir::at(&self.attempts, lease),
            driver: Arc::clone(&self.driver),
            feedback: self.feedback.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        self.lanes.run(lease, move || work(&job));
    }

    /// The shim of this attempt is gone. A slow one, of an attempt that was
    /// closed, acknowledged and removed meanwhile, changes nothing any more.
    pub(super) fn conclude(&self, lease: LeaseId, outcome: Outcome, lock: Option<LockIdentity>) {
        if self.machine.holds(lease) {
            self.in_lane(lease, move |job| job.settle(outcome, lock));
        }
    }

    fn speaks_on(&self, connection: u64) -> bool {
        self.line
            .as_ref()
            .is_some_and(|line| line.connection == connection)
    }

    fn close_stream(&mut self, connection: u64, why: &state::Closed) {
        if !self.speaks_on(connection) {
            return;
        }
        tracing::error!(site = self.site, "the agent ends the session: {why}");
        let redial = match why {
            state::Closed::ForeignFederation { .. } => Redial::Slowly,
            state::Closed::OlderTerm { .. }
            | state::Closed::Silent { .. }
            | state::Closed::NoVerdict(_)
            | state::Closed::Protocol(_) => Redial::Soon,
        };
        if let Some(line) = self.line.take() {
            let _ = line.close.send(redial);
        }
        self.outbox.clear();
    }

    /// The machine lists nothing over this stream until it hears that it is done.
    fn pledge(&self, connection: u64, allegiance: Allegiance) {
        let (state_dir, feedback) = (Arc::clone(&self.state_dir), self.feedback.clone());
        let site = self.site.clone();
        self.lanes.run_own(move || {
            let told = match state_dir.pledge(&allegiance) {
                Ok(()) => Feedback::Happened(Input::AllegiancePersisted { connection }),
                Err(why) => {
                    tracing::error!(site, "cannot write down the federation: {why}");
                    Feedback::NotPledged { connection }
                }
            };
            // As with attempts: the next agent looks at the disk.
            let _ = feedback.send(told);
        });
    }

    /// Without a line the keeper dials again, and it is tried again.
    pub(super) fn drop_line(&mut self, connection: u64) {
        if self.speaks_on(connection) {
            self.line = None;
            self.outbox.clear();
        }
    }

    fn fetch(&mut self, lease: LeaseId) {
        let dir = AttemptDir::at(&self.attempts, lease);
        let (files, feedback) = (Arc::clone(&self.files), self.feedback.clone());
        let task = tokio::spawn(async move {
            let input = match files.fetch(&dir).await {
                Ok(()) => Input::InputsReady(lease),
                Err(FetchError::Task(why)) => {
                    tracing::warn!(%lease, "cannot fetch its inputs: {why}");
                    Input::InputsFailed { lease, why }
                }
                Err(FetchError::Site(why)) => {
                    tracing::error!(
                        %lease,
                        "cannot fetch its inputs: {why}; the scheduler runs the task elsewhere"
                    );
                    tokio::time::sleep(SITE_FAULT_PAUSE).await;
                    Input::FetchFailed(lease)
                }
            };
            let _ = feedback.send(Feedback::Happened(input));
        });
        self.fetches.insert(lease, task.abort_handle());
    }

    fn collect(&self, lease: LeaseId, exit: ExitRecord) {
        let dir = AttemptDir::at(&self.attempts, lease);
        let (files, feedback) = (Arc::clone(&self.files), self.feedback.clone());
        tokio::spawn(async move {
            let report = outputs::collect(&files, lease.job, &dir, exit).await;
            let stored = Input::OutputsStored { lease, report };
            let _ = feedback.send(Feedback::Happened(stored));
        });
    }

    fn notice(&self, notice: &Notice) {
        let site = &self.site;
        match notice {
            Notice::SessionCurrent { session, held } => {
                tracing::info!(site, session, held, "the session is current");
            }
            Notice::Unknown(lease) => tracing::warn!(
                site, %lease, lineage = lease.lineage,
                "held here, unknown to the scheduler: kept until its contact deadline"
            ),
            Notice::GrantIgnored { lease, why } => {
                tracing::error!(site, %lease, "a grant was not followed: {why}");
            }
            Notice::Told(told) => {
                let (code, node, remedy) = (&told.code, &told.node, &told.remedy);
                tracing::warn!(
                    site,
                    code,
                    node,
                    remedy,
                    "the scheduler says: {}",
                    told.text
                );
            }
            Notice::OutOfTime(lease) => {
                tracing::warn!(site, %lease, "its lease ran out before it could be started");
            }
        }
    }
}

#[cfg(test)]
mod tests;
