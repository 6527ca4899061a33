//! The state file: its fields, read with their places. What fits together is
//! found out by the core ([`super::built`]).

use std::collections::{BTreeMap, BTreeSet};

use jeroboam_core::isolation::{Isolation, Runtime};
use jeroboam_core::policy::Policy;
use jeroboam_core::queue::{Limit, TaskBounds};
use jeroboam_core::resources::Resources;
use jeroboam_core::spec::Taint;

use super::amounts::{Rounded, resource_map, resources, sum_up, taints};
use super::apart;
use super::job::{self, Job};
use crate::batch_file::faults::Found;
use crate::batch_file::fields::{self, Fields};
use crate::batch_file::nearest;
use crate::batch_file::tree::{At, Node as Tree, Value};

const STATE_FIELDS: [&str; 5] = ["now", "policy", "nodes", "queues", "jobs"];
const NODE_FIELDS: [&str; 10] = [
    "name",
    "site",
    "cluster",
    "resources",
    "labels",
    "taints",
    "kernel",
    "runtimes",
    "used_by",
    "downtime",
];
const QUEUE_FIELDS: [&str; 9] = [
    "name",
    "parent",
    "weight",
    "guarantee",
    "limit",
    "running_max",
    "user_running_max",
    "isolation",
    "tenant",
];

/// Of the site and cluster that a node does not name.
const SITE_DEFAULT: &str = "site";

/// A described state.
#[derive(Debug)]
pub struct State {
    /// Milliseconds on the file's own clock.
    pub now_ms: i64,
    pub policy: Policy,
    pub nodes: Vec<Node>,
    pub queues: Vec<Queue>,
    pub jobs: Vec<Job>,
}

/// A node of the file.
#[derive(Debug)]
pub struct Node {
    pub at: At,
    pub name: String,
    pub site: String,
    pub cluster: String,
    pub capacity: Resources,
    pub labels: BTreeMap<String, String>,
    pub taints: BTreeSet<Taint>,
    /// Nodes of the same one share it.
    pub kernel: String,
    pub runtimes: Vec<Runtime>,
    /// Queues that have used its kernel, as far as there are such queues.
    pub used_by: Vec<(At, usize)>,
    /// From and until when nothing is to run there.
    pub downtime: Option<(i64, i64)>,
}

/// A queue of the file.
#[derive(Debug)]
pub struct Queue {
    pub at: At,
    pub name: String,
    /// Position of the queue it lies below.
    pub parent: Option<usize>,
    pub weight: u32,
    pub guarantee: Resources,
    pub limit: Limit,
    pub bounds: TaskBounds,
    pub isolation: Isolation,
    pub tenant: bool,
}

/// Reads a state; `None` where its shape is wrong.
pub fn read(root: &Tree, found: &mut Found) -> Option<State> {
    let fields = Fields::of(root, "a state", &STATE_FIELDS, found)?;
    let now_ms = fields
        .take("now")
        .map_or(Some(0), |node| seconds_ms(node, found))?;
    let policy = match fields.take("policy") {
        Some(node) => read_policy(node, found)?,
        None => Policy::default(),
    };
    let entries = list(&fields, "nodes", found);
    let mut nodes: Vec<Node> = entries
        .iter()
        .filter_map(|node| read_node(node, &policy, found))
        .collect();
    let node_positions = positions(
        nodes.iter().map(|node| (node.name.as_str(), node.at)),
        "node",
        found,
    );
    let queues = read_queues(list(&fields, "queues", found), &policy, found);
    let queue_positions = positions(
        queues.iter().map(|queue| (queue.name.as_str(), queue.at)),
        "queue",
        found,
    );
    for (node, entry) in nodes.iter_mut().zip(entries) {
        node.used_by = apart::used_by(entry, &queue_positions, found);
    }
    let known = job::Known {
        now_ms,
        policy: &policy,
        nodes: &node_positions,
        queues: &queue_positions,
        sites: nodes.iter().map(|node| node.site.as_str()).collect(),
    };
    let entries = list(&fields, "jobs", found);
    let jobs: Vec<Job> = entries
        .iter()
        .filter_map(|node| job::read(node, &known, found))
        .collect();
    positions(
        jobs.iter().map(|job| (job.name.as_str(), job.at)),
        "job",
        found,
    );
    Some(State {
        now_ms,
        policy,
        nodes,
        queues,
        jobs,
    })
}

/// The entries of a list that may be left out.
fn list<'n>(fields: &Fields<'n>, name: &str, found: &mut Found) -> &'n [Tree] {
    match fields.take(name).map(|node| (node, &node.value)) {
        None => &[],
        Some((_, Value::List(nodes))) => nodes,
        Some((node, _)) => {
            let what = format!("`{name}` is a list, this is {}", node.kind());
            found.say(node.at, what, "start each entry with a dash: `- name: ...`");
            &[]
        }
    }
}

/// Where each name stands in its list; each may be there once.
fn positions<'a>(
    names: impl Iterator<Item = (&'a str, At)>,
    what: &str,
    found: &mut Found,
) -> BTreeMap<String, usize> {
    let mut positions = BTreeMap::new();
    for (position, (name, at)) in names.enumerate() {
        if positions.insert(name.to_owned(), position).is_some() {
            let remedy = format!("give every {what} a name of its own");
            found.say(at, format!("there is a {what} `{name}` already"), remedy);
        }
    }
    positions
}

/// The required name of an entry.
pub fn name(fields: &Fields<'_>, what: &str, found: &mut Found) -> Option<String> {
    match fields.take("name") {
        Some(node) => node.text(found),
        None => {
            found.say(
                fields.at,
                format!("this {what} has no name"),
                "add `name: ...`",
            );
            None
        }
    }
}

/// Seconds, with up to three decimals, as milliseconds.
pub fn seconds_ms(node: &Tree, found: &mut Found) -> Option<i64> {
    /// Some thirty thousand years either way.
    const SECONDS_MAX: i64 = 1_000_000_000_000;
    let text = node.text(found)?;
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, "0"));
    let decimals = decimals.trim_end_matches('0');
    let digits = decimals.chars().all(|c| c.is_ascii_digit()) && decimals.len() <= 3;
    let seconds: Option<i64> = whole.parse().ok().filter(|_| digits);
    let thousandths: Option<i64> = format!("{decimals:0<3}").parse().ok();
    let read = seconds
        .zip(thousandths)
        .filter(|(s, _)| (-SECONDS_MAX..=SECONDS_MAX).contains(s));
    let Some((seconds, thousandths)) = read else {
        let what = format!("`{text}` is not a number of seconds");
        found.say(
            node.at,
            what,
            "write seconds, such as 90 or 0.5, without a unit",
        );
        return None;
    };
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    Some(seconds * 1_000 + sign * thousandths)
}

/// Each key is tried for itself in the shipped policy, so that faults have places.
fn read_policy(node: &Tree, found: &mut Found) -> Option<Policy> {
    let Value::Map(entries) = &node.value else {
        let what = format!("`policy` is a map, this is {}", node.kind());
        found.say(
            node.at,
            what,
            "write keys such as `memory_exponent_leaf: 0`",
        );
        return None;
    };
    let shipped = serde_json::to_value(Policy::default());
    let shipped = shipped.expect("a policy is plain data");
    let known: Vec<String> = shipped
        .as_object()
        .map(|keys| keys.keys().cloned().collect())
        .unwrap_or_default();
    let mut policy = shipped.clone();
    for (key, node) in entries {
        if !known.contains(&key.name) {
            let what = format!("unknown field `{}` in the policy", key.name);
            found.say(
                key.at,
                what,
                nearest::remedy(&key.name, known.iter().map(String::as_str)),
            );
            continue;
        }
        let value = match &node.value {
            Value::List(_) => serde_json::Value::from(fields::texts(node, found)),
            _ => {
                let text = node.text(found)?;
                match (text.parse::<i64>(), text.parse::<bool>()) {
                    (Ok(number), _) => number.into(),
                    (_, Ok(truth)) => truth.into(),
                    _ => serde_json::Value::from(text),
                }
            }
        };
        let mut alone = shipped.clone();
        alone[key.name.as_str()] = value.clone();
        match serde_json::from_value::<Policy>(alone).map(|alone| alone.validate()) {
            Ok(Ok(())) => policy[key.name.as_str()] = value,
            Ok(Err(rejected)) => found.say(node.at, rejected.to_string(), rejected.remedy()),
            Err(error) => found.say(
                node.at,
                format!("this is no value for `{}`: {error}", key.name),
                format!("the shipped value is {}", shipped[key.name.as_str()]),
            ),
        }
    }
    serde_json::from_value(policy).ok()
}

fn read_node(node: &Tree, policy: &Policy, found: &mut Found) -> Option<Node> {
    let fields = Fields::of(node, "a node", &NODE_FIELDS, found)?;
    let name = name(&fields, "node", found)?;
    let mut labels = BTreeMap::new();
    if let Some(node) = fields.take("labels") {
        fields::text_map(node, "`labels`", &mut labels, found);
    }
    let text = |field: &str, found: &mut Found| match fields.take(field) {
        Some(node) => node.text(found),
        None => Some(SITE_DEFAULT.to_owned()),
    };
    Some(Node {
        at: node.at,
        site: text("site", found)?,
        cluster: text("cluster", found)?,
        capacity: resources(&fields, "node", policy, Rounded::Down, found)?,
        taints: taints(fields.take("taints"), found),
        kernel: match fields.take("kernel") {
            Some(node) => node.text(found)?,
            None => format!("of {name}"),
        },
        runtimes: apart::runtimes(fields.take("runtimes"), policy, found),
        used_by: Vec::new(),
        labels,
        name,
        downtime: read_downtime(&fields, found),
    })
}

/// `{from: SECONDS, until: SECONDS}`.
fn read_downtime(fields: &Fields<'_>, found: &mut Found) -> Option<(i64, i64)> {
    let node = fields.take("downtime")?;
    let fields = Fields::of(node, "a downtime", &["from", "until"], found)?;
    let (Some(from), Some(until)) = (fields.take("from"), fields.take("until")) else {
        found.say(
            node.at,
            "this downtime lacks an end",
            "write {from: SECONDS, until: SECONDS}",
        );
        return None;
    };
    Some((seconds_ms(from, found)?, seconds_ms(until, found)?))
}

fn read_queues(entries: &[Tree], policy: &Policy, found: &mut Found) -> Vec<Queue> {
    let mut parents = Vec::new();
    let mut queues = Vec::new();
    for node in entries {
        let Some(fields) = Fields::of(node, "a queue", &QUEUE_FIELDS, found) else {
            continue;
        };
        let Some(name) = name(&fields, "queue", found) else {
            continue;
        };
        let amounts = |field: &str, rounded, found: &mut Found| {
            let node = fields.take(field)?;
            resource_map(node, field, policy, rounded, found)
        };
        let guarantee = amounts("guarantee", Rounded::Up, found);
        let mut limit = Limit::default();
        for (dimension, amount) in amounts("limit", Rounded::Down, found).unwrap_or_default() {
            limit.0[dimension] = Some(amount);
        }
        let max = jeroboam_core::queue::WEIGHT_MAX;
        let weight = fields
            .take("weight")
            .map(|node| fields::integer(node, 0, max, found));
        let parent = fields
            .take("parent")
            .map(|node| (node.at, node.text(found)));
        let tenant = fields
            .take("tenant")
            .and_then(|node| fields::truth(node, found));
        parents.push(parent);
        let (at, parent, weight) = (node.at, None, weight.flatten().unwrap_or(1));
        queues.push(Queue {
            at,
            name,
            parent,
            weight,
            guarantee: sum_up(guarantee.unwrap_or_default()),
            limit,
            bounds: TaskBounds {
                running_max: read_bound(&fields, "running_max", found),
                user_running_max: read_bound(&fields, "user_running_max", found),
                user_queued_max: None,
            },
            isolation: apart::isolation(fields.take("isolation"), found),
            tenant: tenant.unwrap_or(false),
        });
    }
    let known: BTreeMap<String, usize> = queues
        .iter()
        .enumerate()
        .map(|(position, queue)| (queue.name.clone(), position))
        .collect();
    for (position, parent) in parents.into_iter().enumerate() {
        queues[position].parent = match parent {
            // `cms.higgs` lies below `cms` if there is such a queue.
            None => queues[position]
                .name
                .rsplit_once('.')
                .and_then(|(above, _)| known.get(above).copied()),
            Some((at, parent)) => parent.and_then(|parent| {
                let there = known.get(&parent).copied();
                if there.is_none() {
                    let names = known.keys().map(String::as_str);
                    found.say(
                        at,
                        format!("there is no queue `{parent}`"),
                        nearest::remedy(&parent, names),
                    );
                }
                there
            }),
        };
    }
    check_circles(&queues, found);
    queues
}

fn read_bound(fields: &Fields<'_>, name: &str, found: &mut Found) -> Option<u64> {
    let node = fields.take(name)?;
    fields::integer(node, 1, u64::from(u32::MAX), found)
}

/// A queue cannot lie below itself.
fn check_circles(queues: &[Queue], found: &mut Found) {
    for (position, queue) in queues.iter().enumerate() {
        let mut above = queue.parent;
        let mut steps = 0;
        while let Some(parent) = above.filter(|parent| *parent != position && steps <= queues.len())
        {
            above = queues[parent].parent;
            steps += 1;
        }
        if above == Some(position) {
            let what = format!("the queue `{}` lies below itself", queue.name);
            found.say(queue.at, what, "name another parent, or none");
        }
    }
}
