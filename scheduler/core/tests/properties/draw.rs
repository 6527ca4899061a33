//! Which event an [`Act`] is, in the World as it stands.

use std::collections::BTreeSet;

use jeroboam_core::event::{Event, Placement, QueueChange, Selection, Verb};
use jeroboam_core::ids::{BatchId, JobId, LeaseId, NodeId, QueueId, TaskId};
use jeroboam_core::isolation::Isolation;
use jeroboam_core::policy::{Discipline, Policy};
use jeroboam_core::queue::{Limit, TaskBounds};
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::resources::{CPU, Resources};
use jeroboam_core::spec::BatchSpec;
use jeroboam_core::time::HOUR_MS;

use crate::act::{Act, JobAct};
use crate::life::Life;
use crate::make::{self, node, queue, site_event, site_name};

impl Life {
    pub fn event(&mut self, act: &Act) -> Option<Event> {
        Some(match act {
            Act::Submit { queue, jobs, again } => self.submission(*queue, jobs, *again),
            Act::Change {
                verb,
                job,
                first,
                width,
                batch,
            } => {
                let verb = [
                    Verb::Cancel,
                    Verb::Hold,
                    Verb::Release,
                    Verb::Retry,
                    Verb::Preempt,
                    Verb::Prioritise(i32::from(*first) % 3),
                ][usize::from(*verb) % 6];
                let id = self.job(*job)?;
                let selection = match batch {
                    true => Selection::Batch(self.world.jobs()[&id].batch),
                    false if *width > 200 => Selection::Job(id, None),
                    false => {
                        let first = u32::from(*first) % 8;
                        Selection::Job(
                            id,
                            Some(RangeSet::from_iter([(
                                first,
                                first + u32::from(*width) % 4,
                            )])),
                        )
                    }
                };
                Event::TasksChanged {
                    verb,
                    selection,
                    by: "alice".into(),
                    reason: String::new(),
                }
            }
            Act::SessionUp {
                site,
                incarnation,
                keep,
                foreign,
                stale,
            } => self.session_up(site_name(*site), *incarnation, *keep, *foreign, *stale),
            Act::SessionDown { site, stale } => {
                let session = self.session_of(site_name(*site)).unwrap_or(0) + u64::from(*stale);
                Event::SessionClosed {
                    site: site_name(*site).into(),
                    session,
                }
            }
            Act::Expire { site } => Event::LeasesExpired {
                site: site_name(*site).into(),
            },
            Act::Capacity {
                site,
                full,
                nodes,
                removed,
            } => {
                let name = |n: u8| format!("{}-{n}", site_name(*site));
                let node = |(n, cpu, memory, gpu, boot): &(u8, u8, u8, u8, u8)| {
                    node(name(*n), *cpu, *memory, *gpu, *boot)
                };
                Event::CapacityReported {
                    site: site_name(*site).into(),
                    session: self.session_of(site_name(*site)).unwrap_or(7),
                    full: *full,
                    nodes: nodes.iter().map(node).collect(),
                    removed: removed.iter().map(|n| name(*n)).collect(),
                }
            }
            Act::Site { site, what, number } => site_event(site_name(*site), *what, *number),
            Act::Queue {
                queue,
                weight,
                cordon,
                queued_max,
                guarantee,
                limit,
                tasks,
            } => Event::QueueChanged {
                name: self.queue(*queue),
                change: QueueChange {
                    weight: Some(u32::from(*weight)),
                    queued_max: queued_max.map(u64::from),
                    cordon: cordon.map(|on| if on { "stop".into() } else { String::new() }),
                    submitters: None,
                    guarantee: guarantee
                        .map(|cores| Resources::of(i64::from(cores) * 1_000, 0, 0, 0)),
                    limit: limit.map(|cores| {
                        let mut limit = Limit::default();
                        limit.0[CPU] = Some(i64::from(cores) * 1_000);
                        limit
                    }),
                    bounds: TaskBounds {
                        running_max: tasks.0.map(u64::from),
                        user_running_max: tasks.1.map(u64::from),
                        user_queued_max: tasks.1.map(|max| u64::from(max) * 10),
                    },
                    ..QueueChange::default()
                },
            },
            Act::Apart {
                queue,
                isolation,
                tenant,
            } => Event::QueueChanged {
                name: self.queue(*queue),
                change: QueueChange {
                    isolation: isolation.map(|level| Isolation::ALL[usize::from(level)]),
                    tenant: *tenant,
                    ..QueueChange::default()
                },
            },
            Act::NewQueue { parent, name } => {
                let parent = self.queue(*parent);
                Event::QueueCreated(queue(&format!("{parent}.n{name}")))
            }
            Act::Policy {
                order,
                placements,
                exponent,
                half_life_h,
                lost_max,
            } => Event::PolicyChanged(Policy {
                order: Discipline::ALL[usize::from(*order) % 4],
                conservative_depth: 1 + u32::from(*order) / 32,
                placements_per_round_max: u32::from(*placements),
                memory_exponent_inner: u32::from(*exponent),
                usage_half_life_ms: i64::from(*half_life_h) * HOUR_MS,
                lost_attempts_max: u32::from(*lost_max),
                ..Policy::default()
            }),
            Act::Retire { batch } => Event::BatchRetired {
                batch: self.batch(*batch)?,
            },
            Act::Restart { restored: false } => Event::Started {
                term: self.world.term() + 1,
            },
            Act::Restart { restored: true } => Event::Restored {
                lineage: self.world.lineage() + 1,
                quarantine_until: self.now + HOUR_MS,
            },
            Act::Place { job, index, node } => Event::PlanCommitted {
                placements: vec![Placement {
                    task: TaskId {
                        job: self.job(*job)?,
                        index: u32::from(*index),
                    },
                    node: NodeId(u32::from(*node)),
                    way: None,
                }],
                preemptions: Vec::new(),
                reservations: None,
            },
            Act::Tick { .. } | Act::Round | Act::Report { .. } => return None,
        })
    }

    fn submission(&mut self, queue: u8, jobs: &[JobAct], again: Option<u8>) -> Event {
        self.request += 1;
        let request = again.map_or(self.request, |n| u64::from(n) % self.request);
        let spec = BatchSpec {
            name: "b".into(),
            queue: self.queue(queue),
            jobs: make::jobs(jobs),
        };
        Event::BatchSubmitted {
            request_id: format!("r{request}"),
            digest: [jobs.len() as u8; 32],
            by: ["alice", "bob"][(self.request / 3 % 2) as usize].into(),
            spec,
        }
    }

    fn session_up(
        &mut self,
        site: &str,
        incarnation: u8,
        keep: u64,
        foreign: bool,
        stale: bool,
    ) -> Event {
        self.session += 1;
        let id = self.world.find_site(site).unwrap().id;
        let kept = |(position, _): &(usize, LeaseId)| keep >> (position % 64) & 1 == 1;
        let open = self.world.leases_at(id).enumerate().filter(kept);
        let mut leases: BTreeSet<LeaseId> = open.map(|(_, lease)| lease).collect();
        if foreign {
            let task = TaskId {
                job: JobId(9_999),
                index: 0,
            };
            leases.insert(LeaseId {
                lineage: self.world.lineage(),
                task,
                attempt: 1,
            });
            leases.extend(self.granted.first());
        }
        Event::SessionOpened {
            site: site.into(),
            session: if stale {
                self.session / 2
            } else {
                self.session
            },
            // Mostly the same agent.
            incarnation: format!("i{}", incarnation / 4),
            agent_version: String::new(),
            leases,
        }
    }

    fn session_of(&self, site: &str) -> Option<u64> {
        self.world.find_site(site).unwrap().session
    }

    fn queue(&self, number: u8) -> String {
        let queues: Vec<_> = self
            .world
            .queues()
            .iter()
            .filter(|queue| queue.id != QueueId::ROOT)
            .collect();
        queues[usize::from(number) % queues.len()].spec.name.clone()
    }

    fn job(&self, number: u8) -> Option<JobId> {
        let jobs: Vec<_> = self.world.jobs().keys().collect();
        jobs.get(usize::from(number) % jobs.len().max(1))
            .map(|id| **id)
    }

    fn batch(&self, number: u8) -> Option<BatchId> {
        let batches: Vec<_> = self.world.batches().keys().collect();
        batches
            .get(usize::from(number) % batches.len().max(1))
            .map(|id| **id)
    }
}
