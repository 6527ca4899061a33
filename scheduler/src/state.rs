//! All that the service knows, without its I/O: the World, and the site sessions
//! beside it.
//!
//! The rule: a method takes the time and an input and returns a [`Step`]; the
//! driver journals the step's events and releases the rest after the sync. Tests
//! and the simulator do the same with a journal and a network of their own.

use crate::dispatch::{Connection, Dispatch, FromSite, Hello, Leadership, Limits, ToSite};
use crate::step::Step;
use jeroboam_core::effect::Effect;
use jeroboam_core::event::Event;
use jeroboam_core::ids::SiteId;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::round::{Plan, plan_round};
use jeroboam_core::spec::BatchSpec;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_core::world::largest::{Shapes, TooLarge};

/// Batches that leave memory at one time, at most.
const RETIRED_PER_TICK_MAX: usize = 64;

/// The World and its sessions.
#[derive(Debug)]
pub struct State {
    /// What the journal holds.
    pub world: World,
    /// What it does not.
    pub dispatch: Dispatch,
    /// What the nodes have, as the World says; looked at again after each report.
    shapes: Shapes,
}

impl State {
    /// After the journal was read: nobody is connected.
    pub fn recovered(world: World, now: TimeMs, limits: Limits, leadership: Leadership) -> Self {
        let dispatch = Dispatch::recovered(&world, now, limits, leadership);
        State {
            world,
            dispatch,
            shapes: Shapes::default(),
        }
    }

    /// The first job of a batch that fits on no known node.
    pub fn too_large(&mut self, now: TimeMs, spec: &BatchSpec) -> Option<TooLarge> {
        self.shapes.too_large(&self.world, now, spec)
    }

    /// Applies one event that came from a user or the operator.
    ///
    /// # Errors
    /// What the World refused; nothing changed.
    pub fn apply(&mut self, now: TimeMs, event: Event) -> Result<Step, Rejected> {
        let mut step = Step::default();
        step.apply(&mut self.world, now, event)?;
        Ok(self.routed(step))
    }

    /// A stream begins.
    pub fn hello(&mut self, connection: Connection, hello: Hello) -> Step {
        self.dispatch.hello(&self.world, connection, hello)
    }

    /// An agent says something.
    pub fn receive(&mut self, now: TimeMs, connection: Connection, message: FromSite) -> Step {
        let step = self
            .dispatch
            .receive(&mut self.world, now, connection, message);
        self.routed(step)
    }

    /// A stream has ended by itself.
    pub fn disconnected(&mut self, now: TimeMs, connection: Connection) -> Step {
        let step = self.dispatch.disconnected(&mut self.world, now, connection);
        self.routed(step)
    }

    /// Plans one round.
    pub fn plan(&mut self, now: TimeMs) -> Plan {
        plan_round(&mut self.world, now)
    }

    /// Commits a plan that was just made; one that places nothing leaves no event.
    pub fn commit(&mut self, now: TimeMs, plan: &Plan) -> Step {
        let mut step = Step::default();
        if !plan.is_empty() {
            step.apply(&mut self.world, now, plan.clone().into_event())
                .expect("a plan is made on the World that it is applied to");
        }
        self.routed(step)
    }

    /// Plans one round and commits it.
    pub fn round(&mut self, now: TimeMs) -> (Step, Plan) {
        let plan = self.plan(now);
        (self.commit(now, &plan), plan)
    }

    /// What falls due with time: silent sites, and finished batches that leave memory.
    pub fn tick(&mut self, now: TimeMs) -> Step {
        let mut step = self.dispatch.expire(&mut self.world, now);
        let due: Vec<_> = self
            .world
            .retirable(now)
            .take(RETIRED_PER_TICK_MAX)
            .collect();
        for batch in due {
            step.apply(&mut self.world, now, Event::BatchRetired { batch })
                .expect("listed as retirable");
        }
        self.routed(step)
    }

    /// Turns grants and stops into messages over the sites' current streams. For a
    /// site without one nothing is said: its next inventory settles both.
    fn routed(&mut self, mut step: Step) -> Step {
        for event in &step.events {
            if let Event::CapacityReported { site, .. } = event {
                let site = self.world.find_site(site);
                self.shapes.changed(site.expect("it has just reported").id);
            }
        }
        let effects = std::mem::take(&mut step.effects);
        for effect in effects {
            match effect {
                Effect::Grant { site, lease } => self.say(&mut step, site, ToSite::Grant(lease)),
                Effect::Stop { site, lease } => self.say(&mut step, site, ToSite::Stop(lease)),
                kept @ (Effect::AttemptEnded(_)
                | Effect::BatchFinished(_)
                | Effect::Quarantined { .. }
                | Effect::Retired { .. }) => step.effects.push(kept),
            }
        }
        step
    }

    fn say(&self, step: &mut Step, site: SiteId, message: ToSite) {
        let name = &self.world.site(site).spec.name;
        if let Some(connection) = self.dispatch.current(name) {
            step.send(connection, message);
        }
    }
}
