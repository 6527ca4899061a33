//! Adding the histograms below a directory, and the table of what came out.
//!
//! Every `*.json` below the directory must be a histogram: one that is missing,
//! corrupt, doubled or of other bins is an error that names it, never skipped.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::expectation::{Expectation, Peak};
use super::histogram::{HistogramError, Tally};
use super::process::Channel;
use super::published::{HIGGS_MASS_GEV, LUMINOSITY_PER_FB, Z_MASS_GEV};
use super::selection::Stage;

const FILES_MAX: usize = 1_000_000;
const DEPTH_MAX: usize = 16;

/// Why there is nothing to draw.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A directory cannot be listed.
    #[error("cannot list {}: {source}; give --inputs the directory with the jobs' outputs", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No histogram below the directory.
    #[error("no histogram (*.json) below {}; run `jero higgs generate --out` into it first", path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// More files or levels than are sensible.
    #[error("{} holds more than {FILES_MAX} files or {DEPTH_MAX} levels; give --inputs a directory of histograms only", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
    /// An index that lies between others is not there.
    #[error(
        "the histogram of index {index} of seed {seed} is missing below {}; \
         run `jero higgs generate --index {index} --seed {seed}` again", path.display()
    )]
    Missing {
        /// The directory.
        path: PathBuf,
        /// Seed of the production.
        seed: u64,
        /// First index missing.
        index: u64,
    },
    /// Another number of indices than expected.
    #[error(
        "{found} indices below {}, where --expect says {expected}; \
         generate those that are missing, or correct --expect", path.display()
    )]
    Count {
        /// The directory.
        path: PathBuf,
        /// Indices found.
        found: usize,
        /// Indices expected.
        expected: usize,
    },
    /// One of the files cannot be used.
    #[error(transparent)]
    Histogram(#[from] HistogramError),
}

/// Adds all histograms below `directory`.
pub fn read_all(directory: &Path) -> Result<Tally, MergeError> {
    let mut paths = Vec::new();
    collect(directory, 0, &mut paths)?;
    // Sums do not depend on the order; which file an error names does.
    paths.sort_unstable();
    let mut sum: Option<Tally> = None;
    for path in &paths {
        let tally = Tally::load(path)?;
        match &mut sum {
            Some(sum) => sum.add(&tally, path)?,
            None => sum = Some(tally),
        }
    }
    sum.ok_or_else(|| MergeError::Nothing {
        path: directory.to_owned(),
    })
}

/// Looks for indices that are missing between the first and the last of a seed,
/// or in number.
pub fn check_complete(
    tally: &Tally,
    directory: &Path,
    expected: Option<usize>,
) -> Result<(), MergeError> {
    let path = || directory.to_owned();
    let mut last = BTreeMap::new();
    for part in &tally.parts {
        if let Some(before) = last.insert(part.seed, part.index)
            && part.index > before + 1
        {
            return Err(MergeError::Missing {
                path: path(),
                seed: part.seed,
                index: before + 1,
            });
        }
    }
    let found = tally.parts.len();
    match expected {
        Some(expected) if expected != found => Err(MergeError::Count {
            path: path(),
            found,
            expected,
        }),
        _ => Ok(()),
    }
}

/// Histograms below a directory. Links to directories are not followed, so that
/// it ends; links to files are.
fn collect(directory: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), MergeError> {
    let list = |source| MergeError::List {
        path: directory.to_owned(),
        source,
    };
    if depth > DEPTH_MAX {
        return Err(MergeError::TooMany {
            path: directory.to_owned(),
        });
    }
    for entry in std::fs::read_dir(directory).map_err(list)? {
        let entry = entry.map_err(list)?;
        let path = entry.path();
        if entry.file_type().map_err(list)?.is_dir() {
            collect(&path, depth + 1, paths)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            return Err(MergeError::TooMany {
                path: directory.to_owned(),
            });
        }
    }
    Ok(())
}

/// What came out, for a terminal.
pub fn table(tally: &Tally, expectation: &Expectation) -> String {
    let mut text = String::new();
    let parts = tally.parts.len();
    let events = tally.events();
    put(
        &mut text,
        format_args!("toy Monte Carlo: {parts} histograms, {events} events per channel"),
    );
    cut_flow(&mut text, tally);
    yields(&mut text, expectation);
    peak(&mut text, "Z", expectation.z_peak(), Z_MASS_GEV);
    peak(&mut text, "Higgs", expectation.higgs_peak(), HIGGS_MASS_GEV);
    text
}

fn cut_flow(text: &mut String, tally: &Tally) {
    let row = |name: &str, cells: [String; 3]| {
        format!("{name:<36}{:>18}{:>12}{:>16}", cells[0], cells[1], cells[2])
    };
    put(
        text,
        format_args!(
            "\n{}",
            row(
                "generated events after",
                Channel::ALL.map(|c| c.label().to_owned())
            )
        ),
    );
    for stage in Stage::ALL {
        let cells = Channel::ALL.map(|name| tally.channels[&name].cut_flow[&stage].to_string());
        put(text, format_args!("{}", row(stage.label(), cells)));
    }
}

fn yields(text: &mut String, expectation: &Expectation) {
    put(
        text,
        format_args!(
            "\nexpected at {LUMINOSITY_PER_FB} fb⁻¹, 13 TeV (no inefficiency, no reducible background)"
        ),
    );
    for (low, high) in [(80.0, 100.0), (118.0, 130.0), (180.0, 250.0)] {
        let cells = Channel::ALL.map(|name| {
            format!(
                "{} {:.1}",
                name.label(),
                expectation.within(name, low..high)
            )
        });
        put(
            text,
            format_args!("  {low:.0}–{high:.0} GeV: {}", cells.join("; ")),
        );
    }
}

fn peak(text: &mut String, name: &str, peak: Option<Peak>, nominal_gev: f64) {
    match peak {
        Some(Peak {
            position_gev,
            error_gev,
            width_gev,
        }) => put(
            text,
            format_args!(
                "{name} peak at {position_gev:.2} ± {error_gev:.2} GeV (generated at {nominal_gev} GeV), σ {width_gev:.2} GeV"
            ),
        ),
        None => put(text, format_args!("{name} peak: too few events for a fit")),
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes all that is written");
}
