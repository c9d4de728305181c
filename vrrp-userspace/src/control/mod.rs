//! The control interface: HTTP and JSON on a Unix socket, and the command line as its client.

mod client;
mod event;
pub mod model;
mod server;
mod table;

pub use client::{ClientError, Upgraded, events, lend_a_hand, reload, status, upgrade};
pub use event::{Happened, Kind};
pub use model::{Hand, Reloaded, Reloads, Whom};
pub use server::{Question, Served, serve, serve_connection};
pub use table::{duration, render, render_instance};
