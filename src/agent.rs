//! The site's side of the command: `jero agent` runs the agent, which is the
//! crate `jeroboam-agent`; agents start the hidden verb for each attempt.

use anyhow::Context as _;
use jeroboam_agent::config::Config;

use crate::failure::Failure;
use crate::service::{self, LogForm};

/// `jero attempt-shim DIR` watches over the attempt in that directory.
pub const SHIM_VERB: &str = "attempt-shim";

/// Runs the agent of a site; jobs go on when it ends
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  jero agent --config site.toml")]
pub struct Args {
    #[command(flatten)]
    start: service::Start,
}

/// Runs the agent until it ends.
///
/// # Errors
/// The configuration has faults, or the agent fails.
pub fn run(args: Args) -> Result<(), Failure> {
    args.start.run(
        Config::load,
        |_| LogForm::Human,
        |config, shutdown| async {
            jeroboam_agent::run(config, shutdown)
                .await
                .context("the agent has ended")
        },
    )
}
