//! Who may do what, by token; and nothing in the clear where TLS is set up.

use crate::agent::{Agent, exit, hello};
use crate::service::{BASE, Service, TREE, batch, eventually, job, refused};
use jeroboam_proto::v1;
use jeroboam_scheduler::config::Config;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

const ALICE: Option<&str> = Some("alice-0123456789abcdef");
const BOB: Option<&str> = Some("bob-0123456789abcdef");
const ROOT: Option<&str> = Some("root-0123456789abcdef");
const WIGNER: Option<&str> = Some("wigner-0123456789abcdef");

const MORE: &str = "tokens_file = \"tokens\"\noperators = [\"root\"]\n[[site]]\nname = \"wigner\"\nkind = \"owned\"\ntoken_file = \"wigner\"\n";

/// A directory with token files.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let users = [("alice", ALICE), ("bob", BOB), ("root", ROOT)];
    let users = users
        .map(|(name, token)| format!("{name} = \"{}\"\n", token.unwrap()))
        .concat();
    for (name, text) in [("tokens", users.as_str()), ("wigner", WIGNER.unwrap())] {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    directory
}

/// The keys of [`MORE`] that stand outside of sections come first.
async fn start() -> Service {
    let (keys, site) = MORE.split_once("[[site]]").unwrap();
    let directory = directory();
    Service::start_with(directory, keys, &format!("[[site]]{site}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_caller_may_do_what_is_theirs() {
    let service = start().await;
    let submit = async |token, queue: &str| {
        let batch = v1::BatchSpec {
            queue: queue.into(),
            ..batch(vec![job("a", 1)])
        };
        let request = v1::SubmitRequest {
            request_id: format!("{token:?}{queue}"),
            batch: Some(batch),
        };
        service.client_as(token).submit(request).await
    };
    let of_alice = submit(ALICE, "atlas").await.unwrap().into_inner();
    let task = Some(v1::Task {
        job: of_alice.jobs[0],
        index: 0,
    });
    let mut hold = v1::ChangeRequest {
        batch: of_alice.batch,
        ..Default::default()
    };
    hold.set_verb(v1::change_request::Verb::Hold);
    let weight = v1::SetQueueRequest {
        name: "atlas".into(),
        weight: Some(2),
        ..Default::default()
    };
    let mut cordon = v1::SetSiteRequest {
        name: "wigner".into(),
        ..Default::default()
    };
    cordon.set_verb(v1::set_site_request::Verb::Cordon);
    let logs = v1::LogsRequest {
        task,
        ..Default::default()
    };
    let outputs = v1::ListOutputsRequest {
        job: of_alice.jobs[0],
        ..Default::default()
    };
    let files = |token| jeroboam_proto::v1::files_client::FilesClient::new(service.channel(token));
    let all = v1::ListJobsRequest::default();
    let seen = [
        refused(service.client().list_jobs(all.clone()).await),
        refused(
            service
                .client_as(Some("mallory-0123456789"))
                .list_jobs(all.clone())
                .await,
        ),
        refused(submit(BOB, "atlas").await),
        refused(service.client_as(BOB).change(hold.clone()).await),
        refused(service.client_as(BOB).logs(logs).await),
        refused(files(BOB).list_outputs(outputs.clone()).await),
        refused(service.client_as(ALICE).set_queue(weight.clone()).await),
        refused(service.client_as(ALICE).set_site(cordon.clone()).await),
        refused(service.client_as(WIGNER).list_jobs(all.clone()).await),
        refused(submit(WIGNER, "cms.higgs").await),
        refused(
            Agent::open(&service, BOB, hello("wigner"))
                .await
                .hear()
                .await,
        ),
        refused(
            Agent::open(&service, WIGNER, hello("meyrin"))
                .await
                .hear()
                .await,
        ),
    ];
    expect_test::expect![[r#"
        Unauthenticated TOKEN_MISSING [] this scheduler asks for a token | give --token-file or set JERO_TOKEN_FILE
        Unauthenticated TOKEN_UNKNOWN [] nobody has this token | ask the operator for a token; this one was mistyped or withdrawn
        PermissionDenied NOT_SUBMITTER [] `bob` may not submit to the queue `atlas` | ask its owner for `jero queue set NAME --submitters ...`
        PermissionDenied NOT_YOURS [] `bob` has no right to the work of `alice` in the queue `atlas` | ask its submitter, or be named as a submitter of the queue
        PermissionDenied NOT_YOURS [] `bob` has no right to the work of `alice` in the queue `atlas` | ask its submitter, or be named as a submitter of the queue
        PermissionDenied NOT_YOURS [] `bob` has no right to the work of `alice` in the queue `atlas` | ask its submitter, or be named as a submitter of the queue
        PermissionDenied NOT_OPERATOR [] `alice` is no operator | ask an operator, or be named under `operators` in the scheduler's file
        PermissionDenied NOT_OPERATOR [] `alice` is no operator | ask an operator, or be named under `operators` in the scheduler's file
        PermissionDenied SITE_IS_NO_USER [] this is the token of the site `wigner`, which opens sessions and moves files only | use a user's token
        PermissionDenied SITE_IS_NO_USER [] this is the token of the site `wigner`, which opens sessions and moves files only | use a user's token
        PermissionDenied NOT_THE_SITE [hello.site] `bob` is a user and cannot speak for the site `wigner` | give the agent its site's token_file
        PermissionDenied NOT_THE_SITE [hello.site] this token is that of the site `wigner`, not of `meyrin` | give the agent its own site's token_file
    "#]].assert_eq(&(seen.join("\n") + "\n"));

    assert_eq!(
        service
            .client_as(BOB)
            .list_jobs(all)
            .await
            .unwrap()
            .into_inner()
            .jobs[0]
            .submitted_by,
        "alice"
    );
    service.client_as(ALICE).logs(logs).await.unwrap();
    service.client_as(ALICE).change(hold).await.unwrap();
    service.client_as(ROOT).set_queue(weight).await.unwrap();
    service.client_as(ROOT).set_site(cordon).await.unwrap();
    files(WIGNER).list_outputs(outputs).await.unwrap();
    service
        .client_as(WIGNER)
        .server(v1::ServerRequest {})
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_works_with_its_own_token() {
    let service = start().await;
    let request = v1::SubmitRequest {
        request_id: "r".into(),
        batch: Some(batch(vec![job("a", 1)])),
    };
    service.client_as(BOB).submit(request).await.unwrap();
    let mut agent = Agent::join_as(&service, WIGNER, "wigner").await;
    let lease = agent.granted().await.lease;
    agent.ended(lease, exit(0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_the_certificate_is_asked_for_and_plain_calls_are_not_served() {
    let directory = directory();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    std::fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(
        directory.path().join("key.pem"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    let keys = "tokens_file = \"tokens\"\n";
    let tls = "[tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n";
    let service = Service::start_with(directory, keys, tls).await;
    let port = service.address.rsplit_once(':').unwrap().1;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(made.cert.pem()))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}"))
        .unwrap()
        .tls_config(tls)
        .unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut client = v1::client_client::ClientClient::new(channel);
    let mut request = tonic::Request::new(v1::ServerRequest {});
    let bearer = format!("Bearer {}", ALICE.unwrap());
    request
        .metadata_mut()
        .insert("authorization", bearer.parse().unwrap());
    let server = client.server(request).await.unwrap().into_inner();
    assert!(!server.federation.is_empty());
    service
        .client_as(ALICE)
        .server(v1::ServerRequest {})
        .await
        .expect_err("in the clear");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_none_is_an_error_at_the_start() {
    let directory = directory();
    for name in ["cert.pem", "key.pem"] {
        std::fs::write(directory.path().join(name), "nothing").unwrap();
    }
    let text = format!("{BASE}[tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n{TREE}");
    let config = Config::parse(&directory.path().join("scheduler.toml"), &text).unwrap();
    let error = jeroboam_scheduler::serve(config, std::future::pending())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cert.pem") && error.contains("key.pem"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_ask_for_no_token() {
    let service = start().await;
    let channel = Endpoint::from_shared(format!("http://{}", service.address))
        .unwrap()
        .connect()
        .await
        .unwrap();
    eventually("it serves", || async {
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
        let request = tonic_health::pb::HealthCheckRequest {
            service: "jeroboam.v1.Client".into(),
        };
        let reply = health.check(request).await.unwrap().into_inner();
        (reply.status() == tonic_health::pb::health_check_response::ServingStatus::Serving)
            .then_some(())
    })
    .await;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let mut replies = reflection
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let reply = replies
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let MessageResponse::ListServicesResponse(listed) = reply else {
        panic!("no list")
    };
    let names: Vec<String> = listed
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for name in [
        "jeroboam.v1.Client",
        "jeroboam.v1.Files",
        "jeroboam.v1.Site",
    ] {
        assert!(
            names.iter().any(|listed| listed == name),
            "{name} is not in {names:?}"
        );
    }
}

/// An upload of so many bytes, for a queue (by a user) or from a job (by a site).
async fn put(
    service: &Service,
    token: Option<&str>,
    (queue, job): (&str, u64),
    content: &[u8],
) -> Result<(), tonic::Status> {
    let request = v1::PutRequest {
        digest: crate::files::digest(content),
        size_bytes: content.len() as u64,
        data: content.to_vec().into(),
        queue: queue.into(),
        job,
        ..Default::default()
    };
    let mut files = jeroboam_proto::v1::files_client::FilesClient::new(service.channel(token));
    files.put(tokio_stream::iter([request])).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_queue_cannot_fill_the_spool_for_the_others() {
    let (keys, site) = MORE.split_once("[[site]]").unwrap();
    let more = format!(
        "[retention]\nspool_bytes_max = \"1000B\"\nspool_queue_percent_max = 40\n[[site]]{site}"
    );
    let service = Service::start_with(directory(), keys, &more).await;
    let request = v1::SubmitRequest {
        request_id: "1".into(),
        batch: Some(batch(vec![job("a", 1)])),
    };
    let submitted = service.client_as(BOB).submit(request).await.unwrap();
    let of_higgs = submitted.into_inner().jobs[0];
    let (higgs, atlas) = (("cms.higgs", 0), ("atlas", 0));

    put(&service, ALICE, higgs, &[1; 200]).await.unwrap();
    // What the site stores for a job of that queue counts with it.
    put(&service, WIGNER, ("", of_higgs), &[2; 200])
        .await
        .unwrap();
    let full = [
        refused(put(&service, BOB, higgs, &[3; 1]).await),
        refused(put(&service, WIGNER, ("", of_higgs), &[3; 1]).await),
    ];
    put(&service, ALICE, atlas, &[4; 300]).await.unwrap();
    // Nobody fills the share of a queue in which they may not submit, and a site names jobs only.
    put(&service, BOB, atlas, &[5; 101]).await.unwrap();
    put(&service, WIGNER, atlas, &[6; 99]).await.unwrap();
    put(&service, ALICE, atlas, &[7; 100]).await.unwrap();
    expect_test::expect![[r#"
        ResourceExhausted SPOOL_SHARE_FULL [queue] the files of the queue `cms.higgs` hold 400B of the 400B that they may in the scheduler's spool; 1B more do not fit | keep large data in the sites' storage, wait until results of that queue expire, or have `retention.spool_queue_percent_max` raised
        ResourceExhausted SPOOL_SHARE_FULL [queue] the files of the queue `cms.higgs` hold 400B of the 400B that they may in the scheduler's spool; 1B more do not fit | keep large data in the sites' storage, wait until results of that queue expire, or have `retention.spool_queue_percent_max` raised
    "#]].assert_eq(&(full.join("\n") + "\n"));
}
