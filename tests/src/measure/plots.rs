//! The report as pictures.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{coord::ranged1d::SegmentValue, prelude::*};

use super::{MAKERS, Maker};

const SIZE: (u32, u32) = (820, 460);

const fn color(maker: Maker) -> RGBColor {
    match maker {
        Maker::Xvrrp => RGBColor(0, 114, 178),
        Maker::Keepalived => RGBColor(230, 159, 0),
    }
}

/// For each maker, the share of virtual routers that have spoken up by a time. Milliseconds, sorted.
pub(super) fn failover(path: &Path, title: &str, by_maker: &[(Maker, Vec<f64>)]) -> Result<()> {
    let longest = by_maker.iter().filter_map(|(_, all)| all.last());
    let longest = longest.copied().fold(1.0, f64::max);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(wrong)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d((0.1..longest * 1.2).log_scale(), 0.0..1.0)
        .map_err(wrong)?;
    chart
        .configure_mesh()
        .x_desc("milliseconds beyond Master_Down until the first announcement")
        .y_desc("share of virtual routers")
        .draw()
        .map_err(wrong)?;
    for (maker, all) in by_maker.iter().filter(|(_, all)| !all.is_empty()) {
        let count = super::float(all.len() as u64);
        let points = (1_u64..).zip(all);
        let points = points.map(|(at, ms)| (ms.max(0.1), super::float(at) / count));
        let style = color(*maker).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, style))
            .map_err(wrong)?
            .label(maker.to_string())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()
        .map_err(wrong)?;
    root.present().map_err(wrong)
}

/// Bars: what each takes of one processor, in percent.
pub(super) fn bars(path: &Path, title: &str, bars: &[(String, Option<Maker>, f64)]) -> Result<()> {
    let highest = bars.iter().map(|bar| bar.2).fold(1.0, f64::max);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(wrong)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d((0..bars.len()).into_segmented(), 0.0..highest * 1.15)
        .map_err(wrong)?;
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(at) => bars.get(*at).map(|bar| bar.0.clone()).unwrap_or_default(),
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(bars.len())
        .x_label_formatter(&name)
        .y_desc("% of one processor")
        .draw()
        .map_err(wrong)?;
    for (at, (_, maker, height)) in bars.iter().enumerate() {
        let color = maker.map_or(RGBColor(130, 130, 130), color);
        let corners = [
            (SegmentValue::Exact(at), 0.0),
            (SegmentValue::Exact(at + 1), *height),
        ];
        let mut bar = Rectangle::new(corners, color.filled());
        bar.set_margin(0, 0, 18, 18);
        let label = format!("{height:.1}");
        let place = (SegmentValue::CenterOf(at), *height);
        let text = EmptyElement::at(place) + Text::new(label, (-10, -16), ("sans-serif", 14));
        chart.draw_series([bar]).map_err(wrong)?;
        chart.draw_series([text]).map_err(wrong)?;
    }
    root.present().map_err(wrong)
}

/// The medians of makers in the order that they are drawn in.
pub(super) fn pairs(what: &str, of: impl Fn(Maker) -> f64) -> Vec<(String, Option<Maker>, f64)> {
    let bar = |maker: Maker| (format!("{what}, {maker}"), Some(maker), of(maker) * 100.0);
    MAKERS.map(bar).into()
}

fn wrong(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("draw: {error}")
}
