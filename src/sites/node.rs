//! `jero node`: takes a node out of use and back.

use std::str::FromStr;

use jeroboam_proto::v1;
use jeroboam_proto::v1::set_site_request::Verb as WireVerb;
use jeroboam_units::Instant;

use super::nodes::{Node, table};
use crate::client::{Remote, Scheduler};
use crate::failure::Failure;
use crate::output::Output;
use crate::queues::Reason;

/// Shows a node, or takes it out of use and back
#[derive(Debug, clap::Subcommand)]
pub enum NodeVerb {
    /// Shows one node
    #[command(after_help = "Example:
  jero node show meyrin/n17")]
    Show {
        /// The node, as `jero nodes` names it
        #[arg(value_name = "SITE/NODE")]
        node: Name,
        #[command(flatten)]
        common: Common,
    },
    /// Lets nothing more start there; what runs goes on
    Cordon(Change),
    /// Lets nothing more start there, for good: empties it for its admin
    Drain(Change),
    /// Puts a node back into use that is cordoned, draining or quarantined
    Resume(Change),
}

/// A node and why it is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  jero node cordon meyrin/n17 --reason 'bad disk'
  jero node drain meyrin/n17 --reason 'new kernel' --until 2027-03-04T18:00:00Z
  jero node resume meyrin/n17")]
pub struct Change {
    /// The node, as `jero nodes` names it
    #[arg(value_name = "SITE/NODE")]
    node: Name,
    /// Why, for those who see it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<Reason>,
    /// Opens again by itself then
    #[arg(long, value_name = "TIME")]
    until: Option<Instant>,
    #[command(flatten)]
    common: Common,
}

/// What every verb of a node takes.
#[derive(Debug, clap::Args)]
pub struct Common {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// A node and the site that it is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    site: String,
    node: String,
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((site, node)) if !site.is_empty() && !node.is_empty() => Ok(Name {
                site: site.to_owned(),
                node: node.to_owned(),
            }),
            _ => Err("a node is named with its site, as in `meyrin/n17`".to_owned()),
        }
    }
}

/// Shows or changes a node.
///
/// # Errors
/// Unreachable or refused.
pub async fn node(verb: NodeVerb) -> Result<(), Failure> {
    let (verb, change) = match verb {
        NodeVerb::Show { node, common } => {
            let scheduler = Scheduler::of(&common.remote)?;
            return show(&scheduler, node, &common.output).await;
        }
        NodeVerb::Cordon(change) => (WireVerb::Cordon, change),
        NodeVerb::Drain(change) => (WireVerb::Drain, change),
        NodeVerb::Resume(change) => (WireVerb::Resume, change),
    };
    let scheduler = Scheduler::of(&change.common.remote)?;
    let reason = match (verb, change.reason) {
        (_, Some(reason)) => reason.into(),
        (WireVerb::Resume, None) => String::new(),
        (_, None) => Reason::none_given().into(),
    };
    let mut request = v1::SetSiteRequest {
        name: change.node.site.clone(),
        node: change.node.node.clone(),
        reason,
        until_ms: change.until.map_or(0, |until| until.0),
        ..Default::default()
    };
    request.set_verb(verb);
    scheduler
        .answer(scheduler.client().set_site(request))
        .await?;
    show(&scheduler, change.node, &change.common.output).await
}

async fn show(scheduler: &Scheduler, name: Name, output: &Output) -> Result<(), Failure> {
    let request = v1::ListNodesRequest {
        site: name.site,
        name: name.node,
        limit: 1,
        ..Default::default()
    };
    let reply = scheduler
        .answer(scheduler.client().list_nodes(request))
        .await?;
    let nodes: Vec<Node> = reply.nodes.into_iter().map(Node::of).collect();
    output.print(&nodes, |nodes| table(nodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_with_its_site() {
        let name = |site: &str, node: &str| {
            Ok(Name {
                site: site.to_owned(),
                node: node.to_owned(),
            })
        };
        assert_eq!("meyrin/n17".parse(), name("meyrin", "n17"));
        assert_eq!("meyrin/a/b".parse(), name("meyrin", "a/b"));
        for text in ["n17", "/n17", "meyrin/", ""] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
