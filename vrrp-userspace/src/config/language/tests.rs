//! What comes out of the language, and where it is said to stand.

use std::path::Path;

use super::*;
use crate::config::lexer::Word;

struct Out {
    words: Vec<Word>,
    lines: Vec<String>,
    sources: Sources,
    problems: Vec<String>,
}

fn read_with(limits: Limits, text: &str) -> Out {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    let reader = Reader {
        config_id: "main".to_owned(),
        limits,
        needs_every_file: false,
    };
    let path = Path::new("/etc/x/a.conf");
    let lexemes = read(
        &reader,
        path,
        text.to_owned(),
        &mut sources,
        &mut diagnostics,
    );
    let mut lines = vec![String::new()];
    let mut words = Vec::new();
    for lexeme in lexemes {
        let shown = match lexeme {
            Lexeme::Word(word) => {
                words.push(word.clone());
                word.text
            }
            Lexeme::Open(_) => "{".to_owned(),
            Lexeme::Close(_) => "}".to_owned(),
            Lexeme::Unterminated(_) => "?".to_owned(),
            Lexeme::Newline => {
                lines.push(String::new());
                continue;
            }
        };
        let line = lines.last_mut().expect("there is one");
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&shown);
    }
    lines.retain(|line| !line.is_empty());
    let problems = diagnostics
        .lines(&sources)
        .into_iter()
        .map(|(_, line)| line);
    Out {
        words,
        lines,
        problems: problems.collect(),
        sources,
    }
}

fn read_text(text: &str) -> Out {
    read_with(Limits::default(), text)
}

fn lines_of(text: &str) -> Vec<String> {
    let out = read_text(text);
    assert_eq!(out.problems, Vec::<String>::new(), "{text}");
    out.lines
}

/// Where a word is said to stand, and by way of what.
fn place(out: &Out, word: &str) -> (String, Vec<String>) {
    let found = out
        .words
        .iter()
        .find(|it| it.text == word)
        .expect("the word");
    let source = out.sources.get(found.span.file).expect("its file");
    let trail = out.sources.trail(&found.span);
    let trail = trail.map(|it| format!("{} at {}", it.what, out.sources.locate(&it.at)));
    (source.text[found.span.bytes()].to_owned(), trail.collect())
}

#[test]
fn comments_and_their_escapes() {
    assert_eq!(
        lines_of("a # b\n! c\nd \"e # f\" g\\#h i\\!j !k\r\n  \nl\\\\ m"),
        ["a", "d e # f g#h i!j", "l\\\\ m"]
    );
}

#[test]
fn conditions_choose_lines() {
    assert_eq!(
        lines_of(
            "@main a\n@backup b\n@^main c\n@^backup d\n@main @^backup e\n@main @backup f\n@main"
        ),
        ["a", "d", "e"]
    );
    assert_eq!(lines_of("$IF=@main\n$IF x\n$NO=@other\n$NO y"), ["x"]);
}

#[test]
fn definitions_are_looked_up_where_they_are_used() {
    assert_eq!(
        lines_of(
            "$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.100/32\n$SUB=10\n${BASE}.100/32\n$E=\nx${E}y $SUB z$SUB.\n"
        ),
        ["10.2.0.100/32", "10.2.10.100/32", "xy 10 z$SUB."]
    );
    assert_eq!(
        lines_of("a ${UNDEFINED} b{$X }"),
        ["a ${UNDEFINED} b { $X }"]
    );
    assert_eq!(
        lines_of("@main $P=240\n@backup $P=200\npriority $P"),
        ["priority 240"]
    );
    assert_eq!(
        lines_of("x ${_PWD}/y ${_INSTANCE} a${_HASH}b${_BANG}"),
        ["x /etc/x/y main a#b!"]
    );
}

#[test]
fn definitions_of_several_lines_are_templates() {
    let text = "$I= \\\n vrrp VI_${NUM} { \\\n\n # told\n @main p 1 \\\n @other p 2 \\\n $D=5 \\\n d $D \\\n}\n\
                $NUM=0\n$I\n$NUM=1\n$I\n";
    assert_eq!(
        lines_of(text),
        [
            "vrrp VI_0 {",
            "p 1",
            "d 5",
            "}",
            "vrrp VI_1 {",
            "p 1",
            "d 5",
            "}"
        ]
    );
}

#[test]
fn templates_hold_templates() {
    let text = "$R= \\\nr ${V}.${N} { \\\n }\n$S= \\\ns ${V} { \\\n $N=1 \\\n $R \\\n $N=2 \\\n $R \\\n }\n$V=7\n$S";
    assert_eq!(
        lines_of(text),
        ["s 7 {", "r 7.1 {", "}", "r 7.2 {", "}", "}"]
    );
}

#[test]
fn repetitions_nest() {
    assert_eq!(
        lines_of("~SEQ(A,0,1) ~LST({B,C},{x,1},{y,2}) w ${A}.$B ${C}"),
        ["w 0.$B 1", "w 0.$B 2", "w 1.$B 1", "w 1.$B 2"]
            .map(|line| line.replace("$B", if line.ends_with('1') { "x" } else { "y" }))
    );
    assert_eq!(lines_of("$N=2\n~SEQ(A,1,${N}) w $A"), ["w 1", "w 2"]);
    assert_eq!(
        lines_of("$T= \\\n a ${K} \\\n b\n~SEQ(K,1,2) $T"),
        ["a 1", "b", "a 2", "b"]
    );
}

#[test]
fn random_numbers_can_be_repeated() {
    let text = "random_seed 7\nx ${_RANDOM 5 6} ${_RANDOM} ${_RANDOM 9 1}";
    let one = lines_of(text);
    assert_eq!(one, lines_of(text));
    assert!(one[1].ends_with(" ${_RANDOM 9 1}"), "{one:?}");
    assert!(
        one[1].starts_with("x 5 ") || one[1].starts_with("x 6 "),
        "{one:?}"
    );
}

#[test]
fn words_stand_where_somebody_wrote_them() {
    let out = read_text("$P=300\n$T= \\\n a ${P} \\\n VI_${N} lit\n~SEQ(N,7,8) $T\n");
    assert_eq!(
        place(&out, "300"),
        (
            "300".to_owned(),
            vec![
                "$P at /etc/x/a.conf:3:4".to_owned(),
                "$T at /etc/x/a.conf:5:13".to_owned(),
                "N=7 at /etc/x/a.conf:5:1".to_owned()
            ]
        )
    );
    let by = |round: &str| vec!["$T at /etc/x/a.conf:5:13".to_owned(), round.to_owned()];
    assert_eq!(
        place(&out, "VI_8"),
        ("VI_${N}".to_owned(), by("N=8 at /etc/x/a.conf:5:1"))
    );
    assert_eq!(
        place(&out, "lit"),
        ("lit".to_owned(), by("N=7 at /etc/x/a.conf:5:1"))
    );
}

#[test]
fn mistakes_are_said_and_end() {
    let endless = read_text("$A=${B}\n$B=x ${A}\ny $A\nz");
    assert_eq!(endless.lines, ["z"]);
    assert!(
        endless.problems[0].contains("stand for each other"),
        "{:?}",
        endless.problems
    );
    let of_lines = read_text("$A= \\\n b \\\n $A\n$A\nz");
    assert!(
        of_lines.problems[0].contains("stand for each other"),
        "{:?}",
        of_lines.problems
    );
    let open = read_text("a\n$A= \\\n b \\\n");
    assert!(
        open.problems[0].contains("never ends"),
        "{:?}",
        open.problems
    );
    let sequence = read_text("~SEQ(A,1,0,2) x\ny");
    assert_eq!(sequence.lines, ["y"]);
    assert!(
        sequence.problems[0].contains("a.conf:1:1"),
        "{:?}",
        sequence.problems
    );
    let doubling: Vec<String> = (0..30)
        .map(|n| format!("$A{n}=${{A{m}}}${{A{m}}}\n", m = n + 1))
        .collect();
    let doubling = doubling.concat();
    let bomb = read_text(&format!("{doubling}$A30=x\ny $A0\nz"));
    assert!(
        bomb.problems[0].contains("too large"),
        "{:?}",
        bomb.problems
    );
    let nested = read_text(&format!("{} x\ny", "~SEQ(A,1,1) ".repeat(5000)));
    assert_eq!(nested.lines, ["y"]);
    assert!(
        nested.problems[0].contains("too deeply"),
        "{:?}",
        nested.problems
    );
    let few = Limits {
        lines: 1000,
        bytes: 1 << 20,
    };
    let many = read_with(few, "~SEQ(A,1,2000000000) ~SEQ(B,1,2000000000) x\ny");
    assert!(many.lines.len() < 1000);
    assert!(
        many.problems[0].contains("too large"),
        "{:?}",
        many.problems
    );
    assert_eq!(many.problems.len(), 1);
}
