//! Contents up and down, resumed, checked and bounded.

use crate::agent::{Agent, exit};
use crate::service::{Service, batch, job, refused};
use jeroboam_proto::v1;
use sha2::Digest as _;
use tonic_types::StatusExt as _;

pub fn digest(content: &[u8]) -> String {
    sha2::Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn put_request(content: &[u8], size_bytes: u64, offset: u64) -> v1::PutRequest {
    v1::PutRequest {
        digest: digest(content),
        size_bytes,
        offset,
        data: content[offset as usize..].to_vec().into(),
        ..Default::default()
    }
}

/// Sends a whole content in one message.
pub async fn put(service: &Service, content: &[u8]) -> v1::File {
    let request = put_request(content, content.len() as u64, 0);
    let reply = service
        .files()
        .put(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    assert!(reply.complete);
    let size_bytes = content.len() as u64;
    v1::File {
        path: "file".into(),
        digest: digest(content),
        size_bytes,
        executable: false,
    }
}

async fn get(service: &Service, digest: String, offset: u64) -> Result<Vec<u8>, tonic::Status> {
    let mut stream = service
        .files()
        .get(v1::GetRequest { digest, offset })
        .await?
        .into_inner();
    let mut content = Vec::new();
    while let Some(reply) = stream.message().await? {
        content.extend(reply.data);
    }
    Ok(content)
}

async fn status(service: &Service, content: &[u8]) -> (u64, bool) {
    let request = v1::FileStatusRequest {
        digest: digest(content),
    };
    let reply = service.files().status(request).await.unwrap().into_inner();
    (reply.received_bytes, reply.complete)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_where_it_broke_off_also_after_a_restart() {
    let service = Service::start("").await;
    let content: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(status(&service, &content).await, (0, false));
    let mut first = put_request(&content, 700_000, 0);
    first.data = first.data.slice(..300_000);
    let reply = service
        .files()
        .put(tokio_stream::iter([first]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((reply.received_bytes, reply.complete), (300_000, false));

    let service = Service::start_in(service.stop().await, "").await;
    assert_eq!(status(&service, &content).await, (300_000, false));
    let gap = refused(
        service
            .files()
            .put(tokio_stream::iter([put_request(
                &content, 700_000, 400_000,
            )]))
            .await,
    );
    assert!(gap.starts_with("Aborted WRONG_OFFSET"), "{gap}");
    // The rest comes in several messages.
    let mut rest = put_request(&content, 700_000, 300_000);
    let more = v1::PutRequest {
        data: rest.data.split_off(100_000),
        ..Default::default()
    };
    let reply = service
        .files()
        .put(tokio_stream::iter([rest, more]))
        .await
        .unwrap()
        .into_inner();
    assert!(reply.complete);
    assert_eq!(get(&service, digest(&content), 0).await.unwrap(), content);
    assert_eq!(
        get(&service, digest(&content), 650_000).await.unwrap(),
        &content[650_000..]
    );
    assert_eq!(get(&service, digest(&content), 700_000).await.unwrap(), b"");
    let beyond = refused(get(&service, digest(&content), 700_001).await);
    assert!(beyond.starts_with("OutOfRange BEYOND_THE_END"), "{beyond}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_match_or_fit_is_refused() {
    let service = Service::start("[retention]\ninput_bytes_max = \"1000B\"\noutputs_bytes_max = \"2000B\"\nlog_bytes_max = \"10B\"\n").await;
    let mut wrong = put_request(b"abc", 3, 0);
    wrong.data = b"abd".to_vec().into();
    let mut odd = put_request(b"abc", 3, 0);
    odd.digest = "ABC".into();
    let put = async |request: v1::PutRequest| {
        refused(service.files().put(tokio_stream::iter([request])).await)
    };
    let seen = [
        put(wrong).await,
        put(odd).await,
        put(put_request(b"large", 3_000, 0)).await,
        put(put_request(b"abc", 2, 0)).await,
        refused(service.files().put(tokio_stream::iter([])).await),
        refused(get(&service, digest(b"never sent"), 0).await),
    ];
    let seen = seen.map(|line| {
        line.replace(&digest(b"abc"), "ABC")
            .replace(&digest(b"abd"), "ABD")
            .replace(&digest(b"never sent"), "NEVER")
    });
    expect_test::expect![[r#"
        DataLoss DIGEST_MISMATCH [] upload announced as ABC has sha256 ABD; it was discarded, send it again from the start | send it again from the start
        InvalidArgument BAD_DIGEST [] "ABC" is not a sha256 digest; write 64 lower-case hexadecimal digits | give the SHA-256 as 64 lower-case hexadecimal digits
        InvalidArgument TOO_LARGE [size_bytes] 3000 bytes are over the bound of 2000 bytes | keep large data in the sites' storage, or have `retention.input_bytes_max` raised
        InvalidArgument TOO_LARGE [] an upload of 3 bytes is over the bound of 2 bytes; split it or raise the bound | send less, or have the bound raised
        InvalidArgument EMPTY [digest] the upload says nothing | send digest, size and offset first
        NotFound UNKNOWN_FILE [] the spool has no complete file NEVER; upload it first | upload it first; what nothing refers to is removed after a while
    "#]].assert_eq(&(seen.join("\n") + "\n"));
    // Nothing of what did not match is left.
    assert!(!status(&service, b"abc").await.1);
    assert_eq!(
        get(&service, crate::files::put(&service, b"").await.digest, 0)
            .await
            .unwrap(),
        b""
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inputs_are_checked_and_granted_and_outputs_listed_by_page() {
    let service = Service::start("").await;
    let input = v1::File {
        path: "data/in".into(),
        executable: true,
        ..put(&service, b"input").await
    };
    let mut reader = job("reader", 3);
    reader.inputs.push(input.clone());
    let mut wrong = reader.clone();
    wrong.inputs[0].size_bytes = 4;
    let request = v1::SubmitRequest {
        request_id: "wrong".into(),
        batch: Some(batch(vec![wrong])),
    };
    let refusal = service.client().submit(request).await;
    let details = refusal.as_ref().unwrap_err().get_error_details();
    let job = details.error_info().unwrap().metadata["job"].clone();
    assert_eq!(job, "reader", "its place is said by name, too");
    let refusal = refused(refusal);
    expect_test::expect!["InvalidArgument INVALID [jobs[0].inputs[0]] `data/in` has 5 bytes, not 4 | give the content's own size"].assert_eq(&refusal);
    let id = service.submit(vec![reader]).await.jobs[0];

    let mut agent = Agent::join(&service, "meyrin").await;
    let result = put(&service, b"result").await;
    let mut grants = Vec::new();
    for _ in 0..3 {
        grants.push(agent.granted().await);
    }
    for (number, grant) in grants.iter().enumerate() {
        assert_eq!(grant.inputs, std::slice::from_ref(&input));
        // The first has more outputs than one page holds; the last one fails.
        let outputs = match number {
            0 => 1_700,
            _ => 2,
        };
        let outputs = (0..outputs).map(|n| v1::File {
            path: format!("{number}/{n}"),
            ..result.clone()
        });
        let ended = v1::Ended {
            outputs: outputs.collect(),
            ..exit(i32::from(number == 2))
        };
        agent.ended(grant.lease, ended).await;
    }
    let list = async |ranges: Vec<v1::Range>| {
        let mut request = v1::ListOutputsRequest {
            job: id,
            ranges,
            page_token: String::new(),
        };
        let (mut outputs, mut pages) = (Vec::new(), 0);
        loop {
            let page = service
                .files()
                .list_outputs(request.clone())
                .await
                .unwrap()
                .into_inner();
            outputs.extend(page.outputs);
            pages += 1;
            if page.next_page_token.is_empty() {
                return (outputs, pages);
            }
            request.page_token = page.next_page_token;
        }
    };
    let (outputs, pages) = list(vec![]).await;
    let paths: Vec<String> = outputs
        .iter()
        .map(|output| output.file.clone().unwrap().path)
        .collect();
    let expected: Vec<String> = (0..1_700)
        .map(|n| format!("0/{n}"))
        .chain(["1/0".into(), "1/1".into()])
        .collect();
    assert_eq!((paths, pages), (expected, 2));
    let (second, _) = list(vec![v1::Range { first: 1, last: 2 }]).await;
    assert_eq!(second.len(), 2);
    assert!(
        second
            .iter()
            .all(|output| output.task == Some(v1::Task { job: id, index: 1 }))
    );
    assert_eq!(
        get(&service, second[0].file.clone().unwrap().digest, 0)
            .await
            .unwrap(),
        b"result"
    );
}
