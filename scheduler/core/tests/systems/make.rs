//! Particulars of what a system is made of.

use std::collections::{BTreeMap, BTreeSet};

use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::Resources;
use jeroboam_core::site::{NodeReport, SiteSpec};
use jeroboam_core::spec::{Coe, JobSpec, Needs};
use jeroboam_core::time::TimeMs;

/// When every system begins: 2026-01-01T00:00:00Z.
pub const START: TimeMs = TimeMs(1_767_225_600_000);
pub const MINUTE_MS: i64 = 60_000;

pub fn site(name: &str) -> SiteSpec {
    SiteSpec {
        name: name.into(),
        region: String::new(),
        contract: None,
    }
}

pub fn queue(name: &str, weight: u32) -> QueueSpec {
    QueueSpec {
        submitters: ["*".to_string()].into(),
        ..QueueSpec::new(name, weight)
    }
}

pub fn node(name: String, cpu: i64, memory: i64, gpu: i64) -> NodeReport {
    NodeReport {
        name,
        cluster: "c".into(),
        coe: Coe::Process,
        kernel: "k".into(),
        runtimes: Vec::new(),
        capacity: Resources::of(cpu * 1_000, memory * 1_024, 0, gpu),
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        speed_milli: 10_000,
        schedulable: true,
    }
}

/// A job of `count` tasks, each of so many cores, GiB and gpus.
pub fn job(count: i64, cpu: i64, memory: i64, gpu: i64) -> JobSpec {
    JobSpec {
        count: count as u32,
        ..JobSpec::new(
            "j",
            Needs::new(
                Resources::of(cpu * 1_000, memory * 1_024, 0, gpu),
                60 * MINUTE_MS,
            ),
        )
    }
}
