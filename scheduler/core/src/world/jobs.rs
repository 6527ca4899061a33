//! The jobs in memory, by id.
//!
//! Ids are given out one after another and jobs leave by batches, so they stand in
//! chunks of consecutive ids: a few bytes for each beside its record, and few steps to it.

use crate::ids::JobId;
use crate::job::Job;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::{Bound, Index, RangeBounds};

/// Consecutive ids in one chunk.
const CHUNK: usize = 64;

/// All jobs in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jobs {
    /// By the ids' part above [`CHUNK`]; none is empty.
    chunks: BTreeMap<u64, Chunk>,
    len: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    jobs: Box<[Option<Box<Job>>; CHUNK]>,
    len: usize,
}

impl Chunk {
    fn new() -> Self {
        Chunk {
            jobs: Box::new([const { None }; CHUNK]),
            len: 0,
        }
    }
}

/// The chunk of an id, and the place in it.
fn place(id: JobId) -> (u64, usize) {
    (id.0 / CHUNK as u64, (id.0 % CHUNK as u64) as usize)
}

impl Jobs {
    /// The job of an id, if it is in memory.
    pub fn get(&self, id: &JobId) -> Option<&Job> {
        let (chunk, at) = place(*id);
        self.chunks.get(&chunk)?.jobs[at].as_deref()
    }

    /// True if it is in memory.
    pub fn contains_key(&self, id: &JobId) -> bool {
        self.get(id).is_some()
    }

    /// All of them, by id.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Job> + Clone {
        let chunks = self.chunks.values().flat_map(|chunk| chunk.jobs.iter());
        chunks.filter_map(Option::as_deref)
    }

    /// Their ids, rising.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &JobId> + Clone {
        self.values().map(|job| &job.id)
    }

    /// All of them with their ids.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&JobId, &Job)> + Clone {
        self.values().map(|job| (&job.id, job))
    }

    /// Those of some ids, with their ids.
    pub fn range(
        &self,
        ids: impl RangeBounds<JobId> + Clone,
    ) -> impl DoubleEndedIterator<Item = (&JobId, &Job)> + Clone {
        let chunk = |bound: Bound<&JobId>| match bound {
            Bound::Included(id) | Bound::Excluded(id) => Bound::Included(place(*id).0),
            Bound::Unbounded => Bound::Unbounded,
        };
        let chunks = (chunk(ids.start_bound()), chunk(ids.end_bound()));
        let chunks = self.chunks.range(chunks);
        let jobs = chunks.flat_map(|(_, chunk)| chunk.jobs.iter());
        let jobs = jobs.filter_map(Option::as_deref);
        let inside = move |job: &&Job| ids.contains(&job.id);
        jobs.filter(inside).map(|job| (&job.id, job))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get_mut(&mut self, id: &JobId) -> Option<&mut Job> {
        let (chunk, at) = place(*id);
        self.chunks.get_mut(&chunk)?.jobs[at].as_deref_mut()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        let chunks = self.chunks.values_mut();
        let jobs = chunks.flat_map(|chunk| chunk.jobs.iter_mut());
        jobs.filter_map(Option::as_deref_mut)
    }

    pub(super) fn insert(&mut self, job: Job) {
        let (chunk, at) = place(job.id);
        let chunk = self.chunks.entry(chunk).or_insert_with(Chunk::new);
        if chunk.jobs[at].replace(Box::new(job)).is_none() {
            chunk.len += 1;
            self.len += 1;
        }
    }

    pub(super) fn remove(&mut self, id: &JobId) -> Option<Job> {
        let (number, at) = place(*id);
        let chunk = self.chunks.get_mut(&number)?;
        let job = chunk.jobs[at].take()?;
        chunk.len -= 1;
        self.len -= 1;
        if chunk.len == 0 {
            self.chunks.remove(&number);
        }
        Some(*job)
    }
}

impl Index<&JobId> for Jobs {
    type Output = Job;

    fn index(&self, id: &JobId) -> &Job {
        self.get(id).expect("the job is in memory")
    }
}

/// As a sequence of jobs, by id.
impl Serialize for Jobs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq as _;
        let mut jobs = serializer.serialize_seq(Some(self.len))?;
        for job in self.values() {
            jobs.serialize_element(job)?;
        }
        jobs.end()
    }
}

impl<'de> Deserialize<'de> for Jobs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Jobs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a sequence of jobs")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut sequence: A,
            ) -> Result<Jobs, A::Error> {
                let mut jobs = Jobs::default();
                while let Some(job) = sequence.next_element()? {
                    jobs.insert(job);
                }
                Ok(jobs)
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}
