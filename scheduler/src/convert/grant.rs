//! The grant of a place, with all that an agent needs to run the attempt.

use super::amounts::resources;
use super::lease::lease as lease_of;
use super::submission::{file, isolation, on_lost_contact};
use crate::driver::GrantLimits;
use jeroboam_core::ids::LeaseId;
use jeroboam_core::job::Job;
use jeroboam_core::site::Node;
use jeroboam_core::spec::By;
use jeroboam_core::world::World;
use jeroboam_proto::v1;

/// The grant of an open lease.
///
/// # Panics
/// If the lease is not open: grants are made of what was just placed.
pub fn grant(world: &World, lease: LeaseId, limits: &GrantLimits) -> v1::Grant {
    let active = world
        .open_attempt(lease)
        .expect("a grant is made in the step that opens its lease");
    let job = &world.jobs()[&lease.task.job];
    let batch = &world.batches()[&job.batch];
    let node = world.node(active.node);
    let spec = &job.spec;
    v1::Grant {
        lease: Some(lease_of(lease)),
        node: node.report.name.clone(),
        queue: world.queues().queue(job.queue).spec.name.clone(),
        batch: batch.id.0,
        batch_name: batch.name.clone(),
        job_name: job.name.to_string(),
        count: spec.count,
        command: job.command.to_vec(),
        env: spec.env.clone(),
        image: spec.image.clone(),
        resources: Some(resources(
            world.policy(),
            job.resources_of(lease.task.index),
        )),
        walltime_ms: scaled_walltime_ms(node, job),
        grace_ms: world.policy().grace_ms,
        on_lost_contact: on_lost_contact(spec.on_lost_contact).into(),
        isolation: isolation(spec.needs.isolation).into(),
        runtime: active.runtime().to_owned(),
        inputs: spec.inputs.iter().map(file).collect(),
        outputs_of: outputs_of(world, job),
        outputs: spec.outputs.clone(),
        outputs_bytes_max: limits.outputs_bytes_max,
        outputs_files_max: limits.outputs_files_max,
        log_bytes_max: limits.log_bytes_max,
    }
}

/// The limit is given for reference speed; a slower node gets longer.
fn scaled_walltime_ms(node: &Node, job: &Job) -> i64 {
    node.scaled_ms(job.spec.needs.walltime_ms)
}

/// The job's dependencies hold the ids of all jobs that it names.
fn outputs_of(world: &World, job: &Job) -> Vec<v1::OutputsOf> {
    let whole = job.links.needs.iter().filter(|need| need.by == By::Job);
    let named = whole.map(|need| (need.job, &world.jobs()[&need.job].name));
    named
        .filter(|(_, name)| job.spec.outputs_of.iter().any(|of| **of == ***name))
        .map(|(id, name)| v1::OutputsOf {
            job: id.0,
            name: name.to_string(),
        })
        .collect()
}
