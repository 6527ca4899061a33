//! Writing a snapshot: chunks to a temporary file, then the steps that make it count.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use super::{CHUNK_BYTES, FORMAT, HEADER_BYTES, MAGIC, Snapshots, TEMPORARY, chunk_checksum};
use crate::store::journal::Sequence;
use crate::store::{StoreError, durable_file};

/// A snapshot being written; dropped without [`SnapshotWriter::commit`] it leaves nothing.
#[derive(Debug)]
pub struct SnapshotWriter {
    snapshots: Snapshots,
    through: Sequence,
    temporary: PathBuf,
    file: File,
    chunk: Vec<u8>,
    chunks: u64,
    length_bytes: u64,
    total: crc32fast::Hasher,
    committed: bool,
}

impl SnapshotWriter {
    pub(super) fn create(snapshots: Snapshots, through: Sequence) -> Result<Self, StoreError> {
        let temporary = snapshots.path_of(through).with_extension(TEMPORARY);
        let mut file = File::create(&temporary)
            .map_err(|source| StoreError::io("create snapshot", &temporary, source))?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&through.0.to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        file.write_all(&header)
            .map_err(|source| StoreError::io("write snapshot", &temporary, source))?;
        let chunk = Vec::with_capacity(CHUNK_BYTES);
        Ok(Self {
            snapshots,
            through,
            temporary,
            file,
            chunk,
            chunks: 0,
            length_bytes: 0,
            total: crc32fast::Hasher::new(),
            committed: false,
        })
    }

    /// Closes the stream and makes it the newest snapshot, durable on return; the previous one stays beside it. Returns up to which
    /// record the journal may be truncated: what the previous one holds.
    pub fn commit(mut self) -> Result<Sequence, StoreError> {
        self.finish()
            .map_err(|source| StoreError::io("write snapshot", &self.temporary, source))?;
        let path = self.snapshots.path_of(self.through);
        fs::rename(&self.temporary, &path)
            .map_err(|source| StoreError::io("rename snapshot to", &path, source))?;
        self.committed = true;
        durable_file::sync_directory(&self.snapshots.directory)?;
        self.snapshots.remove_older()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write_chunk()?;
        let mut trailer = Vec::with_capacity(4 + super::TRAILER_BYTES);
        trailer.extend_from_slice(&0u32.to_le_bytes());
        trailer.extend_from_slice(&self.length_bytes.to_le_bytes());
        trailer.extend_from_slice(&self.total.clone().finalize().to_le_bytes());
        trailer.extend_from_slice(&crc32fast::hash(&trailer).to_le_bytes());
        self.file.write_all(&trailer)?;
        self.file.sync_all()
    }

    /// Writes what has been gathered, if anything: a length of 0 would be the trailer.
    fn write_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(self.chunk.len()).expect("a chunk is at most 64 KiB");
        let checksum = chunk_checksum(self.chunks, &self.chunk);
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&checksum.to_le_bytes())?;
        self.file.write_all(&self.chunk)?;
        self.total.update(&self.chunk);
        self.length_bytes += u64::from(length);
        self.chunks += 1;
        self.chunk.clear();
        Ok(())
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK_BYTES {
            self.write_chunk()?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Nothing to do: only [`SnapshotWriter::commit`] makes anything durable.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.committed
            && let Err(error) = durable_file::remove(&self.temporary)
        {
            tracing::warn!(%error, "a half-written snapshot stays until the next start");
        }
    }
}
