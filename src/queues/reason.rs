//! Why a queue or a site is closed.
//!
//! The rule: it is never empty, since an empty one on the wire opens a queue
//! again, and leaves those who see it later without an answer.

use std::str::FromStr;

/// A reason that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// Where none has to be given and none was.
    pub fn none_given() -> Self {
        Self("no reason given".to_owned())
    }
}

impl From<Reason> for String {
    fn from(Reason(text): Reason) -> Self {
        text
    }
}

impl FromStr for Reason {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "" => Err("a reason has words; `uncordon` and `resume` open it again"),
            text => Ok(Self(text.to_owned())),
        }
    }
}
