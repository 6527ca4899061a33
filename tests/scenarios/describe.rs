//! Questions to the World: `show jobs|queues|nodes|kernels|sites|batches`, `explain`, `predict`.

use std::collections::BTreeMap;

use jeroboam_core::event::Selection;
use jeroboam_core::ids::{QueueId, TaskId};
use jeroboam_core::isolation::Tenancy;
use jeroboam_core::job::{ActiveState, Job};
use jeroboam_core::policy::{Discipline, Policy};
use jeroboam_core::predict::{self, Bounds, Prediction};
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::round::explain;
use jeroboam_core::round::share::Shares;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_units::{MicroEuro, Span};

use crate::words::Words;
use crate::{sites, tell};

/// What a `show` line asks for.
pub fn show(line: &Words<'_>, world: &World, now: TimeMs) -> Vec<String> {
    match line.word(1) {
        "jobs" => world
            .jobs()
            .values()
            .map(|job| self::job(job, world))
            .collect(),
        "queues" => queues(world, now),
        "nodes" => nodes(world),
        "kernels" => kernels(world),
        "sites" => world
            .sites()
            .iter()
            .map(|site| self::site(site, world))
            .collect(),
        "batches" => world.batches().values().map(batch).collect(),
        "records" => vec![format!(
            "{} jobs, {} classes, at most {} bytes",
            world.jobs().len(),
            world.classes().iter().count(),
            postcard::to_stdvec(world).map_or(0, |bytes| bytes.len().next_power_of_two())
        )],
        other => line.fail(&format!("cannot show `{other}`")),
    }
}

fn job(job: &Job, world: &World) -> String {
    let tasks = &job.tasks;
    let mut parts = Vec::new();
    let mut part = |state: String, indexes: &RangeSet| {
        if !indexes.is_empty() {
            parts.push(format!("{state} {indexes}"));
        }
    };
    part("held".into(), &tasks.held);
    let waits: Vec<String> = tasks.blocked.first().map_or(Vec::new(), |index| {
        let blockers = world.blockers(TaskId { job: job.id, index });
        blockers
            .iter()
            .map(|(blocker, _)| blocker.to_string())
            .collect()
    });
    part(format!("blocked on {}:", waits.join(" ")), &tasks.blocked);
    part("queued".into(), &tasks.queued);
    let mut active: BTreeMap<&str, RangeSet> = BTreeMap::new();
    for (index, attempt) in &tasks.active {
        let state = match attempt.state {
            ActiveState::Leased => "leased",
            ActiveState::Starting => "starting",
            ActiveState::Running { .. } => "running",
            ActiveState::Stopping { .. } => "stopping",
        };
        active.entry(state).or_default().insert(*index);
    }
    for (state, indexes) in &active {
        part(state.to_string(), indexes);
    }
    part("succeeded".into(), &tasks.succeeded);
    for (reason, indexes) in &tasks.failed {
        part(format!("failed {reason:?}"), indexes);
    }
    for (why, indexes) in &tasks.cancelled {
        part(format!("cancelled {why:?}"), indexes);
    }
    for altered in tasks.altered.values() {
        let needs = &altered.needs;
        let mut what = vec![format!(
            "asks for {}",
            tell::amounts(&needs.resources, world)
        )];
        let nodes = needs.avoided.nodes.iter();
        what.extend(nodes.map(|(site, node)| format!("not {site}/{node}")));
        what.extend(needs.avoided.sites.iter().map(|site| format!("not {site}")));
        part(what.join(" "), &altered.tasks);
    }
    let queue = &world.queues().queue(job.queue).spec.name;
    format!("{} {} in {queue}: {}", job.id, job.name, parts.join(", "))
}

fn batch(batch: &jeroboam_core::job::Batch) -> String {
    let state = match batch.finished {
        Some(_) => "finished".to_string(),
        None => format!("{} of {} jobs unfinished", batch.unfinished, batch.jobs),
    };
    format!("{} {} by {}: {state}", batch.id, batch.name, batch.by)
}

fn queues(world: &World, now: TimeMs) -> Vec<String> {
    let shares = Shares::new(world, now);
    let below_root = world
        .queues()
        .iter()
        .filter(|queue| queue.id != QueueId::ROOT);
    below_root
        .map(|queue| {
            format!(
                "{} weight {}: {} queued, {} running, holds {}, entitled to {}",
                queue.spec.name,
                queue.spec.weight,
                queue.queued,
                queue.running,
                tell::amounts(&queue.held, world),
                tell::amounts(&shares.of(queue.id).entitlement, world),
            )
        })
        .collect()
}

/// What each leaf holds.
pub fn sums(world: &World) -> Vec<String> {
    let leaves = world.queues().iter().filter(|queue| queue.is_leaf());
    leaves
        .map(|queue| {
            let held = tell::amounts(&queue.held, world);
            format!("{} runs {}, holds {held}", queue.spec.name, queue.running)
        })
        .collect()
}

fn nodes(world: &World) -> Vec<String> {
    let tell = |node: &jeroboam_core::site::Node| {
        let gone = if node.present { "" } else { ", gone" };
        let quarantine = node.health.quarantine.as_ref();
        let quarantined = quarantine.map_or("", |_| ", quarantined");
        let closed = world
            .site(node.site)
            .closed_at(node)
            .map(|closed| format!(", {:?} by {}: {}", closed.how, closed.by, closed.reason));
        let closed = closed.unwrap_or_default();
        format!(
            "{}: {} running, {} left of {}{gone}{quarantined}{closed}",
            tell::place(world, node.id),
            node.running,
            tell::amounts(&node.free(), world),
            tell::amounts(&node.report.capacity, world),
        )
    };
    world
        .nodes()
        .iter()
        .filter(|node| node.is_known())
        .map(tell)
        .collect()
}

/// Who has used the kernel of each node.
fn kernels(world: &World) -> Vec<String> {
    let name = |tenant: QueueId| &world.queues().queue(tenant).spec.name;
    let tell = |node: &jeroboam_core::site::Node| {
        let users = match world.tenancy(node) {
            Tenancy::Unused => "nobody".into(),
            Tenancy::One(tenant) => name(tenant).clone(),
            Tenancy::Several => "several".into(),
            Tenancy::Alone(tenant) => format!("{} alone", name(tenant)),
        };
        let (place, kernel) = (tell::place(world, node.id), &node.report.kernel);
        format!("{place} runs {kernel}, used by {users}")
    };
    let known = world.nodes().iter().filter(|node| node.is_known());
    known.map(tell).collect()
}

fn site(site: &jeroboam_core::site::Site, world: &World) -> String {
    let mut parts = vec![match site.session {
        Some(_) => "connected".to_string(),
        None => "disconnected".to_string(),
    }];
    parts.extend(site.withdrawn.then(|| "withdrawn".to_string()));
    parts.extend(
        site.closed
            .as_ref()
            .map(|closed| format!("{:?} by {}: {}", closed.how, closed.by, closed.reason)),
    );
    parts.extend(site.health.quarantine.map(|_| "quarantined".to_string()));
    parts.extend(
        (site.unknown_leases > 0).then(|| format!("{} unknown leases", site.unknown_leases)),
    );
    for downtime in &site.downtimes {
        parts.push(format!("downtime {} of {:?}", downtime.id, downtime.part));
    }
    parts.push(format!("{} running", site.running));
    if site.spec.contract.is_some() {
        let spent = MicroEuro(site.cost_micro_eur);
        let reserved = MicroEuro(site.cost_reserved_micro_eur);
        parts.push(format!("{spent} € spent, {reserved} € reserved"));
    }
    parts.push(format!("holds {}", tell::amounts(&site.held, world)));
    format!("{}: {}", site.spec.name, parts.join(", "))
}

/// What `explain job-1[3]` says.
pub fn explain(line: &Words<'_>, world: &World, now: TimeMs) -> Vec<String> {
    let Selection::Job(job, indexes) = sites::selection(line, line.word(1)) else {
        line.fail("explain which task?");
    };
    let index = indexes.and_then(|indexes| indexes.first()).unwrap_or(0);
    let explanation = match explain::explain(world, now, TaskId { job, index }) {
        Ok(explanation) => explanation,
        Err(rejected) => return tell::rejected(&rejected),
    };
    let reason = explanation.reason;
    let mut told = vec![format!("{}: {}", reason.code(), reason.text())];
    told.push(format!("  do: {}", reason.remedy()));
    for ((site, refusal), count) in &explanation.refusals {
        let site = &world.site(*site).spec.name;
        told.push(format!("  {site}: {count} × {}", refusal.code()));
    }
    for step in &explanation.path {
        told.push(format!(
            "  {} holds {}, is entitled to {}, key {}",
            world.queues().queue(step.queue).spec.name,
            tell::amounts(&step.held, world),
            tell::amounts(&step.entitlement, world),
            step.key_milli,
        ));
    }
    if let Some(start) = explanation.predicted_start {
        told.push(format!("  starts {} from now", Span(start - now)));
    }
    let among = match world.policy().order {
        Discipline::Fair => "its queue",
        _ => "the line",
    };
    told.push(format!("  {} ahead in {among}", explanation.ahead));
    told
}

/// What `predict job-1[3]` says.
pub fn predict(line: &Words<'_>, world: &World, now: TimeMs) -> String {
    let Selection::Job(job, indexes) = sites::selection(line, line.word(1)) else {
        line.fail("predict which task?");
    };
    let index = indexes.and_then(|indexes| indexes.first()).unwrap_or(0);
    let task = TaskId { job, index };
    match predict::predict(world.clone(), now, task, Bounds::default()) {
        Err(rejected) => tell::rejected(&rejected).join(" "),
        Ok(found) => {
            let after = Span(found.at() - now);
            let node = match found {
                Prediction::Starts { node, .. } => {
                    format!(" on {}", world.node(node).report.name)
                }
                _ => String::new(),
            };
            format!("{} after {after}{node}", found.code())
        }
    }
}

/// The World's policy with the keys of a `policy` line changed.
pub fn policy(line: &Words<'_>, world: &World) -> Policy {
    let mut policy = world.policy().clone();
    for (key, text) in line.options() {
        match key {
            "placements_per_round_max" => policy.placements_per_round_max = line.parse(text),
            "order" => policy.order = discipline(line, text),
            "conservative_depth" => policy.conservative_depth = line.parse(text),
            "score_stranded" => policy.score_stranded = line.parse(text),
            "score_fill" => policy.score_fill = line.parse(text),
            "score_price" => policy.score_price = line.parse(text),
            "usage_half_life_ms" => policy.usage_half_life_ms = line.parse(text),
            "memory_exponent_inner" => policy.memory_exponent_inner = line.parse(text),
            "memory_exponent_leaf" => policy.memory_exponent_leaf = line.parse(text),
            "non_preemptible_within_guarantee" => {
                policy.non_preemptible_within_guarantee = line.parse(text);
            }
            "preempt_after" => policy.preempt_after_ms = line.span_ms(text),
            "preempt_by_class" => policy.preempt_by_class = line.parse(text),
            "preemptions_per_hour_max" => policy.preemptions_per_hour_max = line.parse(text),
            "grace" => policy.grace_ms = line.span_ms(text),
            "avoid" => policy.avoid_ms = line.span_ms(text),
            "lost_attempts_max" => policy.lost_attempts_max = line.parse(text),
            "quarantine_failures" => policy.quarantine_failures = line.parse(text),
            "quarantine_quick" => policy.quarantine_quick_ms = line.span_ms(text),
            "queued_max" => policy.queued_max = line.parse(text),
            "finished_in_memory" => policy.finished_in_memory_ms = line.span_ms(text),
            "extended_resources" => {
                let names = text.split(',').filter(|name| !name.is_empty());
                policy.extended_resources = names.map(str::to_string).collect();
            }
            other => line.fail(&format!("no policy key `{other}`")),
        }
    }
    policy
}

fn discipline(line: &Words<'_>, name: &str) -> Discipline {
    let mut all = Discipline::ALL.into_iter();
    match all.find(|discipline| discipline.name() == name) {
        Some(discipline) => discipline,
        None => line.fail(&format!("no order `{name}`")),
    }
}
