//! How records become engine values: framed, checksummed, packed and, when large, split.
//!
//! A frame is one chunk of one record: its length, a crc32 over everything else, the record's sequence
//! number, the chunk's number within the record and whether it is the last one. Frames are packed into values of at
//! most [`VALUE_BYTES_MAX`], keyed by the sequence and chunk number of the first frame inside, so that a group of
//! small records costs the engine few large values.

use super::Sequence;

/// The largest value given to the engine: sled moves what is much larger into files that its flush does not sync.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

const HEADER_BYTES: usize = 4 + 4 + 8 + 4 + 1;
/// The largest piece of a record in one frame.
pub const CHUNK_BYTES_MAX: usize = VALUE_BYTES_MAX - HEADER_BYTES;

/// One decoded frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) sequence: Sequence,
    pub(super) chunk: u32,
    pub(super) last: bool,
    pub(super) bytes: &'a [u8],
}

/// The key of a value whose first frame this is.
pub(super) fn key(sequence: Sequence, chunk: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(12);
    key.extend_from_slice(&sequence.0.to_be_bytes());
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// The sequence and chunk number that a key names.
pub(super) fn parse_key(key: &[u8]) -> Option<(Sequence, u32)> {
    let (sequence, chunk) = key.split_first_chunk::<8>()?;
    Some((
        Sequence(u64::from_be_bytes(*sequence)),
        u32::from_be_bytes(chunk.try_into().ok()?),
    ))
}

/// Packs records, numbered from `first`, into keyed values.
pub(super) fn pack(first: Sequence, records: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut packed: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut sequence = first;
    for record in records {
        let chunks = record.len().div_ceil(CHUNK_BYTES_MAX).max(1);
        for number in 0..chunks {
            let from = number * CHUNK_BYTES_MAX;
            let bytes = &record[from..record.len().min(from + CHUNK_BYTES_MAX)];
            let chunk = u32::try_from(number).expect("the record bound keeps chunk numbers small");
            let frame = Frame {
                sequence,
                chunk,
                last: number + 1 == chunks,
                bytes,
            };
            match packed.last_mut() {
                Some((_, value)) if value.len() + HEADER_BYTES + bytes.len() <= VALUE_BYTES_MAX => {
                    frame.write(value)
                }
                _ => {
                    let mut value = Vec::with_capacity(HEADER_BYTES + bytes.len());
                    frame.write(&mut value);
                    packed.push((key(sequence, chunk), value));
                }
            }
        }
        sequence = sequence.next();
    }
    packed
}

impl<'a> Frame<'a> {
    fn write(&self, out: &mut Vec<u8>) {
        let length = u32::try_from(self.bytes.len()).expect("a chunk is at most 64 KiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.checksum().to_le_bytes());
        out.extend_from_slice(&self.sequence.0.to_le_bytes());
        out.extend_from_slice(&self.chunk.to_le_bytes());
        out.push(u8::from(self.last));
        out.extend_from_slice(self.bytes);
    }

    fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.sequence.0.to_le_bytes());
        hasher.update(&self.chunk.to_le_bytes());
        hasher.update(&[u8::from(self.last)]);
        hasher.update(
            &u32::try_from(self.bytes.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        hasher.update(self.bytes);
        hasher.finalize()
    }

    /// Reads the frame at the start of `value`; returns it and its length, or what is wrong with it.
    pub(super) fn read(value: &'a [u8]) -> Result<(Frame<'a>, usize), &'static str> {
        const TORN: &str = "its frame is cut short";
        let (length, rest) = value.split_first_chunk::<4>().ok_or(TORN)?;
        let (checksum, rest) = rest.split_first_chunk::<4>().ok_or(TORN)?;
        let (sequence, rest) = rest.split_first_chunk::<8>().ok_or(TORN)?;
        let (chunk, rest) = rest.split_first_chunk::<4>().ok_or(TORN)?;
        let (&last, rest) = rest.split_first().ok_or(TORN)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| TORN)?;
        let frame = Frame {
            sequence: Sequence(u64::from_le_bytes(*sequence)),
            chunk: u32::from_le_bytes(*chunk),
            last: last != 0,
            bytes: rest.get(..length).ok_or(TORN)?,
        };
        if last > 1 || frame.checksum() != u32::from_le_bytes(*checksum) {
            return Err("its checksum does not match its bytes");
        }
        Ok((frame, HEADER_BYTES + length))
    }
}
