//! How long a verb waits for a scheduler that is away.

use std::time::{Duration, Instant};

use tonic::Status;

use super::Scheduler;
use crate::failure::Failure;

/// The first pause between two tries, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A scheduler that never answered may just be starting, or the address wrong.
const UNMET_MAX: Duration = Duration::from_secs(10);

/// Bears lost connections up to a length of time since the last answer,
/// pausing ever longer between tries.
pub struct Patience {
    /// From the first answer on.
    met_max: Duration,
    met: bool,
    away_since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// For a scheduler that may be restarted meanwhile: five minutes.
    pub fn through_a_restart() -> Self {
        Self::of(Duration::from_secs(300))
    }

    /// For a scheduler that should be there: one minute.
    pub fn short() -> Self {
        Self::of(Duration::from_secs(60))
    }

    fn of(met_max: Duration) -> Self {
        Self {
            met_max,
            met: false,
            away_since: None,
            pause: PAUSE_MIN,
        }
    }

    /// The scheduler answered.
    pub fn restore(&mut self) {
        if self.away_since.take().is_some() {
            eprintln!("jero: the scheduler answers again");
        }
        self.pause = PAUSE_MIN;
        self.met = true;
    }

    /// Pauses before the next try.
    ///
    /// # Errors
    /// The status is a refusal, nothing that trying again could mend, or the
    /// patience is over.
    pub async fn bear(&mut self, scheduler: &Scheduler, status: &Status) -> Result<(), Failure> {
        let failure = scheduler.failure(status);
        let passes = matches!(failure, Failure::Unreachable { remedy: None, .. });
        if !passes {
            return Err(failure);
        }
        let max = if self.met { self.met_max } else { UNMET_MAX };
        match self.away_since {
            Some(since) if since.elapsed() >= max => return Err(failure),
            Some(_) => {}
            None => {
                self.away_since = Some(Instant::now());
                let cause = failure.to_string();
                let cause = cause.lines().next().unwrap_or_default();
                eprintln!("jero: {cause}; trying again for {} s", max.as_secs());
            }
        }
        // Clients that lost the same scheduler do not all return at once.
        let share = rand::random_range(0.5..=1.0);
        tokio::time::sleep(self.pause.mul_f64(share)).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}
