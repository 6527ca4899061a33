//! One session: what was sent when, and so until when its leases are renewed.

use std::collections::VecDeque;

use super::vocabulary::Stream;

/// Heartbeats that may be unanswered; older ones are forgotten, so a late answer
/// to them renews nothing.
const UNANSWERED_MAX: usize = 64;
/// Deadlines are written when they have moved by this part of the contact limit.
const WRITE_PART: i64 = 8;

/// A session, from the opening of its stream.
#[derive(Debug)]
pub(super) struct Session {
    /// Its stream.
    pub stream: Stream,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Hello was sent.
    Greeted,
    /// The inventory was sent.
    Listed { limits: Limits, sent_ms: i64 },
    /// The verdict came.
    Pronounced { limits: Limits, renewals: Renewals },
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    contact_ms: i64,
    heartbeat_ms: i64,
}

#[derive(Debug)]
struct Renewals {
    /// When the last answered message was sent.
    renewed_ms: i64,
    /// The deadline that the shims were told last.
    written_ms: i64,
    next_heartbeat_ms: i64,
    last_number: u64,
    unanswered: VecDeque<(u64, i64)>,
}

impl Session {
    pub fn new(stream: Stream) -> Self {
        let step = Step::Greeted;
        Session { stream, step }
    }

    /// The welcome came, and the inventory is sent now.
    pub fn welcomed(&mut self, now_ms: i64, contact_ms: i64, heartbeat_ms: i64) {
        let limits = Limits { contact_ms, heartbeat_ms };
        self.step = Step::Listed { limits, sent_ms: now_ms };
    }

    /// The verdict came: it renews from when the inventory was sent. False if
    /// none was asked for.
    pub fn pronounced(&mut self, now_ms: i64) -> bool {
        let Step::Listed { limits, sent_ms } = self.step else {
            return false;
        };
        let renewals = Renewals {
            renewed_ms: sent_ms,
            written_ms: i64::MIN,
            next_heartbeat_ms: now_ms + limits.heartbeat_ms,
            last_number: 0,
            unanswered: VecDeque::new(),
        };
        self.step = Step::Pronounced { limits, renewals };
        true
    }

    pub fn is_pronounced(&self) -> bool {
        matches!(self.step, Step::Pronounced { .. })
    }

    /// Until when the session's leases are renewed; none before the verdict.
    pub fn deadline_ms(&self) -> Option<i64> {
        match &self.step {
            Step::Greeted | Step::Listed { .. } => None,
            Step::Pronounced { limits, renewals } => Some(renewals.renewed_ms + limits.contact_ms),
        }
    }

    /// True if the deadline has moved far enough to be told to the shims.
    pub fn is_write_due(&self) -> bool {
        match &self.step {
            Step::Greeted | Step::Listed { .. } => false,
            Step::Pronounced { limits, renewals } => {
                let deadline_ms = renewals.renewed_ms + limits.contact_ms;
                deadline_ms >= renewals.written_ms.saturating_add(limits.contact_ms / WRITE_PART)
            }
        }
    }

    /// The deadline to be told to the shims, from now on the one last told.
    pub fn deadline_to_write_ms(&mut self) -> Option<i64> {
        let deadline_ms = self.deadline_ms()?;
        if let Step::Pronounced { renewals, .. } = &mut self.step {
            renewals.written_ms = deadline_ms;
        }
        Some(deadline_ms)
    }

    /// An answer came: renews from when that heartbeat was sent. False if no
    /// such heartbeat waits for one.
    pub fn renewed(&mut self, number: u64) -> bool {
        let Step::Pronounced { renewals, .. } = &mut self.step else {
            return false;
        };
        let found = renewals.unanswered.iter().find(|(sent, _)| *sent == number);
        let Some((_, sent_ms)) = found.copied() else {
            return false;
        };
        renewals.renewed_ms = renewals.renewed_ms.max(sent_ms);
        renewals.unanswered.retain(|(sent, _)| *sent > number);
        true
    }

    /// The number of the heartbeat that is to be sent now, if one is due.
    pub fn heartbeat(&mut self, now_ms: i64) -> Option<u64> {
        let Step::Pronounced { limits, renewals } = &mut self.step else {
            return None;
        };
        if now_ms < renewals.next_heartbeat_ms {
            return None;
        }
        renewals.last_number += 1;
        renewals.next_heartbeat_ms = now_ms + limits.heartbeat_ms;
        renewals.unanswered.push_back((renewals.last_number, now_ms));
        if renewals.unanswered.len() > UNANSWERED_MAX {
            renewals.unanswered.pop_front();
        }
        Some(renewals.last_number)
    }

    /// When the next heartbeat is due.
    pub fn next_heartbeat_ms(&self) -> Option<i64> {
        match &self.step {
            Step::Greeted | Step::Listed { .. } => None,
            Step::Pronounced { renewals, .. } => Some(renewals.next_heartbeat_ms),
        }
    }
}
