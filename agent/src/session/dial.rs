//! The connection to the scheduler: one HTTP/2 channel for session and files,
//! the site's token on every call.

use std::time::Duration;

use jeroboam_proto::v1::files_client::FilesClient;
use jeroboam_proto::v1::site_client::SiteClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use crate::AgentError;
use crate::config::Config;

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How often a quiet connection is tried, and how long for an answer.
const ALIVE: Duration = Duration::from_secs(10);
/// The longest message that is taken from the scheduler: a verdict about
/// 500,000 leases.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The channel with the token put on every call.
pub type Authorized = InterceptedService<Channel, Bearer>;

/// Puts `authorization: Bearer TOKEN` on every call, if there is a token.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A channel that connects when first used, and again whenever it was lost.
pub fn channel(config: &Config) -> Result<Authorized, AgentError> {
    let failed = |source| AgentError::Address {
        scheduler: config.scheduler.clone(),
        source,
    };
    let mut endpoint = Endpoint::from_shared(config.scheduler.clone())
        .map_err(failed)?
        .connect_timeout(CONNECT_MAX)
        .http2_keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    if config.scheduler.starts_with("https:") {
        let mut tls = ClientTlsConfig::new();
        tls = match &config.tls.ca_pem {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_native_roots(),
        };
        if let Some(domain) = &config.tls.domain {
            tls = tls.domain_name(domain);
        }
        endpoint = endpoint.tls_config(tls).map_err(failed)?;
    }
    let bearer = match &config.token {
        None => None,
        Some(token) => {
            let text = format!("Bearer {}", token.secret());
            let mut value: MetadataValue<Ascii> =
                text.parse().map_err(|_| AgentError::TokenUnusable)?;
            value.set_sensitive(true);
            Some(value)
        }
    };
    Ok(InterceptedService::new(
        endpoint.connect_lazy(),
        Bearer(bearer),
    ))
}

/// For the site session.
pub fn site(channel: &Authorized) -> SiteClient<Authorized> {
    SiteClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// For files.
pub fn files(channel: &Authorized) -> FilesClient<Authorized> {
    FilesClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// What the scheduler says to do about a status of its.
pub(crate) fn remedy(status: &tonic::Status) -> Option<String> {
    let mut info = status.get_details_error_info()?;
    info.metadata.remove("remedy")
}

/// What the scheduler says its refusal is about, such as `capacity.nodes[n1]`.
pub(crate) fn place(status: &tonic::Status) -> Option<String> {
    let mut info = status.get_details_error_info()?;
    let place = info.metadata.remove("place")?;
    (!place.is_empty()).then_some(place)
}
