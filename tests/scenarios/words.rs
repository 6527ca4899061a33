//! One line of a story, cut into words, `key=value` options and text in quotes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;

use jeroboam_core::resources::{CPU, DISK, GPU, MEMORY, Resources};
use jeroboam_core::world::World;
use jeroboam_units::{Bytes, Cores, Span};

/// A line: its plain words in order, and its options.
#[derive(Debug)]
pub struct Words<'l> {
    place: String,
    words: Vec<&'l str>,
    options: BTreeMap<&'l str, &'l str>,
}

impl<'l> Words<'l> {
    /// Cuts a line; `place` is told in every complaint.
    pub fn cut(line: &'l str, place: String) -> Self {
        let (mut words, mut options) = (Vec::new(), BTreeMap::new());
        for part in parts(line) {
            match part.split_once('=') {
                Some((key, value)) => {
                    options.insert(key, value.trim_matches('"'));
                }
                None => words.push(part.trim_matches('"')),
            }
        }
        Words {
            place,
            words,
            options,
        }
    }

    /// The word at a position.
    pub fn word(&self, position: usize) -> &'l str {
        match self.words.get(position) {
            Some(word) => word,
            None => self.fail("a word is missing"),
        }
    }

    /// The words from a position on.
    pub fn from(&self, position: usize) -> &[&'l str] {
        self.words.get(position..).unwrap_or_default()
    }

    /// True if the word stands somewhere after the first.
    pub fn has(&self, word: &str) -> bool {
        self.from(1).contains(&word)
    }

    /// An option, if it is there.
    pub fn option(&self, key: &str) -> Option<&'l str> {
        self.options.get(key).copied()
    }

    /// All options.
    pub fn options(&self) -> impl Iterator<Item = (&'l str, &'l str)> + '_ {
        self.options.iter().map(|(key, value)| (*key, *value))
    }

    /// An option, or what stands for it.
    pub fn or(&self, key: &str, default: &'l str) -> &'l str {
        self.option(key).unwrap_or(default)
    }

    /// The entries of an option that is a list.
    pub fn list(&self, key: &str) -> Vec<&'l str> {
        self.option(key)
            .map(|list| list.split(',').collect())
            .unwrap_or_default()
    }

    /// `key:value` pairs of an option.
    pub fn pairs(&self, key: &str) -> Vec<(String, String)> {
        let pair = |entry: &&str| {
            let (key, value) = entry.split_once(':').unwrap_or((entry, ""));
            (key.to_string(), value.to_string())
        };
        self.list(key).iter().map(pair).collect()
    }

    /// A number or amount.
    pub fn parse<T: FromStr<Err: Debug>>(&self, text: &str) -> T {
        match text.parse() {
            Ok(value) => value,
            Err(error) => self.fail(&format!("`{text}`: {error:?}")),
        }
    }

    /// A span of time in milliseconds.
    pub fn span_ms(&self, text: &str) -> i64 {
        self.parse::<Span>(text).0
    }

    /// The amounts among the options; named ones by the World's policy.
    pub fn resources(&self, world: &World) -> Resources {
        let mut amounts = Resources::ZERO;
        for (key, text) in self.options() {
            match key {
                "cpu" => amounts[CPU] = self.parse::<Cores>(text).0,
                "memory" => amounts[MEMORY] = self.parse::<Bytes>(text).mib_ceil(),
                "disk" => amounts[DISK] = self.parse::<Bytes>(text).mib_ceil(),
                "gpu" => amounts[GPU] = self.parse(text),
                name => {
                    if let Some(dimension) = world.policy().extended_dimension(name) {
                        amounts[dimension] = self.parse(text);
                    }
                }
            }
        }
        amounts
    }

    /// The amounts of an option such as `guarantee=cpu:4,gpu:2`, by dimension.
    pub fn amounts(&self, key: &str, world: &World) -> Option<Vec<(usize, i64)>> {
        self.option(key)?;
        let amount = |(name, text): (String, String)| match name.as_str() {
            "cpu" => (CPU, self.parse::<Cores>(&text).0),
            "memory" => (MEMORY, self.parse::<Bytes>(&text).mib_ceil()),
            "disk" => (DISK, self.parse::<Bytes>(&text).mib_ceil()),
            "gpu" => (GPU, self.parse(&text)),
            name => match world.policy().extended_dimension(name) {
                Some(dimension) => (dimension, self.parse(&text)),
                None => self.fail(&format!("{key}: there is no resource `{name}`")),
            },
        };
        let pairs = self.pairs(key).into_iter();
        Some(
            pairs
                .filter(|(name, _)| !name.is_empty())
                .map(amount)
                .collect(),
        )
    }

    /// Gives up on the story.
    pub fn fail(&self, what: &str) -> ! {
        panic!("{}: {what}", self.place)
    }
}

/// Parts between blanks, blanks in quotes apart.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c == ' ' && !quoted
    })
    .filter(|part| !part.is_empty())
}
