//! What Prometheus reads: `/metrics` with our own names, `/metrics/keepalived` with those of keepalived-exporter,
//! `/healthz`.

mod keepalived;
mod own;
mod page;
mod server;

use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};

use page::{Labels, label};
pub use server::serve;

/// What is measured while it happens; everything else is read from the status.
#[derive(Clone, Debug)]
pub struct Measures {
    /// Transitions by instance, state entered and cause.
    transitions: Family<Labels, Counter>,
    /// How long after Master_Down this router became MASTER, in seconds.
    failover_delay: Histogram,
}

/// Upper bounds of the delay of a failover, in seconds.
const DELAYS: [f64; 13] = [
    0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
];

impl Default for Measures {
    fn default() -> Self {
        Self {
            transitions: Family::default(),
            failover_delay: Histogram::new(DELAYS),
        }
    }
}

impl Measures {
    /// An instance has entered a state.
    pub fn entered(&self, instance: &str, state: &str, cause: &str) {
        let labels = vec![
            label("instance", instance),
            label("state", state),
            label("cause", cause),
        ];
        self.transitions.get_or_create(&labels).inc();
    }

    /// A failover, so many seconds after Master_Down.
    pub fn failed_over(&self, seconds: f64) {
        self.failover_delay.observe(seconds);
    }
}
