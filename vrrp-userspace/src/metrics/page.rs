//! One page of metrics, in the text format of `OpenMetrics`.

use std::{collections::HashSet, fmt::Write as _, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Metric, Registry},
};

/// Names and values.
pub(super) type Labels = Vec<(&'static str, String)>;

pub(super) fn label(name: &'static str, value: impl Into<String>) -> (&'static str, String) {
    (name, value.into())
}

/// The same page in the older text format, in which a counter is declared with its `_total`.
pub(super) fn older(page: &str) -> String {
    let counters: HashSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(page.len());
    for line in page.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        let (hash, what, name, rest) = (words.next(), words.next(), words.next(), words.next());
        match (hash, what, name, rest) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                // Writing into a string does not fail.
                let _ = writeln!(text, "# {what} {name}_total {rest}");
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// Metrics that are put together for one answer.
#[derive(Default)]
pub(super) struct Page(Registry);

impl Page {
    /// One that is kept elsewhere.
    pub(super) fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.0.register(name, help, metric);
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.add(name, help, family);
    }

    /// `_total` is put behind the name.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.add(name, help, family);
    }

    /// Of seconds that add up. `_total` is put behind the name.
    pub(super) fn seconds(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let family = Family::<Labels, Counter<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.add(name, help, family);
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut text, &self.0);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        let mut page = Page::default();
        page.counters("a", "Counted", [(vec![label("x", "1")], 3)]);
        page.gauges("b", "Measured", [(Labels::new(), 0.5)]);
        let newer = page.text();
        assert!(
            newer.contains("# TYPE a counter\na_total{x=\"1\"} 3\n"),
            "{newer}"
        );
        assert!(newer.ends_with("# EOF\n"));
        let older = older(&newer);
        assert!(
            older.contains("# HELP a_total Counted.\n# TYPE a_total counter\na_total{x=\"1\"} 3\n"),
            "{older}"
        );
        assert!(older.contains("# TYPE b gauge\nb{} 0.5\n"), "{older}");
        assert!(!older.contains("EOF"));
    }
}
