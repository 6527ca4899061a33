//! When a waiting task would start.

use jeroboam_proto::v1;
use jeroboam_units::Instant;
use serde::Serialize;

use crate::output;

/// What `--predict` found.
#[derive(Debug, Serialize)]
pub(super) struct Prediction {
    /// Stable.
    code: String,
    text: String,
    /// When it starts; with other codes, until when was looked.
    at: Option<Instant>,
    site: Option<String>,
    node: Option<String>,
}

impl Prediction {
    /// Reads the wire's prediction.
    pub(super) fn of(found: v1::Prediction) -> Self {
        let named = |name: String| (!name.is_empty()).then_some(name);
        Self {
            code: found.code,
            text: found.text,
            at: output::moment(found.at_ms),
            site: named(found.site),
            node: named(found.node),
        }
    }

    /// For the table of a task.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let when = self
            .at
            .map(|Instant(ms)| output::ago(ms))
            .unwrap_or_default();
        let place = self.node.as_ref().zip(self.site.as_ref());
        let place = place.map(|(node, site)| format!(" on {node} at {site}"));
        let text = &self.text;
        vec![match self.code.as_str() {
            "starts" => (
                "would start",
                format!("{when}{}, {text}", place.unwrap_or_default()),
            ),
            "never" => ("would start", format!("never, {text} ({when})")),
            "ended" => ("would end", format!("{when}, {text}")),
            _ => ("would start", format!("not before {when}: {text}")),
        }]
    }
}
