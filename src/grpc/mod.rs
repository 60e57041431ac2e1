//! The API over gRPC: proto to domain and back. The only room of the server that knows protobuf.

mod admission;
mod admitted;
mod authentication;
mod caller;
mod calls;
mod convert;
mod deadline;
mod download;
mod follow;
mod observe;
mod permissions;
mod readers;
mod request_body;
mod response_body;
mod service;
mod status;
mod stream_reset;
mod unsent;
mod upload;
mod vitals;
mod waiting;
mod wire_scan;

pub use self::{
    admission::{RequestAdmission, RequestLimits, admit, request_memory_bytes},
    authentication::authenticate,
    caller::{TrustedProxies, locate},
    calls::{CallLimits, limit_calls},
    deadline::end_at_deadline,
    observe::observe,
    readers::{ReadLimits, Readers},
    response_body::{AnswerLimits, guard},
    service::{ExportApi, Replica},
    status::{DOMAIN, internal_fault},
    stream_reset::resettable,
    unsent::Unsent,
};
