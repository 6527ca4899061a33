//! Black holes: nodes and sites that fail so quickly that they would draw all work.
//!
//! What is weighed is how often attempts fail at a node at once, against the rest of the
//! federation in the same window. A start that the site itself refused is surely the site's
//! fault. A quick bad exit may be the job's: it counts only if the batch has succeeded
//! somewhere, or if the last one that counted was of another batch, and only while enough
//! has ended elsewhere to compare with; so a broken job closes nobody.
//!
//! A quarantine ends by itself, each next one twice as long; after one, a single failure
//! before the first success brings the next. Who counts what when is in
//! `world/health.rs`; what a quarantine keeps away is in `round/feasible.rs`.

use crate::ids::BatchId;
use crate::policy::Policy;
use crate::time::TimeMs;
use serde::{Deserialize, Serialize};

/// A node or site is suspect only if it fails so many times as often as the others.
const TIMES_THE_OTHERS: u64 = 4;
/// A whole site takes so many times the failures of a node.
const SITE_FAILURES: u32 = 4;

/// Attempts that ended of late: of a window at least, of two at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    since: TimeMs,
    /// Failures that count, and everything that did not fail quickly.
    pub ended: u32,
    /// Quick failures that count.
    pub failed: u32,
    /// Those that the site said were its own.
    pub refused: u32,
}

/// How an attempt speaks for or against the place that it was at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It ended well.
    Success,
    /// It ran: no black hole.
    Ran,
    /// It failed at once; whose fault it was is not said.
    QuickFailure,
    /// The site could not start it, and says so.
    Refused,
}

/// What is remembered of a node's or a site's failures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    tally: Tally,
    /// Quarantines since the last success.
    strikes: u32,
    /// Whose failure counted last.
    batch: Option<BatchId>,
    /// Nothing new starts while there is one.
    pub quarantine: Option<Quarantine>,
}

/// Nothing new starts, for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Since when.
    pub since: TimeMs,
    /// It ends by itself.
    pub until: TimeMs,
    /// What was counted here.
    pub here: Tally,
    /// What was counted at all others.
    pub elsewhere: Tally,
}

impl std::fmt::Display for Quarantine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of {} attempts failed at once, elsewhere {} of {}",
            self.here.failed, self.here.ended, self.elsewhere.failed, self.elsewhere.ended
        )
    }
}

impl Tally {
    /// Counts an end, and lets what is older than a window weigh less.
    pub(crate) fn count(&mut self, now: TimeMs, window_ms: i64, sign: Sign) {
        let windows = (now - self.since) / window_ms.max(1);
        if windows > 0 {
            let shift = if windows == 1 { 1 } else { u32::BITS - 1 };
            self.ended >>= shift;
            self.failed >>= shift;
            self.refused >>= shift;
            self.since = now;
        }
        let failed = matches!(sign, Sign::QuickFailure | Sign::Refused);
        self.ended = self.ended.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(failed));
        let refused = u32::from(sign == Sign::Refused);
        self.refused = self.refused.saturating_add(refused);
    }

    pub(crate) fn without(self, part: Tally) -> Tally {
        Tally {
            since: self.since,
            ended: self.ended.saturating_sub(part.ended),
            failed: self.failed.saturating_sub(part.failed),
            refused: self.refused.saturating_sub(part.refused),
        }
    }

    fn fails_more_often_than(&self, others: &Tally) -> bool {
        let mine = u64::from(self.failed) * u64::from(others.ended);
        mine >= TIMES_THE_OTHERS * u64::from(others.failed) * u64::from(self.ended)
    }
}

impl Health {
    /// True if an end is to be counted: a quick failure only where it says something
    /// about the place.
    pub(crate) fn weighs(&mut self, sign: Sign, batch: BatchId, succeeded_before: bool) -> bool {
        match sign {
            Sign::Success => {
                self.strikes = 0;
                self.batch = None;
                true
            }
            Sign::Ran | Sign::Refused => true,
            Sign::QuickFailure => {
                let other = self.batch != Some(batch);
                self.batch = Some(batch);
                succeeded_before || other
            }
        }
    }

    /// Counts an end; `all` is of the whole federation, this one included.
    pub(crate) fn count(
        &mut self,
        now: TimeMs,
        policy: &Policy,
        sign: Sign,
        all: &Tally,
        whole_site: bool,
    ) -> Option<Quarantine> {
        self.tally.count(now, policy.quarantine_window_ms, sign);
        let failed = matches!(sign, Sign::QuickFailure | Sign::Refused);
        if !failed || self.quarantine.is_some() || policy.quarantine_failures == 0 {
            return None;
        }
        let others = all.without(self.tally);
        if !self.is_suspect(policy, &others, whole_site) {
            return None;
        }
        let doubled = policy.quarantine_ms << self.strikes.min(20);
        let quarantine = Quarantine {
            since: now,
            until: now + doubled.min(policy.quarantine_max_ms),
            here: self.tally,
            elsewhere: others,
        };
        self.strikes = self.strikes.saturating_add(1);
        self.quarantine = Some(quarantine);
        Some(quarantine)
    }

    fn is_suspect(&self, policy: &Policy, others: &Tally, whole_site: bool) -> bool {
        let tally = &self.tally;
        let of_node = policy.quarantine_failures;
        let enough = match (self.strikes, whole_site) {
            (0, false) => of_node,
            (0, true) => of_node.saturating_mul(SITE_FAILURES),
            _ => 1,
        };
        // At a node every second one, at a site nearly all.
        let (part, of) = if whole_site { (9, 10) } else { (1, 2) };
        let often = u64::from(tally.failed) * of >= u64::from(tally.ended) * part;
        let sure = tally.refused >= enough;
        let comparable = tally.failed >= enough && others.ended >= of_node;
        often && (sure || comparable) && tally.fails_more_often_than(others)
    }

    /// Ends a quarantine. What was counted stays: it stands in the federation's sum, too.
    pub(crate) fn release(&mut self) {
        self.quarantine = None;
    }

    /// Forgets all, by hand; returns what is to leave the federation's sum.
    pub(crate) fn pardon(&mut self) -> Tally {
        std::mem::take(self).tally
    }
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
