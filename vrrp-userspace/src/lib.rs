//! xvrrp: a VRRP daemon with an XDP dataplane, configured by keepalived.conf.
//!
//! `docs/architecture.md` draws how the parts fit together.

pub mod arbiter;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod dataplane;
pub mod discovery;
pub mod doctor;
pub mod dump;
pub mod election;
pub mod handover;
pub mod health;
pub mod history;
pub mod host;
pub mod metrics;
pub mod net;
pub mod notify;
pub mod observe;
pub mod privileges;
pub mod remains;
pub mod run_dir;
pub mod web;
