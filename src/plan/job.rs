//! One job of a state file.

use std::collections::{BTreeMap, BTreeSet};

use jeroboam_core::isolation::Isolation;
use jeroboam_core::policy::{Discipline, Policy};
use jeroboam_core::resources::Resources;
use jeroboam_core::spec::{PriorityClass, TASKS_PER_BATCH_MAX, Taint, WALLTIME_MAX_MS, Within};

use super::amounts::{self, Rounded};
use super::apart;
use super::state;
use crate::batch_file::faults::Found;
use crate::batch_file::fields::{self, Fields};
use crate::batch_file::gang;
use crate::batch_file::nearest;
use crate::batch_file::tree::{At, Node as Tree, Value};

const JOB_FIELDS: [&str; 20] = [
    "name",
    "queue",
    "user",
    "class",
    "priority",
    "preemptible",
    "resources",
    "count",
    "min",
    "within",
    "running_max",
    "labels",
    "sites",
    "sites_excluded",
    "nodes_avoided",
    "isolation",
    "tolerations",
    "submit",
    "walltime",
    "running",
];

/// The walltime limit of a job that states none.
const WALLTIME_DEFAULT_MS: i64 = 3_600_000;

/// What the names in a job may mean.
pub struct Known<'s> {
    pub now_ms: i64,
    pub policy: &'s Policy,
    pub nodes: &'s BTreeMap<String, usize>,
    pub queues: &'s BTreeMap<String, usize>,
    pub sites: BTreeSet<&'s str>,
}

impl Known<'_> {
    /// The position of a node.
    fn node(&self, at: At, name: &str, found: &mut Found) -> Option<usize> {
        let position = self.nodes.get(name).copied();
        if position.is_none() {
            let names = self.nodes.keys().map(String::as_str);
            let what = format!("there is no node `{name}`");
            found.say(at, what, nearest::remedy(name, names));
        }
        position
    }
}

/// A job of the file.
#[derive(Debug)]
pub struct Job {
    pub at: At,
    pub name: String,
    pub queue_at: At,
    /// Who submitted it.
    pub user: String,
    /// Position of its queue.
    pub queue: usize,
    pub class: PriorityClass,
    pub priority: i32,
    pub resources: Resources,
    pub count: u32,
    /// So many of the first tasks go together.
    pub min: u32,
    pub within: Option<Within>,
    pub running_max: Option<u32>,
    pub preemptible: bool,
    pub labels: BTreeMap<String, String>,
    pub tolerations: BTreeSet<Taint>,
    pub sites: BTreeSet<String>,
    pub sites_excluded: BTreeSet<String>,
    /// Positions of nodes where it failed, and is not to go again.
    pub avoided: BTreeSet<usize>,
    pub isolation: Isolation,
    pub submit_ms: i64,
    pub walltime_ms: i64,
    /// Of its first tasks, in order.
    pub running: Vec<Running>,
}

/// A place that is taken already.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    pub at: At,
    /// Position of its node.
    pub node: usize,
    pub since_ms: i64,
}

/// Reads a job; `None` where something needed is missing or wrong.
pub fn read(node: &Tree, known: &Known<'_>, found: &mut Found) -> Option<Job> {
    let fields = Fields::of(node, "a job", &JOB_FIELDS, found)?;
    let name = state::name(&fields, "job", found)?;
    let (queue_at, queue) = read_queue(&fields, known, found)?;
    let resources = amounts::resources(&fields, "job", known.policy, Rounded::Up, found)?;
    if resources.is_zero() {
        let at = fields.take("resources").map_or(node.at, |node| node.at);
        found.say(
            at,
            "a task must ask for something",
            "ask at least for cpu, for example {cpu: 1}",
        );
    }
    let count = match fields.take("count") {
        Some(node) => fields::integer(node, 1, TASKS_PER_BATCH_MAX as u32, found)?,
        None => 1,
    };
    let min = match fields.take("min") {
        Some(node) => gang::min(node, count, found)?,
        None => 1,
    };
    let preemptible = match fields.take("preemptible") {
        Some(node) => fields::truth(node, found)?,
        None => true,
    };
    let running_max = match fields.take("running_max") {
        Some(node) => Some(fields::integer(node, min, u32::MAX, found)?),
        None => None,
    };
    let within = match fields.take("within") {
        Some(node) => Some(gang::within(node, found)?),
        None => None,
    };
    let priority = match fields.take("priority") {
        Some(node) => fields::integer(node, i32::MIN, i32::MAX, found)?,
        None => 0,
    };
    let class = match fields.take("class") {
        Some(node) => {
            let words = PriorityClass::ALL.map(|class| (class.name(), class));
            fields::choice(node, &words, found)?
        }
        None => PriorityClass::Normal,
    };
    let mut labels = BTreeMap::new();
    if let Some(node) = fields.take("labels") {
        fields::text_map(node, "`labels`", &mut labels, found);
    }
    let (submit_ms, running) = read_times(&fields, known, found)?;
    if running.len() > count as usize {
        let what = format!("{} places are taken by {count} tasks", running.len());
        found.say(
            running[count as usize].at,
            what,
            "raise `count`, or take places away",
        );
    }
    if !running.is_empty() && (running.len() as u32) < min {
        let what = format!("{} places for {min} tasks that go together", running.len());
        found.say(
            running[0].at,
            what,
            "a gang holds all of its places or none: name as many as `min`",
        );
    }
    Some(Job {
        at: node.at,
        name,
        queue_at,
        user: match fields.take("user") {
            Some(node) => node.text(found)?,
            None => "plan".to_owned(),
        },
        queue,
        class,
        priority,
        resources,
        count,
        min,
        within,
        running_max,
        preemptible,
        labels,
        tolerations: amounts::taints(fields.take("tolerations"), found),
        sites: read_sites(&fields, "sites", known, found),
        sites_excluded: read_sites(&fields, "sites_excluded", known, found),
        avoided: read_avoided(&fields, known, found),
        isolation: apart::isolation(fields.take("isolation"), found),
        submit_ms,
        walltime_ms: read_walltime(&fields, found)?,
        running,
    })
}

fn read_queue(fields: &Fields<'_>, known: &Known<'_>, found: &mut Found) -> Option<(At, usize)> {
    let Some(node) = fields.take("queue") else {
        found.say(
            fields.at,
            "this job names no queue",
            "add `queue: NAME`, one of `queues`",
        );
        return None;
    };
    let name = node.text(found)?;
    let queue = known.queues.get(&name).copied();
    if queue.is_none() {
        let names = known.queues.keys().map(String::as_str);
        found.say(
            node.at,
            format!("there is no queue `{name}`"),
            nearest::remedy(&name, names),
        );
    }
    Some((node.at, queue?))
}

fn read_sites(
    fields: &Fields<'_>,
    field: &str,
    known: &Known<'_>,
    found: &mut Found,
) -> BTreeSet<String> {
    let mut sites = BTreeSet::new();
    let nodes = fields.take(field).map(|node| fields::elements(node, found));
    for node in nodes.unwrap_or_default() {
        let Some(name) = node.text(found) else {
            continue;
        };
        if !known.sites.contains(name.as_str()) {
            let what = format!("no node is at a site `{name}`");
            found.say(
                node.at,
                what,
                nearest::remedy(&name, known.sites.iter().copied()),
            );
        }
        sites.insert(name);
    }
    sites
}

fn read_avoided(fields: &Fields<'_>, known: &Known<'_>, found: &mut Found) -> BTreeSet<usize> {
    let Some(node) = fields.take("nodes_avoided") else {
        return BTreeSet::new();
    };
    let mut avoided = BTreeSet::new();
    for node in fields::elements(node, found) {
        if let Some(name) = node.text(found) {
            avoided.extend(known.node(node.at, &name, found));
        }
    }
    avoided
}

fn read_walltime(fields: &Fields<'_>, found: &mut Found) -> Option<i64> {
    let Some(node) = fields.take("walltime") else {
        return Some(WALLTIME_DEFAULT_MS);
    };
    let walltime_ms = state::seconds_ms(node, found)?;
    if !(1..=WALLTIME_MAX_MS).contains(&walltime_ms) {
        let max = WALLTIME_MAX_MS / 1_000;
        found.say(
            node.at,
            "that is no walltime limit",
            format!("write more than 0 and up to {max} seconds"),
        );
        return None;
    }
    Some(walltime_ms)
}

/// When it was submitted, and what it holds since when: a place without `since` is held
/// since the submission, and a job without `submit` came with its first place, or now.
fn read_times(
    fields: &Fields<'_>,
    known: &Known<'_>,
    found: &mut Found,
) -> Option<(i64, Vec<Running>)> {
    let submit = fields.take("submit");
    let stated_ms = submit.map(|node| seconds_ms_past(node, known, found));
    let stated_ms = match stated_ms {
        Some(None) => return None,
        Some(stated_ms) => stated_ms,
        None => None,
    };
    let places = match fields.take("running") {
        Some(node) => read_places(node, known, found)?,
        None => Vec::new(),
    };
    // Under the fair order a place of unknown age is old enough to be taken away. The
    // others take none away, and go by the time that is left.
    let old_ms = match known.policy.order {
        Discipline::Fair => known.now_ms - known.policy.preempt_after_ms,
        Discipline::Fifo | Discipline::Easy | Discipline::Conservative => known.now_ms,
    };
    let first_ms = places.iter().map(|place| place.2.unwrap_or(old_ms)).min();
    let any_old = places.iter().any(|place| place.2.is_none());
    let stated_ms = stated_ms.map(|ms| if any_old { ms.min(old_ms) } else { ms });
    let submit_ms = stated_ms.or(first_ms).unwrap_or(known.now_ms);
    let running = places.into_iter().map(|(at, node, since_ms)| {
        let since_ms = since_ms.unwrap_or(submit_ms);
        if since_ms < submit_ms {
            let what = "this place was taken before the job was submitted";
            found.say(at, what, "make `submit` earlier, or `since` later");
        }
        Running { at, node, since_ms }
    });
    Some((submit_ms, running.collect()))
}

fn seconds_ms_past(node: &Tree, known: &Known<'_>, found: &mut Found) -> Option<i64> {
    let ms = state::seconds_ms(node, found)?;
    if ms > known.now_ms {
        found.say(
            node.at,
            "this is later than `now`",
            "describe what is there at `now`",
        );
        return None;
    }
    Some(ms)
}

/// `[node, ...]` or `[{node: NAME, since: SECONDS}, ...]`.
fn read_places(
    node: &Tree,
    known: &Known<'_>,
    found: &mut Found,
) -> Option<Vec<(At, usize, Option<i64>)>> {
    let Value::List(entries) = &node.value else {
        let what = format!("`running` is a list of nodes, this is {}", node.kind());
        found.say(
            node.at,
            what,
            "write [NODE, NODE] or [{node: NODE, since: SECONDS}]",
        );
        return None;
    };
    let mut places = Vec::new();
    for entry in entries {
        let (node, since) = match &entry.value {
            Value::Map(_) => {
                let fields = Fields::of(entry, "a place", &["node", "since"], found)?;
                (fields.take("node"), fields.take("since"))
            }
            _ => (Some(entry), None),
        };
        let Some(node) = node else {
            found.say(entry.at, "this place names no node", "add `node: NAME`");
            continue;
        };
        let name = node.text(found)?;
        let since_ms = match since {
            Some(node) => Some(seconds_ms_past(node, known, found)?),
            None => None,
        };
        if let Some(position) = known.node(node.at, &name, found) {
            places.push((node.at, position, since_ms));
        }
    }
    Some(places)
}
