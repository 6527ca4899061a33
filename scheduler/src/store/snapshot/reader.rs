//! Reading a snapshot: one checked chunk at a time, to an intact trailer.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{CHUNK_BYTES, FORMAT, HEADER_BYTES, MAGIC, TRAILER_BYTES, chunk_checksum};
use crate::store::StoreError;
use crate::store::journal::Sequence;

/// The stream of a snapshot. As [`Read`], damage comes out as an [`io::Error`] that carries the [`StoreError`].
#[derive(Debug)]
pub struct SnapshotReader {
    path: PathBuf,
    through: Sequence,
    file: BufReader<File>,
    /// How far the file has been read, for messages.
    offset: u64,
    chunks: u64,
    length_bytes: u64,
    total: crc32fast::Hasher,
    ended: bool,
    /// The chunk that [`Read`] hands out, and how far.
    chunk: Vec<u8>,
    taken: usize,
}

impl SnapshotReader {
    pub(super) fn open(path: PathBuf, through: Sequence) -> Result<Self, StoreError> {
        let file =
            File::open(&path).map_err(|source| StoreError::io("open snapshot", &path, source))?;
        let mut reader = Self {
            path,
            through,
            file: BufReader::with_capacity(CHUNK_BYTES, file),
            offset: 0,
            chunks: 0,
            length_bytes: 0,
            total: crc32fast::Hasher::new(),
            ended: false,
            chunk: Vec::new(),
            taken: 0,
        };
        reader.check_header()?;
        Ok(reader)
    }

    /// The last record whose effect it holds.
    pub fn through(&self) -> Sequence {
        self.through
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next chunk; `None` after the last one, when the trailer has been checked.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let start = self.offset;
        let length_bytes = self.array::<4>()?;
        let length = u32::from_le_bytes(length_bytes) as usize;
        if length == 0 {
            self.check_trailer(start)?;
            self.ended = true;
            return Ok(None);
        }
        if length > CHUNK_BYTES {
            return Err(self.damaged(start, "a chunk is longer than chunks are"));
        }
        let expected = u32::from_le_bytes(self.array()?);
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        if chunk_checksum(self.chunks, &bytes) != expected {
            return Err(self.damaged(start, "a chunk's checksum does not match its bytes"));
        }
        self.total.update(&bytes);
        self.chunks += 1;
        self.length_bytes += length as u64;
        Ok(Some(bytes))
    }

    fn check_header(&mut self) -> Result<(), StoreError> {
        let header = self.array::<HEADER_BYTES>()?;
        let (body, checksum) = header.split_at(HEADER_BYTES - 4);
        if !body.starts_with(MAGIC) || crc32fast::hash(body).to_le_bytes() != *checksum {
            return Err(self.damaged(0, "its header is not one of a snapshot"));
        }
        let found = body[8..]
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if found > FORMAT {
            return Err(StoreError::NewerFormat {
                path: self.path.clone(),
                found,
                supported: FORMAT,
            });
        }
        if body[12..] != self.through.0.to_le_bytes() {
            return Err(self.damaged(
                12,
                "its name and its header disagree about the record it reaches",
            ));
        }
        Ok(())
    }

    fn check_trailer(&mut self, start: u64) -> Result<(), StoreError> {
        let trailer = self.array::<TRAILER_BYTES>()?;
        let mut expected = [0; TRAILER_BYTES];
        expected[..8].copy_from_slice(&self.length_bytes.to_le_bytes());
        expected[8..12].copy_from_slice(&self.total.clone().finalize().to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[0; 4]);
        hasher.update(&expected[..12]);
        expected[12..].copy_from_slice(&hasher.finalize().to_le_bytes());
        let more = self
            .file
            .read(&mut [0])
            .map_err(|source| StoreError::io("read snapshot", &self.path, source))?;
        if trailer == expected && more == 0 {
            return Ok(());
        }
        Err(self.damaged(start, "its trailer does not match what came before"))
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], StoreError> {
        let mut bytes = [0; LENGTH];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StoreError> {
        match self.file.read_exact(bytes) {
            Ok(()) => {
                self.offset += bytes.len() as u64;
                Ok(())
            }
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged(self.offset, "it is cut short"))
            }
            Err(source) => Err(StoreError::io("read snapshot", &self.path, source)),
        }
    }

    fn damaged(&self, offset: u64, what: &'static str) -> StoreError {
        StoreError::DamagedSnapshot {
            path: self.path.clone(),
            offset,
            what,
        }
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.len() {
            let Some(chunk) = self.next_chunk().map_err(io::Error::other)? else {
                return Ok(0);
            };
            (self.chunk, self.taken) = (chunk, 0);
        }
        let length = out.len().min(self.chunk.len() - self.taken);
        out[..length].copy_from_slice(&self.chunk[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}
