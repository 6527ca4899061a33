//! The file as a tree of values that know where they stand.
//!
//! A scalar without quotes keeps its text as it was written, so that `1.10`
//! stays `1.10` and an amount is read exactly, whatever YAML takes it for.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::faults::{Fault, Found};

/// A place in the file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub line: u32,
    pub column: u32,
}

/// A value and its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub at: At,
    pub value: Value,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    /// Text in quotes or not; `quoted` is false for what YAML takes for a
    /// number or a truth value.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// The name of a field and its place.
#[derive(Debug)]
pub(crate) struct Key {
    pub at: At,
    pub name: String,
}

/// Values of one file, at most.
const NODES_MAX: usize = 2_000_000;

/// What aliases repeat, in values and the signs around them, at most: each costs as if it were written out.
const REPEATED_MAX: usize = 20_000;

/// Reads the only document of the text.
pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPEATED_MAX,
        },
    };
    serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options)
        .map(|raw| node(raw, text))
        .map_err(|error| fault(&error))
}

fn fault(error: &serde_saphyr::Error) -> Fault {
    use serde_saphyr::Error;
    let at = error.location().map_or(At { line: 1, column: 1 }, at);
    let told = match error.without_snippet() {
        Error::AliasError { error, .. } => error.without_snippet(),
        other => other,
    };
    let (what, remedy) = match told {
        Error::DuplicateMappingKey { key: Some(key), .. } => (
            format!("the field `{key}` stands here twice"),
            "keep one of the two",
        ),
        Error::MultipleDocuments { .. } => (
            "a second document starts here".to_owned(),
            "write one batch per file",
        ),
        Error::AliasReplayLimitExceeded { .. } => (
            "aliases (`*NAME`) repeat too much of the file".to_owned(),
            "write what is shared under `defaults`, or arrays (`count: N`) instead of many jobs",
        ),
        Error::Budget { .. } => (
            plain(error),
            "write arrays (`count: N`) instead of many jobs",
        ),
        _ => (
            format!("this is not YAML: {}", plain(error)),
            "correct it here or just above",
        ),
    };
    Fault {
        at,
        what,
        remedy: remedy.to_owned(),
    }
}

/// The error's text without its place, which is told apart.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let place = error
        .location()
        .map(|at| format!(" at line {}, column {}", at.line(), at.column()));
    match place.and_then(|place| text.strip_suffix(&place).map(str::to_owned)) {
        Some(text) => text,
        None => text,
    }
}

fn at(location: Location) -> At {
    let bounded = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    At {
        line: bounded(location.line()),
        column: bounded(location.column()),
    }
}

fn node(raw: Spanned<Raw>, source: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Quoted(text) => Value::Scalar { text, quoted: true },
        Raw::Bare(read) => {
            let text = written(&raw.defined, source).unwrap_or(read);
            Value::Scalar {
                text,
                quoted: false,
            }
        }
        Raw::List(nodes) => Value::List(nodes.into_iter().map(|raw| node(raw, source)).collect()),
        Raw::Map(fields) => {
            let field = |(key, raw): (Spanned<String>, _)| {
                (
                    Key {
                        at: at(key.referenced),
                        name: key.value,
                    },
                    node(raw, source),
                )
            };
            Value::Map(fields.into_iter().map(field).collect())
        }
    };
    Node {
        at: at(raw.referenced),
        value,
    }
}

fn written(location: &Location, source: &str) -> Option<String> {
    let span = location.span();
    let first = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    Some(source.get(first..first.checked_add(length)?)?.to_owned())
}

/// What the YAML reader hands over.
enum Raw {
    Null,
    Bare(String),
    Quoted(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, read: bool) -> Result<Raw, E> {
        Ok(Raw::Bare(read.to_string()))
    }

    fn visit_i64<E>(self, read: i64) -> Result<Raw, E> {
        Ok(Raw::Bare(read.to_string()))
    }

    fn visit_u64<E>(self, read: u64) -> Result<Raw, E> {
        Ok(Raw::Bare(read.to_string()))
    }

    fn visit_i128<E>(self, read: i128) -> Result<Raw, E> {
        Ok(Raw::Bare(read.to_string()))
    }

    fn visit_u128<E>(self, read: u128) -> Result<Raw, E> {
        Ok(Raw::Bare(read.to_string()))
    }

    fn visit_f64<E>(self, read: f64) -> Result<Raw, E> {
        Ok(Raw::Bare(read.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Quoted(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Raw::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Raw::Map(fields))
    }
}

impl Node {
    /// What this is, for saying that something else was expected.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { quoted: true, .. } => "a text",
            Value::Scalar { quoted: false, .. } => "a number or a truth value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The scalar as it was written.
    pub(crate) fn text(&self, found: &mut Found) -> Option<String> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => {
                let what = format!("a single value was expected, this is {}", self.kind());
                found.say(
                    self.at,
                    what,
                    "write one value, in quotes where it has special signs",
                );
                None
            }
        }
    }
}
