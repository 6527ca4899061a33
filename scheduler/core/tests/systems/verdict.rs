//! What must hold after a round, and once nothing moves any more: written from the rules,
//! slowly, with nothing of the planner's but the shares.

use std::collections::BTreeMap;

use jeroboam_core::ids::{JobId, NodeId, QueueId, TaskId};
use jeroboam_core::isolation::{Isolation, Tenancy};
use jeroboam_core::job::Job;
use jeroboam_core::resources::{DIMENSIONS, Resources};
use jeroboam_core::round::Plan;
use jeroboam_core::site::Node;
use jeroboam_core::spec::PriorityClass;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

/// Nothing oversubscribed, gangs whole, limits kept, nobody preempted without need.
pub fn of_round(before: &World, plan: &Plan, after: &World, now: TimeMs) {
    let placed: Vec<NodeId> = plan.placements.iter().map(|p| p.node).collect();
    for node in after
        .nodes()
        .iter()
        .filter(|node| placed.contains(&node.id))
    {
        let over = node.free().0.iter().any(|free| *free < 0);
        assert!(!over, "{} is oversubscribed", node.report.name);
    }
    for job in after
        .jobs()
        .values()
        .filter(|job| !job.tasks.gang.is_empty())
    {
        let holding = |index: &u32| {
            job.tasks
                .active
                .get(index)
                .is_some_and(|a| !a.is_stopping())
        };
        let members = job.tasks.gang.iter().filter(holding).count() as u64;
        let whole = members == 0 || members == job.tasks.gang.len();
        assert!(whole, "{}: {members} of its gang hold a place", job.id);
    }
    limits(plan, after);
    for claim in after.reservations().iter().filter(|claim| claim.freed) {
        if before.reservations().contains(claim) {
            continue;
        }
        let job = &after.jobs()[&claim.job];
        let cost = job.resources().times(claim.tasks.len() as i64);
        let others = |node: &Node| kept(after, node.id, Some(claim.job));
        let room = places(after, now, job, others) >= claim.tasks.len() as i64;
        let limited = before.queues().path(job.queue).any(|id| {
            let held = after.queues().queue(id).held.plus(&cost);
            after.queues().queue(id).spec.limit.exceeded(&held, &cost)
        });
        assert!(
            limited || !room,
            "{} took places away beside free room\n{plan:?}\nbefore\n{}\nafter\n{}",
            job.id,
            tell(before, now),
            tell(after, now)
        );
    }
}

/// No place is given above a limit.
fn limits(plan: &Plan, after: &World) {
    for placement in &plan.placements {
        let job = &after.jobs()[&placement.task.job];
        for id in after.queues().path(job.queue) {
            let queue = after.queues().queue(id);
            let over = queue.spec.limit.exceeded(&queue.held, job.resources());
            assert!(
                !over,
                "{} went over the limit of `{}`",
                job.id, queue.spec.name
            );
        }
    }
}

/// What is kept on a node, for others than this job.
fn kept(world: &World, node: NodeId, but: Option<JobId>) -> Resources {
    let mut kept = Resources::ZERO;
    for reservation in world.reservations() {
        if but == Some(reservation.job) {
            continue;
        }
        let each = world.jobs()[&reservation.job].resources();
        for place in reservation.places.iter().filter(|place| place.node == node) {
            kept += &each.times(place.tasks.into());
        }
    }
    kept
}

/// How many tasks of a job fit into what is free beside `kept`.
fn places(world: &World, _now: TimeMs, job: &Job, kept: impl Fn(&Node) -> Resources) -> i64 {
    let open = |node: &&Node| node.present && node.report.schedulable;
    let nodes = world.nodes().iter().filter(open);
    let most = i64::from(job.spec.count);
    let on = |node: &Node| {
        let need = takes_up(world, job, node)?;
        let free = node.free().minus(&kept(node));
        let fits = need.fits_in(&node.report.capacity);
        fits.then(|| need.times_in(&free).clamp(0, most))
    };
    nodes.filter_map(on).sum()
}

/// What a task takes up on a node, if who uses its kernel does not keep it away.
fn takes_up(world: &World, job: &Job, node: &Node) -> Option<Resources> {
    let needs = &job.spec.needs;
    let tenancy = world.tenancy(node);
    let mine = |tenant: QueueId| needs.tenant == Some(tenant);
    if matches!(tenancy, Tenancy::Alone(tenant) if !mine(tenant)) {
        return None;
    }
    let plain = (Isolation::Shared, Resources::ZERO);
    let runtimes = node.report.runtimes.iter();
    let mut offered: Vec<(Isolation, Resources)> = runtimes
        .map(|runtime| (runtime.isolation, runtime.overhead))
        .collect();
    if offered.is_empty() {
        offered.push(plain);
    }
    let clean = match tenancy {
        Tenancy::Unused => true,
        Tenancy::One(tenant) | Tenancy::Alone(tenant) => mine(tenant),
        Tenancy::Several => false,
    };
    let alone = needs.isolation > Isolation::Shared && clean;
    let least = |level: Isolation| {
        let enough = offered.iter().filter(|(of, _)| *of >= level);
        enough.map(|(_, overhead)| *overhead).min()
    };
    let overhead = match (least(needs.isolation), tenancy) {
        (Some(overhead), Tenancy::Unused | Tenancy::One(_) | Tenancy::Several) => Some(overhead),
        (_, _) if alone => least(Isolation::Shared),
        (by_runtime, _) => by_runtime,
    };
    Some(job.resources().plus(&overhead?))
}

/// A job that could go now: it fits on nodes where no room is kept, and below the limits.
pub fn fitting(world: &World, now: TimeMs) -> Option<JobId> {
    let full = |node: &Node| {
        let kept = kept(world, node.id, None);
        if kept.is_zero() { kept } else { node.free() }
    };
    let jobs = world.jobs().values();
    let mut waiting = jobs.filter(|job| !job.tasks.queued.is_empty());
    waiting
        .find(|job| {
            let ready = job.ready();
            let size = i64::from(ready.size);
            ready.tasks >= u64::from(ready.size)
                && world.queues().cordoned(job.queue).is_none()
                && below_limits(world, job, &job.resources().times(size))
                && places(world, now, job, full) >= size
        })
        .map(|job| job.id)
}

fn below_limits(world: &World, job: &Job, cost: &Resources) -> bool {
    world.queues().path(job.queue).all(|id| {
        let queue = world.queues().queue(id);
        let charged = queue.held.plus(&world.reserved(id)).plus(cost);
        !queue.spec.limit.exceeded(&charged, cost)
    })
}

/// A task, or a gang, that could be preempted.
pub struct Unit {
    pub tasks: Vec<(TaskId, NodeId)>,
    pub leaf: QueueId,
    pub cost: Resources,
    pub open: bool,
    pub class: PriorityClass,
    /// Queues of its path that were beyond their guarantee with it, in start order.
    pub beyond: Vec<QueueId>,
}

/// All that runs, in the order in which it started.
pub fn units(
    world: &World,
    now: TimeMs,
    guarantee: &dyn Fn(QueueId, usize) -> i64,
    about: &dyn Fn(&Resources, usize) -> bool,
) -> Vec<Unit> {
    let mut starts: Vec<(TimeMs, JobId, Vec<u32>)> = Vec::new();
    for job in world.jobs().values() {
        let gang: Vec<u32> = job.tasks.gang.iter().collect();
        let gang = if job.tasks.gang_holds() {
            gang
        } else {
            Vec::new()
        };
        if let Some(first) = gang.first() {
            starts.push((job.tasks.active[first].granted, job.id, gang.clone()));
        }
        let single = job.tasks.active.iter();
        let single =
            single.filter(|(index, active)| !active.is_stopping() && !gang.contains(index));
        starts.extend(single.map(|(index, active)| (active.granted, job.id, vec![*index])));
    }
    starts.sort();
    let mut sums: BTreeMap<QueueId, Resources> = BTreeMap::new();
    let unit = |(granted, id, indexes): (TimeMs, JobId, Vec<u32>)| {
        let job = &world.jobs()[&id];
        let cost = job.resources().times(indexes.len() as i64);
        let mut beyond = Vec::new();
        for queue in world.queues().path(job.queue) {
            let sum = sums.entry(queue).or_default();
            *sum += &cost;
            if (0..DIMENSIONS)
                .any(|d| about(&cost, d) && (sum[d] << crate::claim::FINE) > guarantee(queue, d))
            {
                beyond.push(queue);
            }
        }
        let task = |index: u32| (TaskId { job: id, index }, job.tasks.active[&index].node);
        Unit {
            tasks: indexes.into_iter().map(task).collect(),
            leaf: job.queue,
            cost,
            open: job.spec.preemptible && now - granted >= world.policy().preempt_after_ms,
            class: job.spec.priority_class,
            beyond,
        }
    };
    starts.into_iter().map(unit).collect()
}

/// A state in words, for a failure.
pub fn tell(world: &World, now: TimeMs) -> String {
    let shares = jeroboam_core::round::share::Shares::new(world, now);
    let some = |amounts: &[i64; DIMENSIONS]| format!("{:?}", [amounts[0], amounts[1], amounts[3]]);
    let mut told = vec![format!("pool {}", some(&shares.pool.0))];
    for queue in world.queues().iter() {
        let share = shares.of(queue.id);
        let whole =
            |fine: [i64; DIMENSIONS]| some(&fine.map(|amount| amount >> crate::claim::FINE));
        told.push(format!(
            "queue `{}` weight {} holds {} reserved {} guarantee {} of {} limit {} entitled {} demand {}",
            queue.spec.name,
            queue.spec.weight,
            some(&queue.held.0),
            some(&world.reserved(queue.id).0),
            whole(share.guarantee),
            some(&queue.spec.guarantee.0),
            some(&queue.spec.limit.amounts().0),
            some(&share.entitlement.0),
            some(&share.demand.0),
        ));
    }
    for node in world.nodes() {
        let open = node.present && node.report.schedulable;
        let (free, all) = (some(&node.free().0), some(&node.report.capacity.0));
        told.push(format!(
            "{} {}open: {free} free of {all}, {:?} {:?}",
            node.report.name,
            if open { "" } else { "not " },
            world.tenancy(node),
            node.report.runtimes.first().map(|first| first.isolation)
        ));
    }
    for job in world.jobs().values() {
        let queue = &world.queues().queue(job.queue).spec.name;
        let active: Vec<String> = job
            .tasks
            .active
            .iter()
            .map(|(index, a)| {
                let stop = if a.is_stopping() { "!" } else { "" };
                format!("{index}{stop}@{}", world.node(a.node).report.name)
            })
            .collect();
        told.push(format!(
            "{} of `{queue}` {:?} min {} each {} {} priority {}{} walltime {} m: queued {}, active {active:?}",
            job.id,
            job.spec.needs.isolation,
            job.spec.min,
            some(&job.resources().0),
            job.spec.priority_class.name(),
            job.spec.priority,
            if job.spec.preemptible { "" } else { " fixed" },
            job.spec.needs.walltime_ms / 60_000,
            job.tasks.queued,
        ));
    }
    for reservation in world.reservations() {
        told.push(format!("{reservation:?}"));
    }
    told.join("\n")
}
