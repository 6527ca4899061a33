//! What a command line points at: `batch-3`, `job-17`, `job-17[3-7,9]`.

use std::fmt;
use std::str::FromStr;

use jeroboam_proto::v1;

/// Ranges in one selector, at most.
const RANGES_MAX: usize = 10_000;

/// A batch, a job, or some elements of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Selector {
    /// All jobs of a batch.
    Batch(u64),
    /// The elements of a job in these ranges; all, if there are none.
    Job {
        /// The job's number.
        job: u64,
        /// Rising and disjoint.
        ranges: Vec<v1::Range>,
    },
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read(text).ok_or_else(|| {
            format!("`{text}` points at nothing; write it like batch-3, job-17, job-17[4] or job-17[3-7,9]; batches and jobs are counted from 1")
        })
    }
}

fn read(text: &str) -> Option<Selector> {
    if let Some(number) = text.strip_prefix("batch-") {
        return Some(Selector::Batch(id(number)?));
    }
    let rest = text.strip_prefix("job-")?;
    let Some((number, ranges)) = rest.split_once('[') else {
        return Some(Selector::Job {
            job: id(rest)?,
            ranges: Vec::new(),
        });
    };
    let ranges = ranges
        .strip_suffix(']')?
        .split(',')
        .map(range)
        .collect::<Option<Vec<_>>>()?;
    Some(Selector::Job {
        job: id(number)?,
        ranges: merged(ranges)?,
    })
}

/// Batches and jobs are counted from 1.
fn id(number: &str) -> Option<u64> {
    count(number).filter(|number| *number > 0)
}

fn count(number: &str) -> Option<u64> {
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if digits { number.parse().ok() } else { None }
}

fn range(text: &str) -> Option<v1::Range> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let index = |text: &str| u32::try_from(count(text.trim())?).ok();
    let (first, last) = (index(first)?, index(last)?);
    (first <= last).then_some(v1::Range { first, last })
}

fn merged(mut ranges: Vec<v1::Range>) -> Option<Vec<v1::Range>> {
    if ranges.len() > RANGES_MAX {
        return None;
    }
    ranges.sort_by_key(|range| range.first);
    let mut merged: Vec<v1::Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(before) if range.first <= before.last.saturating_add(1) => {
                before.last = before.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    Some(merged)
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(batch) => write!(f, "batch-{batch}"),
            Self::Job { job, ranges } if ranges.is_empty() => write!(f, "job-{job}"),
            Self::Job { job, ranges } => write!(f, "job-{job}[{}]", ranges_text(ranges)),
        }
    }
}

/// `3-7,9`.
pub fn ranges_text(ranges: &[v1::Range]) -> String {
    let texts = ranges.iter().map(|range| match range {
        v1::Range { first, last } if first == last => first.to_string(),
        v1::Range { first, last } => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// A batch, on verbs that take nothing else.
#[derive(Debug, Clone, Copy)]
pub struct BatchId(pub u64);

impl FromStr for BatchId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Selector::Batch(batch)) => Ok(Self(batch)),
            _ => Err(format!(
                "`{text}` is no batch; write it like batch-3, `jero batches` lists them"
            )),
        }
    }
}

/// A job or some of its elements, on verbs that take no batch.
#[derive(Debug, Clone)]
pub struct JobId {
    /// The job's number.
    pub job: u64,
    /// As in [`Selector::Job`].
    pub ranges: Vec<v1::Range>,
}

impl FromStr for JobId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Selector::Job { job, ranges }) => Ok(Self { job, ranges }),
            _ => Err(format!(
                "`{text}` is no job; write it like job-17 or job-17[4], `jero jobs` lists them"
            )),
        }
    }
}

impl JobId {
    /// The only element that is meant, if it is one.
    pub fn index(&self) -> Option<u32> {
        match self.ranges.as_slice() {
            [v1::Range { first, last }] if first == last => Some(*first),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back_in_order() {
        for (written, read) in [
            ("batch-3", "batch-3"),
            ("job-17", "job-17"),
            ("job-17[4]", "job-17[4]"),
            ("job-17[9,3-7]", "job-17[3-7,9]"),
            ("job-17[3-7, 5-9,10]", "job-17[3-10]"),
            ("job-17[0-4294967295,7]", "job-17[0-4294967295]"),
        ] {
            assert_eq!(
                written
                    .parse::<Selector>()
                    .map(|selector| selector.to_string()),
                Ok(read.into())
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for written in [
            "",
            "3",
            "batch",
            "batch-",
            "batch--3",
            "batch-+3",
            "batch-0",
            "job-0",
            "job-00[1]",
            "job-17[",
            "job-17[]",
            "job-17[7-3]",
            "job-17[1,]",
            "job-17[a]",
            "job-17[1]x",
            "Job-17",
            "job-99999999999999999999",
            "job-1[4294967296]",
            "batch-3[1]",
        ] {
            assert!(written.parse::<Selector>().is_err(), "{written}");
        }
    }
}
