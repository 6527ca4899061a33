//! `jero job`: one job, its elements by state, and its latest attempts.

use jeroboam_proto::v1;
use jeroboam_proto::v1::outcome::Kind;
use jeroboam_units::{Bytes, Instant, Span};
use serde::Serialize;

use super::Job;
use super::by_hand::said;
use crate::client::{Remote, Scheduler};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::selector::{JobId, ranges_text};

/// Shows one job: its tasks by state, why they wait or failed, its attempts
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  jero job job-17
  jero job 'job-17[3-7]' --attempts 100
  jero job job-17 --output json | jq '.attempts[].outcome'")]
pub struct DescribeArgs {
    /// The job, or elements of it: job-17, job-17[3-7]
    #[arg(value_name = "ID")]
    job: JobId,
    /// Show at most so many attempts that have ended
    #[arg(long, value_name = "N", default_value_t = 20)]
    attempts: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Serialize)]
struct Description {
    #[serde(flatten)]
    job: Job,
    command: Vec<String>,
    walltime_ms: i64,
    min: u32,
    within: Option<String>,
    running_max: Option<u32>,
    class: &'static str,
    priority: i32,
    preemptible: bool,
    states: Vec<Elements>,
    altered: Vec<Altered>,
    attempts: Vec<Attempt>,
}

/// Elements that ask for something else than the job, as a retry rule wants it.
#[derive(Debug, Serialize)]
struct Altered {
    /// `3-7,9`
    indexes: String,
    memory_mib: i64,
    /// `site/node`, `site`
    avoided: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Elements {
    state: &'static str,
    reason: String,
    /// `3-7,9`
    indexes: String,
    by: String,
    why: String,
}

impl Elements {
    /// `user, by alice: wrong input`.
    fn because(&self) -> String {
        let by = match said(&self.by, &self.why) {
            by if by.is_empty() => by,
            by => format!("by {by}"),
        };
        let parts = [self.reason.clone(), by].into_iter();
        parts
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// One attempt of a task, in JSON.
#[derive(Debug, Serialize)]
pub struct Attempt {
    task: String,
    attempt: u32,
    site: String,
    node: String,
    state: &'static str,
    granted: Option<Instant>,
    ended: Option<Instant>,
    outcome: Option<Outcome>,
    ran_ms: Option<i64>,
    cpu_ms: Option<i64>,
    memory_peak_mib: Option<i64>,
}

/// How an attempt ended: a stable word, and its number or text.
#[derive(Debug, Serialize)]
struct Outcome {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// Shows one job.
///
/// # Errors
/// Unreachable or refused.
pub async fn describe(args: DescribeArgs) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let JobId { job, ranges } = args.job;
    let request = v1::DescribeJobRequest {
        job,
        ranges,
        attempts_max: args.attempts,
    };
    let reply = scheduler
        .answer(scheduler.client().describe_job(request))
        .await?;
    args.output.print(&description(reply), table)
}

/// The first element of a job that is in this state.
pub fn first_in(states: &[v1::StateRanges], state: v1::TaskState) -> Option<u32> {
    let elements = states.iter().filter(|elements| elements.state() == state);
    elements
        .flat_map(|elements| &elements.ranges)
        .map(|range| range.first)
        .min()
}

fn description(reply: v1::DescribeJobReply) -> Description {
    let spec = reply.spec.unwrap_or_default();
    let states = reply.states.into_iter().map(|elements| Elements {
        state: output::state(elements.state),
        indexes: ranges_text(&elements.ranges),
        reason: elements.reason,
        by: elements.by,
        why: elements.why,
    });
    let class = match spec.priority_class() {
        v1::PriorityClass::Low => "low",
        v1::PriorityClass::Normal => "normal",
        v1::PriorityClass::High => "high",
    };
    Description {
        job: Job::of(reply.job.unwrap_or_default()),
        command: spec.command,
        walltime_ms: spec.walltime_ms,
        min: spec.min.max(1),
        within: spec.within.and_then(|within| within.what).map(within),
        running_max: (spec.running_max != 0).then_some(spec.running_max),
        class,
        priority: spec.priority,
        preemptible: spec.preemptible.unwrap_or(spec.restartable),
        states: states.collect(),
        altered: reply.altered.into_iter().map(altered).collect(),
        attempts: reply.attempts.into_iter().map(Attempt::of).collect(),
    }
}

fn altered(altered: v1::Altered) -> Altered {
    Altered {
        indexes: ranges_text(&altered.ranges),
        memory_mib: altered.resources.unwrap_or_default().memory_mib,
        avoided: altered.avoided,
    }
}

impl Description {
    /// `4, within one cluster`; nothing where tasks go one by one.
    fn together(&self) -> String {
        match (self.min, self.within.as_deref()) {
            (0 | 1, _) => String::new(),
            (min, None) => min.to_string(),
            (min, Some(within)) => match within.strip_prefix("label:") {
                Some(key) => format!("{min}, on nodes of one `{key}`"),
                None => format!("{min}, within one {within}"),
            },
        }
    }
}

/// As the batch file has it.
fn within(what: v1::within::What) -> String {
    use v1::within::What;
    match what {
        What::Site(_) => "site".to_owned(),
        What::Cluster(_) => "cluster".to_owned(),
        What::Label(key) => format!("label:{key}"),
    }
}

impl Attempt {
    /// Reads the wire's attempt.
    pub fn of(attempt: v1::Attempt) -> Self {
        let lease = attempt.lease.unwrap_or_default();
        let task = lease.task.unwrap_or_default();
        let ended = attempt.ended.as_ref();
        let usage = ended.and_then(|ended| ended.usage);
        let outcome = ended
            .and_then(|ended| ended.outcome.clone()?.kind)
            .map(outcome);
        Self {
            task: format!("job-{}[{}]", task.job, task.index),
            attempt: lease.attempt,
            site: attempt.site,
            node: attempt.node,
            state: if ended.is_some() {
                "ended"
            } else {
                output::state(attempt.state)
            },
            granted: output::moment(attempt.granted_ms),
            ended: output::moment(attempt.ended_ms),
            outcome,
            // Of an attempt that never ran, or was lost, not both ends are known.
            ran_ms: usage
                .filter(|usage| usage.started_ms > 0 && usage.ended_ms >= usage.started_ms)
                .map(|usage| usage.ended_ms - usage.started_ms),
            cpu_ms: usage.map(|usage| usage.cpu_ms),
            memory_peak_mib: usage.map(|usage| usage.memory_peak_mib),
        }
    }

    /// `job-17[4]#2 on n1 at meyrin: exit 3`.
    pub fn told(&self) -> String {
        let Self {
            task,
            attempt,
            site,
            node,
            ..
        } = self;
        let outcome = self.outcome.as_ref().map(Outcome::words);
        let outcome = outcome.unwrap_or_else(|| self.state.to_owned());
        format!("{task}#{attempt} on {node} at {site}: {outcome}")
    }
}

fn outcome(kind: Kind) -> Outcome {
    let word = |kind| Outcome {
        kind,
        code: None,
        text: None,
    };
    let code = |kind, code| Outcome {
        kind,
        code: Some(code),
        text: None,
    };
    let text = |kind, text| Outcome {
        kind,
        code: None,
        text: Some(text),
    };
    match kind {
        Kind::ExitCode(exit_code) => code("exit", exit_code),
        Kind::Signal(signal) => code("signal", signal),
        Kind::WalltimeExceeded(_) => word("walltime"),
        Kind::MemoryExceeded(_) => word("memory"),
        Kind::ContactLost(_) => word("contact_lost"),
        Kind::Lost(_) => word("lost"),
        Kind::NotRun(_) => word("not_run"),
        Kind::Stopped(_) => word("stopped"),
        Kind::StartFailed(why) => text("start_failed", why),
        Kind::OutputsFailed(why) => text("outputs_failed", why),
        Kind::Preempted(by) => text("preempted", format!("for job-{by}")),
        Kind::GangBroken(_) => word("gang_broken"),
        Kind::PreemptedByHand(who) => text("preempted", by_hand(&who)),
    }
}

fn by_hand(who: &v1::PreemptedByHand) -> String {
    match said(&who.by, &who.reason) {
        by if by.is_empty() => "by hand".to_owned(),
        by => format!("by {by}"),
    }
}

impl Outcome {
    fn words(&self) -> String {
        match (self.kind, self.code, &self.text) {
            ("exit", Some(0), _) => "ok".to_owned(),
            (kind, Some(code), _) => format!("{kind} {code}"),
            (kind, None, Some(text)) => format!("{}: {text}", kind.replace('_', " ")),
            (kind, None, None) => kind.replace('_', " "),
        }
    }
}

fn table(description: &Description) -> String {
    let mut facts = description.job.facts();
    facts.push((
        "command",
        description.command.join(" ").replace('\n', "\\n"),
    ));
    facts.push(("walltime limit", Span(description.walltime_ms).to_string()));
    facts.push(("together", description.together()));
    let max = description.running_max.map(|max| max.to_string());
    facts.push(("at most at once", max.unwrap_or_default()));
    let class = Some(description.class).filter(|class| *class != "normal");
    facts.push(("class", class.unwrap_or_default().to_owned()));
    let priority = Some(description.priority).filter(|priority| *priority != 0);
    let priority = priority.map(|priority| priority.to_string());
    facts.push(("priority", priority.unwrap_or_default()));
    let kept = (!description.preemptible).then(|| "no".to_owned());
    facts.push(("preemptible", kept.unwrap_or_default()));
    let states = description.states.iter().map(|elements| {
        vec![
            elements.state.to_owned(),
            elements.indexes.clone(),
            elements.because(),
        ]
    });
    let mut states = output::table(&["state", "elements", "reason"], states.collect());
    if !description.altered.is_empty() {
        let rows = description.altered.iter().map(|altered| {
            vec![
                altered.indexes.clone(),
                Bytes::from_mib(altered.memory_mib).humane(),
                altered.avoided.join(" "),
            ]
        });
        let table = output::table(&["tried again", ">memory", "not at"], rows.collect());
        states = format!("{states}\n\n{table}");
    }
    let attempts = description.attempts.iter().map(attempt_row);
    let headings = [
        "attempt", "site", "node", "state", "granted", ">ran", ">cpu", ">memory", "outcome",
    ];
    let attempts = output::table(&headings, attempts.collect());
    format!("{}\n\n{states}\n\n{attempts}", output::facts(&facts))
}

fn attempt_row(attempt: &Attempt) -> Vec<String> {
    let span = |ms: Option<i64>| ms.map(|ms| Span(ms).humane()).unwrap_or_default();
    let memory = attempt
        .memory_peak_mib
        .map(|mib| Bytes::from_mib(mib).humane());
    vec![
        format!("{}#{}", attempt.task, attempt.attempt),
        attempt.site.clone(),
        attempt.node.clone(),
        attempt.state.to_owned(),
        attempt
            .granted
            .map(|Instant(ms)| output::ago(ms))
            .unwrap_or_default(),
        span(attempt.ran_ms),
        span(attempt.cpu_ms),
        memory.unwrap_or_default(),
        attempt
            .outcome
            .as_ref()
            .map(Outcome::words)
            .unwrap_or_default(),
    ]
}
