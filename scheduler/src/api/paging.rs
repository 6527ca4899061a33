//! Long lists in pages: at most so many entries, at most so many looked at.

use crate::convert::status::refusal;
use tonic::{Code, Status};

/// Entries on a page that does not say.
const LIMIT_DEFAULT: usize = 100;
/// Entries on a page, at most.
const LIMIT_MAX: usize = 1_000;
/// Entries looked at for one page; where few match, a page may be short or
/// empty and still have a next one.
pub(super) const LOOKED_AT_MAX: usize = 10_000;

/// The bound of a page.
pub(super) fn limit(asked: u32) -> usize {
    match asked as usize {
        0 => LIMIT_DEFAULT,
        asked => asked.min(LIMIT_MAX),
    }
}

/// The id that the page before ended with; `None` on the first.
pub(super) fn start(token: &str) -> Result<Option<u64>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    token.parse().map(Some).map_err(|_| {
        let remedy = "hand back the token of the page before";
        refusal(
            Code::InvalidArgument,
            "BAD_PAGE_TOKEN",
            "this is no page token",
            Some("page_token"),
            remedy,
        )
    })
}

/// One page as it fills.
#[derive(Debug)]
pub(super) struct Page<T> {
    limit: usize,
    looked_at: usize,
    /// What is on it.
    pub entries: Vec<T>,
    last: Option<u64>,
    full: bool,
}

impl<T> Page<T> {
    /// An empty one.
    pub fn new(limit: usize) -> Self {
        Page {
            limit,
            looked_at: 0,
            entries: Vec::new(),
            last: None,
            full: false,
        }
    }

    /// Looks at one more entry; false once the page is full and this entry was
    /// left for the next.
    pub fn look(&mut self, id: u64, entry: impl FnOnce() -> Option<T>) -> bool {
        if self.entries.len() >= self.limit || self.looked_at >= LOOKED_AT_MAX {
            self.full = true;
            return false;
        }
        self.looked_at += 1;
        self.last = Some(id);
        self.entries.extend(entry());
        true
    }

    /// Where the next page starts; empty after the last.
    pub fn next_token(&self) -> String {
        self.last
            .filter(|_| self.full)
            .map_or_else(String::new, |last| last.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_limit_and_says_whether_there_is_more() {
        let mut page = Page::new(2);
        assert!(page.look(1, || Some('a')));
        assert!(page.look(2, || None));
        assert!(page.look(3, || Some('b')));
        assert_eq!(page.next_token(), "");
        assert!(!page.look(4, || Some('c')));
        assert_eq!((page.next_token().as_str(), page.entries.len()), ("3", 2));
    }

    #[test]
    fn limits_are_bounded_and_tokens_are_checked() {
        assert_eq!((limit(0), limit(7), limit(u32::MAX)), (100, 7, 1_000));
        assert_eq!(start("17").expect("read"), Some(17));
        assert_eq!(start("").expect("read"), None);
        start("x").expect_err("refused");
    }
}
