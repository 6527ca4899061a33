//! Fills an attempt's scratch directory before it starts.

use std::path::{Component, Path, PathBuf};

use super::content::is_digest;
use super::patience::Patience;
use super::{FetchError, Files, blocking};
use crate::attempt::{AttemptDir, InputFile, OutputsOf};
use jeroboam_proto::v1;
use jeroboam_units::Bytes;

/// Of one attempt.
const FILES_MAX: usize = 100_000;
/// Of one attempt, all files together.
const BYTES_MAX: Bytes = Bytes(10 << 30);
/// Times a content may be crowded out of the cache between its arrival and
/// its copy.
const EVICTIONS_MAX: u32 = 3;

impl Files {
    /// Puts an attempt's inputs into its scratch directory: those of its batch
    /// at their own paths, outputs of other jobs at
    /// `inputs/<job name>/<index>/<path>`.
    ///
    /// # Errors
    /// One cannot be had, or leads out of the directory, or they are too many
    /// or too much; or this site has no room for them.
    pub async fn fetch(&self, dir: &AttemptDir) -> Result<(), FetchError> {
        let reading = dir.clone();
        let record = blocking(move || reading.lease()).await;
        let record = record.map_err(|error| error.to_string())?;
        let mut inputs = record.inputs;
        check_bounds(&inputs)?;
        for of in &record.outputs_of {
            self.list(of, &mut inputs).await?;
        }
        let scratch = dir.scratch();
        for input in inputs {
            let to = inside(&scratch, &input.path).ok_or_else(|| {
                format!(
                    "the input {:?} leads out of the scratch directory",
                    input.path
                )
            })?;
            self.place(&input, to).await.map_err(|error| {
                error.about(|why| format!("the input {:?} cannot be had: {why}", input.path))
            })?;
        }
        Ok(())
    }

    /// Adds what another job brought back.
    async fn list(&self, of: &OutputsOf, inputs: &mut Vec<InputFile>) -> Result<(), String> {
        let mut patience = Patience::new();
        let mut request = v1::ListOutputsRequest {
            job: of.job,
            ..Default::default()
        };
        loop {
            let called = {
                let _permit = self.call_permit().await;
                self.client.clone().list_outputs(request.clone()).await
            };
            let page = match called {
                Ok(page) => page.into_inner(),
                Err(status) => {
                    let tried = patience.bear(&status).await;
                    tried.map_err(|why| {
                        format!("the outputs of {:?} cannot be listed: {why}", of.name)
                    })?;
                    continue;
                }
            };
            patience.restore();
            for output in page.outputs {
                let (Some(task), Some(file)) = (output.task, output.file) else {
                    return Err(format!(
                        "an output of {:?} is listed without task or file",
                        of.name
                    ));
                };
                inputs.push(InputFile {
                    path: format!("inputs/{}/{}/{}", of.name, task.index, file.path),
                    digest: file.digest,
                    size_bytes: file.size_bytes,
                    executable: file.executable,
                });
            }
            check_bounds(inputs)?;
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn place(&self, input: &InputFile, to: PathBuf) -> Result<(), FetchError> {
        let digest = &input.digest;
        if !is_digest(digest) {
            return Err(format!("{digest:?} is no SHA-256").into());
        }
        for _ in 0..EVICTIONS_MAX {
            if self.copied(input, &to).await? {
                return Ok(());
            }
            let gate = self.cache.gate(digest);
            let _held = gate.lock().await;
            // Another attempt may have brought it meanwhile.
            if self.copied(input, &to).await? {
                return Ok(());
            }
            self.download(digest, input.size_bytes).await?;
            if self.copied(input, &to).await? {
                return Ok(());
            }
        }
        let why = "the site's cache has no room for it; raise `cache_bytes_max`";
        Err(FetchError::Site(why.to_owned()))
    }

    async fn copied(&self, input: &InputFile, to: &Path) -> Result<bool, FetchError> {
        let (cache, input, to) = (self.cache.clone(), input.clone(), to.to_owned());
        blocking(move || cache.copy(&input.digest, &to, input.executable))
            .await
            .map_err(|error| FetchError::of(&error, format!("it cannot be written: {error}")))
    }
}

/// Before anything is transferred, by the sizes that the scheduler declares.
fn check_bounds(inputs: &[InputFile]) -> Result<(), String> {
    if inputs.len() > FILES_MAX {
        return Err(format!(
            "there are more than {FILES_MAX} inputs; pack outputs into fewer files"
        ));
    }
    let sizes = inputs.iter().map(|input| input.size_bytes);
    let size = Bytes(sizes.fold(0, u64::saturating_add));
    if size > BYTES_MAX {
        return Err(format!(
            "the inputs are {size} together, more than the {BYTES_MAX} that an attempt may have; split the job, or let it take fewer outputs of others"
        ));
    }
    Ok(())
}

/// The place of a relative path that stays inside.
fn inside(scratch: &Path, path: &str) -> Option<PathBuf> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let stays = !path.is_empty()
        && !path.ends_with('/')
        && !path.contains('\0')
        && Path::new(path).components().all(plain);
    stays.then(|| scratch.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_bounded_in_bytes_and_the_bound_is_named() {
        let of = |size_bytes| InputFile {
            path: "a".to_owned(),
            digest: String::new(),
            size_bytes,
            executable: false,
        };
        assert_eq!(check_bounds(&[of(4 << 30), of(6 << 30)]), Ok(()));
        for sizes in [[4 << 30, (6 << 30) + 1], [u64::MAX, u64::MAX]] {
            let refused = check_bounds(&sizes.map(of)).expect_err("too much");
            assert!(refused.contains("more than the 10GiB"), "{refused}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        let scratch = Path::new("/s");
        assert_eq!(inside(scratch, "a/b"), Some(PathBuf::from("/s/a/b")));
        for path in [
            "",
            "/a",
            "..",
            "a/../../b",
            "inputs/../../1/x",
            "a/",
            "./a",
            "a\0b",
        ] {
            assert_eq!(inside(scratch, path), None, "{path:?}");
        }
    }
}
