//! When a place becomes suspect, and for how long.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::time::HOUR_MS;

const MINUTE_MS: i64 = 60_000;

/// A place and the federation around it.
struct Place {
    health: Health,
    all: Tally,
    now: TimeMs,
    policy: Policy,
}

impl Place {
    fn new() -> Self {
        Place {
            health: Health::default(),
            all: Tally::default(),
            now: TimeMs(HOUR_MS),
            policy: Policy::default(),
        }
    }

    fn elsewhere(&mut self, signs: &[Sign]) {
        for sign in signs {
            self.all
                .count(self.now, self.policy.quarantine_window_ms, *sign);
        }
    }

    fn here(&mut self, sign: Sign, batch: u64, succeeded: bool) -> Option<Quarantine> {
        if !self.health.weighs(sign, BatchId(batch), succeeded) {
            return None;
        }
        let window_ms = self.policy.quarantine_window_ms;
        self.all.count(self.now, window_ms, sign);
        self.health
            .count(self.now, &self.policy, sign, &self.all, false)
    }

    /// After how many in a row, of the first hundred.
    fn failures_until(&mut self, sign: Sign, batches: u64, succeeded: bool) -> Option<u64> {
        (1..=100).find(|n| self.here(sign, n % batches, succeeded).is_some())
    }
}

#[test]
fn what_the_site_refuses_needs_no_comparison() {
    assert_eq!(
        Place::new().failures_until(Sign::Refused, 1, false),
        Some(5)
    );
}

#[test]
fn one_broken_batch_closes_nobody() {
    let mut place = Place::new();
    place.elsewhere(&[Sign::Success; 50]);
    assert_eq!(place.failures_until(Sign::QuickFailure, 1, false), None);
}

#[test]
fn a_batch_that_succeeds_elsewhere_speaks_against_the_place() {
    let mut place = Place::new();
    place.elsewhere(&[Sign::Success; 50]);
    assert_eq!(place.failures_until(Sign::QuickFailure, 1, true), Some(5));
}

#[test]
fn two_batches_that_fail_speak_against_the_place() {
    let mut place = Place::new();
    place.elsewhere(&[Sign::Ran; 50]);
    assert_eq!(place.failures_until(Sign::QuickFailure, 2, false), Some(5));
}

#[test]
fn without_others_there_is_nothing_to_compare() {
    assert_eq!(
        Place::new().failures_until(Sign::QuickFailure, 2, true),
        None
    );
}

#[test]
fn where_everybody_fails_nobody_is_to_blame() {
    let mut place = Place::new();
    place.elsewhere(&[Sign::Refused; 50]);
    place.elsewhere(&[Sign::Success; 50]);
    assert_eq!(place.failures_until(Sign::Refused, 1, false), None);
}

#[test]
fn a_place_that_mostly_works_stays() {
    let mut place = Place::new();
    for _ in 0..50 {
        for _ in 0..2 {
            assert_eq!(place.here(Sign::Success, 1, true), None);
        }
        assert_eq!(place.here(Sign::Refused, 1, true), None);
    }
}

#[test]
fn old_failures_are_forgotten() {
    let mut place = Place::new();
    for _ in 0..20 {
        place.now = place.now + place.policy.quarantine_window_ms;
        assert_eq!(place.here(Sign::Refused, 1, false), None);
    }
}

#[test]
fn the_next_one_comes_at_the_first_failure_and_is_twice_as_long() {
    let mut place = Place::new();
    place.failures_until(Sign::Refused, 1, false);
    let mut spans_m = Vec::new();
    for _ in 0..8 {
        let quarantine = place.health.quarantine.unwrap();
        spans_m.push((quarantine.until - quarantine.since) / MINUTE_MS);
        // What still comes in from before counts for nothing.
        assert_eq!(place.here(Sign::Refused, 1, false), None);
        place.now = quarantine.until;
        place.health.release();
        assert!(place.here(Sign::Refused, 1, false).is_some());
    }
    assert_eq!(spans_m, [10, 20, 40, 80, 160, 320, 360, 360]);
}

#[test]
fn a_success_wipes_the_slate() {
    let mut place = Place::new();
    place.failures_until(Sign::Refused, 1, false);
    place.now = place.now + 20 * MINUTE_MS;
    place.health.release();
    assert_eq!(place.here(Sign::Success, 1, false), None);
    assert_eq!(place.failures_until(Sign::Refused, 1, false), Some(5));
    let quarantine = place.health.quarantine.unwrap();
    assert_eq!(quarantine.until - quarantine.since, 10 * MINUTE_MS);
}

#[test]
fn zero_failures_switch_it_off() {
    let mut place = Place::new();
    place.policy.quarantine_failures = 0;
    assert_eq!(place.failures_until(Sign::Refused, 1, false), None);
}
