//! `jero`: the command of Jeroboam, for physicists, site admins and operators.
//!
//! Each group of verbs has a file of its own, with its options, what it asks
//! the scheduler and how it prints the answer; [`cli`] lists them all. The
//! services themselves are the crates `jeroboam-scheduler` and
//! `jeroboam-agent`, which `serve` and `agent` only start.
//!
//! Results go to standard output, everything else to standard error, and the
//! exit code says what kind of thing went wrong ([`failure`]).

mod agent;
mod batch_file;
mod batches;
mod change;
mod cli;
mod client;
mod content;
mod demo;
mod explain;
mod failure;
mod get;
mod higgs;
mod jobs;
mod logs;
mod output;
mod plan;
mod queues;
mod selector;
mod serve;
mod service;
mod sites;
mod submit;
mod wait;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Shims are started by the hundred each second: they skip the rest.
    let mut arguments = std::env::args_os().skip(1);
    if let (Some(verb), Some(directory), None) =
        (arguments.next(), arguments.next(), arguments.next())
        && verb == agent::SHIM_VERB
    {
        return jeroboam_agent::shim::main(Path::new(&directory));
    }
    match cli::Command::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("jero: {failure}");
            failure.exit_code()
        }
    }
}
