//! Cancel, hold, release and retry; queues and sites changed by hand.

use crate::agent::{Agent, exit};
use crate::service::{Service, count, eventually, job, refused};
use jeroboam_proto::v1;
use v1::TaskState;
use v1::change_request::Verb;

async fn change(
    service: &Service,
    verb: Verb,
    job: u64,
    ranges: &[(u32, u32)],
) -> Result<v1::ChangeReply, tonic::Status> {
    let ranges = ranges
        .iter()
        .map(|(first, last)| v1::Range {
            first: *first,
            last: *last,
        })
        .collect();
    let request = v1::ChangeRequest {
        verb: verb.into(),
        job,
        ranges,
        ..Default::default()
    };
    service
        .client()
        .change(request)
        .await
        .map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbs_change_what_they_name_and_count_it() {
    let service = Service::start("").await;
    let id = service.submit(vec![job("a", 10)]).await.jobs[0];
    let reply = |changed, stopping| v1::ChangeReply { changed, stopping };
    assert_eq!(
        change(&service, Verb::Hold, id, &[(0, 2), (9, 9)])
            .await
            .unwrap(),
        reply(4, 0)
    );
    assert_eq!(
        change(&service, Verb::Release, id, &[(0, 0)])
            .await
            .unwrap(),
        reply(1, 0)
    );
    let mut agent = Agent::join(&service, "meyrin").await;
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(agent.granted().await.lease);
    }
    agent.running(leases[0]).await;
    // Four hold places, three wait, three are held.
    assert_eq!(
        change(&service, Verb::Cancel, id, &[]).await.unwrap(),
        reply(6, 4)
    );
    let described = service.describe(id).await;
    let stopping = described
        .states
        .iter()
        .find(|states| states.state() == TaskState::Stopping)
        .unwrap();
    assert_eq!(stopping.reason, "user");
    for _ in 0..4 {
        let v1::scheduler_message::Kind::Stop(stop) = agent.hear().await.unwrap() else {
            panic!("no stop")
        };
        assert!(leases.contains(&stop.lease));
    }
    for lease in &leases {
        agent.ended(*lease, exit(0)).await;
    }
    // A cancel wins over a success that comes later.
    let tasks = service.describe(id).await.job.unwrap().tasks;
    assert_eq!(count(&tasks, TaskState::Cancelled), 10);
    let nothing = refused(change(&service, Verb::Cancel, id, &[]).await);
    assert!(
        nothing.starts_with("FailedPrecondition NOTHING_TO_CHANGE"),
        "{nothing}"
    );
    assert_eq!(
        change(&service, Verb::Retry, id, &[(5, 6)]).await.unwrap(),
        reply(2, 0)
    );
    let again = [
        agent.granted().await.lease.unwrap(),
        agent.granted().await.lease.unwrap(),
    ];
    let again = again.map(|lease| (lease.task.unwrap().index, lease.attempt));
    assert_eq!(again, [(5, 2), (6, 1)], "task 6 never had a place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_taken_by_hand_and_it_is_said_by_whom() {
    let service = Service::start("").await;
    let id = service.submit(vec![job("a", 3)]).await.jobs[0];
    let mut agent = Agent::join(&service, "meyrin").await;
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(agent.granted().await.lease);
    }
    let mut preempt = v1::ChangeRequest {
        job: id,
        ranges: vec![v1::Range { first: 0, last: 1 }],
        reason: "the kernel".into(),
        ..Default::default()
    };
    preempt.set_verb(Verb::Preempt);
    let reply = service.client().change(preempt.clone()).await.unwrap();
    let reply = reply.into_inner();
    assert_eq!((reply.changed, reply.stopping), (0, 2));
    let again = refused(service.client().change(preempt).await);
    assert!(
        again.starts_with("FailedPrecondition NOTHING_TO_CHANGE"),
        "{again}"
    );
    let stopping = service.describe(id).await.states;
    let stopping = stopping
        .iter()
        .find(|states| states.state() == TaskState::Stopping)
        .unwrap();
    assert_eq!(
        (
            stopping.reason.as_str(),
            stopping.by.as_str(),
            stopping.why.as_str()
        ),
        ("preempted-by-hand", "local", "the kernel")
    );
    let stopped = v1::Ended {
        outcome: Some(v1::Outcome {
            kind: Some(v1::outcome::Kind::Stopped(v1::Empty {})),
        }),
        ..Default::default()
    };
    for _ in 0..2 {
        let v1::scheduler_message::Kind::Stop(stop) = agent.hear().await.unwrap() else {
            panic!("no stop")
        };
        assert_eq!(stop.reason, "preempted-by-hand");
    }
    for lease in &leases[..2] {
        // They go again at once: the grants come before the acknowledgements.
        let ended = v1::report::Kind::Ended(stopped.clone());
        agent.report(*lease, ended).await;
    }
    let described = eventually("both attempts in the history", || async {
        let described = service.describe(id).await;
        let ended = |attempt: &&v1::Attempt| attempt.ended.is_some();
        (described.attempts.iter().filter(ended).count() == 2).then_some(described)
    })
    .await;
    let outcomes = described
        .attempts
        .iter()
        .filter_map(|attempt| attempt.ended.clone()?.outcome?.kind);
    for kind in outcomes {
        let v1::outcome::Kind::PreemptedByHand(who) = kind else {
            panic!("{kind:?}");
        };
        assert_eq!(
            (who.by.as_str(), who.reason.as_str()),
            ("local", "the kernel")
        );
    }
    let by_hand = described.job.unwrap().by_hand.unwrap();
    assert_eq!(
        (by_hand.verb(), by_hand.by.as_str()),
        (Verb::Preempt, "local")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_priority_is_the_whole_jobs() {
    let service = Service::start("").await;
    let id = service.submit(vec![job("a", 3)]).await.jobs[0];
    let mut set = v1::ChangeRequest {
        job: id,
        priority: 7,
        ..Default::default()
    };
    set.set_verb(Verb::Prioritise);
    let reply = service.client().change(set.clone()).await.unwrap();
    assert_eq!(reply.into_inner().changed, 3);
    let described = service.describe(id).await;
    assert_eq!(described.spec.unwrap().priority, 7);
    assert_eq!(described.job.unwrap().by_hand.unwrap().priority, 7);
    set.ranges = vec![v1::Range { first: 0, last: 1 }];
    expect_test::expect![[
        r#"InvalidArgument INVALID [ranges] all tasks of a job have one priority | name the whole job, job-1"#
    ]]
    .assert_eq(&refused(service.client().change(set).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_names_nothing_is_refused() {
    let service = Service::start("").await;
    let id = service.submit(vec![job("a", 3)]).await.jobs[0];
    let mut both = v1::ChangeRequest {
        batch: 1,
        job: id,
        ..Default::default()
    };
    both.set_verb(Verb::Hold);
    let unspecified = v1::ChangeRequest {
        job: id,
        ..Default::default()
    };
    let seen = [
        refused(service.client().change(both).await),
        refused(service.client().change(unspecified).await),
        refused(change(&service, Verb::Hold, 99, &[]).await),
        refused(change(&service, Verb::Hold, id, &[(2, 3)]).await),
        refused(change(&service, Verb::Hold, id, &[(2, 1)]).await),
    ];
    expect_test::expect![[r#"
        InvalidArgument INVALID [batch] exactly one of batch and job is to be named, ranges only with a job | write batch-3, job-17 or job-17[3-7,9]
        InvalidArgument INVALID [verb] it is missing, or of a newer release | use cancel, hold, release, retry, preempt or prioritise
        NotFound UNKNOWN_JOB [] there is no job-99, or it has left memory for the history | see `jero jobs` and `jero jobs --finished`
        InvalidArgument INDEX_OUT_OF_RANGE [] job-1 has 3 tasks; 2-3 names others | use indexes from 0 to 2
        InvalidArgument INVALID [ranges] the range 2-1 ends before it begins | write first-last, for example 3-7
    "#]].assert_eq(&(seen.join("\n") + "\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_created_changed_and_listed_with_their_shares() {
    let service = Service::start("").await;
    let mut client = service.client();
    let create = v1::CreateQueueRequest {
        name: "cms.higgs-2".into(),
        submitters: vec!["bob".into()],
        ..Default::default()
    };
    let created = client
        .create_queue(create.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (created.weight, created.submitters.as_slice()),
        (1, ["bob".to_string()].as_slice())
    );
    assert_eq!(created.warnings, Vec::<String>::new());
    let for_nobody = v1::CreateQueueRequest {
        name: "lhcb".into(),
        weight: Some(0),
        ..Default::default()
    };
    let for_nobody = client.create_queue(for_nobody).await.unwrap().into_inner();
    assert_eq!(for_nobody.weight, 0, "it was given, and is not the default");
    assert_eq!(
        for_nobody.warnings,
        [
            "nobody may submit to `lhcb`; `jero queue set lhcb --submitters NAMES` says who may, `*` is everybody"
        ]
    );
    // Who may submit above may do so below; what has queues below takes no work itself.
    let set = v1::SetQueueRequest {
        name: "lhcb".into(),
        submitters: Some(v1::Submitters {
            names: vec!["carol".into()],
        }),
        ..Default::default()
    };
    client.set_queue(set).await.unwrap();
    let below = v1::CreateQueueRequest {
        name: "lhcb.run3".into(),
        ..Default::default()
    };
    let below = client.create_queue(below).await.unwrap().into_inner();
    assert_eq!(
        (below.submitters.len(), below.submitters_above.as_slice()),
        (0, ["carol".to_string()].as_slice())
    );
    assert_eq!(below.warnings, Vec::<String>::new());
    let twice = refused(client.create_queue(create).await);
    assert!(twice.starts_with("AlreadyExists QUEUE_EXISTS"), "{twice}");
    let set = v1::SetQueueRequest {
        name: "cms".into(),
        weight: Some(5),
        cordon: Some("repairs".into()),
        ..Default::default()
    };
    let set = client.set_queue(set).await.unwrap().into_inner();
    assert_eq!((set.weight, set.cordoned.as_str()), (5, "repairs (local)"));

    let reply = service.submit(vec![job("a", 6)]).await;
    let _agent = Agent::join(&service, "meyrin").await;
    let listed = || async {
        let request = v1::ListQueuesRequest {};
        service
            .client()
            .list_queues(request)
            .await
            .unwrap()
            .into_inner()
            .queues
    };
    let queues = listed().await;
    let names: Vec<&str> = queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "atlas",
            "cms",
            "cms.higgs",
            "cms.higgs-2",
            "lhcb",
            "lhcb.run3"
        ]
    );
    assert_eq!((queues[2].queued, queues[2].weight), (6, 3));
    // What is cordoned could use nothing.
    assert_eq!(queues[2].entitlement.clone().unwrap().cpu_milli, 0);
    let task = Some(v1::Task {
        job: reply.jobs[0],
        index: 0,
    });
    let why = client
        .explain(v1::ExplainRequest {
            task,
            predict: false,
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(why.waiting.unwrap().code, "queue-cordoned");
    let lift = v1::SetQueueRequest {
        name: "cms".into(),
        cordon: Some(String::new()),
        ..Default::default()
    };
    assert_eq!(
        client.set_queue(lift).await.unwrap().into_inner().cordoned,
        ""
    );
    eventually("the capacity counts", || async {
        let entitlement = listed().await[2].entitlement.clone().unwrap();
        (entitlement.cpu_milli == 4_000).then_some(())
    })
    .await;

    // What was changed by hand survives a restart; what the file names is not undone.
    let service = Service::start_in(service.stop().await, "").await;
    let queues = service
        .client()
        .list_queues(v1::ListQueuesRequest {})
        .await
        .unwrap()
        .into_inner()
        .queues;
    assert_eq!(queues[1].weight, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_are_closed_and_opened_and_listed_with_their_nodes() {
    let service = Service::start("").await;
    let mut client = service.client();
    let set = async |verb: v1::set_site_request::Verb, reason: &str| {
        let mut request = v1::SetSiteRequest {
            name: "meyrin".into(),
            reason: reason.into(),
            ..Default::default()
        };
        request.set_verb(verb);
        service
            .client()
            .set_site(request)
            .await
            .unwrap()
            .into_inner()
    };
    let drained = set(v1::set_site_request::Verb::Drain, "cooling").await;
    assert_eq!(
        (drained.draining.as_str(), drained.cordoned.as_str()),
        ("cooling (local)", "")
    );
    let _agent = Agent::join(&service, "meyrin").await;
    let request = v1::ListSitesRequest {
        name: "meyrin".into(),
    };
    let joined = eventually("its node is there", || async {
        let sites = service
            .client()
            .list_sites(request.clone())
            .await
            .unwrap()
            .into_inner()
            .sites;
        sites.into_iter().find(|site| site.nodes == 1)
    });
    let joined = joined.await;
    assert!(joined.connected && !joined.leased && joined.renewed_ms > 0);
    assert_eq!(
        (joined.region.as_str(), joined.agent_version.as_str()),
        ("Geneva", "0.1.0")
    );
    assert_eq!(joined.capacity.unwrap().cpu_milli, 4_000);
    let nodes = client
        .list_nodes(v1::ListNodesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .nodes;
    assert_eq!(
        (
            nodes[0].name.as_str(),
            nodes[0].state.as_str(),
            nodes[0].site.as_str()
        ),
        ("n1", "draining", "meyrin")
    );
    let opened = set(v1::set_site_request::Verb::Resume, "").await;
    assert_eq!(opened.draining, "");

    let sites = client
        .list_sites(v1::ListSitesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .sites;
    let leased = sites.iter().find(|site| site.leased).unwrap();
    let contract = leased.contract.unwrap();
    assert_eq!(
        (
            contract.price_micro_eur_per_core_hour,
            contract.budget_micro_eur
        ),
        (40_000, 10_000_000)
    );
    let unknown = v1::ListSitesRequest {
        name: "meyrn".into(),
    };
    let unknown = refused(client.list_sites(unknown).await);
    expect_test::expect!["NotFound UNKNOWN_SITE [] there is no site `meyrn` | did you mean `meyrin`? `jero sites` lists them all"].assert_eq(&unknown);
}
