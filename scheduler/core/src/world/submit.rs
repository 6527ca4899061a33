//! Accepting a batch: one record per job, whatever its count.

use super::World;
use crate::effect::Effect;
use crate::ids::{BatchId, JobId, QueueId};
use crate::isolation::Isolation;
use crate::job::{Batch, Job, Links, Need, Tasks};
use crate::ranges::RangeSet;
use crate::rare::Rare;
use crate::rejected::Rejected;
use crate::spec::{BatchSpec, By, Ends, Gang, JobSpec};
use crate::words::Words;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Characters of a request id, at most.
pub const REQUEST_ID_MAX: usize = 64;

impl World {
    /// Checks a submission as [`World::apply`] would, for a dry run and for
    /// telling a repeated submission from a new one.
    ///
    /// # Errors
    /// What [`World::apply`] would refuse it for.
    pub fn check_submission(
        &self,
        request_id: &str,
        digest: &[u8; 32],
        by: &str,
        spec: &BatchSpec,
    ) -> Result<Submission, Rejected> {
        if request_id.is_empty() || request_id.len() > REQUEST_ID_MAX {
            let length = request_id.len() as u64;
            return Err(Rejected::bounds(
                "request_id (characters)",
                length,
                1,
                REQUEST_ID_MAX as u64,
            ));
        }
        if let Some(earlier) = self.batch_of_request(request_id) {
            if earlier.digest == *digest {
                return Ok(Submission::Repeated(earlier.id));
            }
            let (request_id, batch) = (request_id.to_string(), earlier.id);
            return Err(Rejected::RequestIdReused { request_id, batch });
        }
        spec.validate()?;
        self.check_resources(spec)?;
        let queue = self.queues.find(&spec.queue)?;
        if !self.queues.queue(queue).is_leaf() {
            return Err(Rejected::QueueNotLeaf {
                name: spec.queue.clone(),
            });
        }
        if !self.queues.may_submit(queue, by) {
            return Err(Rejected::NotSubmitter {
                who: by.to_string(),
                queue: spec.queue.clone(),
            });
        }
        self.check_queue_room(queue, spec)?;
        let more = spec.jobs.iter().map(|job| u64::from(job.count)).sum();
        self.check_user_room(queue, by, more)?;
        Ok(Submission::New(queue))
    }

    /// Named resources are those of the policy, sites those that were declared.
    /// That a task is larger than every node is no fault here: it waits, with that
    /// reason. Whether to take it at all is asked before ([`super::largest`]).
    fn check_resources(&self, spec: &BatchSpec) -> Result<(), Rejected> {
        let named = crate::resources::EXTENDED + self.policy.extended_resources.len();
        for (position, job) in spec.jobs.iter().enumerate() {
            if job.needs.resources.0[named..]
                .iter()
                .any(|amount| *amount != 0)
            {
                return Err(Rejected::invalid(
                    format!("jobs[{position}].resources"),
                    "an extended resource is asked for that the policy does not name",
                    "declare it under `policy.extended_resources`",
                ));
            }
            let sites = job.needs.sites.iter().chain(&job.needs.sites_excluded);
            for name in sites {
                self.find_site(name)?;
            }
        }
        Ok(())
    }

    fn check_queue_room(&self, queue: QueueId, spec: &BatchSpec) -> Result<(), Rejected> {
        let more: u64 = spec.jobs.iter().map(|job| u64::from(job.count)).sum();
        for id in self.queues.path(queue) {
            let entry = self.queues.queue(id);
            let max = entry.spec.queued_max.unwrap_or(self.policy.queued_max);
            if entry.waiting.saturating_add(more) > max {
                let (queue, queued) = (entry.spec.name.clone(), entry.waiting);
                return Err(Rejected::QueueFull {
                    queue,
                    max,
                    queued,
                    more,
                });
            }
        }
        Ok(())
    }

    /// [`crate::event::Event::BatchSubmitted`]; a repeated one changes nothing.
    pub(super) fn submit(
        &mut self,
        request_id: &str,
        digest: &[u8; 32],
        by: &str,
        spec: &BatchSpec,
    ) -> Result<Vec<Effect>, Rejected> {
        let queue = match self.check_submission(request_id, digest, by, spec)? {
            Submission::Repeated(_) => return Ok(Vec::new()),
            Submission::New(queue) => queue,
        };
        let batch = BatchId(self.next_batch.max(1));
        self.next_batch = batch.0 + 1;
        let first_job = JobId(self.next_job.max(1));
        self.next_job = first_job.0 + spec.jobs.len() as u64;
        self.batches.insert(
            batch,
            Batch {
                id: batch,
                name: spec.name.clone(),
                queue,
                by: by.to_string(),
                submitted: self.now,
                request_id: request_id.to_string(),
                digest: *digest,
                first_job,
                jobs: spec.jobs.len() as u32,
                unfinished: spec.jobs.len() as u32,
                finished: None,
                has_succeeded: false,
                by_hand: Default::default(),
            },
        );
        self.requests.insert(request_id.to_string(), batch);
        self.queues.queue_mut(queue).batches += 1;
        self.add_jobs(batch, queue, first_job, spec);
        Ok(Vec::new())
    }

    fn add_jobs(&mut self, batch: BatchId, queue: QueueId, first_job: JobId, spec: &BatchSpec) {
        let ids: BTreeMap<&str, JobId> = spec
            .jobs
            .iter()
            .zip(first_job.0..)
            .map(|(job, id)| (job.name.as_str(), JobId(id)))
            .collect();
        let user = self.class_user(queue, &self.batches[&batch].by);
        let user = user.as_deref();
        for job in &spec.jobs {
            let id = ids[job.name.as_str()];
            let kept_apart = self.kept_apart(queue, job);
            let job = kept_apart.as_ref().unwrap_or(job);
            let alone = self.classes.intern(&job.needs, &Gang::ALONE, user);
            let class = self.classes.intern(&job.needs, &job.gang(), user);
            let entry = Job {
                id,
                batch,
                queue,
                name: job.name.as_str().into(),
                command: Words::new(&job.command),
                spec: self.specs.intern(Arc::new(job.common())),
                class,
                alone,
                submitted: self.now,
                links: links(job, &ids).into(),
                tasks: Tasks::default(),
                totals: Rare::default(),
            };
            self.jobs.insert(entry);
            self.with_queued(id, |entry| {
                entry.tasks.blocked = RangeSet::up_to(job.count);
                if job.min > 1 {
                    entry.tasks.gang = RangeSet::up_to(job.min).into();
                }
            });
        }
        for job in &spec.jobs {
            let id = ids[job.name.as_str()];
            for need in self.jobs[&id].links.needs.clone() {
                let other = &mut self.job_mut(need.job).links;
                match need.by {
                    By::Job => other.dependents.push(id),
                    By::Element => other.followers.push(id),
                }
            }
            self.unblock(id);
        }
    }
}

impl World {
    /// A job with the isolation that its queue asks for at least, and for whom; `None` if
    /// it may run beside anybody.
    fn kept_apart(&self, queue: QueueId, job: &JobSpec) -> Option<JobSpec> {
        let isolation = job.needs.isolation.max(self.queues.isolation(queue));
        (isolation > Isolation::Shared).then(|| {
            let mut job = job.clone();
            job.needs.isolation = isolation;
            job.needs.tenant = Some(self.queues.queue(queue).tenant);
            job
        })
    }
}

/// What a job of a batch needs. Of two needs for the same the stricter one counts.
fn links(job: &JobSpec, ids: &BTreeMap<&str, JobId>) -> Links {
    let mut needs: BTreeMap<(JobId, By), Ends> = BTreeMap::new();
    for (name, by, ends) in job.dependencies() {
        let least = needs.entry((ids[name], by)).or_insert(ends);
        *least = ends.min(*least);
    }
    let whole = needs.keys().filter(|(_, by)| *by == By::Job);
    Links {
        waits_for: whole.map(|(job, _)| *job).collect(),
        needs: needs
            .into_iter()
            .map(|((job, by), ends)| Need { job, by, ends })
            .collect(),
        dependents: Vec::new(),
        followers: Vec::new(),
    }
}

/// What a submission would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submission {
    /// It would add a batch to this leaf.
    New(QueueId),
    /// It was made before and became this batch.
    Repeated(BatchId),
}
