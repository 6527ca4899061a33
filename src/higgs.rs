//! The demo's physics: a search for H → ZZ* → 4μ as a small, honest toy Monte Carlo.
//!
//! `generate` draws collisions of three channels, measures and selects them and
//! writes histograms; `merge` adds such files and draws the four-muon mass
//! spectrum. The rule: every figure is either published, with its source
//! (`published`), or said to be a toy (`docs/physics.md`). It knows nothing of
//! batches, jobs or the scheduler: it is a program that jobs run.
//! Invariant: a job's file is a function of seed, index and number of events.
//! Entry point: [`run`].

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;

mod detector;
mod expectation;
mod histogram;
mod kinematics;
mod merge;
mod plot;
mod process;
mod published;
mod random;
mod selection;

use histogram::{Binning, EVENTS_MAX, Part, Tally};
use random::Stream;

/// Arguments of `jero higgs`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Generate and select collision events, write histograms as JSON.
    Generate(GenerateArgs),
    /// Add histograms and draw the four-muon mass spectrum.
    Merge(MergeArgs),
}

/// Arguments of `jero higgs generate`.
#[derive(clap::Args, Debug)]
pub struct GenerateArgs {
    /// Which part of the production this is; each index has its own random numbers.
    #[arg(long, env = "JERO_INDEX")]
    index: u64,
    /// Events to generate in each channel.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=EVENTS_MAX))]
    events: u64,
    /// File to write.
    #[arg(long)]
    out: PathBuf,
    /// Seed of the whole production.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Arguments of `jero higgs merge`.
#[derive(clap::Args, Debug)]
pub struct MergeArgs {
    /// Directory below which all histograms (`*.json`) are read.
    #[arg(long)]
    inputs: PathBuf,
    /// Plot to write (SVG).
    #[arg(long)]
    out: PathBuf,
    /// Sum of the histograms to write (JSON, in the same format).
    #[arg(long)]
    json: Option<PathBuf>,
    /// How many indices there must be; without it only gaps are noticed.
    #[arg(long)]
    expect: Option<usize>,
    /// Seed of the pseudo-data, which are drawn from the sum.
    #[arg(long, default_value_t = 2012)]
    data_seed: u64,
}

/// Runs `jero higgs`.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Generate(args) => generate(&args),
        Command::Merge(args) => merge(&args),
    }
}

fn generate(args: &GenerateArgs) -> anyhow::Result<()> {
    let part = Part {
        seed: args.seed,
        index: args.index,
        events: args.events,
    };
    let tally = produce(&[part]);
    tally.store(&args.out).with_context(|| {
        format!(
            "cannot write {}; is there such a directory, with room?",
            args.out.display()
        )
    })?;
    let selected: Vec<String> = tally
        .channels
        .iter()
        .map(|(name, channel)| format!("{}: {}", name.label(), channel.selected()))
        .collect();
    let (events, index) = (args.events, args.index);
    println!(
        "index {index}: {events} events per channel; selected {}",
        selected.join(", ")
    );
    Ok(())
}

fn merge(args: &MergeArgs) -> anyhow::Result<()> {
    let tally = merge::read_all(&args.inputs)?;
    merge::check_complete(&tally, &args.inputs, args.expect)?;
    let expectation = expectation::Expectation::of(&tally)?;
    let svg = plot::draw(&expectation, args.data_seed)
        .map_err(|what| anyhow::anyhow!("cannot draw the spectrum: {what}"))?;
    let written = |path: &Path| format!("cannot write {}", path.display());
    store_whole(&args.out, svg.as_bytes()).with_context(|| written(&args.out))?;
    if let Some(path) = &args.json {
        tally.store(path).with_context(|| written(path))?;
    }
    print!("{}", merge::table(&tally, &expectation));
    println!("spectrum: {}", args.out.display());
    Ok(())
}

/// Generates, measures and selects the events of all `parts`.
fn produce(parts: &[Part]) -> Tally {
    let binning = Binning::STANDARD;
    let mut tally = Tally::empty(binning);
    for part in parts {
        tally.parts.insert(*part);
        for (name, channel) in &mut tally.channels {
            let mut stream = Stream::open(part.seed, name.stream(), part.index);
            for _ in 0..part.events {
                let event = name.event(&mut stream);
                let measured = detector::measure(event.muons, &mut stream);
                let (reached, mass) = selection::select(&measured);
                channel.count(binning, reached, mass, event.in_reference);
            }
        }
    }
    tally
}

/// Writes a file beside its place and moves it there when it is whole.
fn store_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let beside = path.with_file_name(name);
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path)
}

#[cfg(test)]
mod tests;
