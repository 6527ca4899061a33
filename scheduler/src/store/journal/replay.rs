//! Reading the journal: frames back to records, each checked to be the one that comes next.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::frame::{self, Frame};
use super::{Record, Sequence};
use crate::store::StoreError;
use crate::store::engine::{Scan, Tree};

/// The records after some sequence number, in order; fused by the first error.
pub struct Records<'a> {
    values: Scan<'a>,
    path: PathBuf,
    /// The value being read and how far.
    value: Vec<u8>,
    offset: usize,
    /// Records up to here are skipped.
    after: Sequence,
    /// The record that must come next.
    expected: Sequence,
    through: Sequence,
    failed: bool,
    below_floor: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(
        tree: &'a dyn Tree,
        path: &Path,
        after: Sequence,
        through: Sequence,
        floor: Sequence,
    ) -> Self {
        let first = frame::key(after.next(), 0);
        // The first wanted record may lie inside a value that starts with an earlier one.
        let start = match tree
            .scan((Bound::Unbounded, Bound::Included(first.clone())))
            .next_back()
        {
            Some(Ok((key, _))) => key,
            _ => first,
        };
        Self {
            values: tree.scan((Bound::Included(start), Bound::Unbounded)),
            path: path.to_owned(),
            value: Vec::new(),
            offset: 0,
            after,
            expected: after.next(),
            through,
            failed: false,
            below_floor: after < floor,
        }
    }

    fn damaged<T>(&self, what: impl Into<String>) -> Result<T, StoreError> {
        Err(StoreError::DamagedRecord {
            path: self.path.clone(),
            sequence: self.expected,
            what: what.into(),
        })
    }

    /// Steps to the next frame of a wanted record and appends its bytes; says whether the record is complete.
    fn read_chunk(&mut self, chunk: u32, bytes: &mut Vec<u8>) -> Result<bool, StoreError> {
        loop {
            while self.offset == self.value.len() {
                let Some(value) = self.values.next() else {
                    return self.damaged(if chunk == 0 {
                        "it is missing"
                    } else {
                        "its last chunks are missing"
                    });
                };
                (self.value, self.offset) = (value?.1, 0);
            }
            let (frame, length) = match Frame::read(&self.value[self.offset..]) {
                Ok(read) => read,
                Err(what) => return self.damaged(what),
            };
            if frame.sequence > self.after {
                if (frame.sequence, frame.chunk) != (self.expected, chunk) {
                    let found = format!(
                        "chunk {chunk} of it is missing, chunk {} of record {} is in its place",
                        frame.chunk, frame.sequence
                    );
                    return self.damaged(found);
                }
                bytes.extend_from_slice(frame.bytes);
                let last = frame.last;
                self.offset += length;
                return Ok(last);
            }
            self.offset += length;
        }
    }

    fn read_record(&mut self) -> Result<Record, StoreError> {
        if self.below_floor {
            return self.damaged("it has been truncated and no snapshot that holds it was found");
        }
        let mut bytes = Vec::new();
        let mut chunk = 0;
        while !self.read_chunk(chunk, &mut bytes)? {
            chunk += 1;
        }
        let sequence = self.expected;
        self.expected = sequence.next();
        Ok(Record { sequence, bytes })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.expected > self.through {
            return None;
        }
        let record = self.read_record();
        self.failed = record.is_err();
        Some(record)
    }
}
