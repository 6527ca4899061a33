//! The file that was read, kept to show what a scheduler's refusal is about.
//!
//! A refusal names a place of the request, `jobs[2].resources.memory`, which is
//! built as the file is. Entry point: [`Source::spot`].

use std::fmt;
use std::path::PathBuf;

use super::faults::{Quote, line_of};
use super::tree::{At, Node, Value};

/// A batch file and what stands where in it.
#[derive(Debug)]
pub struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) root: Node,
    /// The command line names the queue instead.
    pub(super) queue_given: bool,
}

/// A place in a batch file. Its text is the place and, below it, the line.
#[derive(Debug)]
pub struct Spot {
    path: PathBuf,
    at: At,
    line: String,
}

impl Source {
    /// Where the file says what stands at this place of the request: the value
    /// itself, its default, or what is nearest around it. None if the file has
    /// nothing of it.
    pub fn spot(&self, place: &str) -> Option<Spot> {
        // What follows a blank says more about the place: `jobs[0].walltime (ms)`.
        let place = place.split(' ').next().unwrap_or_default();
        let steps: Vec<&str> = place
            .split(['.', '['])
            .map(|step| step.trim_end_matches(']'))
            .collect();
        if steps == ["queue"] && self.queue_given {
            return None;
        }
        let (passed, node) = descend(&self.root, &steps);
        // Past `jobs` and the index, the defaults may lead further than the job.
        let (_, defaults) = descend(&self.root, &["defaults"]);
        let (defaulted, default) = descend(defaults, steps.get(2..).unwrap_or_default());
        let node = match passed {
            0 => return None,
            _ if passed >= 2 && defaulted > passed - 2 => default,
            _ => node,
        };
        Some(self.at(node.at))
    }

    /// Where the file first names a site so.
    pub fn site_spot(&self, name: &str) -> Option<Spot> {
        let (_, jobs) = descend(&self.root, &["jobs"]);
        let jobs = match &jobs.value {
            Value::List(jobs) => jobs.as_slice(),
            _ => &[],
        };
        let (passed, defaults) = descend(&self.root, &["defaults"]);
        let defaults = (passed == 1).then_some(defaults);
        let lists = defaults.into_iter().chain(jobs).flat_map(|job| {
            ["sites", "sites_excluded"].map(|field| match descend(job, &[field]) {
                (1, list) => Some(list),
                _ => None,
            })
        });
        let names = lists.flatten().flat_map(|list| match &list.value {
            Value::List(names) => names.as_slice(),
            _ => std::slice::from_ref(list),
        });
        let is_meant =
            |node: &&Node| matches!(&node.value, Value::Scalar { text, .. } if text == name);
        Some(self.at({ names }.find(is_meant)?.at))
    }

    fn at(&self, at: At) -> Spot {
        Spot {
            path: self.path.clone(),
            at,
            line: line_of(&self.text, at),
        }
    }
}

/// Follows the steps as far as they lead; how many those were, and where to.
fn descend<'n>(root: &'n Node, steps: &[&str]) -> (usize, &'n Node) {
    let mut node = root;
    for (passed, step) in steps.iter().enumerate() {
        let next = match &node.value {
            Value::Map(fields) => fields
                .iter()
                .find(|(key, _)| key.name == *step)
                .map(|(_, node)| node),
            Value::List(nodes) => step
                .parse::<usize>()
                .ok()
                .and_then(|index| nodes.get(index)),
            Value::Null | Value::Scalar { .. } => None,
        };
        match next {
            Some(next) => node = next,
            None => return (passed, node),
        }
    }
    (steps.len(), node)
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, at, line } = self;
        write!(f, "{}:{}:{}", path.display(), at.line, at.column)?;
        write!(f, "{}", Quote { at: *at, line })
    }
}
