//! One output on its way to a file.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jeroboam_proto::v1;
use tonic::Status;

use crate::client::{Patience, Scheduler};
use crate::content::{self, Digester};
use crate::failure::Failure;

/// How a file came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    Now,
    Before,
}

/// Puts one output at `place`, continuing what an earlier try left.
pub(super) async fn one(
    scheduler: &Scheduler,
    file: &v1::File,
    place: &Path,
    overwrite: bool,
    patience: &mut Patience,
) -> Result<Fetched, Failure> {
    match File::open(place).and_then(content::of) {
        Ok(there) if there.digest == file.digest => return Ok(Fetched::Before),
        Ok(_) if !overwrite => {
            let what = format!("{} is there with another content", place.display());
            return Err(Failure::input(
                what,
                "choose another --to, or give --overwrite",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::local("read", place)(error)),
    }
    let part = part_of(place, &file.digest);
    if let Some(directory) = place.parent() {
        fs::create_dir_all(directory).map_err(Failure::local("create", directory))?;
    }
    fetch(scheduler, file, &part, patience).await?;
    let mode = if file.executable { 0o755 } else { 0o644 };
    fs::set_permissions(&part, Permissions::from_mode(mode))
        .map_err(Failure::local("write", &part))?;
    fs::rename(&part, place).map_err(Failure::local("write", place))?;
    Ok(Fetched::Now)
}

/// The name of what is on its way; it says of which content it is a part.
fn part_of(place: &Path, digest: &str) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let of: String = digest
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(12)
        .collect();
    place.with_file_name(format!(".{name}.{of}.part"))
}

/// Fetches the whole content into `part` and verifies it. A part that turns
/// out wrong may have been so from an earlier try, so it is begun anew once.
async fn fetch(
    scheduler: &Scheduler,
    file: &v1::File,
    part: &Path,
    patience: &mut Patience,
) -> Result<(), Failure> {
    for _ in 0..2 {
        let digester = complete(scheduler, file, part, patience).await?;
        let content = digester.content();
        if content.digest == file.digest && content.size_bytes == file.size_bytes {
            return Ok(());
        }
        fs::remove_file(part).map_err(Failure::local("remove", part))?;
    }
    let what = format!("{} arrives with a wrong checksum", file.path);
    Err(scheduler.failure(&Status::data_loss(what)))
}

/// Appends to `part` until the scheduler has no more.
async fn complete(
    scheduler: &Scheduler,
    file: &v1::File,
    part: &Path,
    patience: &mut Patience,
) -> Result<Digester, Failure> {
    let mut digester = Digester::default();
    match File::open(part) {
        Ok(there) => digester
            .take_all(there)
            .map_err(Failure::local("read", part))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::local("read", part)(error)),
    }
    let mut out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(part)
        .map_err(Failure::local("write", part))?;
    while digester.size_bytes() < file.size_bytes {
        let offset = digester.size_bytes();
        let request = v1::GetRequest {
            digest: file.digest.clone(),
            offset,
        };
        match receive(scheduler, request, &mut out, &mut digester, file.size_bytes).await {
            Ok(Ok(())) if digester.size_bytes() > offset => patience.restore(),
            Ok(Ok(())) => {
                let cut_off = Status::unavailable("the download was cut off");
                patience.bear(scheduler, &cut_off).await?;
            }
            Ok(Err(status)) => {
                if digester.size_bytes() > offset {
                    patience.restore();
                }
                patience.bear(scheduler, &status).await?;
            }
            Err(error) => return Err(Failure::local("write", part)(error)),
        }
    }
    out.sync_data().map_err(Failure::local("write", part))?;
    Ok(digester)
}

/// Takes what one call sends, never more than the content's size.
async fn receive(
    scheduler: &Scheduler,
    request: v1::GetRequest,
    out: &mut File,
    digester: &mut Digester,
    size_bytes: u64,
) -> io::Result<Result<(), Status>> {
    let mut files = scheduler.files();
    let mut stream = match scheduler.status_of(files.get(request)).await {
        Ok(stream) => stream,
        Err(status) => return Ok(Err(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(reply)) => {
                if digester.size_bytes() + reply.data.len() as u64 > size_bytes {
                    let what = "more arrives than the output's size";
                    return Ok(Err(Status::data_loss(what)));
                }
                out.write_all(&reply.data)?;
                digester.take(&reply.data);
            }
            Ok(None) => return Ok(Ok(())),
            Err(status) => return Ok(Err(status)),
        }
    }
}
