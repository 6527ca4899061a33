//! Going on after a loss that the operator has accepted by number.
//!
//! The rule: nothing is cut unless something acknowledged is lost or damaged, and then exactly after the last record that can be
//! read: any other number is refused. History entries of the lost records go too; a crash in the middle is repeated by
//! the next open, since the mark is moved last.

use std::ops::Bound;

use super::frame::{self, Frame};
use super::{Journal, Records, Sequence};
use crate::store::StoreError;
use crate::store::engine::{Mark, TreeName, Write};

impl Journal {
    /// Cuts the journal after `accepted` if it cannot be read further; leaves an intact journal alone.
    pub(super) fn accept_loss(
        &mut self,
        accepted: Sequence,
        base: Sequence,
    ) -> Result<(), StoreError> {
        let (readable, intact) = self.readable_through(base)?;
        let promised = match self.engine.acknowledged()? {
            Mark::At(acknowledged) => acknowledged <= readable,
            Mark::Absent | Mark::Unreadable(_) => false,
        };
        if intact && promised {
            return Ok(());
        }
        if accepted != readable {
            return Err(StoreError::LossNotAsAccepted {
                path: self.engine.path().to_owned(),
                accepted,
                readable,
            });
        }
        tracing::warn!(path = %self.engine.path().display(), %accepted, "acknowledged records after this one are lost, as accepted");
        self.history().forget_after(accepted)?;
        self.cut_after(accepted)?;
        self.engine.acknowledge(accepted)
    }

    /// The last record that can be read from `base` on, and whether the journal ends there.
    fn readable_through(&self, base: Sequence) -> Result<(Sequence, bool), StoreError> {
        let mut readable = base;
        for record in Records::new(
            &*self.records,
            self.engine.path(),
            base,
            Sequence(u64::MAX),
            self.floor,
        ) {
            match record {
                Ok(record) => readable = record.sequence,
                Err(StoreError::DamagedRecord { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        let intact = self
            .last_on_disk()
            .is_ok_and(|last| last.max(base) == readable);
        Ok((readable, intact))
    }

    /// Removes everything after a readable record: later values whole, the value that holds it from there on.
    fn cut_after(&mut self, kept: Sequence) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        let beyond = frame::key(kept.next(), 0);
        for entry in self
            .records
            .scan((Bound::Included(beyond.clone()), Bound::Unbounded))
        {
            writes.push(Write {
                tree: TreeName::Journal,
                key: entry?.0,
                value: None,
            });
        }
        if let Some(entry) = self
            .records
            .scan((Bound::Unbounded, Bound::Excluded(beyond)))
            .next_back()
        {
            let (key, mut value) = entry?;
            let mut length = 0;
            while let Ok((frame, more)) = Frame::read(&value[length..]) {
                if frame.sequence > kept {
                    break;
                }
                length += more;
            }
            value.truncate(length);
            let value = Some(value).filter(|value| !value.is_empty());
            writes.push(Write {
                tree: TreeName::Journal,
                key,
                value,
            });
        }
        self.engine.apply(writes)
    }
}
