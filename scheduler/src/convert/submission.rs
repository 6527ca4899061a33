//! A submission from the wire: every field converted or refused with its place.
//!
//! Bounds, names and dependencies are checked by the core
//! (`BatchSpec::validate`); here is only what the wire can say and the core's
//! types cannot: unknown enum values, doubled paths, malformed digests.

use super::amounts::{resources, resources_in};
use super::status::rejected_in;
use crate::store::spool::Digest;
use jeroboam_core::isolation::Isolation;
use jeroboam_core::policy::Policy;
use jeroboam_core::rare::Rare;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::spec::{
    After, BatchSpec, By, Coe, Ends, FailureClass, File, JobSpec, Needs, OnLostContact,
    PriorityClass, RetryRule, Taint, Within,
};
use jeroboam_proto::v1;
use prost::Message as _;
use sha2::Digest as _;
use std::collections::BTreeSet;
use tonic::Status;

/// The digest by which a repeated submission is known.
///
/// It is the SHA-256 of the message in its canonical form: fields in order,
/// maps sorted, defaults left out. A field that a later version adds does not
/// change the digest of what does not use it.
pub fn digest(batch: &v1::BatchSpec) -> [u8; 32] {
    sha2::Sha256::digest(batch.encode_to_vec()).into()
}

/// A batch from the wire.
///
/// # Errors
/// The first field that says nothing the core knows.
pub fn batch_in(policy: &Policy, wire: v1::BatchSpec) -> Result<BatchSpec, JobRefused> {
    let jobs = wire.jobs.into_iter().enumerate();
    let jobs = jobs.map(|(position, mut wire)| {
        let name = std::mem::take(&mut wire.name);
        match job_in(policy, position, wire) {
            Ok(job) => Ok(JobSpec { name, ..job }),
            Err(cause) => Err(JobRefused { name, cause }),
        }
    });
    Ok(BatchSpec {
        name: wire.name,
        queue: wire.queue,
        jobs: jobs.collect::<Result<_, _>>()?,
    })
}

/// A job that cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct JobRefused {
    /// Its name.
    pub name: String,
    /// Why.
    pub cause: Rejected,
}

impl JobRefused {
    /// As the client is told.
    pub fn status(&self) -> Status {
        rejected_in(&self.cause, |_| Some(&self.name))
    }
}

fn job_in(policy: &Policy, position: usize, wire: v1::JobSpec) -> Result<JobSpec, Rejected> {
    let place = |field: &str| format!("jobs[{position}].{field}");
    check_text(&place("command"), wire.command.iter())?;
    check_variables(&place("env"), &wire)?;
    let after = after_in(&wire);
    Ok(JobSpec {
        needs: Needs {
            resources: resources_in(policy, &place("resources"), wire.resources)?,
            walltime_ms: wire.walltime_ms,
            coe: coe_in(&place("coe"), wire.coe)?,
            labels: wire.labels,
            tolerations: wire.tolerations.into_iter().map(taint_in).collect(),
            sites: wire.sites.into_iter().collect(),
            sites_excluded: wire.sites_excluded.into_iter().collect(),
            avoided: Rare::default(),
            isolation: isolation_in(&place("isolation"), wire.isolation)?,
            tenant: None,
        },
        inputs: inputs_in(&place("inputs"), wire.inputs)?,
        retries: wire
            .retries
            .into_iter()
            .enumerate()
            .map(|(rule, wire)| retry_in(&format!("jobs[{position}].retries[{rule}]"), wire))
            .collect::<Result<_, _>>()?,
        on_lost_contact: on_lost_contact_in(&place("on_lost_contact"), wire.on_lost_contact)?,
        name: wire.name,
        count: wire.count,
        command: wire.command,
        env: wire.env,
        image: wire.image,
        priority_class: class_in(&place("priority_class"), wire.priority_class)?,
        priority: wire.priority,
        after,
        outputs: wire.outputs,
        outputs_of: wire.outputs_of,
        restartable: wire.restartable,
        preemptible: wire.preemptible.unwrap_or(wire.restartable),
        min: wire.min.max(1),
        within: within_in(wire.within),
        running_max: (wire.running_max != 0).then_some(wire.running_max),
    })
}

/// A level from the wire.
///
/// # Errors
/// None that is known.
pub fn isolation_in(place: &str, wire: i32) -> Result<Isolation, Rejected> {
    match v1::Isolation::try_from(wire) {
        Ok(v1::Isolation::Shared) => Ok(Isolation::Shared),
        Ok(v1::Isolation::Sandbox) => Ok(Isolation::Sandbox),
        Ok(v1::Isolation::Kernel) => Ok(Isolation::Kernel),
        Err(_) => Err(unknown(place, wire, "use `shared`, `sandbox` or `kernel`")),
    }
}

/// A level on the wire.
pub fn isolation(level: Isolation) -> v1::Isolation {
    match level {
        Isolation::Shared => v1::Isolation::Shared,
        Isolation::Sandbox => v1::Isolation::Sandbox,
        Isolation::Kernel => v1::Isolation::Kernel,
    }
}

fn class_in(place: &str, wire: i32) -> Result<PriorityClass, Rejected> {
    match v1::PriorityClass::try_from(wire) {
        Ok(v1::PriorityClass::Normal) => Ok(PriorityClass::Normal),
        Ok(v1::PriorityClass::Low) => Ok(PriorityClass::Low),
        Ok(v1::PriorityClass::High) => Ok(PriorityClass::High),
        Err(_) => Err(unknown(place, wire, "use `low`, `normal` or `high`")),
    }
}

fn class(class: PriorityClass) -> v1::PriorityClass {
    match class {
        PriorityClass::Low => v1::PriorityClass::Low,
        PriorityClass::Normal => v1::PriorityClass::Normal,
        PriorityClass::High => v1::PriorityClass::High,
    }
}

/// What a program cannot be given.
fn check_text<'a>(place: &str, texts: impl Iterator<Item = &'a String>) -> Result<(), Rejected> {
    for text in texts {
        if text.contains('\0') {
            return Err(Rejected::invalid(
                place,
                "it holds a zero byte",
                "leave the zero byte out",
            ));
        }
    }
    Ok(())
}

fn check_variables(place: &str, wire: &v1::JobSpec) -> Result<(), Rejected> {
    check_text(place, wire.env.values())?;
    match wire
        .env
        .keys()
        .find(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        None => Ok(()),
        Some(name) => {
            let what = format!("{name:?} is not the name of a variable");
            Err(Rejected::invalid(
                place,
                what,
                "use a name of letters, digits and _",
            ))
        }
    }
}

fn inputs_in(place: &str, wire: Vec<v1::File>) -> Result<Vec<File>, Rejected> {
    let mut paths = BTreeSet::new();
    let mut files = Vec::with_capacity(wire.len());
    for (position, file) in wire.into_iter().enumerate() {
        let place = format!("{place}[{position}]");
        if file.digest.parse::<Digest>().is_err() {
            let what = format!(
                "`{}` is not a digest",
                file.digest.chars().take(80).collect::<String>()
            );
            let remedy = "give the SHA-256 of the content as 64 lower-case hexadecimal digits";
            return Err(Rejected::invalid(format!("{place}.digest"), what, remedy));
        }
        if !paths.insert(file.path.clone()) {
            let what = format!("two inputs have the path `{}`", file.path);
            return Err(Rejected::invalid(
                format!("{place}.path"),
                what,
                "give each a path of its own",
            ));
        }
        files.push(file_in(file));
    }
    Ok(files)
}

/// A file from the wire, as it is.
pub fn file_in(wire: v1::File) -> File {
    let v1::File {
        path,
        digest,
        size_bytes,
        executable,
    } = wire;
    File {
        path,
        digest,
        size_bytes,
        executable,
    }
}

/// A file on the wire.
pub fn file(file: &File) -> v1::File {
    let File {
        path,
        digest,
        size_bytes,
        executable,
    } = file.clone();
    v1::File {
        path,
        digest,
        size_bytes,
        executable,
    }
}

fn retry_in(place: &str, wire: v1::RetryRule) -> Result<RetryRule, Rejected> {
    let mut classes = BTreeSet::new();
    for class in wire.classes {
        classes.insert(failure_class_in(&format!("{place}.on"), class)?);
    }
    if let Some(bad) = wire
        .exit_codes
        .iter()
        .find(|range| range.first > range.last)
    {
        let what = format!(
            "the exit codes {}-{} end before they begin",
            bad.first, bad.last
        );
        return Err(Rejected::invalid(
            format!("{place}.exit"),
            what,
            "write first-last",
        ));
    }
    let exit_codes = wire
        .exit_codes
        .iter()
        .map(|range| (range.first, range.last))
        .collect();
    Ok(RetryRule {
        exit_codes,
        classes,
        times: wire.times,
        delay_ms: wire.delay_ms,
        backoff: wire.backoff,
        memory_permille: wire.memory_permille,
        memory_max_mib: (wire.memory_max_mib != 0).then_some(wire.memory_max_mib),
        avoid_node: wire.avoid_node,
        change_site: wire.change_site,
    })
}

fn failure_class_in(place: &str, wire: i32) -> Result<FailureClass, Rejected> {
    match v1::FailureClass::try_from(wire) {
        Ok(v1::FailureClass::Exit) => Ok(FailureClass::Exit),
        Ok(v1::FailureClass::Signal) => Ok(FailureClass::Signal),
        Ok(v1::FailureClass::Walltime) => Ok(FailureClass::Walltime),
        Ok(v1::FailureClass::Memory) => Ok(FailureClass::Memory),
        Ok(v1::FailureClass::Start) => Ok(FailureClass::Start),
        Ok(v1::FailureClass::Outputs) => Ok(FailureClass::Outputs),
        Ok(v1::FailureClass::Lost) => Ok(FailureClass::Lost),
        Ok(v1::FailureClass::Unspecified) | Err(_) => {
            let known = "use exit, signal, walltime, memory, start, outputs or lost";
            Err(unknown(place, wire, known))
        }
    }
}

/// An engine from the wire; `None` is any.
///
/// # Errors
/// A number that stands for none.
pub fn coe_in(place: &str, wire: i32) -> Result<Option<Coe>, Rejected> {
    match v1::Coe::try_from(wire) {
        Ok(v1::Coe::Any) => Ok(None),
        Ok(v1::Coe::Kubernetes) => Ok(Some(Coe::Kubernetes)),
        Ok(v1::Coe::Swarm) => Ok(Some(Coe::Swarm)),
        Ok(v1::Coe::Mesos) => Ok(Some(Coe::Mesos)),
        Ok(v1::Coe::Process) => Ok(Some(Coe::Process)),
        Err(_) => Err(unknown(
            place,
            wire,
            "use any, kubernetes, swarm, mesos or process",
        )),
    }
}

/// An engine on the wire; `None` is any.
pub fn coe(coe: Option<Coe>) -> v1::Coe {
    match coe {
        None => v1::Coe::Any,
        Some(Coe::Kubernetes) => v1::Coe::Kubernetes,
        Some(Coe::Swarm) => v1::Coe::Swarm,
        Some(Coe::Mesos) => v1::Coe::Mesos,
        Some(Coe::Process) => v1::Coe::Process,
    }
}

fn on_lost_contact_in(place: &str, wire: i32) -> Result<OnLostContact, Rejected> {
    match v1::OnLostContact::try_from(wire) {
        Ok(v1::OnLostContact::Restart) => Ok(OnLostContact::Restart),
        Ok(v1::OnLostContact::Wait) => Ok(OnLostContact::Wait),
        Err(_) => Err(unknown(place, wire, "use restart or wait")),
    }
}

/// What happens in silence, on the wire.
pub fn on_lost_contact(what: OnLostContact) -> v1::OnLostContact {
    match what {
        OnLostContact::Restart => v1::OnLostContact::Restart,
        OnLostContact::Wait => v1::OnLostContact::Wait,
    }
}

/// A taint from the wire.
pub fn taint_in(wire: v1::Taint) -> Taint {
    Taint {
        key: wire.key,
        value: wire.value,
    }
}

/// A taint on the wire.
pub fn taint(taint: &Taint) -> v1::Taint {
    v1::Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
    }
}

/// A specification on the wire, as it was submitted.
pub fn job_spec(policy: &Policy, spec: &JobSpec) -> v1::JobSpec {
    let needs = &spec.needs;
    v1::JobSpec {
        name: spec.name.clone(),
        count: spec.count,
        command: spec.command.clone(),
        env: spec.env.clone(),
        image: spec.image.clone(),
        resources: Some(resources(policy, &needs.resources)),
        walltime_ms: needs.walltime_ms,
        priority_class: class(spec.priority_class).into(),
        priority: spec.priority,
        coe: coe(needs.coe).into(),
        isolation: v1::Isolation::Shared.into(),
        labels: needs.labels.clone(),
        tolerations: needs.tolerations.iter().map(taint).collect(),
        sites: needs.sites.iter().cloned().collect(),
        sites_excluded: needs.sites_excluded.iter().cloned().collect(),
        after_ok: after(spec, By::Job, Ends::Ok),
        after_any: after(spec, By::Job, Ends::Any),
        after_ok_each: after(spec, By::Element, Ends::Ok),
        after_any_each: after(spec, By::Element, Ends::Any),
        inputs: spec.inputs.iter().map(file).collect(),
        outputs: spec.outputs.clone(),
        outputs_of: spec.outputs_of.clone(),
        retries: spec.retries.iter().map(retry).collect(),
        on_lost_contact: on_lost_contact(spec.on_lost_contact).into(),
        restartable: spec.restartable,
        preemptible: (spec.preemptible != spec.restartable).then_some(spec.preemptible),
        min: if spec.min > 1 { spec.min } else { 0 },
        within: spec.within.as_ref().map(within),
        running_max: spec.running_max.unwrap_or(0),
    }
}

fn after_in(wire: &v1::JobSpec) -> Vec<After> {
    let fields = [
        (&wire.after_ok, By::Job, Ends::Ok),
        (&wire.after_any, By::Job, Ends::Any),
        (&wire.after_ok_each, By::Element, Ends::Ok),
        (&wire.after_any_each, By::Element, Ends::Any),
    ];
    let after = fields.into_iter().flat_map(|(jobs, by, ends)| {
        let jobs = jobs.iter().cloned();
        jobs.map(move |job| After { job, by, ends })
    });
    after.collect()
}

fn after(spec: &JobSpec, by: By, ends: Ends) -> Vec<String> {
    let after = spec.after.iter();
    let after = after.filter(|after| (after.by, after.ends) == (by, ends));
    after.map(|after| after.job.clone()).collect()
}

fn within_in(wire: Option<v1::Within>) -> Option<Within> {
    use v1::within::What;
    wire.and_then(|wire| wire.what).map(|what| match what {
        What::Site(_) => Within::Site,
        What::Cluster(_) => Within::Cluster,
        What::Label(key) => Within::Label(key),
    })
}

fn within(within: &Within) -> v1::Within {
    use v1::within::What;
    let what = match within {
        Within::Site => What::Site(true),
        Within::Cluster => What::Cluster(true),
        Within::Label(key) => What::Label(key.clone()),
    };
    v1::Within { what: Some(what) }
}

fn retry(rule: &RetryRule) -> v1::RetryRule {
    let codes = rule.exit_codes.iter();
    v1::RetryRule {
        exit_codes: codes
            .map(|(first, last)| v1::ExitCodeRange {
                first: *first,
                last: *last,
            })
            .collect(),
        classes: rule
            .classes
            .iter()
            .map(|class| failure_class(*class).into())
            .collect(),
        times: rule.times,
        delay_ms: rule.delay_ms,
        backoff: rule.backoff,
        memory_permille: rule.memory_permille,
        memory_max_mib: rule.memory_max_mib.unwrap_or(0),
        avoid_node: rule.avoid_node,
        change_site: rule.change_site,
    }
}

fn failure_class(class: FailureClass) -> v1::FailureClass {
    match class {
        FailureClass::Exit => v1::FailureClass::Exit,
        FailureClass::Signal => v1::FailureClass::Signal,
        FailureClass::Walltime => v1::FailureClass::Walltime,
        FailureClass::Memory => v1::FailureClass::Memory,
        FailureClass::Start => v1::FailureClass::Start,
        FailureClass::Outputs => v1::FailureClass::Outputs,
        FailureClass::Lost => v1::FailureClass::Lost,
    }
}

fn unknown(place: &str, wire: i32, remedy: &str) -> Rejected {
    Rejected::invalid(
        place,
        format!("the value {wire} means nothing to this release"),
        remedy,
    )
}

#[cfg(test)]
#[path = "submission/tests.rs"]
mod tests;
