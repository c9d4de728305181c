//! The machine's own name.

/// The host name, whole; `localhost` where it has none that is text.
#[must_use]
pub fn name() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "localhost".to_owned())
}
