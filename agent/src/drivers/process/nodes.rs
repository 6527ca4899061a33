//! Declared nodes: one host divided on paper.
//!
//! Each is reported with the host's boot id as its kernel, so the scheduler
//! knows that they share one. Nothing but the memory and disk limits of each
//! attempt is enforced between them.

use std::collections::BTreeMap;

use jeroboam_proto::v1;

use crate::attempt::boot;

/// A slice of this host, as the site file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredNode {
    /// Unique at the site.
    pub name: String,
    /// Milli-cores.
    pub cpu_milli: i64,
    /// MiB.
    pub memory_mib: i64,
    /// MiB.
    pub disk_mib: i64,
    /// Count.
    pub gpu: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<DeclaredTaint>,
    /// HEPScore23 per core in thousandths; 0 is the default.
    pub speed_milli: i64,
}

/// A taint of a declared node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTaint {
    /// Key.
    pub key: String,
    /// Value, may be empty.
    pub value: String,
}

/// The declared nodes of a cluster as they are reported to the scheduler.
pub fn node_reports(cluster: &str, nodes: &[DeclaredNode]) -> Vec<v1::NodeReport> {
    nodes
        .iter()
        .map(|node| node_report(cluster, node))
        .collect()
}

fn node_report(cluster: &str, node: &DeclaredNode) -> v1::NodeReport {
    let taint = |taint: &DeclaredTaint| v1::Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
    };
    v1::NodeReport {
        name: node.name.clone(),
        cluster: cluster.to_owned(),
        coe: v1::Coe::Process.into(),
        kernel: boot::boot_id().to_owned(),
        capacity: Some(v1::Resources {
            cpu_milli: node.cpu_milli,
            memory_mib: node.memory_mib,
            disk_mib: node.disk_mib,
            gpu: node.gpu,
            ..v1::Resources::default()
        }),
        labels: node.labels.clone().into_iter().collect(),
        taints: node.taints.iter().map(taint).collect(),
        speed_milli: node.speed_milli,
        schedulable: true,
        // Processes share the host's kernel: the engine's own runtime, and no other.
        runtimes: Vec::new(),
    }
}

/// What the declared nodes together claim beyond what this host has, in
/// words; `None` if they fit. A warning, not an error: a demonstration may
/// well declare more than there is.
pub fn overcommitment(nodes: &[DeclaredNode]) -> Option<String> {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let host_cpu_milli = i64::try_from(cores)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    let host_memory_mib = host_memory_mib().unwrap_or(i64::MAX);
    let cpu_milli: i64 = nodes.iter().map(|node| node.cpu_milli).sum();
    let memory_mib: i64 = nodes.iter().map(|node| node.memory_mib).sum();
    (cpu_milli > host_cpu_milli || memory_mib > host_memory_mib).then(|| {
        format!(
            "the declared nodes claim {cpu_milli}m cores and {memory_mib} MiB, \
             this host has {host_cpu_milli}m and {host_memory_mib} MiB"
        )
    })
}

fn host_memory_mib() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn node(cpu_milli: i64, memory_mib: i64) -> DeclaredNode {
        DeclaredNode {
            name: "n1".to_owned(),
            cpu_milli,
            memory_mib,
            disk_mib: 10,
            gpu: 0,
            labels: BTreeMap::from([("rack".to_owned(), "r1".to_owned())]),
            taints: vec![DeclaredTaint {
                key: "gpu".to_owned(),
                value: String::new(),
            }],
            speed_milli: 0,
        }
    }

    #[test]
    fn every_declared_node_names_the_hosts_kernel() {
        let reports = node_reports("farm", &[node(1000, 512), node(1000, 512)]);
        let kernels: Vec<_> = reports
            .iter()
            .map(|report| report.kernel.as_str())
            .collect();
        assert_eq!(kernels, [boot::boot_id(), boot::boot_id()]);
        assert_eq!(reports[0].capacity.as_ref().unwrap().memory_mib, 512);
        assert_eq!(reports[0].labels["rack"], "r1");
    }

    #[test]
    fn claiming_more_than_the_host_has_is_said() {
        assert_eq!(overcommitment(&[node(1, 1)]), None);
        let said = overcommitment(&[node(1, 1), node(1_000_000_000, 1)]).unwrap();
        assert!(
            said.starts_with("the declared nodes claim 1000000001m cores"),
            "{said}"
        );
    }
}
