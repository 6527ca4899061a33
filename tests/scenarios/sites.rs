//! Sites, nodes, leases and ends of attempts in the language of stories.

use jeroboam_core::event::Selection;
use jeroboam_core::ids::{BatchId, JobId, LeaseId, TaskId};
use jeroboam_core::isolation::Runtime;
use jeroboam_core::job::{AttemptEnd, AttemptUsage, Outcome};
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::resources::Resources;
use jeroboam_core::site::{Contract, NodeReport, SiteSpec};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_units::{Bytes, MicroEuro};

use crate::submission::{coe, level, taints};
use crate::words::Words;

/// `site NAME owned|leased [start=1h] end=2h price=0.04 [budget=10]`, spans from the story's start.
pub fn site(line: &Words<'_>, start: TimeMs) -> SiteSpec {
    let leased = line.word(2) == "leased";
    let contract = leased.then(|| Contract {
        start: start + line.span_ms(line.or("start", "0s")),
        end: start + line.span_ms(line.or("end", "30d")),
        price_micro_eur_per_core_hour: line.parse::<MicroEuro>(line.or("price", "0")).0,
        budget_micro_eur: line
            .option("budget")
            .map(|text| line.parse::<MicroEuro>(text).0),
    });
    SiteSpec {
        name: line.word(1).to_string(),
        region: "somewhere".to_string(),
        contract,
    }
}

/// `node SITE NAME cpu=8 memory=32GiB [labels=a:b] [taints=a:b] [coe=..] [speed=10000] [unschedulable]
/// [kernel=BOOT] [runtimes=..]`; without a kernel it has one of its own, for ever.
pub fn node(line: &Words<'_>, world: &World) -> NodeReport {
    NodeReport {
        name: line.word(2).to_string(),
        cluster: line.or("cluster", "c1").to_string(),
        coe: coe(line, line.or("coe", "process")),
        kernel: match line.option("kernel") {
            Some(kernel) => kernel.to_string(),
            None => format!("{}/{}", line.word(1), line.word(2)),
        },
        runtimes: runtimes(line),
        capacity: line.resources(world),
        labels: line.pairs("labels").into_iter().collect(),
        taints: taints(line, "taints"),
        speed_milli: line.parse(line.or("speed", "10000")),
        schedulable: !line.has("unschedulable"),
    }
}

/// `runtimes=runc:shared,runsc:sandbox:64MiB`: name, level, memory that each task takes besides.
fn runtimes(line: &Words<'_>) -> Vec<Runtime> {
    let runtime = |text: &str| {
        let mut parts = text.split(':');
        let mut part = || parts.next().unwrap_or("");
        let (name, isolation) = (part().to_string(), level(line, part()));
        let overhead = match part() {
            "" => Resources::ZERO,
            memory => Resources::of(0, line.parse::<Bytes>(memory).mib_ceil(), 0, 0),
        };
        Runtime {
            name,
            isolation,
            overhead,
        }
    };
    line.list("runtimes").into_iter().map(runtime).collect()
}

/// `batch-1`, `job-2`, `job-2[3-7,9]`.
pub fn selection(line: &Words<'_>, text: &str) -> Selection {
    if let Some(id) = text.strip_prefix("batch-") {
        return Selection::Batch(BatchId(line.parse(id)));
    }
    let (job, indexes) = text.split_once('[').unwrap_or((text, ""));
    let Some(job) = job.strip_prefix("job-") else {
        line.fail(&format!("`{text}` selects nothing"));
    };
    let ranges = (!indexes.is_empty()).then(|| ranges(line, indexes.trim_end_matches(']')));
    Selection::Job(JobId(line.parse(job)), ranges)
}

fn ranges(line: &Words<'_>, text: &str) -> RangeSet {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        (line.parse(first), line.parse(last))
    };
    text.split(',').map(range).collect()
}

/// `job-1`, `job-1[3]`, `job-1[0-4]` (the open attempts), `job-1[3]#2` (this one, open or
/// not), `job-1[3]#2@5` (of this lineage).
pub fn leases(line: &Words<'_>, text: &str, world: &World) -> Vec<LeaseId> {
    let (tasks, attempt) = text.split_once('#').unwrap_or((text, ""));
    let Selection::Job(job, wanted) = selection(line, tasks) else {
        line.fail("name attempts by their job");
    };
    let open = |index: u32| {
        let active = world.jobs().get(&job)?.tasks.active.get(&index)?;
        Some((index, active.attempt))
    };
    let lease = |lineage: u64, (index, attempt): (u32, u32)| LeaseId {
        lineage,
        task: TaskId { job, index },
        attempt,
    };
    if attempt.is_empty() {
        let count = world.jobs().get(&job).map_or(0, |job| job.spec.count);
        let wanted = wanted.unwrap_or(RangeSet::up_to(count));
        let found = wanted.iter().filter_map(open);
        return found.map(|open| lease(world.lineage(), open)).collect();
    }
    let (attempt, lineage) = attempt.split_once('@').unwrap_or((attempt, ""));
    let lineage = if lineage.is_empty() {
        world.lineage()
    } else {
        line.parse(lineage)
    };
    let attempt = line.parse(attempt);
    let wanted = wanted.unwrap_or(RangeSet::up_to(1));
    wanted
        .iter()
        .map(|index| lease(lineage, (index, attempt)))
        .collect()
}

/// `exit=0`, `signal=9`, `walltime`, `memory`, `lost`, ...; what it used by `ran=20m`.
pub fn end(line: &Words<'_>, now: TimeMs) -> AttemptEnd {
    let mut end = AttemptEnd::bare(outcome(line));
    end.usage = line.option("ran").map(|ran| AttemptUsage {
        started: now + -line.span_ms(ran),
        ended: now,
        cpu_ms: line.span_ms(ran),
        memory_peak_mib: 1,
    });
    end
}

fn outcome(line: &Words<'_>) -> Outcome {
    if let Some(code) = line.option("exit") {
        return Outcome::Exit(line.parse(code));
    }
    if let Some(signal) = line.option("signal") {
        return Outcome::Signal(line.parse(signal));
    }
    match *line.from(1).last().unwrap_or(&"") {
        "walltime" => Outcome::WalltimeExceeded,
        "memory" => Outcome::MemoryExceeded,
        "contact-lost" => Outcome::ContactLost,
        "lost" => Outcome::Lost,
        "notrun" => Outcome::NotRun,
        "stopped" => Outcome::Stopped,
        "start-failed" => Outcome::StartFailed("no such program".into()),
        "outputs-failed" => Outcome::OutputsFailed("hist.json".into()),
        other => line.fail(&format!("no outcome `{other}`")),
    }
}
