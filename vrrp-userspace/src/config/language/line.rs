//! Lines as they stand in a file: where they begin, what is comment, and what goes on.

use super::text::Text;

/// The lines of a text, each with where it begins.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let at = start;
        start += line.len();
        (at, line.trim_end_matches(['\n', '\r']).to_owned())
    })
}

/// A line without comment and white space around it. `#` and `!` start one, except between `"` and
/// behind a backslash, which goes.
pub(super) fn without_comment(line: &str, file: usize, start: usize) -> Text {
    let whole = Text::literal(line, file, start);
    let mut text = Text::default();
    let mut from = 0;
    let mut quoted = false;
    let mut escaped = false;
    let mut end = line.len();
    for (at, c) in line.char_indices() {
        match c {
            '#' | '!' if escaped && !quoted => {
                text.push(&whole, from..at - 1);
                from = at;
            }
            '#' | '!' if !quoted => {
                end = at;
                break;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    if from == 0 {
        return whole.slice(0..end).trimmed();
    }
    text.push(&whole, from..end);
    text.trimmed()
}

/// A line of a definition without the `\` at its end, and whether it had one.
pub(super) fn continued(line: Text) -> (Text, bool) {
    match line.as_str().strip_suffix('\\') {
        Some(rest) => {
            let length = rest.len();
            (line.slice(0..length).trimmed(), true)
        }
        None => (line, false),
    }
}
