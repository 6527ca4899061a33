//! Retry rules: which failures are tried again, how often, when, where and with how much
//! memory.
//!
//! What becomes of a task is decided in [`crate::job::transition`]; what its next attempt
//! asks for is kept apart from its job's others ([`crate::job::Altered`]).

use super::{DELAY_MAX_MS, FailureClass};
use crate::rare::Unset;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Nodes, and sites, that a task remembers at most; the next one makes it forget them.
pub const AVOIDED_MAX: usize = 16;

/// Grants further attempts to tasks that failed in a certain way.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RetryRule {
    /// Exit codes, first ..= last.
    pub exit_codes: Vec<(i32, i32)>,
    /// Failure classes; with no exit codes either, any failure but a loss matches.
    pub classes: BTreeSet<FailureClass>,
    /// Further attempts that this rule grants to one task.
    pub times: u32,
    /// How long the task waits before it goes again, in milliseconds.
    pub delay_ms: i64,
    /// Each use of the rule by one task delays it for twice as long as the one before.
    pub backoff: bool,
    /// The next attempt gets so many thousandths of this one's memory; 0: as much.
    pub memory_permille: u32,
    /// No attempt gets more than this by the rule; `None`: what the largest node has.
    pub memory_max_mib: Option<i64>,
    /// The next attempts go to other nodes than the one where it failed.
    pub avoid_node: bool,
    /// The next attempts go to other sites than the one where it failed.
    pub change_site: bool,
}

/// Where a task failed, and does not go again while there is anywhere else.
///
/// Names, since ids of nodes are used again and a node that comes back is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Avoided {
    /// Site and node.
    pub nodes: BTreeSet<(String, String)>,
    /// All nodes of these.
    pub sites: BTreeSet<String>,
}

impl RetryRule {
    /// How long a task waits that has used the rule so often before.
    pub fn delay_after_ms(&self, uses: u32) -> i64 {
        let doublings = if self.backoff { uses.min(20) } else { 0 };
        (self.delay_ms << doublings).min(DELAY_MAX_MS)
    }

    /// True if the next attempt is to get more memory.
    pub fn grows(&self) -> bool {
        self.memory_permille > 0
    }

    /// True if the next attempt asks for something else than this one.
    pub fn alters(&self) -> bool {
        self.grows() || self.avoid_node || self.change_site
    }

    /// What the rule makes of so much memory, rounded up.
    pub fn grown_mib(&self, memory_mib: i64) -> i64 {
        let grown = i128::from(memory_mib) * i128::from(self.memory_permille);
        let grown = i64::try_from((grown + 999) / 1_000).unwrap_or(i64::MAX);
        grown.min(self.memory_max_mib.unwrap_or(i64::MAX))
    }

    /// True if this rule speaks about such a failure. One without codes and
    /// classes speaks about every failure but a loss, after which the work may
    /// have been done already: that takes `lost` by name.
    pub fn matches(&self, class: FailureClass, exit_code: Option<i32>) -> bool {
        if self.exit_codes.is_empty() && self.classes.is_empty() {
            return class != FailureClass::Lost;
        }
        let by_code = exit_code.is_some_and(|code| {
            self.exit_codes
                .iter()
                .any(|(first, last)| (first..=last).contains(&&code))
        });
        by_code || self.classes.contains(&class)
    }
}

impl Avoided {
    /// True if all of a site is avoided.
    pub fn site(&self, site: &str) -> bool {
        !self.sites.is_empty() && self.sites.contains(site)
    }

    /// True if a node is avoided for itself.
    pub fn node(&self, site: &str, node: &str) -> bool {
        let named = |(other, name): &(String, String)| other == site && name == node;
        self.nodes.iter().any(named)
    }

    /// Adds the place of an attempt that failed, as far as a rule says so.
    pub fn add(&mut self, rule: &RetryRule, site: &str, node: &str) {
        if rule.avoid_node && !rule.change_site {
            forget_if_full(&mut self.nodes);
            self.nodes.insert((site.to_string(), node.to_string()));
        }
        if rule.change_site {
            forget_if_full(&mut self.sites);
            self.nodes.retain(|(other, _)| other != site);
            self.sites.insert(site.to_string());
        }
    }
}

fn forget_if_full<T: Ord>(places: &mut BTreeSet<T>) {
    if places.len() >= AVOIDED_MAX {
        places.clear();
    }
}

impl Unset for Avoided {
    const UNSET: &'static Self = &Avoided {
        nodes: BTreeSet::new(),
        sites: BTreeSet::new(),
    };
}
