//! Contents and the digests that address them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Moved at a time.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// Whether a text is a digest as it is written here; it is then also a safe
/// name for a file.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digest of bytes at hand.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    written(Sha256::digest(bytes).as_slice())
}

/// The digest of a file, and its length.
pub(crate) fn digest_of_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; CHUNK_BYTES];
    let mut size_bytes = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((written(hash.finalize().as_slice()), size_bytes)),
            length => {
                hash.update(&piece[..length]);
                size_bytes += length as u64;
            }
        }
    }
}

fn written(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    #[test]
    fn digests_are_sha_256_in_hexadecimal() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest_of(b"abc"), digest);
        assert!(is_digest(digest));
        assert!(!is_digest(&digest.to_uppercase()) && !is_digest("../../etc/passwd"));
    }
}
