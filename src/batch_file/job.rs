//! One job of a batch file, with what it takes from `defaults`.

use std::collections::BTreeMap;
use std::path::Path;

use jeroboam_core::spec::{WALLTIME_MAX_MS, stays_inside};
use jeroboam_proto::v1;
use jeroboam_units::Span;

use super::faults::Found;
use super::fields::{self, Fields};
use super::inputs::{self, LocalFile};
use super::tree::{At, Node, Value};
use super::{TASKS_MAX, gang, resources, retries};

/// Every field of a job; those that say which job it is come first.
const JOB_FIELDS: [&str; 30] = [
    "name",
    "count",
    "min",
    "within",
    "after_ok",
    "after_any",
    "after_ok_each",
    "after_any_each",
    "needs",
    "command",
    "run",
    "env",
    "image",
    "resources",
    "walltime",
    "class",
    "priority",
    "coe",
    "isolation",
    "labels",
    "tolerations",
    "sites",
    "sites_excluded",
    "inputs",
    "outputs",
    "retries",
    "restartable",
    "on_lost_contact",
    "preemptible",
    "running_max",
];

/// How many of [`JOB_FIELDS`] belong to one job and make no sense as defaults.
const OWN_FIELDS: usize = 9;

const WALLTIME_MAX: Span = Span(WALLTIME_MAX_MS);

/// The limit of a task that states none.
const WALLTIME_DEFAULT: Span = Span(3_600_000);

/// A job and the places that looking at all jobs together needs.
pub(super) struct Job {
    pub spec: v1::JobSpec,
    pub name_at: At,
    pub count_at: At,
    /// The jobs that go first, and where that is written.
    pub after: Vec<(At, String)>,
    /// Those of them that it follows element by element.
    pub after_each: Vec<(At, String)>,
    pub inputs: Vec<LocalFile>,
}

/// Reads `defaults:`, whose fields every job falls back on.
pub(super) fn defaults<'n>(node: &'n Node, found: &mut Found) -> Option<Fields<'n>> {
    Fields::of(node, "defaults", &JOB_FIELDS[OWN_FIELDS..], found)
}

/// Reads the job at `position` of the batch.
pub(super) fn read(
    node: &Node,
    defaults: Option<&Fields<'_>>,
    position: usize,
    directory: &Path,
    found: &mut Found,
) -> Option<Job> {
    let own = Fields::of(node, "a job", &JOB_FIELDS, found)?;
    let fields = Layered {
        own: &own,
        defaults,
    };
    let (name, name_at) = name(&own, found);
    let (count, count_at) = count(&own, found);
    let [after_ok, after_any] = ["after_ok", "after_any"].map(|field| after(&own, field, found));
    let after_each = ["after_ok_each", "after_any_each"].map(|field| after(&own, field, found));
    let needs = needs(&own, found);
    let mut spec = v1::JobSpec {
        name,
        count,
        ..v1::JobSpec::default()
    };
    spec.after_ok = names(&after_ok);
    spec.after_any = names(&after_any);
    spec.after_ok_each = names(&after_each[0]);
    spec.after_any_each = names(&after_each[1]);
    spec.outputs_of = names(&needs);
    let after_each = after_each.concat();
    spec.command = command(&fields, found);
    place(&mut spec, &fields, found);
    course(&mut spec, &fields, found);
    let together = gang::Written {
        min: own.take("min"),
        within: own.take("within"),
        running_max: fields.take("running_max"),
        preemptible: fields.take("preemptible"),
    };
    gang::read(&mut spec, &together, found);
    let inputs = fields
        .take("inputs")
        .map(|node| inputs::read(node, position, directory, found));
    Some(Job {
        spec,
        name_at,
        count_at,
        after: [after_ok, after_any, needs, after_each.clone()].concat(),
        after_each,
        inputs: inputs.unwrap_or_default(),
    })
}

/// The fields of a job, and behind them those of `defaults`.
struct Layered<'a, 'n> {
    own: &'a Fields<'n>,
    defaults: Option<&'a Fields<'n>>,
}

impl<'n> Layered<'_, 'n> {
    /// The job's own value, or else the default.
    fn take(&self, name: &str) -> Option<&'n Node> {
        self.own.take(name).or_else(|| self.default(name))
    }

    fn default(&self, name: &str) -> Option<&'n Node> {
        self.defaults.and_then(|defaults| defaults.take(name))
    }

    /// The maps of defaults and job together; the job's entries win.
    fn texts(&self, name: &str, found: &mut Found) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for node in [self.default(name), self.own.take(name)]
            .into_iter()
            .flatten()
        {
            fields::text_map(node, &format!("`{name}`"), &mut texts, found);
        }
        texts
    }
}

fn name(own: &Fields<'_>, found: &mut Found) -> (String, At) {
    let Some(node) = own.take("name") else {
        found.say(
            own.at,
            "this job has no name",
            "add `name: NAME`, unique in the batch",
        );
        return (String::new(), own.at);
    };
    (
        super::name(node, "a job", found).unwrap_or_default(),
        node.at,
    )
}

fn count(own: &Fields<'_>, found: &mut Found) -> (u32, At) {
    let Some(node) = own.take("count") else {
        return (1, own.at);
    };
    let max = u32::try_from(TASKS_MAX).unwrap_or(u32::MAX);
    (fields::integer(node, 1, max, found).unwrap_or(1), node.at)
}

fn names(jobs: &[(At, String)]) -> Vec<String> {
    jobs.iter().map(|(_, job)| job.clone()).collect()
}

/// The jobs that one of the fields `after_...` names.
fn after(own: &Fields<'_>, field: &str, found: &mut Found) -> Vec<(At, String)> {
    let Some(node) = own.take(field) else {
        return Vec::new();
    };
    let nodes = fields::elements(node, found).iter();
    nodes
        .filter_map(|node| Some((node.at, node.text(found)?)))
        .collect()
}

/// `needs: outputs-of JOB`, one or a list.
fn needs(own: &Fields<'_>, found: &mut Found) -> Vec<(At, String)> {
    let Some(node) = own.take("needs") else {
        return Vec::new();
    };
    let mut jobs = Vec::new();
    for node in fields::elements(node, found) {
        let Some(text) = node.text(found) else {
            continue;
        };
        match text.split_once(char::is_whitespace) {
            Some(("outputs-of", job)) if !job.trim().is_empty() => {
                jobs.push((node.at, job.trim().to_owned()));
            }
            _ => {
                let what = format!("`{text}` is nothing that a job can need");
                found.say(
                    node.at,
                    what,
                    "write `outputs-of JOB` with a job of this batch",
                );
            }
        }
    }
    jobs
}

/// A job with a command of its own takes none from the defaults.
fn command(fields: &Layered<'_, '_>, found: &mut Found) -> Vec<String> {
    let own = (fields.own.take("command"), fields.own.take("run"));
    let chosen = match own {
        (None, None) => (fields.default("command"), fields.default("run")),
        own => own,
    };
    match chosen {
        (Some(command), None) => list_command(command, found),
        (None, Some(run)) => script(run, found),
        (Some(_), Some(run)) => {
            found.say(
                run.at,
                "both `command` and `run` are given",
                "keep one of the two",
            );
            Vec::new()
        }
        (None, None) => {
            let remedy = "add `command: [PROGRAM, ARGUMENT, ...]` or `run: |` with a shell script";
            found.say(fields.own.at, "this job has no command", remedy);
            Vec::new()
        }
    }
}

fn list_command(node: &Node, found: &mut Found) -> Vec<String> {
    if !matches!(node.value, Value::List(_)) {
        let remedy = "write `command: [PROGRAM, ARGUMENT, ...]`, or `run: ...` for a shell script";
        found.say(
            node.at,
            format!("`command` is a list, this is {}", node.kind()),
            remedy,
        );
        return Vec::new();
    }
    let words = fields::texts(node, found);
    if words
        .first()
        .is_none_or(|program| program.trim().is_empty())
    {
        found.say(node.at, "the command is empty", "name a program first");
    }
    words
}

fn script(node: &Node, found: &mut Found) -> Vec<String> {
    let Some(text) = node.text(found) else {
        return Vec::new();
    };
    if text.trim().is_empty() {
        found.say(
            node.at,
            "the command is empty",
            "write a shell script after `run: |`",
        );
    }
    vec!["/bin/sh".to_owned(), "-c".to_owned(), text]
}

/// What the place must be like where it runs.
fn place(spec: &mut v1::JobSpec, fields: &Layered<'_, '_>, found: &mut Found) {
    spec.env = fields.texts("env", found);
    spec.labels = fields.texts("labels", found);
    let layers = [fields.default("resources"), fields.own.take("resources")];
    spec.resources = Some(resources::read(layers, found));
    let text = |name, found: &mut Found| fields.take(name).and_then(|node| node.text(found));
    spec.image = text("image", found).unwrap_or_default();
    let texts = |name, found: &mut Found| {
        fields
            .take(name)
            .map(|node| fields::texts(node, found))
            .unwrap_or_default()
    };
    spec.sites = texts("sites", found);
    spec.sites_excluded = texts("sites_excluded", found);
    let coe = fields
        .take("coe")
        .and_then(|node| fields::choice(node, &COES, found));
    spec.set_coe(coe.unwrap_or(v1::Coe::Any));
    let isolation = fields.take("isolation");
    let isolation = isolation.and_then(|node| fields::choice(node, &ISOLATIONS, found));
    spec.set_isolation(isolation.unwrap_or(v1::Isolation::Shared));
    if let Some(node) = fields.take("tolerations") {
        spec.tolerations = tolerations(node, found);
    }
}

const COES: [(&str, v1::Coe); 5] = [
    ("any", v1::Coe::Any),
    ("kubernetes", v1::Coe::Kubernetes),
    ("swarm", v1::Coe::Swarm),
    ("mesos", v1::Coe::Mesos),
    ("process", v1::Coe::Process),
];

const ISOLATIONS: [(&str, v1::Isolation); 3] = [
    ("shared", v1::Isolation::Shared),
    ("sandbox", v1::Isolation::Sandbox),
    ("kernel", v1::Isolation::Kernel),
];

const CLASSES: [(&str, v1::PriorityClass); 3] = [
    ("low", v1::PriorityClass::Low),
    ("normal", v1::PriorityClass::Normal),
    ("high", v1::PriorityClass::High),
];

const LOST_CONTACT: [(&str, v1::OnLostContact); 2] = [
    ("restart", v1::OnLostContact::Restart),
    ("wait", v1::OnLostContact::Wait),
];

fn tolerations(node: &Node, found: &mut Found) -> Vec<v1::Taint> {
    let mut taints = Vec::new();
    for node in fields::elements(node, found) {
        let Some(fields) = Fields::of(node, "a toleration", &["key", "value"], found) else {
            continue;
        };
        let Some(key) = fields.take("key").and_then(|node| node.text(found)) else {
            found.say(
                node.at,
                "this toleration has no key",
                "write {key: KEY, value: VALUE}",
            );
            continue;
        };
        let value = fields
            .take("value")
            .and_then(|node| node.text(found))
            .unwrap_or_default();
        taints.push(v1::Taint { key, value });
    }
    taints
}

/// How it runs, what it brings back, and what happens when it fails.
fn course(spec: &mut v1::JobSpec, fields: &Layered<'_, '_>, found: &mut Found) {
    spec.walltime_ms = walltime(fields, found).0;
    let class = fields.take("class");
    let class = class.and_then(|node| fields::choice(node, &CLASSES, found));
    spec.set_priority_class(class.unwrap_or(v1::PriorityClass::Normal));
    let priority = fields.take("priority");
    let priority = priority.and_then(|node| fields::integer(node, i32::MIN, i32::MAX, found));
    spec.priority = priority.unwrap_or(0);
    if let Some(node) = fields.take("outputs") {
        spec.outputs = outputs(node, found);
    }
    if let Some(node) = fields.take("retries") {
        spec.retries = retries::read(node, found);
    }
    let restartable = fields
        .take("restartable")
        .and_then(|node| fields::truth(node, found));
    spec.restartable = restartable.unwrap_or(true);
    let lost = fields.take("on_lost_contact");
    let lost = lost.and_then(|node| fields::choice(node, &LOST_CONTACT, found));
    spec.set_on_lost_contact(lost.unwrap_or(v1::OnLostContact::Restart));
}

fn walltime(fields: &Layered<'_, '_>, found: &mut Found) -> Span {
    let Some(node) = fields.take("walltime") else {
        return WALLTIME_DEFAULT;
    };
    let Some(span) = fields::amount(node, found) else {
        return WALLTIME_DEFAULT;
    };
    if span < Span(1) || span > WALLTIME_MAX {
        let what = format!("a walltime limit of {span} cannot be");
        found.say(
            node.at,
            what,
            format!("write one from 1ms to {WALLTIME_MAX}"),
        );
    }
    span
}

fn outputs(node: &Node, found: &mut Found) -> Vec<String> {
    let mut globs = Vec::new();
    for node in fields::elements(node, found) {
        let Some(glob) = node.text(found) else {
            continue;
        };
        if !stays_inside(&glob) {
            let what = format!("the output `{glob}` is outside the scratch directory");
            found.say(node.at, what, "write a relative path or glob without `..`");
        }
        globs.push(glob);
    }
    globs
}
