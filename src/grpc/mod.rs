//! The gRPC API: converts between proto and domain types. The only module of the server that uses protobuf.

mod admission;
mod admitted;
mod authentication;
mod backlog_checks;
mod caller;
mod calls;
mod checks;
mod convert;
mod deadline;
mod decoding;
mod download;
mod error_size;
mod failures;
mod follow;
mod health_checks;
mod hosts;
mod listing;
mod observe;
mod permissions;
mod queries;
mod readers;
mod reflection;
mod report;
mod request_body;
mod response_body;
mod response_memory;
mod service;
mod status;
mod stream_reset;
mod unsent;
mod upload;
mod wire_scan;

pub use self::{
    admission::{RequestAdmission, RequestLimits, admit, request_memory_bytes},
    authentication::authenticate,
    caller::{TrustedProxies, identify_client},
    calls::{CallLimits, limit_calls},
    deadline::enforce_deadline,
    error_size::limit_errors,
    hosts::{AllowedHosts, check_host, refuse_host},
    observe::observe,
    queries::Replica,
    readers::{ReadLimits, Readers},
    reflection::{DescriptorError, Reflection},
    response_body::{ResponseLimits, guard},
    service::ExportApi,
    status::{DOMAIN, internal_error},
    stream_reset::resettable,
    unsent::Unsent,
};
