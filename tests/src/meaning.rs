//! What a configuration means, in words that can be compared: as keepalived dumps it, and as xvrrp reads it.

mod ours;
mod theirs;

use std::collections::BTreeMap;

pub use ours::of_config;
pub use theirs::{dump, of_dump};

/// Named values of a thing.
pub type Fields = BTreeMap<&'static str, String>;

/// What a configuration means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    /// `global_defs`.
    pub global: Fields,
    /// Instances by name.
    pub instances: BTreeMap<String, Fields>,
    /// Scripts by name.
    pub scripts: BTreeMap<String, Fields>,
    /// Members of groups by name.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Static addresses, routes and rules.
    pub statics: Vec<String>,
}

impl Meaning {
    /// How many values there are.
    pub fn count(&self) -> usize {
        let fields = self.instances.values().chain(self.scripts.values());
        let fields: usize = fields.map(BTreeMap::len).sum();
        self.global.len() + fields + self.groups.len() + self.statics.len()
    }

    /// What differs, a line each.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("global_defs", &self.global, &other.global, &mut lines);
        for (kind, ours, theirs) in [
            ("instance", &self.instances, &other.instances),
            ("script", &self.scripts, &other.scripts),
        ] {
            let names = |map: &BTreeMap<String, Fields>| map.keys().cloned().collect::<Vec<_>>();
            if names(ours) != names(theirs) {
                lines.push(format!(
                    "{kind}s: {:?} and {:?}",
                    names(ours),
                    names(theirs)
                ));
            }
            for (name, fields) in ours {
                if let Some(others) = theirs.get(name) {
                    compare(&format!("{kind} {name}"), fields, others, &mut lines);
                }
            }
        }
        if self.groups != other.groups {
            lines.push(format!("groups: {:?} and {:?}", self.groups, other.groups));
        }
        if self.statics != other.statics {
            lines.push(format!(
                "statics: {:?} and {:?}",
                self.statics, other.statics
            ));
        }
        lines
    }
}

fn compare(what: &str, ours: &Fields, theirs: &Fields, lines: &mut Vec<String>) {
    for (name, value) in ours {
        let other = theirs.get(name);
        if other != Some(value) {
            lines.push(format!("{what}: {name}: {value:?} and {other:?}"));
        }
    }
    for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
        lines.push(format!("{what}: {name} is missing here"));
    }
}

/// A route or a rule in one way: words that always hold are left out, and the rest stands in one order.
fn in_order(words: &[(String, String)]) -> String {
    let mut words: Vec<String> = words
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    words.sort();
    words.join(" ")
}
