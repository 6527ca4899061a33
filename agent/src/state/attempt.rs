//! One attempt, as the state machine follows it.

use super::vocabulary::Ended;

/// What is known of an attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    /// How far it is.
    pub progress: Progress,
    /// Its shim ends it at the contact deadline.
    pub fenced: bool,
    /// Files have to be fetched before the start.
    pub needs_files: bool,
    /// The contact deadline that its shim knows, or will know.
    pub deadline_ms: i64,
    /// The current session renews it.
    pub kept: bool,
    /// The scheduler wants it to end.
    pub stopping: bool,
}

/// How far an attempt is; each step follows only from the one before, save that
/// any but the last two may go straight to `Collecting`.
#[derive(Debug)]
pub(super) enum Progress {
    /// Its lease is being made durable.
    Persisting,
    /// Its inputs are being fetched.
    Fetching,
    /// Its shim is being started.
    Spawning,
    /// Its shim was started.
    Running,
    /// No shim runs it any more; outputs are being stored.
    Collecting,
    /// To be reported until acknowledged.
    Ended(Box<Ended>),
}

impl Attempt {
    /// True if its shim may still read a deadline: not before there is a place to
    /// write it, not after its end.
    pub fn has_directory(&self) -> bool {
        match self.progress {
            Progress::Fetching | Progress::Spawning | Progress::Running => true,
            Progress::Persisting | Progress::Collecting | Progress::Ended(_) => false,
        }
    }
}
