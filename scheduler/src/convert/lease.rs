//! Tasks, leases and ranges, both ways.

use jeroboam_core::ids::{JobId, LeaseId, TaskId};
use jeroboam_core::ranges::RangeSet;
use jeroboam_core::rejected::Rejected;
use jeroboam_proto::v1;

/// Ranges in one request, at most: as many as a job can have.
const RANGES_MAX: usize = 1_000_000;

/// A task on the wire.
pub fn task(task: TaskId) -> v1::Task {
    v1::Task {
        job: task.job.0,
        index: task.index,
    }
}

/// A lease on the wire.
pub fn lease(lease: LeaseId) -> v1::Lease {
    v1::Lease {
        lineage: lease.lineage,
        task: Some(task(lease.task)),
        attempt: lease.attempt,
    }
}

/// A task named in a request.
///
/// # Errors
/// None was named.
pub fn task_in(place: &str, task: Option<v1::Task>) -> Result<TaskId, Rejected> {
    let v1::Task { job, index } = task.ok_or_else(|| missing(place))?;
    Ok(TaskId {
        job: JobId(job),
        index,
    })
}

/// A lease named in a request.
///
/// # Errors
/// None was named, or one of no attempt.
pub fn lease_in(place: &str, lease: Option<v1::Lease>) -> Result<LeaseId, Rejected> {
    let v1::Lease {
        lineage,
        task,
        attempt,
    } = lease.ok_or_else(|| missing(place))?;
    if attempt == 0 {
        let what = "attempts are counted from 1";
        return Err(Rejected::invalid(
            format!("{place}.attempt"),
            what,
            "name an attempt",
        ));
    }
    Ok(LeaseId {
        lineage,
        task: task_in(&format!("{place}.task"), task)?,
        attempt,
    })
}

/// Ranges on the wire.
pub fn ranges(set: &RangeSet) -> Vec<v1::Range> {
    set.ranges()
        .map(|(first, last)| v1::Range { first, last })
        .collect()
}

/// Ranges named in a request; `None` where it names none.
///
/// # Errors
/// A range that ends before it begins, or too many.
pub fn ranges_in(ranges: &[v1::Range]) -> Result<Option<RangeSet>, Rejected> {
    if ranges.len() > RANGES_MAX {
        return Err(Rejected::bounds(
            "ranges",
            ranges.len() as u64,
            0,
            RANGES_MAX as u64,
        ));
    }
    if let Some(bad) = ranges.iter().find(|range| range.first > range.last) {
        let what = format!("the range {}-{} ends before it begins", bad.first, bad.last);
        return Err(Rejected::invalid(
            "ranges",
            what,
            "write first-last, for example 3-7",
        ));
    }
    let set: RangeSet = ranges
        .iter()
        .map(|range| (range.first, range.last))
        .collect();
    Ok((!set.is_empty()).then_some(set))
}

fn missing(place: &str) -> Rejected {
    Rejected::invalid(place, "it is missing", "set this field")
}
