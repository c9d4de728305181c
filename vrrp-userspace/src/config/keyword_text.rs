//! What is said of keywords: for `xvrrp explain --keyword`, and for `docs/configuration.md`.

use std::fmt::Write as _;

use roff::{Roff, bold, roman};

use super::keywords::{self, BLOCKS, Block, Keyword, Standing};

/// What a keyword means in every block that has it; `None` where nobody knows it.
#[must_use]
pub fn explain_keyword(name: &str) -> Option<String> {
    let mut text = String::new();
    for (block, keyword) in keywords::find_everywhere(name) {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{} {}", keyword.name, keyword.syntax);
        let _ = writeln!(text, "  in {block}; {}", standing(keyword));
        if !keyword.default.is_empty() {
            let _ = writeln!(text, "  default: {}", keyword.default);
        }
        let _ = writeln!(text, "  {}", keyword.meaning);
    }
    (!text.is_empty()).then_some(text)
}

const fn standing(keyword: &Keyword) -> &'static str {
    match keyword.standing {
        Standing::Served => "served",
        Standing::Ours => "served; keepalived does not have it",
        Standing::Accepted => "accepted, nothing has to be done",
        Standing::Unsupported => "not supported, ignored with a warning",
        Standing::Lvs => "skipped: load balancing",
    }
}

/// The tables of `docs/configuration.md`.
#[must_use]
pub fn keyword_reference() -> String {
    let mut text = String::new();
    for block in BLOCKS {
        table(block, &mut text);
    }
    text
}

fn table(block: &Block, text: &mut String) {
    let Block { name, keywords, .. } = block;
    let title = if name.contains(' ') {
        (*name).to_owned()
    } else {
        format!("`{name}`")
    };
    // Writing into a string does not fail.
    let _ = writeln!(text, "### {title}\n");
    let _ = writeln!(text, "| keyword | default | meaning |\n|---|---|---|");
    for keyword in *keywords {
        let mark = match keyword.standing {
            Standing::Served => "",
            Standing::Ours => "*Ours.* ",
            Standing::Accepted => "*Accepted.* ",
            Standing::Unsupported => "*Not supported.* ",
            Standing::Lvs => "*Skipped.* ",
        };
        let syntax = match keyword.syntax {
            "" => String::new(),
            syntax => format!(" `{}`", syntax.replace('|', "\\|")),
        };
        let _ = writeln!(
            text,
            "| `{}`{syntax} | {} | {mark}{} |",
            keyword.name, keyword.default, keyword.meaning
        );
    }
    text.push('\n');
}

/// `xvrrp.conf(5)`, for `man`.
#[must_use]
pub fn keyword_manual() -> String {
    let mut page = Roff::new();
    page.control("TH", ["xvrrp.conf", "5", "", "xvrrp", "File formats"]);
    section(&mut page, "NAME");
    page.text([roman(
        "xvrrp.conf - the configuration of xvrrp, in the language of keepalived.conf",
    )]);
    section(&mut page, "DESCRIPTION");
    page.text([roman(
        "xvrrp reads /etc/xvrrp/xvrrp.conf, or /etc/keepalived/keepalived.conf where that is not there. A keyword \
         stands at the beginning of a line, what it takes behind it, a block in braces. `xvrrp check` says what is \
         wrong with a file, `xvrrp explain` what it does, `xvrrp explain --keyword` what a keyword means.",
    )]);
    for block in BLOCKS {
        section(&mut page, &block.name.to_uppercase());
        for keyword in block.keywords {
            page.control("TP", []);
            page.text([bold(keyword.name), roman(format!(" {}", keyword.syntax))]);
            let default = match keyword.default {
                "" => String::new(),
                default => format!(" [default: {default}]"),
            };
            let standing = match keyword.standing {
                Standing::Served => String::new(),
                _ => format!(" ({})", standing(keyword)),
            };
            page.text([roman(format!("{}{default}{standing}", keyword.meaning))]);
        }
    }
    section(&mut page, "SEE ALSO");
    page.text([
        bold("xvrrp"),
        roman("(8), "),
        bold("keepalived.conf"),
        roman("(5)"),
    ]);
    page.render()
}

fn section(page: &mut Roff, title: &str) {
    page.control("SH", [title]);
}
