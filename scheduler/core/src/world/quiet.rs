//! Whether a round could come to anything: what the World remembers of the last one that
//! decided nothing.
//!
//! The rule it keeps: a round is left out only if one on the same World, with nothing
//! remembered, would decide nothing. So every event but news of attempts that start
//! ends the quiet, and so does every moment at which time alone changes what a round
//! sees: those of the World's timers by ringing, the others as edges that are known before.

use super::World;
use crate::event::Event;
use crate::ids::QueueId;
use crate::queue::Queue;
use crate::time::TimeMs;

/// A cache of the World, not a part of it.
#[derive(Debug, Clone, Default)]
pub struct Quiet {
    /// The last round decided nothing, and none before this time would.
    until: Option<TimeMs>,
}

impl World {
    /// True if a round now would decide nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.until.is_some_and(|until| self.now < until)
    }

    /// A round has just decided nothing; at `edge` what it saw of reservations changes.
    pub(crate) fn fall_quiet(&mut self, edge: Option<TimeMs>) {
        let mut until = edge.map_or(self.step_end, |edge| edge.min(self.step_end));
        let edges = [self.next_preemptible(), self.preempted.falls_at(self.now)];
        for edge in edges.into_iter().flatten() {
            until = until.min(edge);
        }
        for site in &self.sites {
            let contract = site.spec.contract;
            let edges = contract.map(|contract| [contract.start, contract.end]);
            let edges = edges.into_iter().flatten().chain([site.quarantined_until]);
            let edges = edges.chain(site.downtimes.iter().map(|downtime| downtime.from));
            for edge in edges.filter(|edge| *edge > self.now) {
                until = until.min(edge);
            }
        }
        self.quiet.until = Some(until);
    }

    /// After a round that decided nothing: when another could, if no event comes before;
    /// `None` where time alone will change nothing for anybody, which it may only while
    /// something `runs`, a timer is set, or a contract is to begin.
    pub(crate) fn next_edge(&self, runs: bool) -> Option<TimeMs> {
        let contracts = self.sites.iter().filter_map(|site| site.spec.contract);
        let contract = contracts.map(|contract| contract.start);
        let restored = self.sites.iter().map(|site| site.quarantined_until);
        let begins = contract.chain(restored).filter(|at| *at > self.now).min();
        let timer = self.timers.first().map(|(at, _)| *at);
        if !runs && begins.is_none() && timer.is_none() {
            return None;
        }
        timer.into_iter().chain(self.quiet.until).min()
    }

    /// When the next of those that run may be preempted; asked only where a guarantee or
    /// a higher class could want it.
    fn next_preemptible(&self) -> Option<TimeMs> {
        let guaranteed = |queue: &Queue| !queue.spec.guarantee.is_zero();
        let outranked = self.queues.queue(QueueId::ROOT).may_be_outranked();
        if !outranked && !self.queues.iter().any(guaranteed) {
            return None;
        }
        let active = self.jobs.values().flat_map(|job| job.tasks.active.values());
        let edges = active.map(|active| active.granted + self.policy.preempt_after_ms);
        edges.filter(|edge| *edge > self.now).min()
    }

    /// An event was applied.
    pub(super) fn stir(&mut self, event: &Event) {
        if !matches!(
            event,
            Event::AttemptStarting { .. } | Event::AttemptRunning { .. }
        ) {
            self.quiet.until = None;
        }
    }
}

/// A cache says nothing of its own.
impl PartialEq for Quiet {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Quiet {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ids::SiteId;
    use crate::round::plan_round;
    use crate::site::{Part, SiteSpec};
    use crate::world::Timer;

    /// What a timer changes may let somebody go: a round is made again.
    #[test]
    fn a_timer_that_rings_ends_the_quiet() {
        let mut world = World::default();
        let now = TimeMs(1_000_000);
        let site = Event::SiteDeclared(SiteSpec {
            name: "s".into(),
            region: String::new(),
            contract: None,
        });
        world.apply(now, &site).unwrap();
        let rings = now + 30_000;
        world
            .timers
            .insert((rings, Timer::Open(SiteId(0), Part::Site)));
        assert!(plan_round(&mut world, now).is_empty());
        world.move_on(rings + -1);
        assert!(world.is_quiet());
        world.move_on(rings);
        assert!(!world.is_quiet());
    }
}
