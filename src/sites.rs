//! `jero sites`, `jero site` and `jero nodes`: where work can run.

mod downtime;
mod node;
mod nodes;

use std::collections::BTreeMap;

use jeroboam_proto::v1;
use jeroboam_proto::v1::set_site_request::Verb as WireVerb;
use jeroboam_units::{Instant, MicroEuro};
use serde::Serialize;

use crate::client::{Remote, Scheduler};
use crate::failure::Failure;
use crate::output::{self, Amounts, Output};
use crate::queues::Reason;
use downtime::Declared;

pub use downtime::Downtime;
pub use node::{NodeVerb, node};
pub use nodes::{NodesArgs, nodes};

/// Lists the sites: what each has, holds and costs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  jero sites
  jero sites --output json | jq '.[] | select(.connected | not) | .site'")]
pub struct Args {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    remote: Remote,
}

/// Shows a site, or takes it out of use and back
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Shows one site with its contract
    #[command(after_help = "Example:
  jero site show meyrin")]
    Show {
        /// The site's name
        #[arg(value_name = "SITE")]
        name: String,
        #[command(flatten)]
        common: Args,
    },
    /// Lets nothing more start there; what runs goes on
    #[command(after_help = "Example:
  jero site cordon meyrin --cluster batch --reason 'odd results'")]
    Cordon(Change),
    /// Lets nothing more start there, for good: empties it for its admin
    Drain(Change),
    /// Puts a cordoned or draining site back into use
    #[command(after_help = "Example:
  jero site resume meyrin")]
    Resume(Change),
    /// Declares, lists or takes back times in which nothing runs there
    #[command(subcommand)]
    Downtime(Downtime),
}

/// A site and why it is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  jero site drain meyrin --reason 'new switches' --until 2027-03-04T18:00:00Z")]
pub struct Change {
    /// The site's name
    #[arg(value_name = "SITE")]
    name: String,
    /// Why, for those who see it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<Reason>,
    /// Only the nodes of this cluster, those that join later as well
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Opens again by itself then
    #[arg(long = "until", value_name = "TIME")]
    until: Option<Instant>,
    #[command(flatten)]
    common: Args,
}

#[derive(Debug, Serialize)]
struct Site {
    site: String,
    kind: &'static str,
    region: String,
    contract: Option<Contract>,
    connected: bool,
    renewed: Option<Instant>,
    cordoned: String,
    draining: String,
    closed_until: Option<Instant>,
    clusters_closed: BTreeMap<String, String>,
    downtimes: Vec<Declared>,
    quarantined: String,
    quarantined_until: Option<Instant>,
    nodes: u32,
    nodes_over_committed: u32,
    nodes_quarantined: u32,
    capacity: Amounts,
    held: Amounts,
    running: u32,
    unknown_leases: u32,
    agent_version: String,
    core_ms: i64,
    cost_micro_eur: i64,
}

#[derive(Debug, Serialize)]
struct Contract {
    start: Option<Instant>,
    end: Option<Instant>,
    price_micro_eur_per_core_hour: i64,
    budget_micro_eur: Option<i64>,
}

impl Site {
    fn of(site: v1::SiteStatus) -> Self {
        let contract = site.contract.as_ref().map(|contract| Contract {
            start: output::moment(contract.start_ms),
            end: output::moment(contract.end_ms),
            price_micro_eur_per_core_hour: contract.price_micro_eur_per_core_hour,
            budget_micro_eur: Some(contract.budget_micro_eur).filter(|budget| *budget != 0),
        });
        Self {
            kind: if site.leased { "leased" } else { "owned" },
            capacity: Amounts::of(site.capacity.as_ref()),
            held: Amounts::of(site.held.as_ref()),
            renewed: output::moment(site.renewed_ms),
            site: site.name,
            region: site.region,
            contract,
            connected: site.connected,
            cordoned: site.cordoned,
            draining: site.draining,
            closed_until: output::moment(site.closed_until_ms),
            clusters_closed: site.clusters_closed.into_iter().collect(),
            downtimes: site.downtimes.into_iter().map(Declared::of).collect(),
            quarantined: site.quarantined,
            quarantined_until: output::moment(site.quarantined_until_ms),
            nodes: site.nodes,
            nodes_over_committed: site.nodes_over_committed,
            nodes_quarantined: site.nodes_quarantined,
            running: site.running,
            unknown_leases: site.unknown_leases,
            agent_version: site.agent_version,
            core_ms: site.core_ms,
            cost_micro_eur: site.cost_micro_eur,
        }
    }

    fn until(&self) -> String {
        let until = self.closed_until.map(|until| format!(" until {until}"));
        until.unwrap_or_default()
    }

    /// When the next downtime begins; nothing where there is none.
    fn next_downtime(&self) -> String {
        let next = self.downtimes.first().and_then(Declared::begins);
        next.map(|from| from.to_string()).unwrap_or_default()
    }

    /// One word, and the reason where there is one.
    fn state(&self) -> String {
        match (
            self.draining.as_str(),
            self.cordoned.as_str(),
            self.connected,
        ) {
            ("", "", true) if !self.quarantined.is_empty() => "quarantined".to_owned(),
            ("", "", true) => "up".to_owned(),
            ("", "", false) => "away".to_owned(),
            ("", reason, _) => format!("cordoned{}: {reason}", self.until()),
            (reason, _, _) => format!("draining{}: {reason}", self.until()),
        }
    }
}

/// Lists the sites.
///
/// # Errors
/// Unreachable or refused.
pub async fn list(args: Args) -> Result<(), Failure> {
    let sites = fetch(&args, String::new()).await?;
    args.output.print(&sites, |sites| table(sites))
}

async fn fetch(args: &Args, name: String) -> Result<Vec<Site>, Failure> {
    let scheduler = Scheduler::of(&args.remote)?;
    let request = v1::ListSitesRequest { name };
    let reply = scheduler
        .answer(scheduler.client().list_sites(request))
        .await?;
    Ok(reply.sites.into_iter().map(Site::of).collect())
}

/// Shows or changes a site.
///
/// # Errors
/// Unreachable or refused.
pub async fn one(verb: Verb) -> Result<(), Failure> {
    let (verb, change) = match verb {
        Verb::Show { name, common } => return show(name, &common).await,
        Verb::Downtime(verb) => return downtime::downtime(verb).await,
        Verb::Cordon(change) => (WireVerb::Cordon, change),
        Verb::Drain(change) => (WireVerb::Drain, change),
        Verb::Resume(change) => (WireVerb::Resume, change),
    };
    let scheduler = Scheduler::of(&change.common.remote)?;
    let reason = match (verb, change.reason) {
        (_, Some(reason)) => reason.into(),
        (WireVerb::Resume, None) => String::new(),
        (_, None) => Reason::none_given().into(),
    };
    let mut request = v1::SetSiteRequest {
        name: change.name,
        reason,
        cluster: change.cluster.unwrap_or_default(),
        until_ms: change.until.map_or(0, |until| until.0),
        ..Default::default()
    };
    request.set_verb(verb);
    let site = scheduler
        .answer(scheduler.client().set_site(request))
        .await?;
    change.common.output.print(&Site::of(site), facts)
}

async fn show(name: String, common: &Args) -> Result<(), Failure> {
    match fetch(common, name.clone()).await?.pop() {
        Some(site) => common.output.print(&site, facts),
        None => Err(Failure::input(
            format!("there is no site `{name}`"),
            "see `jero sites`",
        )),
    }
}

fn table(sites: &[Site]) -> String {
    let rows = sites.iter().map(|site| {
        let of = |part: &str, whole: &str| format!("{part}/{whole}");
        vec![
            site.site.clone(),
            site.kind.to_owned(),
            site.state(),
            site.nodes.to_string(),
            of(&site.held.cpu(), &site.capacity.cpu()),
            of(&site.held.memory(), &site.capacity.memory()),
            site.running.to_string(),
            site.renewed
                .map(|Instant(ms)| output::ago(ms))
                .unwrap_or_default(),
            site.next_downtime(),
            output::core_hours(site.core_ms),
            output::euros(site.cost_micro_eur),
        ]
    });
    let headings = [
        "site", "kind", "state", ">nodes", ">cpu", ">memory", ">running", "renewed", "downtime",
        ">core-h", ">euros",
    ];
    output::table(&headings, rows.collect())
}

fn facts(site: &Site) -> String {
    let contract = site.contract.as_ref();
    let window = contract.map(|contract| {
        let moment = |moment: Option<Instant>| moment.map(|moment| moment.to_string());
        let (start, end) = (moment(contract.start), moment(contract.end));
        format!(
            "{} to {}",
            start.unwrap_or_default(),
            end.unwrap_or_default()
        )
    });
    let price = contract.map(|contract| MicroEuro(contract.price_micro_eur_per_core_hour));
    let budget = contract
        .and_then(|contract| contract.budget_micro_eur)
        .map(MicroEuro);
    let unknown = match site.unknown_leases {
        0 => String::new(),
        count => format!("{count}, held there but unknown to the scheduler's journal"),
    };
    let quarantined = match (site.quarantined.as_str(), site.quarantined_until) {
        ("", _) | (_, None) => String::new(),
        (why, Some(until)) => format!("until {until}: {why}"),
    };
    let clusters = site.clusters_closed.iter();
    let clusters: Vec<String> = clusters
        .map(|(name, closed)| format!("{name} {closed}"))
        .collect();
    let nodes_quarantined = match site.nodes_quarantined {
        0 => String::new(),
        count => format!("{count} of the nodes; see `jero nodes`"),
    };
    let over_committed = match site.nodes_over_committed {
        0 => String::new(),
        count => {
            format!("{count} of the nodes, with less than what runs there holds; see `jero nodes`")
        }
    };
    output::facts(&[
        ("site", site.site.clone()),
        ("kind", site.kind.to_owned()),
        ("region", site.region.clone()),
        ("state", site.state()),
        (
            "last heard",
            site.renewed
                .map(|Instant(ms)| output::ago(ms))
                .unwrap_or_default(),
        ),
        ("agent", site.agent_version.clone()),
        ("nodes", site.nodes.to_string()),
        ("over-committed", over_committed),
        ("quarantined", quarantined),
        ("nodes in quarantine", nodes_quarantined),
        ("clusters", clusters.join(", ")),
        (
            "next downtime",
            site.downtimes
                .first()
                .map(Declared::text)
                .unwrap_or_default(),
        ),
        ("capacity", site.capacity.text()),
        ("held", site.held.text()),
        ("running", site.running.to_string()),
        ("unknown leases", unknown),
        ("contract", window.unwrap_or_default()),
        (
            "euros per core-hour",
            price.map(|price| price.to_string()).unwrap_or_default(),
        ),
        (
            "budget in euros",
            budget.map(|budget| budget.to_string()).unwrap_or_default(),
        ),
        ("core-hours", output::core_hours(site.core_ms)),
        ("euros", output::euros(site.cost_micro_eur)),
    ])
}
