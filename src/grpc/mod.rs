//! The API over gRPC: proto to domain and back. The only room of the server that knows protobuf.

mod admission;
mod admitted;
mod authentication;
mod caller;
mod calls;
mod convert;
mod download;
mod follow;
mod observe;
mod permissions;
mod request_body;
mod service;
mod status;
mod stream_limit;
mod upload;
mod waiting;

pub use self::{
    admission::{AdmissionService, RequestLimits},
    authentication::authenticate,
    caller::{TrustedProxies, locate},
    calls::{CallLimits, limit_calls},
    observe::observe,
    service::{ExportApi, Replica},
    status::{DOMAIN, internal_fault},
    stream_limit::end_at,
};
