//! Nodes and clusters closed by hand, and what fails whatever it starts.

use crate::agent::{Agent, exit};
use crate::service::{Service, eventually, job, refused};
use jeroboam_proto::v1;
use v1::outcome::Kind;
use v1::set_site_request::Verb;

async fn set(service: &Service, verb: Verb, mut request: v1::SetSiteRequest) -> v1::SiteStatus {
    request.name = "meyrin".into();
    request.set_verb(verb);
    let site = service.client().set_site(request).await;
    site.unwrap().into_inner()
}

/// The node as `jero node show` asks for it: state, reason, whether it ends.
async fn node(service: &Service) -> (String, String, bool) {
    let request = v1::ListNodesRequest {
        site: "meyrin".into(),
        name: "n1".into(),
        ..Default::default()
    };
    let reply = service.client().list_nodes(request).await.unwrap();
    let node = reply.into_inner().nodes.remove(0);
    (node.state, node.reason, node.until_ms > 0)
}

fn up() -> (String, String, bool) {
    ("up".into(), String::new(), false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_and_a_cluster_are_closed_with_reason_author_and_end() {
    let service = Service::start("").await;
    let _agent = Agent::join(&service, "meyrin").await;
    eventually("the node is there", || async {
        let request = v1::ListNodesRequest::default();
        let nodes = service.client().list_nodes(request).await.unwrap();
        nodes.into_inner().nodes.pop()
    })
    .await;
    assert_eq!(node(&service).await, up());
    let cordon = v1::SetSiteRequest {
        node: "n1".into(),
        reason: "bad disk".into(),
        until_ms: i64::MAX / 2,
        ..Default::default()
    };
    set(&service, Verb::Cordon, cordon.clone()).await;
    let closed = ("cordoned".into(), "bad disk (local)".into(), true);
    assert_eq!(node(&service).await, closed);
    set(&service, Verb::Resume, cordon.clone()).await;
    assert_eq!(node(&service).await, up());

    let request = v1::ListNodesRequest::default();
    let nodes = service.client().list_nodes(request).await.unwrap();
    let cluster = nodes.into_inner().nodes.remove(0).cluster;
    let drain = v1::SetSiteRequest {
        cluster: cluster.clone(),
        reason: "new kernel".into(),
        ..Default::default()
    };
    let site = set(&service, Verb::Drain, drain).await;
    let told = site.clusters_closed[&cluster].as_str();
    assert_eq!(told, "draining: new kernel (local)");
    let closed = ("draining".into(), "new kernel (local)".into(), false);
    assert_eq!(node(&service).await, closed);

    for (mut request, expected) in [
        (
            v1::SetSiteRequest {
                node: "n2".into(),
                ..Default::default()
            },
            "NotFound UNKNOWN_PART [] the site `meyrin` has no node `n2` | did you mean `n1`? `jero nodes` lists them all",
        ),
        (
            v1::SetSiteRequest {
                cluster,
                ..cordon.clone()
            },
            "InvalidArgument INVALID [cluster] a node is named as well | name a node or a cluster",
        ),
        (
            v1::SetSiteRequest {
                until_ms: 1,
                ..cordon
            },
            "InvalidArgument INVALID [until] it is over already | name a time to come",
        ),
    ] {
        request.name = "meyrin".into();
        request.set_verb(Verb::Cordon);
        assert_eq!(refused(service.client().set_site(request).await), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_nothing_is_quarantined_until_somebody_resumes_it() {
    let service = Service::start("[policy]\nquarantine_failures = 2\n").await;
    let mut agent = Agent::join(&service, "meyrin").await;
    service.submit(vec![job("j", 1)]).await;
    let not_run = v1::Ended {
        outcome: Some(v1::Outcome {
            kind: Some(Kind::NotRun(v1::Empty {})),
        }),
        ..exit(0)
    };
    for _ in 0..2 {
        let grant = agent.granted().await;
        agent.ended(grant.lease, not_run.clone()).await;
    }
    let quarantined = eventually("the node is in quarantine", || async {
        let (state, reason, ends) = node(&service).await;
        (state == "quarantined").then_some((reason, ends))
    });
    let why = "2 of 2 attempts failed at once, elsewhere 0 of 0";
    assert_eq!(quarantined.await, (why.into(), true));
    let resume = v1::SetSiteRequest {
        node: "n1".into(),
        ..Default::default()
    };
    set(&service, Verb::Resume, resume).await;
    assert_eq!(node(&service).await, up());
    // What waits is placed there again.
    agent.granted().await;
}
