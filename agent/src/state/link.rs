//! The stream to the scheduler, as the machine sees it: greeting, inventory,
//! verdict, heartbeats, and what each message means for the attempts.
//!
//! A time of sending is the time at which sending was decided, which is never
//! later than when the bytes left: what counts from it errs to the safe side.

use std::collections::VecDeque;

use super::attempts::Renewal;
use super::message::{Down, TailChunk, TailRequest, Up, Welcome};
use super::{Allegiance, Closed, Effect, Machine, Notice};
use crate::attempt::{LeaseId, LeaseRecord, Outcome};

/// So many heartbeats without an answer, and the stream counts as dead.
const UNANSWERED_MAX: usize = 4;

/// So long from the hello to the verdict at most.
const VERDICT_MAX_MS: i64 = 60_000;

/// One open stream.
#[derive(Debug)]
pub(super) struct Stream {
    connection: u64,
    opened_ms: i64,
    sent: u64,
    received: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Hello is out.
    Greeting,
    /// Welcomed; the new allegiance is being written.
    Pledging(Welcome),
    /// The inventory is out.
    Listed { welcome: Welcome, sent_ms: i64 },
    /// The verdict is in.
    Current(Current),
}

#[derive(Debug)]
struct Current {
    welcome: Welcome,
    /// When that was sent to which the last renewal was the answer.
    renewed_from_ms: i64,
    /// Sent and not answered, oldest first.
    beats: VecDeque<(u64, i64)>,
    beat_next: u64,
    beat_due_ms: i64,
}

impl Stream {
    pub(super) fn connection(&self) -> u64 {
        self.connection
    }

    pub(super) fn wake_ms(&self) -> i64 {
        match &self.stage {
            Stage::Current(current) => current.beat_due_ms,
            Stage::Greeting | Stage::Pledging(_) | Stage::Listed { .. } => {
                self.opened_ms + VERDICT_MAX_MS
            }
        }
    }

    fn current(&self) -> Option<&Current> {
        match &self.stage {
            Stage::Current(current) => Some(current),
            Stage::Greeting | Stage::Pledging(_) | Stage::Listed { .. } => None,
        }
    }
}

impl Machine {
    pub(super) fn stream_opened(&mut self, now_ms: i64, connection: u64, out: &mut Vec<Effect>) {
        if connection <= self.connection_last {
            return;
        }
        self.forget_stream(out);
        self.connection_last = connection;
        self.stream = Some(Stream {
            connection,
            opened_ms: now_ms,
            sent: 0,
            received: 0,
            stage: Stage::Greeting,
        });
        self.push(
            Up::Hello {
                site: self.settings.site.clone(),
                federation: self.allegiance.federation.clone(),
                lineage: self.allegiance.lineage,
                incarnation: self.settings.incarnation.clone(),
            },
            out,
        );
    }

    pub(super) fn stream_broken(&mut self, connection: u64, out: &mut Vec<Effect>) {
        if self.hears(connection) {
            self.forget_stream(out);
        }
    }

    fn hears(&self, connection: u64) -> bool {
        self.stream
            .as_ref()
            .is_some_and(|stream| stream.connection == connection)
    }

    fn forget_stream(&mut self, out: &mut Vec<Effect>) {
        let renewal = self.renewal();
        if self.stream.take().is_some() {
            self.attempts.uncover(renewal, out);
            out.push(Effect::CancelTails);
        }
    }

    fn close(&mut self, why: Closed, out: &mut Vec<Effect>) {
        if let Some(connection) = self.stream.as_ref().map(Stream::connection) {
            self.forget_stream(out);
            out.push(Effect::CloseStream { connection, why });
        }
    }

    /// What the session's last renewal gives to the leases it covers.
    pub(super) fn renewal(&self) -> Option<Renewal> {
        let current = self.stream.as_ref()?.current()?;
        Some(Renewal {
            deadline_ms: current.renewed_from_ms + current.welcome.contact_limit_ms,
            slack_ms: current.welcome.contact_limit_ms / 4,
        })
    }

    /// Sends if the session is current; otherwise the next one will learn it.
    pub(super) fn send(&mut self, message: Up, out: &mut Vec<Effect>) {
        if self.stream.as_ref().and_then(Stream::current).is_some() {
            self.push(message, out);
        }
    }

    fn push(&mut self, message: Up, out: &mut Vec<Effect>) {
        if let Some(stream) = &mut self.stream {
            stream.sent += 1;
            out.push(Effect::Send {
                connection: stream.connection,
                sequence: stream.sent,
                message,
            });
        }
    }

    pub(super) fn received(
        &mut self,
        now_ms: i64,
        connection: u64,
        sequence: u64,
        message: Down,
        out: &mut Vec<Effect>,
    ) {
        let Some(stream) = self.stream.as_mut().filter(|s| s.connection == connection) else {
            return;
        };
        if sequence <= stream.received {
            return;
        }
        if sequence != stream.received + 1 {
            return self.close(Closed::Protocol("a message is missing"), out);
        }
        stream.received = sequence;
        match message {
            Down::Welcome(welcome) => self.welcome(now_ms, welcome, out),
            Down::Verdict {
                keep,
                ended,
                unknown,
            } => self.verdict(now_ms, &keep, &ended, &unknown, out),
            Down::Renewed(number) => self.renewed(now_ms, number, out),
            Down::Grant(record) => self.grant(now_ms, record, out),
            Down::Stop(lease) => self.stop(lease, out),
            Down::Ack(lease) => self.attempts.acknowledged(lease, out),
            Down::Notice(told) => out.push(Effect::Notice(Notice::Told(told))),
            Down::Noted(_) | Down::Unknown => {}
            Down::Tail(request) => self.tail(connection, request, out),
            Down::TailCancel(request) => out.push(Effect::CancelTail(request)),
        }
    }

    fn welcome(&mut self, now_ms: i64, welcome: Welcome, out: &mut Vec<Effect>) {
        let ours = &self.allegiance.federation;
        if !ours.is_empty() && *ours != welcome.federation {
            let (ours, theirs) = (ours.clone(), welcome.federation);
            return self.close(Closed::ForeignFederation { ours, theirs }, out);
        }
        let (lineage, seen) = self.term_seen;
        if lineage == welcome.lineage && welcome.term < seen {
            let term = welcome.term;
            return self.close(Closed::OlderTerm { term, seen }, out);
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        if !matches!(stream.stage, Stage::Greeting) {
            return self.close(Closed::Protocol("a second welcome"), out);
        }
        if welcome.contact_limit_ms <= 0 || welcome.heartbeat_interval_ms <= 0 {
            return self.close(Closed::Protocol("a welcome without its spans"), out);
        }
        self.term_seen = (welcome.lineage, welcome.term);
        let allegiance = Allegiance {
            federation: welcome.federation.clone(),
            lineage: welcome.lineage,
        };
        let connection = stream.connection;
        stream.stage = Stage::Pledging(welcome);
        if allegiance == self.allegiance {
            return self.allegiance_persisted(now_ms, connection, out);
        }
        out.push(Effect::PersistAllegiance {
            connection,
            allegiance,
        });
    }

    /// The allegiance stands on disk: list what is held.
    pub(super) fn allegiance_persisted(
        &mut self,
        now_ms: i64,
        connection: u64,
        out: &mut Vec<Effect>,
    ) {
        let Some(stream) = self.stream.as_mut().filter(|s| s.connection == connection) else {
            return;
        };
        let Stage::Pledging(welcome) = &stream.stage else {
            return;
        };
        let welcome = welcome.clone();
        let session = welcome.session;
        self.allegiance = Allegiance {
            federation: welcome.federation.clone(),
            lineage: welcome.lineage,
        };
        stream.stage = Stage::Listed {
            welcome,
            sent_ms: now_ms,
        };
        let leases = self.attempts.inventory();
        self.push(Up::Inventory { session, leases }, out);
    }

    fn verdict(
        &mut self,
        now_ms: i64,
        keep: &[LeaseId],
        ended: &[LeaseId],
        unknown: &[LeaseId],
        out: &mut Vec<Effect>,
    ) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let Stage::Listed { welcome, sent_ms } = &stream.stage else {
            return self.close(Closed::Protocol("a verdict without an inventory"), out);
        };
        let (session, renewed_from_ms) = (welcome.session, *sent_ms);
        stream.stage = Stage::Current(Current {
            beat_due_ms: now_ms + welcome.heartbeat_interval_ms,
            welcome: welcome.clone(),
            renewed_from_ms,
            beats: VecDeque::new(),
            beat_next: 1,
        });
        self.attempts.cover(keep);
        self.attempts.flush(now_ms, self.renewal(), out);
        out.push(Effect::Notice(Notice::SessionCurrent {
            session,
            held: self.attempts.len(),
        }));
        out.extend(
            unknown
                .iter()
                .map(|lease| Effect::Notice(Notice::Unknown(*lease))),
        );
        self.push(Up::Capacity, out);
        for (lease, report) in self.attempts.reports() {
            self.push(Up::Ended { lease, report }, out);
        }
        for lease in ended {
            self.attempts.stop(*lease, out);
        }
    }

    fn renewed(&mut self, now_ms: i64, number: u64, out: &mut Vec<Effect>) {
        let Some(Stage::Current(current)) = self.stream.as_mut().map(|s| &mut s.stage) else {
            return self.close(Closed::Protocol("a renewal before the verdict"), out);
        };
        while let Some((beat, sent_ms)) = current.beats.front().copied() {
            if beat > number {
                break;
            }
            current.beats.pop_front();
            if beat == number {
                current.renewed_from_ms = current.renewed_from_ms.max(sent_ms);
            }
        }
        self.attempts.flush(now_ms, self.renewal(), out);
    }

    fn grant(&mut self, now_ms: i64, mut record: Box<LeaseRecord>, out: &mut Vec<Effect>) {
        let Some(renewal) = self.renewal() else {
            return self.close(Closed::Protocol("a grant before the verdict"), out);
        };
        let lease = record.lease;
        if lease.lineage != self.allegiance.lineage {
            let why = "it is of another lineage than the session";
            return out.push(Effect::Notice(Notice::GrantIgnored { lease, why }));
        }
        if self.attempts.knows(lease) {
            return;
        }
        if let Some(message) = self.fault(&record) {
            return self.refuse(lease, Outcome::StartFailed { message }, out);
        }
        record.deadline_ms = renewal.deadline_ms;
        if renewal.deadline_ms <= now_ms {
            return self.refuse(lease, Outcome::NotRun, out);
        }
        self.attempts.granted(&record);
        out.push(Effect::PersistLease(record));
    }

    /// Why this grant cannot be followed here, whatever comes: the attempt ends,
    /// the session goes on.
    fn fault(&self, record: &LeaseRecord) -> Option<String> {
        let node = &record.node;
        if !self.settings.nodes.contains(node) {
            let remedy = "declare it again, or let the scheduler hear that it is gone";
            return Some(format!("this site has no node {node:?}; {remedy}"));
        }
        if record.command.is_empty() {
            return Some("the grant names no command".to_owned());
        }
        let negative = record.walltime_ms < 0 || record.grace_ms < 0;
        negative.then(|| "the grant's walltime or grace is below 0".to_owned())
    }

    fn stop(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        if self.renewal().is_none() {
            return self.close(Closed::Protocol("a stop before the verdict"), out);
        }
        if self.attempts.knows(lease) {
            self.attempts.stop(lease, out);
        } else {
            // Its grant never came, and never will over this stream.
            self.refuse(lease, Outcome::NotRun, out);
        }
    }

    fn tail(&mut self, connection: u64, request: TailRequest, out: &mut Vec<Effect>) {
        if self.attempts.has_directory(request.lease) {
            return out.push(Effect::StartTail {
                connection,
                request,
            });
        }
        let nothing = TailChunk::nothing(request.request, request.offset);
        self.send(Up::TailChunk(nothing), out);
    }

    /// Asks for renewal when it is time, and gives up on a silent stream.
    pub(super) fn beat(&mut self, now_ms: i64, out: &mut Vec<Effect>) {
        let Some(stream) = self.stream.as_mut().filter(|s| s.wake_ms() <= now_ms) else {
            return;
        };
        let Stage::Current(current) = &mut stream.stage else {
            return self.close(Closed::NoVerdict(VERDICT_MAX_MS), out);
        };
        let unanswered = current.beats.len();
        if unanswered >= UNANSWERED_MAX {
            return self.close(Closed::Silent { unanswered }, out);
        }
        let number = current.beat_next;
        current.beat_next += 1;
        current.beats.push_back((number, now_ms));
        current.beat_due_ms = now_ms + current.welcome.heartbeat_interval_ms;
        self.push(Up::Heartbeat(number), out);
    }
}
