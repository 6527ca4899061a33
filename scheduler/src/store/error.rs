//! What can go wrong on the scheduler's disk, in one type.
//!
//! The rule: every variant says which operation failed, on which path, and what an operator can do
//! about it. [`StoreError::is_disk_full`] and [`StoreError::is_retryable`] are what a caller decides by;
//! nobody has to read the text.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::journal::Sequence;

/// A failed operation of the store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused a read or a write.
    #[error("cannot {operation} {}: {source}{}", path.display(), io_remedy(source))]
    Io {
        /// What was being done, as a verb phrase.
        operation: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The storage engine reported something other than an I/O error.
    #[error("cannot {operation} {}: {source}; restore the directory from a backup", path.display())]
    Engine {
        /// What was being done, as a verb phrase.
        operation: &'static str,
        /// The directory of the engine.
        path: PathBuf,
        /// What the engine said.
        source: sled::Error,
    },
    /// The storage engine panicked; the panic was caught and the engine is not used again.
    #[error("cannot {operation} {}: the storage engine panicked: {message}; restart the service, its recovery tells what is left", path.display())]
    EnginePanicked {
        /// What was being done, as a verb phrase.
        operation: &'static str,
        /// The directory of the engine.
        path: PathBuf,
        /// The message of the panic.
        message: String,
    },
    /// A group could not be appended (or the journal not truncated): the journal takes nothing more until it is opened again.
    #[error(
        "cannot append to the journal, which takes nothing more until the service restarts: {source}"
    )]
    AppendFailed {
        /// What failed below.
        source: Box<StoreError>,
    },
    /// An earlier append failed: whether its records are on disk is not known until the next open.
    #[error("the journal in {} takes nothing more after: {cause}; remove the cause and restart the service", path.display())]
    Poisoned {
        /// The directory of the engine.
        path: PathBuf,
        /// The first failure, as text.
        cause: String,
        /// Whether the first failure was a full disk.
        disk_full: bool,
    },
    /// A start was refused for damage; what it found is kept as it was.
    #[error("{source}; the journal's files as they were before this start are kept in {}", kept.display())]
    Refused {
        /// Where.
        kept: PathBuf,
        /// Why it was refused.
        source: Box<StoreError>,
    },
    /// Another process has the directory open.
    #[error("{} is in use by {holder}; stop that one, or give this one a data_dir of its own", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as far as the lock file says.
        holder: String,
    },
    /// The data was written by a newer release.
    #[error("{} has format {found}, this release reads up to {supported}; start the newer release again, or restore a backup from before the upgrade", path.display())]
    NewerFormat {
        /// The file or directory concerned.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version this release reads.
        supported: u32,
    },
    /// The journal ends before what has been acknowledged to clients.
    #[error("the journal in {} ends at record {held}, but records up to {acknowledged} were acknowledged: the tail is lost; restore a backup, or go on without records {}..={acknowledged} by accepting the loss after {held}", path.display(), held.next())]
    TailLost {
        /// The directory of the engine.
        path: PathBuf,
        /// The last record that is there.
        held: Sequence,
        /// The last record that was acknowledged.
        acknowledged: Sequence,
    },
    /// A record cannot be read as it was written.
    #[error("record {sequence} of the journal in {} is damaged: {what}; restore a backup, or go on without it and all later ones by accepting the loss after {}", path.display(), sequence.previous())]
    DamagedRecord {
        /// The directory of the engine.
        path: PathBuf,
        /// The record that should have been there.
        sequence: Sequence,
        /// What was found instead.
        what: String,
    },
    /// The record of what was acknowledged is gone or unreadable.
    #[error("the acknowledged mark {} is unusable: {what}; restore it from a backup, or accept the loss after {held} (the last record that is there)", path.display())]
    DamagedMark {
        /// The mark's file.
        path: PathBuf,
        /// What was found instead.
        what: String,
        /// The last record that the journal holds.
        held: Sequence,
    },
    /// A loss was accepted that does not fit what is on disk.
    #[error("cannot accept the loss after {accepted} in {}: what is there can be read up to {readable}; accept the loss after {readable}", path.display())]
    LossNotAsAccepted {
        /// The directory of the engine.
        path: PathBuf,
        /// What the operator accepted.
        accepted: Sequence,
        /// The last readable record.
        readable: Sequence,
    },
    /// A snapshot cannot be read as it was written.
    #[error("snapshot {} is damaged at byte {offset}: {what}", path.display())]
    DamagedSnapshot {
        /// The snapshot's file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What was found instead.
        what: &'static str,
    },
    /// No snapshot can be read, and the journal alone does not reach back to the beginning.
    #[error(
        "no state to start from: {what}, and the journal begins after record {floor}; restore a backup"
    )]
    NoIntactSnapshot {
        /// What is wrong with each, newest first.
        what: String,
        /// Records up to here have been truncated.
        floor: Sequence,
    },
    /// A history entry cannot be read as it was written.
    #[error("history entry {key} in {} is damaged: {what}; restore a backup", path.display())]
    DamagedHistory {
        /// The directory of the engine.
        path: PathBuf,
        /// The entry, printed.
        key: String,
        /// What was found instead.
        what: &'static str,
    },
    /// Something larger than its bound was offered; nothing was written.
    #[error(
        "{what} of {size_bytes} bytes is over the bound of {limit_bytes} bytes; split it or raise the bound"
    )]
    TooLarge {
        /// What was offered.
        what: &'static str,
        /// Its size.
        size_bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
    /// The spool has no room for a file within its own bound; nothing was written.
    #[error("the spool {} holds {used_bytes} of {limit_bytes} bytes and has no room for {needed_bytes} more; fetch and remove outputs, or raise the bound", path.display())]
    SpoolFull {
        /// The spool's directory.
        path: PathBuf,
        /// Bytes in use, uploads in progress at their declared size included.
        used_bytes: u64,
        /// Bytes asked for.
        needed_bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
    /// The spool has room, but none for this queue; nothing was written.
    #[error(
        "the queue {account} holds {used_bytes} of its {limit_bytes} bytes in the spool and has no room for {needed_bytes} more; remove what it no longer needs, or have its share raised"
    )]
    SpoolShareFull {
        /// Whose account it would be on.
        account: String,
        /// Bytes on that account, uploads in progress at their declared size included.
        used_bytes: u64,
        /// Bytes asked for.
        needed_bytes: u64,
        /// The bound.
        limit_bytes: u64,
    },
    /// An upload continued at another offset than where it stands.
    #[error(
        "upload of {digest} continues at byte {expected}, not at {offered}; ask for its status and go on from there"
    )]
    WrongOffset {
        /// The file's sha256.
        digest: String,
        /// Where the upload stands.
        expected: u64,
        /// Where the caller wanted to write.
        offered: u64,
    },
    /// A complete upload does not have the digest it was announced with; it has been discarded.
    #[error(
        "upload announced as {announced} has sha256 {found}; it was discarded, send it again from the start"
    )]
    DigestMismatch {
        /// What the file was announced as.
        announced: String,
        /// What its bytes give.
        found: String,
    },
    /// An upload of one digest was announced with two sizes.
    #[error(
        "upload of {digest} was announced with {announced_bytes} bytes before, now with {offered_bytes}; a digest has one size"
    )]
    SizeMismatch {
        /// The file's sha256.
        digest: String,
        /// The size it was first announced with.
        announced_bytes: u64,
        /// The size it is announced with now.
        offered_bytes: u64,
    },
    /// The spool has no complete file of this digest.
    #[error("the spool has no complete file {digest}; upload it first")]
    UnknownFile {
        /// The file's sha256.
        digest: String,
    },
    /// Text that is not a sha256 digest.
    #[error("{text:?} is not a sha256 digest; write 64 lower-case hexadecimal digits")]
    BadDigest {
        /// What was given.
        text: String,
    },
}

impl StoreError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn no_intact_snapshot(damaged: Vec<(Sequence, Self)>, floor: Sequence) -> Self {
        let causes: Vec<String> = damaged.iter().map(|(_, error)| error.to_string()).collect();
        Self::NoIntactSnapshot {
            what: causes.join(", "),
            floor,
        }
    }

    /// Whether room on the disk (or a raised file-size limit or quota) is what is missing.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Engine {
                source: sled::Error::Io(source),
                ..
            } => is_full(source),
            Self::AppendFailed { source } => source.is_disk_full(),
            Self::Poisoned { disk_full, .. } => *disk_full,
            _ => false,
        }
    }

    /// Whether it says that what the journal's files hold is not what was written there.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Engine { .. }
            | Self::EnginePanicked { .. }
            | Self::TailLost { .. }
            | Self::DamagedRecord { .. }
            | Self::DamagedMark { .. }
            | Self::DamagedHistory { .. }
            | Self::LossNotAsAccepted { .. } => true,
            // Files that are cut short come out of the engine as this.
            Self::Io { source, .. } => {
                !is_full(source) && source.kind() != io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }

    /// Whether the same call can succeed later in this process, once its cause is gone; everything else is fatal
    /// (a journal that failed is so even when only the disk was full) or says that the request itself is wrong.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::SpoolFull { .. }
            | Self::SpoolShareFull { .. }
            | Self::WrongOffset { .. }
            | Self::DigestMismatch { .. }
            | Self::Locked { .. } => true,
            Self::Io { .. } => self.is_disk_full(),
            _ => false,
        }
    }
}

fn is_full(source: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn io_remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "; check the owner and mode of the directory",
        _ if is_full(source) => {
            "; free room on that file system (or raise the limit on file sizes)"
        }
        _ => "",
    }
}
