//! Whom `global_defs` wants told of events: FIFOs, mails, webhooks.

use std::{path::PathBuf, time::Duration};

use super::{probe, value};
use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    lexer::Word,
    model::{FifoSettings, Global, MailSettings, MailTls, NotifyScript},
    source::Span,
    tree::Node,
};

const SMTP: u16 = 25;

/// What belongs together, wherever it stands.
#[derive(Default)]
pub(super) struct Draft {
    fifos: [Fifo; 2],
    to: Vec<String>,
    from: Option<String>,
    server: Option<(String, u16)>,
    helo: Option<String>,
    timeout: Option<Duration>,
    tls: MailTls,
    login: Option<(String, String)>,
    alerts: bool,
    spares_faults: bool,
    /// Something of it is there.
    mail_span: Option<Span>,
}

#[derive(Default)]
struct Fifo {
    settings: Option<FifoSettings>,
    script: Option<NotifyScript>,
}

impl Draft {
    /// Says whether the keyword is one of them.
    pub(super) fn read(
        &mut self,
        node: &Node,
        global: &mut Global,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let [general, vrrp] = &mut self.fifos;
        match node.keyword() {
            "notify_fifo" => general.settings = fifo(node, diagnostics),
            "vrrp_notify_fifo" => vrrp.settings = fifo(node, diagnostics),
            "notify_fifo_script" => general.script = value::notify_script(node, diagnostics),
            "vrrp_notify_fifo_script" => vrrp.script = value::notify_script(node, diagnostics),
            "vrrp_notify_priority_changes" => {
                global.tells_priority = value::flag(node, diagnostics).unwrap_or(false);
            }
            "fifo_write_vrrp_states_on_reload" => global.repeats_states = true,
            "webhook" => {
                for word in node.arguments() {
                    match probe::url(word) {
                        Ok(url) => global.webhooks.push(url),
                        Err(wrong) => wrong.report(diagnostics),
                    }
                }
            }
            _ => return self.read_mail(node, diagnostics),
        }
        true
    }

    fn read_mail(&mut self, node: &Node, diagnostics: &mut Diagnostics) -> bool {
        let text = |word: Option<&Word>| word.map(|word| word.text.clone());
        match node.keyword() {
            "notification_email" => {
                let words = node.children().iter().flat_map(|line| &line.words);
                for word in words.chain(node.arguments()) {
                    self.to.extend(address(word, diagnostics));
                }
            }
            "notification_email_from" => {
                let word = value::only_word(node, "an address", diagnostics);
                self.from = word.and_then(|word| address(word, diagnostics));
            }
            "smtp_server" => self.server = server(node, diagnostics),
            "smtp_helo_name" => self.helo = text(value::only_word(node, "a name", diagnostics)),
            "smtp_connect_timeout" => {
                self.timeout = value::seconds(node, 1.0..=3600.0, diagnostics);
            }
            "smtp_tls" => self.tls = tls(node, diagnostics),
            "smtp_login" => {
                let [user, password] = node.arguments() else {
                    let what = "smtp_login needs a user and a password";
                    let help = "smtp_login USER PASSWORD";
                    diagnostics.push(Diagnostic::error(node.span(), what).help(help));
                    return true;
                };
                self.login = Some((user.text.clone(), password.text.clone()));
            }
            "smtp_alert" | "smtp_alert_vrrp" => {
                self.alerts = value::flag(node, diagnostics).unwrap_or(false);
            }
            "no_email_faults" => self.spares_faults = true,
            _ => return false,
        }
        self.mail_span.get_or_insert(node.span());
        true
    }

    /// Puts it together.
    pub(super) fn finish(self, global: &mut Global, diagnostics: &mut Diagnostics) {
        for fifo in self.fifos {
            match (fifo.settings, fifo.script) {
                (Some(settings), script) => global.fifos.push(FifoSettings { script, ..settings }),
                (None, Some(script)) => diagnostics.push(
                    Diagnostic::warning(script.span, "there is no FIFO that this could read")
                        .help("notify_fifo PATH, or vrrp_notify_fifo PATH; it is ignored"),
                ),
                (None, None) => {}
            }
        }
        let Some(span) = self.mail_span else {
            return;
        };
        // A server, or somebody to write to, alone is how the samples begin: nobody is written to.
        let (false, Some(server)) = (self.to.is_empty(), self.server) else {
            if self.alerts {
                let what = "no mail can be sent";
                let help = "notification_email { ADDRESS … } and smtp_server HOST [PORT]";
                diagnostics.push(Diagnostic::warning(span, what).help(help));
            }
            return;
        };
        global.mail = Some(MailSettings {
            to: self.to,
            from: self.from.unwrap_or_else(default_from),
            server,
            helo: self.helo,
            timeout: self.timeout.unwrap_or(Duration::from_secs(30)),
            tls: self.tls,
            login: self.login,
            by_default: self.alerts,
            spares_faults: self.spares_faults,
        });
    }
}

/// `user@host`, as keepalived has it.
fn default_from() -> String {
    let user = uzers::get_current_username();
    let user = user.map_or_else(|| "root".to_owned(), |it| it.to_string_lossy().into_owned());
    format!("{user}@{}", crate::host::name())
}

fn address(word: &Word, diagnostics: &mut Diagnostics) -> Option<String> {
    // A name alone is a user of this machine.
    let address = if word.text.contains('@') {
        word.text.clone()
    } else {
        format!("{}@{}", word.text, crate::host::name())
    };
    if address.parse::<lettre::message::Mailbox>().is_ok() {
        return Some(address);
    }
    let what = format!("{} is no e-mail address", word.text);
    let help = "such as admin@example.org; nobody is written to there";
    diagnostics.push(Diagnostic::error(word.span.clone(), what).help(help));
    None
}

/// `HOST [PORT]`.
fn server(node: &Node, diagnostics: &mut Diagnostics) -> Option<(String, u16)> {
    let host = value::word(node, "a host", diagnostics)?;
    let port = match node.arguments().get(1) {
        None => SMTP,
        Some(word) => value::number_of("smtp_server", word, 1..=u16::MAX, diagnostics)?,
    };
    Some((host.text.clone(), port))
}

fn tls(node: &Node, diagnostics: &mut Diagnostics) -> MailTls {
    let Some(word) = value::only_word(node, "none, starttls or tls", diagnostics) else {
        return MailTls::StartTls;
    };
    match word.text.as_str() {
        "none" => MailTls::None,
        "starttls" => MailTls::StartTls,
        "tls" => MailTls::Tls,
        other => {
            let what = format!("smtp_tls cannot be {other}");
            let help = "none, starttls or tls; it is starttls";
            diagnostics.push(Diagnostic::error(word.span.clone(), what).help(help));
            MailTls::StartTls
        }
    }
}

/// `PATH [USER [GROUP]]`.
fn fifo(node: &Node, diagnostics: &mut Diagnostics) -> Option<FifoSettings> {
    let path = value::word(node, "a path", diagnostics)?;
    Some(FifoSettings {
        path: PathBuf::from(&path.text),
        user: value::user(node.arguments().get(1..).unwrap_or_default(), diagnostics),
        script: None,
    })
}
