//! Queued tasks by the reason why they wait, within a bound on work: a reason
//! is looked for once a requirement class, and costs a look at each node.

use jeroboam_core::ids::ClassId;
use jeroboam_core::reason::WaitingReason;
use jeroboam_core::round::explain::waiting_reason;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use metrics::gauge;
use std::collections::BTreeMap;

/// Nodes looked at in one refresh, at most.
const NODES_MAX: usize = 200_000;
/// What is beyond that bound.
const UNEXAMINED: &str = "unexamined";

/// Refreshes the gauge; reasons that nobody has are set to zero.
pub(super) fn record(world: &World, now: TimeMs) {
    let all = WaitingReason::all()
        .map(WaitingReason::code)
        .chain([UNEXAMINED]);
    let mut tasks: BTreeMap<&'static str, u64> = all.map(|code| (code, 0)).collect();
    count(world, now, &mut tasks);
    for (code, count) in tasks {
        gauge!("jeroboam_waiting_tasks", "reason" => code).set(count as f64);
    }
}

fn count(world: &World, now: TimeMs, tasks: &mut BTreeMap<&'static str, u64>) {
    let mut examined: BTreeMap<ClassId, &'static str> = BTreeMap::new();
    let mut looks = 0;
    for queue in world.queues().iter() {
        let cordoned = world.queues().cordoned(queue.id).is_some();
        for (class, pending) in &queue.pending {
            let code = match examined.get(class) {
                _ if cordoned => WaitingReason::QueueCordoned.code(),
                Some(code) => code,
                None if looks >= NODES_MAX => UNEXAMINED,
                None => {
                    looks += world.nodes().len();
                    let needs = world.classes().needs(*class);
                    let code = waiting_reason(world, now, queue.id, needs).code();
                    examined.insert(*class, code);
                    code
                }
            };
            *tasks.entry(code).or_default() += pending.tasks;
        }
    }
}
