//! Counts how attempts end at nodes and sites, closes those that fail all the time, and
//! opens them again when their time is over. The rule itself is [`crate::health`].

use super::{Timer, World};
use crate::effect::Effect;
use crate::health::{Quarantine, Sign};
use crate::ids::{NodeId, SiteId, TaskId};
use crate::job::{Active, AttemptEnd, Outcome};
use crate::time::TimeMs;

impl World {
    /// After a site has reported an attempt's end, before the task is moved.
    pub(super) fn judge_place(
        &mut self,
        task: TaskId,
        active: &Active,
        end: &AttemptEnd,
        effects: &mut Vec<Effect>,
    ) {
        let Some(sign) = self.sign(active, end) else {
            return;
        };
        let (now, window_ms) = (self.now, self.policy.quarantine_window_ms);
        let id = self.jobs[&task.job].batch;
        let batch = self.batches.get_mut(&id);
        let batch = batch.expect("a job's batch is in memory");
        let succeeded_before = batch.has_succeeded;
        batch.has_succeeded |= sign == Sign::Success;
        let node = &mut self.nodes[active.node.index()];
        let site = &mut self.sites[node.site.index()];
        let at_node = node.health.weighs(sign, id, succeeded_before);
        let at_site = site.health.weighs(sign, id, succeeded_before);
        if at_node || at_site {
            self.fleet.count(now, window_ms, sign);
        }
        let (policy, fleet) = (&self.policy, &self.fleet);
        let (node_id, site_id) = (node.id, node.site);
        let closed_node = at_node
            .then(|| node.health.count(now, policy, sign, fleet, false))
            .flatten();
        let closed_site = at_site
            .then(|| site.health.count(now, policy, sign, fleet, true))
            .flatten();
        if let Some(quarantine) = closed_node {
            self.close_for_a_time(site_id, Some(node_id), quarantine, effects);
        }
        if let Some(quarantine) = closed_site {
            self.close_for_a_time(site_id, None, quarantine, effects);
        }
    }

    /// What an end says about its place; nothing if somebody ended it.
    fn sign(&self, active: &Active, end: &AttemptEnd) -> Option<Sign> {
        if active.is_stopping() {
            return None;
        }
        let ran_ms = end
            .usage
            .as_ref()
            .map_or(self.now - active.granted, |usage| {
                (usage.ended - usage.started).clamp(0, self.now - active.granted)
            });
        let quick = ran_ms <= self.policy.quarantine_quick_ms;
        match end.outcome {
            Outcome::Exit(0) => Some(Sign::Success),
            Outcome::NotRun => Some(Sign::Refused),
            Outcome::Exit(_) | Outcome::Signal(_) | Outcome::StartFailed(_) if quick => {
                Some(Sign::QuickFailure)
            }
            Outcome::Exit(_)
            | Outcome::Signal(_)
            | Outcome::WalltimeExceeded
            | Outcome::MemoryExceeded
            | Outcome::OutputsFailed(_) => Some(Sign::Ran),
            Outcome::StartFailed(_)
            | Outcome::ContactLost
            | Outcome::Lost
            | Outcome::Stopped
            | Outcome::Preempted(_)
            | Outcome::GangBroken
            | Outcome::PreemptedByHand { .. } => None,
        }
    }

    fn close_for_a_time(
        &mut self,
        site: SiteId,
        node: Option<NodeId>,
        quarantine: Quarantine,
        effects: &mut Vec<Effect>,
    ) {
        let timer = node.map_or(Timer::Site(site), Timer::Node);
        self.timers.insert((quarantine.until, timer));
        match node {
            Some(node) => self.index.touch_node(node),
            None => self.index.touch_site(site),
        }
        effects.push(Effect::Quarantined {
            site: self.sites[site.index()].spec.name.clone(),
            node: node.map(|node| self.nodes[node.index()].report.name.clone()),
            quarantine,
        });
    }

    /// A node's quarantine is over. The node may have been forgotten meanwhile, and its
    /// id be another's.
    pub(super) fn release_node(&mut self, id: NodeId, at: TimeMs) {
        let health = &mut self.nodes[id.index()].health;
        if health.quarantine.is_some_and(|ends| ends.until == at) {
            health.release();
            self.index.touch_node(id);
        }
    }

    /// A site's quarantine is over.
    pub(super) fn release_site(&mut self, id: SiteId, at: TimeMs) {
        let health = &mut self.sites[id.index()].health;
        if health.quarantine.is_some_and(|ends| ends.until == at) {
            health.release();
            self.index.touch_site(id);
        }
    }

    /// Ends a node's quarantine by hand, if it is in one.
    pub(super) fn pardon_node(&mut self, id: NodeId) {
        let health = &mut self.nodes[id.index()].health;
        if let Some(quarantine) = health.quarantine {
            self.timers.remove(&(quarantine.until, Timer::Node(id)));
        }
        self.fleet = self.fleet.without(health.pardon());
        self.index.touch_node(id);
    }

    /// Ends a site's quarantine by hand, if it is in one.
    pub(super) fn pardon_site(&mut self, id: SiteId) {
        let health = &mut self.sites[id.index()].health;
        if let Some(quarantine) = health.quarantine {
            self.timers.remove(&(quarantine.until, Timer::Site(id)));
        }
        self.fleet = self.fleet.without(health.pardon());
        self.index.touch_site(id);
    }
}
