//! `jero site downtime`: times that are declared before, in which nothing is to run.

use jeroboam_proto::v1;
use jeroboam_proto::v1::set_site_request::Verb as WireVerb;
use jeroboam_units::Instant;
use serde::Serialize;

use super::{Args, Site, fetch};
use crate::client::Scheduler;
use crate::failure::Failure;
use crate::output;
use crate::queues::Reason;

/// Declares, lists or takes back times in which nothing runs at a site
#[derive(Debug, clap::Subcommand)]
pub enum Downtime {
    /// Declares one: what starts there has to end, by its walltime limit, before it begins
    #[command(after_help = "Example:
  jero site downtime add meyrin --from 2027-03-04T06:00:00Z --until 2027-03-04T18:00:00Z --reason 'new switches'")]
    Add {
        /// The site's name
        #[arg(value_name = "SITE")]
        name: String,
        /// Nothing runs from then on that starts from now on
        #[arg(long, value_name = "TIME")]
        from: Instant,
        /// It is over then, by itself
        #[arg(long, value_name = "TIME")]
        until: Instant,
        /// Why, for those who see it later
        #[arg(long, value_name = "TEXT")]
        reason: Reason,
        /// Only the nodes of this cluster, those that join later as well
        #[arg(long, value_name = "CLUSTER", conflicts_with = "node")]
        cluster: Option<String>,
        /// Only this node
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        #[command(flatten)]
        common: Args,
    },
    /// Lists those to come and under way
    #[command(after_help = "Example:
  jero site downtime list meyrin")]
    List {
        /// The site's name
        #[arg(value_name = "SITE")]
        name: String,
        #[command(flatten)]
        common: Args,
    },
    /// Takes one back, or ends it
    #[command(after_help = "Example:
  jero site downtime remove meyrin 3")]
    Remove {
        /// The site's name
        #[arg(value_name = "SITE")]
        name: String,
        /// Its number, as `list` shows it
        #[arg(value_name = "N")]
        downtime: u32,
        #[command(flatten)]
        common: Args,
    },
}

/// A declared downtime, in JSON.
#[derive(Debug, Serialize)]
pub struct Declared {
    downtime: u32,
    /// Only this one of the site; `null`: all or a cluster.
    node: Option<String>,
    cluster: Option<String>,
    from: Option<Instant>,
    until: Option<Instant>,
    reason: String,
    by: String,
}

impl Declared {
    /// Reads the wire's downtime.
    pub fn of(downtime: v1::Downtime) -> Self {
        let given = |name: String| (!name.is_empty()).then_some(name);
        Self {
            downtime: downtime.id,
            node: given(downtime.node),
            cluster: given(downtime.cluster),
            from: output::moment(downtime.from_ms),
            until: output::moment(downtime.until_ms),
            reason: downtime.reason,
            by: downtime.by,
        }
    }

    /// When it begins.
    pub fn begins(&self) -> Option<Instant> {
        self.from
    }

    fn part(&self) -> String {
        match (&self.node, &self.cluster) {
            (Some(node), _) => format!("node {node}"),
            (None, Some(cluster)) => format!("cluster {cluster}"),
            (None, None) => "all of it".to_owned(),
        }
    }

    /// `from 2027-03-04T06:00:00Z to 2027-03-04T18:00:00Z, all of it: new switches (olga)`.
    pub fn text(&self) -> String {
        let moment = |moment: Option<Instant>| moment.map(|moment| moment.to_string());
        let (from, until) = (moment(self.from), moment(self.until));
        format!(
            "from {} to {}, {}: {} ({})",
            from.unwrap_or_default(),
            until.unwrap_or_default(),
            self.part(),
            self.reason,
            self.by
        )
    }
}

/// Declares, lists or takes back.
///
/// # Errors
/// Unreachable or refused.
pub async fn downtime(verb: Downtime) -> Result<(), Failure> {
    let (mut request, verb, common) = match verb {
        Downtime::List { name, common } => {
            let mut sites = fetch(&common, name).await?;
            let declared = sites.pop().map(|site| site.downtimes);
            return common
                .output
                .print(&declared.unwrap_or_default(), |declared| table(declared));
        }
        Downtime::Add {
            name,
            from,
            until,
            reason,
            cluster,
            node,
            common,
        } => {
            let request = v1::SetSiteRequest {
                name,
                reason: reason.into(),
                from_ms: from.0,
                until_ms: until.0,
                cluster: cluster.unwrap_or_default(),
                node: node.unwrap_or_default(),
                ..Default::default()
            };
            (request, WireVerb::AddDowntime, common)
        }
        Downtime::Remove {
            name,
            downtime,
            common,
        } => {
            let request = v1::SetSiteRequest {
                name,
                downtime,
                ..Default::default()
            };
            (request, WireVerb::RemoveDowntime, common)
        }
    };
    request.set_verb(verb);
    let scheduler = Scheduler::of(&common.remote)?;
    let site = scheduler
        .answer(scheduler.client().set_site(request))
        .await?;
    common
        .output
        .print(&Site::of(site).downtimes, |declared| table(declared))
}

fn table(declared: &[Declared]) -> String {
    let moment = |moment: Option<Instant>| moment.map(|moment| moment.to_string());
    let row = |declared: &Declared| {
        vec![
            declared.downtime.to_string(),
            declared.part(),
            moment(declared.from).unwrap_or_default(),
            moment(declared.until).unwrap_or_default(),
            format!("{} ({})", declared.reason, declared.by),
        ]
    };
    let headings = [">downtime", "of", "from", "until", "reason"];
    output::table(&headings, declared.iter().map(row).collect())
}
