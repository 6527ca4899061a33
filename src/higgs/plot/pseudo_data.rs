//! Pseudo-data: Poisson numbers around the expected sum, and their error bars.
//!
//! They show what a real measurement of this luminosity could look like, and
//! hold no knowledge that the expectation does not.

use std::ops::Range;

use plotters::prelude::*;

use super::Outcome;
use super::stack::Chart;
use crate::higgs::expectation::Expectation;
use crate::higgs::random::Stream;

/// Stream number that no channel has.
const STREAM: u8 = 255;

/// Events in one bin.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// Lower edge.
    pub low_gev: f64,
    width_gev: f64,
    events: u64,
}

/// Draws pseudo-data in bins of `width_gev`.
pub fn draw(
    expectation: &Expectation,
    range_gev: Range<f64>,
    width_gev: f64,
    seed: u64,
) -> Vec<Count> {
    let mut stream = Stream::open(seed, STREAM, 0);
    expectation
        .rebinned(range_gev, width_gev)
        .into_iter()
        .map(|(low_gev, channels)| {
            let events = stream.poisson(channels.iter().sum());
            Count {
                low_gev,
                width_gev,
                events,
            }
        })
        .collect()
}

/// The same events in bins `factor` times as wide.
pub fn rebinned(fine: &[Count], factor: usize) -> Vec<Count> {
    fine.chunks(factor)
        .map(|chunk| Count {
            low_gev: chunk[0].low_gev,
            width_gev: chunk.iter().map(|count| count.width_gev).sum(),
            events: chunk.iter().map(|count| count.events).sum(),
        })
        .collect()
}

/// Highest end of an error bar.
pub fn height(counts: &[Count]) -> f64 {
    counts
        .iter()
        .map(|count| interval(count.events).1)
        .fold(0.0, f64::max)
}

/// Highest end of an error bar of the bins that begin within a range.
pub fn height_in(counts: &[Count], range_gev: Range<f64>) -> f64 {
    let shown = counts
        .iter()
        .filter(|count| range_gev.contains(&count.low_gev));
    height(&shown.copied().collect::<Vec<_>>())
}

/// Plots points with error bars; empty bins have none.
pub fn plot(chart: &mut Chart<'_, '_>, counts: &[Count], radius: u32) -> Outcome {
    for count in counts.iter().filter(|count| count.events > 0) {
        let x = count.low_gev + count.width_gev / 2.0;
        let (low, high) = interval(count.events);
        let bar = PathElement::new(vec![(x, low), (x, high)], BLACK.stroke_width(1));
        chart.draw_series([bar])?;
        let point = Circle::new((x, count.events as f64), radius, BLACK.filled());
        chart.draw_series([point])?;
    }
    Ok(())
}

/// 68 % interval of the mean of a Poisson number, in the approximation of
/// Gehrels, Astrophys. J. 303 (1986) 336, eqs. 7 and 12.
fn interval(events: u64) -> (f64, f64) {
    let n = events as f64;
    let high = n + 1.0 + (n + 0.75).sqrt();
    if events == 0 {
        return (0.0, high);
    }
    let low = n * (1.0 - 1.0 / (9.0 * n) - 1.0 / (3.0 * n.sqrt())).powi(3);
    (low.max(0.0), high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bars_are_those_of_the_published_table() {
        // Gehrels 1986, tables 1 and 2, for 0.8413 confidence on either side.
        for (events, low, high) in [(1, 0.173, 3.300), (4, 2.086, 7.163), (25, 20.03, 31.07)] {
            let (l, h) = interval(events);
            assert!(
                (l / low - 1.0).abs() < 0.03 || (l - low).abs() < 0.05,
                "{events}: {l}"
            );
            assert!((h / high - 1.0).abs() < 0.02, "{events}: {h}");
        }
        assert!((interval(0).1 - 1.841).abs() < 0.03);
    }
}
