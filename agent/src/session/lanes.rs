//! Threads for what touches the disk.
//!
//! All work of one attempt goes through one lane, in order: a deadline never
//! overtakes a later one, a removal never an earlier write. What the agent
//! writes about itself has a lane of its own. Lanes run side by side, so that
//! the syncs of many attempts share the disk's commits. Queues are unbounded but
//! hold a few entries per attempt, and one per stream, at most.

use std::io;
use std::sync::mpsc;
use std::thread;

use crate::attempt::LeaseId;

type Work = Box<dyn FnOnce() + Send>;

const LANES: usize = 8;

/// The lanes; their threads end when this is dropped and the work is done.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<mpsc::Sender<Work>>,
    own: mpsc::Sender<Work>,
}

impl Lanes {
    /// Starts the threads.
    pub fn start() -> io::Result<Self> {
        let lane = |name: String| {
            let (sender, receiver) = mpsc::channel::<Work>();
            thread::Builder::new()
                .name(name)
                .spawn(move || receiver.into_iter().for_each(|work| work()))?;
            Ok(sender)
        };
        let own = lane("agent".to_owned())?;
        let attempts = (0..LANES).map(|number| lane(format!("attempts-{number}")));
        let lanes = attempts.collect::<io::Result<_>>()?;
        Ok(Self { lanes, own })
    }

    /// Does something about an attempt, after all that was asked before.
    pub fn run(&self, lease: LeaseId, work: impl FnOnce() + Send + 'static) {
        let spread = lease.job.wrapping_mul(31).wrapping_add(lease.index.into());
        let lane = spread as usize % self.lanes.len();
        send(&self.lanes[lane], Box::new(work));
    }

    /// Does something about the agent itself, after all that was asked before.
    pub fn run_own(&self, work: impl FnOnce() + Send + 'static) {
        send(&self.own, Box::new(work));
    }
}

/// A lane is gone only if its thread panicked, which is a defect that must not
/// pass for a full disk.
fn send(lane: &mpsc::Sender<Work>, work: Work) {
    lane.send(work).expect("lanes live as long as this does");
}
