//! Files between this site and the scheduler: inputs on their way to attempts,
//! outputs and logs on their way back.
//!
//! Rules: a content is what its digest says or it is not used; nothing is
//! written outside the scratch directory it is for; a transfer that was cut off
//! goes on where it stopped. While the scheduler is away calls are repeated, at
//! growing intervals, for as long as it takes; what it refuses is repeated a few
//! times and then an error for the job's owner. A pause holds up nobody else.
//!
//! Which files are outputs is `outputs`'; what a failure means for the attempt
//! is `state`'s. Entry points: [`Files::fetch`], [`Files::store`].

mod cache;
pub(crate) mod content;
mod download;
mod fetch;
mod patience;
mod upload;

use std::path::PathBuf;

use jeroboam_proto::v1::files_client::FilesClient;
use nix::errno::Errno;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::attempt::{AttemptError, durable};
use crate::session::dial::Authorized;
use cache::Cache;

/// Calls under way at once.
const CALLS_MAX: usize = 16;

/// Why the scheduler's files cannot be had at all.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The cache of inputs cannot be used.
    #[error(transparent)]
    Cache(#[from] AttemptError),
}

/// Why an attempt's inputs cannot be had, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The task's own fault, or the scheduler's: it would be the same anywhere.
    #[error("{0}")]
    Task(String),
    /// This site's.
    #[error("{0}")]
    Site(String),
}

impl FetchError {
    /// Whose fault it is, by the error of this machine.
    fn of(error: &std::io::Error, told: String) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw);
        if errno.is_some_and(durable::is_site_fault) {
            Self::Site(told)
        } else {
            Self::Task(told)
        }
    }

    fn about(self, what: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Task(why) => Self::Task(what(why)),
            Self::Site(why) => Self::Site(what(why)),
        }
    }
}

impl From<String> for FetchError {
    fn from(why: String) -> Self {
        Self::Task(why)
    }
}

/// The scheduler's files as this site sees them.
#[derive(Debug)]
pub struct Files {
    client: FilesClient<Authorized>,
    cache: Cache,
    calls: Semaphore,
}

/// A content that is to be stored.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// At hand.
    Bytes(tonic::codegen::Bytes),
    /// In a file that nobody changes any more.
    File(PathBuf),
}

impl Files {
    /// With a cache in `cache_dir`, which is created, of this size.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(
        client: FilesClient<Authorized>,
        cache_dir: PathBuf,
        cache_bytes_max: u64,
    ) -> Result<Self, FilesError> {
        Ok(Self {
            client,
            cache: Cache::open(cache_dir, cache_bytes_max)?,
            calls: Semaphore::new(CALLS_MAX),
        })
    }

    async fn call_permit(&self) -> SemaphorePermit<'_> {
        let permit = self.calls.acquire().await;
        permit.expect("the semaphore is never closed")
    }
}

/// Runs blocking work on the runtime's threads for it.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime ends, and with it whoever waits.
        Err(_) => std::future::pending().await,
    }
}
