//! The channels' expectation, stacked, as filled steps with an outline.

use std::ops::Range;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::Outcome;
use crate::higgs::expectation::Expectation;
use crate::higgs::process::Channel;

/// A chart over mass (GeV) and events.
pub type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A channel's colours.
pub struct Look {
    /// Of its area.
    pub fill: RGBColor,
    /// Of its outline and its name.
    pub line: RGBColor,
}

/// Colours that stay apart in grey and for the colour-blind.
pub fn look(name: Channel) -> Look {
    match name {
        Channel::Continuum => Look {
            fill: RGBColor(158, 197, 232),
            line: RGBColor(31, 84, 140),
        },
        Channel::ZPeak => Look {
            fill: RGBColor(247, 213, 130),
            line: RGBColor(150, 98, 0),
        },
        Channel::Higgs => Look {
            fill: RGBColor(232, 121, 121),
            line: RGBColor(168, 20, 36),
        },
    }
}

/// Upper edges of the channels in each bin, cumulated in the order of `Channel::ALL`.
pub struct Stack {
    width_gev: f64,
    bins: Vec<(f64, [f64; 3])>,
}

impl Stack {
    /// Stacks what is expected in bins of `width_gev`.
    pub fn of(expectation: &Expectation, range_gev: Range<f64>, width_gev: f64) -> Self {
        let mut bins = expectation.rebinned(range_gev, width_gev);
        for (_, heights) in &mut bins {
            for i in 1..heights.len() {
                heights[i] += heights[i - 1];
            }
        }
        Self { width_gev, bins }
    }

    /// Highest bin that begins within a range.
    pub fn height(&self, range_gev: Range<f64>) -> f64 {
        let shown = self.bins.iter().filter(|(low, _)| range_gev.contains(low));
        shown.map(|(_, heights)| heights[2]).fold(0.0, f64::max)
    }

    /// Draws from the top of the stack down, each area over the one before.
    pub fn draw(&self, chart: &mut Chart<'_, '_>) -> Outcome {
        for (i, name) in Channel::ALL.into_iter().enumerate().rev() {
            let steps = self.steps(i);
            let Look { fill, line } = look(name);
            let mut area = steps.clone();
            if let (Some(first), Some(last)) = (steps.first(), steps.last()) {
                area.extend([(last.0, 0.0), (first.0, 0.0)]);
            }
            chart.draw_series([Polygon::new(area, fill.filled())])?;
            chart.draw_series([PathElement::new(steps, line.stroke_width(2))])?;
        }
        Ok(())
    }

    fn steps(&self, channel: usize) -> Vec<(f64, f64)> {
        let corners = |(low, heights): &(f64, [f64; 3])| {
            [
                (*low, heights[channel]),
                (low + self.width_gev, heights[channel]),
            ]
        };
        self.bins.iter().flat_map(corners).collect()
    }
}
