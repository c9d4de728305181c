//! A case as a picture: who advertises, and what the client gets, along the time.

use std::{fmt, net::IpAddr, path::Path};

use plotters::prelude::*;

use super::{
    Stop,
    timeline::Entry,
    topology::{Lab, ROUTERS, SERVICE_VRID},
};
use crate::ms;

const SIZE: (u32, u32) = (1000, 420);
const COLORS: [RGBColor; ROUTERS] = [
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];
const LOST: RGBColor = RGBColor(213, 94, 0);
const ANSWERED: RGBColor = RGBColor(90, 90, 90);
/// Where the lane of the requests is; those of the routers are above, the deeds on top.
const REQUESTS: f64 = 0.0;
const TOP: f64 = 6.4;

/// What the picture shows, in seconds since the first deed less a second.
pub(super) struct Data {
    title: String,
    /// When which router sent an advert of the service's virtual router.
    adverts: Vec<(f64, usize)>,
    advert_int: f64,
    /// When a request was made, and whether it was answered.
    requests: Vec<(f64, bool)>,
    deeds: Vec<(f64, String)>,
    end: f64,
}

impl Data {
    /// From a lab that has played these steps; `start_ns` is when their clock was started.
    pub(super) fn of(lab: &Lab<'_>, title: String, entries: &[Entry], start_ns: u64) -> Self {
        let first = entries.first().map_or(0.0, |entry| entry.at_s) - 1.0;
        let seconds = |at_ns: u64| ms(at_ns.saturating_sub(start_ns)) / 1000.0 - first;
        let router = |source: IpAddr| match source {
            IpAddr::V4(address) => usize::from(address.octets()[3]).checked_sub(1),
            IpAddr::V6(_) => None,
        };
        let adverts = lab.captures[0].adverts(SERVICE_VRID).into_iter();
        let adverts = adverts.filter(|advert| advert.priority > 0);
        let requests = lab.client.requests();
        let requests = requests
            .iter()
            .map(|it| (seconds(it.made_ns), it.answered))
            .filter(|(at, _)| *at > 0.0);
        let requests: Vec<(f64, bool)> = requests.collect();
        Self {
            title,
            adverts: adverts
                .filter_map(|advert| Some((seconds(advert.at_ns), router(advert.source)?)))
                .filter(|(at, router)| *at > 0.0 && *router < ROUTERS)
                .collect(),
            advert_int: lab.advert_int,
            deeds: entries
                .iter()
                .map(|entry| (entry.at_s - first, entry.what.clone()))
                .collect(),
            end: requests.iter().map(|it| it.0).fold(1.0, f64::max),
            requests,
        }
    }

    /// Writes it as SVG.
    pub(super) fn draw(&self, path: &Path) -> Result<(), Stop> {
        self.try_draw(path)
            .map_err(|error| Stop::Failed(format!("draw {}: {error}", path.display())))
    }

    fn try_draw(&self, path: &Path) -> Result<(), Wrong> {
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(
                format!("{}; requests without an answer in red", self.title),
                ("sans-serif", 16),
            )
            .margin(12)
            .margin_right(70)
            .x_label_area_size(36)
            .y_label_area_size(90)
            .build_cartesian_2d(0.0..self.end, -0.2..TOP)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .y_labels(0)
            .x_desc("seconds")
            .draw()?;
        let bar = |at: f64, until: f64, low: f64, style: ShapeStyle| {
            Rectangle::new([(at, low), (until.min(self.end), low + 0.7)], style)
        };
        chart.draw_series(self.adverts.iter().map(|(at, router)| {
            bar(
                *at,
                at + self.advert_int,
                lane(*router),
                COLORS[*router].filled(),
            )
        }))?;
        chart.draw_series(self.requests.iter().map(|(at, answered)| {
            let color = if *answered {
                ANSWERED.mix(0.35)
            } else {
                LOST.mix(1.0)
            };
            bar(*at, at + 0.025, REQUESTS, color.filled())
        }))?;
        for (number, (at, what)) in self.deeds.iter().enumerate() {
            // Three heights, so that what is said does not run into what is said next.
            let height = TOP - 0.4 - 0.62 * f64::from(u8::try_from(number % 3).unwrap_or(0));
            let line = [(*at, -0.2), (*at, height)];
            chart.draw_series([PathElement::new(line, BLACK.mix(0.5))])?;
            let place = EmptyElement::at((*at, height));
            chart.draw_series([place + Text::new(what.clone(), (4, -6), ("sans-serif", 13))])?;
        }
        let routers = (0..ROUTERS).map(|it| (lane(it), format!("r{} is MASTER", it + 1)));
        for (low, name) in routers.chain([(REQUESTS, "requests".to_owned())]) {
            let place = EmptyElement::at((0.0, low + 0.5));
            chart.draw_series([place + Text::new(name, (-88, -2), ("sans-serif", 13))])?;
        }
        root.present()?;
        Ok(())
    }
}

/// Where the lane of a router begins.
fn lane(router: usize) -> f64 {
    [3.0, 2.0, 1.0].get(router).copied().unwrap_or(REQUESTS)
}

/// Whatever went wrong while drawing.
struct Wrong(String);

impl<E: std::error::Error> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
