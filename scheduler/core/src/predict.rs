//! When a waiting task would start: the same core, run forward.
//!
//! What runs is taken to end well at its walltime limit, what was told to end within the grace;
//! nothing new comes, nothing breaks, nobody changes anything. So the answer is late rather than early
//! where limits are longer than work takes, and early where others submit meanwhile.
//!
//! The rule it keeps: a prediction is bounded, and says so where a bound was what ended it. What happens close to each
//! other is taken together: within a second, or within a part of the time looked ahead ([`PART`]) where that is
//! longer. So the number of rounds grows with the logarithm of the horizon, not with what ends.
//!
//! The World is used up: whoever asks has a copy of its own. Between two steps the asker may give up.

use crate::effect::Effect;
use crate::event::Event;
use crate::ids::{LeaseId, NodeId, TaskId};
use crate::job::{Active, ActiveState, AttemptEnd, Outcome};
use crate::rejected::Rejected;
use crate::round::plan_round;
use crate::time::{HOUR_MS, TimeMs};
use crate::world::World;
use std::collections::BTreeSet;

/// A start is predicted to within this part of the wait.
const PART: i64 = 256;
/// Or to within this, where that is longer.
const RESOLUTION_MS: i64 = 1_000;

/// How far is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// From now on, in milliseconds.
    pub horizon_ms: i64,
    /// Rounds, at most.
    pub rounds_max: u32,
    /// Places given, at most.
    pub places_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            horizon_ms: 30 * 24 * HOUR_MS,
            rounds_max: 10_000,
            places_max: 5_000_000,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// It gets a place.
    Starts {
        /// When.
        at: TimeMs,
        /// Where.
        node: NodeId,
    },
    /// Not until then; it was not looked further.
    NotBefore {
        /// Until when was looked.
        until: TimeMs,
        /// Which bound that was.
        bound: Bound,
    },
    /// Nothing runs any more, nothing is to come, and it still waits.
    Never {
        /// Since when nothing changes.
        from: TimeMs,
    },
    /// It has ended without having had a place: what it depends on did.
    Ended {
        /// When.
        at: TimeMs,
    },
}

/// A bound of [`Bounds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The horizon.
    Horizon,
    /// Rounds or places: there is too much to look at.
    Work,
}

impl Prediction {
    /// Stable name in outputs.
    pub fn code(self) -> &'static str {
        match self {
            Prediction::Starts { .. } => "starts",
            Prediction::NotBefore {
                bound: Bound::Horizon,
                ..
            } => "not-before",
            Prediction::NotBefore {
                bound: Bound::Work, ..
            } => "too-much-to-look-at",
            Prediction::Never { .. } => "never",
            Prediction::Ended { .. } => "ended",
        }
    }

    /// When it starts; if that is not known, until when was looked.
    pub fn at(self) -> TimeMs {
        match self {
            Prediction::Starts { at, .. } | Prediction::Ended { at } => at,
            Prediction::NotBefore { until, .. } => until,
            Prediction::Never { from } => from,
        }
    }

    /// In words, without the moment.
    pub fn text(self) -> &'static str {
        match self {
            Prediction::Starts { .. } => {
                "if everything takes its whole walltime limit and nothing new comes"
            }
            Prediction::NotBefore {
                bound: Bound::Horizon,
                ..
            } => "it waits for longer than is looked ahead",
            Prediction::NotBefore {
                bound: Bound::Work, ..
            } => "there is too much before it to look further ahead",
            Prediction::Never { .. } => {
                "as things are: nothing runs any more by then, and it still waits"
            }
            Prediction::Ended { .. } => {
                "without a place: what it waits for will not end as it needs"
            }
        }
    }
}

/// Predicts the start of a task that waits for a place or for other jobs.
///
/// # Errors
/// An unknown job, or a task that does not wait or is held.
pub fn predict(
    world: World,
    now: TimeMs,
    task: TaskId,
    bounds: Bounds,
) -> Result<Prediction, Rejected> {
    let mut forecast = Forecast::new(world, now, task, bounds)?;
    loop {
        if let Some(prediction) = forecast.step() {
            return Ok(prediction);
        }
    }
}

/// A prediction at work.
#[derive(Debug)]
pub struct Forecast {
    world: World,
    task: TaskId,
    began: TimeMs,
    bounds: Bounds,
    /// When what holds a place gives it up.
    ends: BTreeSet<(TimeMs, LeaseId)>,
    rounds: u32,
    places: u64,
}

impl Forecast {
    /// Begins at `now`.
    ///
    /// # Errors
    /// As [`predict`].
    pub fn new(
        mut world: World,
        now: TimeMs,
        task: TaskId,
        bounds: Bounds,
    ) -> Result<Self, Rejected> {
        let tasks = &world.find_job(task.job)?.tasks;
        if !tasks.queued.contains(task.index) && !tasks.blocked.contains(task.index) {
            let (what, remedy) = if tasks.held.contains(task.index) {
                ("is held", format!("`jero release {task}` lets it go on"))
            } else {
                (
                    "does not wait",
                    format!("see its state with `jero explain {task}`"),
                )
            };
            return Err(Rejected::invalid("task", format!("{task} {what}"), remedy));
        }
        world.move_on(now);
        let mut forecast = Forecast {
            began: now,
            task,
            bounds,
            ends: BTreeSet::new(),
            rounds: 0,
            places: 0,
            world,
        };
        forecast.expect_ends();
        Ok(forecast)
    }

    /// Makes a round and goes on to the next moment at which something changes; says what
    /// was found once it was.
    pub fn step(&mut self) -> Option<Prediction> {
        let now = self.world.now();
        let (quiet, found) = self.round();
        if found.is_some() {
            return found;
        }
        if !quiet {
            return self.work_bound();
        }
        let Some(next) = self.next_moment() else {
            return Some(Prediction::Never { from: now });
        };
        if next - self.began > self.bounds.horizon_ms {
            return Some(Prediction::NotBefore {
                until: self.began + self.bounds.horizon_ms,
                bound: Bound::Horizon,
            });
        }
        self.end_until(next);
        self.has_ended().or_else(|| self.work_bound())
    }

    /// What is known so far, for an asker who gives up.
    pub fn cut_short(&self) -> Prediction {
        Prediction::NotBefore {
            until: self.world.now(),
            bound: Bound::Work,
        }
    }

    /// Decides and commits; true if that was nothing.
    fn round(&mut self) -> (bool, Option<Prediction>) {
        let now = self.world.now();
        self.rounds += 1;
        let plan = plan_round(&mut self.world, now);
        let quiet = plan.is_empty() && plan.complete;
        if plan.is_empty() {
            return (quiet, None);
        }
        let mut found = None;
        for effect in self.apply(plan.into_event()) {
            match effect {
                Effect::Grant { lease, .. } => {
                    let node = self.expect_end(lease);
                    self.places += 1;
                    if lease.task == self.task {
                        found = Some(Prediction::Starts { at: now, node });
                    }
                }
                Effect::Stop { lease, .. } => self.expect_stop(lease),
                _ => {}
            }
        }
        (quiet, found)
    }

    /// Of all that holds a place now.
    fn expect_ends(&mut self) {
        let mut leases = Vec::new();
        for job in self.world.jobs().values() {
            for (index, active) in &job.tasks.active {
                let task = TaskId {
                    job: job.id,
                    index: *index,
                };
                leases.push(self.world.lease(task, active.attempt));
            }
        }
        for lease in leases {
            self.expect_end(lease);
        }
    }

    fn expect_end(&mut self, lease: LeaseId) -> NodeId {
        let job = &self.world.jobs()[&lease.task.job];
        let active = &job.tasks.active[&lease.task.index];
        let node = self.world.node(active.node);
        let limit_ms = node.scaled_ms(job.spec.needs.walltime_ms);
        let end = self.end_of(active, limit_ms).max(self.world.now());
        self.ends.insert((end, lease));
        active.node
    }

    fn end_of(&self, active: &Active, limit_ms: i64) -> TimeMs {
        match active.state {
            ActiveState::Leased | ActiveState::Starting => active.granted + limit_ms,
            ActiveState::Running { since } => since + limit_ms,
            ActiveState::Stopping { .. } => self.world.now() + self.world.policy().grace_ms,
        }
    }

    /// It was told to end, and does so within the grace. That its limit comes later finds it
    /// ended.
    fn expect_stop(&mut self, lease: LeaseId) {
        let end = self.world.now() + self.world.policy().grace_ms;
        self.ends.insert((end, lease));
    }

    /// When something ends or changes by itself next; `None` where nothing ever will.
    fn next_moment(&self) -> Option<TimeMs> {
        let now = self.world.now();
        let ahead_ms = ((now - self.began) / PART).max(RESOLUTION_MS);
        let end = self.ends.first().map(|(at, _)| *at);
        let by_itself = self.world.next_edge(!self.ends.is_empty());
        let next = end.into_iter().chain(by_itself).min()?;
        Some(next.max(now) + ahead_ms)
    }

    fn end_until(&mut self, next: TimeMs) {
        self.world.move_on(next);
        while self.ends.first().is_some_and(|(at, _)| *at <= next) {
            let Some((_, lease)) = self.ends.pop_first() else {
                return;
            };
            // It may have ended before, because it was told to.
            let Ok(active) = self.world.open_attempt(lease) else {
                continue;
            };
            let outcome = if active.is_stopping() {
                Outcome::Stopped
            } else {
                Outcome::Exit(0)
            };
            let end = AttemptEnd::bare(outcome);
            for effect in self.apply(Event::AttemptEnded { lease, end }) {
                if let Effect::Stop { lease, .. } = effect {
                    self.expect_stop(lease);
                }
            }
        }
    }

    fn has_ended(&self) -> Option<Prediction> {
        let at = self.world.now();
        let job = self.world.jobs().get(&self.task.job);
        let waits = job.is_some_and(|job| {
            job.tasks.queued.contains(self.task.index)
                || job.tasks.blocked.contains(self.task.index)
        });
        (!waits).then_some(Prediction::Ended { at })
    }

    fn work_bound(&self) -> Option<Prediction> {
        let over = self.rounds >= self.bounds.rounds_max || self.places >= self.bounds.places_max;
        over.then(|| self.cut_short())
    }

    fn apply(&mut self, event: Event) -> Vec<Effect> {
        let now = self.world.now();
        let applied = self.world.apply(now, &event);
        applied.expect("a plan fits the World that it was made on, and an open attempt may end")
    }
}

#[cfg(test)]
mod tests;
