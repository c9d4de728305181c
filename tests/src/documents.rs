//! What the documents tell people to type. A test that walks a document takes each command from it, word for
//! word, and must have taken all of them in the end.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The root of the project.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The commands of a document, and which of them were taken.
pub struct Document {
    name: String,
    commands: BTreeMap<String, bool>,
}

impl Document {
    /// Reads the blocks of shell of a document, by its path in the project.
    pub fn open(name: &str) -> Self {
        let text = std::fs::read_to_string(project().join(name)).expect("a document");
        Self {
            name: name.to_owned(),
            commands: commands(&text).map(|line| (line, false)).collect(),
        }
    }

    /// A command that the document has.
    pub fn take<'c>(&mut self, command: &'c str) -> &'c str {
        let taken = self.commands.get_mut(command);
        *taken.unwrap_or_else(|| panic!("{} does not say: {command}", self.name)) = true;
        command
    }

    /// Fails where something was not taken.
    pub fn finish(self) {
        let left = self.commands.into_iter().filter(|(_, taken)| !taken);
        let left: Vec<String> = left.map(|(command, _)| command).collect();
        assert!(left.is_empty(), "{}: nobody has run {left:#?}", self.name);
    }
}

/// The lines of the blocks of shell, without what is said about them.
fn commands(text: &str) -> impl Iterator<Item = String> {
    let mut is_shell = false;
    text.lines().filter_map(move |line| {
        if line.starts_with("```") {
            is_shell = line == "```sh";
            return None;
        }
        let command = line.split(" #").next().unwrap_or_default().trim();
        (is_shell && !command.is_empty() && !command.starts_with('#')).then(|| command.to_owned())
    })
}

/// Every document that has commands.
pub fn all() -> Vec<String> {
    let docs = std::fs::read_dir(project().join("docs")).expect("the documents");
    let names = docs.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_text = |name: &String| Path::new(name).extension() == Some("md".as_ref());
    let docs = names.filter(is_text);
    let mut all: Vec<String> = docs.map(|name| format!("docs/{name}")).collect();
    all.extend(["README.md", "CONTRIBUTING.md"].map(str::to_owned));
    all.retain(|name| {
        let text = std::fs::read_to_string(project().join(name)).expect("a document");
        commands(&text).next().is_some()
    });
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_stands_in_blocks_of_shell() {
        let text =
            "a\n```sh\nxvrrp status   # all\n# only said\n\nsudo x && y\n```\n```\nno\n```\n";
        assert_eq!(
            commands(text).collect::<Vec<_>>(),
            ["xvrrp status", "sudo x && y"]
        );
    }
}
