//! What an agent says, from the wire.

use super::amounts::known_resources;
use super::attempt::end_in;
use super::lease::lease_in;
use super::submission::{coe_in, isolation_in, taint_in};
use crate::dispatch::FromSite;
use jeroboam_core::isolation::Runtime;
use jeroboam_core::policy::Policy;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::site::{NodeReport, SPEED_REFERENCE_MILLI};
use jeroboam_proto::v1;
use std::collections::BTreeMap;
use v1::agent_message::Kind;

/// Bytes of a node's name, at most.
const NODE_NAME_BYTES_MAX: usize = 256;

/// A message of an open session.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// For the state.
    State(FromSite),
    /// A piece of a live log, which the state never sees.
    Tail(v1::TailChunk),
}

/// A message of an open session from the wire.
///
/// # Errors
/// Nothing, a second hello, or something malformed: the session cannot go on.
pub fn said(policy: &Policy, kind: Option<Kind>) -> Result<Said, Rejected> {
    let said = match kind {
        None => {
            let what = "the message is empty, or of a newer release";
            return Err(Rejected::invalid(
                "message",
                what,
                "bring the agent to this release",
            ));
        }
        Some(Kind::Hello(_)) => {
            let what = "a session has one hello";
            return Err(Rejected::invalid(
                "hello",
                what,
                "open another stream for another session",
            ));
        }
        Some(Kind::TailChunk(chunk)) => return Ok(Said::Tail(chunk)),
        Some(Kind::Inventory(inventory)) => inventory_in(inventory)?,
        Some(Kind::Capacity(capacity)) => FromSite::Capacity {
            full: capacity.full,
            nodes: nodes_in(policy, capacity.nodes)?,
            removed: capacity.removed,
        },
        Some(Kind::Heartbeat(heartbeat)) => FromSite::Heartbeat(heartbeat.number),
        Some(Kind::Report(report)) => report_in(report)?,
    };
    Ok(Said::State(said))
}

fn inventory_in(wire: v1::Inventory) -> Result<FromSite, Rejected> {
    let mut leases = BTreeMap::new();
    for held in wire.leases {
        leases.insert(lease_in("inventory.leases", held.lease)?, held.running);
    }
    Ok(FromSite::Inventory {
        session: wire.session,
        leases,
    })
}

fn report_in(wire: v1::Report) -> Result<FromSite, Rejected> {
    let lease = lease_in("report.lease", wire.lease)?;
    match wire.kind {
        Some(v1::report::Kind::Starting(_)) => Ok(FromSite::Starting(lease)),
        Some(v1::report::Kind::Running(_)) => Ok(FromSite::Running(lease)),
        Some(v1::report::Kind::Ended(ended)) => {
            Ok(FromSite::Ended(lease, Box::new(end_in(ended)?)))
        }
        None => {
            let what = "the report says nothing, or something of a newer release";
            Err(Rejected::invalid(
                "report",
                what,
                "bring the agent to this release",
            ))
        }
    }
}

fn nodes_in(policy: &Policy, wire: Vec<v1::NodeReport>) -> Result<Vec<NodeReport>, Rejected> {
    wire.into_iter().map(|node| node_in(policy, node)).collect()
}

fn node_in(policy: &Policy, wire: v1::NodeReport) -> Result<NodeReport, Rejected> {
    let name = wire.name.clone();
    let place = |field: &str| format!("capacity.nodes[{name}].{field}");
    if wire.name.is_empty() || wire.name.len() > NODE_NAME_BYTES_MAX {
        let what = "a node has no name, or an absurdly long one";
        return Err(Rejected::invalid(
            "capacity.nodes",
            what,
            "name it in the site file",
        ));
    }
    let coe = coe_in(&place("coe"), wire.coe)?.ok_or_else(|| {
        let what = "a cluster has one engine";
        Rejected::invalid(place("coe"), what, "name it in the site file")
    })?;
    if wire.speed_milli < 0 {
        let what = "the speed is negative";
        return Err(Rejected::invalid(
            place("speed"),
            what,
            "give HEPScore23 per core, or nothing",
        ));
    }
    Ok(NodeReport {
        capacity: known_resources(policy, wire.capacity),
        speed_milli: match wire.speed_milli {
            0 => SPEED_REFERENCE_MILLI,
            given => given,
        },
        name: wire.name,
        cluster: wire.cluster,
        coe,
        kernel: wire.kernel,
        runtimes: wire
            .runtimes
            .into_iter()
            .enumerate()
            .map(|(position, wire)| runtime_in(policy, place, position, wire))
            .collect::<Result<_, _>>()?,
        labels: wire.labels,
        taints: wire.taints.into_iter().map(taint_in).collect(),
        schedulable: wire.schedulable,
    })
}

fn runtime_in(
    policy: &Policy,
    place: impl Fn(&str) -> String,
    position: usize,
    wire: v1::Runtime,
) -> Result<Runtime, Rejected> {
    let place = place(&format!("runtimes[{position}].isolation"));
    Ok(Runtime {
        isolation: isolation_in(&place, wire.isolation)?,
        overhead: known_resources(policy, wire.overhead),
        name: wire.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_hello_and_an_empty_message_end_the_session() {
        let policy = Policy::default();
        for kind in [None, Some(Kind::Hello(v1::Hello::default()))] {
            said(&policy, kind).expect_err("refused");
        }
    }

    #[test]
    fn a_speed_that_is_not_given_is_the_reference() {
        let node = v1::NodeReport {
            name: "n1".into(),
            coe: v1::Coe::Process.into(),
            ..Default::default()
        };
        let report = node_in(&Policy::default(), node).expect("a node");
        assert_eq!(report.speed_milli, SPEED_REFERENCE_MILLI);
        let any = v1::NodeReport {
            name: "n1".into(),
            ..Default::default()
        };
        let rejected = node_in(&Policy::default(), any).expect_err("no engine");
        assert_eq!(rejected.place(), Some("capacity.nodes[n1].coe"));
    }
}
