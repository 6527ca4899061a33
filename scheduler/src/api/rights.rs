//! What a known caller may do, deny by default.
//!
//! - Submit: who is named as a submitter of the queue or one above it (the core
//!   decides that).
//! - Change a batch, read its logs, list its outputs: who submitted it, who may
//!   submit to its queue, and operators.
//! - Change queues and sites: operators, named in the scheduler's file; `local`
//!   is one, since where nobody has to say who they are all are trusted.
//! - Look at batches, jobs, queues, sites and nodes: every user.

use crate::auth::Caller;
use crate::convert::status::refusal;
use jeroboam_core::world::World;
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::{Code, Status};

/// Who is an operator; the rest is in the World.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    operators: Arc<BTreeSet<String>>,
}

impl Rights {
    /// With these operators.
    pub fn new(operators: BTreeSet<String>) -> Self {
        Rights {
            operators: Arc::new(operators),
        }
    }

    fn is_operator(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Local => true,
            Caller::User(name) => self.operators.contains(name),
            Caller::Site(_) => false,
        }
    }

    /// Whether a caller may change queues and sites.
    ///
    /// # Errors
    /// It is no operator.
    pub fn check_operator(&self, caller: &Caller) -> Result<(), Status> {
        if self.is_operator(caller) {
            return Ok(());
        }
        let message = format!("`{caller}` is no operator");
        let remedy = "ask an operator, or be named under `operators` in the scheduler's file";
        Err(refusal(
            Code::PermissionDenied,
            "NOT_OPERATOR",
            message,
            None,
            remedy,
        ))
    }

    /// Whether a caller may change the work that `by` submitted to a queue.
    ///
    /// # Errors
    /// The work is none of the caller's.
    pub fn check_change(
        &self,
        world: &World,
        caller: &Caller,
        queue: &str,
        by: &str,
    ) -> Result<(), Status> {
        let theirs =
            matches!(caller, Caller::User(name) if name == by || may_submit(world, queue, name));
        if theirs || self.is_operator(caller) {
            return Ok(());
        }
        let message =
            format!("`{caller}` has no right to the work of `{by}` in the queue `{queue}`");
        let remedy = "ask its submitter, or be named as a submitter of the queue";
        Err(refusal(
            Code::PermissionDenied,
            "NOT_YOURS",
            message,
            None,
            remedy,
        ))
    }

    /// Whether a caller may submit to a queue.
    pub fn may_submit(&self, world: &World, caller: &Caller, queue: &str) -> bool {
        matches!(caller, Caller::User(name) if may_submit(world, queue, name))
    }

    /// Whether a caller may see the logs and outputs of such work. Sites may:
    /// outputs of one job are inputs of another.
    ///
    /// # Errors
    /// The work is none of the caller's.
    pub fn check_see(
        &self,
        world: &World,
        caller: &Caller,
        queue: &str,
        by: &str,
    ) -> Result<(), Status> {
        match caller {
            Caller::Site(_) => Ok(()),
            Caller::User(_) | Caller::Local => self.check_change(world, caller, queue, by),
        }
    }
}

fn may_submit(world: &World, queue: &str, who: &str) -> bool {
    world
        .queues()
        .find(queue)
        .is_ok_and(|queue| world.queues().may_submit(queue, who))
}
