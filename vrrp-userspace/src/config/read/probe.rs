//! What a check asks: `script` and `check` of a `vrrp_script`, `target` of a `vrrp_arbiter`.

use std::path::PathBuf;

use super::{
    security,
    words::{Line, Wrong},
};
use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        lexer::Word,
        tree::Node,
    },
    health::{Command, Expect, Haproxy, Http, Probe, Socket},
};

const KINDS: &str = "tcp HOST:PORT, http URL [expect STATUS|\"TEXT\"], icmp HOST, \
                     haproxy SOCKET [backend NAME], systemd UNIT";

/// `KEYWORD KIND …` of a line.
pub(super) fn read(node: &Node, may_be_script: bool) -> Result<Probe, Wrong> {
    let mut line = Line::new(node);
    let kinds = if may_be_script {
        format!("{KINDS}, script \"COMMAND\"")
    } else {
        KINDS.to_owned()
    };
    line.next();
    let Some(kind) = line.next() else {
        let what = format!("{} asks nobody", node.keyword());
        return Err(Wrong::line(node, &what, &kinds));
    };
    let probe = match kind.text.as_str() {
        "tcp" => Probe::Tcp(endpoint(line.value(kind)?)?),
        "icmp" => Probe::Icmp(line.value(kind)?.text.clone()),
        "http" => http(&mut line, kind)?,
        "haproxy" => haproxy(&mut line, kind)?,
        "systemd" => Probe::Systemd(line.value(kind)?.text.clone()),
        "script" if may_be_script => Probe::Script(line.value(kind)?.text.clone()),
        other => {
            let what = format!("there is no check {other}");
            return Err(Wrong::word(kind, what, kinds));
        }
    };
    match line.next() {
        None => Ok(probe),
        Some(surplus) => {
            let what = format!("{} means nothing here", surplus.text);
            Err(Wrong::word(surplus, what, kinds))
        }
    }
}

/// A command line that can be run.
pub(super) fn script(command: &Word, diagnostics: &mut Diagnostics) -> Option<Probe> {
    if let Err(error) = Command::new(&command.text, None) {
        diagnostics.push(
            Diagnostic::error(command.span.clone(), format!("this cannot be run: {error}"))
                .help("script \"COMMAND ARGUMENT…\", with its inner quotes closed"),
        );
        return None;
    }
    mention_a_missing_program(command, diagnostics);
    Some(Probe::Script(command.text.clone()))
}

/// A check that is not there fails. What needs a shell is not looked into.
fn mention_a_missing_program(command: &Word, diagnostics: &mut Diagnostics) {
    let Ok(words) = shell_words::split(&command.text) else {
        return;
    };
    let Some(name) = words
        .first()
        .filter(|name| !name.starts_with(['<', '$', '(']))
    else {
        return;
    };
    if !security::found(name).is_some_and(|path| path.exists()) {
        let what = format!("there is no {name} on this machine: the check fails");
        let help = "install it, or correct its path";
        diagnostics.push(Diagnostic::lint(command.span.clone(), what).help(help));
    }
}

/// `HOST:PORT`, an IPv6 address in brackets.
fn endpoint(word: &Word) -> Result<String, Wrong> {
    let parts = word.text.rsplit_once(':').filter(|(host, port)| {
        let is_bare_v6 = host.contains(':') && !host.starts_with('[');
        !host.is_empty() && !is_bare_v6 && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if parts.is_some() {
        return Ok(word.text.clone());
    }
    let what = format!("{} is no HOST:PORT", word.text);
    let help = "such as 10.0.0.1:80, [2001:db8::1]:80 or localhost:8080";
    Err(Wrong::word(word, what, help))
}

fn http(line: &mut Line<'_>, kind: &Word) -> Result<Probe, Wrong> {
    let word = line.value(kind)?;
    let url = url(word)?;
    let expect = match line.next() {
        None => Expect::Good,
        Some(keyword) if keyword.text == "expect" => {
            let wanted = line.value(keyword)?;
            match wanted.text.parse() {
                Ok(status @ 100..=599) => Expect::Status(status),
                _ => Expect::Text(wanted.text.clone()),
            }
        }
        Some(other) => {
            let what = format!("{} means nothing behind a URL", other.text);
            return Err(Wrong::word(
                other,
                what,
                "expect STATUS, or expect \"TEXT\"",
            ));
        }
    };
    Ok(Probe::Http(Http { url, expect }))
}

/// `http://…` or `https://…`.
pub(super) fn url(word: &Word) -> Result<String, Wrong> {
    let parsed = reqwest::Url::parse(&word.text);
    let is_web = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    if parsed.is_ok_and(|url| is_web(&url)) {
        return Ok(word.text.clone());
    }
    let what = format!("{} is no URL to ask", word.text);
    Err(Wrong::word(
        word,
        what,
        "such as http://127.0.0.1:8080/health",
    ))
}

fn haproxy(line: &mut Line<'_>, kind: &Word) -> Result<Probe, Wrong> {
    let word = line.value(kind)?;
    let socket = if word.text.contains('/') {
        Socket::Path(PathBuf::from(&word.text))
    } else {
        Socket::Tcp(endpoint(word)?)
    };
    let backend = match line.next() {
        None => None,
        Some(keyword) if keyword.text == "backend" => Some(line.value(keyword)?.text.clone()),
        Some(other) => {
            let what = format!("{} means nothing behind the socket", other.text);
            return Err(Wrong::word(other, what, "backend NAME"));
        }
    };
    Ok(Probe::Haproxy(Haproxy { socket, backend }))
}
