//! What somebody did to a job's tasks by hand, in words.

use jeroboam_proto::v1;
use jeroboam_proto::v1::change_request::Verb;
use jeroboam_units::Instant;
use serde::Serialize;

use crate::output;

/// The last change by hand, in JSON.
#[derive(Debug, Serialize)]
pub struct ByHand {
    verb: &'static str,
    by: String,
    why: String,
    at: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
}

impl ByHand {
    /// Reads the wire's.
    pub fn of(change: v1::ByHand) -> Self {
        let verb = change.verb();
        Self {
            verb: match verb {
                Verb::Unspecified => "change",
                Verb::Cancel => "cancel",
                Verb::Hold => "hold",
                Verb::Release => "release",
                Verb::Retry => "retry",
                Verb::Preempt => "preempt",
                Verb::Prioritise => "set",
            },
            at: output::moment(change.at_ms),
            priority: (verb == Verb::Prioritise).then_some(change.priority),
            by: change.by,
            why: change.why,
        }
    }

    /// `cancel by alice: wrong input`.
    pub fn text(&self) -> String {
        let verb = match self.priority {
            Some(priority) => format!("set priority {priority}"),
            None => self.verb.to_owned(),
        };
        format!("{verb} by {}", said(&self.by, &self.why))
    }
}

/// `alice`, or `alice: why`; nothing where nobody is named.
pub fn said(by: &str, why: &str) -> String {
    match (by, why) {
        ("", _) => String::new(),
        (by, "") => by.to_owned(),
        (by, why) => format!("{by}: {why}"),
    }
}
