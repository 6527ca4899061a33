//! The World's invariants, stated once and asserted by every test after every event.

use super::{Timer, World};
use crate::ids::{ClassId, KernelId, NodeId, QueueId, TaskId};
use crate::isolation::Tenancy;
use crate::job::{Job, Tasks};
use crate::queue::Pending;
use crate::ranges::RangeSet;
use crate::resources::Resources;
use crate::site::Part;
use crate::spec::Ends;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default, PartialEq, Debug, Clone)]
struct Sums {
    held: Resources,
    held_fixed: Resources,
    running: u64,
    running_of: [u64; 3],
    queued: u64,
    queued_of: [u64; 3],
    waiting: u64,
}

impl World {
    /// Recomputes every sum from the jobs and compares.
    ///
    /// # Panics
    /// If an invariant is broken; the message says which.
    pub fn check(&self) {
        self.check_tasks();
        self.check_queues();
        self.check_places();
        self.check_nodes();
        self.check_kernels();
        self.check_timers();
        self.check_batches();
    }

    /// Every task is in exactly one state.
    fn check_tasks(&self) {
        for job in self.jobs.values() {
            let sets = sets_of(&job.tasks);
            let mut all = RangeSet::default();
            sets.iter().for_each(|set| all.extend(set));
            job.tasks.active.keys().for_each(|index| {
                all.insert(*index);
            });
            let sum: u64 = sets.iter().map(|set| set.len()).sum();
            let counted = sum + job.tasks.active.len() as u64;
            assert_eq!(
                counted,
                u64::from(job.spec.count),
                "{}: states overlap or miss tasks",
                job.id
            );
            assert_eq!(
                all,
                RangeSet::up_to(job.spec.count),
                "{}: indexes out of range",
                job.id
            );
            self.check_dependencies(job);
            self.check_gang(job);
            self.check_altered(job);
            let user = self.class_user(job.queue, &self.batches[&job.batch].by);
            let classes = [job.class, job.alone].into_iter();
            for class in classes.chain(job.tasks.altered.keys().copied()) {
                let theirs = self.classes.user(class);
                assert_eq!(theirs, user.as_deref(), "{}: whose class", job.id);
            }
            for (index, active) in &job.tasks.active {
                let used = job.tasks.past.get(index).map_or(0, |past| past.attempts);
                assert_eq!(used, active.attempt, "{}[{index}]: attempt number", job.id);
            }
        }
    }

    /// Nobody goes before what it waits for, is blocked on nothing, or waits for what
    /// has failed.
    fn check_dependencies(&self, job: &Job) {
        let tasks = &job.tasks;
        let mut ready = tasks.queued.clone();
        tasks.active.keys().for_each(|index| {
            ready.insert(*index);
        });
        let waits = !job.links.waits_for.is_empty();
        let mut early = waits && !ready.is_empty();
        for need in job.links.by_element().filter(|need| need.ends == Ends::Ok) {
            let succeeded = &self.jobs[&need.job].tasks.succeeded;
            early |= succeeded.intersection(&ready).len() != ready.len();
        }
        assert!(!early, "{}: goes before what it waits for", job.id);
        for index in tasks
            .blocked
            .ranges()
            .flat_map(|(first, last)| [first, last])
        {
            let task = TaskId { job: job.id, index };
            let open = !self.blockers(task).is_empty();
            assert!(open, "{task}: blocked on nothing");
        }
        let mut waiting = tasks.blocked.clone();
        waiting.extend(&tasks.held);
        let doomed = self.doomed(job.id, &waiting);
        assert!(doomed.is_empty(), "{}[{doomed}]: doomed, and waits", job.id);
    }

    /// A gang's tasks are the unended among the first, and hold their places together
    /// unless they are on their way out.
    fn check_gang(&self, job: &Job) {
        let gang = &job.tasks.gang;
        let ended = job
            .tasks
            .failed
            .values()
            .chain(job.tasks.cancelled.values());
        let ended = ended.chain([&job.tasks.succeeded]);
        let among = ended.fold(0, |sum, set| sum + set.intersection(gang).len());
        assert_eq!(among, 0, "{}: ended tasks in the gang", job.id);
        let first = RangeSet::up_to(if job.spec.min > 1 { job.spec.min } else { 0 });
        let inside = gang.intersection(&first).len();
        assert_eq!(inside, gang.len(), "{}: others in the gang", job.id);
        let places = job.tasks.active_among(gang);
        let stays = |index: &u32| !job.tasks.active[index].is_stopping();
        let held = places.iter().filter(|index| stays(index)).count() as u64;
        assert!(
            held == 0 || held == gang.len(),
            "{}: {held} places of a gang of {}",
            job.id,
            gang.len()
        );
    }

    /// Whoever is altered has not ended, asks for one thing, and that of its class.
    fn check_altered(&self, job: &Job) {
        let mut seen = RangeSet::default();
        for (class, altered) in &job.tasks.altered {
            let needs = self.classes.needs(*class);
            assert_eq!(*needs, altered.needs, "{}: {class:?}", job.id);
            assert_ne!(*class, job.alone, "{}: altered to its own", job.id);
            let (mut all, count) = (altered.tasks.clone(), seen.len());
            assert!(!all.is_empty(), "{}: nobody of {class:?}", job.id);
            all.iter().for_each(|index| {
                seen.insert(index);
            });
            assert_eq!(seen.len(), count + all.len(), "{}: altered twice", job.id);
            let ended = job
                .tasks
                .failed
                .values()
                .chain(job.tasks.cancelled.values());
            for ended in ended.chain([&job.tasks.succeeded, &job.tasks.gang]) {
                let wrong = all.take(ended);
                assert!(wrong.is_empty(), "{}[{wrong}]: altered", job.id);
            }
        }
    }

    /// Queues' sums are those of the jobs below them.
    fn check_queues(&self) {
        let mut sums: BTreeMap<QueueId, Sums> = BTreeMap::new();
        let mut pending: BTreeMap<(QueueId, ClassId), Pending> = BTreeMap::new();
        for job in self.jobs.values() {
            let active = job.tasks.active.len() as i64;
            for queue in self.queues.path(job.queue) {
                let entry = sums.entry(queue).or_default();
                let mut held = Resources::ZERO;
                let each = job.tasks.active.keys();
                each.for_each(|index| held += job.resources_of(*index));
                entry.held += &held;
                if !job.spec.preemptible {
                    entry.held_fixed += &held;
                }
                let rank = job.spec.priority_class.index();
                entry.running += active as u64;
                entry.running_of[rank] += active as u64;
                entry.queued += job.tasks.queued.len();
                entry.queued_of[rank] += job.tasks.queued.len();
                entry.waiting += job.tasks.waiting();
            }
            for (class, tasks) in job.ready_altered() {
                let entry = pending.entry((job.queue, class)).or_default();
                entry.tasks += tasks;
                entry.jobs.insert(job.pending());
            }
            let ready = job.ready();
            if ready.tasks > 0 {
                let size = self.classes.gang(job.class).size;
                assert_eq!(size, ready.size, "{}: class", job.id);
                let entry = pending.entry((job.queue, job.class)).or_default();
                entry.tasks += ready.tasks;
                entry.jobs.insert(job.pending());
            }
        }
        for queue in self.queues.iter() {
            let users = self.users_of(queue.id);
            assert_eq!(queue.users, users, "{}: users", queue.spec.name);
            let sum = Sums {
                held: queue.held,
                held_fixed: queue.held_fixed,
                running: queue.running,
                running_of: queue.running_of,
                queued: queue.queued,
                queued_of: queue.queued_of,
                waiting: queue.waiting,
            };
            let expected = sums.remove(&queue.id).unwrap_or_default();
            assert_eq!(sum, expected, "{}: sums", queue.spec.name);
            for (class, entry) in &queue.pending {
                let expected = pending.remove(&(queue.id, *class));
                assert_eq!(
                    Some(entry),
                    expected.as_ref(),
                    "{}: pending {class}",
                    queue.spec.name
                );
            }
        }
        assert!(
            pending.is_empty(),
            "jobs with queued tasks that no leaf lists: {pending:?}"
        );
    }

    /// No node is oversubscribed, unless its capacity shrank under what runs;
    /// nodes' and sites' sums are those of the open attempts.
    fn check_places(&self) {
        type Held = (Resources, Resources, u32, BTreeSet<TaskId>);
        let mut held: BTreeMap<_, Held> = BTreeMap::new();
        let mut reserved = vec![0; self.sites.len()];
        for (job, index, active) in self.jobs.values().flat_map(active_of) {
            let entry = held.entry(active.node).or_default();
            let takes_up = active.takes_up(job.resources_of(index));
            entry.0 += &takes_up;
            if active.is_stopping() {
                entry.1 += &takes_up;
            }
            entry.2 += 1;
            entry.3.insert(TaskId { job: job.id, index });
            reserved[self.node(active.node).site.index()] += active.reserved_micro_eur;
        }
        let mut sites = vec![(Resources::ZERO, 0); self.sites.len()];
        let mut capacity = vec![Resources::ZERO; self.sites.len()];
        for node in &self.nodes {
            let expected = held.remove(&node.id).unwrap_or_default();
            assert_eq!(
                (node.held, node.leaving, node.running, node.tasks.clone()),
                expected,
                "{}: held",
                node.report.name
            );
            let site = &mut sites[node.site.index()];
            site.0 += &node.held;
            site.1 += node.running;
            if node.present {
                capacity[node.site.index()] += &node.report.capacity;
            }
        }
        for (site, sums) in self.sites.iter().zip(sites) {
            assert_eq!((site.held, site.running), sums, "{}: held", site.spec.name);
            let capacity = capacity[site.id.index()];
            assert_eq!(site.capacity, capacity, "{}: capacity", site.spec.name);
            let reserved = reserved[site.id.index()];
            assert_eq!(
                site.cost_reserved_micro_eur, reserved,
                "{}: reserved cost",
                site.spec.name
            );
        }
    }

    /// Nobody shares a kernel with work that must have it alone, and what has run is
    /// remembered.
    fn check_kernels(&self) {
        self.kernels.check();
        let mut leases: BTreeMap<KernelId, (u32, u32, BTreeSet<QueueId>)> = BTreeMap::new();
        for (job, _, active) in self.jobs.values().flat_map(active_of) {
            let entry = leases.entry(active.kernel).or_default();
            entry.0 += 1;
            entry.1 += u32::from(active.is_alone());
            entry.2.insert(self.queues.queue(job.queue).tenant);
        }
        let mut nodes = 0;
        for (id, kernel) in self.kernels.iter() {
            let (running, alone, tenants) = leases.remove(&id).unwrap_or_default();
            assert_eq!(kernel.leases(), (running, alone), "{id}: leases");
            match kernel.tenancy() {
                Tenancy::Unused => assert!(tenants.is_empty(), "{id}: used by {tenants:?}"),
                Tenancy::One(tenant) | Tenancy::Alone(tenant) => assert!(
                    tenants.iter().all(|other| *other == tenant),
                    "{id}: of {tenant}, used by {tenants:?}"
                ),
                Tenancy::Several => assert_eq!(alone, 0, "{id}: alone among several"),
            }
            let of_node = |node: &&NodeId| self.node(**node).kernel == id;
            assert!(
                kernel.nodes().iter().all(|node| of_node(&node)),
                "{id}: nodes"
            );
            nodes += kernel.nodes().len();
        }
        let (_, alone, _) = leases.remove(&KernelId::UNKNOWN).unwrap_or_default();
        assert_eq!(alone, 0, "alone on an unknown kernel");
        let all = self.nodes.iter();
        let known = all.filter(|node| node.kernel != KernelId::UNKNOWN).count();
        assert!(leases.is_empty() && nodes == known, "kernels of nodes");
    }

    /// Sites list the known nodes, the ids of all others are free.
    fn check_nodes(&self) {
        let mut listed = 0;
        for site in &self.sites {
            for (name, id) in &site.nodes {
                let node = self.node(*id);
                let same = node.is_known() && node.site == site.id && node.report.name == *name;
                assert!(same, "{}: lists {name}", site.spec.name);
            }
            listed += site.nodes.len();
        }
        let free: BTreeSet<NodeId> = self.free_nodes.iter().copied().collect();
        let known = free.iter().any(|id| self.node(*id).is_known());
        assert!(
            !known && listed + free.len() == self.nodes.len(),
            "free ids of nodes: {free:?}"
        );
    }

    /// Whatever ends with time alone has its timer, in the time to come.
    fn check_timers(&self) {
        let first = self.timers.first();
        assert!(
            first.is_none_or(|(at, _)| *at > self.now),
            "overdue: {first:?}"
        );
        let rings = |at, timer| assert!(self.timers.contains(&(at, timer)), "no timer at {at:?}");
        for site in &self.sites {
            for downtime in &site.downtimes {
                rings(downtime.until, Timer::Downtime(site.id));
            }
            if let Some(quarantine) = site.health.quarantine {
                rings(quarantine.until, Timer::Site(site.id));
            }
            let clusters = site.closed_clusters.iter();
            let clusters = clusters.map(|(name, closed)| (Part::Cluster(name.clone()), closed));
            let nodes = site.nodes.iter().filter_map(|(name, id)| {
                let closed = self.node(*id).closed.as_ref()?;
                Some((Part::Node(name.clone()), closed))
            });
            let whole = site.closed.iter().map(|closed| (Part::Site, closed));
            for (part, closed) in whole.chain(clusters).chain(nodes) {
                if let Some(until) = closed.until {
                    rings(until, Timer::Open(site.id, part));
                }
            }
        }
        for job in self.jobs.values() {
            let tasks = &job.tasks;
            let queued = tasks.queued.intersection(&tasks.delayed);
            assert_eq!(queued, *tasks.delayed, "{}: delayed, not queued", job.id);
            for index in tasks.delayed.iter() {
                let at = tasks.past[&index].not_before;
                let at = at.expect("a delayed task has its time");
                let listed = tasks.wakes.get(&at).is_some_and(|due| due.contains(index));
                assert!(listed, "{}[{index}] never wakes", job.id);
                rings(at, Timer::Wake(job.id));
            }
        }
        for job in self.jobs.values() {
            for altered in job.tasks.altered.values() {
                let avoids = !altered.needs.avoided.nodes.is_empty()
                    || !altered.needs.avoided.sites.is_empty();
                assert_eq!(avoids, altered.relents.is_some(), "{}: relents", job.id);
                if let Some(at) = altered.relents {
                    rings(at, Timer::Relent(job.id));
                }
            }
        }
        for node in self.nodes.iter().filter(|node| node.is_known()) {
            if let Some(quarantine) = node.health.quarantine {
                rings(quarantine.until, Timer::Node(node.id));
            }
        }
    }

    fn check_batches(&self) {
        for batch in self.batches.values() {
            let jobs = batch.job_ids().map(|id| &self.jobs[&id]);
            let unfinished = jobs.filter(|job| !job.is_finished()).count();
            assert_eq!(
                batch.unfinished as usize, unfinished,
                "{}: unfinished jobs",
                batch.id
            );
            assert_eq!(
                batch.finished.is_some(),
                unfinished == 0,
                "{}: finished",
                batch.id
            );
            assert_eq!(
                self.requests.get(&batch.request_id),
                Some(&batch.id),
                "{}: request",
                batch.id
            );
        }
        let jobs: usize = self.batches.values().map(|batch| batch.jobs as usize).sum();
        assert_eq!(jobs, self.jobs.len(), "jobs without a batch");
    }
}

fn sets_of(tasks: &Tasks) -> Vec<&RangeSet> {
    let standing = [&tasks.held, &tasks.blocked, &tasks.queued, &tasks.succeeded];
    standing
        .into_iter()
        .chain(tasks.failed.values())
        .chain(tasks.cancelled.values())
        .collect()
}

fn active_of(job: &Job) -> impl Iterator<Item = (&Job, u32, &crate::job::Active)> {
    let active = job.tasks.active.iter();
    active.map(move |(index, active)| (job, *index, active))
}
