//! HTTP towards others: checks, webhooks, etcd.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use anyhow::{Context as _, Result};
use reqwest::{Certificate, Client, Identity, redirect::Policy};

use crate::net::Names;

/// Whom to trust over TLS, and as whom to appear. Without anything: the machine's own authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// A file with the authority's certificate (PEM).
    pub authority: Option<PathBuf>,
    /// Files with our certificate and its key (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The client of everybody who trusts the machine's own authorities.
///
/// # Errors
///
/// Why there is none.
pub fn plain() -> Result<Client, String> {
    static PLAIN: OnceLock<Result<Client, String>> = OnceLock::new();
    let made = PLAIN.get_or_init(|| {
        let made = client(&Trust::default());
        made.map_err(|error| format!("{error:#}"))
    });
    made.clone()
}

/// A client that follows no redirection and goes through no proxy: it asks whom it is told to.
///
/// # Errors
///
/// Files that cannot be read, or are no certificates.
pub fn client(trust: &Trust) -> Result<Client> {
    // Another call has done it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .no_proxy()
        // Whether somebody answers is asked anew each time.
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(Names))
        .redirect(Policy::none())
        .user_agent(concat!("xvrrp/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &trust.authority {
        let read = || format!("read the authority's certificate {}", path.display());
        let pem = fs::read(path).with_context(read)?;
        let certificates = Certificate::from_pem_bundle(&pem).with_context(read)?;
        builder = builder.tls_certs_only(certificates);
    }
    if let Some((certificate, key)) = &trust.identity {
        let mut pem = fs::read(certificate)
            .with_context(|| format!("read the certificate {}", certificate.display()))?;
        pem.extend(fs::read(key).with_context(|| format!("read the key {}", key.display()))?);
        let identity = Identity::from_pem(&pem)
            .with_context(|| format!("use the certificate {}", certificate.display()))?;
        builder = builder.identity(identity);
    }
    builder.build().context("make an HTTP client")
}
