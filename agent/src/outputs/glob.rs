//! Patterns of output files.
//!
//! `*` stands for any characters of one name, `?` for one of them, `[a-c]` and
//! `[!a-c]` for one of a set, `**` for any directories, none included; `\`
//! takes the next character as it is. Names that begin with a dot are names
//! like any other. Matching takes time in proportion to pattern times path.

/// A pattern, relative to the scratch directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `**`
    Directories,
    /// Of one name.
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    One,
    Any,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Reads a pattern; the error says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let mut segments = Vec::new();
        for part in pattern.split('/') {
            match part {
                "." => {}
                "" | ".." => {
                    return Err(format!(
                        "{pattern:?} does not stay in the scratch directory; use a relative pattern without `..`"
                    ));
                }
                "**" => segments.push(Segment::Directories),
                name => segments.push(Segment::Name(tokens(name).ok_or_else(|| {
                    format!("{pattern:?} has a `[` without its `]`, or a `\\` at its end")
                })?)),
            }
        }
        if segments.is_empty() {
            return Err(format!("{pattern:?} names no file"));
        }
        Ok(Self { segments })
    }

    /// The one path it can match, if it has no wildcard.
    pub fn literal(&self) -> Option<String> {
        let mut names = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let Segment::Name(tokens) = segment else {
                return None;
            };
            let name = tokens.iter().map(|token| match token {
                Token::Literal(c) => Some(*c),
                Token::One | Token::Any | Token::Set { .. } => None,
            });
            names.push(name.collect::<Option<String>>()?);
        }
        Some(names.join("/"))
    }

    /// Whether a relative path is meant.
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        // `open[i]`: the segments so far can have matched the first i names.
        let mut open = vec![false; names.len() + 1];
        open[0] = true;
        for segment in &self.segments {
            open = match segment {
                Segment::Directories => {
                    let mut reached = false;
                    open.iter()
                        .map(|now| {
                            reached |= now;
                            reached
                        })
                        .collect()
                }
                Segment::Name(tokens) => {
                    let mut next = vec![false; open.len()];
                    for (at, name) in names.iter().enumerate() {
                        next[at + 1] = open[at] && name_matches(tokens, name);
                    }
                    next
                }
            };
        }
        open[names.len()]
    }
}

fn tokens(name: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = name.chars();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '[' => set(&mut rest)?,
            '\\' => Token::Literal(rest.next()?),
            c => Token::Literal(c),
        });
    }
    Some(tokens)
}

/// After `[`; a `]` that comes first is a member.
fn set(rest: &mut std::str::Chars<'_>) -> Option<Token> {
    let mut members = Vec::new();
    let mut next = rest.next()?;
    let negated = next == '!' || next == '^';
    if negated {
        next = rest.next()?;
    }
    loop {
        members.push(next);
        next = rest.next()?;
        if next == ']' {
            break;
        }
    }
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < members.len() {
        match members[at..] {
            [first, '-', last, ..] => {
                ranges.push((first, last));
                at += 3;
            }
            _ => {
                ranges.push((members[at], members[at]));
                at += 1;
            }
        }
    }
    Some(Token::Set { negated, ranges })
}

fn name_matches(tokens: &[Token], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut open = vec![false; name.len() + 1];
    open[0] = true;
    for token in tokens {
        if *token == Token::Any {
            let mut reached = false;
            for now in &mut open {
                reached |= *now;
                *now = reached;
            }
            continue;
        }
        let mut next = vec![false; open.len()];
        for (at, c) in name.iter().enumerate() {
            next[at + 1] = open[at] && token.takes(*c);
        }
        open = next;
    }
    open[name.len()]
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::One | Self::Any => true,
            Self::Set { negated, ranges } => {
                let among = ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&c));
                among != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, yes, no) in [
            (
                "a.json",
                &["a.json"][..],
                &["b.json", "x/a.json", "a.json/x"][..],
            ),
            ("*.json", &["a.json", ".json"], &["x/a.json", "a.jsonx"]),
            ("h?.dat", &["h1.dat"], &["h.dat", "h12.dat"]),
            ("h[0-3a].dat", &["h2.dat", "ha.dat"], &["h4.dat", "hb.dat"]),
            ("h[!0-3].dat", &["h4.dat"], &["h2.dat", "h.dat"]),
            ("**", &["a", "x/a", "x/y/a"], &[]),
            ("**/*.root", &["a.root", "x/y/a.root"], &["x/a.rootx"]),
            ("out/**", &["out/a", "out/x/a"], &["a", "outer/a"]),
            ("a/**/b", &["a/b", "a/x/y/b"], &["b", "a/bb"]),
            ("./a", &["a"], &["./b"]),
            (r"a\*", &["a*"], &["ab"]),
            ("[]]", &["]"], &["["]),
            ("a*b*c", &["abc", "a1b2c", "abbc"], &["acb"]),
        ] {
            let glob = Glob::new(pattern).unwrap();
            for path in yes {
                assert!(glob.matches(path), "{pattern} {path}");
            }
            for path in no {
                assert!(!glob.matches(path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn only_a_pattern_without_wildcards_is_literal() {
        assert_eq!(
            Glob::new("a/b.c").unwrap().literal().as_deref(),
            Some("a/b.c")
        );
        assert_eq!(Glob::new(r"a\*").unwrap().literal().as_deref(), Some("a*"));
        for pattern in ["a*", "a?", "[a]", "**/a"] {
            assert_eq!(Glob::new(pattern).unwrap().literal(), None, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_lead_out_or_do_not_end_are_refused() {
        for pattern in ["", ".", "/a", "../a", "a/../../b", "a//b", "[a", "a\\"] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
    }
}
