//! What one input to the scheduler's state brought about: events for the
//! journal, and what leaves once they are durable.

use crate::dispatch::{Closing, Connection, ToSite};
use jeroboam_core::effect::Effect;
use jeroboam_core::event::Event;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

/// Everything in it happened at one time and is journalled together.
#[derive(Debug, Default)]
pub struct Step {
    /// Applied to the World, in this order.
    pub events: Vec<Event>,
    /// What the events ask of the outside.
    pub effects: Vec<Effect>,
    /// Said to agents after the sync, in this order.
    pub sends: Vec<(Connection, ToSite)>,
    /// Streams to be closed after the sync, and why.
    pub closes: Vec<(Connection, Closing)>,
}

impl Step {
    /// Applies an event and keeps it, with its effects.
    ///
    /// # Errors
    /// What the World refused; nothing is kept.
    pub fn apply(&mut self, world: &mut World, now: TimeMs, event: Event) -> Result<(), Rejected> {
        let effects = world.apply(now, &event)?;
        self.events.push(event);
        self.effects.extend(effects);
        Ok(())
    }

    /// Applies what a site reports. A refusal means that it speaks of something
    /// that has ended here already: there is nothing to keep.
    pub fn apply_report(&mut self, world: &mut World, now: TimeMs, event: Event) {
        if let Err(rejected) = self.apply(world, now, event) {
            tracing::debug!(%rejected, "a report came too late");
        }
    }

    /// Says something to an agent.
    pub fn send(&mut self, connection: Connection, message: ToSite) {
        self.sends.push((connection, message));
    }

    /// Ends a stream.
    pub fn close(&mut self, connection: Connection, closing: Closing) {
        self.closes.push((connection, closing));
    }
}
