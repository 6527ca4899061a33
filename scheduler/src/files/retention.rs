//! What stays and what goes: finished work until its retention ends, and files
//! as long as a job in memory or in the history refers to them.
//!
//! The rule it keeps: a file goes only if nothing refers to it *and* nobody used
//! it for a while. References are looked for anew in each pass, starting from
//! the files that are old enough to go, so memory is bounded by what the spool
//! holds and nothing has to be counted while jobs run. Each step of a pass is
//! bounded and runs beside the service; removals hold [`super::InUse`].

use super::InUse;
use crate::api::off_thread;
use crate::config::Retention;
use crate::driver::{Driver, DriverError};
use crate::history_record::{AttemptScan, HistoryError, IDS_END, read_job, summary};
use crate::metrics;
use crate::store::StoreError;
use crate::store::history::History;
use crate::store::spool::{Digest, Retained, Spool};
use jeroboam_core::ids::JobId;
use jeroboam_core::spec::File;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// Jobs looked at in one step.
const JOBS_AT_ONCE: usize = 256;
/// History entries removed in one step.
const EXPIRED_AT_ONCE: usize = 1_000;
/// Files removed in one pass: they are removed while uploads wait.
const REMOVED_MAX: usize = 2_000;

/// What one pass removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Entries of the history.
    pub entries: usize,
    /// Files of the spool.
    pub files: Retained,
}

/// Why a pass did not come to its end; the next one begins anew.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The driver takes no work.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The spool or the history failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something in the history cannot be read: nothing is removed on a guess.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The process is ending.
    #[error("interrupted: {0}")]
    Interrupted(tonic::Status),
}

/// Removes what has outlived its retention.
#[derive(Debug, Clone)]
pub struct Cleaner {
    driver: Driver,
    spool: Spool,
    in_use: InUse,
    retention: Retention,
}

impl Cleaner {
    /// A cleaner of this spool and the driver's history.
    pub fn new(driver: Driver, spool: Spool, in_use: InUse, retention: Retention) -> Self {
        Cleaner {
            driver,
            spool,
            in_use,
            retention,
        }
    }

    /// One pass over history and spool.
    ///
    /// # Errors
    /// See [`CleanError`].
    pub async fn pass(&self) -> Result<Cleaned, CleanError> {
        let entries = self.expire_history().await?;
        let files = self.remove_unused().await?;
        metrics::record_expired("history", entries as u64);
        metrics::record_expired("spool", files.removed as u64);
        metrics::record_spool(&self.spool);
        Ok(Cleaned { entries, files })
    }

    async fn expire_history(&self) -> Result<usize, CleanError> {
        let now = self.driver.read(|_, now| now).await?;
        let by_age_ms = (now.0 - self.retention.history_ms).max(0) as u64;
        let by_count_ms = self.oldest_kept_by_count().await?;
        let before_ms = by_age_ms.max(by_count_ms);
        let mut entries = 0;
        loop {
            let history = self.driver.history().clone();
            let expired = self
                .off(move || history.expire(before_ms, EXPIRED_AT_ONCE))
                .await??;
            entries += expired.entries;
            if !expired.more {
                return Ok(entries);
            }
        }
    }

    /// Where more jobs are finished than are kept: the time before which they go.
    async fn oldest_kept_by_count(&self) -> Result<u64, CleanError> {
        let mut left = self.retention.history_entries_max;
        let mut before = IDS_END;
        loop {
            let history = self.driver.history().clone();
            let page = self
                .off(move || history.jobs_before(Some(before), JOBS_AT_ONCE))
                .await??;
            for job in &page {
                if left == 0 {
                    return Ok(job.finished_ms + 1);
                }
                left -= 1;
                before = job.id;
            }
            if page.len() < JOBS_AT_ONCE {
                return Ok(0);
            }
        }
    }

    async fn remove_unused(&self) -> Result<Retained, CleanError> {
        let age = Duration::from_millis(self.retention.unused_files_ms.unsigned_abs());
        let cut = SystemTime::now()
            .checked_sub(age)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let spool = self.spool.clone();
        let old = self.off(move || {
            let mut old = BTreeSet::new();
            let listed = spool.retain(|file| {
                if file.last_used < cut {
                    old.insert(file.digest);
                }
                true
            });
            listed.map(|_| old)
        });
        let old = old.await??;
        if old.is_empty() {
            return Ok(Retained::default());
        }
        let unused = self.without_references(old).await?;
        let _nobody_uses_any = self.in_use.write().await;
        let spool = self.spool.clone();
        let removal = self.off(move || {
            let mut room = REMOVED_MAX;
            spool.retain(|file| {
                let goes = room > 0 && file.last_used < cut && unused.contains(&file.digest);
                room -= usize::from(goes);
                !goes
            })
        });
        Ok(removal.await??)
    }

    /// Those of the files that no job refers to.
    async fn without_references(
        &self,
        mut files: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, CleanError> {
        let mut after = JobId(0);
        while !files.is_empty() {
            let page = self.jobs_in_memory(after).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            let history = self.driver.history().clone();
            files = self
                .off(move || {
                    for (job, inputs) in &page {
                        strike(&mut files, inputs);
                        strike_attempts(&mut files, &history, job.0)?;
                    }
                    Ok::<_, HistoryError>(files)
                })
                .await??;
        }
        let mut before = IDS_END;
        while !files.is_empty() {
            let history = self.driver.history().clone();
            let (left, next) = self
                .off(move || strike_finished(files, &history, before))
                .await??;
            files = left;
            match next {
                Some(next) => before = next,
                None => break,
            }
        }
        Ok(files)
    }

    async fn jobs_in_memory(&self, after: JobId) -> Result<Vec<(JobId, Vec<File>)>, DriverError> {
        let look = move |world: &jeroboam_core::world::World, _| {
            let jobs = world.jobs().range(JobId(after.0 + 1)..).take(JOBS_AT_ONCE);
            jobs.map(|(id, job)| (*id, job.spec.inputs.clone()))
                .collect()
        };
        self.driver.read(look).await
    }

    async fn off<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CleanError> {
        off_thread(work).await.map_err(CleanError::Interrupted)
    }
}

/// One step through the finished jobs, newest first; where the next one begins.
fn strike_finished(
    mut files: BTreeSet<Digest>,
    history: &History,
    before: u64,
) -> Result<(BTreeSet<Digest>, Option<u64>), HistoryError> {
    let page = history.jobs_before(Some(before), JOBS_AT_ONCE)?;
    for entry in &page {
        summary(entry)?;
        if let Some(job) = read_job(history, entry.id)? {
            let inputs: Vec<File> = job
                .spec
                .inputs
                .into_iter()
                .map(crate::convert::submission::file_in)
                .collect();
            strike(&mut files, &inputs);
        }
        strike_attempts(&mut files, history, entry.id)?;
    }
    let next = page
        .last()
        .filter(|_| page.len() == JOBS_AT_ONCE)
        .map(|entry| entry.id);
    Ok((files, next))
}

fn strike_attempts(
    files: &mut BTreeSet<Digest>,
    history: &History,
    job: u64,
) -> Result<(), HistoryError> {
    for kept in AttemptScan::new(history, job) {
        let end = kept?.record.end;
        strike(files, &end.outputs);
        strike(files, end.stdout.as_slice());
        strike(files, end.stderr.as_slice());
    }
    Ok(())
}

fn strike(files: &mut BTreeSet<Digest>, referred: &[File]) {
    for file in referred {
        if let Ok(digest) = file.digest.parse::<Digest>() {
            files.remove(&digest);
        }
    }
}
