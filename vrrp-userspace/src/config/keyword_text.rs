//! What is said of keywords: for `xvrrp explain --keyword`, and for `docs/configuration.md`.

use std::fmt::Write as _;

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
