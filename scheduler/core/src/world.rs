//! The World: all that the scheduler knows, changed by [`World::apply`] alone.
//!
//! The rule it keeps: the same events at the same times give the same World,
//! byte for byte, on every machine. It has no clock, no I/O and no randomness;
//! sockets, sessions' clocks and storage belong to the service around it.
//!
//! An event is either applied whole or rejected whole. What the outside has to
//! do comes back as [`Effect`]s, to be carried out once the event is durable.
//! [`World::check`] states the invariants; [`crate::round::plan_round`] decides
//! what to place, and comes back in as [`Event::PlanCommitted`].

mod altered;
mod attempts;
pub mod batches;
mod by_hand;
mod check;
mod closing;
mod dependencies;
mod downtimes;
mod health;
mod jobs;
pub mod largest;
mod nodes;
mod plan;
mod queues;
mod quiet;
pub mod sites;
pub mod submit;
mod users;

pub use jobs::Jobs;

use crate::class::ClassTable;
use crate::effect::Effect;
use crate::event::Event;
use crate::health::Tally;
use crate::ids::{BatchId, JobId, KernelId, NodeId, QueueId, SiteId, TaskId};
use crate::index::NodeIndex;
use crate::isolation::Tenancy;
use crate::job::{Batch, Job};
use crate::kernel::Kernels;
use crate::last_hour::LastHour;
use crate::policy::Policy;
use crate::queue::QueueTree;
use crate::rejected::Rejected;
use crate::reservation::Reservation;
use crate::resources::{EXTENDED, Resources};
use crate::site::{Closed, Downtime, Node, Part, Site};
use crate::soonest::Soonest;
use crate::spec::SharedSpecs;
use crate::time::TimeMs;
use crate::usage::{Decay, HALF_LIVES_MAX, STEP_MS};
use quiet::Quiet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The whole state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    now: TimeMs,
    /// End of the usage step that is being counted.
    step_end: TimeMs,
    federation: String,
    lineage: u64,
    term: u64,
    policy: Policy,
    queues: QueueTree,
    sites: Vec<Site>,
    site_by_name: BTreeMap<String, SiteId>,
    nodes: Vec<Node>,
    kernels: Kernels,
    classes: ClassTable,
    next_batch: u64,
    next_job: u64,
    batches: BTreeMap<BatchId, Batch>,
    jobs: Jobs,
    requests: BTreeMap<String, BatchId>,
    /// Slots of `nodes` whose node was forgotten.
    free_nodes: Vec<NodeId>,
    /// Room kept for tasks that do not fit yet, oldest first.
    reservations: Vec<Reservation>,
    /// Tasks that were preempted and have not left their places yet.
    leaving: BTreeSet<TaskId>,
    /// What time alone brings about, and when.
    timers: BTreeSet<(TimeMs, Timer)>,
    /// How attempts end everywhere.
    fleet: Tally,
    /// Tasks that rounds have preempted lately.
    preempted: LastHour,
    /// A cache: what jobs have in common.
    #[serde(skip)]
    specs: SharedSpecs,
    /// A cache: whatever changes a node or a site touches it.
    #[serde(skip)]
    index: NodeIndex,
    /// A cache: what changes on a node touches it.
    #[serde(skip)]
    soonest: Soonest,
    /// A cache: the last round decided nothing.
    #[serde(skip)]
    quiet: Quiet,
}

/// What happens when its time has come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Timer {
    /// A node's quarantine ends.
    Node(NodeId),
    /// A site's quarantine ends.
    Site(SiteId),
    /// What was closed by hand opens.
    Open(SiteId, Part),
    /// Tasks of a job may go again.
    Wake(JobId),
    /// Tasks of a job may go back to where they failed, if nothing else takes them.
    Relent(JobId),
    /// A downtime is over.
    Downtime(SiteId),
}

impl World {
    /// Applies one event at a time that never falls.
    ///
    /// # Errors
    /// The event was refused and the World is as before, the time apart.
    pub fn apply(&mut self, now: TimeMs, event: &Event) -> Result<Vec<Effect>, Rejected> {
        self.advance(now)?;
        self.stir(event);
        match event {
            Event::Founded {
                federation,
                lineage,
            } => {
                self.federation = federation.clone();
                self.lineage = *lineage;
                Ok(Vec::new())
            }
            Event::Started { term } => self.start_term(*term),
            Event::Restored {
                lineage,
                quarantine_until,
            } => self.restore(*lineage, *quarantine_until),
            Event::PolicyChanged(policy) => self.change_policy(policy),
            Event::SiteDeclared(spec) => self.declare_site(spec),
            Event::SiteWithdrawn { name } => self.withdraw_site(name),
            Event::SiteClosed {
                name,
                how,
                reason,
                by,
            } => self.close_site(name, *how, reason, by),
            Event::QueueCreated(spec) => self.create_queue(spec),
            Event::QueueChanged { name, change } => self.change_queue(name, change),
            Event::BatchSubmitted {
                request_id,
                digest,
                by,
                spec,
            } => self.submit(request_id, digest, by, spec),
            Event::TasksChanged {
                verb,
                selection,
                by,
                reason,
            } => self.change_tasks(*verb, selection, by, reason),
            Event::PlanCommitted {
                placements,
                preemptions,
                reservations,
            } => self.commit_plan(placements, preemptions, reservations.as_deref()),
            Event::SessionOpened {
                site,
                session,
                incarnation,
                agent_version,
                leases,
            } => self.open_session(site, *session, incarnation, agent_version, leases),
            Event::SessionClosed { site, session } => self.close_session(site, *session),
            Event::CapacityReported {
                site,
                session,
                full,
                nodes,
                removed,
            } => self.report_capacity(site, *session, *full, nodes, removed),
            Event::LeasesExpired { site } => self.expire_leases(site),
            Event::AttemptStarting { lease } => self.attempt_starting(*lease),
            Event::AttemptRunning { lease } => self.attempt_running(*lease),
            Event::AttemptEnded { lease, end } => self.attempt_ended(*lease, end.clone()),
            Event::BatchRetired { batch } => self.retire(*batch),
            Event::PartClosed {
                site,
                part,
                how,
                reason,
                by,
                until,
            } => {
                let closed = how.map(|how| Closed {
                    how,
                    reason: reason.clone(),
                    by: by.clone(),
                    since: now,
                    until: *until,
                });
                self.close_part(site, part, closed)
            }
            Event::DowntimeDeclared {
                site,
                part,
                from,
                until,
                reason,
                by,
            } => {
                let downtime = Downtime {
                    id: 0,
                    part: part.clone(),
                    from: *from,
                    until: *until,
                    reason: reason.clone(),
                    by: by.clone(),
                };
                self.declare_downtime(site, downtime)
            }
            Event::DowntimeRemoved { site, id } => self.remove_downtime(site, *id),
        }
    }

    /// Lets jobs that have a specification in common share one again, after the World was
    /// read: each came with a copy.
    pub fn share_specs(&mut self) {
        let specs = &mut self.specs;
        *specs = SharedSpecs::default();
        for job in self.jobs.values_mut() {
            job.spec = specs.intern(Arc::clone(&job.spec));
        }
    }

    fn change_policy(&mut self, policy: &Policy) -> Result<Vec<Effect>, Rejected> {
        policy.validate()?;
        // A name stands for a dimension: while that is in use, it keeps its name.
        for (position, name) in self.policy.extended_resources.iter().enumerate() {
            let d = EXTENDED + position;
            let kept = policy.extended_resources.get(position) == Some(name);
            let asked = |class| self.classes.needs(class).resources[d] != 0;
            let there = |node: &Node| node.is_known() && node.report.capacity[d] != 0;
            if !kept && (self.nodes.iter().any(there) || self.classes.iter().any(asked)) {
                return Err(Rejected::invalid(
                    "policy.extended_resources",
                    format!("`{name}` is in use as resource {position} of the list"),
                    "keep the names that are in use where they are, and add others behind them",
                ));
            }
        }
        self.policy = policy.clone();
        self.index.clear();
        self.soonest = Soonest::default();
        Ok(Vec::new())
    }

    /// Moves the time on without an event, as a round does before it looks.
    ///
    /// # Panics
    /// If the time falls: a broken invariant, since one clock drives the World.
    pub fn move_on(&mut self, now: TimeMs) {
        self.advance(now).expect("the World's clock never falls");
    }

    /// Moves the time on, folding the decayed usage at each step's end.
    fn advance(&mut self, now: TimeMs) -> Result<(), Rejected> {
        if now < self.now {
            return Err(Rejected::TimeReversed {
                event: now,
                world: self.now,
            });
        }
        if self.step_end == TimeMs::default() {
            self.step_end = TimeMs(now.0 - now.0.rem_euclid(STEP_MS) + STEP_MS);
            self.queues
                .iter_mut()
                .for_each(|queue| queue.usage.start(now));
        }
        self.now = now;
        self.ring(now);
        if self.step_end > now {
            return Ok(());
        }
        self.settle_usage(now);
        let decay = Decay::of_half_life(self.policy.usage_half_life_ms);
        while self.step_end <= now {
            let end = self.step_end;
            self.queues
                .iter_mut()
                .for_each(|queue| queue.usage.fold(&queue.held, end, decay));
            self.step_end = end + STEP_MS;
        }
        Ok(())
    }

    /// Does what has come due with time alone.
    fn ring(&mut self, now: TimeMs) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now)
            && let Some((at, timer)) = self.timers.pop_first()
        {
            // What it opens, or lets go, a round has to see.
            self.quiet = Quiet::default();
            match timer {
                Timer::Node(id) => self.release_node(id, at),
                Timer::Site(id) => self.release_site(id, at),
                Timer::Open(site, part) => self.open_part(site, &part),
                Timer::Wake(job) => self.wake_tasks(job, at),
                Timer::Relent(job) => self.relent(job, at),
                Timer::Downtime(site) => self.end_downtimes(site, at),
            }
        }
    }

    /// After a gap of very many steps, in which all held what they hold, folding them
    /// one by one would take long and come to this.
    fn settle_usage(&mut self, now: TimeMs) {
        let steps = (now - self.step_end) / STEP_MS + 1;
        if steps <= HALF_LIVES_MAX * self.policy.usage_half_life_ms / STEP_MS {
            return;
        }
        let end = self.step_end + (steps - 1) * STEP_MS;
        self.queues
            .iter_mut()
            .for_each(|queue| queue.usage.settle(&queue.held, end));
        self.step_end = end + STEP_MS;
    }

    /// The time of the last event.
    pub fn now(&self) -> TimeMs {
        self.now
    }

    /// Name of the federation.
    pub fn federation(&self) -> &str {
        &self.federation
    }

    /// Which life of the journal this is.
    pub fn lineage(&self) -> u64 {
        self.lineage
    }

    /// Which start of the scheduler this is.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The tunables in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The queue tree.
    pub fn queues(&self) -> &QueueTree {
        &self.queues
    }

    /// All sites ever declared, by id.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// All nodes, by id. A forgotten one stands there, not [`Node::is_known`], until
    /// another takes its id.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The kernels of nodes, and of those that were there.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// Who has used a node's kernel.
    pub fn tenancy(&self, node: &Node) -> Tenancy {
        self.kernels.kernel(node.kernel).tenancy()
    }

    /// True if who uses which kernel matters: a job in memory asks to be kept apart, or
    /// those of a queue will.
    pub fn is_isolating(&self) -> bool {
        self.classes.isolated() > 0 || self.queues.isolating() > 0
    }

    /// The interned requirement classes.
    pub fn classes(&self) -> &ClassTable {
        &self.classes
    }

    /// Batches in memory, by id.
    pub fn batches(&self) -> &BTreeMap<BatchId, Batch> {
        &self.batches
    }

    /// Jobs in memory, by id.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Room kept for tasks that do not fit yet, oldest first.
    pub fn reservations(&self) -> &[Reservation] {
        &self.reservations
    }

    /// True if tasks of a lower class than a job's hold places in its queue, and it may
    /// take those.
    pub fn outranks_running(&self, job: &Job) -> bool {
        let leaf = self.queues.queue(job.queue);
        self.policy.preempt_by_class && leaf.runs_lower_than(job.spec.priority_class)
    }

    /// What is reserved for a queue and those below it.
    pub fn reserved(&self, queue: QueueId) -> Resources {
        let mut reserved = Resources::ZERO;
        for reservation in &self.reservations {
            if let Some(job) = self.jobs.get(&reservation.job)
                && self.queues.path(job.queue).any(|id| id == queue)
            {
                let first = reservation.tasks.first().copied().unwrap_or_default();
                reserved += &job
                    .resources_of(first)
                    .times(reservation.tasks.len() as i64);
            }
        }
        reserved
    }

    /// Tasks that were preempted and have not left their places yet.
    pub fn leaving(&self) -> &BTreeSet<TaskId> {
        &self.leaving
    }

    /// The batch that a client's submission became, while it is in memory.
    pub fn batch_of_request(&self, request_id: &str) -> Option<&Batch> {
        self.requests.get(request_id).map(|id| &self.batches[id])
    }

    /// The site of an id that the World gave out.
    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[id.index()]
    }

    /// The node of an id that the World gave out.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The site of a name.
    ///
    /// # Errors
    /// [`Rejected::UnknownSite`], with the nearest name there is.
    pub fn find_site(&self, name: &str) -> Result<&Site, Rejected> {
        match self.site_by_name.get(name) {
            Some(id) => Ok(self.site(*id)),
            None => Err(Rejected::UnknownSite {
                name: name.to_string(),
                near: crate::nearest::nearest(name, self.site_by_name.keys().map(String::as_str)),
            }),
        }
    }

    /// What a task that holds a place takes up on its node.
    ///
    /// # Panics
    /// If it holds none.
    pub fn takes_up(&self, task: &TaskId) -> Resources {
        let job = &self.jobs[&task.job];
        job.tasks.active[&task.index].takes_up(job.resources_of(task.index))
    }

    /// The job of an id.
    ///
    /// # Errors
    /// [`Rejected::UnknownJob`] where it never was or has left memory.
    pub fn find_job(&self, id: JobId) -> Result<&Job, Rejected> {
        self.jobs.get(&id).ok_or(Rejected::UnknownJob(id))
    }

    /// True if the id was given out, whether or not the job is still in memory.
    pub fn was_job(&self, id: JobId) -> bool {
        id.0 >= 1 && id.0 < self.next_job.max(1)
    }

    /// What is held on a node has changed.
    fn touch_room(&mut self, node: NodeId) {
        self.index.touch_room(node);
        self.soonest.touch(node);
    }

    /// Who uses a kernel has changed.
    fn touch_kernel(&mut self, kernel: KernelId) {
        if self.is_isolating() {
            let nodes = self.kernels.kernel(kernel).nodes();
            nodes.iter().for_each(|node| self.index.touch_node(*node));
        }
    }

    /// A node was added, or reported anew, or is gone.
    fn touch_node(&mut self, node: NodeId) {
        self.index.touch_node(node);
        self.soonest.touch(node);
    }

    /// Asks what a round asks of the caches, which read the World.
    pub(crate) fn with_caches<T>(
        &mut self,
        work: impl FnOnce(&World, &mut NodeIndex, &mut Soonest) -> T,
    ) -> T {
        let mut index = std::mem::take(&mut self.index);
        let mut soonest = std::mem::take(&mut self.soonest);
        let answer = work(self, &mut index, &mut soonest);
        self.index = index;
        self.soonest = soonest;
        answer
    }

    /// Asks or changes the node index, which reads the World.
    pub fn with_index<T>(&mut self, work: impl FnOnce(&World, &mut NodeIndex) -> T) -> T {
        let mut index = std::mem::take(&mut self.index);
        let answer = work(self, &mut index);
        self.index = index;
        answer
    }

    fn find_site_mut(&mut self, name: &str) -> Result<&mut Site, Rejected> {
        let id = self.find_site(name)?.id;
        Ok(&mut self.sites[id.index()])
    }

    /// A job that must be there, since an index of the World names it.
    fn job_mut(&mut self, id: JobId) -> &mut Job {
        self.jobs
            .get_mut(&id)
            .expect("the World's indexes name only jobs in memory")
    }
}

#[cfg(test)]
mod tests;
