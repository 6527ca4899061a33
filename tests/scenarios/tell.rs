//! The core's answers in words.

use jeroboam_core::effect::Effect;
use jeroboam_core::ids::{JobId, NodeId, TaskId};
use jeroboam_core::isolation::Way;
use jeroboam_core::job::{AttemptRecord, Outcome};
use jeroboam_core::policy::Discipline;
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::resources::{CPU, DISK, EXTENDED, GPU, MEMORY, Resources};
use jeroboam_core::round::Plan;
use jeroboam_core::round::explain::Reasons;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_units::{Bytes, Cores, Span};

/// One line for each effect; grants of neighbours together.
pub fn effects(effects: &[Effect], world: &World) -> Vec<String> {
    let site = |id| &world.site(id).spec.name;
    let tell = |effect: &Effect| match effect {
        Effect::Grant { site: at, lease } => format!("grant {lease} at {}", site(*at)),
        Effect::Stop { site: at, lease } => format!("stop {lease} at {}", site(*at)),
        Effect::AttemptEnded(record) => ended(record),
        Effect::BatchFinished(batch) => format!("{batch} finished"),
        Effect::Quarantined {
            site,
            node,
            quarantine,
        } => {
            let span = Span(quarantine.until - quarantine.since);
            let node = node
                .as_ref()
                .map_or(String::new(), |node| format!("/{node}"));
            format!("quarantined {site}{node} for {span}: {quarantine}")
        }
        Effect::Retired { batch, jobs } => format!("{} retired with {} jobs", batch.id, jobs.len()),
    };
    effects.iter().map(tell).collect()
}

fn ended(record: &AttemptRecord) -> String {
    let AttemptRecord {
        lease,
        site,
        node,
        end,
        ..
    } = record;
    let how = match &end.outcome {
        Outcome::Exit(code) => format!("exit {code}"),
        Outcome::Signal(signal) => format!("signal {signal}"),
        other => format!("{other:?}"),
    };
    format!("{lease} ended on {site}/{node}: {how}")
}

/// A rejection with its kind, place and remedy.
pub fn rejected(rejected: &Rejected) -> Vec<String> {
    let mut told = vec![format!("rejected {}: {rejected}", rejected.code())];
    told.push(format!("  do: {}", rejected.remedy()));
    told
}

/// What placements that are told together have in common: job, node, attempt and way.
type Run = (JobId, NodeId, u32, Option<Way>);

/// The placements, neighbours on one node together, before they are committed.
pub fn placements(plan: &Plan, world: &World) -> Vec<String> {
    let mut runs: Vec<(Run, RangeSet)> = Vec::new();
    for placement in &plan.placements {
        let task = placement.task;
        let attempt = world.jobs()[&task.job].next_attempt(task.index);
        let key = (task.job, placement.node, attempt, placement.way);
        match runs.last_mut() {
            Some((of, indexes)) if *of == key => {
                indexes.insert(task.index);
            }
            _ => {
                let indexes = RangeSet::from_iter([(task.index, task.index)]);
                runs.push((key, indexes));
            }
        }
    }
    let tell = |((job, node, attempt, way), indexes): &(Run, RangeSet)| {
        let again = if *attempt > 1 {
            format!(" #{attempt}")
        } else {
            String::new()
        };
        let how = way.map_or(String::new(), |way| self::way(way, world, *node));
        let node = place(world, *node);
        format!("placed {job}[{indexes}]{again} on {node}{how}")
    };
    runs.iter().map(tell).collect()
}

/// How a task runs on a node: ` in runsc`, ` alone`.
fn way(way: Way, world: &World, node: NodeId) -> String {
    let runtimes = &world.node(node).report.runtimes;
    let runtime = runtimes.get(usize::from(way.runtime));
    let runtime = runtime.map_or(String::new(), |runtime| format!(" in {}", runtime.name));
    let alone = if way.alone { " alone" } else { "" };
    format!("{runtime}{alone}")
}

/// What a plan decides besides placements.
pub fn decisions(plan: &Plan, world: &World) -> Vec<String> {
    let mut told: Vec<String> = plan
        .preemptions
        .iter()
        .map(|preemption| format!("preempted {} for {}", preemption.task, preemption.by))
        .collect();
    for reservation in plan.reservations.iter().flatten() {
        let indexes: RangeSet = reservation
            .tasks
            .iter()
            .map(|index| (*index, *index))
            .collect();
        let places: Vec<String> = reservation
            .places
            .iter()
            .map(|place| self::place(world, place.node))
            .collect();
        let how = if reservation.freed {
            "freed"
        } else {
            "reserved"
        };
        // Under the fair order a reservation starts whenever there is room.
        let when = match world.policy().order {
            Discipline::Fair => String::new(),
            _ => format!(" in {}", Span(reservation.promised - world.now())),
        };
        told.push(format!(
            "{how} for {}[{indexes}] {}{when}",
            reservation.job,
            places.join(" ")
        ));
    }
    told
}

/// All of a plan that is not committed.
pub fn plan(plan: &Plan, world: &World) -> Vec<String> {
    let mut told = placements(plan, world);
    told.extend(decisions(plan, world));
    told
}

/// `site/node`.
pub fn place(world: &World, node: NodeId) -> String {
    let node = world.node(node);
    format!("{}/{}", world.site(node.site).spec.name, node.report.name)
}

/// Why each job with queued tasks waits.
pub fn waiting(world: &World, now: TimeMs) -> Vec<String> {
    let mut reasons = Reasons::new(world, now);
    let waits = world
        .jobs()
        .values()
        .filter(|job| !job.tasks.queued.is_empty());
    waits
        .map(|job| {
            let first = job.tasks.queued.first().unwrap_or_default();
            let reason = reasons.of_task(TaskId {
                job: job.id,
                index: first,
            });
            format!("waits {}[{}]: {}", job.id, job.tasks.queued, reason.code())
        })
        .collect()
}

/// `3 cpu, 12GiB memory`; nothing is `nothing`.
pub fn amounts(resources: &Resources, world: &World) -> String {
    let mut parts = Vec::new();
    let mut part = |amount: i64, text: String| parts.extend((amount != 0).then_some(text));
    part(resources[CPU], format!("{} cpu", Cores(resources[CPU])));
    part(
        resources[MEMORY],
        format!("{} memory", bytes(resources[MEMORY])),
    );
    part(resources[DISK], format!("{} disk", bytes(resources[DISK])));
    part(resources[GPU], format!("{} gpu", resources[GPU]));
    for (position, name) in world.policy().extended_resources.iter().enumerate() {
        let amount = resources[EXTENDED + position];
        part(amount, format!("{amount} {name}"));
    }
    if parts.is_empty() {
        return "nothing".into();
    }
    parts.join(" ")
}

fn bytes(mib: i64) -> String {
    if mib < 0 {
        return format!("-{}", Bytes::from_mib(-mib));
    }
    Bytes::from_mib(mib).to_string()
}
