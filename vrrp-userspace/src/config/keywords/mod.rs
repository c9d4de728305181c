//! Every keyword, by block: what it takes, what it means here, and what becomes of it. The reading of
//! configurations asks these tables, and `docs/configuration.md` is made of them.

mod global;
mod instance;
mod others;

use std::{collections::HashMap, sync::OnceLock};

pub(super) use global::{GLOBAL, ROOT};
pub(super) use instance::INSTANCE;
pub(super) use others::{
    ADDRESS, ARBITER, AUTHENTICATION, GARP_GROUP, GROUP, ROUTE, RULE, SCRIPT, TRACK, TRACK_FILE,
    TRACK_PROCESS, UNICAST_PEER,
};

/// A keyword.
#[derive(Debug)]
pub(super) struct Keyword {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) standing: Standing,
    /// What stands behind it.
    pub(super) syntax: &'static str,
    /// What holds without it.
    pub(super) default: &'static str,
    /// What it means, or why it means nothing.
    pub(super) meaning: &'static str,
}

/// What stands behind a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing.
    Nothing,
    /// `on`, `off` and their like, or nothing, which is `on`.
    Boolean,
    /// A value, which counts once.
    Value,
    /// A block, or values that add up.
    Many,
}

/// What becomes of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It means what it means to keepalived, or what its text says.
    Served,
    /// keepalived does not have it.
    Ours,
    /// Nothing has to be done for it: its text says why.
    Accepted,
    /// It is named as ignored.
    Unsupported,
    /// It belongs to load balancing, which another program does.
    Lvs,
}

const fn keyword(
    name: &'static str,
    takes: Takes,
    standing: Standing,
    syntax: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Keyword {
    Keyword {
        name,
        takes,
        standing,
        syntax,
        default,
        meaning,
    }
}

/// A block and its keywords.
pub(super) struct Block {
    pub(super) name: &'static str,
    pub(super) keywords: &'static [Keyword],
    by_name: OnceLock<HashMap<&'static str, &'static Keyword>>,
}

impl Block {
    const fn new(name: &'static str, keywords: &'static [Keyword]) -> Self {
        Self {
            name,
            keywords,
            by_name: OnceLock::new(),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&'static Keyword> {
        let all = self.keywords.iter();
        let by_name = self
            .by_name
            .get_or_init(|| all.map(|keyword| (keyword.name, keyword)).collect());
        by_name.get(name).copied()
    }

    /// The keyword that somebody may have meant.
    pub(super) fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.keywords.iter().map(|keyword| keyword.name))
    }
}

/// The word that somebody may have meant.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let with_distance = known.map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, nearest) = with_distance.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance < name.chars().count()).then_some(nearest)
}

/// Every block, in the order of the manual.
pub(super) static BLOCKS: [&Block; 15] = [
    &ROOT,
    &GLOBAL,
    &SCRIPT,
    &TRACK_FILE,
    &TRACK_PROCESS,
    &ARBITER,
    &INSTANCE,
    &AUTHENTICATION,
    &UNICAST_PEER,
    &TRACK,
    &ADDRESS,
    &ROUTE,
    &RULE,
    &GROUP,
    &GARP_GROUP,
];

/// The blocks that a keyword may stand in, with what it means there.
pub(super) fn find_everywhere(name: &str) -> Vec<(&'static str, &'static Keyword)> {
    let found = BLOCKS
        .iter()
        .filter_map(|block| Some((block.name, block.find(name)?)));
    found.collect()
}

/// Whether a block of this name stands outside all others.
pub(super) fn opens_root_block(name: &str) -> bool {
    let found = ROOT.find(name);
    let is_block = found.is_some_and(|keyword| keyword.syntax.contains('{'));
    is_block && INSTANCE.find(name).is_none()
}
