//! What the file declares, as events: only what differs from the World.

use super::error::{ConfigError, Step, Text};
use super::{Config, SiteConfig};
use jeroboam_core::event::Event;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use std::collections::BTreeSet;

impl Config {
    /// The events that make the World agree with the file: the policy, sites
    /// declared and withdrawn, and queues that are missing, parents first.
    ///
    /// Queues that are there stay as they are: `jero queue set` changed them.
    pub fn events(&self, world: &World) -> Vec<Event> {
        let mut events = Vec::new();
        if *world.policy() != self.policy {
            events.push(Event::PolicyChanged(self.policy.clone()));
        }
        self.site_events(world, &mut events);
        let mut queues: Vec<_> = self.queues.iter().collect();
        // Stable: siblings keep the file's order.
        queues.sort_by_key(|queue| queue.name.matches('.').count());
        let missing = queues
            .into_iter()
            .filter(|queue| world.queues().find(&queue.name).is_err());
        events.extend(missing.cloned().map(Event::QueueCreated));
        events
    }

    fn site_events(&self, world: &World, events: &mut Vec<Event>) {
        for SiteConfig { spec, .. } in &self.sites {
            let same = world
                .find_site(&spec.name)
                .is_ok_and(|site| site.spec == *spec && !site.withdrawn);
            if !same {
                events.push(Event::SiteDeclared(spec.clone()));
            }
        }
        let declared: BTreeSet<&str> = self
            .sites
            .iter()
            .map(|site| site.spec.name.as_str())
            .collect();
        for site in world.sites() {
            if !site.withdrawn && !declared.contains(site.spec.name.as_str()) {
                events.push(Event::SiteWithdrawn {
                    name: site.spec.name.clone(),
                });
            }
        }
    }

    /// Applies what the file declares to an empty World, so that a fault is found
    /// with its place before anything runs.
    pub(super) fn check_declared(&self, source: &Text<'_>) -> Result<(), ConfigError> {
        let mut world = World::default();
        // It names the resources that queues may be guaranteed.
        let policy = Event::PolicyChanged(self.policy.clone());
        world
            .apply(TimeMs(1), &policy)
            .map_err(|rejected| source.wrong(&[], rejected.to_string(), rejected.remedy()))?;
        let mut seen = BTreeSet::new();
        for (position, site) in self.sites.iter().enumerate() {
            let at = [Step::Key("site"), Step::Entry(position), Step::Key("name")];
            if !seen.insert(&site.spec.name) {
                let what = format!("the site `{}` is declared twice", site.spec.name);
                return Err(source.wrong(&at, what, "remove one of the two"));
            }
            let declared = Event::SiteDeclared(site.spec.clone());
            world
                .apply(TimeMs(1), &declared)
                .map_err(|rejected| source.wrong(&at, rejected.to_string(), rejected.remedy()))?;
        }
        let mut queues: Vec<_> = self.queues.iter().enumerate().collect();
        queues.sort_by_key(|(_, queue)| queue.name.matches('.').count());
        for (position, queue) in queues {
            let created = Event::QueueCreated(queue.clone());
            world.apply(TimeMs(1), &created).map_err(|rejected| {
                let key = match rejected.place() {
                    Some("queue.guarantee") => "guarantee",
                    _ => "name",
                };
                let at = [Step::Key("queue"), Step::Entry(position), Step::Key(key)];
                source.wrong(&at, rejected.to_string(), rejected.remedy())
            })?;
        }
        Ok(())
    }
}
