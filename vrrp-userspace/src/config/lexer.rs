//! A line to words: white space separates, `"` groups, braces stand for themselves. What runs as a
//! script may have `'` around it too, and the escapes of a shell.

use winnow::{
    LocatingSlice, ModalResult, Parser,
    combinator::{alt, delimited, dispatch, not, opt, peek, preceded, repeat, terminated},
    error::{ContextError, ErrMode},
    stream::{Location as _, Stream as _},
    token::{any, none_of, one_of, take_while},
};

use super::{
    language::Text,
    source::{Sources, Span},
};

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Span,
}

/// What a configuration is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lexeme {
    Word(Word),
    Open(Span),
    Close(Span),
    Newline,
    /// A quotation without an end on its line.
    Unterminated(Span),
}

type Input<'a> = LocatingSlice<&'a str>;

#[derive(Clone)]
enum Piece {
    Word(String),
    Open,
    Close,
    Unterminated,
    Nothing,
}

/// Keywords whose value is a command.
fn takes_command(keyword: &str) -> bool {
    matches!(keyword, "script" | "startup_script" | "shutdown_script")
        || keyword.starts_with("notify")
        || keyword.ends_with("_fifo_script")
}

/// Cuts a line without comment into words.
pub(super) fn lex(line: &Text, sources: &Sources, lexemes: &mut Vec<Lexeme>) {
    let mut input = LocatingSlice::new(line.as_str());
    let mut is_command = None;
    while !input.is_empty() {
        let start = input.current_token_start();
        // `piece` takes at least one character of any input; the loop ends.
        let Ok(piece) = piece(&mut input, is_command == Some(true)) else {
            break;
        };
        let range = start..input.previous_token_end();
        let span = || line.span(range, sources);
        match piece {
            Piece::Word(text) => {
                is_command = is_command.or_else(|| Some(takes_command(&text)));
                lexemes.push(Lexeme::Word(Word { text, span: span() }));
            }
            Piece::Open => {
                is_command = None;
                lexemes.push(Lexeme::Open(span()));
            }
            Piece::Close => {
                is_command = None;
                lexemes.push(Lexeme::Close(span()));
            }
            Piece::Unterminated => lexemes.push(Lexeme::Unterminated(span())),
            Piece::Nothing => {}
        }
    }
}

/// What separates words.
const BLANKS: [char; 6] = [' ', '\t', '\r', '\u{b}', '\u{c}', '\0'];

pub(super) fn is_blank(c: char) -> bool {
    BLANKS.contains(&c)
}

fn piece(input: &mut Input<'_>, is_command: bool) -> ModalResult<Piece> {
    if is_command {
        return command_piece(input);
    }
    let quotation = || ('"', take_while(0.., |_| true)).value(Piece::Unterminated);
    dispatch! {peek(any);
        '{' => any.value(Piece::Open),
        '}' => any.value(Piece::Close),
        '"' => alt((quoted.map(Piece::Word), quotation())),
        '\'' => alt((apostrophed, bare)).map(Piece::Word),
        c if is_blank(c) => take_while(1.., is_blank).value(Piece::Nothing),
        _ => bare.map(Piece::Word),
    }
    .parse_next(input)
}

/// `"…"`, in which only `\"` and `\\` are changed.
fn quoted(input: &mut Input<'_>) -> ModalResult<String> {
    let escaped = preceded('\\', one_of(['"', '\\']));
    delimited('"', text_of(alt((escaped, none_of('"')))), '"').parse_next(input)
}

/// `'…'`, taken as it is.
fn apostrophed(input: &mut Input<'_>) -> ModalResult<String> {
    delimited('\'', take_while(0.., |c| c != '\''), '\'')
        .map(str::to_owned)
        .parse_next(input)
}

/// A word without quotes. The braces of a name that stands for nothing are part of it.
fn bare(input: &mut Input<'_>) -> ModalResult<String> {
    let plain = || take_while(1.., |c| !matches!(c, '{' | '}' | '"' | '$') && !is_blank(c));
    // Most words have no `$`.
    let simple = terminated(plain(), not('$'));
    let mixed = repeat::<_, _, (), _, _>(1.., alt((plain(), name, "$"))).take();
    alt((simple, mixed)).map(str::to_owned).parse_next(input)
}

/// Longer ones stand for nothing.
pub(super) const MAX_NAME: usize = 256;

/// `${NAME}`.
fn name<'a>(input: &mut Input<'a>) -> ModalResult<&'a str> {
    ("${", take_while(0..=MAX_NAME, |c| c != '}'), '}')
        .take()
        .parse_next(input)
}

/// A piece of a line with a command.
fn command_piece(input: &mut Input<'_>) -> ModalResult<Piece> {
    let start = input.checkpoint();
    if let Some(piece) = opt(alt((
        one_of(BLANKS).value(Piece::Nothing),
        '{'.value(Piece::Open),
        '}'.value(Piece::Close),
    )))
    .parse_next(input)?
    {
        return Ok(piece);
    }
    if let Ok(text) = command_word(input) {
        return Ok(Piece::Word(text));
    }
    input.reset(&start);
    // Only a quotation that does not end keeps a word from being one.
    take_while(1.., |_| true)
        .value(Piece::Unterminated)
        .parse_next(input)
}

/// Quoted pieces and others side by side are one word (keepalived.conf(5), "Quoted strings").
fn command_word(input: &mut Input<'_>) -> ModalResult<String> {
    let within = |quote: char| delimited(quote, text_of(alt((escape, none_of(quote)))), quote);
    let plain = alt((escape, none_of((BLANKS, ['{', '}', '"', '\''])))).map(String::from);
    let word = repeat(
        1..,
        alt((within('"'), within('\''), name.map(str::to_owned), plain)),
    )
    .fold(String::new, |text, piece: String| text + &piece);
    terminated(word, not(one_of(['"', '\'']))).parse_next(input)
}

fn text_of<'a>(
    character: impl Parser<Input<'a>, char, ErrMode<ContextError>>,
) -> impl Parser<Input<'a>, String, ErrMode<ContextError>> {
    repeat(0.., character).fold(String::new, |mut text, c| {
        text.push(c);
        text
    })
}

/// `\n`, `\x41`, `\101`, `\cC` and their like; any other character stands for itself.
fn escape(input: &mut Input<'_>) -> ModalResult<char> {
    let hexadecimal = preceded('x', take_while(1..=2, |c: char| c.is_ascii_hexdigit()))
        .map(|digits| character(digits, 16));
    let octal = take_while(1..=3, '0'..='7').map(|digits| character(digits, 8));
    let control = preceded('c', any).map(|c: char| char::from(c.to_ascii_uppercase() as u8 & 0x1f));
    let named = alt((
        'a'.value('\u{7}'),
        'b'.value('\u{8}'),
        'E'.value('\u{1b}'),
        'f'.value('\u{c}'),
        'n'.value('\n'),
        'r'.value('\r'),
        't'.value('\t'),
        'v'.value('\u{b}'),
    ));
    preceded('\\', alt((hexadecimal, octal, control, named, any))).parse_next(input)
}

fn character(digits: &str, radix: u32) -> char {
    let code = u32::from_str_radix(digits, radix).unwrap_or_default();
    char::from(u8::try_from(code & 0xff).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let mut lexemes = Vec::new();
        lex(
            &Text::literal(line, 0, 0),
            &Sources::default(),
            &mut lexemes,
        );
        lexemes
            .into_iter()
            .map(|lexeme| match lexeme {
                Lexeme::Word(word) => word.text,
                Lexeme::Open(_) => "{".to_owned(),
                Lexeme::Close(_) => "}".to_owned(),
                Lexeme::Newline => "/".to_owned(),
                Lexeme::Unterminated(_) => "?".to_owned(),
            })
            .collect()
    }

    #[test]
    fn words_and_braces() {
        assert_eq!(words("a b{c}\r"), ["a", "b", "{", "c", "}"]);
        assert_eq!(words("name VI_${NUM} {"), ["name", "VI_${NUM}", "{"]);
    }

    #[test]
    fn quotes_group_and_protect() {
        assert_eq!(words(r#"label "a #b {c}" d"#), ["label", "a #b {c}", "d"]);
        assert_eq!(words(r#""say \"hi\" \n""#), [r#"say "hi" \n"#]);
        assert_eq!(words("a \"b c"), ["a", "?"]);
        assert_eq!(words(r#"a"b"c"#), ["a", "b", "c"]);
    }

    #[test]
    fn commands_are_quoted_as_in_a_shell() {
        assert_eq!(
            words(r#"script abcd" efg h jkl "mnop root"#),
            ["script", "abcd efg h jkl mnop", "root"]
        );
        assert_eq!(
            words(r#"notify "a 'b c' d" x y"#),
            ["notify", "a 'b c' d", "x", "y"]
        );
        assert_eq!(words(r"script '/bin/a b'"), ["script", "/bin/a b"]);
        assert_eq!(
            words(r#"script "\x41\102\t\cA\q\"""#),
            ["script", "AB\t\u{1}q\""]
        );
        assert_eq!(
            words(r#"x { script "a b" }"#),
            ["x", "{", "script", "a b", "}"]
        );
        assert_eq!(words("script \"a b"), ["script", "?"]);
        let long = format!("script {}\"", "a".repeat(100_000));
        assert_eq!(words(&long), ["script", "?"]);
    }

    #[test]
    fn spans_are_byte_ranges() {
        let mut lexemes = Vec::new();
        lex(
            &Text::literal("é \"b c\" d", 3, 10),
            &Sources::default(),
            &mut lexemes,
        );
        let ranges: Vec<_> = lexemes
            .iter()
            .map(|lexeme| match lexeme {
                Lexeme::Word(word) => (word.span.file, word.span.range),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ranges, [(3, (10, 12)), (3, (13, 18)), (3, (19, 20))]);
    }
}
