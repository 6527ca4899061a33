//! Contents on their way from the scheduler.

use std::io;
use std::path::Path;

use jeroboam_proto::v1;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt as _;
use tonic::{Code, Status};

use super::content::digest_of_file;
use super::patience::Patience;
use super::{FetchError, Files, blocking};
use crate::attempt::durable;

/// Times a content may arrive wrong before the scheduler's copy is not believed.
const MISMATCHES_MAX: u32 = 3;

impl Files {
    /// Brings a content into the cache, whole and checked, from where an earlier
    /// try stopped. The caller holds its gate.
    pub(super) async fn download(&self, digest: &str, size_bytes: u64) -> Result<(), FetchError> {
        let part = self.cache.part(digest);
        let mut patience = Patience::new();
        let mut mismatches = 0;
        loop {
            let held = length_of(&part).await;
            let got = self.get_rest(digest, size_bytes, held, &part).await?;
            let now = length_of(&part).await;
            if now == size_bytes {
                let (checked, expected) = (part.clone(), (digest.to_owned(), size_bytes));
                let found = blocking(move || digest_of_file(&checked)).await;
                if found.map_err(|error| local(&error))? == expected {
                    let kept = self.cache.keep(digest, size_bytes);
                    return kept.map_err(|error| local(&error));
                }
            }
            if now >= size_bytes {
                remove(&part).await?;
                mismatches += 1;
                if mismatches >= MISMATCHES_MAX {
                    return Err(format!(
                        "what the scheduler sends is not {digest}; submit the batch again"
                    )
                    .into());
                }
                continue;
            }
            if now > held {
                patience.restore();
            }
            let cut_off = Status::unavailable("the download was cut off");
            let status = got.err().unwrap_or(cut_off);
            if status.code() == Code::OutOfRange {
                remove(&part).await?;
            }
            patience.bear(&status).await?;
        }
    }

    /// Appends what comes to the part file, a little more than the size at most.
    /// The outer error is this machine's, the inner one the call's.
    async fn get_rest(
        &self,
        digest: &str,
        size_bytes: u64,
        offset: u64,
        part: &Path,
    ) -> Result<Result<(), Status>, FetchError> {
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .open(part)
            .await;
        let mut file = opened.map_err(|error| local(&error))?;
        if offset >= size_bytes {
            return Ok(Ok(()));
        }
        let _permit = self.call_permit().await;
        let request = v1::GetRequest {
            digest: digest.to_owned(),
            offset,
        };
        let mut replies = match self.client.clone().get(request).await {
            Ok(replies) => replies.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        let mut held = offset;
        let ended = loop {
            match replies.message().await {
                Ok(Some(reply)) => {
                    let written = file.write_all(&reply.data).await;
                    written.map_err(|error| local(&error))?;
                    held += reply.data.len() as u64;
                    if held > size_bytes {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            }
        };
        file.flush().await.map_err(|error| local(&error))?;
        Ok(ended)
    }
}

async fn length_of(part: &Path) -> u64 {
    tokio::fs::metadata(part).await.map_or(0, |file| file.len())
}

async fn remove(part: &Path) -> Result<(), FetchError> {
    match tokio::fs::remove_file(part).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(local(&error)),
        _ => Ok(()),
    }
}

fn local(error: &io::Error) -> FetchError {
    let remedy = durable::remedy(error);
    FetchError::Site(format!("the site's disk failed: {error}{remedy}"))
}
