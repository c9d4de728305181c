//! The words of a line in iproute2's manner: keywords and their values, one after the other.

use std::{fs, net::IpAddr, ops::RangeInclusive, str::FromStr};

use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        lexer::Word,
        source::Span,
        tree::Node,
    },
    net::{Network, Scope},
};

/// The words of one line.
pub(super) struct Line<'a> {
    words: std::slice::Iter<'a, Word>,
}

/// Why a line is left out.
pub(super) struct Wrong {
    span: Span,
    what: String,
    help: String,
}

impl Wrong {
    pub(super) fn word(word: &Word, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            span: word.span.clone(),
            what: what.into(),
            help: help.into(),
        }
    }

    pub(super) fn line(node: &Node, what: &str, help: &str) -> Self {
        Self {
            span: node.span(),
            what: what.to_owned(),
            help: help.to_owned(),
        }
    }

    pub(super) fn unknown(word: &Word, kind: &str) -> Self {
        Self::word(
            word,
            format!("{} is not supported in a {kind}", word.text),
            format!("without it the {kind} would mean something else"),
        )
    }

    /// The line is left out, whatever else is served.
    pub(super) fn report(self, diagnostics: &mut Diagnostics) {
        diagnostics.push(
            Diagnostic::error(self.span, self.what).help(format!("{}; it is left out", self.help)),
        );
    }
}

impl<'a> Line<'a> {
    pub(super) fn new(node: &'a Node) -> Self {
        Self {
            words: node.words.iter(),
        }
    }

    pub(super) fn next(&mut self) -> Option<&'a Word> {
        self.words.next()
    }

    /// What stands behind a keyword.
    pub(super) fn value(&mut self, keyword: &Word) -> Result<&'a Word, Wrong> {
        self.words.next().ok_or_else(|| {
            let what = format!("{} needs a value", keyword.text);
            Wrong::word(keyword, what, "put it behind the word")
        })
    }

    /// The name of an interface.
    pub(super) fn device(&mut self, keyword: &Word) -> Result<String, Wrong> {
        let word = self.value(keyword)?;
        if is_device_name(&word.text) {
            return Ok(word.text.clone());
        }
        let what = format!("{} cannot be an interface", word.text);
        Err(Wrong::word(
            word,
            what,
            "15 characters at most, without a slash",
        ))
    }

    pub(super) fn address(&mut self, keyword: &Word) -> Result<IpAddr, Wrong> {
        let word = self.value(keyword)?;
        address(word)
    }

    /// A gateway, which may have its family in front (`via inet6 IP`).
    pub(super) fn gateway(&mut self, keyword: &Word) -> Result<IpAddr, Wrong> {
        let word = self.value(keyword)?;
        if matches!(word.text.as_str(), "inet" | "inet6") {
            return self.address(word);
        }
        address(word)
    }

    pub(super) fn number<T>(&mut self, keyword: &Word, range: RangeInclusive<T>) -> Result<T, Wrong>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let word = self.value(keyword)?;
        let number = word
            .text
            .parse()
            .ok()
            .filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let what = format!("{} cannot be {}", keyword.text, word.text);
            Wrong::word(word, what, format!("{} to {}", range.start(), range.end()))
        })
    }

    /// `N` or `N/MASK`, decimal or hexadecimal.
    pub(super) fn mark(&mut self, keyword: &Word) -> Result<(u32, Option<u32>), Wrong> {
        let word = self.value(keyword)?;
        let (value, bits) = match word.text.split_once('/') {
            Some((value, bits)) => (number(value), Some(number(bits))),
            None => (number(&word.text), None),
        };
        match (value, bits) {
            (Some(value), None) => Ok((value, None)),
            (Some(value), Some(Some(bits))) => Ok((value, Some(bits))),
            _ => Err(Wrong::word(
                word,
                format!("{} is no mark", word.text),
                "N or N/MASK",
            )),
        }
    }

    pub(super) fn scope(&mut self, keyword: &Word) -> Result<Scope, Wrong> {
        let word = self.value(keyword)?;
        Scope::by_name(&word.text).ok_or_else(|| {
            let what = format!("{} is not a scope", word.text);
            Wrong::word(word, what, "global, site, link, host or nowhere")
        })
    }

    /// A table: its number, or its name as iproute2 knows it.
    pub(super) fn table(&mut self, keyword: &Word) -> Result<u32, Wrong> {
        let word = self.value(keyword)?;
        let number = number(&word.text).filter(|table| *table != 0);
        number.or_else(|| table_by_name(&word.text)).ok_or_else(|| {
            let what = format!("there is no routing table {}", word.text);
            Wrong::word(word, what, "a number, or a name of /etc/iproute2/rt_tables")
        })
    }
}

/// `IP` or `IP/PREFIX`.
pub(super) fn network(word: &Word) -> Result<Network, Wrong> {
    let (text, prefix) = match word.text.split_once('/') {
        Some((text, prefix)) => (text, Some(prefix)),
        None => (word.text.as_str(), None),
    };
    let wrong = || {
        let what = format!("{} is not a network", word.text);
        Wrong::word(word, what, "such as 10.0.0.0/8 or 2001:db8::/32")
    };
    let address: IpAddr = text.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(prefix) => prefix.parse().map_err(|_| wrong())?,
    };
    let network = Network { address, prefix };
    if prefix > longest || !network.is_whole() {
        return Err(wrong());
    }
    Ok(network)
}

fn address(word: &Word) -> Result<IpAddr, Wrong> {
    word.text.parse().map_err(|_| {
        let what = format!("{} is not an IP address", word.text);
        Wrong::word(word, what, "such as 10.0.0.1 or 2001:db8::1")
    })
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What the kernel takes for the name of an interface (`dev_valid_name`).
pub(super) fn is_device_name(name: &str) -> bool {
    let is_odd = |byte: u8| byte == b'/' || byte == b':' || byte.is_ascii_whitespace();
    (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.bytes().any(is_odd)
}

/// Names that iproute2 knows, `NUMBER NAME` in each line.
fn table_by_name(name: &str) -> Option<u32> {
    let built_in = [("local", 255), ("main", 254), ("default", 253)];
    if let Some((_, number)) = built_in.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let files = ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables"];
    files.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let number = words.next().and_then(number)?;
            (words.next() == Some(name)).then_some(number)
        })
    })
}
