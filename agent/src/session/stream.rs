//! Keeps a stream to the scheduler open: dials, passes messages on, waits and
//! dials again.
//!
//! A connection that is lost is tried again soon, a refusal slowly: it needs
//! somebody to act, and is logged with what to do. What the messages mean is
//! `state`'s.

use std::time::Duration;

use jeroboam_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::dial::{self, Authorized};
use super::tls::{self, Trouble};
use super::wire;
use crate::backoff::Backoff;
use crate::state::message::Down;

/// Messages under way in each direction.
const ROOM: usize = 256;

/// What the keeper tells the shell.
#[derive(Debug)]
pub enum Event {
    /// A stream is being opened: say hello into it.
    Opened(Line),
    /// The scheduler said something.
    Received {
        /// Over which stream.
        connection: u64,
        /// Its number.
        sequence: u64,
        /// What.
        message: Down,
    },
    /// The stream is gone.
    Broken {
        /// Which.
        connection: u64,
    },
}

/// The shell's end of a stream; dropped, the stream ends.
#[derive(Debug)]
pub struct Line {
    /// Its number, rising.
    pub connection: u64,
    /// What is sent.
    pub sender: mpsc::Sender<v1::AgentMessage>,
    /// Ends the stream, and says when the next is to be tried.
    pub close: oneshot::Sender<Redial>,
}

/// When to dial again after the shell closed a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redial {
    /// The next may be better.
    Soon,
    /// Somebody has to act before it can be.
    Slowly,
}

enum End {
    Lost(Status),
    Refused(Status),
    /// The two do not speak the same.
    Unspoken(Trouble),
    Closed(Redial),
    Shell,
}

/// Runs until the shell is gone.
pub async fn keep(channel: Authorized, site: String, events: mpsc::Sender<Event>) {
    let mut soon = Backoff::soon();
    let mut slow = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));
    for connection in 1.. {
        let mut pronounced = false;
        let end = converse(&channel, &site, connection, &events, &mut pronounced).await;
        if pronounced {
            soon.reset();
            slow.reset();
        }
        if events.send(Event::Broken { connection }).await.is_err() {
            return;
        }
        let wait = match &end {
            End::Shell => return,
            End::Lost(_) | End::Closed(Redial::Soon) => soon.wait(),
            End::Refused(_) | End::Unspoken(_) | End::Closed(Redial::Slowly) => slow.wait(),
        };
        tell(&site, &end, wait);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = events.closed() => return,
        }
    }
}

async fn converse(
    channel: &Authorized,
    site: &str,
    connection: u64,
    events: &mpsc::Sender<Event>,
    pronounced: &mut bool,
) -> End {
    let (sender, outgoing) = mpsc::channel(ROOM);
    let (close, mut closed) = oneshot::channel();
    let line = Line {
        connection,
        sender,
        close,
    };
    if events.send(Event::Opened(line)).await.is_err() {
        return End::Shell;
    }
    let mut client = dial::site(channel);
    // The scheduler may answer only after the hello, which the shell sends.
    let opening = client.session(ReceiverStream::new(outgoing));
    let mut incoming = tokio::select! {
        redial = &mut closed => return closed_by_shell(redial),
        opened = opening => match opened {
            Ok(response) => response.into_inner(),
            Err(status) => return end_of(status),
        },
    };
    loop {
        let message = tokio::select! {
            redial = &mut closed => return closed_by_shell(redial),
            message = incoming.message() => match message {
                Ok(Some(message)) => message,
                Ok(None) => return End::Lost(Status::unavailable("the scheduler ended the session")),
                Err(status) => return end_of(status),
            },
        };
        let (sequence, message) = match wire::down(message, site) {
            Ok(read) => read,
            Err(malformed) => return End::Refused(Status::internal(malformed.to_string())),
        };
        *pronounced |= matches!(message, Down::Verdict { .. });
        let event = Event::Received {
            connection,
            sequence,
            message,
        };
        if events.send(event).await.is_err() {
            return End::Shell;
        }
    }
}

/// A line that was only dropped is dialed again soon.
fn closed_by_shell(redial: Result<Redial, oneshot::error::RecvError>) -> End {
    End::Closed(redial.unwrap_or(Redial::Soon))
}

fn end_of(status: Status) -> End {
    if let Some(trouble) = Trouble::of(&status) {
        return End::Unspoken(trouble);
    }
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::OutOfRange
        | Code::Unimplemented => End::Refused(status),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => End::Lost(status),
    }
}

fn tell(site: &str, end: &End, wait: Duration) {
    let wait_ms = wait.as_millis() as u64;
    match end {
        End::Shell | End::Closed(_) => {}
        End::Lost(status) => {
            tracing::warn!(
                site,
                wait_ms,
                "no session with the scheduler: {}",
                words(status)
            );
        }
        End::Unspoken(trouble) => {
            tracing::error!(site, wait_ms, "no session with the scheduler: {trouble}");
        }
        End::Refused(status) => {
            let remedy = remedy(status);
            tracing::error!(
                site,
                wait_ms,
                "the scheduler refuses this site: {}; {remedy}",
                words(status)
            );
        }
    }
}

/// The message, or the code where there is none, and what may mend it.
fn words(status: &Status) -> String {
    let told = match status.message() {
        "" => format!("{:?}", status.code()),
        message => message.to_owned(),
    };
    let told = match dial::place(status) {
        Some(place) => format!("{place}: {told}"),
        None => told,
    };
    match tls::hint(status) {
        Some(hint) => format!("{told}; {hint}"),
        None => told,
    }
}

/// What the scheduler says to do, or what there is to do about such a refusal.
fn remedy(status: &Status) -> String {
    let known = match status.code() {
        Code::Unauthenticated => "check token_file against the scheduler's for this site",
        Code::PermissionDenied => "this token is not this site's; check site and token_file",
        Code::NotFound => "declare the site in the scheduler's file, or correct `site`",
        Code::AlreadyExists => "another agent speaks for this site; stop one of the two",
        Code::FailedPrecondition => {
            "it is tried again by itself; see the scheduler's `jero site show`"
        }
        _ => "check that agent and scheduler are at most one minor version apart",
    };
    dial::remedy(status).unwrap_or_else(|| known.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_place_and_remedy() {
        let metadata = [("place", "capacity.nodes[n1]"), ("remedy", "mend it")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let details = ErrorDetails::with_error_info("R", "jeroboam", HashMap::from(metadata));
        let status = Status::with_error_details(Code::InvalidArgument, "no", details);
        assert_eq!(words(&status), "capacity.nodes[n1]: no");
        assert_eq!(remedy(&status), "mend it");
        assert_eq!(words(&Status::not_found("")), "NotFound");
    }
}
