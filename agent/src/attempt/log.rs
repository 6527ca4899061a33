//! What is kept of a job's output: the first half and the last half of a bound.
//!
//! Offsets are those of the stream as the job wrote it. `<stream>.head` holds
//! the first half, plainly. `<stream>.tail`, made only when the head is full,
//! is a ring behind a header of two counters: `begun`, the stream's length
//! once the write in progress is done, and `done`, its length for certain. A
//! reader takes `done`, reads, then takes `begun`: bytes that a concurrent
//! write may have overwritten lie before `begun - ring` and are let go.
//! Neither file is synced; after a power failure the end of a log may be gone.
//! The job can reach its log's place: only regular files are opened, no links
//! are followed and no pipe is waited for.

mod writer;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;

use super::AttemptError;
pub(crate) use writer::LogWriter;

/// `begun`, `done` and the ring's size, little-endian.
const HEADER_BYTES: u64 = 24;

/// One of a job's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn head(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Stdout => "stdout.head",
            Self::Stderr => "stderr.head",
        })
    }

    fn tail(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Stdout => "stdout.tail",
            Self::Stderr => "stderr.tail",
        })
    }
}

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// Where `data` begins; past the offset asked for if bytes there were
    /// dropped, or short of it if the stream is not yet that long.
    pub offset: u64,
    /// The bytes; empty at the end of what there is now.
    pub data: Vec<u8>,
    /// The stream's length when this was read.
    pub length: u64,
}

impl LogChunk {
    /// Where to go on reading.
    pub fn next_offset(&self) -> u64 {
        self.offset + self.data.len() as u64
    }
}

/// The header of a ring file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    begun: u64,
    done: u64,
    ring_bytes: u64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&self.begun.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.done.to_le_bytes());
        bytes[16..].copy_from_slice(&self.ring_bytes.to_le_bytes());
        bytes
    }

    /// `None` while the writer has not written the first one yet.
    fn read(tail: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER_BYTES as usize];
        match tail.read_exact_at(&mut bytes, 0) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let word = |at: usize| {
            u64::from_le_bytes(
                bytes[at..at + 8]
                    .try_into()
                    .expect("eight bytes make a u64"),
            )
        };
        let header = Self {
            begun: word(0),
            done: word(8),
            ring_bytes: word(16),
        };
        Ok((header.ring_bytes > 0).then_some(header))
    }
}

/// Reads up to `max_bytes` from `offset` on.
pub(super) fn read(
    dir: &Path,
    stream: Stream,
    offset: u64,
    max_bytes: usize,
) -> Result<LogChunk, AttemptError> {
    let path = stream.head(dir);
    let Some(head) = open(&path)? else {
        return Ok(LogChunk {
            offset: 0,
            data: Vec::new(),
            length: 0,
        });
    };
    let head_bytes = head
        .metadata()
        .map_err(AttemptError::io("look at", &path))?
        .len();
    if offset < head_bytes {
        let mut data = vec![0; max_bytes.min(to_usize(head_bytes - offset))];
        head.read_exact_at(&mut data, offset)
            .map_err(AttemptError::io("read", &path))?;
        let length = tail_length(dir, stream)?.unwrap_or(head_bytes);
        return Ok(LogChunk {
            offset,
            data,
            length,
        });
    }
    let path = stream.tail(dir);
    let chunk = match open(&path)? {
        Some(tail) => read_ring(&tail, head_bytes, offset, max_bytes)
            .map_err(AttemptError::io("read", &path))?,
        None => None,
    };
    Ok(chunk.unwrap_or(LogChunk {
        offset: head_bytes,
        data: Vec::new(),
        length: head_bytes,
    }))
}

/// Reads all that is kept, with a line where something was dropped.
pub(super) fn read_whole(dir: &Path, stream: Stream) -> Result<Vec<u8>, AttemptError> {
    const PIECE_BYTES: usize = 1 << 20;
    let mut whole = Vec::new();
    let mut offset = 0;
    loop {
        let chunk = read(dir, stream, offset, PIECE_BYTES)?;
        if chunk.data.is_empty() {
            return Ok(whole);
        }
        if chunk.offset > offset {
            let dropped = chunk.offset - offset;
            whole.extend_from_slice(format!("\n[jero: {dropped} bytes dropped here]\n").as_bytes());
        }
        offset = chunk.next_offset();
        whole.extend_from_slice(&chunk.data);
    }
}

fn read_ring(
    tail: &File,
    head_bytes: u64,
    offset: u64,
    max_bytes: usize,
) -> io::Result<Option<LogChunk>> {
    let Some(before) = Header::read(tail)? else {
        return Ok(None);
    };
    let kept_from = head_bytes.max(before.done.saturating_sub(before.ring_bytes));
    let from = offset.max(kept_from).min(before.done);
    let mut data = vec![0; max_bytes.min(to_usize(before.done - from))];
    let at = (from - head_bytes) % before.ring_bytes;
    let first = data.len().min(to_usize(before.ring_bytes - at));
    tail.read_exact_at(&mut data[..first], HEADER_BYTES + at)?;
    tail.read_exact_at(&mut data[first..], HEADER_BYTES)?;
    let Some(after) = Header::read(tail)? else {
        return Ok(None);
    };
    let overwritten = after
        .begun
        .saturating_sub(after.ring_bytes)
        .saturating_sub(from);
    data.drain(..data.len().min(to_usize(overwritten)));
    Ok(Some(LogChunk {
        offset: from + overwritten,
        data,
        length: after.done,
    }))
}

fn tail_length(dir: &Path, stream: Stream) -> Result<Option<u64>, AttemptError> {
    let path = stream.tail(dir);
    let Some(tail) = open(&path)? else {
        return Ok(None);
    };
    let header = Header::read(&tail).map_err(AttemptError::io("read", &path))?;
    Ok(header.map(|header| header.done))
}

fn open(path: &Path) -> Result<Option<File>, AttemptError> {
    match open_regular(OpenOptions::new().read(true), path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(AttemptError::io("open", path)(e)),
    }
}

/// Opens a file that may have been put there by the job.
fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        let what = "it is not a regular file; the job may have replaced it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(file)
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
