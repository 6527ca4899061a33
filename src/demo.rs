//! `jero demo`: a scheduler, three sites and a real search for the Higgs boson
//! on one machine, in under a minute.
//!
//! The rule: nothing here is played. The scheduler and the agents are processes
//! of their own that speak gRPC over loopback ([`federation`]); the jobs compute
//! ([`batches`]); what is printed is asked of the scheduler, as any user could
//! ([`progress`], [`report`]). The demo succeeds only if every job did.
//!
//! Entry point: [`run`].

mod batches;
mod directory;
mod federation;
mod progress;
mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{Remote, Scheduler};
use crate::demo::batches::Submitted;
use crate::demo::federation::Federation;
use crate::demo::progress::Progress;
use crate::demo::report::Competition;
use crate::failure::Failure;

/// Runs a scheduler, three sites and a Higgs search on this machine
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It listens on loopback only, on free ports, and takes under a minute. Its files are
in a directory jero-demo-PID below TMPDIR (/tmp), which it removes at the end; what a
demo that was killed left is removed by the next one of the same user.

Examples:
  jero demo
  jero demo --keep        leaves the federation up, and says what to try next"
)]
pub struct Args {
    /// Leave the federation running at the end, and say what to try
    #[arg(long)]
    keep: bool,
    /// Where the mass spectrum is written
    #[arg(long, value_name = "FILE", default_value = "higgs-4mu.svg")]
    plot: PathBuf,
    /// Collision events that each generating task simulates
    #[arg(long, value_name = "N", default_value_t = batches::EVENTS_DEFAULT)]
    events: u64,
}

/// How often the scheduler is asked how far things are.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Runs the demo.
///
/// # Errors
/// A process did not start, a job did not do what it should, or a signal came.
pub async fn run(args: Args) -> Result<(), Failure> {
    let mut federation = Federation::start().await?;
    let signal = crate::demo::federation::signalled();
    let outcome = tokio::select! {
        outcome = work(&mut federation, &args) => outcome,
        name = signal => Err(Failure::Work(format!("ended by {name}"))),
    };
    if args.keep {
        if let Err(failure) = &outcome {
            eprintln!("jero: {failure}");
        }
        federation.keep().await?;
    } else {
        federation.stop().await;
    }
    outcome
}

async fn work(federation: &mut Federation, args: &Args) -> Result<(), Failure> {
    let remote = Remote {
        server: Some(federation.server.clone()),
        ..Remote::default()
    };
    let scheduler = Scheduler::of(&remote)?;
    // Work may come before there is a site: so all compete from the first place on.
    let submitted = batches::submit(federation, args.events)?;
    federation.join_sites(&scheduler).await?;
    println!("\nthree sites have joined: meyrin and wigner (owned), cloud-west (leased)");
    let competition = watch(&scheduler, federation, &submitted).await?;
    report::print(&scheduler, &submitted, &competition).await?;
    let higgs = &submitted[0];
    let outputs = federation.directory.join("outputs");
    batches::get(federation, higgs, &outputs)?;
    let plot = keep_plot(&outputs, &args.plot)?;
    // What the merging job printed came back as its log.
    println!(
        "{}",
        batches::logs_of_merge(federation, &scheduler, higgs).await?
    );
    println!(
        "the four-muon mass spectrum (toy Monte Carlo): {}",
        plot.display()
    );
    Ok(())
}

/// Follows the batches until all have finished.
async fn watch(
    scheduler: &Scheduler,
    federation: &mut Federation,
    submitted: &[Submitted],
) -> Result<Competition, Failure> {
    let mut competition = Competition::default();
    let mut progress = Progress::new(submitted);
    loop {
        federation.check()?;
        let seen = progress::look(scheduler, submitted).await?;
        competition.add(&seen);
        progress.show(&seen);
        if seen.batches.iter().all(|batch| batch.finished_ms > 0) {
            progress.finish();
            return Ok(competition);
        }
        tokio::time::sleep(SAMPLE_EVERY).await;
    }
}

/// Copies the plot to where the user wants it.
fn keep_plot(outputs: &Path, wanted: &Path) -> Result<PathBuf, Failure> {
    let found = batches::find(outputs, "higgs-4mu.svg")?;
    std::fs::copy(&found, wanted).map_err(Failure::local("write", wanted))?;
    Ok(std::path::absolute(wanted).unwrap_or_else(|_| wanted.to_path_buf()))
}
