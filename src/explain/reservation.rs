//! The room that is kept for a waiting task.

use jeroboam_proto::v1;
use jeroboam_units::Instant;
use serde::Serialize;

use crate::output;

/// Where room is kept, until when, and who leaves for it.
#[derive(Debug, Serialize)]
pub struct Reservation {
    places: Vec<Place>,
    promised: Option<Instant>,
    predicted_start: Option<Instant>,
    leaving: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Place {
    site: String,
    node: String,
    tasks: u32,
}

impl Reservation {
    /// Reads the wire's reservation.
    pub fn of(kept: v1::Reservation) -> Self {
        let place = |place: v1::ReservedPlace| Place {
            site: place.site,
            node: place.node,
            tasks: place.tasks,
        };
        let task = |task: v1::Task| format!("job-{}[{}]", task.job, task.index);
        Self {
            places: kept.places.into_iter().map(place).collect(),
            promised: output::moment(kept.promised_ms),
            predicted_start: output::moment(kept.predicted_start_ms),
            leaving: kept.leaving.into_iter().map(task).collect(),
        }
    }

    /// For the table of a task.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let place = |place: &Place| match place.tasks {
            0 | 1 => format!("{} at {}", place.node, place.site),
            tasks => format!("{} at {} ({tasks} tasks)", place.node, place.site),
        };
        let places: Vec<String> = self.places.iter().map(place).collect();
        let told = |at: Option<Instant>| at.map(|Instant(ms)| output::ago(ms)).unwrap_or_default();
        vec![
            ("room kept on", places.join(", ")),
            ("predicted start", told(self.predicted_start)),
            ("starts by", told(self.promised)),
            ("leaving for it", self.leaving.join(", ")),
        ]
    }
}
