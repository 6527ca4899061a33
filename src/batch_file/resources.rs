//! `resources:` of a job: what each of its tasks needs.

use jeroboam_proto::v1;
use jeroboam_units::{Bytes, Cores};

use super::faults::Found;
use super::tree::{Node, Value};
use super::{fields, nearest};

/// What a task gets that does not ask.
const CPU_DEFAULT: Cores = Cores(1000);
const MEMORY_MIB_DEFAULT: i64 = 1024;
const DISK_MIB_DEFAULT: i64 = 1024;

/// The most of a counted resource that can be asked for.
const COUNT_MAX: i64 = 1 << 40;

/// Reads the maps of defaults and job; the job's entries win.
pub(super) fn read(layers: [Option<&Node>; 2], found: &mut Found) -> v1::Resources {
    let mut resources = v1::Resources {
        cpu_milli: CPU_DEFAULT.0,
        memory_mib: MEMORY_MIB_DEFAULT,
        disk_mib: DISK_MIB_DEFAULT,
        ..v1::Resources::default()
    };
    for node in layers.into_iter().flatten() {
        let Value::Map(entries) = &node.value else {
            let what = format!("`resources` is a map, this is {}", node.kind());
            found.say(node.at, what, "write {cpu: 1, memory: 2GiB}");
            continue;
        };
        for (key, node) in entries {
            resource(&mut resources, &key.name, node, found);
        }
    }
    resources
}

fn resource(resources: &mut v1::Resources, name: &str, node: &Node, found: &mut Found) {
    let count = |found: &mut Found| fields::integer(node, 0, COUNT_MAX, found).unwrap_or(0);
    let mib = |found: &mut Found| fields::amount(node, found).map_or(0, Bytes::mib_ceil);
    match name {
        "cpu" => {
            resources.cpu_milli = fields::amount(node, found).map_or(0, |cores: Cores| cores.0)
        }
        "memory" => resources.memory_mib = mib(found),
        "disk" => resources.disk_mib = mib(found),
        "gpu" => resources.gpu = count(found),
        name => {
            let count = extended(name, node, found).unwrap_or(0);
            resources.extended.insert(name.to_owned(), count);
        }
    }
}

/// Any other name is that of an extended resource, or a misspelt one.
fn extended(name: &str, node: &Node, found: &mut Found) -> Option<i64> {
    let text = node.text(found)?;
    let count = text
        .parse()
        .ok()
        .filter(|count| (0..=COUNT_MAX).contains(count));
    if count.is_none() {
        let what = format!("`{name}` would be an extended resource, and `{text}` is no count");
        let known = ["cpu", "memory", "disk", "gpu"];
        found.say(node.at, what, nearest::remedy(name, known.into_iter()));
    }
    count
}
