//! Text to words: whitespace separates, `"` groups, `#` and `!` start a comment, braces stand for
//! themselves.

use winnow::{
    LocatingSlice, ModalResult, Parser as _,
    combinator::{alt, delimited, preceded, repeat},
    stream::{Location as _, Stream as _},
    token::{any, none_of, one_of, take_while},
};

use super::source::Span;

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
    Newline,
    Unterminated,
    Nothing,
}

pub(super) fn lex(file: usize, text: &str) -> Vec<Lexeme> {
    let mut input = LocatingSlice::new(text);
    let mut lexemes = Vec::new();
    while !input.is_empty() {
        let start = input.current_token_start();
        // `piece` takes at least one character of any input; the loop ends.
        let Ok(piece) = piece(&mut input) else { break };
        let span = Span {
            file,
            range: start..input.previous_token_end(),
        };
        match piece {
            Piece::Word(text) => lexemes.push(Lexeme::Word(Word { text, span })),
            Piece::Open => lexemes.push(Lexeme::Open(span)),
            Piece::Close => lexemes.push(Lexeme::Close(span)),
            Piece::Newline => lexemes.push(Lexeme::Newline),
            Piece::Unterminated => lexemes.push(Lexeme::Unterminated(span)),
            Piece::Nothing => {}
        }
    }
    lexemes
}

fn piece(input: &mut Input<'_>) -> ModalResult<Piece> {
    alt((
        one_of([' ', '\t', '\r', '\u{b}', '\u{c}', '\0']).value(Piece::Nothing),
        '\n'.value(Piece::Newline),
        (one_of(['#', '!']), take_while(0.., |c| c != '\n')).value(Piece::Nothing),
        '{'.value(Piece::Open),
        '}'.value(Piece::Close),
        alt((quoted, apostrophed)).map(Piece::Word),
        ('"', take_while(0.., |c| c != '\n')).value(Piece::Unterminated),
        bare.map(Piece::Word),
        any.value(Piece::Nothing),
    ))
    .parse_next(input)
}

/// `"…"`, in which only `\"` and `\\` are changed: what else a script's quoting means is for
/// whoever runs it.
fn quoted(input: &mut Input<'_>) -> ModalResult<String> {
    let start = input.checkpoint();
    '"'.parse_next(input)?;
    let escaped = preceded('\\', one_of(['"', '\\']));
    let body =
        repeat(0.., alt((escaped, none_of(['"', '\n'])))).fold(String::new, |mut text, c| {
            text.push(c);
            text
        });
    let text = {
        let mut body = body;
        body.parse_next(input)?
    };
    let end: ModalResult<char> = '"'.parse_next(input);
    if end.is_err() {
        input.reset(&start);
        return Err(winnow::error::ErrMode::Backtrack(
            winnow::error::ContextError::new(),
        ));
    }
    Ok(text)
}

/// `'…'`, taken as it is.
fn apostrophed(input: &mut Input<'_>) -> ModalResult<String> {
    let body = take_while(0.., |c| c != '\'' && c != '\n');
    delimited('\'', body, '\'')
        .map(str::to_owned)
        .parse_next(input)
}

/// A word without quotes; `\#` and `\!` are those characters.
fn bare(input: &mut Input<'_>) -> ModalResult<String> {
    let escaped = preceded('\\', one_of(['#', '!']));
    let plain = none_of([
        ' ', '\t', '\r', '\n', '\u{b}', '\u{c}', '\0', '#', '!', '{', '}', '"',
    ]);
    repeat(1.., alt((escaped, plain)))
        .fold(String::new, |mut text, c| {
            text.push(c);
            text
        })
        .parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        lex(0, text)
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
    fn words_braces_and_comments() {
        assert_eq!(
            words("a b{c}#d\r\n!e\nf"),
            ["a", "b", "{", "c", "}", "/", "/", "f"]
        );
    }

    #[test]
    fn quotes_group_and_protect() {
        assert_eq!(words(r#"script "a #b {c}" d"#), ["script", "a #b {c}", "d"]);
        assert_eq!(words(r#""say \"hi\" \n""#), [r#"say "hi" \n"#]);
        assert_eq!(words(r"pass\#word"), ["pass#word"]);
        assert_eq!(words("a \"b c\nd"), ["a", "?", "/", "d"]);
    }

    #[test]
    fn spans_are_byte_ranges() {
        let lexemes = lex(3, "é \"b c\" d");
        let spans: Vec<_> = lexemes
            .iter()
            .map(|lexeme| match lexeme {
                Lexeme::Word(word) => word.span.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            spans[1],
            Span {
                file: 3,
                range: 3..8
            }
        );
        assert_eq!(
            spans[2],
            Span {
                file: 3,
                range: 9..10
            }
        );
    }
}
