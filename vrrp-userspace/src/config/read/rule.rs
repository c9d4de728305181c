//! Lines of `virtual_rules` and `static_rules`, as `ip rule` takes them:
//! `[inet|inet6] [from NET|all] [to NET|all] [iif IF] [oif IF] [fwmark N[/MASK]] [priority N]
//! table T | blackhole | unreachable | prohibit`. A line with anything else is left out.

use super::words::{Line, Wrong, network};
use crate::{
    config::{diagnostics::Diagnostics, lexer::Word, tree::Node},
    net::{Network, Rule, RuleKind},
};

/// Reads one line; `None` where it is left out, with the reason in the diagnostics.
pub(super) fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Rule> {
    let mut line = Line::new(node);
    let rule = read_words(&mut line, node);
    rule.map_err(|wrong| wrong.report(diagnostics)).ok()
}

fn read_words(line: &mut Line<'_>, node: &Node) -> Result<Rule, Wrong> {
    let mut rule = Rule {
        is_v6: false,
        kind: RuleKind::Prohibit,
        from: None,
        to: None,
        iif: None,
        oif: None,
        mark: None,
        priority: None,
    };
    let (mut kind, mut is_v6) = (None, None);
    while let Some(word) = line.next() {
        match word.text.as_str() {
            "inet" => is_v6 = is_v6.or(Some(false)),
            "inet6" => is_v6 = is_v6.or(Some(true)),
            "from" => rule.from = selector(line, word)?,
            "to" => rule.to = selector(line, word)?,
            "iif" | "dev" => rule.iif = Some(line.device(word)?),
            "oif" => rule.oif = Some(line.device(word)?),
            "fwmark" => rule.mark = Some(line.mark(word)?),
            "priority" | "preference" | "pref" | "order" => {
                rule.priority = Some(line.number(word, 0..=u32::MAX)?);
            }
            "table" | "lookup" | "blackhole" | "unreachable" | "prohibit" => {
                let new = match word.text.as_str() {
                    "blackhole" => RuleKind::Blackhole,
                    "unreachable" => RuleKind::Unreachable,
                    "prohibit" => RuleKind::Prohibit,
                    _ => RuleKind::Table(line.table(word)?),
                };
                if kind.replace(new).is_some() {
                    let help = "say one of table, blackhole, unreachable and prohibit";
                    return Err(Wrong::word(word, "this rule does something already", help));
                }
            }
            // The interfaces of a rule need not be there.
            "no_track" => {}
            _ => return Err(Wrong::unknown(word, "rule")),
        }
    }
    let families: Vec<bool> = [rule.from, rule.to]
        .into_iter()
        .flatten()
        .map(|network| network.address.is_ipv6())
        .collect();
    if families
        .iter()
        .any(|family| Some(family) != families.first())
    {
        return Err(Wrong::line(
            node,
            "this rule mixes IPv4 and IPv6",
            "one family in each rule",
        ));
    }
    rule.is_v6 = families.first().copied().or(is_v6).unwrap_or(false);
    rule.kind = kind.ok_or_else(|| {
        let help = "end it with `table N`, blackhole, unreachable or prohibit";
        Wrong::line(node, "this rule does nothing", help)
    })?;
    Ok(rule)
}

/// What keepalived begins with.
const FIRST: u32 = 16_384;

/// A rule without a priority gets keepalived's, each before the last. A fixed one, so that putting it
/// back puts it where it was.
pub(super) fn give_priorities<'a>(rules: impl Iterator<Item = &'a mut Rule>) {
    let mut next = [FIRST; 2];
    for rule in rules.filter(|rule| rule.priority.is_none()) {
        let [v4, v6] = &mut next;
        let next = if rule.is_v6 { v6 } else { v4 };
        rule.priority = Some(*next);
        *next = next.saturating_sub(1);
    }
}

fn selector(line: &mut Line<'_>, keyword: &Word) -> Result<Option<Network>, Wrong> {
    let word = line.value(keyword)?;
    if matches!(word.text.as_str(), "all" | "any" | "default") {
        return Ok(None);
    }
    network(word).map(Some)
}
