//! Why agent and scheduler do not come to speak TLS with each other, and which
//! line of the site file mends it.
//!
//! Such trouble does not pass by itself: it is told as an error, and dialing
//! slows down. Connections that are lost are `stream`'s. Entry point:
//! [`Trouble::of`].

use std::error::Error;
use std::io;

use rustls::{CertificateError, InvalidMessage};

/// How h2 tells that the other end's first bytes are none of HTTP/2, such as
/// a TLS alert.
const NO_HTTP2: &str = "frame with invalid size";

/// How it tells that the other end hung up on the first bytes. So do servers
/// that are just ending, hence only a hint.
const HUNG_UP: &str = "stream closed because of a broken pipe";

/// What to look at if a connection is lost in this way again and again.
pub(super) fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut chain = std::iter::successors(Some(error), |error| causes(*error));
    chain
        .any(|error| error.to_string().contains(HUNG_UP))
        .then_some("if this goes on and the scheduler has [tls], write https:// in `scheduler`")
}

/// The source of an I/O error is the source of what it wraps, not that.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
        None => error.source(),
    }
}

/// What is wrong, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub(super) struct Trouble {
    what: String,
    remedy: &'static str,
}

impl Trouble {
    /// The trouble behind a failed call, if that is what it was.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref() {
                return Some(told(tls));
            }
            if error.to_string().contains(NO_HTTP2) {
                return Some(Self {
                    what: "what answers there speaks no HTTP/2 in the clear".to_owned(),
                    remedy: "write https:// in `scheduler` if the scheduler has [tls]; else see \
                             what listens there",
                });
            }
            next = causes(error);
        }
        None
    }
}

fn told(error: &rustls::Error) -> Trouble {
    use CertificateError as Why;
    let certificate = |what: &str, remedy| Trouble {
        what: format!("the scheduler's certificate {what}"),
        remedy,
    };
    let renew = "renew the scheduler's certificate, and see that both clocks are right";
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Trouble {
            what: "the scheduler speaks no TLS there".to_owned(),
            remedy: "write http:// in `scheduler` (on this machine only), or give the scheduler a \
                     [tls]",
        },
        rustls::Error::InvalidCertificate(why) => match why {
            Why::Expired | Why::ExpiredContext { .. } => certificate("has expired", renew),
            Why::NotValidYet | Why::NotValidYetContext { .. } => {
                certificate("is not valid yet", renew)
            }
            Why::NotValidForName | Why::NotValidForNameContext { .. } => certificate(
                "is for another name",
                "put a name of the certificate's into `scheduler`, or into `domain` of [tls]",
            ),
            Why::UnknownIssuer | Why::BadSignature => certificate(
                "is signed by none that is trusted here",
                "name it, or that of the authority that signed it, as `ca_file` in [tls]",
            ),
            other => certificate(
                &format!("cannot be used: {other}"),
                "make one as docs/operating.md shows: it must not be an authority itself",
            ),
        },
        other => Trouble {
            what: format!("TLS failed: {other}"),
            remedy: "see the scheduler's log, and [tls] in both files",
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::PathBuf;

    use expect_test::{Expect, expect};
    use jeroboam_proto::v1;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::service::Routes;
    use tonic::transport::{Identity, Server, ServerTlsConfig};

    use super::*;
    use crate::config::{Config, Tls};
    use crate::session::dial;

    /// A server, with TLS or without, that answers nothing; its port.
    async fn listen(identity: Option<Identity>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut server = Server::builder();
        if let Some(identity) = identity {
            let tls = ServerTlsConfig::new().identity(identity);
            server = server.tls_config(tls).unwrap();
        }
        let routes = server.add_routes(Routes::default());
        tokio::spawn(routes.serve_with_incoming(TcpListenerStream::new(listener)));
        port
    }

    /// How a call to such a scheduler fails.
    async fn called(scheduler: String, ca_pem: &str, domain: Option<&str>) -> tonic::Status {
        let config = Config {
            site: "meyrin".to_owned(),
            scheduler,
            token: None,
            state_dir: PathBuf::new(),
            cache_bytes_max: 0,
            tls: Tls {
                ca_pem: Some(ca_pem.as_bytes().to_vec()),
                domain: domain.map(str::to_owned),
            },
            clusters: Vec::new(),
        };
        let channel = dial::channel(&config).unwrap();
        let mut files = dial::files(&channel);
        let call = files.status(v1::FileStatusRequest::default()).await;
        call.unwrap_err()
    }

    async fn check(scheduler: String, ca_pem: &str, domain: Option<&str>, expected: Expect) {
        let status = called(scheduler, ca_pem, domain).await;
        let trouble = Trouble::of(&status).map(|trouble| trouble.to_string());
        expected.assert_eq(&trouble.unwrap_or("none".to_owned()));
    }

    /// Whichever of the two ways it ends in.
    #[tokio::test]
    async fn a_url_without_tls_for_a_port_with_it_is_told() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
        let port = listen(Some(identity)).await;
        let status = called(format!("http://127.0.0.1:{port}"), "", None).await;
        let trouble = Trouble::of(&status).map(|trouble| trouble.to_string());
        let said = trouble.or(hint(&status).map(str::to_owned));
        assert!(said.unwrap().contains("write https:// in `scheduler`"));
    }

    #[tokio::test]
    async fn trouble_with_tls_names_the_line_that_mends_it() {
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (ours, theirs) = (made("localhost"), made("elsewhere"));
        let identity = Identity::from_pem(ours.cert.pem(), ours.signing_key.serialize_pem());
        let (secure, plain) = (listen(Some(identity)).await, listen(None).await);
        let (ca, other_ca) = (ours.cert.pem(), theirs.cert.pem());
        let at = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}");
        check(
            at("https", secure),
            &ca,
            Some("localhost"),
            expect![[r#"none"#]],
        )
        .await;
        check(at("https", secure), &ca, None, expect!["the scheduler's certificate is for another name; put a name of the certificate's into `scheduler`, or into `domain` of [tls]"]).await;
        check(
            at("https", secure),
            &other_ca,
            Some("localhost"),
            expect!["the scheduler's certificate is signed by none that is trusted here; name it, or that of the authority that signed it, as `ca_file` in [tls]"],
        )
        .await;
        check(at("https", plain), &ca, None, expect!["the scheduler speaks no TLS there; write http:// in `scheduler` (on this machine only), or give the scheduler a [tls]"]).await;
        check(at("http", 1), &ca, None, expect![[r#"none"#]]).await;
    }
}
