//! What can happen, as small numbers that [`crate::life`] makes events of: a number picks
//! among what there is at that moment.

use proptest::collection::vec;
use proptest::prelude::*;

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Act {
    /// Time passes.
    Tick { span_ms: i64 },
    /// Somebody submits; `again` repeats an earlier request.
    Submit {
        queue: u8,
        jobs: Vec<JobAct>,
        again: Option<u8>,
    },
    /// A round is planned and committed.
    Round,
    /// A site reports about a lease that was granted at any time.
    Report { lease: u16, stage: Stage },
    /// Somebody changes tasks by hand; `batch` takes the job's whole batch.
    Change {
        verb: u8,
        job: u8,
        first: u8,
        width: u8,
        batch: bool,
    },
    /// A site opens a session, holding some of its leases (a bit for each) and foreign ones.
    SessionUp {
        site: u8,
        incarnation: u8,
        keep: u64,
        foreign: bool,
        stale: bool,
    },
    /// A site's session ends.
    SessionDown { site: u8, stale: bool },
    /// A site was silent for too long.
    Expire { site: u8 },
    /// A site reports nodes.
    Capacity {
        site: u8,
        full: bool,
        nodes: Vec<(u8, u8, u8, u8, u8)>,
        removed: Vec<u8>,
    },
    /// A site is cordoned, drained, opened, withdrawn or declared.
    Site { site: u8, what: u8, number: u8 },
    /// A queue gets a weight, a cordon, a bound.
    Queue {
        queue: u8,
        weight: u8,
        cordon: Option<bool>,
        queued_max: Option<u16>,
        guarantee: Option<u8>,
        limit: Option<u8>,
        /// Tasks that run, of all and of each user; 0 lifts.
        tasks: (Option<u8>, Option<u8>),
    },
    /// A queue is marked as a tenant or not, or sets a least isolation.
    Apart {
        queue: u8,
        isolation: Option<u8>,
        tenant: Option<bool>,
    },
    /// A queue is added.
    NewQueue { parent: u8, name: u8 },
    /// The tunables change.
    Policy {
        order: u8,
        placements: u8,
        exponent: u8,
        half_life_h: u8,
        lost_max: u8,
    },
    /// A finished batch leaves.
    Retire { batch: u8 },
    /// The scheduler starts anew, from a backup if `restored`.
    Restart { restored: bool },
    /// A plan made by hand, good or bad.
    Place { job: u8, index: u8, node: u8 },
}

/// One job of a submission.
#[derive(Debug, Clone)]
pub struct JobAct {
    pub count: u8,
    pub cpu: u8,
    pub memory: u8,
    pub gpu: u8,
    pub walltime_m: u8,
    pub priority: i8,
    /// A bit for each earlier job of the batch.
    pub after: u8,
    pub restartable: bool,
    pub waits: bool,
    pub site: u8,
    pub retries: u8,
    /// A bit each: avoid the node, change the site, more memory.
    pub alters: u8,
    /// How many go together; 1 and more than `count` are none.
    pub gang: u8,
    pub fixed: bool,
    pub running_max: Option<u8>,
    pub isolation: u8,
}

/// How far an attempt is said to be.
#[derive(Debug, Clone, Copy)]
pub enum Stage {
    Starting,
    Running,
    Ended { outcome: u8, ran_s: u16 },
}

/// Any of them, the usual ones more often.
pub fn act() -> impl Strategy<Value = Act> {
    let small = any::<u8>;
    prop_oneof![
        4 => prop_oneof![1i64..100_000, 100_000i64..20_000_000].prop_map(|span_ms| Act::Tick { span_ms }),
        6 => (small(), vec(job(), 1..5), prop::option::weighted(0.1, small()))
            .prop_map(|(queue, jobs, again)| Act::Submit { queue, jobs, again }),
        12 => Just(Act::Round),
        20 => (any::<u16>(), stage()).prop_map(|(lease, stage)| Act::Report { lease, stage }),
        6 => (small(), small(), small(), small(), any::<bool>())
            .prop_map(|(verb, job, first, width, batch)| Act::Change { verb, job, first, width, batch }),
        6 => (small(), 0u8..5, any::<u64>(), prop::bool::weighted(0.2), prop::bool::weighted(0.1))
            .prop_map(|(site, incarnation, keep, foreign, stale)| Act::SessionUp { site, incarnation, keep, foreign, stale }),
        2 => (small(), prop::bool::weighted(0.2)).prop_map(|(site, stale)| Act::SessionDown { site, stale }),
        2 => small().prop_map(|site| Act::Expire { site }),
        6 => (small(), prop::bool::weighted(0.3), vec((0u8..4, 0u8..12, 0u8..12, 0u8..3, small()), 0..4), vec(0u8..4, 0..2))
            .prop_map(|(site, full, nodes, removed)| Act::Capacity { site, full, nodes, removed }),
        3 => (small(), small(), small()).prop_map(|(site, what, number)| Act::Site { site, what, number }),
        3 => (small(), 0u8..6, prop::option::of(any::<bool>()), prop::option::weighted(0.1, any::<u16>()), bounds(), tasks())
            .prop_map(|(queue, weight, cordon, queued_max, (guarantee, limit), tasks)| {
                Act::Queue { queue, weight, cordon, queued_max, guarantee, limit, tasks }
            }),
        1 => (small(), prop::option::of(0u8..3), prop::option::of(any::<bool>()))
            .prop_map(|(queue, isolation, tenant)| Act::Apart { queue, isolation, tenant }),
        2 => (small(), 0u8..6).prop_map(|(parent, name)| Act::NewQueue { parent, name }),
        2 => (small(), 0u8..8, 0u8..17, small(), 0u8..4)
            .prop_map(|(order, placements, exponent, half_life_h, lost_max)| {
                Act::Policy { order, placements, exponent, half_life_h, lost_max }
            }),
        2 => small().prop_map(|batch| Act::Retire { batch }),
        1 => prop::bool::weighted(0.3).prop_map(|restored| Act::Restart { restored }),
        1 => (small(), 0u8..8, 0u8..8).prop_map(|(job, index, node)| Act::Place { job, index, node }),
    ]
}

/// Cores guaranteed, and at most.
fn bounds() -> impl Strategy<Value = (Option<u8>, Option<u8>)> {
    (
        prop::option::of(0u8..8),
        prop::option::weighted(0.3, 0u8..12),
    )
}

/// Tasks that may run, of all and of each user.
fn tasks() -> impl Strategy<Value = (Option<u8>, Option<u8>)> {
    (
        prop::option::weighted(0.3, 0u8..7),
        prop::option::weighted(0.3, 0u8..5),
    )
}

/// A job of a few tasks, sometimes one that fits nowhere.
pub fn job() -> impl Strategy<Value = JobAct> {
    let sizes = (
        1u8..9,
        0u8..5,
        0u8..5,
        prop_oneof![4 => Just(0u8), 1 => 1u8..3],
        0u8..200,
    );
    let rest = (
        -2i8..3,
        any::<u8>(),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.2),
        any::<u8>(),
        any::<u8>(),
    );
    let together = (
        prop_oneof![2 => Just(1u8), 1 => 2u8..6],
        prop::bool::weighted(0.2),
        prop::option::weighted(0.2, 1u8..6),
        prop_oneof![1 => Just(0u8), 2 => 1u8..8],
        prop_oneof![3 => Just(0u8), 1 => 1u8..3],
    );
    (sizes, rest, together).prop_map(|((count, cpu, memory, gpu, walltime_m), rest, together)| {
        let (priority, after, restartable, waits, site, retries) = rest;
        let (gang, fixed, running_max, alters, isolation) = together;
        JobAct {
            count,
            cpu,
            memory,
            gpu,
            walltime_m,
            priority,
            after,
            restartable,
            waits,
            site,
            retries,
            alters,
            gang,
            fixed,
            running_max,
            isolation,
        }
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        1 => Just(Stage::Starting),
        2 => Just(Stage::Running),
        5 => (any::<u8>(), any::<u16>()).prop_map(|(outcome, ran_s)| Stage::Ended { outcome, ran_s }),
    ]
}
