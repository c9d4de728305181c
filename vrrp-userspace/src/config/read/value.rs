//! Arguments: numbers, times, booleans, commands.

use std::{fmt::Display, net::IpAddr, ops::RangeInclusive, str::FromStr, time::Duration};

use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    lexer::Word,
    model::{Notify, NotifyScript, ScriptUser, Weight},
    tree::Node,
};

/// The first argument, or an error that says what is missing.
pub(super) fn word<'a>(
    node: &'a Node,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'a Word> {
    let word = node.arguments().first();
    if word.is_none() {
        diagnostics.push(
            Diagnostic::error(node.span(), format!("{} needs {what}", node.keyword()))
                .help(format!("{} {}", node.keyword(), what.to_uppercase())),
        );
    }
    word
}

/// The only argument; a word about what stands behind it.
pub(super) fn only_word<'a>(
    node: &'a Node,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'a Word> {
    if let Some(surplus) = node.arguments().get(1) {
        diagnostics.push(
            Diagnostic::warning(
                surplus.span.clone(),
                format!(
                    "{} takes one value; {} is ignored",
                    node.keyword(),
                    surplus.text
                ),
            )
            .help("put several words into quotation marks"),
        );
    }
    word(node, what, diagnostics)
}

/// A whole number within a range.
pub(super) fn number<T>(
    node: &Node,
    range: RangeInclusive<T>,
    diagnostics: &mut Diagnostics,
) -> Option<T>
where
    T: FromStr + PartialOrd + Display,
{
    let word = only_word(node, "a number", diagnostics)?;
    number_of(node.keyword(), word, range, diagnostics)
}

/// A word as a whole number within a range.
pub(super) fn number_of<T>(
    what: &str,
    word: &Word,
    range: RangeInclusive<T>,
    diagnostics: &mut Diagnostics,
) -> Option<T>
where
    T: FromStr + PartialOrd + Display,
{
    let number = word
        .text
        .parse::<T>()
        .ok()
        .filter(|number| range.contains(number));
    if number.is_none() {
        diagnostics.push(
            Diagnostic::error(word.span.clone(), format!("{what} cannot be {}", word.text)).help(
                format!("a whole number from {} to {}", range.start(), range.end()),
            ),
        );
    }
    number
}

/// Seconds with decimals, within a range of seconds.
pub(super) fn seconds(
    node: &Node,
    range: RangeInclusive<f64>,
    diagnostics: &mut Diagnostics,
) -> Option<Duration> {
    let word = only_word(node, "a number of seconds", diagnostics)?;
    let seconds = word
        .text
        .parse::<f64>()
        .ok()
        .filter(|seconds| range.contains(seconds));
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if duration.is_none() {
        diagnostics.push(
            Diagnostic::error(
                word.span.clone(),
                format!("{} cannot be {}", node.keyword(), word.text),
            )
            .help(format!(
                "seconds from {} to {}, with decimals",
                range.start(),
                range.end()
            )),
        );
    }
    duration
}

/// An IP address.
pub(super) fn address(node: &Node, diagnostics: &mut Diagnostics) -> Option<IpAddr> {
    let word = only_word(node, "an IP address", diagnostics)?;
    address_of(word, diagnostics)
}

/// A word as an IP address.
pub(super) fn address_of(word: &Word, diagnostics: &mut Diagnostics) -> Option<IpAddr> {
    let address = word.text.parse().ok();
    if address.is_none() {
        diagnostics.push(
            Diagnostic::error(
                word.span.clone(),
                format!("{} is not an IP address", word.text),
            )
            .help("such as 10.0.0.30 or 2001:db8::30"),
        );
    }
    address
}

/// A multicast group.
pub(super) fn group(node: &Node, diagnostics: &mut Diagnostics) -> Option<IpAddr> {
    let address = address(node, diagnostics)?;
    if address.is_multicast() {
        return Some(address);
    }
    diagnostics.push(
        Diagnostic::error(node.span(), format!("{address} is not a multicast group"))
            .help("such as 224.0.0.18 or ff02::12; it is ignored"),
    );
    None
}

/// `on`, `off`, `true`, `false`, `yes`, `no`; a flag without a value is on.
pub(super) fn flag(node: &Node, diagnostics: &mut Diagnostics) -> Option<bool> {
    let Some(word) = node.arguments().first() else {
        return Some(true);
    };
    match word.text.as_str() {
        "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        other => {
            diagnostics.push(
                Diagnostic::error(
                    word.span.clone(),
                    format!("{} cannot be {other}", node.keyword()),
                )
                .help("on, off, true, false, yes or no"),
            );
            None
        }
    }
}

/// `weight N [reverse|noreverse]` from the words behind `weight`.
pub(super) fn weight(words: &[Word], limit: i32, diagnostics: &mut Diagnostics) -> Option<Weight> {
    let first = words.first()?;
    let value = number_of("weight", first, -limit..=limit, diagnostics)?;
    let mut reverse = false;
    for word in words.get(1..).unwrap_or_default() {
        match word.text.as_str() {
            "reverse" => reverse = true,
            "noreverse" => reverse = false,
            other => diagnostics.push(
                Diagnostic::warning(
                    word.span.clone(),
                    format!("{other} means nothing behind a weight"),
                )
                .help("reverse or noreverse; it is ignored"),
            ),
        }
    }
    Some(Weight { value, reverse })
}

/// The `notify*` scripts of an instance or a group. Says whether the keyword is one of them.
pub(super) fn notify(
    keyword: &str,
    node: &Node,
    notify: &mut Notify,
    diagnostics: &mut Diagnostics,
) -> bool {
    let place = match keyword {
        "notify_master" => &mut notify.master,
        "notify_backup" => &mut notify.backup,
        "notify_fault" => &mut notify.fault,
        "notify_stop" => &mut notify.stop,
        "notify" => &mut notify.any,
        "notify_deleted" if node.arguments().is_empty() => {
            notify.tells_deleted = true;
            return true;
        }
        "notify_deleted" => &mut notify.deleted,
        "notify_master_rx_lower_pri" => &mut notify.rx_lower_priority,
        "notify_priority_changes" => {
            notify.tells_priority = flag(node, diagnostics).unwrap_or(notify.tells_priority);
            return true;
        }
        "smtp_alert" => {
            notify.alert = flag(node, diagnostics);
            return true;
        }
        _ => return false,
    };
    *place = notify_script(node, diagnostics);
    true
}

/// `"COMMAND" [user [group]]`.
pub(super) fn notify_script(node: &Node, diagnostics: &mut Diagnostics) -> Option<NotifyScript> {
    let command = word(node, "a command", diagnostics)?;
    let user = user(node.arguments().get(1..).unwrap_or_default(), diagnostics);
    Some(NotifyScript {
        command: command.text.clone(),
        user,
        span: command.span.clone(),
    })
}

/// `user [:][group]`.
pub(super) fn user(words: &[Word], diagnostics: &mut Diagnostics) -> Option<ScriptUser> {
    let (first, rest) = words.split_first()?;
    let (user, attached) = match first.text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (first.text.as_str(), None),
    };
    let group = attached.or_else(|| rest.first().map(|word| word.text.trim_start_matches(':')));
    if uzers::get_user_by_name(user).is_none() {
        diagnostics.push(
            Diagnostic::error(first.span.clone(), format!("there is no user {user}"))
                .help("the script will not run"),
        );
    }
    if let Some(group) = group.filter(|group| !group.is_empty())
        && uzers::get_group_by_name(group).is_none()
    {
        diagnostics.push(
            Diagnostic::error(first.span.clone(), format!("there is no group {group}"))
                .help("the script will not run"),
        );
    }
    Some(ScriptUser {
        user: user.to_owned(),
        group: group.filter(|group| !group.is_empty()).map(str::to_owned),
    })
}

/// One or two hexadecimal digits.
pub(super) fn hexadecimal_byte(text: &str) -> Option<u8> {
    let is_short =
        (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u8::from_str_radix(text, 16).ok().filter(|_| is_short)
}
