//! A journal that fails, and an orderly end.

use crate::service::{BASE, PATIENCE, Service, TREE, batch, eventually, job, refused};
use jeroboam_proto::v1;
use jeroboam_proto::v1::client_client::ClientClient;
use jeroboam_scheduler::config::Config;
use jeroboam_scheduler::driver::Driver;
use jeroboam_scheduler::recover::recover;
use jeroboam_scheduler::server;
use jeroboam_scheduler::store::engine::memory::{Fault, MemoryDisk};
use jeroboam_scheduler::store::{Store, StoreOptions};
use tonic_health::pb::health_check_response::ServingStatus;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_journal_has_failed_every_call_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::parse(&directory.path().join("s.toml"), &format!("{BASE}{TREE}")).unwrap();
    let disk = MemoryDisk::default();
    let store = Store::over(
        Box::new(disk.engine()),
        &config.data_dir,
        &StoreOptions::default(),
    )
    .unwrap();
    let (parts, spool, _) = recover(store, config.limits(), |world| config.events(world)).unwrap();
    let (driver, thread) = Driver::start(parts, config.driver_options());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (served, kept) = (config.clone(), driver.clone());
    let credentials = server::Credentials::load(&served).unwrap();
    let task = tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        server::run(&served, credentials, kept, spool, until).await
    });
    let path = config.data_dir.join("address");
    let address = eventually("it listens", || async {
        std::fs::read_to_string(&path).ok()
    })
    .await;
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{}", address.trim())).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut client = ClientClient::new(channel.clone());
    let request = |id: &str| v1::SubmitRequest {
        request_id: id.into(),
        batch: Some(batch(vec![job("a", 1)])),
    };
    let first = client.submit(request("before")).await.unwrap().into_inner();
    let watch = v1::WatchBatchRequest { batch: first.batch };
    let mut watch = client.watch_batch(watch).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();

    let (operation, kind) = (disk.operations() + 1, std::io::ErrorKind::StorageFull);
    disk.fail(Fault {
        operation,
        kind,
        landed: false,
    });
    let failed = refused(client.submit(request("during")).await);
    assert!(failed.starts_with("Unavailable STOPPED"), "{failed}");
    let later = refused(client.list_jobs(v1::ListJobsRequest::default()).await);
    assert!(later.starts_with("Unavailable STOPPED"), "{later}");
    let server = client
        .server(v1::ServerRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(
        server.stopped.contains("takes no work"),
        "{}",
        server.stopped
    );
    eventually("health says so", || async {
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
        let reply = health
            .check(tonic_health::pb::HealthCheckRequest::default())
            .await
            .unwrap();
        (reply.into_inner().status() == ServingStatus::NotServing).then_some(())
    })
    .await;
    let told = tokio::time::timeout(PATIENCE, watch.message())
        .await
        .unwrap();
    let told = refused(told);
    assert!(told.starts_with("Unavailable STOPPED"), "{told}");

    stop.send(()).unwrap();
    tokio::time::timeout(PATIENCE, task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    driver.shutdown().await;
    tokio::task::spawn_blocking(move || thread.join())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_end_tells_streams_and_keeps_what_was_accepted() {
    let service = Service::start("").await;
    let reply = service.submit(vec![job("a", 1)]).await;
    let mut client = service.client();
    let watch = v1::WatchBatchRequest { batch: reply.batch };
    let mut watch = client.watch_batch(watch).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let mut agent = crate::agent::Agent::join(&service, "meyrin").await;
    agent.granted().await;
    let directory = service.stop().await;
    let mut last = Ok(Some(v1::Batch::default()));
    while let Ok(Some(_)) = last {
        last = tokio::time::timeout(PATIENCE, watch.message())
            .await
            .unwrap();
    }
    assert_eq!(last.unwrap_err().code(), tonic::Code::Unavailable);
    assert_eq!(
        agent.hear().await.unwrap_err().code(),
        tonic::Code::Unavailable
    );
    assert!(!directory.path().join("data/address").exists());
    let service = Service::start_in(directory, "").await;
    assert_eq!(service.batch(reply.batch).await.id, reply.batch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_an_error_with_a_remedy() {
    let service = Service::start("").await;
    let directory = tempfile::tempdir().unwrap();
    let text = format!("{BASE}{TREE}").replace("127.0.0.1:0", &service.address);
    let config = Config::parse(&directory.path().join("s.toml"), &text).unwrap();
    let error = jeroboam_scheduler::serve(config, std::future::pending())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&service.address) && error.contains("choose another `listen`"),
        "{error}"
    );
}
