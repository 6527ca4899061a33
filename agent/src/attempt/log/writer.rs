//! The writing side of a kept log, used by the shim alone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{HEADER_BYTES, Header, Stream, open_regular};

/// Keeps one stream's output within its bound. Writing never fails and never
/// blocks on anything but the disk: what cannot be kept is dropped, and the
/// first error is remembered. Files are made when the first byte needs them.
#[derive(Debug)]
pub(crate) struct LogWriter {
    head_path: PathBuf,
    tail_path: PathBuf,
    head_max_bytes: u64,
    ring_bytes: u64,
    /// Of the stream so far.
    length: u64,
    head: Option<File>,
    tail: Option<File>,
    error: Option<String>,
}

impl LogWriter {
    pub(crate) fn new(dir: &Path, stream: Stream, bytes_max: u64) -> Self {
        Self {
            head_path: stream.head(dir),
            tail_path: stream.tail(dir),
            head_max_bytes: bytes_max - bytes_max / 2,
            ring_bytes: bytes_max / 2,
            length: 0,
            head: None,
            tail: None,
            error: None,
        }
    }

    /// The first error, had there been one.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        let room = self.head_max_bytes.saturating_sub(self.length);
        let (first, rest) =
            bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        let kept = self.write_head(first).map_err(|e| (e, &self.head_path));
        if let Err((e, path)) = kept {
            self.error = Some(format!("cannot keep output in {}: {e}", path.display()));
            return;
        }
        if let Err(e) = self.write_ring(rest) {
            self.error = Some(format!(
                "cannot keep output in {}: {e}",
                self.tail_path.display()
            ));
        }
    }

    fn write_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let head = opened(&mut self.head, &self.head_path)?;
        head.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn write_ring(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() || self.ring_bytes == 0 {
            return Ok(());
        }
        let length = self.length + bytes.len() as u64;
        let header = Header {
            begun: length,
            done: self.length,
            ring_bytes: self.ring_bytes,
        };
        let tail = opened(&mut self.tail, &self.tail_path)?;
        tail.write_all_at(&header.to_bytes(), 0)?;
        // Of a write longer than the ring only its end can stay.
        let skipped = bytes
            .len()
            .saturating_sub(usize::try_from(self.ring_bytes).unwrap_or(usize::MAX));
        let kept = &bytes[skipped..];
        let at = (self.length + skipped as u64 - self.head_max_bytes) % self.ring_bytes;
        let first = kept
            .len()
            .min(usize::try_from(self.ring_bytes - at).unwrap_or(usize::MAX));
        tail.write_all_at(&kept[..first], HEADER_BYTES + at)?;
        tail.write_all_at(&kept[first..], HEADER_BYTES)?;
        tail.write_all_at(
            &Header {
                done: length,
                ..header
            }
            .to_bytes(),
            0,
        )?;
        self.length = length;
        Ok(())
    }
}

fn opened<'a>(file: &'a mut Option<File>, path: &Path) -> io::Result<&'a File> {
    if file.is_none() {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        *file = Some(open_regular(&mut options, path)?);
    }
    Ok(file.as_ref().expect("it was opened above"))
}
