//! The World of a described state, made by events alone, in the order of their times.
//!
//! Names of queues, sites and jobs are the file's own and may be anything; in the
//! World they go by their positions. A past longer than sixteen half-lives of the
//! usage is shortened to that: more of it cannot be told from none.

mod kernels;

use std::collections::BTreeMap;

use jeroboam_core::event::{Event, Placement, QueueChange};
use jeroboam_core::ids::{JobId, LeaseId, NodeId, QueueId, TaskId};
use jeroboam_core::job::{AttemptEnd, Outcome};
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::site::{NodeReport, Part, SPEED_REFERENCE_MILLI, SiteSpec};
use jeroboam_core::spec::{Avoided, BatchSpec, Coe, JobSpec, Needs};
use jeroboam_core::time::TimeMs;
use jeroboam_core::usage::STEP_MS;
use jeroboam_core::world::World;

use super::job::Job;
use super::state::State;
use crate::batch_file::faults::Found;
use crate::batch_file::tree::At;

/// Half-lives of the past that are played.
const HALF_LIVES_MAX: i64 = 16;

/// A state and its World.
#[derive(Debug)]
pub struct Built {
    pub state: State,
    pub world: World,
    /// `state.now_ms` on the World's clock.
    pub now: TimeMs,
    /// Of the file's queues, by position.
    pub queues: Vec<QueueId>,
    /// Of the file's jobs, by position.
    pub jobs: Vec<JobId>,
}

/// One thing of the past: a job comes, or a task of it takes a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Past {
    Submitted { job: usize },
    Placed { job: usize, index: usize },
}

impl Built {
    /// Makes the World; `None` if something does not fit, which is then found.
    pub fn of(state: State, found: &mut Found) -> Option<Built> {
        let past = past(&state);
        let earliest_ms = past.first().map_or(state.now_ms, |(ms, _)| *ms);
        let played_ms = HALF_LIVES_MAX * state.policy.usage_half_life_ms;
        let origin_ms = earliest_ms.max(state.now_ms - played_ms);
        // The World's clock is the file's, moved by whole steps of the usage so that it is positive.
        // It begins with a step, so that a short past is no past yet.
        let moved_ms = STEP_MS - origin_ms;
        let time = |ms: i64| TimeMs(ms.max(origin_ms) + moved_ms);
        let mut built = Built {
            world: World::default(),
            now: time(state.now_ms),
            queues: vec![QueueId::ROOT; state.queues.len()],
            jobs: vec![JobId(0); state.jobs.len()],
            state,
        };
        built.found(time(origin_ms), found)?;
        for (ms, what) in past {
            match what {
                Past::Submitted { job } => built.submit(time(ms), job, found)?,
                Past::Placed { job, index } => built.place(time(ms), job, index, found)?,
            }
        }
        built.set_bounds(found)?;
        built.declare_downtimes(found)?;
        built.world.move_on(built.now);
        Some(built)
    }

    /// Federation, tunables, sites with their nodes, queues.
    fn found(&mut self, now: TimeMs, found: &mut Found) -> Option<()> {
        let (federation, lineage) = ("plan".to_owned(), 1);
        let start = At { line: 1, column: 1 };
        self.apply(
            now,
            &Event::Founded {
                federation,
                lineage,
            },
            start,
            found,
        )?;
        let policy = Event::PolicyChanged(self.state.policy.clone());
        self.apply(now, &policy, start, found)?;
        let mut sites: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (position, node) in self.state.nodes.iter().enumerate() {
            sites.entry(&node.site).or_default().push(position);
        }
        let names: Vec<String> = sites.keys().map(ToString::to_string).collect();
        let sessions: Vec<u64> = (1..).take(names.len()).collect();
        for (name, session) in names.iter().zip(&sessions) {
            self.open_site(now, name, *session, found)?;
        }
        // One by one in the order of the file: it decides between nodes that are alike.
        for position in 0..self.state.nodes.len() {
            let node = &self.state.nodes[position];
            let session = names
                .iter()
                .position(|name| *name == node.site)
                .map_or(0, |at| sessions[at]);
            let (report, at) = (self.node_report(position), node.at);
            let event = Event::CapacityReported {
                site: site_name(&names, &node.site),
                session,
                full: false,
                nodes: vec![report],
                removed: Vec::new(),
            };
            self.apply(now, &event, at, found)?;
        }
        let queues = 0..self.state.queues.len();
        queues
            .clone()
            .try_for_each(|queue| self.create(now, queue, found).map(drop))?;
        self.use_kernels(now, found)?;
        // Whoever has used a kernel did not have to be kept apart then.
        queues.into_iter().try_for_each(|position| {
            let queue = &self.state.queues[position];
            let change = QueueChange {
                isolation: Some(queue.isolation),
                ..QueueChange::default()
            };
            let (at, name) = (queue.at, self.queue_name(position));
            self.apply(now, &Event::QueueChanged { name, change }, at, found)
        })
    }

    fn open_site(
        &mut self,
        now: TimeMs,
        name: &str,
        session: u64,
        found: &mut Found,
    ) -> Option<()> {
        let at = At { line: 1, column: 1 };
        let site = format!("s{session}");
        let spec = SiteSpec {
            name: site.clone(),
            region: name.to_owned(),
            contract: None,
        };
        self.apply(now, &Event::SiteDeclared(spec), at, found)?;
        let opened = Event::SessionOpened {
            site,
            session,
            incarnation: "plan".to_owned(),
            agent_version: String::new(),
            leases: Default::default(),
        };
        self.apply(now, &opened, at, found)
    }

    fn node_report(&self, position: usize) -> NodeReport {
        let node = &self.state.nodes[position];
        NodeReport {
            name: node.name.clone(),
            cluster: node.cluster.clone(),
            coe: Coe::Process,
            kernel: node.kernel.clone(),
            runtimes: node.runtimes.clone(),
            capacity: node.capacity,
            labels: node.labels.clone(),
            taints: node.taints.clone(),
            speed_milli: SPEED_REFERENCE_MILLI,
            schedulable: true,
        }
    }

    /// Creates a queue after the one it lies below, and gives its name in the World.
    fn create(&mut self, now: TimeMs, position: usize, found: &mut Found) -> Option<String> {
        if self.queues[position] != QueueId::ROOT {
            return Some(self.queue_name(position));
        }
        let queue = &self.state.queues[position];
        let (at, weight, parent) = (queue.at, queue.weight, queue.parent);
        let name = match parent {
            Some(parent) => format!("{}.q{position}", self.create(now, parent, found)?),
            None => format!("q{position}"),
        };
        let spec = QueueSpec {
            queued_max: Some(u64::MAX),
            submitters: ["*".to_owned()].into(),
            tenant: self.state.queues[position].tenant,
            ..QueueSpec::new(name.clone(), weight)
        };
        self.apply(now, &Event::QueueCreated(spec), at, found)?;
        self.queues[position] = self.world.queues().find(&name).ok()?;
        Some(name)
    }

    /// Guarantees from the root down, and limits, which what runs may be beyond.
    fn set_bounds(&mut self, found: &mut Found) -> Option<()> {
        let mut order: Vec<usize> = (0..self.state.queues.len()).collect();
        order.sort_by_key(|queue| self.queues[*queue]);
        for position in order {
            let queue = &self.state.queues[position];
            let change = QueueChange {
                guarantee: Some(queue.guarantee),
                limit: Some(queue.limit),
                bounds: queue.bounds,
                ..QueueChange::default()
            };
            let (at, name) = (queue.at, self.queue_name(position));
            let event = Event::QueueChanged { name, change };
            self.apply(self.now, &event, at, found)?;
        }
        Some(())
    }

    /// Downtimes of nodes, to which what runs already does not have to keep.
    fn declare_downtimes(&mut self, found: &mut Found) -> Option<()> {
        let later = |ms: i64| self.now + (ms - self.state.now_ms);
        let event = |(position, node): (usize, &super::state::Node)| {
            let (from, until) = node.downtime?;
            let known = &self.world.nodes()[position];
            let event = Event::DowntimeDeclared {
                site: self.world.site(known.site).spec.name.clone(),
                part: Part::Node(node.name.clone()),
                from: later(from),
                until: later(until),
                reason: "plan".to_owned(),
                by: "plan".to_owned(),
            };
            Some((node.at, event))
        };
        let events: Vec<(At, Event)> = self
            .state
            .nodes
            .iter()
            .enumerate()
            .filter_map(event)
            .collect();
        events
            .into_iter()
            .try_for_each(|(at, event)| self.apply(self.now, &event, at, found))
    }

    /// Ends those who were told to: what is preempted in one round is gone in the next.
    pub fn end_preempted(&mut self) {
        let leaving: Vec<TaskId> = self.world.leaving().iter().copied().collect();
        for task in leaving {
            let lease = LeaseId {
                lineage: 1,
                task,
                attempt: self.world.jobs()[&task.job].tasks.active[&task.index].attempt,
            };
            let end = AttemptEnd::bare(Outcome::Stopped);
            let ended = self
                .world
                .apply(self.now, &Event::AttemptEnded { lease, end });
            ended.expect("its attempt is open");
        }
    }

    /// A moment of the World on the file's clock, in seconds.
    pub fn seconds(&self, at: TimeMs) -> serde_json::Number {
        let ms = self.state.now_ms + (at - self.now);
        let decimal = serde_json::Number::from_f64(ms as f64 / 1_000.0);
        match decimal {
            Some(decimal) if ms % 1_000 != 0 => decimal,
            _ => (ms / 1_000).into(),
        }
    }

    fn queue_name(&self, position: usize) -> String {
        self.world
            .queues()
            .queue(self.queues[position])
            .spec
            .name
            .clone()
    }

    fn submit(&mut self, now: TimeMs, position: usize, found: &mut Found) -> Option<()> {
        let job = &self.state.jobs[position];
        let at = job.queue_at;
        let spec = BatchSpec {
            name: "plan".to_owned(),
            queue: self.queue_name(job.queue),
            jobs: vec![self.job_spec(job)],
        };
        let event = Event::BatchSubmitted {
            request_id: format!("{position}"),
            digest: [0; 32],
            by: job.user.clone(),
            spec,
        };
        let queue = self.state.queues[self.state.jobs[position].queue]
            .name
            .clone();
        match self.world.apply(now, &event) {
            Ok(_) => {}
            Err(Rejected::QueueNotLeaf { .. }) => {
                let what = format!("the queue `{queue}` has queues below it");
                found.say(at, what, "work is submitted to a leaf: name one of those");
                return None;
            }
            Err(rejected) => {
                self.say(&rejected, self.state.jobs[position].at, found);
                return None;
            }
        }
        self.jobs[position] = self
            .world
            .batch_of_request(&position.to_string())?
            .first_job;
        Some(())
    }

    fn job_spec(&self, job: &Job) -> JobSpec {
        let sites: Vec<String> = self
            .world
            .sites()
            .iter()
            .map(|site| site.spec.region.clone())
            .collect();
        let named = |names: &std::collections::BTreeSet<String>| {
            names.iter().map(|name| site_name(&sites, name)).collect()
        };
        JobSpec {
            count: job.count,
            priority_class: job.class,
            priority: job.priority,
            preemptible: job.preemptible,
            min: job.min,
            within: job.within.clone(),
            running_max: job.running_max,
            ..JobSpec::new(
                "plan",
                Needs {
                    resources: job.resources,
                    walltime_ms: job.walltime_ms,
                    coe: None,
                    labels: job.labels.clone(),
                    tolerations: job.tolerations.clone(),
                    sites: named(&job.sites),
                    sites_excluded: named(&job.sites_excluded),
                    avoided: self.avoided(job).into(),
                    isolation: job.isolation,
                    tenant: None,
                },
            )
        }
    }

    /// Where the file says that a job has failed.
    fn avoided(&self, job: &Job) -> Avoided {
        let place = |position: &usize| {
            let node = &self.world.nodes()[*position];
            let site = self.world.site(node.site).spec.name.clone();
            (site, node.report.name.clone())
        };
        Avoided {
            nodes: job.avoided.iter().map(place).collect(),
            ..Avoided::default()
        }
    }

    /// A place of the file is taken as a round would have given it.
    fn place(
        &mut self,
        now: TimeMs,
        position: usize,
        index: usize,
        found: &mut Found,
    ) -> Option<()> {
        let running = self.state.jobs[position].running[index];
        // The gang takes its places with its first task.
        let gang = self.state.jobs[position].min as usize;
        let indexes = match index {
            0 => 0..gang,
            index if index < gang => return Some(()),
            index => index..index + 1,
        };
        let job = self.jobs[position];
        let placement = |index: usize| Placement {
            task: TaskId {
                job,
                index: index as u32,
            },
            node: NodeId(self.state.jobs[position].running[index].node as u32),
            way: None,
        };
        let event = Event::PlanCommitted {
            placements: indexes.clone().map(placement).collect(),
            preemptions: Vec::new(),
            reservations: None,
        };
        if let Err(rejected) = self.world.apply(now, &event) {
            let name = &self.state.nodes[running.node].name;
            let why = match rejected {
                Rejected::Unplaceable { why, .. } => why,
                other => other.to_string(),
            };
            let why = why.strip_prefix(&format!("{name}: ")).unwrap_or(&why);
            let what = format!("this task cannot be running on `{name}`: {why}");
            found.say(
                running.at,
                what,
                "correct the place, or what else runs there, or the node",
            );
            return None;
        }
        for index in indexes {
            let lease = LeaseId {
                lineage: 1,
                task: TaskId {
                    job,
                    index: index as u32,
                },
                attempt: 1,
            };
            self.apply(now, &Event::AttemptRunning { lease }, running.at, found)?;
        }
        Some(())
    }

    fn apply(&mut self, now: TimeMs, event: &Event, at: At, found: &mut Found) -> Option<()> {
        match self.world.apply(now, event) {
            Ok(_) => Some(()),
            Err(rejected) => {
                self.say(&rejected, at, found);
                None
            }
        }
    }

    /// Tells of a refusal in the file's names.
    fn say(&self, rejected: &Rejected, at: At, found: &mut Found) {
        let what = match rejected {
            Rejected::Invalid { what, .. } => what.clone(),
            other => other.to_string(),
        };
        found.say(at, self.renamed(&what), self.renamed(&rejected.remedy()));
    }

    /// A text with the file's names of queues for the World's, which stand in back-ticks.
    fn renamed(&self, text: &str) -> String {
        let parts = text.split('`').enumerate().map(|(at, part)| {
            let position = match at % 2 {
                1 => self.queue_called(part),
                _ => None,
            };
            position.map_or(part, |position| &self.state.queues[position].name)
        });
        parts.collect::<Vec<_>>().join("`")
    }

    /// The position of the queue that the World calls so.
    fn queue_called(&self, name: &str) -> Option<usize> {
        let number = name.rsplit('.').next()?.strip_prefix('q')?;
        let position: usize = number.parse().ok()?;
        (*self.queues.get(position)? != QueueId::ROOT && self.queue_name(position) == name)
            .then_some(position)
    }
}

/// Sites go by the position of their name.
fn site_name(names: &[String], name: &str) -> String {
    let position = names.iter().position(|known| known == name);
    format!("s{}", position.map_or(0, |position| position + 1))
}

/// What happened, in order: at one moment submissions first, each in the file's order.
fn past(state: &State) -> Vec<(i64, Past)> {
    let mut past = Vec::new();
    for (position, job) in state.jobs.iter().enumerate() {
        past.push((job.submit_ms, Past::Submitted { job: position }));
        let placed = |(index, running): (usize, &super::job::Running)| {
            (
                running.since_ms,
                Past::Placed {
                    job: position,
                    index,
                },
            )
        };
        past.extend(job.running.iter().enumerate().map(placed));
    }
    past.sort_unstable();
    past
}
