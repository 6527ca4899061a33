//! The wire format: the messages and services of `jeroboam/v1/*.proto`, as
//! generated at build time.
//!
//! Nothing else lives here. Conversion to and from the domain's own types is
//! at each border: `jeroboam-scheduler`'s `convert`, `jeroboam-agent`'s
//! `session`, and the verbs of `jero`.

/// Version 1 of the protocol.
pub mod v1 {
    #![allow(
        missing_docs,
        clippy::large_enum_variant,
        reason = "generated; the .proto files are the documentation"
    )]
    tonic::include_proto!("jeroboam.v1");
}

/// The compiled descriptors of all services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/jeroboam.bin"));
