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
    /// The node has no runtime that isolates as asked, and does not say which kernel it runs.
    IsolationMissing,
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
    /// A declared downtime is under way, or begins before the task must have ended.
    Downtime,
    /// It fails whatever it starts: nothing new for a time.
    NodeQuarantined,
    /// The site fails whatever it starts, or no grants yet after a restore from backup.
    SiteQuarantined,
    /// The site's agent is not connected.
    SiteDisconnected,
    /// It failed there, and a retry rule sends it elsewhere.
    FailedThere,
    /// Other tenants have used its kernel, and no runtime of it isolates as asked.
    KernelUsed,
    /// Another tenant has its kernel alone.
    KernelTaken,
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
    /// There are places, but not as many at once as the gang needs.
    Gang,
    /// Others of its gang are held, or have not left their places yet.
    GangIncomplete,
    /// As many tasks of the job as it allows hold a place.
    RunningMax,
    /// A retry rule lets it wait for its time.
    RetryDelay,
    /// As many tasks as the queue, or one above it, lets run hold a place.
    QueueRunningMax,
    /// As many of its user's tasks as the queue, or one above it, lets run hold a place.
    UserLimit,
    /// The queue, or one above it, would hold more than its limit.
    QueueLimit,
    /// Nothing that runs in its stead may be preempted: its guarantee waits.
    NonPreemptible,
    /// It may not be preempted itself, and its queue would hold more than its guarantee:
    /// the policy keeps such work within it.
    BeyondGuarantee,
    /// It may take the place of others, but as many lost theirs lately as may be.
    PreemptionBound,
    /// Room is kept for it, and it will fit there soonest.
    Reserved,
    /// Those who had its place are told to end.
    Preempting,
    /// A place would fit, but the room is held back for reservations of others.
    HeldBack,
    /// A place would fit, but others go first; the next round continues.
    OthersFirst,
}

impl WaitingReason {
    /// Of two, the one that is closer to a place.
    #[must_use]
    pub fn closer(self, other: WaitingReason) -> WaitingReason {
        self.max(other)
    }

    /// Stable name in outputs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            WaitingReason::NoNodes => "no-nodes",
            WaitingReason::QueueCordoned => "queue-cordoned",
            WaitingReason::Refused(refusal) => refusal.code(),
            WaitingReason::Gang => "gang",
            WaitingReason::GangIncomplete => "gang-incomplete",
            WaitingReason::RunningMax => "running-max",
            WaitingReason::RetryDelay => "retry-delay",
            WaitingReason::QueueRunningMax => "queue-running-max",
            WaitingReason::UserLimit => "user-limit",
            WaitingReason::QueueLimit => "queue-limit",
            WaitingReason::NonPreemptible => "non-preemptible",
            WaitingReason::BeyondGuarantee => "beyond-guarantee",
            WaitingReason::PreemptionBound => "preemption-bound",
            WaitingReason::Reserved => "reserved",
            WaitingReason::Preempting => "preempting",
            WaitingReason::HeldBack => "held-back",
            WaitingReason::OthersFirst => "others-first",
        }
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            WaitingReason::NoNodes => "no site has reported any node yet",
            WaitingReason::QueueCordoned => "the queue, or one above it, is cordoned",
            WaitingReason::Refused(refusal) => refusal.text(),
            WaitingReason::Gang => "there are places, but not as many at once as the gang needs",
            WaitingReason::GangIncomplete => {
                "others of its gang are held, or have not left their places yet"
            }
            WaitingReason::RunningMax => "as many tasks of the job as it allows hold a place",
            WaitingReason::RetryDelay => "it failed, and its retry rule delays the next attempt",
            WaitingReason::QueueRunningMax => {
                "as many tasks as the queue, or one above it, lets run hold a place"
            }
            WaitingReason::UserLimit => {
                "as many tasks of its user as the queue, or one above it, lets run hold a place"
            }
            WaitingReason::QueueLimit => {
                "the queue, or one above it, would hold more than its limit"
            }
            WaitingReason::NonPreemptible => {
                "its queue is below its guarantee, but nothing that could make room may be preempted"
            }
            WaitingReason::BeyondGuarantee => {
                "it may not be preempted, and its queue would hold more than it is guaranteed"
            }
            WaitingReason::PreemptionBound => {
                "it may take the place of others, but as many were preempted in the last hour as may be"
            }
            WaitingReason::Reserved => "room is kept for it where it will fit soonest",
            WaitingReason::Preempting => "those who had its place were told to end",
            WaitingReason::HeldBack => {
                "a place would fit, but room is held back for wider work whose turn it is"
            }
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
            WaitingReason::Gang => "wait, or lower `min`",
            WaitingReason::GangIncomplete => "release the others (`jero release`), or wait",
            WaitingReason::RunningMax => "wait, or submit with a larger `running_max`",
            WaitingReason::RetryDelay => {
                "wait; `jero hold` and then `jero release` lets it go at once"
            }
            WaitingReason::QueueRunningMax => {
                "wait until something of the queue ends; `jero queue set NAME --running-max` changes the bound"
            }
            WaitingReason::UserLimit => {
                "wait until something of the same user ends; `jero queue set NAME --user-running-max` changes the bound"
            }
            WaitingReason::QueueLimit => {
                "wait until something of the queue ends; `jero queues` shows limits and what is held"
            }
            WaitingReason::NonPreemptible => {
                "wait until something ends; `non_preemptible_within_guarantee` in the policy avoids this"
            }
            WaitingReason::BeyondGuarantee => {
                "submit it with `preemptible: true`, or raise the guarantee (`jero queue set NAME --guarantee`)"
            }
            WaitingReason::PreemptionBound => {
                "wait, or let the operator raise `policy.preemptions_per_hour_max`"
            }
            WaitingReason::Reserved => {
                "wait; a shorter `walltime` of what runs there would bring it closer"
            }
            WaitingReason::Preempting => "wait; it starts as soon as they are gone",
            WaitingReason::HeldBack => {
                "wait, or give a `walltime` that ends before the reserved room is needed"
            }
            WaitingReason::OthersFirst => {
                "wait; its queue's share decides, or its place in the line (`jero queues`)"
            }
        }
    }

    /// Every reason there is, for documents and metrics.
    pub fn all() -> impl Iterator<Item = WaitingReason> {
        let own = [
            WaitingReason::NoNodes,
            WaitingReason::QueueCordoned,
            WaitingReason::Gang,
            WaitingReason::GangIncomplete,
            WaitingReason::RunningMax,
            WaitingReason::RetryDelay,
            WaitingReason::QueueRunningMax,
            WaitingReason::UserLimit,
            WaitingReason::QueueLimit,
            WaitingReason::NonPreemptible,
            WaitingReason::BeyondGuarantee,
            WaitingReason::PreemptionBound,
            WaitingReason::Reserved,
            WaitingReason::Preempting,
            WaitingReason::HeldBack,
            WaitingReason::OthersFirst,
        ];
        own.into_iter()
            .chain(Refusal::ALL.into_iter().map(WaitingReason::Refused))
    }
}

impl Refusal {
    /// Every cause there is, farthest from a yes first.
    pub const ALL: [Refusal; 18] = [
        Refusal::SiteUnwanted,
        Refusal::CoeMissing,
        Refusal::LabelsUnmatched,
        Refusal::TaintsNotTolerated,
        Refusal::IsolationMissing,
        Refusal::TooLarge,
        Refusal::ContractWindow,
        Refusal::ContractBudget,
        Refusal::SiteClosed,
        Refusal::NodeClosed,
        Refusal::Downtime,
        Refusal::NodeQuarantined,
        Refusal::SiteQuarantined,
        Refusal::SiteDisconnected,
        Refusal::FailedThere,
        Refusal::KernelUsed,
        Refusal::KernelTaken,
        Refusal::Busy,
    ];

    /// Stable name in outputs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::SiteUnwanted => "site-unwanted",
            Refusal::CoeMissing => "coe-missing",
            Refusal::LabelsUnmatched => "labels-unmatched",
            Refusal::TaintsNotTolerated => "taints-not-tolerated",
            Refusal::IsolationMissing => "isolation",
            Refusal::TooLarge => "too-large",
            Refusal::ContractWindow => "contract-window",
            Refusal::ContractBudget => "contract-budget",
            Refusal::SiteClosed => "site-closed",
            Refusal::NodeClosed => "node-closed",
            Refusal::Downtime => "downtime",
            Refusal::NodeQuarantined => "node-quarantined",
            Refusal::SiteQuarantined => "site-quarantined",
            Refusal::SiteDisconnected => "site-disconnected",
            Refusal::FailedThere => "failed-there",
            Refusal::KernelUsed => "kernel-used",
            Refusal::KernelTaken => "kernel-taken",
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
            Refusal::IsolationMissing => {
                "no matching node has a runtime that isolates as asked, or says which kernel it runs"
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
            Refusal::Downtime => {
                "matching nodes are in a declared downtime, or the walltime limit does not fit before one"
            }
            Refusal::NodeQuarantined => {
                "every matching node fails whatever it starts, and gets nothing for a time"
            }
            Refusal::SiteQuarantined => {
                "matching sites fail whatever they start, or have leases from before a restore"
            }
            Refusal::SiteDisconnected => "no agent of a matching site is connected",
            Refusal::FailedThere => {
                "it failed on every node that would take it, and its retry rule sends it elsewhere"
            }
            Refusal::KernelUsed => {
                "every matching node runs a kernel that another tenant has used since it booted"
            }
            Refusal::KernelTaken => "another tenant has the kernels of matching nodes alone",
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
            Refusal::IsolationMissing => {
                "declare `runtimes` in the site file, or ask for a weaker `isolation`; `jero nodes` shows what there is"
            }
            Refusal::TooLarge => "ask for less; `jero nodes` shows the largest",
            Refusal::ContractWindow => "shorten `walltime`, or allow owned sites",
            Refusal::ContractBudget => "raise the budget, shorten `walltime`, or allow owned sites",
            Refusal::SiteClosed => {
                "`jero site resume NAME` opens it; `jero sites` shows by whom and why it was closed"
            }
            Refusal::NodeClosed => {
                "`jero nodes` shows who closed it and why (`jero node resume SITE/NODE` opens it), or make it schedulable at its site"
            }
            Refusal::Downtime => {
                "shorten `walltime`, or wait until it is over; `jero site downtime list SITE` shows when"
            }
            Refusal::NodeQuarantined => {
                "mend it and `jero node resume SITE/NODE`, or wait; `jero nodes` shows why and until when"
            }
            Refusal::SiteQuarantined => {
                "mend it and `jero site resume NAME`, or wait; `jero site show NAME` shows why and until when"
            }
            Refusal::SiteDisconnected => "start the site's agent, or look at its log",
            Refusal::FailedThere => {
                "wait: it may go back after a while if nothing else opens (`avoid` in the policy); or open another place"
            }
            Refusal::KernelUsed => {
                "drain a node and reboot it, or add one; `jero nodes` shows who has used which"
            }
            Refusal::KernelTaken => {
                "wait until that work ends, or add nodes; `jero nodes` shows whose it is"
            }
            Refusal::Busy => "wait until something ends, or ask for less",
        }
    }
}
