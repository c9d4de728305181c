//! How adverts travel and what they are trusted for: `unicast_*`, `mcast_*`, `authentication`.

use std::net::IpAddr;

use super::value;
use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    lexer::Word,
    model::{Global, Peer},
    source::Span,
    tree::Node,
};

/// What is read of it before the family and the version are known.
#[derive(Default)]
pub(super) struct Transport {
    pub(super) peers: Vec<(Peer, Span)>,
    /// `unicast_peer` was there, whatever was in it.
    pub(super) is_unicast: Option<Span>,
    /// `unicast_fault_no_peer`.
    pub(super) may_lack_peers: bool,
    pub(super) unicast_source: Option<(IpAddr, Span)>,
    pub(super) multicast_source: Option<(IpAddr, Span)>,
    pub(super) group: Option<(IpAddr, Span)>,
    pub(super) ttl: Option<u8>,
    pub(super) checks_peers: bool,
    pub(super) accept_from: Option<Listed>,
    pub(super) password: Option<(String, Span)>,
    /// `auth_type PASS` was there.
    pub(super) has_type: bool,
    /// Authentication that we do not have.
    pub(super) unsupported: Option<Span>,
}

/// `accept_from`.
pub(super) struct Listed {
    pub(super) routers: Vec<(IpAddr, Span)>,
    pub(super) span: Span,
    /// Every word is an address; others have been complained of.
    pub(super) is_whole: bool,
}

impl Transport {
    pub(super) fn new(global: &Global) -> Self {
        Self {
            checks_peers: global.checks_peers,
            ..Self::default()
        }
    }

    /// Reads a line if it is one of these; false where it is not.
    pub(super) fn read(&mut self, node: &Node, diagnostics: &mut Diagnostics) -> bool {
        let mut address = || value::address(node, diagnostics).map(|it| (it, node.span()));
        match node.keyword() {
            "unicast_src_ip" => self.unicast_source = address(),
            "mcast_src_ip" => self.multicast_source = address(),
            "mcast_dst_ip" => {
                self.group = value::group(node, diagnostics).map(|it| (it, node.span()));
            }
            "unicast_peer" => self.peers(node, diagnostics),
            "unicast_ttl" => self.ttl = value::number(node, 0..=255, diagnostics),
            "unicast_fault_no_peer" => {
                self.may_lack_peers = true;
                self.is_unicast = self.is_unicast.take().or(Some(node.span()));
            }
            "check_unicast_src" => self.checks_peers = true,
            "accept_from" => self.accept_from(node, diagnostics),
            "authentication" => self.authentication(node, diagnostics),
            _ => return false,
        }
        true
    }

    fn peers(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        self.is_unicast = Some(node.span());
        for line in node.children() {
            let mut words = line.words.iter().peekable();
            while let Some(word) = words.next() {
                let Some(address) = value::address_of(word, diagnostics) else {
                    continue;
                };
                let mut peer = Peer {
                    address,
                    min_ttl: 0,
                    max_ttl: 255,
                };
                while let Some(option) = words.next_if(|word| is_limit(word)) {
                    let limit = words.next().and_then(|word| {
                        value::number_of(&option.text, word, 0..=255, diagnostics)
                    });
                    match (option.text.as_str(), limit) {
                        ("min_ttl", Some(limit)) => peer.min_ttl = limit,
                        (_, Some(limit)) => peer.max_ttl = limit,
                        (_, None) => {}
                    }
                    // A limit is one for somebody: who it is has to be known.
                    self.checks_peers = true;
                }
                self.peers.push((peer, word.span.clone()));
            }
        }
    }

    /// The routers whose adverts count, multicast or not: an extension.
    fn accept_from(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        let lines = node.children().iter().flat_map(|line| &line.words);
        let words: Vec<&Word> = node.arguments().iter().chain(lines).collect();
        let routers = words.iter();
        let routers = routers
            .filter_map(|word| Some((value::address_of(word, diagnostics)?, word.span.clone())));
        let routers: Vec<_> = routers.collect();
        self.accept_from = Some(Listed {
            is_whole: routers.len() == words.len(),
            routers,
            span: node.span(),
        });
    }

    fn authentication(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        for line in node.children() {
            match line.keyword() {
                "auth_type" => {
                    let kind = value::word(line, "PASS or AH", diagnostics);
                    match kind.map(|kind| kind.text.as_str()) {
                        Some("PASS" | "SIMPLE") => self.has_type = true,
                        Some(_) => self.unsupported = Some(line.span()),
                        None => {}
                    }
                }
                "auth_pass" => {
                    let word = value::word(line, "a password", diagnostics);
                    self.password = word.map(|word| (word.text.clone(), word.span.clone()));
                }
                _ => diagnostics.push(
                    Diagnostic::warning(
                        line.span(),
                        format!("{} means nothing here", line.keyword()),
                    )
                    .help("auth_type PASS, auth_pass PASSWORD"),
                ),
            }
        }
    }

    /// The password on the wire: eight bytes, as everybody sends it.
    pub(super) fn wire_password(&self, diagnostics: &mut Diagnostics) -> Option<u64> {
        let (text, span) = self.password.as_ref()?;
        if !self.has_type || text.is_empty() {
            diagnostics.push(
                Diagnostic::warning(span.clone(), "this is no authentication")
                    .help("auth_type PASS and a password; it is ignored, as keepalived does"),
            );
            return None;
        }
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        if text.len() > bytes.len() {
            diagnostics.push(
                Diagnostic::lint(
                    span.clone(),
                    "only the first 8 characters of auth_pass count",
                )
                .help("shorten it on every router, so that nobody relies on the rest"),
            );
        }
        Some(u64::from_be_bytes(bytes))
    }
}

fn is_limit(word: &Word) -> bool {
    matches!(word.text.as_str(), "min_ttl" | "max_ttl")
}
