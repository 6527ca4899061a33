//! Which job waits for which: every name is one of the batch's, arrays that follow each
//! other element by element are of one length, and no chain leads back to where it began.

use std::collections::BTreeMap;

use super::faults::Found;
use super::job::Job;
use super::nearest;
use super::tree::At;

/// Looks at the dependencies of all jobs together.
pub(super) fn check(jobs: &[Job], found: &mut Found) {
    let by_name: BTreeMap<&str, usize> = jobs
        .iter()
        .enumerate()
        .map(|(position, job)| (job.spec.name.as_str(), position))
        // A job whose name is missing or wrong is told of where it stands.
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let mut edges: Vec<Vec<(At, usize)>> = Vec::with_capacity(jobs.len());
    for job in jobs {
        let mut of_job = Vec::new();
        for (at, name) in &job.after {
            match by_name.get(name.as_str()) {
                Some(&needed) => of_job.push((*at, needed)),
                None => {
                    // Nobody means to wait for himself.
                    let others = by_name.keys().copied();
                    let others = others.filter(|other| *other != job.spec.name);
                    let remedy = nearest::remedy(name, others);
                    found.say(
                        *at,
                        format!("there is no job `{name}` in this batch"),
                        remedy,
                    );
                }
            }
        }
        edges.push(of_job);
        for (at, name) in &job.after_each {
            let other = by_name.get(name.as_str()).map(|other| &jobs[*other].spec);
            if let Some(other) = other.filter(|other| other.count != job.spec.count) {
                let (here, there) = (job.spec.count, other.count);
                let what = format!("`{name}` has {there} tasks and this job {here}");
                let remedy =
                    "give both the same `count`, or wait for the whole job with `after_ok`";
                found.say(*at, what, remedy);
            }
        }
    }
    for (at, cycle) in cycles(&edges) {
        let names: Vec<&str> = cycle
            .iter()
            .map(|job| jobs[*job].spec.name.as_str())
            .collect();
        let what = format!("these jobs wait for each other: {}", names.join(" -> "));
        found.say(at, what, "remove one of these dependencies");
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    /// On the path from the root to where the walk is.
    Open,
    Done,
}

/// Cycles, each closed by the dependency at its place: at least one of every
/// group of jobs that wait for each other.
///
/// Walks depth first with a stack of its own, since chains may be long.
fn cycles(edges: &[Vec<(At, usize)>]) -> Vec<(At, Vec<usize>)> {
    let mut cycles = Vec::new();
    let mut marks = vec![Mark::New; edges.len()];
    for root in 0..edges.len() {
        if marks[root] != Mark::New {
            continue;
        }
        marks[root] = Mark::Open;
        let mut path = vec![(root, 0)];
        while let Some((job, next)) = path.last_mut() {
            let Some(&(at, needed)) = edges[*job].get(*next) else {
                marks[*job] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[needed] {
                Mark::Done => {}
                Mark::New => {
                    marks[needed] = Mark::Open;
                    path.push((needed, 0));
                }
                Mark::Open => cycles.push((at, closed(&path, needed))),
            }
        }
    }
    cycles
}

fn closed(path: &[(usize, usize)], needed: usize) -> Vec<usize> {
    let jobs = path
        .iter()
        .map(|(job, _)| *job)
        .skip_while(|job| *job != needed);
    jobs.chain([needed]).collect()
}
