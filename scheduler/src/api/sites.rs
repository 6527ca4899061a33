//! Sites and nodes: listed, closed and opened by hand.

use super::ClientApi;
use super::paging::{Page, limit, start};
use crate::auth::Caller;
use crate::convert::place;
use crate::convert::status::{driver as unavailable, rejected};
use crate::state::State;
use jeroboam_core::event::Event;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::site::{Closing, Part};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use jeroboam_proto::v1;
use tonic::Status;
use v1::set_site_request::Verb;

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 500;

impl ClientApi {
    pub(super) async fn sites(
        &self,
        request: v1::ListSitesRequest,
    ) -> Result<v1::ListSitesReply, Status> {
        let look = move |state: &State, _: TimeMs| {
            if !request.name.is_empty() {
                let site = state.world.find_site(&request.name)?;
                return Ok(v1::ListSitesReply {
                    sites: vec![place::site(state, site)],
                });
            }
            let listed = state
                .world
                .sites()
                .iter()
                .filter(|site| !site.withdrawn || site.running > 0);
            Ok(v1::ListSitesReply {
                sites: listed.map(|site| place::site(state, site)).collect(),
            })
        };
        let looked: Result<_, Rejected> =
            self.driver.read_state(look).await.map_err(unavailable)?;
        looked.map_err(|cause| rejected(&cause))
    }

    pub(super) async fn change_site(
        &self,
        (caller, request): (Caller, v1::SetSiteRequest),
    ) -> Result<v1::SiteStatus, Status> {
        self.rights.check_operator(&caller)?;
        let how = match request.verb() {
            Verb::AddDowntime | Verb::RemoveDowntime => {
                return self.change_downtimes(&caller, request).await;
            }
            Verb::Cordon => Some(Closing::Cordon),
            Verb::Drain => Some(Closing::Drain),
            Verb::Resume => None,
            Verb::Unspecified => {
                let what = "it is missing, or of a newer release";
                return Err(rejected(&Rejected::invalid(
                    "verb",
                    what,
                    "use cordon, drain, resume, or add or remove a downtime",
                )));
            }
        };
        check_reason(&request.reason)?;
        let part = part(&request)?;
        let until = (request.until_ms != 0).then_some(TimeMs(request.until_ms));
        let v1::SetSiteRequest { name, reason, .. } = request;
        tracing::info!(%caller, site = name, ?part, ?how, reason, "a place is closed or opened");
        let closed = Event::PartClosed {
            site: name.clone(),
            part,
            how,
            reason,
            by: caller.to_string(),
            until,
        };
        self.driver
            .apply(closed, |_| ())
            .await
            .map_err(unavailable)?;
        self.changed(name).await
    }

    /// A site as it is after a change.
    async fn changed(&self, name: String) -> Result<v1::SiteStatus, Status> {
        let listed = self.sites(v1::ListSitesRequest { name }).await?;
        listed
            .sites
            .into_iter()
            .next()
            .ok_or_else(|| Status::internal("the site was changed and is not there"))
    }

    async fn change_downtimes(
        &self,
        caller: &Caller,
        request: v1::SetSiteRequest,
    ) -> Result<v1::SiteStatus, Status> {
        check_reason(&request.reason)?;
        let part = part(&request)?;
        let site = request.name.clone();
        let event = match request.verb() {
            Verb::RemoveDowntime => Event::DowntimeRemoved {
                site,
                id: request.downtime,
            },
            _ => Event::DowntimeDeclared {
                site,
                part,
                from: TimeMs(request.from_ms),
                until: TimeMs(request.until_ms),
                reason: request.reason,
                by: caller.to_string(),
            },
        };
        tracing::info!(%caller, ?event, "a downtime is declared or taken back");
        self.driver
            .apply(event, |_| ())
            .await
            .map_err(unavailable)?;
        self.changed(request.name).await
    }

    pub(super) async fn nodes(
        &self,
        request: v1::ListNodesRequest,
    ) -> Result<v1::ListNodesReply, Status> {
        let after = start(&request.page_token)?;
        let look = move |world: &World, _: TimeMs| nodes(world, &request, after);
        let looked: Result<_, Rejected> = self.driver.read(look).await.map_err(unavailable)?;
        looked.map_err(|cause| rejected(&cause))
    }
}

fn check_reason(reason: &str) -> Result<(), Status> {
    let length = reason.chars().count();
    if length <= REASON_CHARS_MAX {
        return Ok(());
    }
    let max = REASON_CHARS_MAX as u64;
    Err(rejected(&Rejected::bounds(
        "reason (characters)",
        length as u64,
        0,
        max,
    )))
}

/// What of the site is meant.
fn part(request: &v1::SetSiteRequest) -> Result<Part, Status> {
    match (request.node.as_str(), request.cluster.as_str()) {
        ("", "") => Ok(Part::Site),
        (node, "") => Ok(Part::Node(node.to_string())),
        ("", cluster) => Ok(Part::Cluster(cluster.to_string())),
        _ => Err(rejected(&Rejected::invalid(
            "cluster",
            "a node is named as well",
            "name a node or a cluster",
        ))),
    }
}

/// The one node that is asked for.
fn one_node(world: &World, request: &v1::ListNodesRequest) -> Result<v1::ListNodesReply, Rejected> {
    let site = world.find_site(&request.site)?;
    let node = site.nodes.get(&request.name);
    let node = node.ok_or_else(|| Rejected::UnknownPart {
        site: request.site.clone(),
        what: "node",
        name: request.name.clone(),
        near: None,
    })?;
    Ok(v1::ListNodesReply {
        nodes: vec![place::node(world, world.node(*node))],
        next_page_token: String::new(),
    })
}

fn nodes(
    world: &World,
    request: &v1::ListNodesRequest,
    after: Option<u64>,
) -> Result<v1::ListNodesReply, Rejected> {
    if !request.name.is_empty() {
        return one_node(world, request);
    }
    let site = match request.site.as_str() {
        "" => None,
        name => Some(world.find_site(name)?.id),
    };
    let mut page = Page::new(limit(request.limit));
    let first = after.map_or(0, |after| after.saturating_add(1));
    let first = usize::try_from(first)
        .unwrap_or(usize::MAX)
        .min(world.nodes().len());
    for node in &world.nodes()[first..] {
        let wanted = || {
            let listed = node.is_known();
            (listed && site.is_none_or(|site| site == node.site)).then(|| place::node(world, node))
        };
        if !page.look(node.id.0.into(), wanted) {
            break;
        }
    }
    let next_page_token = page.next_token();
    Ok(v1::ListNodesReply {
        nodes: page.entries,
        next_page_token,
    })
}
