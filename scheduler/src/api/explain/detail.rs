//! What stands in a waiting task's way by name: queues and amounts, reservations, tasks.
//!
//! The rule: it only says more of a reason that the core has found; it never finds another.
//! What is listed is bounded, and told to be cut.

use crate::convert::shortage;
use jeroboam_core::ids::{NodeId, QueueId, TaskId};
use jeroboam_core::job::{ActiveState, Job, StopWhy};
use jeroboam_core::policy::{Discipline, Policy};
use jeroboam_core::queue::Queue;
use jeroboam_core::reason::{Refusal, WaitingReason};
use jeroboam_core::reservation::Reservation;
use jeroboam_core::resources::{DIMENSIONS, Resources};
use jeroboam_core::round::counts::Counts;
use jeroboam_core::round::explain;
use jeroboam_core::round::room::Room;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use jeroboam_units::Span;

/// Of things that are listed, the first ones.
const LISTED_MAX: usize = 3;

/// Says more of why a task waits, and of what would help.
pub(super) fn add(
    world: &World,
    now: TimeMs,
    task: TaskId,
    reason: WaitingReason,
    waiting: &mut v1::WaitingReason,
) {
    let job = &world.jobs()[&task.job];
    let needs = job.needs_of(task.index);
    let each = &needs.resources;
    let more = match reason {
        WaitingReason::Refused(Refusal::TooLarge) => world
            .shortage(now, needs)
            .map(|found| shortage::text(world, &found)),
        WaitingReason::Refused(Refusal::Busy) => {
            below_guarantee(world, job, each).or_else(|| outranked(world, job))
        }
        WaitingReason::Gang => Some(gang(world, now, job)),
        WaitingReason::RunningMax => {
            let max = job.spec.running_max.unwrap_or(0);
            Some(format!("`running_max` is {max}"))
        }
        WaitingReason::QueueLimit => limit(world, job, each, waiting),
        WaitingReason::QueueRunningMax | WaitingReason::UserLimit => bound(world, job),
        WaitingReason::NonPreemptible => shielded(world, job, each),
        WaitingReason::HeldBack => held_back(world),
        // The others say all there is.
        _ => None,
    };
    if let Some(more) = more {
        waiting.text = format!("{}: {more}", waiting.text);
    }
}

/// The room that is kept for a task, if any is.
pub(super) fn reservation(world: &World, now: TimeMs, task: TaskId) -> Option<v1::Reservation> {
    let kept = explain::reservation_of(world, task)?;
    let predicted = explain::predicted_start(world, now, kept);
    let place = |place: &jeroboam_core::reservation::Place| {
        let node = world.node(place.node);
        v1::ReservedPlace {
            site: world.site(node.site).spec.name.clone(),
            node: node.report.name.clone(),
            tasks: place.tasks,
        }
    };
    Some(v1::Reservation {
        places: kept.places.iter().map(place).collect(),
        promised_ms: kept.promised.0,
        predicted_start_ms: predicted.map_or(0, |at| at.0),
        leaving: leaving(world, kept),
    })
}

/// Those who were told to end for whom room is freed.
fn leaving(world: &World, kept: &Reservation) -> Vec<v1::Task> {
    let by = StopWhy::Preempted { by: kept.job };
    let nodes = kept.places.iter().map(|place| world.node(place.node));
    let tasks = nodes.flat_map(|node| &node.tasks);
    let leaving = tasks.filter(|task| {
        let active = &world.jobs()[&task.job].tasks.active[&task.index];
        active.state == ActiveState::Stopping { why: by }
    });
    leaving
        .take(super::NAMED_MAX)
        .map(|task| crate::convert::lease::task(*task))
        .collect()
}

/// How much of a resource, by its name: `2 of cpu`.
fn of(policy: &Policy, d: usize, amount: i64) -> String {
    let (amount, name) = (shortage::amount(d, amount), shortage::name(policy, d));
    format!("{amount} of {name}")
}

/// Resources of which a task asks for something.
fn asked(each: &Resources) -> impl Iterator<Item = usize> + '_ {
    (0..DIMENSIONS).filter(|d| each[*d] > 0)
}

/// The lowest queue whose bound on running tasks stands in the way, and what it is.
fn bound(world: &World, job: &Job) -> Option<String> {
    let size = u64::from(job.ready().size);
    let (id, reason) = Counts::new(world).reached(world, job.queue, job.alone, size)?;
    let queue = world.queues().queue(id);
    let (name, bounds) = (&queue.spec.name, &queue.spec.bounds);
    Some(
        match (reason, bounds.running_max, bounds.user_running_max) {
            (WaitingReason::UserLimit, _, Some(max)) => {
                let by = &world.batches()[&job.batch].by;
                let running = queue.users.get(by).map_or(0, |tasks| tasks.running);
                format!("`{name}` lets a user run {max}, and {running} of `{by}` do")
            }
            (_, max, _) => {
                let max = max.unwrap_or_default();
                format!("`{name}` lets {max} run, and {} do", queue.running)
            }
        },
    )
}

/// The lowest queue whose limit stands in the way, by how much, and what would help.
fn limit(
    world: &World,
    job: &Job,
    each: &Resources,
    waiting: &mut v1::WaitingReason,
) -> Option<String> {
    let size = i64::from(job.ready().size);
    let cost = each.times(size);
    let found = world.queues().path(job.queue).find_map(|id| {
        let queue = world.queues().queue(id);
        let reserved = world.reserved(id);
        asked(each).find_map(|d| {
            let limit = queue.spec.limit.0[d]?;
            let charged = queue.held[d] + reserved[d];
            (charged + cost[d] > limit).then_some((queue, d, limit, charged, reserved[d]))
        })
    });
    let (queue, d, limit, charged, reserved) = found?;
    let (policy, name) = (world.policy(), &queue.spec.name);
    let (limit_text, asks) = (of(policy, d, limit), shortage::amount(d, cost[d]));
    if cost[d] > limit {
        waiting.remedy = format!(
            "ask for less, or raise the limit (`jero queue set {name} --limit {}={asks}`)",
            shortage::name(policy, d)
        );
        return Some(format!(
            "`{name}` may hold {limit_text}, and it asks for {asks}"
        ));
    }
    waiting.remedy = format!(
        "wait until something of `{name}` ends, or raise its limit; `jero queue show {name}` shows what it holds"
    );
    let kept = match reserved {
        0 => String::new(),
        kept => format!(", {} of it reserved", shortage::amount(d, kept)),
    };
    Some(format!(
        "`{name}` may hold {limit_text}, it has {}{kept}, and this asks for {asks}",
        shortage::amount(d, charged)
    ))
}

/// How many places there are for a gang, of how many.
fn gang(world: &World, now: TimeMs, job: &Job) -> String {
    use jeroboam_core::spec::Within;
    let there = Room::new(world, now).places(job.class);
    let group = match &job.spec.within {
        None => "in all".to_owned(),
        Some(Within::Site) => "at the site with most room".to_owned(),
        Some(Within::Cluster) => "in the cluster with most room".to_owned(),
        Some(Within::Label(key)) => format!("on the nodes of that `{key}` with most room"),
    };
    format!("{there} {group}, of {}", job.ready().size)
}

/// The queue on the way up that holds less than it is guaranteed of what is asked for.
fn guaranteed<'w>(world: &'w World, job: &Job, each: &Resources) -> Option<(&'w Queue, usize)> {
    world.queues().path(job.queue).find_map(|id| {
        let queue = world.queues().queue(id);
        let below = |d: &usize| queue.held[*d] < queue.spec.guarantee[*d];
        asked(each).find(below).map(|d| (queue, d))
    })
}

fn below_guarantee(world: &World, job: &Job, each: &Resources) -> Option<String> {
    if world.policy().order != Discipline::Fair {
        // Nothing is taken back in one line of all.
        return None;
    }
    let (queue, d) = guaranteed(world, job, each)?;
    let policy = world.policy();
    Some(format!(
        "`{}` holds {} of its guaranteed {}; a place is taken back once a preemptible task of a queue beyond its own guarantee has run for {}",
        queue.spec.name,
        shortage::amount(d, queue.held[d]),
        of(policy, d, queue.spec.guarantee[d]),
        Span(policy.preempt_after_ms)
    ))
}

/// Lower classes of its queue run, and keep their places for a time.
fn outranked(world: &World, job: &Job) -> Option<String> {
    world.outranks_running(job).then(|| {
        format!(
            "lower classes of its queue run; the place of a preemptible task of them is taken once it has run for {}",
            Span(world.policy().preempt_after_ms)
        )
    })
}

/// Who holds what nothing may take away, beyond its own guarantee.
fn shielded(world: &World, job: &Job, each: &Resources) -> Option<String> {
    let beyond = |queue: &&Queue| {
        let fixed = |d: usize| queue.held_fixed[d] > queue.spec.guarantee[d];
        queue.is_leaf() && queue.id != job.queue && asked(each).any(fixed)
    };
    let holders = world.queues().iter().filter(beyond);
    let holders: Vec<String> = holders
        .take(LISTED_MAX)
        .filter_map(|queue| {
            let d = asked(each).find(|d| queue.held_fixed[*d] > queue.spec.guarantee[*d])?;
            Some(format!(
                "`{}` holds {} so, and is guaranteed {}",
                queue.spec.name,
                of(world.policy(), d, queue.held_fixed[d]),
                shortage::amount(d, queue.spec.guarantee[d])
            ))
        })
        .collect();
    (!holders.is_empty()).then(|| holders.join("; "))
}

/// For whom room is held back.
fn held_back(world: &World) -> Option<String> {
    let listed = world.reservations().iter().take(LISTED_MAX).map(|kept| {
        let nodes = kept.places.iter().map(|place| node_name(world, place.node));
        let nodes: Vec<String> = nodes.take(LISTED_MAX).collect();
        let queue = &world.queues().queue(queue_of(world, kept)).spec.name;
        format!("{} of `{queue}` on {}", kept.job, nodes.join(", "))
    });
    let mut listed: Vec<String> = listed.collect();
    let all = world.reservations().len();
    if all > LISTED_MAX {
        listed.push(format!("{} more", all - LISTED_MAX));
    }
    (!listed.is_empty()).then(|| listed.join("; "))
}

fn queue_of(world: &World, kept: &Reservation) -> QueueId {
    world.jobs()[&kept.job].queue
}

fn node_name(world: &World, id: NodeId) -> String {
    let node = world.node(id);
    format!(
        "`{}` at `{}`",
        node.report.name,
        world.site(node.site).spec.name
    )
}
