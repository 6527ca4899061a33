//! Reading the fields of a map, and the kinds of value that fields share.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use jeroboam_core::spec::LIST_MAX as ENTRIES_MAX;
use jeroboam_units::UnitError;

use super::faults::Found;
use super::nearest;
use super::tree::{At, Node, Value};

/// The fields of one map, unknown ones already refused.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    pub at: At,
    nodes: BTreeMap<&'n str, &'n Node>,
}

impl<'n> Fields<'n> {
    /// The fields of a node that must be a map with no other fields than `known`.
    pub(crate) fn of(
        node: &'n Node,
        what: &str,
        known: &[&str],
        found: &mut Found,
    ) -> Option<Self> {
        let Value::Map(fields) = &node.value else {
            let message = format!("{what} is a map of fields, this is {}", node.kind());
            found.say(
                node.at,
                message,
                format!("write fields such as `{}: ...`", known[0]),
            );
            return None;
        };
        let mut nodes = BTreeMap::new();
        for (key, node) in fields {
            if !known.contains(&key.name.as_str()) {
                let message = format!("unknown field `{}` in {what}", key.name);
                found.say(
                    key.at,
                    message,
                    nearest::remedy(&key.name, known.iter().copied()),
                );
            } else if !matches!(node.value, Value::Null) {
                nodes.insert(key.name.as_str(), node);
            }
        }
        Some(Self { at: node.at, nodes })
    }

    /// The field's value; one that was left empty counts as not there.
    pub(crate) fn take(&self, name: &str) -> Option<&'n Node> {
        self.nodes.get(name).copied()
    }
}

/// An amount with its unit, read exactly.
pub(crate) fn amount<T: FromStr<Err = UnitError>>(node: &Node, found: &mut Found) -> Option<T> {
    match node.text(found)?.parse() {
        Ok(amount) => Some(amount),
        Err(UnitError {
            quantity,
            written,
            problem,
            example,
        }) => {
            let what = format!("{written:?} is not {quantity}: {problem}");
            found.say(node.at, what, format!("write it like {example}"));
            None
        }
    }
}

/// A whole number from `min` to `max`.
pub(crate) fn integer<T>(node: &Node, min: T, max: T, found: &mut Found) -> Option<T>
where
    T: FromStr + PartialOrd + Display,
{
    let text = node.text(found)?;
    match text.parse() {
        Ok(number) if min <= number && number <= max => Some(number),
        _ => {
            let what = format!("{text:?} is not a whole number from {min} to {max}");
            found.say(
                node.at,
                what,
                "write the digits of such a number, without unit and spaces",
            );
            None
        }
    }
}

/// `true` or `false`.
pub(crate) fn truth(node: &Node, found: &mut Found) -> Option<bool> {
    choice(node, &[("true", true), ("false", false)], found)
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(node: &Node, words: &[(&str, T)], found: &mut Found) -> Option<T> {
    let text = node.text(found)?;
    let chosen = words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, choice)| *choice);
    if chosen.is_none() {
        let what = format!("`{text}` is none of the words that can stand here");
        found.say(
            node.at,
            what,
            nearest::remedy(&text, words.iter().map(|(word, _)| *word)),
        );
    }
    chosen
}

/// The elements of a list; a single value counts as a list of one.
pub(crate) fn elements<'n>(node: &'n Node, found: &mut Found) -> &'n [Node] {
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        Value::Null => &[],
        Value::Scalar { .. } | Value::Map(_) => std::slice::from_ref(node),
    };
    if nodes.len() > ENTRIES_MAX {
        let what = format!(
            "this list has {} entries, more than {ENTRIES_MAX}",
            nodes.len()
        );
        found.say(node.at, what, "make it shorter");
    }
    nodes
}

/// A list of texts; a single one counts as a list of one.
pub(crate) fn texts(node: &Node, found: &mut Found) -> Vec<String> {
    elements(node, found)
        .iter()
        .filter_map(|node| node.text(found))
        .collect()
}

/// A map from names to texts, added to `texts`.
pub(crate) fn text_map(
    node: &Node,
    what: &str,
    texts: &mut BTreeMap<String, String>,
    found: &mut Found,
) {
    let Value::Map(fields) = &node.value else {
        let message = format!(
            "{what} is a map of names and values, this is {}",
            node.kind()
        );
        found.say(node.at, message, "write `NAME: value`, one to a line");
        return;
    };
    for (key, node) in fields {
        let text = match node.value {
            Value::Null => Some(String::new()),
            _ => node.text(found),
        };
        texts.extend(text.map(|text| (key.name.clone(), text)));
    }
    if texts.len() > ENTRIES_MAX {
        let message = format!(
            "{what} has {} entries, more than {ENTRIES_MAX}",
            texts.len()
        );
        found.say(node.at, message, "make it shorter");
    }
}
