//! Which tasks of a job go together, and how many of them may run at once.
//!
//! The rule: what contradicts itself in the file is told with its line. Whether the
//! places that a gang needs exist is the scheduler's to say (`jero explain`).

use jeroboam_core::spec::{TASKS_PER_BATCH_MAX, Within};
use jeroboam_proto::v1;

use super::faults::Found;
use super::fields;
use super::tree::Node;

/// The nodes of a job's `min`, `within`, `running_max` and `preemptible`.
pub(super) struct Written<'n> {
    pub min: Option<&'n Node>,
    pub within: Option<&'n Node>,
    pub running_max: Option<&'n Node>,
    pub preemptible: Option<&'n Node>,
}

/// Reads them into a job whose `count` stands already.
pub(super) fn read(spec: &mut v1::JobSpec, written: &Written<'_>, found: &mut Found) {
    let min = written.min.and_then(|node| min(node, spec.count, found));
    spec.min = min.unwrap_or(0);
    if let Some(node) = written.within {
        let within = within(node, found);
        if written.min.is_none() || min == Some(1) {
            let what = "only tasks that go together can stay within something";
            found.say(node.at, what, "set `min` to 2 or more, or leave it out");
        }
        spec.within = within.map(wire);
    }
    if let Some(node) = written.running_max {
        spec.running_max = running_max(node, spec.min, found).unwrap_or(0);
    }
    spec.preemptible = written
        .preemptible
        .and_then(|node| fields::truth(node, found));
}

/// How many of a job's first tasks go together; no more than it has.
pub(crate) fn min(node: &Node, count: u32, found: &mut Found) -> Option<u32> {
    let min = fields::integer(node, 1, TASKS_PER_BATCH_MAX as u32, found)?;
    if min > count {
        let what = format!("{min} tasks go together, and the job has {count}");
        found.say(node.at, what, "raise `count`, or lower `min`");
        return None;
    }
    Some(min)
}

/// What a gang stays within: `site`, `cluster`, or `label:KEY`.
pub(crate) fn within(node: &Node, found: &mut Found) -> Option<Within> {
    let text = node.text(found)?;
    match (text.as_str(), text.strip_prefix("label:")) {
        ("site", _) => Some(Within::Site),
        ("cluster", _) => Some(Within::Cluster),
        (_, Some(key)) if !key.is_empty() => Some(Within::Label(key.to_owned())),
        _ => {
            let what = format!("a gang cannot stay within `{text}`");
            found.say(node.at, what, "write `site`, `cluster` or `label:KEY`");
            None
        }
    }
}

fn running_max(node: &Node, min: u32, found: &mut Found) -> Option<u32> {
    let max = fields::integer(node, 1, u32::MAX, found)?;
    if max < min {
        let what = format!("only {max} may run, and {min} tasks go together");
        found.say(node.at, what, "raise `running_max`, or lower `min`");
        return None;
    }
    Some(max)
}

fn wire(within: Within) -> v1::Within {
    use v1::within::What;
    let what = match within {
        Within::Site => What::Site(true),
        Within::Cluster => What::Cluster(true),
        Within::Label(key) => What::Label(key),
    };
    v1::Within { what: Some(what) }
}
