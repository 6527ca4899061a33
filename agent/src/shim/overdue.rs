//! When a job should be over by its shim's doing: what others go by who watch
//! the shim, since a job without a PID namespace can stop or kill it.
//!
//! Pure; times are boottime ms. The guard asks with the shim's own knowledge,
//! the driver with what stands on the disk. Neither is asked while a shim does
//! its duty: both give it its grace and some seconds more.

use crate::attempt::Outcome;

/// A job's limits in time, and whether it was asked to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overdue {
    /// The walltime limit, from the start.
    pub(crate) walltime_due_ms: Option<i64>,
    /// The contact deadline; `None` waits without contact.
    pub(crate) contact_due_ms: Option<i64>,
    /// When the first stop was asked for.
    pub(crate) stop_asked_ms: Option<i64>,
    /// From SIGTERM to SIGKILL.
    pub(crate) grace_ms: i64,
}

impl Overdue {
    /// What ends the job first: when the shim begins to end it, and as what.
    pub(crate) fn first(&self) -> Option<(i64, Outcome)> {
        let ends = [
            (self.stop_asked_ms, Outcome::Stopped),
            (self.walltime_due_ms, Outcome::WalltimeExceeded),
            (self.contact_due_ms, Outcome::ContactLost),
        ];
        let known = ends
            .into_iter()
            .filter_map(|(due_ms, outcome)| Some((due_ms?, outcome)));
        known.min_by_key(|(due_ms, _)| *due_ms)
    }

    /// When the job's tree must be dead, `margin_ms` after it should be.
    pub(crate) fn dead_by_ms(&self, margin_ms: i64) -> Option<(i64, Outcome)> {
        let (due_ms, outcome) = self.first()?;
        let dead_by_ms = due_ms
            .saturating_add(self.grace_ms)
            .saturating_add(margin_ms);
        Some((dead_by_ms, outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_limit_counts_and_gives_its_grace() {
        let mut overdue = Overdue {
            walltime_due_ms: None,
            contact_due_ms: None,
            stop_asked_ms: None,
            grace_ms: 10,
        };
        assert_eq!(overdue.dead_by_ms(5), None);
        overdue.contact_due_ms = Some(200);
        assert_eq!(overdue.dead_by_ms(5), Some((215, Outcome::ContactLost)));
        overdue.walltime_due_ms = Some(100);
        let dead_by = overdue.dead_by_ms(5);
        assert_eq!(dead_by, Some((115, Outcome::WalltimeExceeded)));
        overdue.stop_asked_ms = Some(50);
        assert_eq!(overdue.dead_by_ms(5), Some((65, Outcome::Stopped)));
        overdue.walltime_due_ms = Some(i64::MAX);
        overdue.stop_asked_ms = None;
        overdue.contact_due_ms = None;
        let never = overdue.dead_by_ms(5).map(|(due_ms, _)| due_ms);
        assert_eq!(never, Some(i64::MAX));
    }
}
