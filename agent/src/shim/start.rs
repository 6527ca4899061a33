//! Whether a shim may start its job: decided once, in a fixed order, by a pure
//! machine whose effects come out as values.
//!
//! The order is the rule: take the lock, *then* look again by path, then leave
//! the marker, then run. Looking before locking would miss what the agent
//! wrote in between; running before the marker would allow a second start.
//! `shim` performs the effects; tests reorder them.

use std::fmt;

/// The machine; begins with [`Event::Begun`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing done yet.
    New,
    /// The lock was asked for.
    Locking,
    /// The lock is held; the directory is being looked at.
    Looking,
    /// All is well; the marker is being left.
    Marking,
    /// The job was let run, or never will.
    Decided,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The shim has come up.
    Begun,
    /// The answer to [`Effect::TakeLock`].
    Lock {
        /// Whether this shim holds it now.
        taken: bool,
    },
    /// The answer to [`Effect::Look`].
    Seen(Facts),
    /// The answer to [`Effect::LeaveMarker`].
    Marker {
        /// Whether it is new and durable.
        durable: bool,
    },
}

/// What the shim sees after it has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The path still leads to the directory whose lock is held.
    pub is_where_locked: bool,
    /// There is a start marker.
    pub started: bool,
    /// There is an exit record.
    pub ended: bool,
    /// The lease was granted under the kernel that runs now.
    pub same_boot: bool,
    /// The agent has asked for a stop already.
    pub stop_asked: bool,
    /// The contact deadline (boottime ms); `None` waits without contact.
    pub deadline_ms: Option<i64>,
    /// The time now (boottime ms).
    pub now_ms: i64,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Take the directory's lock, without waiting.
    TakeLock,
    /// Look at the directory by its path.
    Look,
    /// Leave the start marker, durably, and only if there is none.
    LeaveMarker,
    /// Run the job.
    RunJob,
    /// Write the exit record `NotRun`, under the lock held, and end.
    CloseNotRun(Refusal),
    /// Touch nothing and end.
    End(Refusal),
}

/// Why a shim does not run its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another process holds the lock.
    Locked,
    /// The directory was removed or replaced.
    DirectoryGone,
    /// It was started before.
    Started,
    /// It has ended, or was closed before it could start.
    Ended,
    /// The host was started again since the lease was granted.
    OtherBoot,
    /// The contact deadline has passed.
    DeadlinePassed,
    /// The agent asked for a stop.
    StopAsked,
    /// The marker could not be left.
    NoMarker,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Locked => "another process holds the attempt's lock",
            Self::DirectoryGone => "the attempt's directory is gone",
            Self::Started => "the attempt was started before",
            Self::Ended => "the attempt has ended",
            Self::OtherBoot => "the host was started again since the lease was granted",
            Self::DeadlinePassed => "the lease's contact deadline has passed",
            Self::StopAsked => "the agent asked for a stop before the start",
            Self::NoMarker => "the start marker could not be left",
        })
    }
}

impl Start {
    /// The next effect. Answers out of turn are a defect of the caller.
    pub fn step(&mut self, event: Event) -> Effect {
        let (next, effect) = match (*self, event) {
            (Self::New, Event::Begun) => (Self::Locking, Effect::TakeLock),
            (Self::Locking, Event::Lock { taken: true }) => (Self::Looking, Effect::Look),
            (Self::Locking, Event::Lock { taken: false }) => end(Refusal::Locked),
            (Self::Looking, Event::Seen(facts)) => match refusal(facts) {
                None => (Self::Marking, Effect::LeaveMarker),
                Some(refusal) => (Self::Decided, refused(refusal)),
            },
            (Self::Marking, Event::Marker { durable: true }) => (Self::Decided, Effect::RunJob),
            (Self::Marking, Event::Marker { durable: false }) => end(Refusal::NoMarker),
            (state, event) => panic!("{event:?} does not answer what {state:?} asked for"),
        };
        *self = next;
        effect
    }
}

fn end(refusal: Refusal) -> (Start, Effect) {
    (Start::Decided, Effect::End(refusal))
}

fn refusal(facts: Facts) -> Option<Refusal> {
    let passed = facts
        .deadline_ms
        .is_some_and(|deadline_ms| deadline_ms <= facts.now_ms);
    let refusals = [
        (!facts.is_where_locked, Refusal::DirectoryGone),
        (facts.ended, Refusal::Ended),
        (facts.started, Refusal::Started),
        (!facts.same_boot, Refusal::OtherBoot),
        (facts.stop_asked, Refusal::StopAsked),
        (passed, Refusal::DeadlinePassed),
    ];
    refusals
        .into_iter()
        .find(|(applies, _)| *applies)
        .map(|(_, refusal)| refusal)
}

/// Closing is for attempts that this shim knows never ran and never will.
fn refused(refusal: Refusal) -> Effect {
    match refusal {
        Refusal::OtherBoot | Refusal::StopAsked | Refusal::DeadlinePassed => {
            Effect::CloseNotRun(refusal)
        }
        Refusal::Locked
        | Refusal::DirectoryGone
        | Refusal::Started
        | Refusal::Ended
        | Refusal::NoMarker => Effect::End(refusal),
    }
}

#[cfg(test)]
mod tests;
