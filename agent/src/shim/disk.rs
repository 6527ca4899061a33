//! What an attempt uses of the disk, measured by walking its directories.
//!
//! Counted are the blocks of what is in them, a file with several names once.
//! Not counted: files that have no name any more, and those elsewhere. A walk
//! ends early after many entries; what it gives then is too little, never too
//! much.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// A tenth of a second's work or so.
const ENTRIES_MAX: usize = 100_000;
/// The unit of `st_blocks`, whatever the file system's own.
const BLOCK_BYTES: u64 = 512;

/// MiB used below these directories, rounded up.
pub(super) fn used_mib(directories: [PathBuf; 2]) -> i64 {
    let mut blocks = 0_u64;
    let mut entries = 0;
    let mut linked = BTreeSet::new();
    let mut left: Vec<PathBuf> = directories.into();
    while let Some(directory) = left.pop() {
        // What is gone or closed to us uses nothing that we know of.
        let Ok(listed) = fs::read_dir(directory) else {
            continue;
        };
        for entry in listed.flatten() {
            entries += 1;
            if entries > ENTRIES_MAX {
                return to_mib(blocks);
            }
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                left.push(entry.path());
            } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            blocks += metadata.blocks();
        }
    }
    to_mib(blocks)
}

fn to_mib(blocks: u64) -> i64 {
    let mib = blocks.saturating_mul(BLOCK_BYTES).div_ceil(1 << 20);
    i64::try_from(mib).unwrap_or(i64::MAX)
}
