//! Why two ends do not come to speak TLS with each other, and which option or
//! file mends it.
//!
//! The rule: such trouble does not pass by itself, so it is told at once
//! instead of being tried again. Lost connections are [`super::is_lost`]'s.
//! Entry point: [`Trouble::of`].

use std::error::Error;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, InvalidMessage};

/// What is wrong, and what to do.
#[derive(Debug)]
pub(super) struct Trouble {
    pub what: String,
    pub remedy: String,
}

/// How h2 tells that the other end's first bytes are none of HTTP/2, such as
/// a TLS alert.
const NO_HTTP2: &str = "frame with invalid size";

impl Trouble {
    /// The trouble behind a failed call to the server at this address, if that
    /// is what it was.
    pub(super) fn of(error: &(dyn Error + 'static), server: &str) -> Option<Self> {
        let (what, remedy) = match cause(error)? {
            Cause::Tls(rustls::Error::InvalidCertificate(why)) => certificate(why, server),
            Cause::Tls(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => (
                "it does not speak TLS".to_owned(),
                format!(
                    "write {}, or give its file a [tls]",
                    server.replacen("https:", "http:", 1)
                ),
            ),
            Cause::Tls(other) => (
                format!("TLS failed: {other}"),
                "see the scheduler's log, and [tls] in its file".to_owned(),
            ),
            Cause::NoHttp2 => (
                "what answers there speaks no HTTP/2 in the clear".to_owned(),
                format!(
                    "write {} if the scheduler's file has [tls]; else see what listens there",
                    server.replacen("http:", "https:", 1)
                ),
            ),
        };
        Some(Self { what, remedy })
    }
}

enum Cause<'a> {
    Tls(&'a rustls::Error),
    NoHttp2,
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<Cause<'a>> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref() {
            return Some(Cause::Tls(tls));
        }
        if error.to_string().contains(NO_HTTP2) {
            return Some(Cause::NoHttp2);
        }
        // The source of an I/O error is the source of what it wraps, not that.
        let wrapped = error.downcast_ref().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn certificate(why: &CertificateError, server: &str) -> (String, String) {
    use CertificateError as Why;
    const RENEW: &str = "renew the certificate that [tls] of the scheduler's file names, and restart it; \
                         see also that the clocks of both machines are right";
    let what = |text: &str| format!("its certificate {text}");
    match why {
        Why::Expired => (what("has expired"), RENEW.to_owned()),
        Why::ExpiredContext { not_after, .. } => (
            what(&format!("has expired at {}", moment(*not_after))),
            RENEW.to_owned(),
        ),
        Why::NotValidYet => (what("is not valid yet"), RENEW.to_owned()),
        Why::NotValidYetContext { not_before, .. } => (
            what(&format!("is not valid before {}", moment(*not_before))),
            RENEW.to_owned(),
        ),
        Why::NotValidForNameContext { presented, .. } => {
            let names = presented.iter().map(|name| bare(name));
            let names = names.collect::<Vec<_>>().join(", ");
            let what = what(&format!(
                "is not for the name in {server}, only for: {names}"
            ));
            (what, name_remedy())
        }
        Why::NotValidForName => (
            what(&format!("is not for the name in {server}")),
            name_remedy(),
        ),
        Why::UnknownIssuer
        | Why::BadSignature
        | Why::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            what("is signed by none that is trusted here"),
            "give its certificate, or that of the authority that signed it, by --ca-file, \
             JERO_CA_FILE or `ca_file` in the configuration file"
                .to_owned(),
        ),
        other => (
            what(&format!("cannot be used: {other}")),
            "make one as docs/operating.md shows (it must not be an authority itself: CA:FALSE), \
             and name it in [tls] of the scheduler's file"
                .to_owned(),
        ),
    }
}

fn name_remedy() -> String {
    "write one of these names in --server, JERO_SERVER or `server` in the configuration file, or \
     make a certificate whose subjectAltName has this one"
        .to_owned()
}

fn moment(time: UnixTime) -> jeroboam_units::Instant {
    let ms = i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 1000);
    jeroboam_units::Instant(ms.saturating_mul(1000))
}

/// The name alone, of `DnsName("HOST")` or `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}
