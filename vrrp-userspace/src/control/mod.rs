//! The control interface: HTTP and JSON on a Unix socket, and the command line as its client.

mod client;
pub mod model;
mod server;
mod table;

pub use client::{ClientError, Upgraded, lend_a_hand, reload, status, upgrade};
pub use model::{Hand, Reloaded, Reloads, Whom};
pub use server::{Question, serve, serve_connection};
pub use table::render;
