//! Which failed calls are repeated, when, and for how long.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::backoff::Backoff;
use crate::session::dial;

/// Refusals in a row after which there is no point any more.
const REFUSALS_MAX: u32 = 6;

/// The scheduler's reasons that say that it has no room now: its operator, or
/// time, makes some, and what is finished here need not be done again.
const NO_ROOM: [&str; 2] = ["SPOOL_FULL", "DISK_FULL"];

/// One content's patience.
#[derive(Debug)]
pub(super) struct Patience {
    backoff: Backoff,
    refusals: u32,
}

impl Patience {
    pub fn new() -> Self {
        Self {
            backoff: Backoff::soon(),
            refusals: 0,
        }
    }

    /// Something went well.
    pub fn restore(&mut self) {
        *self = Self::new();
    }

    /// Waits before the next try, or gives up with what to tell.
    pub async fn bear(&mut self, status: &Status) -> Result<(), String> {
        match Kind::of(status) {
            Kind::Away => {}
            Kind::Refused => {
                self.refusals += 1;
                if self.refusals >= REFUSALS_MAX {
                    return Err(told(status));
                }
            }
            Kind::Final => return Err(told(status)),
        }
        let wait = self.backoff.wait();
        tracing::debug!(?wait, "a transfer is tried again: {}", told(status));
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Not a word from the scheduler, or not now.
    Away,
    /// It may take another course.
    Refused,
    /// It never will.
    Final,
}

impl Kind {
    fn of(status: &Status) -> Self {
        match status.code() {
            Code::Ok | Code::Unavailable | Code::Cancelled | Code::Unknown => Self::Away,
            // Tokens are replaced, leaders change, hosts are slow.
            Code::DeadlineExceeded | Code::Unauthenticated | Code::Aborted => Self::Away,
            Code::ResourceExhausted if has_no_room(status) => Self::Away,
            Code::ResourceExhausted | Code::DataLoss | Code::Internal => Self::Refused,
            Code::FailedPrecondition | Code::OutOfRange | Code::PermissionDenied => Self::Refused,
            Code::NotFound | Code::InvalidArgument => Self::Final,
            Code::AlreadyExists | Code::Unimplemented => Self::Final,
        }
    }
}

fn has_no_room(status: &Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| NO_ROOM.contains(&info.reason.as_str()))
}

/// A status with its remedy.
fn told(status: &Status) -> String {
    match dial::remedy(status) {
        Some(remedy) => format!("{}; {remedy}", status.message()),
        None => format!("{} ({:?})", status.message(), status.code()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn absence_is_borne_for_ever_refusals_are_not() {
        let mut patience = Patience::new();
        for _ in 0..100 {
            assert_eq!(patience.bear(&Status::unavailable("away")).await, Ok(()));
        }
        let full = Status::resource_exhausted("full");
        for _ in 1..REFUSALS_MAX {
            assert_eq!(patience.bear(&full).await, Ok(()));
        }
        let given_up = patience.bear(&full).await;
        assert_eq!(given_up, Err("full (ResourceExhausted)".to_owned()));
        for reason in ["SPOOL_FULL", "DISK_FULL"] {
            let full = refused(reason);
            let mut patience = Patience::new();
            for _ in 0..100 {
                assert_eq!(patience.bear(&full).await, Ok(()), "{reason}");
            }
        }
        let unknown = Patience::new()
            .bear(&Status::not_found("no such file"))
            .await;
        assert!(unknown.is_err());
    }

    fn refused(reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, "jeroboam", HashMap::new());
        Status::with_error_details(Code::ResourceExhausted, "no room", details)
    }
}
