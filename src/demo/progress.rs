//! How far the demo is: one bar a batch on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jeroboam_proto::v1;

use crate::client::Scheduler;
use crate::demo::batches::Submitted;
use crate::failure::Failure;

/// Without a terminal, a line no more often than this.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// What the scheduler said at one moment.
pub struct Seen {
    /// When.
    pub at: Instant,
    /// In the order of submission.
    pub batches: Vec<v1::Batch>,
    /// All queues.
    pub queues: Vec<v1::Queue>,
}

/// Asks the scheduler.
///
/// # Errors
/// It does not answer.
pub async fn look(scheduler: &Scheduler, submitted: &[Submitted]) -> Result<Seen, Failure> {
    let mut client = scheduler.client();
    let request = v1::ListBatchesRequest {
        limit: 100,
        ..Default::default()
    };
    let reply = scheduler.answer(client.list_batches(request)).await?;
    let queues = scheduler
        .answer(client.list_queues(v1::ListQueuesRequest {}))
        .await?
        .queues;
    let batch = |wanted: &Submitted| {
        let found = reply
            .batches
            .iter()
            .find(|batch| batch.id == wanted.id)
            .cloned();
        found.ok_or_else(|| Failure::Work(format!("batch-{} is gone", wanted.id)))
    };
    let batches = submitted.iter().map(batch).collect::<Result<_, _>>()?;
    Ok(Seen {
        at: Instant::now(),
        batches,
        queues,
    })
}

/// Tasks of a batch in some states.
pub fn count(batch: &v1::Batch, states: &[v1::TaskState]) -> u64 {
    let wanted = |entry: &&v1::StateCount| states.contains(&entry.state());
    batch
        .tasks
        .iter()
        .filter(wanted)
        .map(|entry| u64::from(entry.count))
        .sum()
}

/// The live view.
pub enum Progress {
    /// One bar a batch.
    Bars(Vec<ProgressBar>),
    /// A line now and then.
    Lines(Instant, Vec<&'static str>),
}

impl Progress {
    /// For these batches.
    pub fn new(submitted: &[Submitted]) -> Progress {
        println!();
        if !std::io::stdout().is_terminal() {
            let names = submitted.iter().map(|batch| batch.queue).collect();
            return Progress::Lines(Instant::now(), names);
        }
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("{prefix:18} [{bar:30}] {pos:>3}/{len:3} {msg}");
        let style = style
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = |batch: &Submitted| {
            let bar = all.add(ProgressBar::new(batch.tasks));
            bar.set_style(style.clone());
            bar.set_prefix(batch.queue);
            bar
        };
        let bars = submitted.iter().map(bar).collect();
        Progress::Bars(bars)
    }

    /// Brings the view up to date.
    pub fn show(&mut self, seen: &Seen) {
        match self {
            Progress::Bars(bars) => {
                for (bar, batch) in bars.iter().zip(&seen.batches) {
                    bar.set_position(count(batch, &ENDED));
                    bar.set_message(format!("{} running", count(batch, &ACTIVE)));
                }
            }
            Progress::Lines(last, names) => {
                if last.elapsed() < LINE_EVERY {
                    return;
                }
                *last = Instant::now();
                let each = names.iter().zip(&seen.batches).map(|(name, batch)| {
                    let total: u64 = batch.tasks.iter().map(|entry| u64::from(entry.count)).sum();
                    let (ended, active) = (count(batch, &ENDED), count(batch, &ACTIVE));
                    format!("{name} {ended}/{total} ({active} running)")
                });
                println!("{}", each.collect::<Vec<_>>().join(", "));
            }
        }
    }

    /// Leaves the last view standing.
    pub fn finish(&self) {
        if let Progress::Bars(bars) = self {
            bars.iter().for_each(ProgressBar::abandon);
        }
    }
}

const ENDED: [v1::TaskState; 3] = [
    v1::TaskState::Succeeded,
    v1::TaskState::Failed,
    v1::TaskState::Cancelled,
];
const ACTIVE: [v1::TaskState; 4] = [
    v1::TaskState::Leased,
    v1::TaskState::Starting,
    v1::TaskState::Running,
    v1::TaskState::Stopping,
];
