//! `jero nodes`: the nodes of the sites.

use std::collections::BTreeMap;

use jeroboam_proto::v1;
use serde::Serialize;

use crate::client::{PAGE, Remote, Scheduler};
use crate::failure::Failure;
use crate::output::{self, Amounts, Output};

/// Lists nodes: where, what each has and holds
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  jero nodes
  jero nodes --site meyrin --output json | jq '.[] | select(.state != \"up\")'")]
pub struct NodesArgs {
    /// Only of this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Serialize)]
struct Node {
    node: String,
    site: String,
    cluster: String,
    coe: &'static str,
    kernel: String,
    state: String,
    capacity: Amounts,
    held: Amounts,
    running: u32,
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
}

#[derive(Debug, Serialize)]
struct Taint {
    key: String,
    value: String,
}

impl Node {
    fn of(node: v1::Node) -> Self {
        let coe = match node.coe() {
            v1::Coe::Any => "any",
            v1::Coe::Kubernetes => "kubernetes",
            v1::Coe::Swarm => "swarm",
            v1::Coe::Mesos => "mesos",
            v1::Coe::Process => "process",
        };
        let taint = |v1::Taint { key, value }| Taint { key, value };
        Self {
            coe,
            capacity: Amounts::of(node.capacity.as_ref()),
            held: Amounts::of(node.held.as_ref()),
            node: node.name,
            site: node.site,
            cluster: node.cluster,
            kernel: node.kernel,
            state: node.state,
            running: node.running,
            labels: node.labels,
            taints: node.taints.into_iter().map(taint).collect(),
        }
    }
}

/// Lists nodes.
///
/// # Errors
/// Unreachable or refused.
pub async fn nodes(args: NodesArgs) -> Result<(), Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let mut nodes: Vec<Node> = Vec::new();
    let mut request = v1::ListNodesRequest {
        site: args.site.unwrap_or_default(),
        ..Default::default()
    };
    loop {
        let missing = (args.limit as usize).saturating_sub(nodes.len());
        request.limit = PAGE.min(u32::try_from(missing).unwrap_or(PAGE));
        if request.limit == 0 {
            eprintln!("jero: there may be more; raise --limit to see them");
            break;
        }
        let page = scheduler
            .answer(scheduler.client().list_nodes(request.clone()))
            .await?;
        nodes.extend(page.nodes.into_iter().map(Node::of));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    args.output.print(&nodes, |nodes| table(nodes))
}

fn table(nodes: &[Node]) -> String {
    let rows = nodes.iter().map(|node| {
        let of = |part: String, whole: String| format!("{part}/{whole}");
        vec![
            node.node.clone(),
            node.site.clone(),
            node.cluster.clone(),
            node.coe.to_owned(),
            node.state.clone(),
            of(node.held.cpu(), node.capacity.cpu()),
            of(node.held.memory(), node.capacity.memory()),
            node.running.to_string(),
        ]
    });
    let headings = [
        "node", "site", "cluster", "coe", "state", ">cpu", ">memory", ">running",
    ];
    output::table(&headings, rows.collect())
}
