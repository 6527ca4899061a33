//! Batches: in pages, and one as it changes.

use super::paging::{Page, limit, merged, newest_first, start};
use super::{ClientApi, Sent, Sink, history_failed, off_thread};
use crate::convert;
use crate::convert::status::{driver as unavailable, rejected};
use crate::history_record::{HistoryError, find_batch, read_batch};
use crate::store::history::History;
use jeroboam_core::ids::BatchId;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use std::ops::Bound;
use std::time::{Duration, Instant};
use tonic::Status;

/// A watched batch is looked at no more often.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// And rests for so many times as long as looking at it took.
const WATCH_REST: u32 = 20;

impl ClientApi {
    pub(super) async fn batches(
        &self,
        request: v1::ListBatchesRequest,
    ) -> Result<v1::ListBatchesReply, Status> {
        if request.batch != 0 {
            let batch = self.batch(request.batch).await?;
            return Ok(v1::ListBatchesReply {
                batches: vec![batch],
                next_page_token: String::new(),
            });
        }
        let before = start(&request.page_token)?;
        let asked = request.clone();
        let look = move |world: &World, _: TimeMs| in_memory(world, &asked, before);
        let live = self.driver.read(look).await.map_err(unavailable)??;
        let page = if request.finished {
            let history = self.driver.history().clone();
            off_thread(move || with_finished(live, &history, &request, before)).await??
        } else {
            live.map(|(_, batch)| batch)
        };
        let next_page_token = page.next_token();
        Ok(v1::ListBatchesReply {
            batches: page.entries,
            next_page_token,
        })
    }

    /// One batch, in memory or finished.
    async fn batch(&self, id: u64) -> Result<v1::Batch, Status> {
        let look = move |world: &World, _: TimeMs| {
            world
                .batches()
                .get(&BatchId(id))
                .map(|batch| convert::work::batch(world, batch))
        };
        if let Some(batch) = self.driver.read(look).await.map_err(unavailable)? {
            return Ok(batch);
        }
        // It left memory, if it was there, with what the history has by now.
        let history = self.driver.history().clone();
        let found = off_thread(move || find_batch(&history, id)).await?;
        let found = found.map_err(|error| history_failed(&error))?;
        found
            .map(|batch| batch.wire())
            .ok_or_else(|| rejected(&Rejected::UnknownBatch(BatchId(id))))
    }

    pub(super) async fn watch(
        &self,
        request: v1::WatchBatchRequest,
    ) -> Result<Sent<v1::Batch>, Status> {
        let first = self.batch(request.batch).await?;
        self.stream(|api, sink| async move { api.send_changes(first, sink).await })
    }

    async fn send_changes(self, first: v1::Batch, sink: Sink<v1::Batch>) -> Result<(), Status> {
        let mut commits = self.driver.commits();
        let (mut sent, mut next) = (v1::Batch::default(), first);
        let mut rest = WATCH_EVERY;
        loop {
            if next != sent {
                sink.send(next.clone()).await?;
                sent = next;
            }
            if sent.finished_ms != 0 {
                return Ok(());
            }
            // A driver that ends says so at the next look.
            let _ = commits.changed().await;
            tokio::time::sleep(rest).await;
            let started = Instant::now();
            next = self.batch(sent.id).await?;
            rest = WATCH_EVERY.max(started.elapsed() * WATCH_REST);
        }
    }
}

/// What is in memory, of what has finished if that alone is asked for.
fn in_memory(
    world: &World,
    request: &v1::ListBatchesRequest,
    before: Option<u64>,
) -> Result<Page<(u64, v1::Batch)>, Status> {
    if !request.queue.is_empty() {
        world
            .queues()
            .find(&request.queue)
            .map_err(|cause| rejected(&cause))?;
    }
    let mut page = Page::new(limit(request.limit));
    // The newest first, as people ask for them.
    let to = before.map_or(Bound::Unbounded, |before| Bound::Excluded(BatchId(before)));
    for (id, batch) in world.batches().range((Bound::Unbounded, to)).rev() {
        let wanted = || {
            let queue = &world.queues().queue(batch.queue).spec.name;
            let matches =
                is_below(queue, &request.queue) && (!request.finished || batch.finished.is_some());
            matches.then(|| (id.0, convert::work::batch(world, batch)))
        };
        if !page.look(id.0, wanted) {
            break;
        }
    }
    Ok(page)
}

/// One page of what has finished, in memory and in the history.
fn with_finished(
    live: Page<(u64, v1::Batch)>,
    history: &History,
    request: &v1::ListBatchesRequest,
    before: Option<u64>,
) -> Result<Page<v1::Batch>, Status> {
    let failed = |error: HistoryError| history_failed(&error);
    let read = |before, max| history.batches_before(before, max);
    let entries = newest_first(before, read).map(|entry| {
        let entry = entry.map_err(|error| failed(error.into()))?;
        let batch = read_batch(&entry).map_err(failed)?;
        let matches = is_below(&batch.queue, &request.queue);
        Ok((entry.id, matches.then(|| batch.wire())))
    });
    merged(limit(request.limit), live, entries)
}

/// True for the queue asked for and those below it; an empty name asks for all.
pub(super) fn is_below(queue: &str, asked: &str) -> bool {
    asked.is_empty()
        || queue == asked
        || queue
            .strip_prefix(asked)
            .is_some_and(|rest| rest.starts_with('.'))
}
