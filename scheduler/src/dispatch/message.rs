//! What is said in a site session, as the state sees it; the wire's own types stay
//! outside.

use jeroboam_core::ids::{LeaseId, NodeId};
use jeroboam_core::job::AttemptEnd;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::site::NodeReport;
use std::collections::BTreeMap;

/// Who says hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The site that the stream's credentials are for.
    pub site: String,
    /// Empty before the first welcome.
    pub federation: String,
    /// The agent's state directory.
    pub incarnation: String,
    /// Of the agent's software.
    pub version: String,
}

/// What an agent says in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromSite {
    /// Every lease that it holds, and whether its command runs.
    Inventory {
        /// As welcomed.
        session: u64,
        /// All of them.
        leases: BTreeMap<LeaseId, bool>,
    },
    /// What the site has.
    Capacity {
        /// True: nodes not listed are gone.
        full: bool,
        /// New and changed ones.
        nodes: Vec<NodeReport>,
        /// Gone ones.
        removed: Vec<String>,
    },
    /// Asks for renewal.
    Heartbeat(u64),
    /// An attempt is being prepared.
    Starting(LeaseId),
    /// An attempt's command runs.
    Running(LeaseId),
    /// An attempt has ended.
    Ended(LeaseId, Box<AttemptEnd>),
}

/// What an agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToSite {
    /// The session's number and the protocol's spans.
    Welcome {
        /// This session.
        session: u64,
    },
    /// What becomes of the leases that it listed.
    Verdict {
        /// Renewed.
        keep: Vec<LeaseId>,
        /// To be stopped.
        ended: Vec<LeaseId>,
        /// Kept until their deadline.
        unknown: Vec<LeaseId>,
    },
    /// Every lease of the session is renewed.
    Renewed(u64),
    /// Run this.
    Grant(LeaseId),
    /// End this.
    Stop(LeaseId),
    /// The report of the end is durable.
    Ack(LeaseId),
    /// More is held on these nodes than they have now: for the site's log.
    OverCommitted(Vec<NodeId>),
}

/// Why a stream is closed from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// A newer session of the same site took over.
    Superseded,
    /// The site was silent for W.
    Silent,
    /// The agent belongs to another federation.
    ForeignFederation {
        /// The agent's.
        theirs: String,
        /// This one.
        ours: String,
    },
    /// The World refused.
    Refused(Rejected),
    /// This scheduler may not answer: it is not, or no longer surely, the leader.
    NotLeading,
}
