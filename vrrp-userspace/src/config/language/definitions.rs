//! `$NAME=VALUE`, and what `$NAME` and `${NAME}` stand for (keepalived.conf(5), "Parameter
//! substitution"): looked up where they are used, and again in what they stand for.

use std::{collections::HashMap, path::Path, sync::Arc};

use fastrand::Rng;

use super::{Limits, text::Text};
use crate::config::{
    lexer::MAX_NAME,
    source::{Sources, Span},
};

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Text that stands in a file: one line, or several (`\` at the end of each but the last).
    Written(Arc<[Text]>),
    /// A value of a repetition, which stands nowhere.
    Counted(Arc<str>),
}

impl Value {
    /// Its bytes.
    fn len(&self) -> usize {
        match self {
            Self::Written(lines) => lines.iter().map(|line| line.as_str().len()).sum(),
            Self::Counted(text) => text.len(),
        }
    }
}

/// Every definition, and those that are always there.
#[derive(Debug)]
pub(super) struct Definitions {
    by_name: HashMap<String, Value>,
    config_id: String,
    random: Rng,
}

/// What replacing the first name of a line came to.
pub(super) enum Replaced {
    /// There is none.
    Nothing(Text),
    /// The line, or the lines it became.
    Lines(Vec<Text>),
    /// Names stand for each other without end.
    Endless(Span),
    /// What they stand for is more than there is room for.
    TooMuch(Span),
}

/// What noting an expansion takes.
const EXPANSION: usize = 64;
/// How deep definitions may refer to each other, repetitions included.
pub(super) const MAX_DEPTH: usize = 64;

impl Definitions {
    pub(super) fn new(config_id: &str) -> Self {
        Self {
            by_name: HashMap::new(),
            config_id: config_id.to_owned(),
            random: Rng::new(),
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.by_name.insert(name.to_owned(), value);
    }

    /// `random_seed N`.
    pub(super) fn seed(&mut self, seed: u64) {
        self.random = Rng::with_seed(seed);
    }

    /// Replaces every name on a line that stands for something; the first that stands for several
    /// lines ends it, for the rest is looked at when its turn comes.
    pub(super) fn replace(
        &mut self,
        line: Text,
        directory: &Path,
        sources: &mut Sources,
        left: &mut Limits,
    ) -> Replaced {
        let mut done = Text::default();
        let mut rest = line;
        let mut from = 0;
        let mut any = false;
        loop {
            let Some(found) = self.find(rest.as_str(), from) else {
                if !any {
                    return Replaced::Nothing(rest);
                }
                done.push(&rest, from..rest.as_str().len());
                return Replaced::Lines(vec![done]);
            };
            any = true;
            let Found { start, end, name } = found;
            let at = rest.span(start..end, sources);
            if sources.depth(at.via) >= MAX_DEPTH {
                return Replaced::Endless(at);
            }
            done.push(&rest, from..start);
            let value = self.value(&name, directory);
            let Some(bytes) = left
                .bytes
                .checked_sub(EXPANSION + value.len() + rest.as_str().len() - end)
            else {
                left.bytes = 0;
                return Replaced::TooMuch(at);
            };
            left.bytes = bytes;
            match value {
                Value::Counted(value) => {
                    done.push_value(&value, at);
                    from = end;
                }
                Value::Written(lines) => {
                    let via = sources.expand(format!("${}", name.text()).into(), at);
                    let after = rest.slice(end..rest.as_str().len());
                    let mut lines = lines.iter().map(|line| line.by(via));
                    let mut value = lines.next().unwrap_or_default();
                    let more: Vec<Text> = lines.collect();
                    if !more.is_empty() {
                        done.push_all(&value);
                        return Replaced::Lines(join(done, more, &after));
                    }
                    // It may hold names itself, also such as are whole only together with what follows.
                    value.push_all(&after);
                    rest = value;
                    from = 0;
                }
            }
        }
    }

    /// The first name from there on that stands for something.
    fn find(&self, text: &str, mut from: usize) -> Option<Found> {
        while let Some(offset) = text.get(from..)?.find('$') {
            let start = from + offset;
            from = start + 1;
            let after = text.get(from..)?;
            let (name, end) = if let Some(braced) = after.strip_prefix('{') {
                let mut near = braced.bytes().take(MAX_NAME);
                let Some(length) = near.position(|byte| byte == b'}') else {
                    continue;
                };
                (braced.get(..length)?, from + length + 2)
            } else {
                let length = after.find(|c| !is_of_name(c)).unwrap_or(after.len());
                let follows = after.get(length..)?.chars().next();
                if !follows.is_none_or(char::is_whitespace) {
                    continue;
                }
                (after.get(..length)?, from + length)
            };
            if let Some(name) = self.name(name) {
                return Some(Found { start, end, name });
            }
        }
        None
    }

    fn name(&self, text: &str) -> Option<Name> {
        if self.by_name.contains_key(text) {
            return Some(Name::Defined(text.to_owned()));
        }
        let mut words = text.split_whitespace();
        let name = words.next()?;
        let mut number = || match words.next() {
            None => Some(None),
            Some(word) => word.parse::<u32>().ok().map(Some),
        };
        match name {
            "_PWD" | "_INSTANCE" | "_HASH" | "_BANG" if text == name => {
                Some(Name::Given(name.to_owned()))
            }
            "_RANDOM" => {
                let (min, max) = (number()?.unwrap_or(0), number()?.unwrap_or(32767));
                (min <= max).then_some(Name::Random(min, max))
            }
            "_ENV" => Some(Name::Environment(words.next()?.to_owned())),
            _ => None,
        }
    }

    fn value(&mut self, name: &Name, directory: &Path) -> Value {
        let text = match name {
            Name::Defined(name) => {
                let value = self.by_name.get(name).cloned();
                return value.unwrap_or_else(|| Value::Counted("".into()));
            }
            Name::Given(name) => match name.as_str() {
                "_PWD" => directory.display().to_string(),
                "_INSTANCE" => self.config_id.clone(),
                "_HASH" => "#".to_owned(),
                _ => "!".to_owned(),
            },
            Name::Random(min, max) => self.random.u32(*min..=*max).to_string(),
            Name::Environment(name) => std::env::var(name).unwrap_or_default(),
        };
        Value::Counted(text.into())
    }
}

struct Found {
    start: usize,
    end: usize,
    name: Name,
}

enum Name {
    Defined(String),
    /// `_PWD`, `_INSTANCE`, `_HASH`, `_BANG`.
    Given(String),
    Random(u32, u32),
    Environment(String),
}

impl Name {
    fn text(&self) -> &str {
        match self {
            Self::Defined(name) | Self::Given(name) => name,
            Self::Random(..) => "_RANDOM",
            Self::Environment(_) => "_ENV",
        }
    }
}

/// The lines of a value, with what stood before and behind the name that stands for it.
fn join(first: Text, more: Vec<Text>, after: &Text) -> Vec<Text> {
    let mut lines = vec![first];
    lines.extend(more);
    if let Some(last) = lines.last_mut() {
        last.push_all(after);
    }
    lines
}

pub(super) fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `$NAME=` at the start of a line: the name, and where its value begins.
pub(super) fn defines(line: &str) -> Option<(&str, usize)> {
    let after = line.strip_prefix('$')?;
    let length = after.find(|c| !is_of_name(c))?;
    let name = after.get(..length)?;
    let starts_well = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    let is_definition = after.get(length..)?.starts_with('=');
    (starts_well && is_definition).then_some((name, length + 2))
}
