//! What leaves the history: work that finished before a time, oldest first, a bounded number of entries per call.
//!
//! The rule: a job's attempts go before the job's own entry, which goes with its listing by time, so that a call that stops
//! half-way (or a crash) is continued by the next one. Removals need not be durable: what comes back expires again.

use std::ops::Bound;

use super::key::{Key, LISTED};
use super::{AttemptsPosition, History};
use crate::store::StoreError;
use crate::store::journal::Sequence;

/// Keys removed in one step of the engine.
const REMOVED_TOGETHER_MAX: usize = 1000;

/// What one call of [`History::expire`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Entries removed: batches, jobs and chunks of attempts.
    pub entries: usize,
    /// Whether older work than asked for is still there.
    pub more: bool,
}

impl History {
    /// Removes batches and jobs that finished before `before_ms`, with the attempts of those jobs: at most `entries_max` of them.
    pub fn expire(&self, before_ms: u64, entries_max: usize) -> Result<Expired, StoreError> {
        let mut expired = Expired::default();
        let mut gone = Vec::new();
        let old = (
            Bound::Included(vec![LISTED]),
            Bound::Excluded(Key::BatchAt(before_ms, 0).encode()),
        );
        for entry in self.tree.scan(old) {
            let (listing, _) = entry?;
            let key = Key::decode(&listing)
                .ok_or_else(|| self.damaged(&listing, "its key is none of ours"))?;
            let room = entries_max.saturating_sub(expired.entries);
            if room == 0 || !self.expire_listed(key, room, &mut gone, &mut expired)? {
                expired.more = true;
                break;
            }
            gone.push(listing);
            if gone.len() >= REMOVED_TOGETHER_MAX {
                self.tree.remove(&std::mem::take(&mut gone))?;
            }
        }
        self.tree.remove(&gone)?;
        Ok(expired)
    }

    /// Collects the keys of one listed batch or job; says whether that was all of it. `room` is at least 1.
    fn expire_listed(
        &self,
        listed: Key,
        room: usize,
        gone: &mut Vec<Vec<u8>>,
        expired: &mut Expired,
    ) -> Result<bool, StoreError> {
        let (key, finished_ms) = match listed {
            Key::BatchAt(finished_ms, batch) => (Key::Batch(batch), finished_ms),
            Key::JobAt(finished_ms, job) => (Key::Job(job), finished_ms),
            Key::Attempts(..) | Key::Batch(_) | Key::Job(_) => return Ok(true),
        };
        // Work that was taken up again and finished later is listed a second time: only that listing counts.
        let current = self.read(key)?;
        if current.is_some_and(|current| current.finished_ms != finished_ms) {
            return Ok(true);
        }
        if let Key::Job(job) = key {
            let chunks = self.attempt_keys(job, room)?;
            expired.entries += chunks.len();
            let full = chunks.len() == room;
            gone.extend(chunks);
            if full {
                return Ok(false);
            }
        }
        gone.push(key.encode());
        expired.entries += 1;
        Ok(true)
    }

    fn attempt_keys(&self, job: u64, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let at = |sequence, part| {
            Bound::Included(Key::Attempts(job, AttemptsPosition { sequence, part }).encode())
        };
        let chunks = self
            .tree
            .scan((at(Sequence::ZERO, 0), at(Sequence(u64::MAX), u32::MAX)));
        chunks.take(limit).map(|entry| Ok(entry?.0)).collect()
    }

    /// Removes the entries that came with records after `kept`: their records are lost.
    pub(in crate::store) fn forget_after(&self, kept: Sequence) -> Result<(), StoreError> {
        let mut gone = Vec::new();
        for entry in self
            .tree
            .scan((Bound::Unbounded, Bound::Excluded(vec![LISTED])))
        {
            let (key, value) = self.decode(entry?)?;
            if value.sequence > kept {
                gone.extend(key.listed_at(value.finished_ms).map(Key::encode));
                gone.push(key.encode());
            }
            if gone.len() >= REMOVED_TOGETHER_MAX {
                self.tree.remove(&std::mem::take(&mut gone))?;
            }
        }
        self.tree.remove(&gone)
    }
}
