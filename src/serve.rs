//! `jero serve`: runs the scheduler, which is the crate `jeroboam-scheduler`.

use anyhow::Context as _;
use jeroboam_scheduler::config::{Config, LogFormat};

use crate::failure::Failure;
use crate::service::{self, LogForm};

/// Runs the scheduler
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  jero serve --config scheduler.toml --log-format json")]
pub struct Args {
    #[command(flatten)]
    start: service::Start,
}

/// Runs the scheduler until it ends.
///
/// # Errors
/// The configuration has faults, or the scheduler fails.
pub fn run(args: Args) -> Result<(), Failure> {
    ignore_file_size_signal()?;
    args.start
        .run(Config::load, log_form, |config, shutdown| async {
            jeroboam_scheduler::serve(config, shutdown)
                .await
                .context("the scheduler has ended")
        })
}

/// A write beyond the process's file size limit is to be an error that the journal
/// reports, not the end of the process.
fn ignore_file_size_signal() -> Result<(), Failure> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: ignoring a signal runs no code of ours.
    let ignored = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    ignored
        .map(|_| ())
        .context("cannot ignore SIGXFSZ")
        .map_err(Failure::Here)
}

fn log_form(config: &Config) -> LogForm {
    match config.log {
        LogFormat::Human => LogForm::Human,
        LogFormat::Json => LogForm::Json,
    }
}
