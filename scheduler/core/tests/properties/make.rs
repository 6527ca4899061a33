//! Particulars of events, made of small numbers.

use std::collections::{BTreeMap, BTreeSet};

use jeroboam_core::event::Event;
use jeroboam_core::isolation::{Isolation, Runtime};
use jeroboam_core::job::{AttemptEnd, AttemptUsage, Outcome};
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::Resources;
use jeroboam_core::site::{Closing, Contract, NodeReport, Part, SiteSpec};
use jeroboam_core::spec::{
    After, By, Coe, Ends, FailureClass, JobSpec, Needs, OnLostContact, PriorityClass, RetryRule,
};
use jeroboam_core::time::{HOUR_MS, TimeMs};

use crate::act::JobAct;

/// When every life begins: 2026-01-01T00:00:00Z.
pub const START: TimeMs = TimeMs(1_767_225_600_000);
/// The sites there are; the last is leased.
pub const SITES: [&str; 3] = ["meyrin", "wigner", "cloud"];

pub fn site_name(number: u8) -> &'static str {
    SITES[usize::from(number) % SITES.len()]
}

pub fn site(name: &str, leased: bool, number: u8) -> SiteSpec {
    let contract = leased.then(|| Contract {
        start: START,
        end: START + i64::from(number) * HOUR_MS + 1,
        price_micro_eur_per_core_hour: 50_000,
        budget_micro_eur: number.is_multiple_of(2).then(|| i64::from(number) * 20_000),
    });
    SiteSpec {
        name: name.into(),
        region: String::new(),
        contract,
    }
}

pub fn site_event(name: &str, what: u8, number: u8) -> Event {
    let close = |how| Event::SiteClosed {
        name: name.into(),
        how,
        reason: "why".into(),
        by: "who".into(),
    };
    let close_part = |part, how| Event::PartClosed {
        site: name.into(),
        part,
        how,
        reason: "why".into(),
        by: "who".into(),
        until: (number > 100).then(|| START + i64::from(number) * HOUR_MS / 100),
    };
    let node = || Part::Node(format!("{name}-{}", number % 4));
    let how = [None, Some(Closing::Cordon), Some(Closing::Drain)][usize::from(number) % 3];
    match what % 13 {
        10 | 11 => Event::DowntimeDeclared {
            site: name.into(),
            part: [Part::Site, Part::Cluster("c".into()), node()][usize::from(number) % 3].clone(),
            from: START + i64::from(number / 2) * HOUR_MS / 10,
            until: START + i64::from(number) * HOUR_MS / 10 + 1,
            reason: "why".into(),
            by: "who".into(),
        },
        12 => Event::DowntimeRemoved {
            site: name.into(),
            id: u32::from(number % 4),
        },
        6 | 7 => close_part(node(), how),
        8 => close_part(Part::Cluster("c".into()), how),
        9 => close_part(Part::Site, how),
        0 => close(Some(Closing::Cordon)),
        1 => close(Some(Closing::Drain)),
        2 => Event::SiteWithdrawn { name: name.into() },
        3 => Event::SiteDeclared(site(name, number.is_multiple_of(2), number)),
        _ => close(None),
    }
}

pub fn queue(name: &str) -> QueueSpec {
    QueueSpec {
        submitters: ["*".to_string()].into(),
        ..QueueSpec::new(name, 1)
    }
}

/// What a node may have of runtimes, by a small number; the first of them none.
fn runtimes(kind: u8) -> Vec<Runtime> {
    let runtime = |name: &str, isolation, mib| Runtime {
        name: name.into(),
        isolation,
        overhead: Resources::of(0, mib, 0, 0),
    };
    let plain = runtime("runc", Isolation::Shared, 0);
    let sandbox = runtime("runsc", Isolation::Sandbox, 600);
    let kata = runtime("kata", Isolation::Kernel, 1_100);
    match kind % 5 {
        0 | 1 => Vec::new(),
        2 => vec![plain, sandbox],
        3 => vec![sandbox],
        _ => vec![kata, plain],
    }
}

/// `boot` tells kernels apart: those of a node one after the other, and some that two
/// nodes have in common.
pub fn node(name: String, cpu: u8, memory: u8, gpu: u8, boot: u8) -> NodeReport {
    NodeReport {
        kernel: match boot % 8 {
            0 => String::new(),
            1 => "host".into(),
            boot => format!("{name}-{boot}"),
        },
        name,
        cluster: "c".into(),
        coe: Coe::Process,
        runtimes: runtimes(boot / 8),
        capacity: Resources::of(
            i64::from(cpu) * 1_000,
            i64::from(memory) * 1_024,
            0,
            i64::from(gpu),
        ),
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        speed_milli: 5_000 + i64::from(cpu) * 1_000,
        schedulable: cpu != 3,
    }
}

/// The jobs of a batch; element by element follow only those that have as many tasks.
pub fn jobs(acts: &[JobAct]) -> Vec<JobSpec> {
    let jobs = acts.iter().enumerate();
    let mut jobs: Vec<JobSpec> = jobs.map(|(position, act)| job(position, act)).collect();
    let counts: BTreeMap<String, u32> = jobs
        .iter()
        .map(|job| (job.name.clone(), job.count))
        .collect();
    for job in &mut jobs {
        for after in &mut job.after {
            if counts[&after.job] != job.count {
                after.by = By::Job;
            }
        }
    }
    jobs
}

fn job(position: usize, job: &JobAct) -> JobSpec {
    let earlier = (0..position).filter(|other| job.after >> other & 1 == 1);
    let after = earlier.map(|other| After {
        job: format!("j{other}"),
        by: [By::Job, By::Element][usize::from(job.after >> 5 & 1)],
        ends: [Ends::Ok, Ends::Any][usize::from(job.after >> 4 & 1)],
    });
    let sites = if job.site < 40 {
        [site_name(job.site).to_string()].into()
    } else {
        BTreeSet::new()
    };
    // A gang's tasks are alike.
    let single = job.gang.min(job.count) < 2;
    let grows = single && job.memory > 0 && job.alters & 4 != 0;
    let retries = (0..job.retries / 100).map(|n| RetryRule {
        exit_codes: if n == 0 { vec![(1, 3)] } else { vec![] },
        classes: if n == 0 {
            [FailureClass::Lost].into()
        } else {
            BTreeSet::new()
        },
        times: 2,
        delay_ms: [0, 0, 700_000][usize::from(job.retries) % 3],
        backoff: job.retries.is_multiple_of(2),
        memory_permille: if grows { 1_500 } else { 0 },
        memory_max_mib: (grows && n == 1).then(|| i64::from(job.memory) * 1_024 + 2_048),
        avoid_node: single && job.alters & 1 != 0,
        change_site: single && job.alters & 2 != 0,
    });
    JobSpec {
        name: format!("j{position}"),
        count: u32::from(job.count),
        command: vec!["true".into()],
        env: BTreeMap::new(),
        image: String::new(),
        priority_class: PriorityClass::ALL[usize::from(job.after) % 3],
        priority: i32::from(job.priority),
        needs: Needs {
            resources: Resources::of(
                i64::from(job.cpu) * 1_000,
                i64::from(job.memory) * 1_024,
                0,
                i64::from(job.gpu),
            ),
            walltime_ms: i64::from(job.walltime_m) * 60_000,
            coe: None,
            labels: BTreeMap::new(),
            tolerations: BTreeSet::new(),
            sites,
            sites_excluded: BTreeSet::new(),
            avoided: Default::default(),
            isolation: Isolation::ALL[usize::from(job.isolation) % 3],
            tenant: None,
        },
        after: after.collect(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        outputs_of: Vec::new(),
        retries: retries.collect(),
        on_lost_contact: if job.waits {
            OnLostContact::Wait
        } else {
            OnLostContact::Restart
        },
        restartable: job.restartable,
        preemptible: !job.fixed,
        min: u32::from(job.gang.min(job.count)),
        within: None,
        running_max: job
            .running_max
            .map(|max| u32::from(max.max(job.gang.min(job.count)))),
    }
}

pub fn end(outcome: u8, ran_s: u16, now: TimeMs) -> AttemptEnd {
    let mut end = AttemptEnd::bare(match outcome % 15 {
        0..5 => Outcome::Exit(0),
        5..7 => Outcome::Exit(i32::from(outcome / 15)),
        7 => Outcome::Signal(9),
        8 => Outcome::WalltimeExceeded,
        9 => Outcome::Lost,
        10 => Outcome::NotRun,
        11 => Outcome::Stopped,
        12 => Outcome::StartFailed("no".into()),
        13 => Outcome::MemoryExceeded,
        _ => Outcome::OutputsFailed("x".into()),
    });
    // The node's clock may be anywhere.
    let started = now + -i64::from(ran_s) * 1_000;
    let ended = if ran_s.is_multiple_of(7) {
        TimeMs(0)
    } else {
        now
    };
    end.usage = ran_s.is_multiple_of(3).then_some(AttemptUsage {
        started,
        ended,
        cpu_ms: 1,
        memory_peak_mib: 1,
    });
    end
}
