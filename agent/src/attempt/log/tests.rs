#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};

use super::*;

/// Writes pieces into a log of `bytes_max`, then shows it read whole.
fn check(bytes_max: u64, pieces: &[&str], expected: Expect) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::new(dir.path(), Stream::Stdout, bytes_max);
    for piece in pieces {
        writer.write(piece.as_bytes());
    }
    assert_eq!(writer.error(), None);
    let whole = read_whole(dir.path(), Stream::Stdout).unwrap();
    expected.assert_eq(&String::from_utf8(whole).unwrap());
}

#[test]
fn nothing_written_is_nothing_kept() {
    check(10, &[], expect![[""]]);
}

#[test]
fn within_the_bound_all_is_kept() {
    check(10, &["abc", "defghij"], expect!["abcdefghij"]);
}

#[test]
fn beyond_the_bound_the_middle_is_dropped_and_said() {
    check(
        10,
        &["abcdefghijklmnopqrstuvwxyz"],
        expect![[r"
        abcde
        [jero: 16 bytes dropped here]
        vwxyz"]],
    );
    check(
        10,
        &["abc", "defghi", "jk", "lmno"],
        expect![[r"
        abcde
        [jero: 5 bytes dropped here]
        klmno"]],
    );
}

#[test]
fn a_bound_of_zero_keeps_nothing() {
    check(0, &["abc"], expect![[""]]);
}

#[test]
fn any_pieces_give_the_first_and_the_last_half() {
    use proptest::prelude::*;
    proptest!(|(pieces in proptest::collection::vec(0usize..40, 0..30), half in 1u64..25)| {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::new(dir.path(), Stream::Stderr, half * 2);
        let mut all: Vec<u8> = Vec::new();
        for piece in pieces {
            let bytes: Vec<u8> = (0..piece).map(|i| (all.len() + i) as u8).collect();
            writer.write(&bytes);
            all.extend(bytes);
            let chunk = read(dir.path(), Stream::Stderr, 0, 1000).unwrap();
            prop_assert_eq!(&chunk.data[..], &all[..all.len().min(half as usize)]);
            prop_assert_eq!(chunk.length, all.len() as u64);
            let last = read(dir.path(), Stream::Stderr, half, 1000).unwrap();
            prop_assert!(last.next_offset() == all.len() as u64);
            prop_assert_eq!(&last.data[..], &all[last.offset as usize..]);
            let expected = (all.len() as u64).saturating_sub(half).min(half);
            prop_assert_eq!(last.data.len() as u64, expected);
        }
    });
}

/// A follower beside a flooding writer sees each byte where it belongs, or not at all.
#[test]
fn a_follower_never_sees_overwritten_bytes() {
    const LENGTH: u64 = 4 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let writing = std::thread::spawn(move || {
        let mut writer = LogWriter::new(&path, Stream::Stdout, 8192);
        let words: Vec<u8> = (0..LENGTH / 8).flat_map(u64::to_le_bytes).collect();
        words.chunks(1024).for_each(|chunk| writer.write(chunk));
    });
    let mut offset = 0;
    while offset < LENGTH {
        let chunk = read(dir.path(), Stream::Stdout, offset, 2048).unwrap();
        assert!(chunk.offset >= offset || chunk.data.is_empty());
        for (i, byte) in chunk.data.iter().enumerate() {
            let at = chunk.offset + i as u64;
            assert_eq!(*byte, (at / 8).to_le_bytes()[(at % 8) as usize], "at {at}");
        }
        offset = offset.max(chunk.next_offset());
    }
    writing.join().unwrap();
}

#[test]
fn a_full_disk_is_remembered_and_blocks_nothing() {
    let mut writer = LogWriter::new(Path::new("/dev/full/none"), Stream::Stdout, 100);
    writer.write(b"abc");
    writer.write(b"def");
    assert!(
        writer
            .error()
            .is_some_and(|e| e.starts_with("cannot keep output in"))
    );
}

#[test]
fn only_regular_files_are_read_or_written() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    std::fs::write(&target, "of somebody else").unwrap();
    let head = dir.path().join("stdout.head");
    let refused = || {
        let mut writer = LogWriter::new(dir.path(), Stream::Stdout, 100);
        writer.write(b"abc");
        writer.error().is_some() && read(dir.path(), Stream::Stdout, 0, 100).is_err()
    };
    std::os::unix::fs::symlink(&target, &head).unwrap();
    assert!(refused(), "a link");
    assert_eq!(std::fs::read(&target).unwrap(), b"of somebody else");
    std::fs::remove_file(&head).unwrap();
    nix::unistd::mkfifo(&head, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refused(), "a pipe, for which nobody waits");
}
