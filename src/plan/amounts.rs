//! Amounts and taints, which nodes and jobs of a state file share.

use std::collections::BTreeSet;

use jeroboam_core::policy::Policy;
use jeroboam_core::resources::{AMOUNT_MAX, CPU, DISK, GPU, MEMORY, Resources};
use jeroboam_core::spec::Taint;
use jeroboam_units::{Bytes, Cores};

use crate::batch_file::faults::Found;
use crate::batch_file::fields::{self, Fields};
use crate::batch_file::nearest;
use crate::batch_file::tree::{Node as Tree, Value};

const STANDING: [&str; 4] = ["cpu", "memory", "disk", "gpu"];

/// `{key: KEY, value: VALUE}`, or in short `KEY=VALUE` or `KEY`.
pub fn taints(node: Option<&Tree>, found: &mut Found) -> BTreeSet<Taint> {
    let mut taints = BTreeSet::new();
    for node in node
        .map(|node| fields::elements(node, found))
        .unwrap_or_default()
    {
        let (key, value) = match &node.value {
            Value::Scalar { text, .. } => {
                let (key, value) = text.split_once('=').unwrap_or((text, ""));
                (Some(key.to_owned()), Some(value.to_owned()))
            }
            _ => {
                let Some(fields) = Fields::of(node, "a taint", &["key", "value"], found) else {
                    continue;
                };
                let key = fields.take("key").and_then(|node| node.text(found));
                (key, fields.take("value").and_then(|node| node.text(found)))
            }
        };
        match key {
            Some(key) => {
                let value = value.unwrap_or_default();
                taints.insert(Taint { key, value });
            }
            None => found.say(
                node.at,
                "this taint has no key",
                "write {key: KEY, value: VALUE}",
            ),
        }
    }
    taints
}

/// Which way bytes go that are no whole MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounded {
    /// What there is.
    Down,
    /// What is asked for.
    Up,
}

/// The required `resources` of an entry.
pub fn resources(
    fields: &Fields<'_>,
    what: &str,
    policy: &Policy,
    rounded: Rounded,
    found: &mut Found,
) -> Option<Resources> {
    let Some(node) = fields.take("resources") else {
        let what = format!("this {what} has no resources");
        found.say(fields.at, what, "add `resources: {cpu: 8, memory: 32GiB}`");
        return None;
    };
    let amounts = resource_map(node, "resources", policy, rounded, found)?;
    let resources = sum_up(amounts);
    if !resources.is_valid() {
        found.say(
            node.at,
            "an amount is absurd",
            "describe amounts that a site can have",
        );
        return None;
    }
    Some(resources)
}

/// A vector of amounts by dimension; what is not named is none.
pub fn sum_up(amounts: Vec<(usize, i64)>) -> Resources {
    let mut resources = Resources::ZERO;
    for (dimension, amount) in amounts {
        resources[dimension] = amount;
    }
    resources
}

/// The amounts of a map from resources, by dimension.
pub fn resource_map(
    node: &Tree,
    field: &str,
    policy: &Policy,
    rounded: Rounded,
    found: &mut Found,
) -> Option<Vec<(usize, i64)>> {
    let Value::Map(entries) = &node.value else {
        let what = format!("`{field}` is a map, this is {}", node.kind());
        found.say(node.at, what, "write {cpu: 8, memory: 32GiB}");
        return None;
    };
    let mut amounts = Vec::new();
    for (key, node) in entries {
        let amount = match key.name.as_str() {
            "cpu" => (CPU, fields::amount(node, found).map(|cores: Cores| cores.0)),
            "memory" => (MEMORY, mib(node, rounded, found)),
            "disk" => (DISK, mib(node, rounded, found)),
            "gpu" => (GPU, fields::integer(node, 0, AMOUNT_MAX - 1, found)),
            name => match policy.extended_dimension(name) {
                Some(dimension) => (dimension, fields::integer(node, 0, AMOUNT_MAX - 1, found)),
                None => {
                    let names = policy.extended_resources.iter().map(String::as_str);
                    let near = nearest::remedy(name, STANDING.into_iter().chain(names));
                    let remedy = format!(
                        "{near} (others are named by `policy: {{extended_resources: [NAME]}}`)"
                    );
                    found.say(key.at, format!("there is no resource `{name}`"), remedy);
                    continue;
                }
            },
        };
        amounts.push((amount.0, amount.1?));
    }
    Some(amounts)
}

fn mib(node: &Tree, rounded: Rounded, found: &mut Found) -> Option<i64> {
    let bytes: Bytes = fields::amount(node, found)?;
    Some(match rounded {
        Rounded::Up => bytes.mib_ceil(),
        Rounded::Down => (bytes.0 >> 20) as i64,
    })
}
