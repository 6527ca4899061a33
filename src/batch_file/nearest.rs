//! The nearest known name to a mistyped one.

/// Names this much alike are taken for one another's misspelling.
const LIKENESS_MIN: f64 = 0.8;

/// How much alike two names are, up to 1: they begin alike, or differ by a
/// slip of the finger in every third letter at most.
fn likeness(written: &str, name: &str) -> f64 {
    let slips = strsim::damerau_levenshtein(written, name);
    let alike = strsim::jaro_winkler(written, name);
    if slips <= (name.len() / 3).max(1) {
        alike.max(LIKENESS_MIN)
    } else {
        alike
    }
}

/// A remedy for a name that is not among those known: the one most like it,
/// or all of them if they are few.
pub(crate) fn remedy<'a>(written: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let like = |name: &str| likeness(&written.to_lowercase(), &name.to_lowercase());
    let nearest = known.clone().max_by(|a, b| like(a).total_cmp(&like(b)));
    match nearest {
        Some(name) if like(name) >= LIKENESS_MIN => format!("did you mean `{name}`?"),
        Some(_) => format!("there are: {}", listed(known)),
        None => "there is none to name here".to_owned(),
    }
}

fn listed<'a>(known: impl Iterator<Item = &'a str>) -> String {
    const LISTED_MAX: usize = 24;
    let mut names: Vec<&str> = known.take(LISTED_MAX + 1).collect();
    if names.len() > LISTED_MAX {
        names[LISTED_MAX] = "...";
    }
    names.join(", ")
}
