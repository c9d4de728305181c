//! What anybody can send, made up: frames through the kernel programs and through the same code on the
//! host, which must agree; configurations; requests to the control interface. Each takes bytes from
//! whoever makes them up: `cargo xtask fuzz`, or `tests/tests/made_up.rs`.

mod config;
mod control;
mod frames;
mod mirror;

pub use config::config;
pub use control::control;
pub use frames::{Kind, Twins};
