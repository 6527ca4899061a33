//! The end of a life: everything comes to rest.

use std::collections::BTreeSet;

use jeroboam_core::event::{Event, QueueChange, Selection, Verb};
use jeroboam_core::ids::{BatchId, JobId, LeaseId};
use jeroboam_core::job::{AttemptEnd, Outcome};
use jeroboam_core::policy::Policy;
use jeroboam_core::site::Part;
use jeroboam_core::time::HOUR_MS;

use crate::life::Life;
use crate::make::{SITES, node, site};

impl Life {
    /// Opens everything, lets everything end well, cancels what fits nowhere: then every task
    /// that was ever acknowledged has ended exactly once, and nothing is held.
    pub fn finish(&mut self) {
        self.now = self.now + HOUR_MS;
        self.must(Event::PolicyChanged(Policy::default()));
        let queues: Vec<String> = self
            .world
            .queues()
            .iter()
            .skip(1)
            .map(|queue| queue.spec.name.clone())
            .collect();
        for name in queues {
            let change = QueueChange {
                cordon: Some(String::new()),
                ..QueueChange::default()
            };
            self.must(Event::QueueChanged { name, change });
        }
        for name in SITES {
            self.must(Event::SiteDeclared(site(name, false, 0)));
            self.must(Event::SiteClosed {
                name: name.into(),
                how: None,
                reason: String::new(),
                by: String::new(),
            });
            let known = self.world.find_site(name).unwrap();
            let downtimes: Vec<u32> = known.downtimes.iter().map(|downtime| downtime.id).collect();
            for id in downtimes {
                self.must(Event::DowntimeRemoved {
                    site: name.into(),
                    id,
                });
            }
            let known = self.world.find_site(name).unwrap();
            let clusters = known.closed_clusters.keys().cloned().map(Part::Cluster);
            let nodes = known.nodes.keys().cloned().map(Part::Node);
            for part in clusters.chain(nodes).collect::<Vec<_>>() {
                self.must(Event::PartClosed {
                    site: name.into(),
                    part,
                    how: None,
                    reason: String::new(),
                    by: String::new(),
                    until: None,
                });
            }
            self.must(Event::LeasesExpired { site: name.into() });
            self.session += 1_000;
            let site = self.world.find_site(name).unwrap();
            let (incarnation, leases) = (
                site.incarnation.clone().unwrap(),
                self.world.leases_at(site.id).collect(),
            );
            self.must(Event::SessionOpened {
                site: name.into(),
                session: self.session,
                incarnation,
                agent_version: String::new(),
                leases,
            });
            let nodes = vec![node(format!("{name}-0"), 12, 12, 2, 7)];
            self.must(Event::CapacityReported {
                site: name.into(),
                session: self.session,
                full: true,
                nodes,
                removed: vec![],
            });
        }
        let batches: Vec<BatchId> = self.world.batches().keys().copied().collect();
        for batch in &batches {
            let _ = self.apply(Event::TasksChanged {
                verb: Verb::Release,
                selection: Selection::Batch(*batch),
                by: "alice".into(),
                reason: String::new(),
            });
        }
        let mut rounds = 0;
        while self.end_all() + self.round() > 0 {
            rounds += 1;
            assert!(rounds < 1_000, "it never comes to rest");
        }
        for batch in &batches {
            let _ = self.apply(Event::TasksChanged {
                verb: Verb::Cancel,
                selection: Selection::Batch(*batch),
                by: "alice".into(),
                reason: String::new(),
            });
            assert!(
                self.world.batches()[batch].finished.is_some(),
                "{batch} is not finished"
            );
            self.must(Event::BatchRetired { batch: *batch });
        }
        assert!(
            self.world.jobs().is_empty()
                && self.world.nodes().iter().all(|node| node.held.is_zero())
        );
        let all: BTreeSet<JobId> = self.acknowledged.keys().copied().collect();
        assert_eq!(self.retired, all, "every acknowledged job retires once");
        let granted: BTreeSet<LeaseId> = self.granted.iter().copied().collect();
        assert_eq!(self.ended, granted, "every lease ends once");
    }

    fn end_all(&mut self) -> usize {
        let sites = self.world.sites().iter();
        let open: Vec<LeaseId> = sites
            .flat_map(|site| self.world.leases_at(site.id))
            .collect();
        for lease in &open {
            self.must(Event::AttemptEnded {
                lease: *lease,
                end: AttemptEnd::bare(Outcome::Exit(0)),
            });
        }
        open.len()
    }
}
