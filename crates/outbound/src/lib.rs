//! What outgoing connections take from the environment: variables without empty ones, proxies, and certificate
//! authorities. S3, the keys of an issuer and the collector of traces share it.
//!
//! Independent of exports, stores and gRPC. Never depends on another crate of this workspace.

mod authorities;
mod connector;
mod environment;
mod proxies;

pub use self::{
    authorities::{Authorities, InvalidAuthorities},
    connector::{ConnectError, ProxyConnector},
    environment::Environment,
    proxies::Proxies,
};
