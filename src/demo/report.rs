//! What the demo says at the end: where the jobs ran, what share each VO held of
//! what it was entitled to, how long tasks waited, what it cost, what was found.

use jeroboam_proto::v1;
use std::collections::BTreeMap;

use crate::client::{Patience, Scheduler};
use crate::demo::batches::Submitted;
use crate::demo::progress::{Seen, count};
use crate::failure::Failure;
use crate::output;

/// Shares over the time in which every VO had tasks waiting.
#[derive(Default)]
pub struct Competition {
    last: Option<std::time::Instant>,
    seconds: f64,
    /// VO → ∫ held, ∫ entitlement, in core-seconds.
    shares: BTreeMap<String, (f64, f64)>,
}

impl Competition {
    /// Takes one look into account, for the time since the last one.
    pub fn add(&mut self, seen: &Seen) {
        let vos = || seen.queues.iter().filter(|queue| !queue.name.contains('.'));
        let compete = vos().all(|vo| vo.queued > 0);
        let since = self.last.replace(seen.at);
        let (true, Some(since)) = (compete, since) else {
            return;
        };
        let seconds = (seen.at - since).as_secs_f64();
        self.seconds += seconds;
        let cores = |amount: &Option<v1::Resources>| {
            amount
                .as_ref()
                .map_or(0.0, |amount| amount.cpu_milli as f64 / 1_000.0)
        };
        for vo in vos() {
            let share = self.shares.entry(vo.name.clone()).or_default();
            share.0 += cores(&vo.held) * seconds;
            share.1 += cores(&vo.entitlement) * seconds;
        }
    }
}

/// Prints all but the physics; fails if any task did not succeed.
///
/// # Errors
/// The scheduler does not answer, or a task did not succeed.
pub async fn print(
    scheduler: &Scheduler,
    submitted: &[Submitted],
    competition: &Competition,
) -> Result<(), Failure> {
    let mut patience = Patience::short();
    let mut jobs: Vec<(&Submitted, v1::DescribeJobReply)> = Vec::new();
    for batch in submitted {
        for job in scheduler.jobs_of_batch(batch.id, &mut patience).await? {
            let request = v1::DescribeJobRequest {
                job: job.id,
                attempts_max: 1_000,
                ..Default::default()
            };
            let mut client = scheduler.client();
            jobs.push((batch, scheduler.answer(client.describe_job(request)).await?));
        }
    }
    println!("\n{}", places(&jobs));
    println!("{}", shares(competition));
    println!("{}", costs(submitted, &jobs));
    check(submitted, &jobs)
}

/// Tasks per site and VO.
fn places(jobs: &[(&Submitted, v1::DescribeJobReply)]) -> String {
    let mut counts: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for (batch, job) in jobs {
        for attempt in job.attempts.iter().filter(|attempt| succeeded(attempt)) {
            *counts
                .entry(&attempt.site)
                .or_default()
                .entry(batch.vo)
                .or_default() += 1;
        }
    }
    let vos: std::collections::BTreeSet<&str> = jobs.iter().map(|(batch, _)| batch.vo).collect();
    let mut headings = vec!["tasks at"];
    headings.extend(&vos);
    let row = |(site, by_vo): (&&str, &BTreeMap<&str, u64>)| {
        let cell = |vo| by_vo.get(vo).copied().unwrap_or(0).to_string();
        std::iter::once((*site).to_string())
            .chain(vos.iter().map(cell))
            .collect()
    };
    output::table(&headings, counts.iter().map(row).collect())
}

fn succeeded(attempt: &v1::Attempt) -> bool {
    let outcome = attempt
        .ended
        .as_ref()
        .and_then(|ended| ended.outcome.as_ref()?.kind.as_ref());
    matches!(outcome, Some(v1::outcome::Kind::ExitCode(0)))
}

fn shares(competition: &Competition) -> String {
    if competition.seconds == 0.0 {
        return "the VOs never competed: the machine was faster than the demo looked\n".into();
    }
    let row = |(vo, (held, entitled)): (&String, &(f64, f64))| {
        let seconds = competition.seconds;
        vec![
            vo.clone(),
            format!("{:.2}", held / seconds),
            format!("{:.2}", entitled / seconds),
            format!("{:.0} %", 100.0 * held / entitled.max(1e-9)),
        ]
    };
    let headings = ["VO", "cores held", "entitled", "held/entitled"];
    let table = output::table(&headings, competition.shares.iter().map(row).collect());
    format!(
        "while all three VOs had tasks waiting ({:.1} s):\n{table}",
        competition.seconds
    )
}

fn costs(submitted: &[Submitted], jobs: &[(&Submitted, v1::DescribeJobReply)]) -> String {
    let of = |batch: &Submitted| {
        let own = jobs.iter().filter(|(of, _)| of.id == batch.id);
        let own: Vec<&v1::Job> = own.filter_map(|(_, job)| job.job.as_ref()).collect();
        let starts: i64 = own.iter().map(|job| i64::from(job.started_tasks)).sum();
        let wait_ms: i64 = own.iter().map(|job| job.wait_sum_ms).sum();
        let core_ms: i64 = own.iter().map(|job| job.core_ms).sum();
        let cost: i64 = own.iter().map(|job| job.cost_micro_eur).sum();
        vec![
            format!("batch-{}", batch.id),
            batch.queue.to_string(),
            batch.what.to_string(),
            format!("{:.1} s", wait_ms as f64 / 1_000.0 / starts.max(1) as f64),
            format!("{:.1}", core_ms as f64 / 1_000.0),
            format!("{:.6} EUR", cost as f64 / 1e6),
        ]
    };
    let headings = [
        "batch",
        "queue",
        "what",
        "mean wait",
        "core-seconds",
        "leased cost",
    ];
    output::table(&headings, submitted.iter().map(of).collect())
}

/// Every task has succeeded.
fn check(
    submitted: &[Submitted],
    jobs: &[(&Submitted, v1::DescribeJobReply)],
) -> Result<(), Failure> {
    for batch in submitted {
        let own = jobs.iter().filter(|(of, _)| of.id == batch.id);
        let tasks = own
            .filter_map(|(_, job)| job.job.as_ref())
            .flat_map(|job| job.tasks.clone());
        let counted = v1::Batch {
            tasks: tasks.collect(),
            ..Default::default()
        };
        let done = count(&counted, &[v1::TaskState::Succeeded]);
        if done != batch.tasks {
            return Err(Failure::Work(format!(
                "{done} of {} tasks of batch-{} ({}) succeeded",
                batch.tasks, batch.id, batch.what
            )));
        }
    }
    Ok(())
}
