//! What is larger than every node: refused where that is known, told where not;
//! and nodes that come to have less than is held on them.

use crate::agent::{Agent, node};
use crate::service::{Service, batch, eventually, job, refused};
use jeroboam_proto::v1;
use jeroboam_proto::v1::agent_message::Kind as Up;
use jeroboam_proto::v1::scheduler_message::Kind as Down;
use tonic_types::StatusExt as _;

fn request(id: &str, jobs: Vec<v1::JobSpec>) -> v1::SubmitRequest {
    v1::SubmitRequest {
        request_id: id.into(),
        batch: Some(batch(jobs)),
    }
}

fn sized(name: &str, resources: v1::Resources) -> v1::JobSpec {
    v1::JobSpec {
        resources: Some(resources),
        ..job(name, 1)
    }
}

fn large() -> Vec<v1::JobSpec> {
    let resources = v1::Resources {
        cpu_milli: 1_000,
        memory_mib: 900 << 10,
        ..Default::default()
    };
    vec![job("small", 1), sized("large", resources)]
}

/// Waits until so many nodes are known.
async fn await_nodes(service: &Service, count: usize) {
    eventually("the nodes are known", || async {
        let mut client = service.client();
        let nodes = client.list_nodes(v1::ListNodesRequest::default());
        (nodes.await.unwrap().into_inner().nodes.len() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_node_can_hold_is_refused_once_all_sites_have_reported() {
    let service = Service::start("").await;
    let mut client = service.client();
    let before = client.submit(request("before", large())).await.unwrap();
    let before = before.into_inner();
    assert_eq!(before.warnings, Vec::<String>::new(), "nothing is known");

    let mut meyrin = Agent::join(&service, "meyrin").await;
    await_nodes(&service, 1).await;
    let between = client.submit(request("between", large())).await.unwrap();
    let between = between.into_inner();
    expect_test::expect!["a task of `large` waits for a larger node: it asks for 900GiB of memory, and the largest node, `n1` at `meyrin`, has 4GiB"]
        .assert_eq(&between.warnings.join("\n"));
    let task = Some(v1::Task {
        job: between.jobs[1],
        index: 0,
    });
    let explained = client
        .explain(v1::ExplainRequest {
            task,
            predict: false,
        })
        .await
        .unwrap();
    let waiting = explained.into_inner().waiting.unwrap();
    assert_eq!(waiting.code, "too-large");
    expect_test::expect!["no matching node is large enough, even empty: it asks for 900GiB of memory, and the largest node, `n1` at `meyrin`, has 4GiB"]
        .assert_eq(&waiting.text);

    let _cloud = Agent::join(&service, "cloud-west").await;
    await_nodes(&service, 2).await;
    let status = client.submit(request("after", large())).await.unwrap_err();
    let details = status.get_error_details();
    let metadata = &details.error_info().unwrap().metadata;
    assert_eq!(metadata["job"], "large");
    let fields = &details.bad_request().unwrap().field_violations;
    assert_eq!(fields[0].field, "jobs[1].resources.memory");
    expect_test::expect!["InvalidArgument EXCEEDS_EVERY_NODE [jobs[1].resources.memory] a task of `large` fits on no node, even an empty one: it asks for 900GiB of memory, and the largest node, `n1` at `meyrin`, has 4GiB | ask for less, or split the work; `jero nodes` shows what the nodes have"]
        .assert_eq(&refused::<()>(Err(status)));
    // What was accepted stays so; another batch under its id is told of the id.
    let again = client.submit(request("before", large())).await.unwrap();
    assert_eq!(again.into_inner(), before);
    let mut other = large();
    other[0].count = 2;
    let other = refused(client.submit(request("before", other)).await);
    assert!(
        other.starts_with("AlreadyExists REQUEST_ID_REUSED"),
        "{other}"
    );

    let mut larger = node("n2");
    larger.capacity.as_mut().unwrap().memory_mib = 1 << 20;
    let grown = v1::Capacity {
        nodes: vec![larger],
        ..Default::default()
    };
    meyrin.say(Up::Capacity(grown)).await;
    await_nodes(&service, 3).await;
    client.submit(request("grown", large())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_resource_is_named_as_in_a_batch_file() {
    let more = "[policy]\nextended_resources = [\"fpga\"]\n";
    let service = Service::start(more).await;
    let _agents = [
        Agent::join(&service, "meyrin").await,
        Agent::join(&service, "cloud-west").await,
    ];
    await_nodes(&service, 2).await;
    let asked = [
        v1::Resources {
            cpu_milli: 8_500,
            memory_mib: 8_192,
            ..Default::default()
        },
        v1::Resources {
            cpu_milli: 1_000,
            disk_mib: 10,
            ..Default::default()
        },
        v1::Resources {
            cpu_milli: 1_000,
            gpu: 1,
            extended: [("fpga".to_string(), 2)].into(),
            ..Default::default()
        },
    ];
    let mut seen = String::new();
    for resources in asked {
        let request = request("r", vec![sized("a", resources)]);
        let refused = refused(service.client().submit(request).await);
        let (text, _) = refused.split_once(" | ").unwrap();
        seen += text.split_once("NODE ").unwrap().1;
        seen += "\n";
    }
    expect_test::expect![[r#"
        [jobs[0].resources.cpu] a task of `a` fits on no node, even an empty one: it asks for 8.5 of cpu, and the largest node, `n1` at `meyrin`, has 4; it asks for 8GiB of memory, and the largest node, `n1` at `meyrin`, has 4GiB
        [jobs[0].resources.disk] a task of `a` fits on no node, even an empty one: it asks for 10MiB of disk, and no node has any
        [jobs[0].resources.gpu] a task of `a` fits on no node, even an empty one: it asks for 1 of gpu, and no node has any; it asks for 2 of fpga, and no node has any
    "#]].assert_eq(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cordoned_queue_is_told_at_once() {
    let service = Service::start("").await;
    let set = v1::SetQueueRequest {
        name: "cms".into(),
        cordon: Some("the disks are moved".into()),
        ..Default::default()
    };
    service.client().set_queue(set).await.unwrap();
    let reply = service.submit(vec![job("a", 1)]).await;
    assert_eq!(
        reply.warnings,
        ["the queue `cms` is cordoned, and nothing starts: the disks are moved (local)"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_shrinks_below_what_runs_is_shown_and_told() {
    let service = Service::start("").await;
    service.submit(vec![job("a", 3)]).await;
    let mut agent = Agent::join(&service, "meyrin").await;
    for _ in 0..3 {
        agent.granted().await;
    }
    let shrunk = |cpu_milli| {
        let mut less = node("n1");
        less.capacity.as_mut().unwrap().cpu_milli = cpu_milli;
        v1::Capacity {
            nodes: vec![less, node("n2")],
            ..Default::default()
        }
    };
    agent.say(Up::Capacity(shrunk(1_000))).await;
    let Down::Notice(notice) = agent.hear().await.unwrap() else {
        panic!("no notice")
    };
    assert_eq!(
        (notice.code.as_str(), notice.node.as_str()),
        ("over-committed", "n1")
    );
    expect_test::expect!["more is held than is there: node `n1` holds 3 of cpu where it has 1"]
        .assert_eq(&notice.text);
    let mut client = service.client();
    let sites = client.list_sites(v1::ListSitesRequest::default()).await;
    let over = sites.unwrap().into_inner().sites;
    let over: Vec<u32> = over.iter().map(|site| site.nodes_over_committed).collect();
    assert_eq!(over, [1, 0]);
    let nodes = client.list_nodes(v1::ListNodesRequest::default()).await;
    let nodes = nodes.unwrap().into_inner().nodes;
    let over = v1::Resources {
        cpu_milli: 2_000,
        ..Default::default()
    };
    assert_eq!(nodes[0].over_committed, Some(over));
    assert_eq!(nodes[1].over_committed, None);
    // What comes goes elsewhere, though its memory would do.
    service.submit(vec![job("b", 1)]).await;
    assert_eq!(agent.granted().await.node, "n2");

    // All is well again, and nobody is told.
    agent.say(Up::Capacity(shrunk(4_000))).await;
    service.submit(vec![job("c", 1)]).await;
    agent.granted().await;
    let nodes = client.list_nodes(v1::ListNodesRequest::default()).await;
    let nodes = nodes.unwrap().into_inner().nodes;
    assert!(nodes.iter().all(|node| node.over_committed.is_none()));
}
