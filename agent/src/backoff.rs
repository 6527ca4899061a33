//! How long to wait before trying again: doubling, bounded, with jitter.

use std::time::Duration;

use rand::RngExt as _;

const SOON: Duration = Duration::from_millis(200);
const SOON_LONGEST: Duration = Duration::from_secs(30);

/// Waits that double from `first` to `longest`.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Nothing has failed yet.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// For what is expected back: soon, and never more than half a minute apart.
    pub fn soon() -> Self {
        Self::new(SOON, SOON_LONGEST)
    }

    /// It worked: start over.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait this time: between half of the bound and the bound, so
    /// that many who failed together do not come back together.
    pub fn wait(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.longest);
        bound.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound_and_start_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(200), ms(1_000));
        for bound in [200, 400, 800, 1_000, 1_000] {
            let wait = backoff.wait();
            assert!(
                wait >= ms(bound) / 2 && wait <= ms(bound),
                "{wait:?} of {bound}"
            );
        }
        backoff.reset();
        assert!(backoff.wait() <= ms(200));
    }
}
