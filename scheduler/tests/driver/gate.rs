//! An engine that lets writes through one by one, to see what happens before.

use jeroboam_scheduler::store::StoreError;
use jeroboam_scheduler::store::engine::memory::{MemoryDisk, MemoryEngine};
use jeroboam_scheduler::store::engine::{Engine, Mark, Tree, TreeName, Write};
use jeroboam_scheduler::store::journal::Sequence;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Decides how many writes may pass; clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<Passage>, Condvar)>);

#[derive(Debug, Default)]
struct Passage {
    /// `None` lets everything pass.
    permits: Option<u64>,
    waiting: bool,
    passed: u64,
}

impl Gate {
    /// Nothing passes any more.
    pub fn close(&self) {
        self.passage().permits = Some(0);
    }

    /// One more write passes.
    pub fn allow_one(&self) {
        let mut passage = self.passage();
        let permits = passage.permits.expect("the gate was closed before");
        passage.permits = Some(permits + 1);
        self.0.1.notify_all();
    }

    /// Everything passes.
    pub fn open(&self) {
        self.passage().permits = None;
        self.0.1.notify_all();
    }

    /// Writes that have passed.
    pub fn passed(&self) -> u64 {
        self.passage().passed
    }

    /// Returns once a write waits at the gate.
    pub fn await_write(&self) {
        let (_passage, timeout) = self
            .0
            .1
            .wait_timeout_while(self.passage(), PATIENCE, |passage| !passage.waiting)
            .expect("nobody panics with it");
        assert!(!timeout.timed_out(), "no write came to the gate");
    }

    fn pass(&self) {
        let mut passage = self.passage();
        while passage.permits == Some(0) {
            passage.waiting = true;
            self.0.1.notify_all();
            passage = self.0.1.wait(passage).expect("nobody panics with it");
        }
        passage.waiting = false;
        passage.passed += 1;
        if let Some(permits) = &mut passage.permits {
            *permits -= 1;
        }
    }

    fn passage(&self) -> MutexGuard<'_, Passage> {
        self.0.0.lock().expect("nobody panics with it")
    }
}

/// A memory engine behind a gate.
pub struct GatedEngine {
    engine: MemoryEngine,
    gate: Gate,
}

impl GatedEngine {
    /// On a disk that may hold something already.
    pub fn on(disk: &MemoryDisk, gate: &Gate) -> Self {
        GatedEngine {
            engine: disk.engine(),
            gate: gate.clone(),
        }
    }
}

impl Engine for GatedEngine {
    fn apply(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.gate.pass();
        self.engine.apply(writes)
    }

    fn acknowledge(&mut self, through: Sequence) -> Result<(), StoreError> {
        self.engine.acknowledge(through)
    }

    fn acknowledged(&self) -> Result<Mark, StoreError> {
        self.engine.acknowledged()
    }

    fn tree(&self, name: TreeName) -> Arc<dyn Tree> {
        self.engine.tree(name)
    }

    fn path(&self) -> &Path {
        self.engine.path()
    }

    fn mark_path(&self) -> &Path {
        self.engine.mark_path()
    }
}
