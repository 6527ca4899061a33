//! The thread that makes groups durable and then releases what waited for them.

use super::follower::{Followed, Question};
use super::{Release, Stopped};
use crate::store::history::{HistorySubject, HistoryWrite};
use crate::store::journal::{Journal, Sequence};
use crate::store::snapshot::Snapshots;
use crate::store::{Reading, StoreError};
use std::io::Write as _;
use std::sync::mpsc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc as async_mpsc, watch};

/// Whether a group became durable, or why it and all later ones never will.
pub(super) type Synced = async_mpsc::Receiver<Result<(), String>>;

/// What became durable together.
#[derive(Default)]
pub(super) struct Group {
    /// Encoded events, in order.
    pub records: Vec<Vec<u8>>,
    /// Finished work that came with them.
    pub history: Vec<HistoryEntry>,
    /// In order, after the sync.
    pub releases: Vec<Release>,
    /// For the follower, after the records.
    pub questions: Vec<Question>,
    /// The World after the last record, when it is time for a snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// Sum of the records' sizes.
    pub bytes: usize,
}

/// One entry of the history.
pub(super) struct HistoryEntry {
    /// Index of the record that it came with.
    pub record: usize,
    /// What it is about.
    pub subject: HistorySubject,
    /// Encoded.
    pub value: Vec<u8>,
}

/// What the whole service is told, before anybody who waits for a group is.
pub(super) struct Said {
    /// Counts the groups that became durable.
    pub committed: watch::Sender<u64>,
    /// Why no work is taken.
    pub stopped: Stopped,
}

impl Said {
    fn stop(&self, error: &StoreError) -> String {
        let why = error.to_string();
        tracing::error!(%why, "the journal failed; no further work is taken");
        // The first cause stands.
        let _ = self.stopped.set(why.clone());
        why
    }
}

impl Group {
    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.releases.is_empty()
            && self.questions.is_empty()
            && self.snapshot.is_none()
    }
}

/// Starts the thread. It ends when the returned sender is dropped.
pub(super) fn start(
    mut journal: Journal,
    mut snapshots: Snapshots,
    said: Said,
) -> (mpsc::Sender<Group>, Synced, JoinHandle<()>) {
    // The owner hands over one group at a time, so this queue holds at most one.
    let (sender, groups) = mpsc::channel::<Group>();
    let (done, synced) = async_mpsc::channel(1);
    let run = move || {
        let mut followed = Followed::default();
        for group in groups {
            let result = commit(&mut journal, &mut snapshots, &mut followed, group, &said);
            let failed = result.is_err();
            if done.blocking_send(result).is_err() || failed {
                break;
            }
        }
        followed.end();
    };
    let thread = std::thread::Builder::new()
        .name("sync".into())
        .spawn(run)
        .expect("a thread can be started");
    (sender, synced, thread)
}

/// Makes a group durable, releases what waited for that, and only then looks
/// after the snapshot, which may take long.
fn commit(
    journal: &mut Journal,
    snapshots: &mut Snapshots,
    followed: &mut Followed,
    group: Group,
    said: &Said,
) -> Result<(), String> {
    let appended = append(journal, &group).map_err(|error| said.stop(&error));
    if appended.is_ok() {
        said.committed.send_modify(|count| *count += 1);
    }
    for release in group.releases {
        release(appended.as_ref().map(|_| ()).map_err(String::as_str));
    }
    let last = appended?;
    followed.records(group.records);
    for question in group.questions {
        followed.ask(question, || Reading::of(journal, snapshots));
    }
    let kept = group.snapshot.map_or(Ok(()), |world| {
        keep_snapshot(journal, snapshots, last, &world)
    });
    kept.map_err(|error| said.stop(&error))
}

fn append(journal: &mut Journal, group: &Group) -> Result<Sequence, StoreError> {
    let started = std::time::Instant::now();
    let records: Vec<&[u8]> = group.records.iter().map(Vec::as_slice).collect();
    let entries = group.history.iter();
    let history: Vec<HistoryWrite<'_>> = entries
        .map(|entry| HistoryWrite {
            record: entry.record,
            subject: entry.subject,
            value: &entry.value,
        })
        .collect();
    let last = journal.append(&records, &history)?;
    if !records.is_empty() {
        crate::metrics::record_sync(started.elapsed(), records.len());
    }
    Ok(last)
}

/// A snapshot that cannot be written costs room, not data: the journal stays.
fn keep_snapshot(
    journal: &mut Journal,
    snapshots: &mut Snapshots,
    last: Sequence,
    world: &[u8],
) -> Result<(), StoreError> {
    let written = snapshots.begin(last).and_then(|mut writer| {
        let path = journal.path();
        writer
            .write_all(world)
            .map_err(|source| StoreError::io("write snapshot", path, source))?;
        writer.commit()
    });
    match written {
        Err(error) => {
            tracing::error!(%error, "no snapshot was written; the journal keeps growing");
        }
        Ok(through) => while journal.truncate(through)? {},
    }
    Ok(())
}
