//! `retries:` of a job: which failures are tried again, how often, when, where and with what.

use jeroboam_core::spec::GROWTH_PERMILLE_MAX;
use jeroboam_proto::v1;
use jeroboam_units::{Bytes, Span};

use super::faults::Found;
use super::fields::{self, Fields};
use super::tree::Node;

/// Further attempts that one rule can grant to a task.
const TIMES_MAX: u32 = 100;

/// No retry is delayed for longer.
const DELAY_MAX: Span = Span(24 * 3_600_000);

/// Exit codes that a process can end with and that are failures.
const EXIT_CODES: std::ops::RangeInclusive<i32> = 1..=255;

const FAILURES: [(&str, v1::FailureClass); 7] = [
    ("exit", v1::FailureClass::Exit),
    ("signal", v1::FailureClass::Signal),
    ("walltime", v1::FailureClass::Walltime),
    ("memory", v1::FailureClass::Memory),
    ("start", v1::FailureClass::Start),
    ("outputs", v1::FailureClass::Outputs),
    ("lost", v1::FailureClass::Lost),
];

/// Reads the rules in their order.
pub(super) fn read(node: &Node, found: &mut Found) -> Vec<v1::RetryRule> {
    fields::elements(node, found)
        .iter()
        .filter_map(|node| rule(node, found))
        .collect()
}

fn rule(node: &Node, found: &mut Found) -> Option<v1::RetryRule> {
    let fields = Fields::of(
        node,
        "a retry rule",
        &[
            "exit",
            "on",
            "times",
            "delay",
            "backoff",
            "memory",
            "memory_max",
            "avoid_node",
            "change_site",
        ],
        found,
    )?;
    let Some(times) = fields.take("times") else {
        found.say(
            node.at,
            "this retry rule does not say how often",
            "add `times: 2`",
        );
        return None;
    };
    let times = fields::integer(times, 1, TIMES_MAX, found)?;
    let exit_codes = match fields.take("exit") {
        Some(codes) => exit_codes(codes, found),
        None => Vec::new(),
    };
    let classes = match fields.take("on") {
        Some(words) => {
            let words = fields::elements(words, found).iter();
            words
                .filter_map(|word| fields::choice(word, &FAILURES, found))
                .map(i32::from)
                .collect()
        }
        None => Vec::new(),
    };
    Some(v1::RetryRule {
        exit_codes,
        classes,
        times,
        delay_ms: fields.take("delay").map_or(0, |node| delay(node, found).0),
        backoff: truth(&fields, "backoff", found),
        memory_permille: fields.take("memory").map_or(0, |node| growth(node, found)),
        memory_max_mib: fields.take("memory_max").map_or(0, |node| {
            fields::amount(node, found).map_or(0, Bytes::mib_ceil)
        }),
        avoid_node: truth(&fields, "avoid_node", found),
        change_site: truth(&fields, "change_site", found),
    })
}

fn truth(fields: &Fields<'_>, name: &str, found: &mut Found) -> bool {
    let node = fields.take(name);
    let truth = node.and_then(|node| fields::truth(node, found));
    truth.unwrap_or(false)
}

/// `x2`, `x1.5`, in thousandths.
fn growth(node: &Node, found: &mut Found) -> u32 {
    let Some(text) = node.text(found) else {
        return 0;
    };
    let permille = text.strip_prefix('x').and_then(thousandths);
    let permille = permille.filter(|permille| (1_001..=GROWTH_PERMILLE_MAX).contains(permille));
    if permille.is_none() {
        let what = format!("`{text}` does not say how much more memory the next attempt gets");
        let most = GROWTH_PERMILLE_MAX / 1_000;
        let remedy = format!("write a factor above 1 and up to {most}, like x2 or x1.5");
        found.say(node.at, what, remedy);
    }
    permille.unwrap_or(0)
}

/// A number with up to three digits behind its point.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if !digits(whole) || !digits(part) || !(1..=3).contains(&part.len()) {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let part: u32 = format!("{part:0<3}").parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(part)
}

fn delay(node: &Node, found: &mut Found) -> Span {
    let span = fields::amount(node, found).unwrap_or(Span(0));
    if span < Span(0) || span > DELAY_MAX {
        let what = format!("a retry cannot be delayed for {span}");
        found.say(node.at, what, format!("write one from 0ms to {DELAY_MAX}"));
    }
    span
}

fn exit_codes(node: &Node, found: &mut Found) -> Vec<v1::ExitCodeRange> {
    let mut ranges = Vec::new();
    for node in fields::elements(node, found) {
        let Some(text) = node.text(found) else {
            continue;
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let code = |text: &str| {
            text.trim()
                .parse()
                .ok()
                .filter(|code| EXIT_CODES.contains(code))
        };
        match (code(first), code(last)) {
            (Some(first), Some(last)) if first <= last => {
                ranges.push(v1::ExitCodeRange { first, last });
            }
            _ => {
                let what = format!("`{text}` is no exit code of a failure and no range of them");
                found.say(
                    node.at,
                    what,
                    "write a code from 1 to 255, or a range like \"80-89\"",
                );
            }
        }
    }
    ranges
}
