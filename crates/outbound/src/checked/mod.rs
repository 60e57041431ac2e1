//! Requests to URLs of an operator, which connect only to addresses that were checked: no request to this machine, to
//! private networks or to metadata services, unless the operator allows it.

mod address;
mod client;
mod connector;
mod url;

pub use self::{
    client::{CheckedClient, ExchangeError},
    connector::{Resolve, SystemResolver},
    url::{CheckedUrl, HostNames, URL_LIMIT_BYTES},
};
