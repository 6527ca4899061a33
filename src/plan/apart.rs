//! What of a state file keeps tenants apart: levels of isolation, runtimes of nodes, and who
//! has used their kernels.

use std::collections::BTreeMap;

use jeroboam_core::isolation::{Isolation, Runtime};
use jeroboam_core::policy::Policy;

use super::amounts::{Rounded, resource_map, sum_up};
use super::state;
use crate::batch_file::faults::Found;
use crate::batch_file::fields::{self, Fields};
use crate::batch_file::nearest;
use crate::batch_file::tree::{At, Node as Tree, Value};

const LEVELS: [(&str, Isolation); 3] = [
    ("shared", Isolation::Shared),
    ("sandbox", Isolation::Sandbox),
    ("kernel", Isolation::Kernel),
];

/// `shared`, `sandbox` or `kernel`; the first where nothing is said.
pub fn isolation(node: Option<&Tree>, found: &mut Found) -> Isolation {
    let level = node.and_then(|node| fields::choice(node, &LEVELS, found));
    level.unwrap_or_default()
}

/// `[{name: runsc, isolation: sandbox, overhead: {memory: 64MiB}}, ...]`.
pub fn runtimes(node: Option<&Tree>, policy: &Policy, found: &mut Found) -> Vec<Runtime> {
    let entries = node.map(|node| fields::elements(node, found));
    let entries = entries.unwrap_or_default().iter();
    entries
        .filter_map(|entry| runtime(entry, policy, found))
        .collect()
}

fn runtime(node: &Tree, policy: &Policy, found: &mut Found) -> Option<Runtime> {
    if !matches!(node.value, Value::Map(_)) {
        let what = format!("a runtime is a map, this is {}", node.kind());
        found.say(node.at, what, "write {name: runsc, isolation: sandbox}");
        return None;
    }
    let known = ["name", "isolation", "overhead"];
    let fields = Fields::of(node, "a runtime", &known, found)?;
    let overhead = fields
        .take("overhead")
        .map(|node| resource_map(node, "overhead", policy, Rounded::Up, found));
    Some(Runtime {
        name: state::name(&fields, "runtime", found)?,
        isolation: isolation(fields.take("isolation"), found),
        overhead: sum_up(overhead.flatten().unwrap_or_default()),
    })
}

/// The queues that have used a node's kernel; one or a list.
pub fn used_by(
    node: &Tree,
    queues: &BTreeMap<String, usize>,
    found: &mut Found,
) -> Vec<(At, usize)> {
    let Value::Map(entries) = &node.value else {
        return Vec::new();
    };
    let used_by = entries.iter().find(|(key, _)| key.name == "used_by");
    let names = used_by.map(|(_, node)| fields::elements(node, found));
    let mut used = Vec::new();
    for node in names.unwrap_or_default() {
        let Some(name) = node.text(found) else {
            continue;
        };
        match queues.get(&name) {
            Some(position) => used.push((node.at, *position)),
            None => {
                let names = queues.keys().map(String::as_str);
                let what = format!("there is no queue `{name}`");
                found.say(node.at, what, nearest::remedy(&name, names));
            }
        }
    }
    used
}
