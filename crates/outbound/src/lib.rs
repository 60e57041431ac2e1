//! What outgoing connections take from the environment: variables without empty ones, proxies, and certificate
//! authorities. S3, the keys of an issuer, the collector of traces and the targets of notifications share it. And
//! requests that connect to checked addresses only, for URLs of an operator.
//!
//! Independent of exports, stores and gRPC. Never depends on another crate of this workspace.

mod authorities;
mod checked;
mod connector;
mod endpoint;
mod environment;
mod proxies;

pub use self::{
    authorities::{Authorities, InvalidAuthorities},
    checked::{
        CheckedClient, CheckedUrl, ExchangeError, HostNames, Resolve, SystemResolver,
        URL_LIMIT_BYTES,
    },
    connector::{ConnectError, ProxyConnector},
    endpoint::{ENDPOINT_RULE, is_endpoint_url},
    environment::Environment,
    proxies::Proxies,
};
