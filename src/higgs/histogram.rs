//! What a job hands back: counts per channel, as JSON.
//!
//! All events of a channel weigh one (see `process`), so sums of weights are
//! counts, sums of squared weights the same counts, and adding files is exact
//! and independent of order. A file names the streams it was made from, so the
//! same events are never counted twice. Entry points: `Tally::load`,
//! `Tally::add`, `Tally::store`. Scaling to a luminosity is `expectation`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process::Channel;
use super::selection::Stage;

const FORMAT: &str = "jeroboam-higgs-1";
/// Largest file that is read; a real one has about ten KiB and 60 bytes a part.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Most events of one job, some hours of a core: sums of a million jobs fit.
pub const EVENTS_MAX: u64 = 1_000_000_000;
const PARTS_MAX: usize = 1_000_000;

/// Equal bins of the four-muon mass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binning {
    /// Lower edge of the first bin, GeV.
    pub low_gev: f64,
    /// Width of a bin, GeV.
    pub width_gev: f64,
    /// Number of bins.
    pub bins: usize,
}

impl Binning {
    /// 70–250 GeV in bins of 0.5 GeV.
    pub const STANDARD: Self = Self {
        low_gev: 70.0,
        width_gev: 0.5,
        bins: 360,
    };
}

/// Selected events by four-muon mass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spectrum {
    /// Events below the first bin.
    pub underflow: u64,
    /// Events in each bin.
    pub counts: Vec<u64>,
    /// Events above the last bin.
    pub overflow: u64,
}

/// One channel's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelTally {
    /// Generated events in the region of the published cross-section.
    pub in_reference: u64,
    /// Events that passed each stage.
    pub cut_flow: BTreeMap<Stage, u64>,
    /// Selected events by four-muon mass.
    pub four_muon_mass: Spectrum,
}

/// A stream of events that went into a tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Seed of the whole production.
    pub seed: u64,
    /// Index of the job.
    pub index: u64,
    /// Events generated in each channel.
    pub events: u64,
}

/// Everything that one or more jobs counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    format: String,
    /// Bins of all spectra.
    pub binning: Binning,
    /// What it was made from, in order.
    pub parts: BTreeSet<Part>,
    /// The channels' events.
    pub channels: BTreeMap<Channel, ChannelTally>,
}

/// Why a histogram cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    /// Reading failed.
    #[error("cannot read histogram {}: {source}; run the job that writes it again", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not the JSON of a histogram.
    #[error(
        "{} is not a histogram of `jero higgs generate`: {source}; \
         run the job that writes it again, or move the file elsewhere",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// Readable, but its numbers contradict each other.
    #[error("histogram {} is corrupt: {what}; run the job that writes it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The contradiction.
        what: String,
    },
    /// Bins differ from those of the files before it.
    #[error(
        "histogram {} has {found} where the others have {expected}; \
         generate all of them with the same version of jero", path.display()
    )]
    Binning {
        /// The file.
        path: PathBuf,
        /// Its bins.
        found: String,
        /// The others' bins.
        expected: String,
    },
    /// The same events again.
    #[error(
        "histogram {} holds index {index} of seed {seed}, which was added before; \
         remove one of the two files, or generate with another --index", path.display()
    )]
    Twice {
        /// The file.
        path: PathBuf,
        /// Seed in common.
        seed: u64,
        /// Index in common.
        index: u64,
    },
}

impl Tally {
    /// No events yet.
    pub fn empty(binning: Binning) -> Self {
        let spectrum = Spectrum {
            underflow: 0,
            counts: vec![0; binning.bins],
            overflow: 0,
        };
        let channel = ChannelTally {
            in_reference: 0,
            cut_flow: Stage::ALL.into_iter().map(|stage| (stage, 0)).collect(),
            four_muon_mass: spectrum,
        };
        Self {
            format: FORMAT.to_owned(),
            binning,
            parts: BTreeSet::new(),
            channels: Channel::ALL
                .into_iter()
                .map(|name| (name, channel.clone()))
                .collect(),
        }
    }

    /// Reads a file and looks whether its numbers agree with each other.
    pub fn load(path: &Path) -> Result<Self, HistogramError> {
        let read = |source| HistogramError::Read {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(read)?;
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map_err(read)?;
        let corrupt = |what| HistogramError::Corrupt {
            path: path.to_owned(),
            what,
        };
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(corrupt(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        let tally: Self =
            serde_json::from_slice(&text).map_err(|source| HistogramError::Malformed {
                path: path.to_owned(),
                source,
            })?;
        tally.check().map_err(corrupt)?;
        Ok(tally)
    }

    /// Writes the file in one step: a reader sees all of it or nothing.
    pub fn store(&self, path: &Path) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        super::store_whole(path, &text)
    }

    /// Adds the events of `other`, read from `path`; refuses without a change.
    pub fn add(&mut self, other: &Self, path: &Path) -> Result<(), HistogramError> {
        if other.binning != self.binning {
            return Err(HistogramError::Binning {
                path: path.to_owned(),
                found: other.binning.to_string(),
                expected: self.binning.to_string(),
            });
        }
        let known: BTreeSet<_> = self
            .parts
            .iter()
            .map(|part| (part.seed, part.index))
            .collect();
        if let Some(part) = other
            .parts
            .iter()
            .find(|p| known.contains(&(p.seed, p.index)))
        {
            let (seed, index) = (part.seed, part.index);
            return Err(HistogramError::Twice {
                path: path.to_owned(),
                seed,
                index,
            });
        }
        self.parts.extend(&other.parts);
        for (name, channel) in &mut self.channels {
            channel.add(&other.channels[name]);
        }
        Ok(())
    }

    /// Events generated in each channel.
    pub fn events(&self) -> u64 {
        self.parts.iter().map(|part| part.events).sum()
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("its format is {:?}, not {FORMAT:?}", self.format));
        }
        let Binning {
            low_gev,
            width_gev,
            bins,
        } = self.binning;
        if !(low_gev.is_finite() && width_gev > 0.0 && width_gev.is_finite() && bins > 0) {
            return Err(format!("its bins are {}", self.binning));
        }
        let streams: BTreeSet<_> = self
            .parts
            .iter()
            .map(|part| (part.seed, part.index))
            .collect();
        if streams.is_empty() || streams.len() != self.parts.len() {
            return Err("its parts are missing or repeated".to_owned());
        }
        if self.parts.len() > PARTS_MAX || self.parts.iter().any(|part| part.events > EVENTS_MAX) {
            return Err(format!(
                "it says more than {PARTS_MAX} parts or {EVENTS_MAX} events a part"
            ));
        }
        for name in Channel::ALL {
            let channel = self
                .channels
                .get(&name)
                .ok_or(format!("{name:?} is missing"))?;
            channel
                .check(bins, self.events())
                .map_err(|what| format!("{name:?}: {what}"))?;
        }
        Ok(())
    }
}

impl ChannelTally {
    /// Counts one generated event.
    pub fn count(&mut self, binning: Binning, reached: Stage, mass_gev: f64, in_reference: bool) {
        self.in_reference += u64::from(in_reference);
        for (stage, count) in &mut self.cut_flow {
            *count += u64::from(*stage <= reached);
        }
        if reached == Stage::Selected {
            self.four_muon_mass.fill(binning, mass_gev);
        }
    }

    /// Events that passed all stages.
    pub fn selected(&self) -> u64 {
        self.cut_flow[&Stage::Selected]
    }

    fn add(&mut self, other: &Self) {
        self.in_reference += other.in_reference;
        for (stage, count) in &mut self.cut_flow {
            *count += other.cut_flow[stage];
        }
        let (own, others) = (&mut self.four_muon_mass, &other.four_muon_mass);
        own.underflow += others.underflow;
        own.overflow += others.overflow;
        for (count, more) in own.counts.iter_mut().zip(&others.counts) {
            *count += more;
        }
    }

    fn check(&self, bins: usize, events: u64) -> Result<(), String> {
        let flow: Vec<u64> = self.cut_flow.values().copied().collect();
        if flow.len() != Stage::ALL.len() {
            return Err("stages of the cut flow are missing".to_owned());
        }
        if flow[0] != events || self.in_reference > events {
            return Err(format!(
                "{} generated events, where its parts say {events}",
                flow[0]
            ));
        }
        if flow.windows(2).any(|pair| pair[0] < pair[1]) {
            return Err("the cut flow rises".to_owned());
        }
        let Spectrum {
            underflow,
            counts,
            overflow,
        } = &self.four_muon_mass;
        if counts.len() != bins {
            return Err(format!(
                "{} bins, where the binning says {bins}",
                counts.len()
            ));
        }
        let sum = counts
            .iter()
            .chain([underflow, overflow])
            .try_fold(0u64, |sum, count| sum.checked_add(*count));
        if sum != Some(self.selected()) {
            return Err("the spectrum does not add up to the selected events".to_owned());
        }
        Ok(())
    }
}

impl Spectrum {
    fn fill(&mut self, binning: Binning, mass_gev: f64) {
        let position = (mass_gev - binning.low_gev) / binning.width_gev;
        if position < 0.0 {
            self.underflow += 1;
        } else if let Some(count) = self.counts.get_mut(position as usize) {
            *count += 1;
        } else {
            self.overflow += 1;
        }
    }
}

impl std::fmt::Display for Binning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} bins of {} GeV from {} GeV",
            self.bins, self.width_gev, self.low_gev
        )
    }
}
