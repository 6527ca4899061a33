//! What can end a verb of `jero` early, and with which exit code.
//!
//! The rule: every failure says what was wrong, where, and what to do, on
//! standard error; nothing is printed on standard output in its place.

mod tls;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use tonic::Status;
use tonic_types::StatusExt as _;

use crate::batch_file::{Faults, Source, Spot};
use crate::output::plain;
use tls::Trouble;

/// Why a verb did not do what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// The scheduler did its part; the work itself failed.
    Work(String),
    /// A wrong argument or input.
    Input {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A batch file with faults.
    BatchFile(Faults),
    /// A configuration file with faults, which it names with their places.
    Configuration(String),
    /// Nobody answers at the scheduler's address, or not any more.
    Unreachable {
        /// The address.
        server: String,
        /// What was tried last, and what came of it.
        cause: String,
        /// What to do where trying again would not help.
        remedy: Option<String>,
    },
    /// The scheduler answered no.
    Refused(Box<Refusal>),
    /// A local file could not be read or written.
    Local {
        /// What was being done: "write".
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part of the program that runs on this machine failed.
    Here(anyhow::Error),
}

/// A refusal as the scheduler words it.
#[derive(Debug)]
pub struct Refusal {
    /// Stable name of the kind: `UNKNOWN_QUEUE`; else the gRPC code.
    pub reason: String,
    /// What is wrong.
    pub what: String,
    /// Where, if there is such a place.
    pub place: String,
    /// The job whose place it is, by name.
    pub job: String,
    /// The place in the batch file that was submitted.
    pub spot: Option<Spot>,
    /// What to do, if the scheduler knows.
    pub remedy: String,
    /// Fields of the request that are wrong, and how.
    pub fields: Vec<(String, String)>,
}

impl Failure {
    /// A wrong argument or input.
    pub fn input(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Input {
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// For `map_err` where a local file is read or written.
    pub fn local(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Local {
            operation,
            path,
            source,
        }
    }

    /// What a call's status means, of the scheduler at this address.
    pub fn of_status(status: &Status, server: &str) -> Self {
        let details = status.get_error_details();
        if is_lost(status) {
            let (cause, remedy) = match Trouble::of(status, server) {
                Some(Trouble { what, remedy }) => (what, Some(remedy)),
                None => (causes(status), None),
            };
            return Self::Unreachable {
                server: server.to_owned(),
                cause,
                remedy,
            };
        }
        let mut refusal = Refusal {
            reason: format!("{:?}", status.code()),
            what: plain(status.message()),
            place: String::new(),
            job: String::new(),
            spot: None,
            remedy: remedy_for(status.code()).to_owned(),
            fields: Vec::new(),
        };
        if let Some(info) = details.error_info() {
            let noted = |key| {
                info.metadata
                    .get(key)
                    .map(|text| plain(text))
                    .unwrap_or_default()
            };
            refusal.reason = plain(&info.reason);
            refusal.place = noted("place");
            refusal.job = noted("job");
            refusal.remedy = noted("remedy");
        }
        if let Some(request) = details.bad_request() {
            let fields = request.field_violations.iter();
            refusal.fields = fields
                .map(|wrong| (plain(&wrong.field), plain(&wrong.description)))
                .collect();
        }
        Self::Refused(Box::new(refusal))
    }

    /// With the place in the batch file that a refusal is about.
    pub fn in_batch_file(mut self, source: &Source) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.spot = match refusal.reason.as_str() {
                // Of the queue that a batch names there is no other place.
                "UNKNOWN_QUEUE" | "QUEUE_NOT_LEAF" => source.spot("queue"),
                // The refusal tells the name alone.
                "UNKNOWN_SITE" => {
                    let name = refusal.what.split('`').nth(1);
                    name.and_then(|name| source.site_spot(name))
                }
                _ => source.spot(&refusal.place),
            };
        }
        self
    }

    /// The exit code, as `docs/commands.md` lists them.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Work(_) => 1,
            Self::BatchFile(faults) if faults.is_local() => 5,
            Self::Input { .. } | Self::BatchFile(_) | Self::Configuration(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::Refused(_) => 4,
            Self::Local { .. } | Self::Here(_) => 5,
        })
    }
}

/// True if the connection, not the scheduler, ended the call: the same call
/// may succeed later. Statuses that came over the wire have no source; one that
/// says a reason is the scheduler's own word.
pub fn is_lost(status: &Status) -> bool {
    let said = || status.get_error_details().error_info().is_some();
    std::error::Error::source(status).is_some()
        || (status.code() == tonic::Code::Unavailable && !said())
}

/// The status' message and those below it that say more.
fn causes(status: &Status) -> String {
    with_causes(
        status.message().to_owned(),
        std::error::Error::source(status),
    )
}

/// The text, and of the errors below it those that it does not say already:
/// many errors tell their source in their own text.
fn with_causes(mut text: String, mut next: Option<&(dyn std::error::Error + 'static)>) -> String {
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

fn remedy_for(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::Unauthenticated => "give --token-file or set JERO_TOKEN_FILE",
        tonic::Code::PermissionDenied => "ask the scheduler's administrator for the right",
        tonic::Code::Unimplemented => "use the same version of jero as the scheduler's",
        tonic::Code::DataLoss => "try again; if it stays so, tell the scheduler's administrator",
        _ => "",
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(what) | Self::Configuration(what) => write!(f, "{what}"),
            Self::Input { what, remedy } => write!(f, "{what}\n  do: {remedy}"),
            Self::BatchFile(faults) => write!(f, "{faults}"),
            Self::Unreachable {
                server,
                cause,
                remedy,
            } => {
                write!(
                    f,
                    "the scheduler at {server} cannot be reached: {cause}\n  do: "
                )?;
                match remedy {
                    Some(remedy) => write!(f, "{remedy}"),
                    None => unreachable(f, server, cause),
                }
            }
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::Local {
                operation,
                path,
                source,
            } => {
                write!(f, "cannot {operation} {}: {source}", path.display())
            }
            Self::Here(error) => f.write_str(&with_causes(error.to_string(), error.source())),
        }
    }
}

/// What to do about a connection that was not made, or that broke off. The
/// latter may also be how an end takes the other's first bytes that speaks TLS
/// while the other does not, or the other way round.
fn unreachable(f: &mut fmt::Formatter<'_>, server: &str, cause: &str) -> fmt::Result {
    f.write_str("see that `jero serve` runs there, or choose another by --server or JERO_SERVER")?;
    if NOT_CONNECTED.iter().any(|word| cause.contains(word)) {
        return Ok(());
    }
    match server.split_once("://") {
        Some(("http", address)) => write!(f, "; write https://{address} if its file has [tls]"),
        Some(("https", address)) => write!(f, "; write http://{address} if its file has no [tls]"),
        _ => Ok(()),
    }
}

/// In the words for a connection that was never there, or that was and is
/// silent.
const NOT_CONNECTED: [&str; 4] = ["tcp connect", "dns error", "deadline", "no answer"];

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused ({}): {}", self.reason, self.what)?;
        for (field, what) in &self.fields {
            // Where there is one only, it mostly says the same once more.
            if *field != self.place || !self.what.contains(what) {
                write!(f, "\n  {field}: {what}")?;
            }
        }
        if !self.place.is_empty() && !self.what.starts_with(&self.place) {
            write!(f, "\n  at: {}", self.place)?;
            if !self.job.is_empty() {
                write!(f, ", job `{}`", self.job)?;
            }
        }
        if let Some(spot) = &self.spot {
            write!(f, "\n  in: {spot}")?;
        }
        if !self.remedy.is_empty() {
            write!(f, "\n  do: {}", self.remedy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use expect_test::expect;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn told(status: &Status) -> String {
        let failure = Failure::of_status(status, "http://127.0.0.1:1");
        format!("{failure}\n{:?}\n", failure.exit_code())
    }

    #[test]
    fn refusals_say_reason_place_and_remedy() {
        let metadata = [
            ("place", "jobs[2].name"),
            ("remedy", "give it another name"),
        ];
        let metadata: HashMap<String, String> = metadata
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let mut details = ErrorDetails::with_error_info("INVALID", "jeroboam", metadata);
        details.add_bad_request_violation("jobs[2].name", "is taken");
        let code = tonic::Code::InvalidArgument;
        let status = Status::with_error_details(code, "the name is\u{1b} taken", details);
        expect![[r#"
            refused (INVALID): the name is� taken
              jobs[2].name: is taken
              at: jobs[2].name
              do: give it another name
            ExitCode(unix_exit_status(4))
        "#]]
        .assert_eq(&told(&status));
        expect![[r#"
            refused (Unauthenticated): no token
              do: give --token-file or set JERO_TOKEN_FILE
            ExitCode(unix_exit_status(4))
        "#]]
        .assert_eq(&told(&Status::unauthenticated("no token")));
    }

    #[test]
    fn nothing_is_told_twice() {
        let metadata = [("place", "jobs[1].isolation"), ("job", "merge")];
        let metadata: HashMap<String, String> = metadata
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let mut details = ErrorDetails::with_error_info("NOT_YET", "jeroboam", metadata);
        details.add_bad_request_violation("jobs[1].isolation", "kernels are not there yet");
        let code = tonic::Code::InvalidArgument;
        let status = Status::with_error_details(code, "kernels are not there yet", details);
        expect![[r#"
            refused (NOT_YET): kernels are not there yet
              at: jobs[1].isolation, job `merge`
            ExitCode(unix_exit_status(4))
        "#]]
        .assert_eq(&told(&status));

        // An error that tells its source, as thiserror's `{0}` with `#[from]` does.
        let full = std::io::Error::other("the disk is full");
        let error = anyhow::Error::new(full)
            .context("cannot write journal: the disk is full")
            .context("the scheduler has ended");
        assert_eq!(
            Failure::Here(error).to_string(),
            "the scheduler has ended: cannot write journal: the disk is full"
        );
    }

    #[test]
    fn a_scheduler_that_says_why_it_stopped_is_not_unreachable() {
        let details = ErrorDetails::with_error_info("STOPPED", "jeroboam", HashMap::new());
        let code = tonic::Code::Unavailable;
        let stopped = Status::with_error_details(code, "the journal's disk is full", details);
        expect![[r#"
            refused (STOPPED): the journal's disk is full
            ExitCode(unix_exit_status(4))
        "#]]
        .assert_eq(&told(&stopped));
        expect![[r#"
            the scheduler at http://127.0.0.1:1 cannot be reached: tcp connect error
              do: see that `jero serve` runs there, or choose another by --server or JERO_SERVER
            ExitCode(unix_exit_status(3))
        "#]]
        .assert_eq(&told(&Status::unavailable("tcp connect error")));
    }
}
