//! On whose account a file is held: the queue that it was first uploaded for, or nobody's.
//!
//! The rule: the account stands in the file's name, so that what each holds is found from the directory alone. A content that two
//! queues use is on the account of the one that brought it.

use std::fmt;
use std::sync::Arc;

/// So that a name has room for digest, size and number within what file systems take.
const CHARS_MAX: usize = 128;
/// Between digest and account; in no queue's name.
const MARK: char = '@';

/// An account.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account(Option<Arc<str>>);

impl Account {
    /// The account of no queue: uploads that do not say what for.
    pub const NOBODY: Account = Account(None);

    /// A queue's; one whose full name is very long is on the account of the nearest queue above it whose name is not.
    pub fn of_queue(name: &str) -> Self {
        let mut name = name;
        while name.len() > CHARS_MAX {
            name = name.rsplit_once('.').map_or("", |(above, _)| above);
        }
        let safe = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        Account(
            Some(name)
                .filter(|name| safe && !name.is_empty())
                .map(Arc::from),
        )
    }

    /// What a file's name says after its digest.
    pub(super) fn suffix(&self) -> String {
        self.0
            .as_ref()
            .map_or_else(String::new, |queue| format!("{MARK}{queue}"))
    }

    /// A name without its account, and that.
    pub(super) fn split(name: &str) -> (&str, Self) {
        match name.split_once(MARK) {
            Some((digest, queue)) => (digest, Self::of_queue(queue)),
            None => (name, Self::NOBODY),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("(no queue)"))
    }
}
