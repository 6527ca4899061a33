//! The acknowledged mark: a small file beside the engine that says up to which record a promise was made.
//!
//! It exists because an engine that recovers from a torn tail by dropping it cannot say that it did. The rule: it is written
//! after the engine's own sync and before the acknowledgement, so it is never ahead of the journal, and a journal shorter than
//! the mark has lost something. It has its own write path: two slots, a block apart, written in turn and each with its
//! checksum, so that a torn write leaves the one before. The file keeps its size, so a full disk cannot stop it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Mark;
use crate::store::journal::Sequence;
use crate::store::{StoreError, durable_file};

const SLOT_BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"jeromark";
const PAYLOAD_BYTES: usize = 8 + 8 + 8 + 4;

/// The open mark file.
#[derive(Debug)]
pub(super) struct MarkFile {
    path: PathBuf,
    file: Option<File>,
    mark: Mark,
    /// Counts writes; the slot is chosen by its parity and the higher of two valid slots counts.
    generation: u64,
}

impl MarkFile {
    /// Reads what is there; nothing is created.
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let mut bytes = Vec::new();
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(mut file) => {
                std::io::Read::read_to_end(&mut file, &mut bytes).map_err(|source| {
                    StoreError::io("read the acknowledged mark", &path, source)
                })?;
                Some(file)
            }
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(StoreError::io("open the acknowledged mark", &path, source)),
        };
        let newest = bytes.chunks(SLOT_BYTES).filter_map(decode).max();
        let mark = match (&file, newest) {
            (None, _) => Mark::Absent,
            (Some(_), Some((_, sequence))) => Mark::At(sequence),
            (Some(_), None) => Mark::Unreadable(format!(
                "none of its slots is intact in {} bytes",
                bytes.len()
            )),
        };
        Ok(Self {
            path,
            file,
            mark,
            generation: newest.map_or(0, |(generation, _)| generation),
        })
    }

    pub(super) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Durable on return.
    pub(super) fn write(&mut self, through: Sequence) -> Result<(), StoreError> {
        let generation = self.generation + 1;
        let payload = encode(generation, through);
        match &self.file {
            Some(file) if matches!(self.mark, Mark::At(_)) => {
                let offset = (generation % 2) * SLOT_BYTES as u64;
                file.write_all_at(&payload, offset)
                    .and_then(|()| file.sync_data())
                    .map_err(|source| {
                        StoreError::io("write the acknowledged mark", &self.path, source)
                    })?;
            }
            _ => self.create(&payload)?,
        }
        self.generation = generation;
        self.mark = Mark::At(through);
        Ok(())
    }

    /// Writes both slots in full, so that later writes allocate nothing.
    fn create(&mut self, payload: &[u8]) -> Result<(), StoreError> {
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        for slot in bytes.chunks_mut(SLOT_BYTES) {
            slot[..payload.len()].copy_from_slice(payload);
        }
        durable_file::replace(&self.path, &bytes)?;
        let file = File::options()
            .read(true)
            .write(true)
            .open(&self.path)
            .map_err(|source| StoreError::io("open the acknowledged mark", &self.path, source))?;
        self.file = Some(file);
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn encode(generation: u64, through: Sequence) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(MAGIC);
    payload[8..16].copy_from_slice(&generation.to_le_bytes());
    payload[16..24].copy_from_slice(&through.0.to_le_bytes());
    let checksum = crc32fast::hash(&payload[..24]);
    payload[24..].copy_from_slice(&checksum.to_le_bytes());
    payload
}

fn decode(slot: &[u8]) -> Option<(u64, Sequence)> {
    let payload = slot.get(..PAYLOAD_BYTES)?;
    let (body, checksum) = payload.split_at(24);
    let intact = body.starts_with(MAGIC) && crc32fast::hash(body).to_le_bytes() == *checksum;
    let number = |at: usize| {
        body[at..]
            .first_chunk::<8>()
            .map(|bytes| u64::from_le_bytes(*bytes))
    };
    intact.then_some((number(8)?, Sequence(number(16)?)))
}
