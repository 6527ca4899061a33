//! A file's content and the digest that addresses it.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// Bytes moved at a time.
pub const CHUNK_BYTES: usize = 256 << 10;

/// What a content is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Lower-case hexadecimal SHA-256.
    pub digest: String,
    /// Its length.
    pub size_bytes: u64,
}

/// Takes a content in piece by piece.
#[derive(Default)]
pub struct Digester {
    hash: Sha256,
    size_bytes: u64,
}

impl Digester {
    /// The next piece.
    pub fn take(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        self.size_bytes += piece.len() as u64;
    }

    /// All that is left to read.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn take_all(&mut self, mut from: impl Read) -> io::Result<()> {
        let mut piece = vec![0; CHUNK_BYTES];
        loop {
            match from.read(&mut piece)? {
                0 => return Ok(()),
                length => self.take(&piece[..length]),
            }
        }
    }

    /// How much was taken in.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What all pieces together are known by.
    pub fn content(self) -> Content {
        let digest = self
            .hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Content {
            digest,
            size_bytes: self.size_bytes,
        }
    }
}

/// What a reader's whole content is known by.
///
/// # Errors
/// It cannot be read.
pub fn of(from: impl Read) -> io::Result<Content> {
    let mut digester = Digester::default();
    digester.take_all(from)?;
    Ok(digester.content())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    #[test]
    fn the_digest_is_sha_256_in_hexadecimal() {
        let content = of(&b"abc"[..]).expect("a slice can be read");
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            content,
            Content {
                digest: digest.to_owned(),
                size_bytes: 3
            }
        );
    }
}
