//! Places kept for a task or gang that does not fit yet: decided in a round, kept in
//! the World, looked at again by every round ([`crate::round`]).

use crate::ids::{JobId, NodeId};
use crate::time::TimeMs;
use serde::{Deserialize, Serialize};

/// A claim on room that is to become free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Whose.
    pub job: JobId,
    /// One task, or all of a gang.
    pub tasks: Vec<u32>,
    /// Where; the counts add up to the tasks.
    pub places: Vec<Place>,
    /// It is given up when it would have to wait longer than this.
    pub promised: TimeMs,
    /// The room is being freed by preemption: it is kept whole until those who had it
    /// are gone, and nobody passes.
    pub freed: bool,
}

/// Room for some tasks on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which.
    pub node: NodeId,
    /// For how many tasks.
    pub tasks: u32,
}
