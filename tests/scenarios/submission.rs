//! A batch in the language of stories.

use std::collections::BTreeSet;

use jeroboam_core::isolation::Isolation;
use jeroboam_core::spec::{
    After, BatchSpec, By, Coe, Ends, FailureClass, JobSpec, Needs, OnLostContact, PriorityClass,
    RetryRule, Taint, Within,
};
use jeroboam_core::world::World;
use jeroboam_units::Bytes;

use crate::words::Words;

/// The batch of a `submit` line and the `job` lines below it.
pub fn batch(line: &Words<'_>, jobs: &[Words<'_>], world: &World) -> BatchSpec {
    BatchSpec {
        name: line.word(1).to_string(),
        queue: line.or("queue", "").to_string(),
        jobs: jobs.iter().map(|job| self::job(job, world)).collect(),
    }
}

fn job(line: &Words<'_>, world: &World) -> JobSpec {
    let names = |key| -> Vec<String> { line.list(key).into_iter().map(str::to_string).collect() };
    let mut resources = line.resources(world);
    if line.option("cpu").is_none() && !line.has("nothing") {
        resources[jeroboam_core::resources::CPU] = 1_000;
    }
    JobSpec {
        name: line.word(1).to_string(),
        count: line.parse(line.or("count", "1")),
        command: vec![line.or("command", "true").to_string()],
        env: Default::default(),
        image: String::new(),
        priority: line.parse(line.or("priority", "0")),
        needs: Needs {
            resources,
            walltime_ms: line.span_ms(line.or("walltime", "10m")),
            coe: line.option("coe").map(|name| coe(line, name)),
            labels: line.pairs("labels").into_iter().collect(),
            tolerations: taints(line, "tolerations"),
            sites: names("sites").into_iter().collect(),
            sites_excluded: names("sites_excluded").into_iter().collect(),
            avoided: Default::default(),
            isolation: isolation(line).unwrap_or_default(),
            tenant: None,
        },
        after: after(line),
        inputs: Vec::new(),
        outputs: names("outputs"),
        outputs_of: names("outputs_of"),
        retries: line
            .list("retry")
            .into_iter()
            .map(|rule| retry(line, rule))
            .collect(),
        on_lost_contact: match line.or("lost", "restart") {
            "wait" => OnLostContact::Wait,
            "restart" => OnLostContact::Restart,
            other => line.fail(&format!("lost={other}")),
        },
        priority_class: match line.or("class", "normal") {
            "low" => PriorityClass::Low,
            "normal" => PriorityClass::Normal,
            "high" => PriorityClass::High,
            other => line.fail(&format!("class={other}")),
        },
        restartable: !line.has("once"),
        preemptible: !line.has("fixed"),
        min: line.parse(line.or("min", "1")),
        within: line.option("within").map(within),
        running_max: line.option("running_max").map(|text| line.parse(text)),
    }
}

/// The jobs that go first.
fn after(line: &Words<'_>) -> Vec<After> {
    let fields = [
        ("after_ok", By::Job, Ends::Ok),
        ("after_any", By::Job, Ends::Any),
        ("after_ok_each", By::Element, Ends::Ok),
        ("after_any_each", By::Element, Ends::Any),
    ];
    let mut after = Vec::new();
    for (field, by, ends) in fields {
        after.extend(line.list(field).into_iter().map(|job| After {
            job: job.to_string(),
            by,
            ends,
        }));
    }
    after
}

/// The engine of a name.
pub fn coe(line: &Words<'_>, name: &str) -> Coe {
    match name {
        "kubernetes" => Coe::Kubernetes,
        "swarm" => Coe::Swarm,
        "mesos" => Coe::Mesos,
        "process" => Coe::Process,
        _ => line.fail(&format!("no engine `{name}`")),
    }
}

/// The level of `isolation=..`.
pub fn isolation(line: &Words<'_>) -> Option<Isolation> {
    line.option("isolation").map(|name| level(line, name))
}

/// The level of a name.
pub fn level(line: &Words<'_>, name: &str) -> Isolation {
    match Isolation::of_name(name) {
        Some(level) => level,
        None => line.fail(&format!("no isolation `{name}`")),
    }
}

/// `key:value` taints of an option.
pub fn taints(line: &Words<'_>, key: &str) -> BTreeSet<Taint> {
    let taint = |(key, value)| Taint { key, value };
    line.pairs(key).into_iter().map(taint).collect()
}

/// `exit:75`, `exit:80-89*2`, `lost*3`, `any`: what, and how often (once); `any*3@1m` after
/// a minute, `any*3@1m+` each time after twice as long; behind it `!x1.5!max:8GiB!node!site`:
/// more memory up to a bound, another node, another site.
fn retry(line: &Words<'_>, rule: &str) -> RetryRule {
    let (rule, changes) = rule.split_once('!').unwrap_or((rule, ""));
    let changes: Vec<&str> = changes.split('!').collect();
    let change = |key| changes.iter().find_map(|change| change.strip_prefix(key));
    let factor = change("x").map_or(0.0, |text| line.parse::<f64>(text));
    let (rule, delay) = match rule.split_once('@') {
        Some((rule, delay)) => (rule, Some(delay)),
        None => (rule, None),
    };
    let (what, times) = rule.split_once('*').unwrap_or((rule, "1"));
    let (mut exit_codes, mut classes) = (Vec::new(), BTreeSet::new());
    if let Some(codes) = what.strip_prefix("exit:") {
        let (first, last) = codes.split_once('-').unwrap_or((codes, codes));
        exit_codes.push((line.parse(first), line.parse(last)));
    } else if what != "any" {
        classes.insert(match what {
            "exit" => FailureClass::Exit,
            "signal" => FailureClass::Signal,
            "walltime" => FailureClass::Walltime,
            "memory" => FailureClass::Memory,
            "start" => FailureClass::Start,
            "outputs" => FailureClass::Outputs,
            "lost" => FailureClass::Lost,
            _ => line.fail(&format!("no failure `{what}`")),
        });
    }
    RetryRule {
        exit_codes,
        classes,
        times: line.parse(times),
        delay_ms: delay.map_or(0, |delay| line.span_ms(delay.trim_end_matches('+'))),
        backoff: delay.is_some_and(|delay| delay.ends_with('+')),
        memory_permille: (factor * 1_000.0) as u32,
        memory_max_mib: change("max:").map(|text| line.parse::<Bytes>(text).mib_ceil()),
        avoid_node: changes.contains(&"node"),
        change_site: changes.contains(&"site"),
    }
}

/// `site`, `cluster` or the key of a label.
fn within(text: &str) -> Within {
    match text {
        "site" => Within::Site,
        "cluster" => Within::Cluster,
        key => Within::Label(key.to_string()),
    }
}
