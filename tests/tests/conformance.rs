//! docs/conformance.md is kept true: every rule once, every file and test that it names there, and no
//! rule without a test or a reason.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The last rule; 42 has a second one, `42b`.
const LAST: usize = 113;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of every rule.
fn rules() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/conformance.md")).expect("the document");
    let cells = |line: &str| {
        let inner = line.trim_matches('|');
        inner
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    text.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| # "))
        .map(cells)
        .collect()
}

/// The names of every test in the workspace: functions below `#[test]`.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for directory in ["tests/tests", "vrrp-common", "vrrp-userspace/src"] {
        collect(&root().join(directory), &mut found);
    }
    found
}

fn collect(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let after_marks = text.split("#[test]").skip(1);
            found.extend(after_marks.filter_map(|rest| {
                let name = rest.split("fn ").nth(1)?.split('(').next()?;
                Some(name.to_owned())
            }));
        }
    }
}

#[test]
fn the_conformance_table_is_whole_and_names_what_exists() {
    let rules = rules();
    let numbers: Vec<&str> = rules.iter().map(|cells| cells[0].as_str()).collect();
    let mut expected: Vec<String> = (1..=LAST).map(|number| number.to_string()).collect();
    expected.insert(42, "42b".to_owned());
    assert_eq!(numbers, expected, "every rule once, in order");
    let known = tests();
    for cells in &rules {
        let [number, _, _, places, named, otherwise] = &cells[..] else {
            panic!("{cells:?}: six cells");
        };
        let named: Vec<&str> = named
            .split_whitespace()
            .map(|it| it.trim_matches('`'))
            .collect();
        for test in &named {
            assert!(
                known.contains(*test),
                "rule {number}: there is no test {test}"
            );
        }
        for place in places.split_whitespace() {
            let file = place
                .split_once("](../")
                .map(|(_, rest)| rest.trim_end_matches(')'));
            let file = file.unwrap_or_else(|| panic!("rule {number}: {place} is no link"));
            assert!(
                root().join(file).exists(),
                "rule {number}: there is no {file}"
            );
        }
        assert!(
            !named.is_empty() || !otherwise.is_empty(),
            "rule {number} has neither a test nor a reason"
        );
    }
    let shown = rules.iter().filter(|cells| !cells[4].is_empty()).count();
    println!("{} rules, {shown} with tests", rules.len());
}
