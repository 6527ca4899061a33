//! The four-muon mass spectrum as an SVG.
//!
//! Stacked expectation, pseudo-data over it, the Higgs region enlarged. The
//! points are no data: they are drawn by Poisson numbers from the sum itself,
//! and the plot says so. Shapes and text are laid out by hand, since the
//! legend of a stack wants another order and look than a plotting library's.

mod pseudo_data;
mod stack;

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::expectation::Expectation;
use super::process::Channel;
use super::published::LUMINOSITY_PER_FB;
use pseudo_data::Count;
use stack::{Chart, Stack};

const SIZE: (u32, u32) = (1100, 760);
const RANGE_GEV: Range<f64> = 70.0..250.0;
/// Width of the bins shown, GeV; the pseudo-data are drawn in the inset's finer ones.
const BIN_GEV: f64 = 2.0;
const INSET_GEV: Range<f64> = 105.0..145.0;
const INSET_BIN_GEV: f64 = 1.0;
/// Top left corner and size of the inset, pixels.
const INSET: ((i32, i32), (i32, i32)) = ((600, 250), (462, 310));
const LEGEND_AT: (i32, i32) = (662, 92);
/// Most numbers on an axis.
const X_LABELS: usize = 19;
const Y_LABELS: usize = 7;
const FONT: &str = "Helvetica, Arial, sans-serif";

pub(super) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the spectrum; `data_seed` is the seed of the pseudo-data.
pub fn draw(expectation: &Expectation, data_seed: u64) -> Outcome<String> {
    let fine = pseudo_data::draw(expectation, RANGE_GEV, INSET_BIN_GEV, data_seed);
    let coarse = pseudo_data::rebinned(&fine, (BIN_GEV / INSET_BIN_GEV) as usize);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        spectrum(&root, expectation, &coarse)?;
        inset(&root, expectation, &fine)?;
        header(&root, data_seed)?;
        legend(&root)?;
        root.present()?;
    }
    Ok(svg)
}

fn spectrum(root: &Area<'_>, expectation: &Expectation, data: &[Count]) -> Outcome {
    let stack = Stack::of(expectation, RANGE_GEV, BIN_GEV);
    let top = stack.height(RANGE_GEV).max(pseudo_data::height(data)) * 1.12;
    let mut chart = ChartBuilder::on(root)
        .margin_top(54)
        .margin_right(28)
        .margin_bottom(8)
        .margin_left(8)
        .x_label_area_size(64)
        .y_label_area_size(78)
        .build_cartesian_2d(RANGE_GEV, 0.0..top)?;
    stack.draw(&mut chart)?;
    pseudo_data::plot(&mut chart, data, 3)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(X_LABELS)
        .y_labels(Y_LABELS)
        .x_desc("Four-muon invariant mass m(4μ) [GeV]")
        .y_desc(format!("Events / {BIN_GEV} GeV"))
        .axis_desc_style((FONT, 22))
        .label_style((FONT, 17))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .axis_style(TRANSPARENT)
        .draw()?;
    frame(&chart, RANGE_GEV, top, 8)?;
    let at = |x: f64, y: f64| chart.plotting_area().map_coordinate(&(x, y));
    let z_top = stack.height(86.0..96.0);
    let (x, y) = at(97.5, z_top * 0.93);
    write(root, "Z → 4μ", (x, y), 20, Channel::ZPeak)?;
    write(
        root,
        "resonance at 91.19 GeV",
        (x, y + 22),
        15,
        Channel::ZPeak,
    )?;
    let (x, y) = at(
        125.2,
        stack
            .height(120.0..130.0)
            .max(pseudo_data::height_in(data, 120.0..130.0)),
    );
    write_centred(root, "H → ZZ* → 4μ", (x, y - 48), 20)?;
    write_centred(root, "125.20 GeV", (x, y - 27), 15)?;
    Ok(())
}

/// The neighbourhood of the Higgs boson in finer bins.
fn inset(root: &Area<'_>, expectation: &Expectation, data: &[Count]) -> Outcome {
    let ((x, y), (width, height)) = INSET;
    let area = root.clone().shrink((x, y), (width, height));
    let stack = Stack::of(expectation, INSET_GEV, INSET_BIN_GEV);
    let shown: Vec<Count> = data
        .iter()
        .filter(|c| INSET_GEV.contains(&c.low_gev))
        .copied()
        .collect();
    let top = stack.height(INSET_GEV).max(pseudo_data::height(&shown)) * 1.1;
    let mut chart = ChartBuilder::on(&area)
        .margin_top(10)
        .margin_right(10)
        .x_label_area_size(46)
        .y_label_area_size(52)
        .build_cartesian_2d(INSET_GEV, 0.0..top)?;
    stack.draw(&mut chart)?;
    pseudo_data::plot(&mut chart, &shown, 3)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(X_LABELS)
        .y_labels(Y_LABELS)
        .x_desc("m(4μ) [GeV]")
        .y_desc(format!("Events / {INSET_BIN_GEV} GeV"))
        .axis_desc_style((FONT, 16))
        .label_style((FONT, 14))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .axis_style(TRANSPARENT)
        .draw()?;
    frame(&chart, INSET_GEV, top, 6)
}

/// A closed frame with ticks inwards on all four sides, long where a
/// number stands. The library's own ticks point outwards.
fn frame(chart: &Chart<'_, '_>, range_gev: Range<f64>, top: f64, length: i32) -> Outcome {
    let area = chart.plotting_area();
    let bare = area.strip_coord_spec();
    let (width, height) = area.dim_in_pixel();
    let (right, bottom) = (width as i32 - 1, height as i32 - 1);
    bare.draw(&Rectangle::new(
        [(0, 0), (right, bottom)],
        BLACK.stroke_width(1),
    ))?;
    let (left_edge, top_edge) = bare.get_base_pixel();
    let line = |from, to| bare.draw(&PathElement::new(vec![from, to], BLACK.stroke_width(1)));
    for (value, major) in ticks(range_gev.clone(), X_LABELS) {
        let x = area.map_coordinate(&(value, 0.0)).0 - left_edge;
        let long = if major { length } else { length / 2 };
        line((x, bottom), (x, bottom - long))?;
        line((x, 0), (x, long))?;
    }
    for (value, major) in ticks(0.0..top, Y_LABELS) {
        let y = area.map_coordinate(&(range_gev.start, value)).1 - top_edge;
        let long = if major { length } else { length / 2 };
        line((0, y), (long, y))?;
        line((right, y), (right - long, y))?;
    }
    Ok(())
}

/// Where the axis has numbers (true), and four places between each two.
fn ticks(range: Range<f64>, labels: usize) -> Vec<(f64, bool)> {
    let major = RangedCoordf64::from(range.clone()).key_points(labels);
    let Some(step) = major
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) / 5.0)
        .next()
    else {
        return Vec::new();
    };
    let first = major[0];
    let numbers =
        ((range.start - first) / step).ceil() as i64..=((range.end - first) / step) as i64;
    numbers
        .map(|i| (first + i as f64 * step, i % 5 == 0))
        .collect()
}

fn header(root: &Area<'_>, data_seed: u64) -> Outcome {
    let style = |size: u32| TextStyle::from((FONT, size)).color(&BLACK);
    let bold = TextStyle::from((FONT, 24).into_font().style(FontStyle::Bold)).color(&BLACK);
    root.draw(&Text::new("Jeroboam", (88, 22), bold))?;
    root.draw(&Text::new(
        "toy Monte Carlo – not data",
        (216, 25),
        style(20),
    ))?;
    let right = style(20).pos(Pos::new(HPos::Right, VPos::Top));
    let luminosity = format!("{LUMINOSITY_PER_FB:.0} fb⁻¹ (13 TeV)");
    root.draw(&Text::new(luminosity, (SIZE.0 as i32 - 30, 25), right))?;
    let note = format!("Points: Poisson draw from the sum of the histograms, seed {data_seed}");
    let (x, y) = LEGEND_AT;
    root.draw(&Text::new(note, (x - 4, y + 122), style(14)))?;
    Ok(())
}

fn legend(root: &Area<'_>) -> Outcome {
    let (x, y) = LEGEND_AT;
    let style = TextStyle::from((FONT, 18)).color(&BLACK);
    let row = |i: i32| y + 28 * i;
    root.draw(&Circle::new((x + 14, row(0)), 4, BLACK.filled()))?;
    root.draw(&PathElement::new(
        vec![(x + 14, row(0) - 11), (x + 14, row(0) + 11)],
        BLACK,
    ))?;
    root.draw(&Text::new(
        "Pseudo-data",
        (x + 40, row(0) - 7),
        style.clone(),
    ))?;
    for (i, name) in Channel::ALL.into_iter().rev().enumerate() {
        let middle = row(i as i32 + 1);
        let corners = [(x, middle - 9), (x + 28, middle + 9)];
        let look = stack::look(name);
        root.draw(&Rectangle::new(corners, look.fill.filled()))?;
        root.draw(&Rectangle::new(corners, look.line.stroke_width(2)))?;
        root.draw(&Text::new(
            name.label(),
            (x + 40, middle - 7),
            style.clone(),
        ))?;
    }
    Ok(())
}

fn write(root: &Area<'_>, text: &str, at: (i32, i32), size: u32, name: Channel) -> Outcome {
    let colour = stack::look(name).line;
    let style = TextStyle::from((FONT, size)).color(&colour);
    root.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

fn write_centred(root: &Area<'_>, text: &str, at: (i32, i32), size: u32) -> Outcome {
    let colour = stack::look(Channel::Higgs).line;
    let style = TextStyle::from((FONT, size))
        .color(&colour)
        .pos(Pos::new(HPos::Center, VPos::Top));
    root.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}
