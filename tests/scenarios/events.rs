//! Lines of a story that are events.

use std::collections::BTreeSet;

use jeroboam_core::event::{Event, Placement, QueueChange, Selection, Verb};
use jeroboam_core::ids::{LeaseId, NodeId, TaskId};
use jeroboam_core::queue::{Limit, QueueSpec, TaskBounds};
use jeroboam_core::resources::Resources;
use jeroboam_core::site::{Closing, Part};
use jeroboam_core::world::World;

use crate::runner::{Runner, START};
use crate::submission::isolation;
use crate::words::Words;
use crate::{describe, sites, submission};

impl Runner {
    /// The event that a line tells of.
    pub fn event_of(&mut self, line: &Words<'_>, below: &[Words<'_>]) -> Event {
        let name = || line.word(1).to_string();
        match line.word(0) {
            "policy" => Event::PolicyChanged(describe::policy(line, &self.world)),
            "site" => Event::SiteDeclared(sites::site(line, START)),
            "withdraw" => Event::SiteWithdrawn { name: name() },
            "cordon" => self.close(line, Some(Closing::Cordon)),
            "drain" => self.close(line, Some(Closing::Drain)),
            "resume" => self.close(line, None),
            "downtime" => Event::DowntimeDeclared {
                site: name(),
                part: part(line),
                from: self.now + line.span_ms(line.or("from", "0s")),
                until: self.now + line.span_ms(line.or("until", "1h")),
                reason: line.or("reason", "works").to_string(),
                by: "olga".into(),
            },
            "no-downtime" => Event::DowntimeRemoved {
                site: name(),
                id: line.parse(line.word(2)),
            },
            "expire" => Event::LeasesExpired { site: name() },
            "restart" => Event::Started {
                term: self.world.term() + 1,
            },
            "restore" => Event::Restored {
                lineage: self.world.lineage() + 1,
                quarantine_until: self.now + line.span_ms(line.or("quarantine", "1h")),
            },
            "session" | "inventory" => self.session(line),
            "node" | "gone" | "only" => self.capacity(line),
            "queue" => Event::QueueCreated(QueueSpec {
                name: name(),
                weight: line.parse(line.or("weight", "1")),
                guarantee: guarantee(line, &self.world).unwrap_or_default(),
                limit: limit(line, &self.world).unwrap_or_default(),
                queued_max: line.option("queued_max").map(|text| line.parse(text)),
                bounds: TaskBounds::default().with(&bounds(line)),
                submitters: submitters(line).unwrap_or_else(|| ["*".to_string()].into()),
                isolation: isolation(line).unwrap_or_default(),
                tenant: line.has("tenant"),
            }),
            "queue-set" => Event::QueueChanged {
                name: name(),
                change: QueueChange {
                    weight: line.option("weight").map(|text| line.parse(text)),
                    queued_max: line.option("queued_max").map(|text| line.parse(text)),
                    cordon: line.option("cordon").map(str::to_string),
                    submitters: submitters(line),
                    bounds: bounds(line),
                    guarantee: guarantee(line, &self.world),
                    limit: limit(line, &self.world),
                    isolation: isolation(line),
                    tenant: line.option("tenant").map(|text| line.parse(text)),
                },
            },
            "submit" => self.submit(line, below),
            "cancel" => self.change(line, Verb::Cancel),
            "hold" => self.change(line, Verb::Hold),
            "release" => self.change(line, Verb::Release),
            "retry" => self.change(line, Verb::Retry),
            "preempt" => self.change(line, Verb::Preempt),
            "set" => {
                let priority = line.or("priority", "0");
                self.change(line, Verb::Prioritise(line.parse(priority)))
            }
            "place" => self.place(line),
            "retire" => match sites::selection(line, line.word(1)) {
                Selection::Batch(batch) => Event::BatchRetired { batch },
                _ => line.fail("only batches retire"),
            },
            other => line.fail(&format!("unknown word `{other}`")),
        }
    }

    fn close(&self, line: &Words<'_>, how: Option<Closing>) -> Event {
        let part = part(line);
        Event::PartClosed {
            site: line.word(1).to_string(),
            part,
            how,
            reason: line.or("reason", "maintenance").to_string(),
            by: line.or("by", "operator").to_string(),
            until: line.option("for").map(|span| self.now + line.span_ms(span)),
        }
    }

    fn change(&self, line: &Words<'_>, verb: Verb) -> Event {
        Event::TasksChanged {
            verb,
            selection: sites::selection(line, line.word(1)),
            by: line.or("by", "alice").to_string(),
            reason: line.or("reason", "").to_string(),
        }
    }

    fn submit(&mut self, line: &Words<'_>, below: &[Words<'_>]) -> Event {
        self.submissions += 1;
        let spec = submission::batch(line, below, &self.world);
        let request_id = match line.option("request") {
            Some(id) => id.to_string(),
            None => format!("request-{}", self.submissions),
        };
        // Stands in for the digest that the service computes: equal for equal specifications.
        let mut digest = [0; 32];
        for (position, byte) in format!("{spec:?}").bytes().enumerate() {
            digest[position % 32] = u8::wrapping_mul(digest[position % 32], 31) ^ byte;
        }
        Event::BatchSubmitted {
            request_id,
            digest,
            by: line.or("by", "alice").to_string(),
            spec,
        }
    }

    /// `place job-1[0] n1 [job-1[1] n2 ..]`: a plan made by hand.
    fn place(&self, line: &Words<'_>) -> Event {
        let placement = |pair: &[&str]| {
            let Selection::Job(job, Some(indexes)) = sites::selection(line, pair[0]) else {
                line.fail("place what?");
            };
            let node = self
                .world
                .nodes()
                .iter()
                .find(|node| node.report.name == pair[1]);
            Placement {
                task: TaskId {
                    job,
                    index: indexes.first().unwrap_or(0),
                },
                node: node.map_or(NodeId(9_999), |node| node.id),
                way: None,
            }
        };
        Event::PlanCommitted {
            placements: line.from(1).chunks(2).map(placement).collect(),
            preemptions: Vec::new(),
            reservations: None,
        }
    }

    fn session(&mut self, line: &Words<'_>) -> Event {
        let site = line.word(1).to_string();
        if line.word(0) == "session" && line.word(2) == "down" {
            let session = self.current(line);
            return Event::SessionClosed { site, session };
        }
        self.session += 1;
        let leases: BTreeSet<LeaseId> = if line.word(0) == "session" {
            let id = self.world.find_site(&site).map(|site| site.id);
            id.map(|id| self.world.leases_at(id).collect())
                .unwrap_or_default()
        } else {
            let named = line.from(2).iter();
            named
                .flat_map(|text| sites::leases(line, text, &self.world))
                .collect()
        };
        Event::SessionOpened {
            incarnation: line.or("by", &site).to_string(),
            site,
            session: line
                .option("as")
                .map_or(self.session, |text| line.parse(text)),
            agent_version: "1.0".into(),
            leases,
        }
    }

    /// The session that a line speaks for: the site's current one, or `as=NUMBER`.
    fn current(&self, line: &Words<'_>) -> u64 {
        let site = self.world.find_site(line.word(1));
        let current = site.ok().and_then(|site| site.session).unwrap_or(0);
        line.option("as").map_or(current, |text| line.parse(text))
    }

    fn capacity(&self, line: &Words<'_>) -> Event {
        let site = line.word(1).to_string();
        let known = |name: &&str| {
            let nodes = self.world.nodes().iter();
            let node = nodes
                .map(|node| &node.report)
                .find(|report| report.name == **name);
            node.cloned().unwrap_or_else(|| line.fail("no such node"))
        };
        let full = line.word(0) == "only";
        let (nodes, removed) = match line.word(0) {
            "node" => (vec![sites::node(line, &self.world)], Vec::new()),
            "only" => (line.from(2).iter().map(known).collect(), Vec::new()),
            _ => (
                Vec::new(),
                line.from(2).iter().map(|name| name.to_string()).collect(),
            ),
        };
        Event::CapacityReported {
            session: self.current(line),
            site,
            full,
            nodes,
            removed,
        }
    }
}

fn submitters(line: &Words<'_>) -> Option<BTreeSet<String>> {
    let names = line.option("submitters")?;
    Some(names.split(',').map(str::to_string).collect())
}

/// All of a site, or what `node=` or `cluster=` names.
fn part(line: &Words<'_>) -> Part {
    match (line.option("node"), line.option("cluster")) {
        (Some(node), _) => Part::Node(node.to_string()),
        (None, Some(cluster)) => Part::Cluster(cluster.to_string()),
        (None, None) => Part::Site,
    }
}

/// How many tasks at most.
fn bounds(line: &Words<'_>) -> TaskBounds {
    let max = |key| line.option(key).map(|text| line.parse(text));
    TaskBounds {
        running_max: max("running_max"),
        user_running_max: max("user_running_max"),
        user_queued_max: max("user_queued_max"),
    }
}

fn guarantee(line: &Words<'_>, world: &World) -> Option<Resources> {
    let mut guarantee = Resources::ZERO;
    for (dimension, amount) in line.amounts("guarantee", world)? {
        guarantee[dimension] = amount;
    }
    Some(guarantee)
}

fn limit(line: &Words<'_>, world: &World) -> Option<Limit> {
    let mut limit = Limit::default();
    for (dimension, amount) in line.amounts("limit", world)? {
        limit.0[dimension] = Some(amount);
    }
    Some(limit)
}
