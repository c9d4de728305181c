//! The control interface: HTTP and JSON on a Unix socket, and the command line as its client.

mod client;
pub mod model;
mod server;
mod table;

pub use client::{ClientError, status};
pub use server::{Question, serve};
pub use table::render;
