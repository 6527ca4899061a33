//! How a task ended: the last word on it, for those who ask why.

use jeroboam_proto::v1;
use serde::Serialize;

use crate::jobs::Attempt;
use crate::output::{self, Counts};

/// The end of a task, in JSON.
#[derive(Debug, Serialize)]
pub(super) struct End {
    /// Stable; empty for a success.
    reason: String,
    text: String,
    remedy: String,
    /// The last one, if it ever had one that is still known.
    attempt: Option<Attempt>,
    /// What it was cancelled for.
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Serialize)]
struct Dependency {
    job: String,
    name: String,
    tasks: Counts,
}

impl End {
    pub(super) fn of(end: v1::TaskEnd) -> Self {
        let dependencies = end.dependencies.into_iter().map(|needed| Dependency {
            job: format!("job-{}", needed.job),
            name: needed.name,
            tasks: output::counts(&needed.tasks),
        });
        Self {
            dependencies: dependencies.collect(),
            reason: end.reason,
            text: end.text,
            remedy: end.remedy,
            attempt: end.attempt.map(Attempt::of),
        }
    }

    /// For tables, of the task that is written so. Its standard error says more
    /// where it ran and did not succeed; mostly the remedy says that already.
    pub(super) fn facts(&self, task: &str) -> Vec<(&'static str, String)> {
        let attempt = self.attempt.as_ref();
        let succeeded = self.reason.is_empty();
        let because = if succeeded { "" } else { &self.text };
        let mut facts = vec![
            ("because", because.to_owned()),
            ("do", self.remedy.clone()),
            (
                "last attempt",
                attempt.map(Attempt::told).unwrap_or_default(),
            ),
        ];
        let needed = self.dependencies.iter().map(|needed| {
            let (job, name) = (&needed.job, &needed.name);
            let tasks = output::counts_text(&needed.tasks);
            ("needed", format!("{name} ({job}): {tasks}"))
        });
        facts.extend(needed);
        if attempt.is_some() && !succeeded && !self.remedy.contains("jero logs") {
            facts.push(("what it wrote", format!("jero logs '{task}' --stderr")));
        }
        facts
    }
}
