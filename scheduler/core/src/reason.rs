//! Why a task waits: a closed set, each with words and a remedy.

use serde::{Deserialize, Serialize};

/// Why one node is refused; later variants are closer to a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Refusal {
    /// The task names other sites, or excludes this one.
    SiteUnwanted,
    /// Another engine was asked for.
    CoeMissing,
    /// A label is missing or has another value.
    LabelsUnmatched,
    /// A taint is not tolerated.
    TaintsNotTolerated,
    /// Even empty, the node is too small.
    TooLarge,
    /// The contract has not begun, or ends before the task must have ended.
    ContractWindow,
    /// The contract's budget does not cover the task's walltime limit.
    ContractBudget,
    /// The site is cordoned, draining or withdrawn.
    SiteClosed,
    /// The engine takes nothing new on this node, or the node is gone.
    NodeClosed,
    /// No grants yet after a restore from backup.
    SiteQuarantined,
    /// The site's agent is not connected.
    SiteDisconnected,
    /// It would fit if something ended.
    Busy,
}

/// Why a queued task has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WaitingReason {
    /// No site has reported a node.
    NoNodes,
    /// The queue, or one above it, is cordoned.
    QueueCordoned,
    /// Every node refuses; this is the closest that one came.
    Refused(Refusal),
    /// A place would fit, but others go first; the next round continues.
    OthersFirst,
}

impl WaitingReason {
    /// Stable name in outputs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            WaitingReason::NoNodes => "no-nodes",
            WaitingReason::QueueCordoned => "queue-cordoned",
            WaitingReason::Refused(refusal) => refusal.code(),
            WaitingReason::OthersFirst => "others-first",
        }
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            WaitingReason::NoNodes => "no site has reported any node yet",
            WaitingReason::QueueCordoned => "the queue, or one above it, is cordoned",
            WaitingReason::Refused(refusal) => refusal.text(),
            WaitingReason::OthersFirst => "a place would fit, but others go first",
        }
    }

    /// What change would let the task run.
    pub fn remedy(self) -> &'static str {
        match self {
            WaitingReason::NoNodes => "start an agent at a site (`jero agent --config site.toml`)",
            WaitingReason::QueueCordoned => {
                "`jero queue uncordon NAME` lifts it; `jero queues` shows by whom and why"
            }
            WaitingReason::Refused(refusal) => refusal.remedy(),
            WaitingReason::OthersFirst => "wait; the queue's share decides (`jero queues`)",
        }
    }

    /// Every reason there is, for documents and metrics.
    pub fn all() -> impl Iterator<Item = WaitingReason> {
        let own = [
            WaitingReason::NoNodes,
            WaitingReason::QueueCordoned,
            WaitingReason::OthersFirst,
        ];
        own.into_iter()
            .chain(Refusal::ALL.into_iter().map(WaitingReason::Refused))
    }
}

impl Refusal {
    /// Every cause there is, farthest from a yes first.
    pub const ALL: [Refusal; 12] = [
        Refusal::SiteUnwanted,
        Refusal::CoeMissing,
        Refusal::LabelsUnmatched,
        Refusal::TaintsNotTolerated,
        Refusal::TooLarge,
        Refusal::ContractWindow,
        Refusal::ContractBudget,
        Refusal::SiteClosed,
        Refusal::NodeClosed,
        Refusal::SiteQuarantined,
        Refusal::SiteDisconnected,
        Refusal::Busy,
    ];

    /// Stable name in outputs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::SiteUnwanted => "site-unwanted",
            Refusal::CoeMissing => "coe-missing",
            Refusal::LabelsUnmatched => "labels-unmatched",
            Refusal::TaintsNotTolerated => "taints-not-tolerated",
            Refusal::TooLarge => "too-large",
            Refusal::ContractWindow => "contract-window",
            Refusal::ContractBudget => "contract-budget",
            Refusal::SiteClosed => "site-closed",
            Refusal::NodeClosed => "node-closed",
            Refusal::SiteQuarantined => "site-quarantined",
            Refusal::SiteDisconnected => "site-disconnected",
            Refusal::Busy => "busy",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Refusal::SiteUnwanted => "no node is at a site that the job allows",
            Refusal::CoeMissing => "no allowed site has a cluster with the engine asked for",
            Refusal::LabelsUnmatched => "no node carries the labels asked for",
            Refusal::TaintsNotTolerated => {
                "every matching node has a taint that the job does not tolerate"
            }
            Refusal::TooLarge => "no matching node is large enough, even empty",
            Refusal::ContractWindow => {
                "the walltime limit does not fit into the contract of any leased site that matches"
            }
            Refusal::ContractBudget => {
                "the contract's remaining budget does not cover the walltime limit"
            }
            Refusal::SiteClosed => "every matching site is cordoned, draining or withdrawn",
            Refusal::NodeClosed => "every matching node takes nothing new",
            Refusal::SiteQuarantined => {
                "matching sites get nothing until their leases from before the restore are out"
            }
            Refusal::SiteDisconnected => "no agent of a matching site is connected",
            Refusal::Busy => "every matching node is full",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Refusal::SiteUnwanted => "widen `sites` or narrow `sites_excluded`",
            Refusal::CoeMissing => "ask for another `coe`, or for any",
            Refusal::LabelsUnmatched => "correct `labels`; `jero nodes` shows what there is",
            Refusal::TaintsNotTolerated => {
                "add the taint to `tolerations` if the job may run there"
            }
            Refusal::TooLarge => "ask for less; `jero nodes` shows the largest",
            Refusal::ContractWindow => "shorten `walltime`, or allow owned sites",
            Refusal::ContractBudget => "raise the budget, shorten `walltime`, or allow owned sites",
            Refusal::SiteClosed => {
                "`jero site resume NAME` opens it; `jero sites` shows by whom and why it was closed"
            }
            Refusal::NodeClosed => "make the node schedulable at its site",
            Refusal::SiteQuarantined => "wait; it ends by itself",
            Refusal::SiteDisconnected => "start the site's agent, or look at its log",
            Refusal::Busy => "wait until something ends, or ask for less",
        }
    }
}
