//! Long lists in pages: at most so many entries, at most so many looked at.

use crate::convert::status::refusal;
use crate::store::history::Finished;
use tonic::{Code, Status};

/// Entries on a page that does not say.
const LIMIT_DEFAULT: usize = 100;
/// Entries on a page, at most.
const LIMIT_MAX: usize = 1_000;
/// Entries of the history read at once.
const READ_AT_ONCE: usize = 256;
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

    /// The same page of other entries.
    pub fn map<U>(self, other: impl FnMut(T) -> U) -> Page<U> {
        Page {
            limit: self.limit,
            looked_at: self.looked_at,
            entries: self.entries.into_iter().map(other).collect(),
            last: self.last,
            full: self.full,
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

    /// Ends the page here, though there is room: what comes after an id is for the
    /// next one.
    fn end_at(&mut self, id: u64) {
        self.full = true;
        self.last = Some(id);
    }

    /// The id after which nothing was looked at any more.
    fn cut_at(&self) -> Option<u64> {
        self.last.filter(|_| self.full)
    }

    /// Where the next page starts; empty after the last.
    pub fn next_token(&self) -> String {
        self.cut_at()
            .map_or_else(String::new, |last| last.to_string())
    }
}

/// One page of two lists, the newest first: what was in memory when that was looked
/// at, and the history read after that. What went from one to the other in between
/// stands in both, and is listed once.
pub(super) fn merged<T>(
    limit: usize,
    memory: Page<(u64, T)>,
    history: impl Iterator<Item = Result<(u64, Option<T>), Status>>,
) -> Result<Page<T>, Status> {
    let cut_at = memory.cut_at();
    let mut page = Page::new(limit);
    let mut live = memory.entries.into_iter().peekable();
    for found in history {
        let (id, entry) = found?;
        if cut_at.is_some_and(|cut_at| id < cut_at) {
            break;
        }
        while let Some((newer, entry)) = live.next_if(|(live, _)| *live > id) {
            if !page.look(newer, || Some(entry)) {
                return Ok(page);
            }
        }
        let in_both = live.peek().is_some_and(|(live, _)| *live == id);
        if !in_both && !page.look(id, || entry) {
            return Ok(page);
        }
    }
    for (id, entry) in live {
        if !page.look(id, || Some(entry)) {
            return Ok(page);
        }
    }
    if let Some(id) = cut_at {
        page.end_at(id);
    }
    Ok(page)
}

/// Entries of the history, the newest first, read as they are asked for.
pub(super) fn newest_first<E>(
    before: Option<u64>,
    mut read: impl FnMut(Option<u64>, usize) -> Result<Vec<Finished>, E>,
) -> impl Iterator<Item = Result<Finished, E>> {
    let (mut before, mut more) = (before, true);
    let mut entries = Vec::new().into_iter();
    std::iter::from_fn(move || {
        if entries.len() == 0 && more {
            match read(before, READ_AT_ONCE) {
                Err(error) => {
                    more = false;
                    return Some(Err(error));
                }
                Ok(next) => {
                    more = next.len() == READ_AT_ONCE;
                    entries = next.into_iter();
                }
            }
        }
        let entry = entries.next()?;
        before = Some(entry.id);
        Some(Ok(entry))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of two lists, each by its ids, until the last.
    fn pages(limit: usize, memory: &[u64], history: &[u64]) -> Vec<Vec<String>> {
        let (mut pages, mut before) = (Vec::new(), u64::MAX);
        loop {
            let mut live = Page::new(limit);
            for id in memory.iter().filter(|id| **id < before) {
                if !live.look(*id, || Some((*id, format!("m{id}")))) {
                    break;
                }
            }
            let kept = history.iter().filter(|id| **id < before);
            let kept = kept.map(|id| Ok((*id, Some(format!("h{id}")))));
            let page = merged(limit, live, kept).expect("nothing fails here");
            let next = page.next_token();
            pages.push(page.entries);
            if next.is_empty() {
                return pages;
            }
            before = next.parse().expect("an id");
        }
    }

    #[test]
    fn two_lists_are_merged_in_order_and_nothing_comes_twice() {
        let all = |limit, memory: &[u64], history: &[u64]| {
            let pages = pages(limit, memory, history);
            assert!(pages.iter().all(|page| page.len() <= limit));
            pages.concat().join(" ")
        };
        for limit in 1..8 {
            assert_eq!(
                all(limit, &[9, 5, 4, 1], &[8, 5, 3, 2]),
                "m9 h8 m5 m4 h3 h2 m1",
                "{limit} on a page"
            );
            assert_eq!(all(limit, &[], &[3, 2, 1]), "h3 h2 h1");
            assert_eq!(all(limit, &[3, 2, 1], &[]), "m3 m2 m1");
            assert_eq!(all(limit, &[4, 3], &[2, 1]), "m4 m3 h2 h1");
            assert_eq!(all(limit, &[2, 1], &[4, 3]), "h4 h3 m2 m1");
        }
    }

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
