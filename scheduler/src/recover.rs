//! From the data directory to a running state: the newest snapshot, the records
//! after it, each plan recomputed where it stands, and a new term.

use crate::clock::Clock;
use crate::dispatch::{Leadership, Limits};
use crate::driver::{Parts, SinceSnapshot};
use crate::record;
use crate::state::State;
use crate::store::journal::{Journal, Record, Sequence};
use crate::store::snapshot::SnapshotReader;
use crate::store::spool::Spool;
use crate::store::{Replay, Store, StoreError};
use jeroboam_core::event::Event;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::round::plan_round;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use rand::RngExt as _;

/// Why a journal cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Reading or writing failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record or snapshot is intact, but not of this format.
    #[error(
        "{what} is intact but cannot be understood: {source}; was it written by a newer release?"
    )]
    Format {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: postcard::Error,
    },
    /// A record is intact, but the World refuses it.
    #[error(
        "record {sequence} was accepted when it was written and is refused now: {rejected}; start the release that wrote it"
    )]
    Refused {
        /// Which.
        sequence: u64,
        /// Why.
        rejected: Rejected,
    },
    /// The operator's changes are refused.
    #[error("the configuration is refused: {0}")]
    Configuration(Rejected),
}

/// What was found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Records after the snapshot.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Plans among them that this release would have made differently.
    pub plans_changed: u64,
    /// The time of the last record.
    pub last: TimeMs,
}

/// Rebuilds the World from a store.
///
/// # Errors
/// Something is lost, damaged, or of another format; nothing is skipped.
pub fn replay(store: &Store) -> Result<(World, Replayed), RecoverError> {
    let mut replayed = Replayed::default();
    let world = rebuild(store.replay()?, |world, now, event, record| {
        if matches!(event, Event::PlanCommitted { .. }) {
            let again = plan_round(world, now);
            if again.into_event() != *event {
                replayed.plans_changed += 1;
                tracing::warn!(
                    sequence = record.sequence.0,
                    "this release would have planned otherwise"
                );
            }
        }
        replayed.records += 1;
        replayed.bytes += record.bytes.len() as u64;
    })?;
    replayed.last = world.now();
    Ok((world, replayed))
}

/// The World that a snapshot and the records after it come to; `look` is shown each event
/// before it is applied.
///
/// # Errors
/// As [`replay`].
pub(crate) fn rebuild(
    replay: Replay<'_>,
    mut look: impl FnMut(&mut World, TimeMs, &Event, &Record),
) -> Result<World, RecoverError> {
    let mut world = match replay.snapshot {
        None => World::default(),
        Some(reader) => read_snapshot(reader)?,
    };
    for record in replay.records {
        let record = record?;
        let (now, event) =
            record::decode(&record.bytes).map_err(|source| RecoverError::Format {
                what: format!("record {}", record.sequence),
                source,
            })?;
        look(&mut world, now, &event, &record);
        world
            .apply(now, &event)
            .map_err(|rejected| RecoverError::Refused {
                sequence: record.sequence.0,
                rejected,
            })?;
    }
    Ok(world)
}

fn read_snapshot(mut reader: SnapshotReader) -> Result<World, RecoverError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        bytes.extend(chunk);
    }
    record::decode_world(&bytes).map_err(|source| RecoverError::Format {
        what: format!("the snapshot {}", reader.path().display()),
        source,
    })
}

/// Takes up a journal: replays it, begins a new term and applies what `configure`
/// finds changed in the configuration. All of that is durable on return.
///
/// # Errors
/// As [`replay`], or the configuration is refused.
pub fn recover(
    mut store: Store,
    limits: Limits,
    configure: impl FnOnce(&World) -> Vec<Event>,
) -> Result<(Parts, Spool, Replayed), RecoverError> {
    let (mut world, replayed) = replay(&store).map_err(|error| match error {
        RecoverError::Store(error) => store.refuse(error).into(),
        other => other,
    })?;
    store.proved_good();
    let Store {
        mut journal,
        snapshots,
        spool,
        ..
    } = store;
    let clock = Clock::after(replayed.last);
    let mut first = Vec::new();
    if journal.last() == Sequence::ZERO {
        let mut rng = rand::rng();
        // Never 0: an agent's 0 stands for "none yet".
        let lineage = rng.random_range(1..u64::MAX);
        let federation = format!("{:016x}", rng.random::<u64>());
        first.push(Event::Founded {
            federation,
            lineage,
        });
    }
    first.push(Event::Started {
        term: world.term() + 1,
    });
    commit(&mut journal, &mut world, &clock, first)?;
    let changes = configure(&world);
    commit(&mut journal, &mut world, &clock, changes)?;
    let state = State::recovered(world, clock.now(), limits, Leadership::Sole);
    let parts = Parts {
        state,
        clock,
        journal,
        snapshots,
        since_snapshot: SinceSnapshot {
            records: replayed.records,
            bytes: replayed.bytes,
        },
    };
    Ok((parts, spool, replayed))
}

fn commit(
    journal: &mut Journal,
    world: &mut World,
    clock: &Clock,
    events: Vec<Event>,
) -> Result<(), RecoverError> {
    let now = clock.now();
    let mut records = Vec::with_capacity(events.len());
    for event in &events {
        world
            .apply(now, event)
            .map_err(RecoverError::Configuration)?;
        records.push(record::encode(now, event));
    }
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    journal.append(&records, &[])?;
    Ok(())
}
