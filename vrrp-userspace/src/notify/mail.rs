//! E-mail about changes of state (`notification_email` and what goes with it).

use std::time::SystemTime;

use anyhow::{Context as _, Result};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header},
    transport::smtp::{
        self,
        authentication::Credentials,
        client::{Tls, TlsParameters},
        extension::ClientId,
    },
};

use super::{
    event::Event,
    outbox::{Refusal, Taker},
};
use crate::{
    config::model::{MailSettings, MailTls},
    host,
};

/// The server that takes mails.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    name: String,
}

impl Mailer {
    pub(super) fn new(settings: &MailSettings) -> Result<Self> {
        // Another call has done it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (host, port) = &settings.server;
        let parameters =
            || TlsParameters::new(host.clone()).with_context(|| format!("TLS towards {host}"));
        let tls = match settings.tls {
            MailTls::None => Tls::None,
            MailTls::StartTls => Tls::Required(parameters()?),
            MailTls::Tls => Tls::Wrapper(parameters()?),
        };
        let helo = settings.helo.clone().unwrap_or_else(host::name);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(*port)
            .tls(tls)
            .hello_name(ClientId::Domain(helo))
            .timeout(Some(settings.timeout));
        if let Some((user, password)) = &settings.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(Self {
            transport: builder.build(),
            name: format!("the mail server {host}:{port}"),
        })
    }
}

impl Taker for Mailer {
    type Item = Message;

    async fn send(&self, item: &Message) -> Result<(), Refusal> {
        let sent = self.transport.send(item.clone()).await;
        sent.map(drop).map_err(|error| Refusal {
            // Whom the server does not trust it may trust after the next reload.
            is_final: error.is_permanent() && !is_about_login(&error),
            why: format!("{:#}", anyhow::Error::from(error)),
        })
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// Authentication required, too weak, failed, or not without TLS (RFC 4954 section 6).
fn is_about_login(error: &smtp::Error) -> bool {
    let code = error.status().map(u16::from);
    code.is_some_and(|code| matches!(code, 530 | 534 | 535 | 538))
}

/// The mail about an event.
pub(super) fn compose(event: &Event, settings: &MailSettings, router: &str) -> Result<Message> {
    let (kind, name) = (event.subject.in_mails(), event.subject.name());
    let what = match event.word {
        "MASTER" => "Entering MASTER state",
        "BACKUP" => "Entering BACKUP state",
        "FAULT" => "Entering FAULT state",
        "STOP" => "Stopping",
        _ => "Deleted",
    };
    let body = match event.word {
        "MASTER" => format!("=> VRRP {kind} is now owning VRRP VIPs <="),
        "BACKUP" => format!("=> VRRP {kind} is no longer owning VRRP VIPs <="),
        "FAULT" => format!("=> VRRP {kind} is not able to own VRRP VIPs <="),
        "STOP" => format!("=> VRRP {kind} is stopping <="),
        _ => format!("=> VRRP {kind} was removed from the configuration <="),
    };
    let mailbox = |address: &str| -> Result<Mailbox> {
        address
            .parse()
            .with_context(|| format!("the address {address}"))
    };
    let mut message = Message::builder()
        .from(mailbox(&settings.from)?)
        .subject(format!("[{router}] VRRP {kind} {name} - {what}"))
        .date(event.at)
        // The same at every attempt: a mail that was taken twice can be told.
        .message_id(Some(message_id(event.at, router)))
        .raw_header(header::HeaderValue::new(
            header::HeaderName::new_from_ascii_str("X-Mailer"),
            "xvrrp".to_owned(),
        ));
    for address in &settings.to {
        message = message.to(mailbox(address)?);
    }
    message
        .body(format!(
            "{body}\r\n\r\n{}: priority {}\r\n{}\r\n",
            name, event.priority, event.why
        ))
        .context("compose the mail")
}

fn message_id(at: SystemTime, router: &str) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let random = fastrand::u64(..);
    format!("<{}.{random:x}.xvrrp@{router}>", since.as_nanos())
}
