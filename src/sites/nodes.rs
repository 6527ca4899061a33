//! `jero nodes`: the nodes of the sites.

use std::collections::BTreeMap;

use jeroboam_proto::v1;
use jeroboam_units::Instant;
use serde::Serialize;

use crate::client::{PAGE, Remote, Scheduler};
use crate::failure::Failure;
use crate::output::{self, Amounts, Output};

/// Lists nodes: where, what each has and holds
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Resources are what is held of what there is. LABELS are what jobs can ask for, TAINTS
what jobs have to tolerate; both are cut to the terminal's width, and whole in JSON.
A node that is over-committed has less than what runs there holds: that goes on, and
nothing new is placed there. One that is quarantined failed whatever it started: it gets
nothing new until the time shown. USED BY is the tenant whose work its kernel has run since
it booted, `several` of them, or one that has it alone; RUNTIMES are those that it
declares, with how far each isolates.

Examples:
  jero nodes
  jero nodes --site meyrin --output json | jq '.[] | select(.state != \"up\")'"
)]
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
pub(super) struct Node {
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
    over_committed: Option<Amounts>,
    reason: String,
    until: Option<Instant>,
    used_by: String,
    alone: bool,
    runtimes: Vec<Runtime>,
}

#[derive(Debug, Serialize)]
struct Runtime {
    name: String,
    isolation: &'static str,
    overhead: Amounts,
}

#[derive(Debug, Serialize)]
struct Taint {
    key: String,
    value: String,
}

impl Node {
    pub(super) fn of(node: v1::Node) -> Self {
        let coe = match node.coe() {
            v1::Coe::Any => "any",
            v1::Coe::Kubernetes => "kubernetes",
            v1::Coe::Swarm => "swarm",
            v1::Coe::Mesos => "mesos",
            v1::Coe::Process => "process",
        };
        let taint = |v1::Taint { key, value }| Taint { key, value };
        let runtime = |runtime: v1::Runtime| Runtime {
            isolation: output::isolation(runtime.isolation()),
            overhead: Amounts::of(runtime.overhead.as_ref()),
            name: runtime.name,
        };
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
            over_committed: node
                .over_committed
                .as_ref()
                .map(|over| Amounts::of(Some(over))),
            reason: node.reason,
            until: output::moment(node.until_ms),
            used_by: node.used_by,
            alone: node.alone,
            runtimes: node.runtimes.into_iter().map(runtime).collect(),
        }
    }

    /// For tables: a node that has less than it holds says so; `cordoned` and
    /// the like weigh more, and both are told.
    fn state(&self) -> String {
        let mut state = match (self.state.as_str(), &self.over_committed) {
            (state, None) => state.to_owned(),
            ("up", Some(_)) => "over-committed".to_owned(),
            (state, Some(_)) => format!("{state}, over-committed"),
        };
        if let Some(until) = self.until {
            state.push_str(&format!(" until {until}"));
        }
        if !self.reason.is_empty() {
            state.push_str(&format!(": {}", self.reason));
        }
        state
    }

    fn labels(&self) -> String {
        let pairs = self.labels.iter();
        listed(pairs.map(|(name, value)| pair(name, value)))
    }

    /// Who has used its kernel.
    fn used_by(&self) -> String {
        match (self.used_by.as_str(), self.alone) {
            ("", _) => NONE.to_owned(),
            (tenant, true) => format!("{tenant}, alone"),
            (tenant, false) => tenant.to_owned(),
        }
    }

    fn runtimes(&self) -> String {
        let runtimes = self.runtimes.iter();
        listed(runtimes.map(|runtime| match runtime.name.as_str() {
            "" => runtime.isolation.to_owned(),
            name => format!("{name}:{}", runtime.isolation),
        }))
    }

    fn taints(&self) -> String {
        let taints = self.taints.iter();
        listed(taints.map(|taint| pair(&taint.key, &taint.value)))
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

fn pair(name: &str, value: &str) -> String {
    match value {
        "" => name.to_owned(),
        value => format!("{name}={value}"),
    }
}

fn listed(texts: impl Iterator<Item = String>) -> String {
    let text = texts.collect::<Vec<_>>().join(",");
    if text.is_empty() {
        NONE.to_owned()
    } else {
        text
    }
}

/// What a cell says that has nothing to say.
const NONE: &str = "-";

const HEADINGS: [&str; 14] = [
    "node", "site", "cluster", "coe", "state", ">cpu", ">memory", ">disk", ">gpu", ">running",
    "labels", "taints", "used by", "runtimes",
];

/// A reason, labels, taints and runtimes may have any length.
const CUT: [usize; 4] = [4, 10, 11, 13];

/// What is left out where no node has any: the last columns.
const OPTIONAL: std::ops::Range<usize> = 12..14;

pub(super) fn table(nodes: &[Node]) -> String {
    let mut rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    let (mut headings, mut cut) = (HEADINGS.to_vec(), CUT.to_vec());
    for column in OPTIONAL.rev() {
        if rows.iter().all(|row| row[column] == NONE) {
            headings.remove(column);
            rows.iter_mut().for_each(|row| drop(row.remove(column)));
            cut.retain(|other| *other != column);
            cut.iter_mut()
                .for_each(|other| *other -= usize::from(*other > column));
        }
    }
    output::fit(&headings, &mut rows, &cut, output::terminal_columns());
    output::table(&headings, rows)
}

/// A node's cells; of what it neither has nor holds, none.
fn row(node: &Node) -> Vec<String> {
    let of = |amount: fn(&Amounts) -> String| {
        let (part, whole) = (amount(&node.held), amount(&node.capacity));
        let nothing = amount(&Amounts::default());
        if part == nothing && whole == nothing {
            NONE.to_owned()
        } else {
            format!("{part}/{whole}")
        }
    };
    vec![
        node.node.clone(),
        node.site.clone(),
        node.cluster.clone(),
        node.coe.to_owned(),
        node.state(),
        of(Amounts::cpu),
        of(Amounts::memory),
        of(Amounts::disk),
        of(Amounts::gpu),
        node.running.to_string(),
        node.labels(),
        node.taints(),
        node.used_by(),
        node.runtimes(),
    ]
}
