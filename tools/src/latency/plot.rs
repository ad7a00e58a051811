//! Plots as SVG text that stands by itself.

use std::fmt;
use std::ops::Range;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::text::duration;

/// Points of one line: where, and how high.
pub type Points = Vec<(f64, f64)>;

const SIZE: (u32, u32) = (1_000, 420);
/// Percentiles are drawn up to this many nines.
const NINES_MAX: f64 = 5.0;

/// What an axis shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Seconds since the beginning.
    Seconds,
    /// Percentiles, as nines: 1 is p90, 2 is p99.
    Nines,
    /// Durations in nanoseconds, by their logarithm.
    Durations,
    /// How many in a second.
    Rate,
}

impl Axis {
    const fn title(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Nines => "percentile",
            Self::Durations => "duration",
            Self::Rate => "in a second",
        }
    }

    fn label(self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{value:.0}"),
            Self::Nines if value.fract() > 0.01 => String::new(),
            Self::Nines => match value.round() as usize {
                0 => "0".to_owned(),
                1 => "90".to_owned(),
                nines => format!("99.{}", "9".repeat(nines - 2)).trim_end_matches('.').to_owned(),
            },
            Self::Durations => duration(value as u64),
            Self::Rate => super::text::thousands(value),
        }
    }
}

/// The points of a percentile plot: of a distribution given by what a share of it does not exceed.
#[must_use]
pub fn percentiles(quantile: impl Fn(f64) -> u64) -> Points {
    let steps = (NINES_MAX * 20.0) as u32;
    let point = |step: u32| {
        let nines = f64::from(step) / 20.0;
        (nines, quantile(1.0 - 10f64.powf(-nines)) as f64)
    };
    (0..=steps).map(point).collect()
}

/// Draws lines; answers an SVG document.
///
/// # Errors
/// When it cannot be drawn, in words.
pub fn draw(title: &str, x: Axis, y: Axis, lines: &[(String, Points)]) -> Result<String, String> {
    let mut svg = String::new();
    drawn(&mut svg, title, x, y, lines).map_err(|error| format!("{title} cannot be drawn: {error}"))?;
    Ok(svg)
}

type Drawn<T> = Result<T, Box<dyn std::error::Error>>;

fn drawn(svg: &mut String, title: &str, x: Axis, y: Axis, lines: &[(String, Points)]) -> Drawn<()> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let all = || lines.iter().flat_map(|(_, points)| points);
    let highest = all().map(|(_, y)| *y).fold(1.0_f64, f64::max);
    let farthest = all().map(|(x, _)| *x).fold(1.0_f64, f64::max);
    let mut builder = ChartBuilder::on(&root);
    builder
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(40)
        .x_label_area_size(42)
        .y_label_area_size(80);
    match y {
        Axis::Durations => {
            let lowest = all().map(|(_, y)| *y).filter(|y| *y > 0.0).fold(highest, f64::min);
            let range = (lowest * 0.8)..(highest * 1.25).max(lowest);
            let chart = builder.build_cartesian_2d(0.0..farthest, range.log_scale())?;
            fill(chart, x, y, lines)?;
        }
        _ => fill(builder.build_cartesian_2d(0.0..farthest, 0.0..highest * 1.1)?, x, y, lines)?,
    }
    root.present()?;
    Ok(())
}

fn fill<'a, Y>(
    mut chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<plotters::coord::types::RangedCoordf64, Y>>,
    x: Axis,
    y: Axis,
    lines: &[(String, Points)],
) -> Drawn<()>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Range<f64>: fmt::Debug,
{
    chart
        .configure_mesh()
        .x_desc(x.title())
        .y_desc(y.title())
        .x_label_formatter(&|value| x.label(*value))
        .y_label_formatter(&|value| y.label(*value))
        .light_line_style(WHITE)
        .draw()?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let style = Palette99::pick(number).stroke_width(2);
        // What is zero has no place on a logarithmic axis.
        let points = points.iter().copied().filter(|(_, height)| y != Axis::Durations || *height > 0.0);
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .position(if x == Axis::Nines {
            SeriesLabelPosition::LowerRight
        } else {
            SeriesLabelPosition::UpperLeft
        })
        .draw()?;
    Ok(())
}
