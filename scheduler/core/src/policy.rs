//! All tunables of the core in one value, journalled whenever they change.

use crate::rejected::Rejected;
use crate::resources::{DIMENSIONS, EXTENDED};
use crate::spec::NAME_MAX;
use crate::time::HOUR_MS;
use serde::{Deserialize, Serialize};

/// Names of the resources that are always there.
const STANDING: [&str; 4] = ["cpu", "memory", "disk", "gpu"];

/// A task of which this many attempts never ran is not tried again. Not tunable: a
/// broken stream with grants in flight costs one each, a site that starts nothing
/// reaches any bound.
pub const NOT_RUN_MAX: u32 = 20;

/// In which order waiting work goes, and who may pass while somebody has to wait.
///
/// All but the first know one line, over all queues: higher priority, then earlier
/// submission, then id. Shares and guarantees play no part in them; limits do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discipline {
    /// By the fair share.
    #[default]
    Fair,
    /// One line, in which nobody passes.
    Fifo,
    /// One line, whose first holds a reservation; others pass if they do not delay it
    /// (Lifka 1995; Mu'alem and Feitelson 2001).
    Easy,
    /// One line, in which all hold reservations (Feitelson and Weil 1998).
    Conservative,
}

impl Discipline {
    /// Every one, the default first.
    pub const ALL: [Discipline; 4] = [
        Discipline::Fair,
        Discipline::Fifo,
        Discipline::Easy,
        Discipline::Conservative,
    ];

    /// As files write it.
    pub fn name(self) -> &'static str {
        match self {
            Discipline::Fair => "fair",
            Discipline::Fifo => "fifo",
            Discipline::Easy => "easy",
            Discipline::Conservative => "conservative",
        }
    }
}

/// Everything that can be tuned; defaults are the shipped ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// In which order waiting work goes, and who may pass.
    pub order: Discipline,
    /// Tasks and gangs that hold a reservation under [`Discipline::Conservative`], at
    /// most: the first that wait.
    pub conservative_depth: u32,
    /// A round places at most this many tasks; the next one continues.
    pub placements_per_round_max: u32,
    /// Weight of room that would be stranded, beside `score_fill`'s.
    pub score_stranded: i64,
    /// Weight of room left on the node: larger packs fuller nodes first.
    pub score_fill: i64,
    /// Weight of a leased place's price, per milli-euro and core-hour.
    pub score_price: i64,
    /// Weight of a kernel that nobody has used, or that a tenant gets alone; counts only
    /// where some work asks to be kept apart.
    pub score_kernel: i64,
    /// Half-life of the decayed usage, in milliseconds.
    pub usage_half_life_ms: i64,
    /// Exponent of the memory at inner queues; 0 forgets history.
    pub memory_exponent_inner: u32,
    /// Exponent of the memory at leaf queues; 0 forgets history.
    pub memory_exponent_leaf: u32,
    /// Nodes held back for reservations at most; fewer where there are few nodes.
    pub reservations_max: u32,
    /// How far behind the best a queue may be and still pass it, in thousandths of the
    /// best one's key: of those the widest task goes first.
    pub pass_permille: u32,
    /// How much of a reservation is held back in the pool at least, in thousandths of
    /// what it asks for; at most 100 where there are 20 nodes or fewer.
    pub hold_permille: u32,
    /// Tasks preempted in one round, at most.
    pub preemptions_per_round_max: u32,
    /// Tasks preempted within an hour, at most; by hand does not count.
    pub preemptions_per_hour_max: u32,
    /// Work of a higher class takes places from lower ones of its queue.
    pub preempt_by_class: bool,
    /// Nothing is preempted before it has had its place for so long, in milliseconds.
    pub preempt_after_ms: i64,
    /// Jobs that cannot be preempted stay inside their queues' guarantees, so that no
    /// guarantee ever waits for them to end.
    pub non_preemptible_within_guarantee: bool,
    /// From SIGTERM to SIGKILL, in milliseconds.
    pub grace_ms: i64,
    /// A task that was lost this often is not tried again.
    pub lost_attempts_max: u32,
    /// A task that a retry rule sends elsewhere may go back where nothing else has taken
    /// it for so long, in milliseconds.
    pub avoid_ms: i64,
    /// A node that fails so many attempts at once takes nothing new for a time; 0: never.
    pub quarantine_failures: u32,
    /// Failures are counted over so long, in milliseconds.
    pub quarantine_window_ms: i64,
    /// An attempt that failed sooner failed at once, in milliseconds.
    pub quarantine_quick_ms: i64,
    /// The first quarantine of a node, in milliseconds; each next one is twice as long.
    pub quarantine_ms: i64,
    /// None is longer, in milliseconds.
    pub quarantine_max_ms: i64,
    /// Waiting tasks of a queue that sets no bound of its own.
    pub queued_max: u64,
    /// How long finished batches stay in memory, in milliseconds.
    pub finished_in_memory_ms: i64,
    /// Names of up to four extended resources.
    pub extended_resources: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            order: Discipline::Fair,
            conservative_depth: 100,
            placements_per_round_max: 1_000,
            score_stranded: 4,
            score_fill: 1,
            score_price: 8,
            score_kernel: 8,
            usage_half_life_ms: 48 * HOUR_MS,
            memory_exponent_inner: 8,
            memory_exponent_leaf: 4,
            reservations_max: 16,
            pass_permille: 50,
            hold_permille: 250,
            preemptions_per_round_max: 1_000,
            preemptions_per_hour_max: 100_000,
            preempt_by_class: true,
            preempt_after_ms: 300_000,
            non_preemptible_within_guarantee: false,
            grace_ms: 10_000,
            lost_attempts_max: 5,
            avoid_ms: HOUR_MS / 6,
            quarantine_failures: 5,
            quarantine_window_ms: HOUR_MS / 6,
            quarantine_quick_ms: HOUR_MS / 60,
            quarantine_ms: HOUR_MS / 6,
            quarantine_max_ms: 6 * HOUR_MS,
            queued_max: 5_000_000,
            finished_in_memory_ms: HOUR_MS,
            extended_resources: Vec::new(),
        }
    }
}

impl Policy {
    /// The resource whose name is most like a mistyped one, if any is.
    #[must_use]
    pub fn resource_near(&self, name: &str) -> Option<String> {
        let named = self.extended_resources.iter().map(String::as_str);
        crate::nearest::nearest(name, STANDING.into_iter().chain(named))
    }

    /// Checks bounds.
    ///
    /// # Errors
    /// The first key out of bounds, with its place and remedy.
    pub fn validate(&self) -> Result<(), Rejected> {
        let bounds: &[(&str, i64, i64, i64)] = &[
            (
                "placements_per_round_max",
                self.placements_per_round_max.into(),
                1,
                1_000_000,
            ),
            (
                "conservative_depth",
                self.conservative_depth.into(),
                1,
                10_000,
            ),
            ("score_stranded", self.score_stranded, 0, 1_000),
            ("score_fill", self.score_fill, 0, 1_000),
            ("score_price", self.score_price, 0, 1_000),
            ("score_kernel", self.score_kernel, 0, 1_000),
            (
                "usage_half_life_ms",
                self.usage_half_life_ms,
                HOUR_MS,
                10_000 * HOUR_MS,
            ),
            (
                "memory_exponent_inner",
                self.memory_exponent_inner.into(),
                0,
                16,
            ),
            (
                "memory_exponent_leaf",
                self.memory_exponent_leaf.into(),
                0,
                16,
            ),
            ("reservations_max", self.reservations_max.into(), 0, 64),
            ("pass_permille", self.pass_permille.into(), 0, 1_000),
            ("hold_permille", self.hold_permille.into(), 0, 1_000),
            (
                "preemptions_per_round_max",
                self.preemptions_per_round_max.into(),
                0,
                100_000,
            ),
            (
                "preemptions_per_hour_max",
                self.preemptions_per_hour_max.into(),
                0,
                10_000_000,
            ),
            (
                "preempt_after_ms",
                self.preempt_after_ms,
                0,
                10_000 * HOUR_MS,
            ),
            ("grace_ms", self.grace_ms, 0, HOUR_MS),
            ("lost_attempts_max", self.lost_attempts_max.into(), 1, 1_000),
            ("avoid_ms", self.avoid_ms, 1_000, 24 * HOUR_MS),
            (
                "quarantine_failures",
                self.quarantine_failures.into(),
                0,
                10_000,
            ),
            (
                "quarantine_window_ms",
                self.quarantine_window_ms,
                1_000,
                24 * HOUR_MS,
            ),
            (
                "quarantine_quick_ms",
                self.quarantine_quick_ms,
                0,
                24 * HOUR_MS,
            ),
            ("quarantine_ms", self.quarantine_ms, 1_000, 1_000 * HOUR_MS),
            (
                "quarantine_max_ms",
                self.quarantine_max_ms,
                1_000,
                1_000 * HOUR_MS,
            ),
            (
                "finished_in_memory_ms",
                self.finished_in_memory_ms,
                0,
                10_000 * HOUR_MS,
            ),
        ];
        for &(key, value, min, max) in bounds {
            if !(min..=max).contains(&value) {
                return Err(Rejected::bounds(
                    &format!("policy.{key}"),
                    value.max(0) as u64,
                    min as u64,
                    max as u64,
                ));
            }
        }
        if self.extended_resources.len() > DIMENSIONS - EXTENDED {
            return Err(Rejected::bounds(
                "policy.extended_resources",
                self.extended_resources.len() as u64,
                0,
                (DIMENSIONS - EXTENDED) as u64,
            ));
        }
        self.check_names()
    }

    fn check_names(&self) -> Result<(), Rejected> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        for (position, name) in self.extended_resources.iter().enumerate() {
            let known = STANDING.contains(&name.as_str())
                || self.extended_resources[..position].contains(name);
            if known || name.is_empty() || name.len() > NAME_MAX || !name.chars().all(allowed) {
                return Err(Rejected::invalid(
                    "policy.extended_resources",
                    format!("`{name}` cannot name a resource, or does already"),
                    "use a name of its own for each, of letters, digits and the signs - _ . /",
                ));
            }
        }
        Ok(())
    }

    /// The dimension of a named extended resource.
    pub fn extended_dimension(&self, name: &str) -> Option<usize> {
        self.extended_resources
            .iter()
            .position(|known| known == name)
            .map(|position| EXTENDED + position)
    }
}
